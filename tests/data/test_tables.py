"""Files of the user: every kind of column, id and time, and every way to be no table."""

from __future__ import annotations

import gzip
import json
import warnings
from decimal import Decimal
from pathlib import Path
from uuid import UUID
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cprec_lib.data.datasets import load_interactions

HEADER = "user,item,timestamp\n"
COLUMNS = ["user", "item", "timestamp"]


def rows(table: pd.DataFrame) -> list[tuple[object, ...]]:
    return list(table.itertuples(index=False, name=None))


def write(folder: Path, content: str | bytes, name: str = "log.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def load_text(folder: Path, content: str | bytes, name: str = "log.csv") -> pd.DataFrame:
    return load_interactions(write(folder, content, name))


def quietly(path: Path, **options: str | int) -> pd.DataFrame:
    """The table without the warnings about repeated rows and mixed units."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return load_interactions(path, **options)


def stripped(value: object) -> object:
    return value.strip(" ") if isinstance(value, str) else value


@pytest.mark.parametrize(
    "header",
    [
        "user,item,timestamp",
        "User ID,movieId,TS",
        "user_id:token,item_id:token,timestamp:float",
        "\ufeffcustomer-id,asin,Unix_Time",
        "session_id,item_id,event_timestamp",
        "SessionId,ItemId,Time",
        "visitorid,itemid,timestamp",
        "reviewerID,asin,unixReviewTime",
        "userId,movieId,eventdate",
    ],
)
def test_names_of_columns(header: str, tmp_path: Path) -> None:
    assert rows(load_text(tmp_path, f"{header}\n2,7,5\n1,8,6\n")) == [(1, 8, 6), (2, 7, 5)]


def test_columns_in_any_order_among_others(tmp_path: Path) -> None:
    table = load_text(tmp_path, "rating\ttime\titem\tuser\n4.5\t6\t8\t1\n", "log.tsv")
    assert rows(table) == [(1, 8, 6)]
    assert list(table.columns) == COLUMNS


def test_equal_times_keep_the_order_of_the_file(tmp_path: Path) -> None:
    assert rows(load_text(tmp_path, HEADER + "b,3,1\na,2,1\nb,1,1\nb,2,0\n")) == [
        ("a", 2, 1),
        ("b", 2, 0),
        ("b", 3, 1),
        ("b", 1, 1),
    ]


def test_ids_stay_the_files_own(tmp_path: Path) -> None:
    table = load_text(tmp_path, HEADER + "007,10002,1\n7,85123A,2\n")
    assert rows(table) == [("007", "10002", 1), ("7", "85123A", 2)]
    huge = "9" * 25
    assert rows(load_text(tmp_path, HEADER + f"-5,{huge},1\n")) == [(-5, huge, 1)]
    large = 2**63 - 1
    assert rows(load_text(tmp_path, HEADER + f"{large},{-large},{large}\n")) == [
        (large, -large, large)
    ]


@pytest.mark.parametrize("user", ["01", "+1", "0x1F", "-0", "1.5", "1_0", "9" * 19, "a\u00e9"])
def test_text_that_is_no_plain_integer_stays_text(user: str, tmp_path: Path) -> None:
    table = load_text(tmp_path, HEADER + f"10,1,1\n{user},1,1\n")
    assert sorted(table["user"]) == sorted(["10", user])


def test_a_late_word_makes_all_ids_text(tmp_path: Path) -> None:
    n = 300_000  # several blocks of integers before it
    content = HEADER + "".join(f"1,{row},{row}\n" for row in range(n)) + f"1,last,{n}\n"
    items = load_text(tmp_path, content)["item"].tolist()
    assert items == [*map(str, range(n)), "last"]


@pytest.mark.parametrize(
    ("times", "seconds"),
    [
        (["5", "3.5"], [5.0, 3.5]),
        (["2020-01-01", "2020-01-01 00:00:02"], [1577836800, 1577836802]),
        (["2020-01-01T02:00:00+02:00", "2020-01-01T00:00:01Z"], [1577836800, 1577836801]),
        (["2020-01-01 00:00:00.25", "2020-01-01 00:00:02"], [1577836800.25, 1577836802.0]),
        (["05/31/2024 12:00", "06/01/2024 12:00"], [1717156800, 1717243200]),
        (["31 May 2024", "1 June 2024"], [1717113600, 1717200000]),
    ],
)
def test_times_as_text(times: list[str], seconds: list[float], tmp_path: Path) -> None:
    content = HEADER + "".join(f"{user},1,{time}\n" for user, time in enumerate(times))
    got = load_text(tmp_path, content)["timestamp"]
    assert got.tolist() == seconds
    assert got.dtype == np.array(seconds).dtype


@pytest.mark.parametrize(
    "moments",
    [
        pd.to_datetime(["2020-01-01", "2020-01-02"]),
        pd.to_datetime(["2020-01-01", "2020-01-02"]).tz_localize("UTC").tz_convert("Asia/Tokyo"),
        pd.to_datetime(["2020-01-01", "2020-01-02"]).date,
        pd.to_datetime(["2020-01-01", "2020-01-02"]).astype("datetime64[ns]"),
    ],
)
def test_times_of_parquet(moments: object, tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    pd.DataFrame({"user": [1, 1], "item": [1, 2], "time": moments}).to_parquet(path)
    assert load_interactions(path)["timestamp"].tolist() == [1577836800, 1577923200]


def test_parquet_with_categories_and_whole_floats(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    user = pd.Categorical(["b", "a"], categories=["b", "a"])
    pd.DataFrame({"user": user, "item": [1.0, 2.0], "time": [1, 1]}).to_parquet(path)
    table = load_interactions(path)
    assert rows(table) == [("a", 2, 1), ("b", 1, 1)]
    assert table["item"].dtype == "int64"


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz", ".zip"])
def test_compressed_text(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"my.log.csv{ending}"
    pd.DataFrame({"user": [1], "item": [2], "time": [3]}).to_csv(path, index=False)
    assert rows(load_interactions(str(path))) == [(1, 2, 3)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "user,thing,time\n1,2,3\n",
            "no columns for item.*1: 'thing', 2: 'time'; name them by user_column",
        ),
        ("user,item,user_id,time\n1,2,3,4\n", "2 columns for user.*'user_id'"),
        ("user,item,item,time\n1,2,3,4\n", "2 columns for item"),
        ("user/item/time\n1/2/3\n", "no columns for user.*0: 'user/item/time'.*separator"),
        ("user,item,note\n1,2,3\n", "no columns for timestamp"),
        ("1,2,3\n4,5,6\n", "no columns for user.*0: '1', 1: '2', 2: '3'.*no header"),
        (HEADER, "has no rows"),
        ("", "it is empty"),
        (HEADER + "1,2,3\n1,2,3,4\n", "cannot be read as a table.*Row #3: Expected 3"),
        (b"\x00\xff\x13\n\x99,,,\x00", "no columns for user"),
        ((HEADER + "é,2,3\n").encode("latin-1"), "cannot be read as a table.*invalid UTF8"),
        (HEADER + "1,2,3\n1,2,\n1,,3\n", "the item is missing in 1 of 3 rows, first in row 3"),
        (HEADER + "1,2,3\nNaN,2,4\n,2,3\n", "the user is missing in 1 of 3 rows, first in row 3"),
        (HEADER + "1,2,3\nNaN,2,4\n", "the user is missing in 1 of 2 rows, first in row 2.*'NaN'"),
        (HEADER + "1,2,3\n1,2,\n1,2,3\n", "timestamp is missing.* 1 of 3 rows, first in row 2"),
        (HEADER + "1,2,3\n1,2,inf\n1,2,-inf\n", "infinite.* 2 of 3 rows, first in row 2.*'inf'"),
        (HEADER + "1,2,3\n1,2,1e999\n", "infinite.* 1 of 2 rows.*'1e999'"),
        (HEADER + "1,2,3\n1,2,4\n1,2,soon\n", "unparsable.* 1 of 3 rows.*row 3.*'soon'"),
        (HEADER + "1,2,2020-01-01\n1,2,2020-13-01\n1,2,2020-01-02\n", "row 2.*'2020-13-01'"),
        (HEADER + "1,2,soon\n1,2,later\n", "unparsable.* 2 of 2 rows.*row 1.*'soon'"),
        (HEADER + "1,2,True\n1,2,False\n", "unparsable.*'True'"),
    ],
)
def test_bad_text_is_named(content: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"(?s){message}") as caught:
        load_text(tmp_path, content)
    assert str(tmp_path / "log.csv") in str(caught.value)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("time", ["1", None], "missing.* 1 of 2 rows, first in row 2"),
        ("user", [1.0, np.nan], "user is missing in 1 of 2 rows, first in row 2"),
        ("user", [None, None], "user is missing in 2 of 2 rows"),
        ("user", [1.0, np.inf], "user is not whole in 1 of 2 rows, first in row 2.*inf"),
        ("item", [1.5, 2.0], r"item is not whole in 1 of 2 rows.*1\.5"),
        ("item", [True, False], "item has the type bool; ids are whole numbers or text"),
        ("user", [[1], [2]], "user has the type list"),
        (
            "user",
            [1.0, 2.0**53],
            "float64, which is exact only below 9,007,199,254,740,992.* row 2",
        ),
        ("user", [1.0, 1e300], "exact only below .* 1 of 2 rows, first in row 2"),
        ("item", np.array([1, 2**24], "float32"), "float32, which is exact only below 16,777,216"),
        ("item", ["a", " "], "item is missing in 1 of 2 rows, first in row 2"),
        ("item", ["a", None], "item is missing in 1 of 2 rows, first in row 2"),
        ("item", pd.to_datetime(["2020-01-01"] * 2), "item has the type timestamp"),
        ("time", [1.0, np.nan], "missing.* 1 of 2 rows, first in row 2"),
        ("time", [-np.inf, 1.0], "infinite.* 1 of 2 rows, first in row 1.*-inf"),
        ("time", [True, False], "timestamp has the type bool"),
        (
            "time",
            pd.to_datetime(["2020-01-01", None]),
            "missing.* 1 of 2 rows, first in row 2.*None",
        ),
        ("time", pd.to_timedelta([1, 2], unit="D"), "timestamp has the type duration"),
    ],
)
def test_bad_parquet_is_named(column: str, values: object, message: str, tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    columns = {"user": [1, 2], "item": [1, 2], "time": [1, 2]} | {column: values}
    pd.DataFrame(columns).to_parquet(path)
    with pytest.raises(ValueError, match=message) as caught:
        load_interactions(path)
    assert str(path) in str(caught.value)


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"folder holds no file that ends in .csv"):
        load_interactions(tmp_path)
    for name in ("a.parquet", "a.csv.gz", "a.csv.xz", "a.csv.zip"):
        with pytest.raises(
            ValueError, match=f"{name}(: it has no columns| cannot be read as a table)"
        ):
            load_text(tmp_path, b"no such format", name)
    with pytest.raises(ValueError, match=r"a\.xlsx: its ending is unknown; known are \.csv"):
        load_text(tmp_path, b"", "a.xlsx")


WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6)
IDS = st.one_of(
    st.lists(st.integers(-(10**17), 10**17), min_size=1, max_size=12),
    # With a letter in front: text that looks like a number or like "NA" has tests of its own.
    st.lists(WORDS.map("x".__add__), min_size=1, max_size=12),
)
TIMES = st.one_of(
    st.lists(st.integers(-(2**50), 2**50), min_size=12, max_size=12),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=12, max_size=12),
)


@given(users=IDS, items=IDS, times=TIMES, kind=st.sampled_from(["csv", "tsv", "parquet"]))
def test_any_table_comes_back_sorted(
    users: list[object],
    items: list[object],
    times: list[float],
    kind: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    n = min(len(users), len(items))
    table = pd.DataFrame({"user": users[:n], "item": items[:n], "timestamp": times[:n]})
    path = tmp_path_factory.mktemp("any") / f"log.{kind}"
    if kind == "parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False, sep="," if kind == "csv" else "\t")
    expected = sorted(rows(table.map(stripped)), key=lambda row: (row[0], row[2]))
    assert rows(quietly(path)) == expected


@given(
    content=st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=60).map(lambda junk: b"user,item,time\n1,2,3\n" + junk),
        st.binary(max_size=60).map(lambda junk: b"PAR1" + junk + b"PAR1"),
        st.text(st.sampled_from('user,itm"\n\t 019.eE-:'), max_size=60).map(str.encode),
    ),
    name=st.sampled_from(["a.csv", "a.tsv", "a.parquet", "a.csv.gz", "a.csv.zip"]),
)
def test_junk_gives_a_table_or_a_clear_error(
    content: bytes, name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("junk") / name
    path.write_bytes(content)
    try:
        table = quietly(path)
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert len(table)
        assert not table.isna().any(axis=None)


# ---- Quotes ----


def test_lone_quotes_swallow_no_rows(tmp_path: Path) -> None:
    lines = [
        '1\t10\t1\t"7 inch tablet',
        "1\t11\t2\tCase",
        '2\t10\t3\t12" monitor"',
        "2\t11\t4\tPen",
    ]
    content = "user\titem\ttimestamp\ttitle\n" + "\n".join(lines)
    expected = [(1, 10, 1), (1, 11, 2), (2, 10, 3), (2, 11, 4)]
    assert rows(load_text(tmp_path, content, "log.tsv")) == expected
    assert rows(load_text(tmp_path, content.replace("\t", ","))) == expected
    assert rows(load_text(tmp_path, content, "log.inter")) == expected


def test_quotes_of_csv_hold_separators_quotes_and_lines(tmp_path: Path) -> None:
    content = '"user","text","item","time"\n"1","a, b","x ""y""","3"\n"2","first\nsecond","z","4"\n'
    assert rows(load_text(tmp_path, content)) == [(1, 'x "y"', 3), (2, "z", 4)]


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        (['1,10,1,"a, b"', '1,11,2,"7 inch', "2,10,3,Case", '2,11,4,12"', "3,10,5,Pen"], 3),
        (['1,10,1,"a, b"', '1,11,2,"7 inch', "2,10,3,Case", '2,11,4,12" monitor"'], 3),
        (['1,10,1,"a, b"', '1,"11,2,x', "2,10,3,Case"], 3),
    ],
)
def test_a_quote_that_swallows_rows_is_named(lines: list[str], line: int, tmp_path: Path) -> None:
    content = "user,item,timestamp,title\n" + "\n".join(lines) + "\n"
    with pytest.raises(ValueError, match=f"log.csv.*(opens in line {line}|Row #)"):
        load_text(tmp_path, content)


