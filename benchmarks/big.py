"""From parquet parts on a disk to windows: with DuckDB beside pandas, which loads all rows.

CPREC_BENCH_ROWS sets the number of rows. Parts are generated once, a million rows at a time: 145
rows a user, 200,000 items on a Zipf curve, rows in a random order of users.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from benchmarks.child import Work, require
from benchmarks.contest import Side, case, contest
from benchmarks.loading import checksums
from cprec_lib.big.sequences import load_sequences

TITLE = "From parquet parts on a disk to windows"
FOLDER = Path(__file__).resolve().parent.parent / "build" / "bench"
ROWS, QUICK, PART = 100_000_000, 1_000_000, 1_000_000
ROWS_PER_USER, ITEMS, MAX_LEN = 145, 200_000, 50
MEMORY = 2 * 2**30
"""What DuckDB may use, so that the process stays below 4 GB."""
COMMAND = ("env", "CUDA_VISIBLE_DEVICES=", sys.executable, "-m", "benchmarks.child")


def row(quick: bool) -> dict[str, Any]:
    """Both ways on CPREC_BENCH_ROWS rows, by default 100 million, or a million if `quick`."""
    rows = int(os.environ.get("CPREC_BENCH_ROWS", QUICK if quick else ROWS))
    return {"title": TITLE, "cases": [compare(rows)]}


def compare(rows: int, folder: Path = FOLDER) -> dict[str, Any]:
    """Seconds and memory of each side; the one in memory is left out where it does not fit."""
    options = {"path": str(folder / f"log-{rows}"), "rows": rows}
    generator, duckdb, pandas = (
        Side(name, f"{__name__}:{function}", options, calls=1, command=COMMAND)
        for name, function in [("generator", "generated"), ("duckdb", "duck"), ("pandas", "memory")]
    )
    contest([generator], rounds=1)
    return case(f"{rows:,} rows", [duckdb, pandas], rounds=1, tolerance=0)


def generated(path: str, rows: int) -> Work:
    """Write the parts if they do not exist; returns their number."""
    folder = Path(path)

    def work() -> list[float]:
        parts = -(-rows // PART)
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(parts):
            target = folder / f"part-{number:04}.parquet"
            if not target.exists():
                making = target.with_suffix(".making")
                parquet.write_table(part(number, min(PART, rows - number * PART), rows), making)
                making.replace(target)
        return [parts]

    return work


def part(number: int, size: int, rows: int) -> pa.Table:
    """`size` of the rows of a log."""
    draw = np.random.default_rng(number)
    users = draw.integers(1, max(2, rows // ROWS_PER_USER), size)
    # The rank at which a Zipf law with exponent 0.8 reaches a share u of its mass.
    rank = (1 + draw.random(size) * ((ITEMS + 1) ** 0.2 - 1)) ** 5
    times = draw.integers(1_500_000_000, 1_700_000_000, size)
    return pa.table([users, rank.astype(np.int64), times], names=["user", "item", "timestamp"])


def duck(path: str, rows: int) -> Work:
    """With `load_sequences`, on the disk."""
    data_dir = Path(path).with_name("big-data")

    def work() -> list[float]:
        shutil.rmtree(data_dir, ignore_errors=True)  # else it would reuse the windows
        return sums(
            load_sequences(path, MAX_LEN, engine="duckdb", data_dir=data_dir, memory=MEMORY)
        )

    return work


def memory(path: str, rows: int) -> Work:
    """The same with pandas."""
    require(rows * 250)
    return lambda: sums(load_sequences(path, MAX_LEN, engine="pandas"))


def sums(log: Any) -> list[float]:
    """Numbers that tell other windows, items or rows."""
    data = log.data
    first = int(log.record["data_sha256"][:12], 16)
    return [first, *checksums(data.catalogue.items, data.catalogue.counts, data.valid.targets)]
