"""The same sequences out of core as in memory, and what stands in the way of them."""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from cprec_lib import SequentialRecommender, TrainConfig, cprec, fit
from cprec_lib.big import sequences, windows
from cprec_lib.big.sequences import load_sequences
from cprec_lib.data.sequences import SPLITS
from tests.big.both import assert_same, outcome

NUMBERS = st.integers(0, 9)
START = datetime(2024, 5, 31, 23, 59, 58)
IDS = {
    "numbers": lambda n: 7 * n - 20,
    "text": lambda n: f"user {n}",
    "blanks": lambda n: f" {n}x\t",
    "padded": lambda n: f"{n:03}",
    "digits": str,
    "text of floats": lambda n: f"{n}.0",
    "floats": float,
    "half": lambda n: n / 2,
    "words": lambda n: "NA" if n == 3 else f"i{n}",
    "word among numbers": lambda n: "NULL" if n == 3 else str(n),
    "missing": lambda n: None if n == 3 else n,
    "empty": lambda n: "" if n == 3 else f"i{n}",
    "decimals": lambda n: Decimal(n).scaleb(-1),
    "bytes": lambda n: bytes([n + 65]),
    "not text": lambda n: bytes([n, 255]),
    "accents": lambda n: "éßzZ"[n % 4] + str(n),
}
TIMES = {
    "numbers": int,
    "fractions": lambda n: n + 0.125,
    "moments": lambda n: START + timedelta(seconds=n),
    "fractions of a second": lambda n: START + timedelta(milliseconds=500 * n),
    "dates": lambda n: (START + timedelta(days=n)).date(),
    "text": lambda n: str(n),
    "text of fractions": lambda n: f"{n}.5",
    "text of dates": lambda n: (START + timedelta(seconds=n)).isoformat(),
    "text with zones": lambda n: (START + timedelta(seconds=n)).isoformat() + "+02:00",
    "milliseconds": lambda n: 1_600_000_000 * (1000 if n else 1) + n,
    "missing": lambda n: None if n == 3 else n,
    "infinite": lambda n: float("inf") if n == 3 else float(n),
    "bad text": lambda n: "soon" if n == 3 else str(n),
}
TEXT_CANNOT = {"decimals", "bytes", "not text", "missing", "infinite", "half"}


@st.composite
def logs(draw, kinds=tuple(IDS), times=tuple(TIMES)) -> pd.DataFrame:
    """Rows in a random order, with equal times, repeated rows and users that are too short."""
    rows = draw(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=60))
    user, item = (IDS[draw(st.sampled_from(kinds))] for _ in range(2))
    time = TIMES[draw(st.sampled_from(times))]
    made = [(user(u), item(i), time(t)) for u, i, t in rows]
    return pd.DataFrame(made, columns=["user", "item", "time"], dtype=object)


CUTS = st.fixed_dictionaries(
    {"max_len": st.integers(1, 6), "split": st.sampled_from(SPLITS), "seed": st.integers(0, 3)}
)


def as_arrow(table: pd.DataFrame) -> pa.Table:
    columns = {name: pa.array(table[name].tolist()) for name in table}
    return pa.table(columns)