TITLES = st.lists(st.text(st.sampled_from("ab\" '"), max_size=8), min_size=1, max_size=8)


@given(titles=TITLES, kind=st.sampled_from(["tsv", "csv"]))
def test_quotes_in_another_column_never_change_the_rows(
    titles: list[str], kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    mark = "\t" if kind == "tsv" else ","
    lines = [mark.join([str(i), "7", str(i), title]) for i, title in enumerate(titles)]
    path = tmp_path_factory.mktemp("quotes") / f"log.{kind}"
    path.write_text("\n".join([mark.join(["user", "item", "time", "title"]), *lines]) + "\n")
    assert rows(load_interactions(path)) == [(i, 7, i) for i in range(len(titles))]


TEXTS = st.lists(st.text(st.sampled_from('ab",\n '), max_size=8), min_size=1, max_size=6)


@given(texts=TEXTS)
def test_text_that_pandas_quoted_comes_back(
    texts: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    n = range(len(texts))
    table = pd.DataFrame({"user": n, "note": texts, "item": [f"i{i}" for i in n], "time": n})
    path = tmp_path_factory.mktemp("quoted") / "log.csv"
    table.to_csv(path, index=False)
    assert rows(load_interactions(path)) == rows(table[["user", "item", "time"]])


# ---- Times ----


def test_two_digit_years_have_one_reading(tmp_path: Path) -> None:
    times = ["31.12.19 23:50", "01.01.20 00:10", "02.01.20 09:00", "15.01.20 09:00"]
    content = HEADER + "".join(f"1,{item},{t}\n" for item, t in zip("abcd", times, strict=True))
    table = load_text(tmp_path, content)
    assert table["item"].tolist() == list("abcd")
    assert table["timestamp"].tolist()[0] == pd.Timestamp("2019-12-31 23:50").timestamp()


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (["01/02/2020", "03/04/2020"], "day first or month first, as '01/02/2020' in row 1"),
        (["13/02/2020", "02/13/2020", "14/02/2020"], "row 2 .*'02/13/2020'.* Row 1 .*'13/02/2020'"),
        (["T1", "T2"], "2 of 2 rows, first in row 1.*'T1'"),
        (["today", "now"], "2 of 2 rows, first in row 1.*'today'"),
        (["23:50:00", "00:10:00"], "'23:50:00'; a time of day needs its date"),
        (["2020-01-01", "23:50"], "'23:50'; a time of day needs its date"),
    ],
)
def test_times_without_one_reading_are_refused(
    times: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=f"log.csv: .*{message}"):
        load_text(tmp_path, HEADER + "".join(f"1,2,{time}\n" for time in times))


