"""From the files of a log to sequences for training: in memory, or out of it with DuckDB."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal, get_args

import numpy as np
import torch
from filelock import FileLock
from pyarrow import parquet

from cprec_lib.big import duck, windows
from cprec_lib.big.memory import fixed_bytes, sized
from cprec_lib.big.preparing import ITEMS, LOG, Cut, write_arrays
from cprec_lib.checks import check_choice, whole_number
from cprec_lib.data.sequences import SPLITS, Catalogue, SequenceData, Split
from cprec_lib.files import file_hash, make_folder, named_path, sha256
from cprec_lib.logs.datasets import DATASETS, as_given, data_folder, load_interactions
from cprec_lib.logs.fingerprint import LogRecord, describe_log
from cprec_lib.logs.synthetic import PREFIX
from cprec_lib.logs.tables import is_pattern, naming, parts
from cprec_lib.machine import free_bytes
from cprec_lib.model.config import cprec, nextitnet

Engine = Literal["auto", "pandas", "duckdb"]
ENGINES: tuple[Engine, ...] = get_args(Engine)
READING = ("user_column", "item_column", "time_column", "separator")
VERSION = 2
"""Raised when the same files give other arrays, so that old ones are not reused."""
BYTES_PER_ROW = 150
"""Memory of a row on the way through pandas, at its peak (benchmarks/loading.py)."""
BYTES_PER_LINE = 25
"""Bytes of a line of text, to estimate the rows of a file."""
CPU = torch.device("cpu")
BLOCK = 64
"""Windows that training reads in a row from a disk."""


@dataclass(frozen=True)
class Log:
    """Sequences, and the size and fingerprint of the log from which they were made."""

    data: SequenceData
    record: LogRecord


def load_sequences(
    name_or_path: str | Path,
    max_len: int = 50,
    split: Split = "leave_one_out",
    seed: int = 0,
    *,
    engine: Annotated[Engine, "pandas in memory, or duckdb on disk; auto goes by size."] = "auto",
    data_dir: str | Path | None = None,
    memory: int | None = None,
    reading: Mapping[str, Any] | None = None,
) -> Log:
    """The sequences of a log, as `SequenceData.from_interactions(load_interactions(...))`.

    `reading` holds options of `load_interactions`; the others are those of `from_interactions`.
    "pandas" has all rows in memory. "duckdb" sorts the files of a log (parquet or delimited text,
    a folder or a pattern of such parts) out of core in `memory` bytes, half of the free memory by
    default. It writes items, windows and contexts into DATA/prepared, where the next call with
    files of the same content finds them, and maps them into memory. Both give the same sequences,
    row for row. "auto" takes duckdb, with a warning, for a log that would fill more than half of
    the free memory.

    Raises ValueError for a log that cannot be used, OSError if DuckDB is missing or the disk is
    full; nothing half-written is reused.
    """
    check_choice("engine", engine, ENGINES)
    reading, path = dict(reading or {}), files_of(name_or_path)
    for option in reading:
        check_choice("option of reading", option, READING)
    if engine == "auto":
        engine = choose_engine(path)
    if engine == "pandas" or path is None:
        if engine == "duckdb":
            raise ValueError(
                f"{name_or_path} is not a file or folder; only these go through DuckDB"
            )
        table = load_interactions(name_or_path, data_dir, **reading)
        data = SequenceData.from_interactions(table, max_len, split, seed)
        return Log(data, describe_log(table, data.dropped_users))
    max_len = whole_number("max_len", max_len, least=1)
    check_choice("split", split, SPLITS)
    duck.check_installed()
    cut = Cut(max_len, split, seed)
    folder = make_folder(data_folder(data_dir) / "prepared") / _key(path, cut, reading)
    # The lock of a dead process is void; the next one removes what that process left.
    with FileLock(folder.with_suffix(".lock")):
        if not folder.exists():
            _prepare(path, folder, cut, reading, memory or free_bytes(CPU) // 2)
    return _open(folder, cut)


def choose_engine(path: Path | None) -> Engine:
    """duckdb, with a warning, for files that would fill more than half of the free memory."""
    if path is None or not duck.is_installed():
        return "pandas"
    needed, free = BYTES_PER_ROW * estimate_rows(path), free_bytes(CPU)
    if needed <= free // 2:
        return "pandas"
    warnings.warn(
        f"{path}: in memory it would take about {needed / 1e9:.1f} of {free / 1e9:.1f} GB, so it "
        "goes through DuckDB",
        stacklevel=3,
    )
    return "duckdb"


def estimate_rows(path: Path) -> int:
    """Rows of a log: exactly for parquet, else by the size of the files."""
    with naming(path):
        files = parts(path)
    rows = 0
    for file in files:
        with naming(file):
            is_parquet = file.suffix.lower() == ".parquet"
            rows += (
                parquet.read_metadata(file).num_rows
                if is_parquet
                else file.stat().st_size // BYTES_PER_LINE
            )
    return rows


def files_of(name_or_path: str | Path) -> Path | None:
    """The path of a user's log; None for a data set of the registry or a made-up log."""
    name = str(name_or_path)
    if name in DATASETS or name.startswith(PREFIX):
        return None
    path = named_path(name)
    return path if path.exists() or is_pattern(path) else None


