"""Ids and times: every kind of column has one reading, the same in text and parquet, or none."""

from __future__ import annotations

import warnings
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cprec_lib.logs.datasets import load_interactions
from cprec_lib.logs.tables import warn_of_doubts
from tests.logs.writing import HEADER, load_text, quietly, rows, write


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


def test_two_digit_years_have_one_reading(tmp_path: Path) -> None:
    times = ["31.12.19 23:50", "01.01.20 00:10", "02.01.20 09:00", "15.01.20 09:00"]
    content = HEADER + "".join(f"1,{item},{t}\n" for item, t in zip("abcd", times, strict=True))
    table = load_text(tmp_path, content)
    assert table["item"].tolist() == list("abcd")
    assert table["timestamp"].tolist()[0] == pd.Timestamp("2019-12-31 23:50").timestamp()


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (["01/02/2020", "03/04/2020"], "the month or the year first, as '01/02/2020' in row 1"),
        (["20-02-13", "20-03-01"], "the month or the year first, as '20-02-13' in row 1"),
        (["13/02/20", "01/03/20"], "the month or the year first, as '13/02/20' in row 1"),
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
    )
    if not moments:
        return
    path = tmp_path_factory.mktemp("dates") / "log.csv"
    lines = [f"1,{i},{moment.strftime(form)}\n" for i, moment in enumerate(moments)]
    path.write_text(HEADER + "".join(lines))
    try:
        table = load_interactions(path)
    except ValueError as error:
        assert "may have the day, the month or the year first" in str(error)
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
    path = write(tmp_path, "user,item,date,time\n1,a,2020-01-01,10:00\n1,b,2020-01-01,\n")
    with pytest.raises(ValueError, match=r"timestamp is missing.* 1 of 2 rows, first in row 2"):
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
    table = quietly(path)
    assert table["item"].tolist() == sorted(range(len(parts)), key=parts.__getitem__)
    assert table["timestamp"].is_monotonic_increasing


def test_whole_decimals_keep_their_order(tmp_path: Path) -> None:
    times = [Decimal(1600000000000000001), Decimal(1600000000000000000)]
    path = tmp_path / "log.parquet"
    pd.DataFrame({"user": 1, "item": ["b", "a"], "time": times}).to_parquet(path)
    assert rows(load_interactions(path)) == [(1, "a", int(times[1])), (1, "b", int(times[0]))]


def test_int96_dates_of_any_year_are_read(tmp_path: Path) -> None:
    from pyarrow import parquet

    seconds = [253402300799, -62135596800, 1600000000]
    times = pa.array([second * 10**6 for second in seconds], pa.timestamp("us"))
    path = tmp_path / "log.parquet"
    table = pa.table({"user": [1, 2, 3], "item": [1, 1, 1], "time": times})
    parquet.write_table(table, path, use_deprecated_int96_timestamps=True)
    assert quietly(path)["timestamp"].tolist() == seconds


def test_dates_beyond_microseconds_are_named(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    days = pa.array([2**31 - 1, 0], pa.date32())
    pd.DataFrame({"user": 1, "item": 1, "time": days.to_pandas(date_as_object=False)}).to_parquet(
        path
    )
    with pytest.raises(ValueError, match=r"log\.parquet cannot be read .*5881580"):
        load_interactions(path)


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
    with pytest.warns(UserWarning, match=r"log\.csv: 2 of 3 times are over 100 times smaller"):
        load_text(tmp_path, content)
    with pytest.warns(UserWarning, match=r"log\.csv: 2 of 4 times are over 100 times smaller"):
        load_text(tmp_path, content + "1,d,0\n")  # no time is known
    load_text(tmp_path, HEADER + f"1,a,{seconds}\n1,b,{seconds * 99}\n1,c,0\n")  # warnings fail


@given(
    log=st.lists(st.tuples(*3 * [st.integers(0, 2)]), min_size=1, max_size=20),
    text=st.booleans(),
)
def test_repeated_rows_and_tied_last_items_are_counted_and_kept(
    log: list[tuple[int, int, int]], text: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("repeated") / "log.csv"
    lines = [f"{user},{'x' * text}{item},{time}\n" for user, item, time in log]
    path.write_text(HEADER + "".join(lines))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert len(load_interactions(path)) == len(log)
    repeated = len(log) - len(set(log))
    expected = [f"{path}: {repeated} of {len(log)} rows repeat"] if repeated else []
    times = (sorted(time for user, _, time in log if user == each)[-2:] for each in range(3))
    last = [two for two in times if len(two) == 2]
    if tied := sum(before == after for before, after in last):
        expected.append(f"{path}: {tied} of {len(last)} users' last items have the same time")
    assert [
        str(each.message)[: len(e)] for each, e in zip(caught, expected, strict=True)
    ] == expected


@pytest.mark.parametrize(("tied", "doubts"), [(2, 0), (3, 1)])
def test_a_tenth_of_tied_last_items_is_no_doubt(tied: int, doubts: int) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_doubts(Path("log.csv"), 99, 0, 0, tied, 20)
    assert len(caught) == doubts


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
        ([b"b ", "ä".encode()], pa.binary(), ["b", "ä"]),
        ([b"b", b"a"], pa.large_binary(), ["b", "a"]),
        ([b"\xff\x00", b"a\x00"], pa.binary(2), ["ff00", "6100"]),
        ([Decimal(7), Decimal(8)], pa.decimal128(38, 0), [7, 8]),
        ([Decimal("7.00"), Decimal(8)], pa.decimal128(10, 2), [7, 8]),
        ([Decimal(10**30), Decimal(8)], pa.decimal128(38, 0), [str(10**30), "8"]),
        (["a", "b"], pa.large_string(), ["a", "b"]),
        (["a ", "NA"], pa.string_view(), ["a", "NA"]),
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


@pytest.mark.parametrize("ids", [[b"a", b""], [b"a", b"  "], [b"\xff", b""]])
def test_empty_bytes_are_missing_ids(ids: list[bytes], tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    pd.DataFrame({"user": 1, "item": ids, "time": 1}).to_parquet(path)
    with pytest.raises(ValueError, match=r"item is missing in 1 of 2 rows, first in row 2"):
        load_interactions(path)


def test_text_that_is_no_utf8_in_parquet_is_named(tmp_path: Path) -> None:
    from pyarrow import parquet

    path = tmp_path / "log.parquet"
    offsets = pa.py_buffer(np.array([0, 1, 2], np.int32))
    items = pa.Array.from_buffers(pa.string(), 2, [None, offsets, pa.py_buffer(b"a\xe9")])
    parquet.write_table(pa.table({"user": [1, 1], "item": items, "time": [1, 2]}), path)
    with pytest.raises(ValueError, match=r"log\.parquet cannot be read as a table .*UTF8"):
        load_interactions(path)


@pytest.mark.parametrize("kind", [pa.large_list(pa.int64()), pa.list_(pa.int64(), 2)])
def test_all_lists_of_parquet_are_sequences(kind: pa.DataType, tmp_path: Path) -> None:
    from pyarrow import parquet

    path = tmp_path / "log.parquet"
    items, times = pa.array([[7, 8], [8, 9]], kind), pa.array([[1, 2], [3, 4]], kind)
    parquet.write_table(pa.table({"user": [1, 2], "item": items, "time": times}), path)
    assert rows(load_interactions(path)) == [(1, 7, 1), (1, 8, 2), (2, 8, 3), (2, 9, 4)]


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
