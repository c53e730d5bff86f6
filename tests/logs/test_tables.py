"""Files of the user: names of columns, folders, and every way to be no table."""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cprec_lib.logs.datasets import load_interactions
from tests.logs.writing import COLUMNS, HEADER, load_text, quietly, rows, write


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
    assert rows(quietly(write(tmp_path, HEADER + "b,3,1\na,2,1\nb,1,1\nb,2,0\n"))) == [
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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "user,thing,time\n1,2,3\n",
            "no columns for item.*1: 'thing', 2: 'time'; rename them to user, item and timestamp, "
            "or, where there are such options, name them by user_column",
        ),
        ("user,item,user_id,time\n1,2,3,4\n", "2 columns for user.*'user_id'"),
        ("user,item,item,time\n1,2,3,4\n", "2 columns for item"),
        ("user/item/time\n1/2/3\n", "no columns for user.*0: 'user/item/time'.*separator"),
        ("user,item,note\n1,2,3\n", "no columns for timestamp"),
        ("1,2,3\n4,5,6\n", "no columns for user.*0: '1', 1: '2', 2: '3'.*no header"),
        (HEADER, "has no rows"),
        ("", "it is empty"),
        (HEADER + "1,2,3\n1,2,3,4\n", "cannot be read as a table.*Row #3: Expected 3"),
        (b"\x00\xff\x13\n\x99,,,\x00", "it is not text in UTF-8"),
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


def test_a_folder_of_parts(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    (folder / "day=2").mkdir(parents=True)
    pd.DataFrame({"user": [1], "item": [5], "time": [2]}).to_parquet(folder / "b.parquet")
    later = pd.DataFrame({"user": [1], "item": np.array([6], "int32"), "time": [1]})
    later.to_parquet(folder / "day=2" / "a.parquet")
    (folder / "_SUCCESS").touch()
    (folder / "README.md").touch()
    assert rows(load_interactions(folder)) == [(1, 6, 1), (1, 5, 2)]
    with pytest.raises(ValueError, match="no numbers to tell the sessions by"):
        load_interactions(folder, item_column="0:")
    (folder / "c.csv").write_text("user,time\n1,3\n")
    with pytest.raises(ValueError, match=r"log.c\.csv: it has no columns for item"):
        load_interactions(folder)
    (folder / "c.csv").write_text("user,item,time\n1,x,3\n")
    assert rows(load_interactions(folder)) == [(1, "6", 1), (1, "5", 2), (1, "x", 3)]


PARTS = {
    "whole": pa.array([1, 2]),
    "float": pa.array([1.0, 2.0]),
    "decimal": pa.array([1, 2]).cast(pa.decimal128(21, 2)),
    "category": pa.array([1, 2]).dictionary_encode(),
}


@pytest.mark.parametrize("kinds", [*itertools.permutations(PARTS, 2)])
def test_parts_of_several_types_have_the_same_ids(kinds: tuple[str, str], tmp_path: Path) -> None:
    from pyarrow import parquet

    folder = tmp_path / "log"
    folder.mkdir()
    for day, kind in enumerate(kinds):
        columns = {"user": [1, 1], "item": PARTS[kind], "time": [day, day]}
        parquet.write_table(pa.table(columns), folder / f"{day}.parquet")
    assert rows(quietly(folder)) == [(1, 1, 0), (1, 2, 0), (1, 1, 1), (1, 2, 1)]


@pytest.mark.parametrize("ids", [[2.0**53, 1.0], [1.5, 2.0], [True, False], [np.nan, 1.0]])
def test_a_part_that_spoils_the_ids_is_named(ids: list[float], tmp_path: Path) -> None:
    for day, items in enumerate(([1, 2], ids)):
        table = pd.DataFrame({"user": 1, "item": items, "time": day})
        table.to_parquet(tmp_path / f"{day}.parquet")
    with pytest.raises(ValueError, match=r"1\.parquet: the item (is|has)"):
        load_interactions(tmp_path)


def test_parts_with_other_columns_of_times_are_refused(tmp_path: Path) -> None:
    write(tmp_path, HEADER + "1,2,3\n", "a.csv")
    write(tmp_path, "user,item,date,time\n1,2,2020-01-01,10:00\n", "b.csv")
    with pytest.raises(ValueError, match="its parts differ in the number of time columns"):
        load_interactions(tmp_path)


def test_hidden_folders_are_omitted(tmp_path: Path) -> None:
    for name in ("a.csv", ".ipynb_checkpoints/a.csv", "_temporary/0/a.csv", "x/.b.csv"):
        (tmp_path / "_log" / name).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path / "_log", HEADER + "1,2,3\n", name)
    assert len(load_interactions(tmp_path / "_log")) == 1
    assert len(load_interactions(tmp_path / "_log" / "*.csv")) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_links_in_a_folder_are_files_or_refused(tmp_path: Path) -> None:
    folder, other = tmp_path / "log", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    write(other, HEADER + "1,2,3\n", "b.csv")
    (folder / "a.csv").symlink_to(other / "b.csv")
    assert len(load_interactions(folder)) == 1
    for target in (other, folder, tmp_path / "nothing.csv"):
        (folder / "link.csv").symlink_to(target)
        with pytest.raises(ValueError, match=r"link\.csv is a link to a folder or to nothing"):
            load_interactions(folder)
        (folder / "link.csv").unlink()
    (other / "loop").symlink_to(".")
    with pytest.raises(ValueError, match="loop is a link to a folder"):
        load_interactions(other / "*")
    assert len(load_interactions(other / "**" / "*.csv")) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes with names on Windows")
def test_a_pipe_is_refused_and_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log.csv")
    with pytest.raises(ValueError, match=r"log\.csv: it is not a file or folder; save the"):
        load_interactions(tmp_path / "log.csv")


def test_a_table_that_keeps_deleted_rows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "_delta_log").mkdir()
    write(tmp_path, HEADER + "1,2,3\n")
    with pytest.raises(ValueError, match="keep deleted rows"):
        load_interactions(tmp_path)


def test_a_bad_archive_among_parts_is_named(tmp_path: Path) -> None:
    write(tmp_path, HEADER + "1,2,3\n")
    write(tmp_path, "no zip file", "b.zip")
    with pytest.raises(ValueError, match=r"b\.zip cannot be read as a table \(BadZipFile"):
        load_interactions(tmp_path)


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


def test_one_column_for_two_roles_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + "1,2,3\n")
    with pytest.raises(ValueError, match="one column cannot be two of user, item and timestamp"):
        load_interactions(path, user_column="item")


@pytest.mark.parametrize("content", ["[1, 2]\n", "5\n", '[{"user": 1, "item": 2, "time": 3}]'])
def test_json_without_objects_is_refused(content: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"log\.jsonl: its lines are not objects such as"):
        load_text(tmp_path, content, "log.jsonl")


def test_the_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write(tmp_path, HEADER + "1,2,3\n")
    assert rows(load_interactions("~/log.csv")) == [(1, 2, 3)]