@given(
    days=st.lists(st.dates(pd.Timestamp(1970, 1, 1).date()), min_size=1, max_size=8, unique=True),
    form=st.sampled_from(["%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%y %H:%M", "%d %b %Y"]),
)
def test_dates_are_read_by_one_form_or_refused(
    days: list[object], form: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    moments = sorted(
        pd.Timestamp(day).replace(year=1970 + day.year % 99)
        for day in days
        if (day.month, day.day) != (2, 29)
    )  # type: ignore[attr-defined]
    if not moments:
        return
    path = tmp_path_factory.mktemp("dates") / "log.csv"
    lines = [f"1,{i},{moment.strftime(form)}\n" for i, moment in enumerate(moments)]
    path.write_text(HEADER + "".join(lines))
    try:
        table = load_interactions(path)
    except ValueError as error:
        assert "day first or month first" in str(error)
        assert all(moment.day <= 12 for moment in moments) and "/" in form
    else:
        assert table["timestamp"].is_monotonic_increasing
        if "%Y" in form:
            assert table["timestamp"].tolist() == [moment.timestamp() for moment in moments]


def test_date_and_clock_in_two_columns_are_joined(tmp_path: Path) -> None:
    lines = ["1,a,2020-01-01,23:50:00", "1,b,2020-01-02,00:10:00", "1,c,2020-01-02,09:00:00"]
    for header in ("user_id,item_id,event_date,time", "user_id,item_id,date,clock"):
        path = write(tmp_path, "\n".join([header, *reversed(lines)]))
        options = {} if "time" in header else {"time_column": "date+clock"}
        table = load_interactions(path, **options)
        assert table["item"].tolist() == ["a", "b", "c"]
        assert table["timestamp"].tolist()[0] == 1577922600
    path = write(tmp_path, "user,item,date,time\n1,a,2020-01-01,5\n")
    with pytest.raises(ValueError, match="'2020-01-01 5'"):
        load_interactions(path)


@given(parts=st.lists(st.integers(0, 10**12), min_size=1, max_size=8, unique=True))
def test_nanoseconds_keep_their_order(
    parts: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    start = pd.Timestamp("2020-09-13T12:26:40Z")
    moments = [start + pd.Timedelta(part, "ns") for part in parts]
    path = tmp_path_factory.mktemp("ns") / "log.csv"
    lines = [f"1,{i},{moment.isoformat()}\n" for i, moment in enumerate(moments)]
    path.write_text(HEADER + "".join(lines))
    table = load_interactions(path)
    assert table["item"].tolist() == sorted(range(len(parts)), key=parts.__getitem__)
    assert table["timestamp"].is_monotonic_increasing


def test_dates_of_any_year_are_read(tmp_path: Path) -> None:
    content = HEADER + "1,a,2020-01-01 00:00:00\n1,b,0001-01-01 00:00:00\n1,c,2020-01-03 00:00:00\n"
    assert rows(load_text(tmp_path, content)) == [
        (1, "b", -62135596800),
        (1, "a", 1577836800),
        (1, "c", 1578009600),
    ]


@pytest.mark.parametrize("factor", [10**3, 10**6, 10**9])
def test_mixed_units_are_counted(factor: int, tmp_path: Path) -> None:
    seconds = 1396861869
    content = HEADER + f"1,a,{seconds * factor}\n1,b,{seconds + 1}\n1,c,{seconds + 2}\n"
    with pytest.warns(UserWarning, match=r"log\.csv: times span a factor.* 2 of 3 "):
        load_text(tmp_path, content)


@given(
    log=st.lists(st.tuples(*3 * [st.integers(0, 2)]), min_size=1, max_size=20),
    text=st.booleans(),
)
def test_repeated_rows_are_counted_and_kept(
    log: list[tuple[int, int, int]], text: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("repeated") / "log.csv"
    lines = [f"{user},{'x' * text}{item},{time}\n" for user, item, time in log]
    path.write_text(HEADER + "".join(lines))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert len(load_interactions(path)) == len(log)
    repeated = len(log) - len(set(log))
    assert len(caught) == bool(repeated)
    assert not repeated or f" {repeated} of {len(log)} rows repeat" in str(caught[0].message)


# ---- Ids ----


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_words_for_missing_are_ids_among_text(kind: str, tmp_path: Path) -> None:
    items = ["NA", "BE", "null", "None", " DE ", "nan"]
    table = pd.DataFrame({"user": 1, "item": items, "time": range(6)})
    path = tmp_path / f"log.{kind}"
    table.to_csv(path, index=False) if kind == "csv" else table.to_parquet(path)
    assert load_interactions(path)["item"].tolist() == ["NA", "BE", "null", "None", "DE", "nan"]
    table = table.assign(item=["7", "8", "null", "9", "10", "11"])
    table.to_csv(path, index=False) if kind == "csv" else table.to_parquet(path)
    with pytest.raises(ValueError, match=r"item is missing in 1 of 6 rows, first in row 3.*'null'"):
        load_interactions(path)


@pytest.mark.parametrize(
    ("ids", "kind", "expected"),
    [
        ([UUID(int=5).bytes, UUID(int=6).bytes], pa.uuid(), [str(UUID(int=5)), str(UUID(int=6))]),
        ([b"b", "ä".encode()], pa.binary(), ["b", "ä"]),
        ([b"\xff\x00", b"a\x00"], pa.binary(2), ["ff00", "6100"]),
        ([Decimal(7), Decimal(8)], pa.decimal128(38, 0), [7, 8]),
        ([Decimal("7.00"), Decimal(8)], pa.decimal128(10, 2), [7, 8]),
        ([Decimal(10**30), Decimal(8)], pa.decimal128(38, 0), [str(10**30), "8"]),
        (["a", "b"], pa.large_string(), ["a", "b"]),
        (["a", "b"], pa.dictionary(pa.int32(), pa.string()), ["a", "b"]),
        ([1, 2**64 - 1], pa.uint64(), [1, 2**64 - 1]),
        (["1.0", "2.0"], pa.string(), [1, 2]),
        (["1", "2"], pa.string(), ["1", "2"]),
    ],
)
def test_types_of_ids_in_parquet(
    ids: list[object], kind: pa.DataType, expected: list[object], tmp_path: Path
) -> None:
    from pyarrow import parquet

    path = tmp_path / "log.parquet"
    columns = {"user": [1, 1], "item": pa.array(ids, kind), "time": [1, 2]}
    parquet.write_table(pa.table(columns), path)
    assert load_interactions(path)["item"].tolist() == expected


@given(ids=st.lists(st.floats(0, 1e308).map(np.float64), min_size=1, max_size=5))
def test_float_ids_are_exact_or_refused(
    ids: list[np.float64], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("floats") / "log.parquet"
    pd.DataFrame({"user": ids, "item": 1, "time": 1}).to_parquet(path)
    try:
        table = quietly(path)
    except ValueError as error:
        assert "not whole" in str(error) or "exact only below" in str(error)
    else:
        assert sorted(ids) == table["user"].tolist() and max(ids) < 2**53


@pytest.mark.parametrize("ids", [["1.8e+19", "1.7e+19"], ["9007199254740993.0", "1.0"]])
def test_text_that_went_through_floats_is_refused(ids: list[str], tmp_path: Path) -> None:
    content = HEADER + "".join(f"1,{item},1\n" for item in ids)
    with pytest.raises(ValueError, match="item is a float64, which is exact only below"):
        load_text(tmp_path, content)


# ---- Kinds of files, and options ----

RECBOLE = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n2\t7\t4\t5\n1\t8\t3\t6\n"
YOOCHOOSE = "2,1970-01-01T00:00:05.000Z,7,0\n1,1970-01-01T00:00:06.000Z,8,S\n"
RETAILROCKET = "timestamp,visitorid,event,itemid,transactionid\n5,2,view,7,\n6,1,view,8,\n"
LIBRECOMMENDER = "2::7::4::5\n1::8::3::6\n"
GOWALLA = "2\t1970-01-01T00:00:05Z\t30.2\t-97.7\t7\n1\t1970-01-01T00:00:06Z\t30.2\t-97.7\t8\n"
AMAZON = "".join(
    json.dumps({"reviewerID": user, "asin": item, "reviewText": 'say "a"', "unixReviewTime": time})
    + "\n"
    for user, item, time in ((2, 7, 5), (1, 8, 6))
)


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("ml.inter", RECBOLE, {}),
        ("yoochoose-clicks.dat", YOOCHOOSE, {"user_column": 0, "item_column": 2, "time_column": 1}),
        ("events.csv", RETAILROCKET, {}),
        ("ratings.dat", LIBRECOMMENDER, {"user_column": 0, "item_column": 1, "time_column": "3"}),
        ("Gowalla.txt", GOWALLA, {"user_column": "0", "item_column": "4", "time_column": "1"}),
        ("Beauty_5.json", AMAZON, {}),
        ("european.csv", "user;item;date\n2;7;01.01.1970 00:00:05\n1;8;01.01.1970 00:00:06\n", {}),
        ("pipes.txt", "user|item|time\n2|7|5\n1|8|6\n", {}),
        (
            "odd.csv",
            "who/what/when\n2/7/5\n1/8/6\n",
            {"separator": "/", "user_column": "who"}
            | {"item_column": "what", "time_column": "when"},
        ),
        ("titled.dat", "user::note::item::time\n2::a::7::5\n1::::8::6\n", {}),
    ],
)
def test_kinds_of_text(
    name: str, content: str, options: dict[str, str | int], tmp_path: Path
) -> None:
    expected = [(1, 8, 6), (2, 7, 5)]
    path = write(tmp_path, content, name)
    assert rows(load_interactions(path, **options)) == expected
    with gzip.open(tmp_path / f"{name}.gz", "wb") as file:
        file.write(content.encode())
    with ZipFile(tmp_path / "log.zip", "w") as archive:
        archive.writestr(f"inside/{name}", content)
    for other in (f"{name}.gz", "log.zip"):
        assert rows(load_interactions(tmp_path / other, **options)) == expected


def test_pairs_are_in_order_of_time(tmp_path: Path) -> None:
    expected = [(1, 9, 0), (1, 7, 1), (2, 8, 0)]
    assert rows(load_text(tmp_path, "1 9\n2 8\n1 7\n", "Beauty.txt")) == expected
    assert rows(load_text(tmp_path, "1,9\n2,8\n1,7\n")) == expected
    named = write(tmp_path, "user,item\n1,9\n2,8\n1,7\n")
    with pytest.raises(ValueError, match=r"no columns for timestamp.* order if the rows are in"):
        load_interactions(named)
    assert rows(load_interactions(named, time_column="order")) == expected


def test_a_sequence_a_line(tmp_path: Path) -> None:
    path = write(tmp_path, "5 9 8 9\n\n3 7\n4\n", "log.txt")
    assert rows(load_interactions(path, item_column="1:")) == [
        (3, 7, 0),
        (5, 9, 0),
        (5, 8, 1),
        (5, 9, 2),
    ]
    sessions = load_interactions(path, item_column="0:")
    assert sessions.groupby("user")["item"].agg(list).tolist() == [[5, 9, 8, 9], [3, 7], [4]]
    path = write(tmp_path, "ann\tx,y\nbob\t007\n", "log.tsv")
    path = write(tmp_path, path.read_text().replace("\t", ","), "log.csv")
    assert load_interactions(path, item_column="1:")["item"].tolist() == ["x", "y", "007"]
    path = tmp_path / "log.parquet"
    lists = pd.DataFrame({"user": ["a", "b"], "item": [[3, 1], [2]], "time": [[1, 2], [1]]})
    lists.to_parquet(path)
    assert rows(load_interactions(path)) == [("a", 3, 1), ("a", 1, 2), ("b", 2, 1)]


@given(
    log=st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=5), min_size=1, max_size=5),
    mark=st.sampled_from([" ", ",", "\t", "::", ";"]),
)
def test_all_kinds_of_sequences_agree(
    log: list[list[int]], mark: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("sequences")
    expected = [(u, i, n) for u, items in enumerate(log) for n, i in enumerate(items)]
    lines = [mark.join(map(str, [u, *items])) for u, items in enumerate(log)]
    path = write(folder, "\n".join(lines), "lines.txt")
    assert rows(load_interactions(path, item_column="1:", separator=mark)) == expected
    path = write(folder, "\n".join(line.split(mark, 1)[1] for line in lines), "sessions.txt")
    assert rows(load_interactions(path, item_column="0:", separator=mark)) == expected
    path = write(folder, "\n".join(f"{u}{mark}{i}" for u, i, _ in expected), "pairs.txt")
    assert rows(load_interactions(path)) == expected


def test_a_folder_of_parts(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    (folder / "day=2").mkdir(parents=True)
    pd.DataFrame({"user": [1], "item": [5], "time": [2]}).to_parquet(folder / "b.parquet")
    later = pd.DataFrame({"user": [1], "item": np.array([6], "int32"), "time": [1]})
    later.to_parquet(folder / "day=2" / "a.parquet")
    (folder / "_SUCCESS").touch()
    (folder / "README.md").touch()
    assert rows(load_interactions(folder)) == [(1, 6, 1), (1, 5, 2)]
    (folder / "c.csv").write_text("user,item,time\n1,x,3\n")
    assert rows(load_interactions(folder)) == [(1, "6", 1), (1, "5", 2), (1, "x", 3)]


def test_two_columns_of_one_name_are_named(tmp_path: Path) -> None:
    from pyarrow import parquet

    path = tmp_path / "log.parquet"
    table = pa.table([[1], [2], [3], [4]], names=["user", "item", "time", "item"])
    parquet.write_table(table, path)
    with pytest.raises(ValueError, match=r"2 columns for item.*1: 'item', 2: 'time', 3: 'item'"):
        load_interactions(path)
    parquet.write_table(table.rename_columns(["user", "item", "time", "x"]), path)
    assert rows(load_interactions(path)) == [(1, 2, 3)]
    content = "user,item,time,note,note\n1,2,3,a,b\n"
    assert rows(load_text(tmp_path, content)) == [(1, 2, 3)]
    with pytest.raises(ValueError, match="2 columns 'note' for item"):
        load_interactions(tmp_path / "log.csv", item_column="note")
    with pytest.raises(ValueError, match="no columns '7' for item"):
        load_interactions(tmp_path / "log.csv", item_column=7)


def test_the_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write(tmp_path, HEADER + "1,2,3\n")
    assert rows(load_interactions("~/log.csv")) == [(1, 2, 3)]


def test_several_files_in_a_zip_are_refused(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "log.zip", "w") as archive:
        archive.writestr("a.csv", HEADER + "1,2,3\n")
        archive.writestr("b.csv", HEADER + "1,2,3\n")
    with pytest.raises(ValueError, match=r"log\.zip: it holds 2 files; unpack"):
        load_interactions(tmp_path / "log.zip")


def test_other_columns_and_long_ids_cost_little(tmp_path: Path) -> None:
    pa.default_memory_pool().release_unused()
    n = 20_000
    content = "user,item,review,time\n" + "".join(f"{u},7,{'x' * 500},5\n" for u in range(n))
    content += f"{'y' * 20_000},7,,5\n"
    path = write(tmp_path, content)
    pool, before = pa.default_memory_pool(), pa.total_allocated_bytes()
    table = load_interactions(path)
    assert len(table) == n + 1 and pool.bytes_allocated() - before < 5e6