def _key(path: Path, cut: Cut, reading: Mapping[str, Any]) -> str:
    """A hash of the contents of the files and of all that decides what is made from them."""
    with naming(path):
        files = parts(path)
    what = {"version": VERSION, "endings": [file.suffixes for file in files], **reading}
    what |= {"cut": asdict(cut), "files": [file_hash(file) for file in files]}
    return sha256([json.dumps(what, sort_keys=True).encode()])[:24]


def _prepare(path: Path, folder: Path, cut: Cut, reading: Mapping[str, Any], memory: int) -> None:
    """Make the folder of arrays of a log, whole or not at all."""
    temporary = folder.with_suffix(".making")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        with duck.connected(temporary / "work", memory, path) as connection:
            duck.read(connection, path, *as_given(**reading))
            write_arrays(connection, path, temporary, cut)
        shutil.rmtree(temporary / "work")
        temporary.rename(folder)
    except OSError as error:
        if not error.errno:
            raise
        raise OSError(
            error.errno,
            f"cannot prepare {path} in {folder.parent}: {error.strerror}; free some space there or "
            "choose another data folder by CPREC_DATA",
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def count_rows(path: Path, reading: Mapping[str, Any], data_dir: str | Path | None) -> str:
    """Rows, users, items, tail and the training's bytes of a log that is not loaded.

    The tail is the share of the rows that the least popular four fifths of the items have. Errors
    as for `load_sequences`.
    """
    duck.check_installed()
    folder = make_folder(data_folder(data_dir) / "prepared")
    with (
        TemporaryDirectory(dir=folder) as temporary,
        duck.connected(Path(temporary) / "work", free_bytes(CPU) // 2, path) as connection,
    ):
        duck.read(connection, path, *as_given(**reading))
        users, *found = duck.count(connection)
    counts = np.array(found, dtype=np.int64)
    rows, items, tail = counts.sum(), len(counts), counts[len(counts) // 5 :].sum()
    return (
        f"{rows:,} rows, {users:,} users, {items:,} items; the least popular 80 % of the items "
        f"have {tail / rows:.0%} of the rows. At width 64, NextItNet takes "
        f"{sized(fixed_bytes(nextitnet(items, 64)))} to train, CpRec "
        f"{sized(fixed_bytes(cprec(items, 64)))}, besides activations"
    )


def _open(folder: Path, cut: Cut) -> Log:
    """Map what `_prepare` wrote into memory. Raises ValueError if it is damaged."""
    try:
        found = json.loads((folder / LOG).read_text(encoding="utf-8"))
        table = parquet.read_table(folder / ITEMS)
        record: LogRecord = found["log"]
        dropped = int(found["dropped_users"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{folder} is damaged ({error}); delete it") from error
    items = np.asarray(table["item"].to_pandas().array)
    catalogue = Catalogue(items, table["count"].to_numpy())
    train, valid, test = windows.read(folder)
    data = SequenceData(
        catalogue, train, valid, test, cut.max_len, cut.split, dropped, cut.seed, BLOCK
    )
    return Log(data, record)
