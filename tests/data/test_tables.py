"""Files of the user: every kind of column, id and time, and every way to be no table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cprec_lib.data import tables
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


@pytest.mark.parametrize(
    "header",
    [
        "user,item,timestamp",
        "User ID,movieId,TS",
        "user_id:token,item_id:token,timestamp:float",
        "\ufeffcustomer-id,asin,Unix_Time",
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
        ("user,thing,time\n1,2,3\n", "no columns for item.*'user', 'thing', 'time'.*movie_id"),
        ("user,item,user_id,time\n1,2,3,4\n", "2 columns for user.*'user_id'"),
        ("user,item,item,time\n1,2,3,4\n", "2 columns for item"),
        ("user;item;time\n1;2;3\n", "no columns for user.*'user;item;time'"),
        (HEADER, "has no rows"),
        ("", "cannot be read as a table"),
        (HEADER + "1,2,3\n1,2,3,4\n", "cannot be read as a table.*line 3"),
        (b"\x00\xff\x13\n\x99,,,\x00", "cannot be read as a table"),
        ((HEADER + "é,2,3\n").encode("latin-1"), "cannot be read as a table.*utf-8"),
        (HEADER + "1,2,3\n1,2,\n1,,3\n", "the item is missing in 1 of 3 rows, first in row 3"),
        (HEADER + "1,2,3\nNaN,2,4\n,2,3\n", "the user is missing in 2 of 3 rows, first in row 2"),
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
        ("item", [[1], [2]], "item has the type object"),
        ("time", [1.0, np.nan], "missing.* 1 of 2 rows, first in row 2"),
        ("time", [-np.inf, 1.0], "infinite.* 1 of 2 rows, first in row 1.*-inf"),
        ("time", [True, False], "unparsable.* 2 of 2"),
        ("time", pd.to_datetime(["2020-01-01", None]), "missing.* 1 of 2 rows.*NaT"),
        ("time", pd.to_timedelta([1, 2], unit="D"), "unparsable.* 2 of 2"),
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
    with pytest.raises(ValueError, match="is a folder; give the path of"):
        load_interactions(tmp_path)
    for name in ("a.parquet", "a.csv.gz", "a.csv.xz", "a.csv.zip"):
        with pytest.raises(ValueError, match=f"{name} cannot be read as a table"):
            load_text(tmp_path, b"no such format", name)
    with pytest.raises(ValueError, match=r"a\.xlsx has an unknown ending; known are \.parquet"):
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
    expected = sorted(rows(table), key=lambda row: (row[0], row[2]))
    assert rows(load_interactions(path)) == expected


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
        table = load_interactions(path)
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert len(table)
        assert not table.isna().any(axis=None)


# ---- Plain files of integers, read block by block ----


def test_plain_integers_take_the_short_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pd, "read_csv", lambda *_, **__: pytest.fail("the general way was taken"))
    n = 400_000  # in several blocks
    content = "userId,movieId,rating,timestamp\r\n"
    content += "".join(f"{row // 100},{row % 100},3.5,{10**17 + row}\r\n" for row in range(n))
    table = load_text(tmp_path, content)
    assert rows(table[-2:]) == [(3999, 98, 10**17 + n - 2), (3999, 99, 10**17 + n - 1)]
    assert len(table) == n
    assert [str(kind) for kind in table.dtypes] == ["int64"] * 3


@pytest.mark.parametrize("user", ["01", "+1", " 1", "1.0", "-1", "0x1F", '"1"', "", "9" * 19])
def test_other_ids_take_the_general_way(user: str, tmp_path: Path) -> None:
    path = write(tmp_path, f"user,item,time\n0,2,3\n{user},2,3\n")
    with pytest.raises(ValueError):
        tables._read_integers(path, ",")


@pytest.mark.parametrize("line", ["1,2,3,é", '1,2,3,"a,b"', "1,2,3", "1,2,3,a,b"])
def test_other_lines_take_the_general_way(line: str, tmp_path: Path) -> None:
    path = write(tmp_path, f"user,item,time,note\n0,2,3,a\n{line}\n")
    with pytest.raises(ValueError):
        tables._read_integers(path, ",")


PIECES = st.sampled_from(["0", "1", "23", "-4", "05", "+6", "7.0", "", " ", "NA", '"', "\r", "\0"])


@given(lines=st.lists(st.lists(PIECES, min_size=2, max_size=4).map(",".join), max_size=4))
def test_both_ways_read_the_same(
    lines: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write(tmp_path_factory.mktemp("ways"), "\n".join(["user,item,time", *lines]))
    try:
        short = tables._read_integers(path, ",")
    except ValueError:
        return
    general = pd.read_csv(path, dtype="int64").set_axis(COLUMNS, axis=1)
    pd.testing.assert_frame_equal(short, general)
    assert path.read_text().count("\n") >= len(short)