@settings(max_examples=40, deadline=None)
@given(table=logs(), cut=CUTS, n_parts=st.integers(1, 3), rows=st.sampled_from([7, 2**20]))
def test_parquet_as_in_memory(table, cut, n_parts, rows) -> None:
    rows_of_all = as_arrow(table)
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "ROWS", 8 * rows)
        patch.setattr(sequences.duck, "ROWS", rows)
        folder = Path(name) / "log"
        folder.mkdir()
        size = -(-len(rows_of_all) // n_parts)
        for i in range(0, len(rows_of_all), size):
            parquet.write_table(rows_of_all.slice(i, size), folder / f"part-{i:03}.parquet")
        assert_same(folder, Path(name), **cut)


@settings(max_examples=25, deadline=None)
@given(
    table=logs(
        [k for k in IDS if k not in TEXT_CANNOT], [k for k in TIMES if k not in TEXT_CANNOT]
    ),
    cut=CUTS,
    ending=st.sampled_from(["csv", "tsv", "csv.gz", "dat"]),
    order=st.booleans(),
    quoted=st.booleans(),
)
def test_text_as_in_memory(table, cut, ending, order, quoted) -> None:
    if ending == "dat" and table["time"].astype(str).str.contains(":").any():
        ending = "csv"  # in memory, "::" is read as ":" and an empty column
    if ending == "dat":
        text = "user::item::time\n" + "".join(f"{u}::{i}::{t}\n" for u, i, t in table.to_numpy())
        table, quoted = None, False
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / f"log.{ending}"
        if table is None:
            path.write_text(text)
        else:
            table.insert(0, "note", 'a, "b"' if quoted else "x")
            table.to_csv(path, sep="\t" if ending == "tsv" else ",", index=False)
        reading = {"time_column": "order"} if order else {}
        assert_same(path, Path(name), reading=reading, **cut)


def test_the_generated_logs_are_not_all_refused(tmp_path) -> None:
    rng = np.random.default_rng(0)
    made = 0
    for number, (user, time) in enumerate([(u, t) for u in IDS.values() for t in TIMES.values()]):
        rows = [(user(u), i, time(t)) for u, i, t in rng.integers(0, 10, (40, 3)).tolist()]
        path = tmp_path / f"{number}.parquet"
        parquet.write_table(as_arrow(pd.DataFrame(rows, columns=["u", "i", "time"])), path)
        made += not isinstance(outcome(path, "pandas")[0], str)
    assert made > number / 2


def rows_of(n: int = 60) -> pa.Table:
    draw, row = np.random.default_rng(1), np.arange(n)
    return pa.table({"user": row % 5, "item": draw.integers(0, 9, n), "time": row})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of three parts."""
    parts = tmp_path / "log"
    parts.mkdir()
    for i in range(3):
        parquet.write_table(rows_of().slice(20 * i, 20), parts / f"{i}.parquet")
    return parts


def prepared(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "prepared").iterdir() if path.is_dir())


def test_a_pattern_stands_for_its_files(folder: Path) -> None:
    found = load_sequences(folder / "[01].parquet", engine="duckdb", data_dir=folder)
    assert found.record["n_interactions"] == 40
    assert_same(folder / "*.parquet", folder)


def test_the_next_run_reuses_the_arrays_until_a_part_changes(folder: Path, tmp_path: Path) -> None:
    load_sequences(folder, engine="duckdb", data_dir=tmp_path)
    (made,) = prepared(tmp_path)
    train = tmp_path / "prepared" / made / "train.npy"
    written = train.stat().st_mtime_ns
    load_sequences(folder, engine="duckdb", data_dir=tmp_path)
    assert prepared(tmp_path) == [made] and train.stat().st_mtime_ns == written
    part, size = folder / "1.parquet", (folder / "1.parquet").stat()
    content = bytearray(part.read_bytes())
    parquet.write_table(rows_of().slice(19, 20), part)
    assert part.stat().st_size == size.st_size or content  # whatever size and time say
    os.utime(part, ns=(size.st_atime_ns, size.st_mtime_ns))
    assert_same(folder, tmp_path)
    assert len(prepared(tmp_path)) == 2


def test_other_options_make_other_arrays(folder: Path, tmp_path: Path) -> None:
    for options in ({}, {"max_len": 3}, {"split": "by_time"}, {"reading": {"time_column": "time"}}):
        load_sequences(folder, engine="duckdb", data_dir=tmp_path, **options)
    assert len(prepared(tmp_path)) == 4


def test_what_a_killed_process_left_is_not_reused(folder: Path, tmp_path: Path) -> None:
    load_sequences(folder, engine="duckdb", data_dir=tmp_path)
    (made,) = prepared(tmp_path)
    whole = tmp_path / "prepared" / made
    whole.rename(whole.with_suffix(".making"))
    (whole.with_suffix(".making") / "train.npy").write_bytes(b"half")
    assert_same(folder, tmp_path)
    assert prepared(tmp_path) == [made]


def refuse(path: Path, message: str, kind: type[Exception] = ValueError, **reading: str) -> None:
    with pytest.raises(kind, match=message):
        load_sequences(path, engine="duckdb", data_dir=path.parent, reading=reading)
    assert not (path.parent / "prepared").exists() or prepared(path.parent) == []


def test_parts_with_other_columns_or_types(folder: Path) -> None:
    other = rows_of().rename_columns(["user", "item", "ts"])
    parquet.write_table(other, folder / "2.parquet")
    refuse(folder, r"2\.parquet has other columns or types \(.*ts int64\) than .*0\.parquet")
    text = rows_of().set_column(0, "user", pa.array(["a"] * 60))
    parquet.write_table(text, folder / "2.parquet")
    refuse(folder, "user string.*write all parts with the same ones, or use --engine pandas")


def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    refuse(tmp_path / "log", r"this folder holds no file that ends in \.csv")
    refuse(tmp_path / "log" / "*.parquet", "this pattern matches no file")


def test_a_part_cut_short(folder: Path) -> None:
    part = folder / "1.parquet"
    part.write_bytes(part.read_bytes()[:-20])
    refuse(folder, r"1\.parquet cannot be read as a table")
    text = folder.parent / "log.csv"
    text.write_text("user,item,time\n1,2,3\n4,5")
    refuse(text, r"log\.csv cannot be read by DuckDB .*Expected Number of Columns: 3 Found: 2")


def test_a_damaged_page_of_a_part(folder: Path) -> None:
    part = folder / "1.parquet"
    content = part.read_bytes()
    part.write_bytes(content[:4] + bytes(60) + content[64:])
    with pytest.raises((ValueError, OSError), match=r"by DuckDB|DuckDB cannot"):
        load_sequences(folder, engine="duckdb", data_dir=folder.parent)
    assert prepared(folder.parent) == []


def test_what_only_pandas_reads(tmp_path: Path) -> None:
    lines = tmp_path / "log.jsonl"
    lines.write_text(json.dumps({"user": 1, "item": 2, "time": 3}) + "\n")
    refuse(lines, r"DuckDB reads \.parquet, text and text as \.gz here; convert it, or use --eng")
    sequence = tmp_path / "log.txt"
    sequence.write_text("1 2 3 4\n")
    refuse(sequence, "no sequence a line", item_column="1:")
    lists = tmp_path / "lists.parquet"
    parquet.write_table(pa.table({"user": [1], "item": [[1, 2]], "time": [[1, 2]]}), lists)
    refuse(lists, "DuckDB reads no lists here")
    swallowed = tmp_path / "quotes.csv"
    swallowed.write_text('note,user,item,time\n"a\nb",1,2,3\n')
    refuse(swallowed, "it has empty lines, or line ends in quotes")
    dates = tmp_path / "dates.csv"
    for date in ("31.05.2024", "13-02-20", "epoch", "2024-01-01 00:00:00.0000001"):
        dates.write_text(f"user,item,time\n1,2,{date}\n")
        refuse(dates, "unparsable.*other dates are read by --engine pandas")
    alike = tmp_path / "alike.parquet"
    parquet.write_table(pa.table({"User": [1], "user": [2], "item": [3], "time": [4]}), alike)
    refuse(alike, "DuckDB takes several columns for 'user'; rename them", user_column="user")


def test_an_option_of_reading_that_is_none_is_not_given(folder: Path) -> None:
    reading = {"user_column": None, "separator": None}
    log = load_sequences(folder, engine="duckdb", data_dir=folder.parent, reading=reading)
    assert log.data.n_items == load_sequences(folder, engine="pandas").data.n_items


@pytest.mark.parametrize("clock", ["", " ", None])
def test_a_date_without_its_clock_is_refused(clock: str | None, tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    days, clocks = ["2020-01-01"] * 2, ["10:00", clock]
    table = {"user": [1, 1], "item": [1, 2], "date": days, "time": clocks}
    parquet.write_table(pa.table(table), path)
    refuse(path, "timestamp is missing.* in 1 of 2 rows, first in row 2")


def test_names_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a file or folder; only these go through DuckDB"):
        load_sequences("synthetic:users=9", engine="duckdb", data_dir=tmp_path)
    with pytest.raises(ValueError, match="unknown option of reading 'colour'"):
        load_sequences("synthetic:users=9", reading={"colour": "red"})
    with pytest.raises(ValueError, match="engine 'spark'"):
        load_sequences("synthetic:users=9", engine="spark")


def test_duckdb_missing(folder: Path, monkeypatch) -> None:
    monkeypatch.setattr("cprec_lib.big.duck.find_spec", lambda name: None)
    refuse(folder, "duckdb is not installed; run `pip install duckdb`", OSError)


def test_a_disk_that_fills(folder: Path, tmp_path: Path) -> None:
    """A limit on the size of a file stands for a full disk: writes fail with an error."""
    parquet.write_table(rows_of(300_000), folder / "0.parquet")
    program = (
        "import resource, sys; from cprec_lib.big.sequences import load_sequences\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)\n"
        "try: load_sequences(sys.argv[1], engine='duckdb', data_dir=sys.argv[2])\n"
        "except OSError as error: print('told', error)"
    )
    for limit in (100_000, 2_000_000):  # while DuckDB sorts, and while the windows are written
        command = [sys.executable, "-c", program, folder, tmp_path, str(limit)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert "told" in done.stdout and "free some space there" in done.stdout, done
        assert prepared(tmp_path) == []


def test_a_large_log_goes_through_duckdb_by_itself(folder: Path, tmp_path, monkeypatch) -> None:
    assert load_sequences(folder, data_dir=tmp_path).data.block == 1
    monkeypatch.setattr(sequences, "free_bytes", lambda device: 60 * sequences.BYTES_PER_ROW)
    with pytest.warns(UserWarning, match="in memory it would take about .* so it goes through"):
        found = load_sequences(folder, data_dir=tmp_path, memory=2**28)
    assert found.data.block == sequences.BLOCK
    monkeypatch.setattr(sequences.duck, "is_installed", lambda: False)
    assert load_sequences(folder, data_dir=tmp_path).data.block == 1


def test_a_damaged_array(folder: Path, tmp_path: Path) -> None:
    load_sequences(folder, engine="duckdb", data_dir=tmp_path)
    train = tmp_path / "prepared" / prepared(tmp_path)[0] / "train.npy"
    train.write_bytes(train.read_bytes()[:-8])
    with pytest.raises(ValueError, match=r"train\.npy is damaged .*; delete its folder"):
        load_sequences(folder, engine="duckdb", data_dir=tmp_path)


def test_training_from_the_disk_ends_as_from_memory_in_the_same_order(folder, tmp_path) -> None:
    on_disk = load_sequences(folder, 4, engine="duckdb", data_dir=tmp_path).data
    in_memory = load_sequences(folder, 4, engine="pandas").data
    histories = []
    for data in (on_disk, replace(in_memory, block=on_disk.block)):
        model = SequentialRecommender(cprec(data.n_items, 8, cutoffs=(2, 4), dilations=(1,)))
        history = fit(model, data, TrainConfig(epochs=2, batch_size=4), progress=False)
        histories.append([(epoch.loss, epoch.valid) for epoch in history.epochs])
    assert histories[0] == histories[1]
