"""From parquet parts on a disk to windows, and the first training steps with windows on the disk.

DuckDB stands beside pandas, and in a smaller case polars, which both load all rows; the windows on
the disk beside the same ones in memory. CPREC_BENCH_ROWS sets the number of rows of the large
case; the others have a tenth. Parts are generated once, a million rows at a time: 145 rows a user,
an item for each 500 rows on a Zipf curve, rows in a random order of users.
"""

from __future__ import annotations

import os
import shutil
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from pyarrow import parquet

from benchmarks.child import Skipped, Work, require
from benchmarks.contest import Side, case, contest
from benchmarks.loading import checksums
from cprec_lib.big.sequences import BLOCK, load_sequences
from cprec_lib.big.windows import shuffled
from cprec_lib.data.sequences import SequenceData
from cprec_lib.model.config import nextitnet
from cprec_lib.model.recommender import SequentialRecommender

TITLE = "From parquet parts on a disk to windows, and 1,000 training steps with them"
FOLDER = Path(__file__).resolve().parent.parent / "build" / "bench"
ROWS, QUICK, PART = 100_000_000, 1_000_000, 1_000_000
ROWS_PER_USER, ROWS_PER_ITEM, MAX_LEN = 145, 500, 50
MEMORY = 2 * 2**30
"""What DuckDB may use, so that the process stays below 4 GB."""
STEPS, QUICK_STEPS, BATCH, WIDTH = 1_000, 50, 32, 16
COMMAND = ("env", "CUDA_VISIBLE_DEVICES=", sys.executable, "-m", "benchmarks.child")


def row(quick: bool) -> dict[str, Any]:
    """All cases with CPREC_BENCH_ROWS rows, by default 100 million, or a million if `quick`."""
    rows = int(os.environ.get("CPREC_BENCH_ROWS", QUICK if quick else ROWS))
    few, steps = rows // 10, QUICK_STEPS if quick else STEPS
    cases = [compare(rows), compare(few, ("polars",)), train(few, steps)]
    return {"title": TITLE, "cases": cases}


def compare(rows: int, others: tuple[str, ...] = (), folder: Path = FOLDER) -> dict[str, Any]:
    """Seconds and memory of each side; one in memory is left out where it does not fit."""
    options = {"path": str(folder / f"log-{rows}"), "rows": rows}
    generator, *sides = (
        Side(name, f"{__name__}:on_{name}", options, calls=1, command=COMMAND)
        for name in ("generator", "duckdb", "pandas", *others)
    )
    contest([generator], rounds=1)
    return case(f"{rows:,} rows to windows", sides, rounds=1, tolerance=0)


def train(rows: int, steps: int, folder: Path = FOLDER) -> dict[str, Any]:
    """Seconds of the first steps of an epoch, on the log that `compare` has generated."""
    options = {"path": str(folder / f"log-{rows}"), "steps": steps}
    sides = [
        Side(name, f"{__name__}:first", {**options, "copied": copied}, calls=1, command=COMMAND)
        for name, copied in (("windows on the disk", False), ("windows in memory", True))
    ]
    return case(f"{rows:,} rows, {steps:,} training steps", sides, rounds=2, tolerance=0)


# ---- The log ----


def on_generator(path: str, rows: int) -> Work:
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
    rank = (1 + draw.random(size) * ((rows // ROWS_PER_ITEM + 1) ** 0.2 - 1)) ** 5
    times = draw.integers(1_500_000_000, 1_700_000_000, size)
    return pa.table([users, rank.astype(np.int64), times], names=["user", "item", "timestamp"])


# ---- To windows ----


def on_duckdb(path: str, rows: int) -> Work:
    """With `load_sequences`, on the disk."""
    data_dir = prepared(path)

    def work() -> list[float]:
        shutil.rmtree(data_dir, ignore_errors=True)  # else it would reuse the windows
        return sums(on_disk(path))

    return work


def on_disk(path: str) -> SequenceData:
    """The windows of a log as mapped arrays, which are made unless they exist."""
    return load_sequences(
        path, MAX_LEN, engine="duckdb", data_dir=prepared(path), memory=MEMORY
    ).data


def prepared(path: str) -> Path:
    """The folder of a log's windows."""
    return Path(path).with_name(f"{Path(path).name}-windows")


def on_pandas(path: str, rows: int) -> Work:
    """The same with pandas."""
    require(rows * 250)
    return lambda: sums(load_sequences(path, MAX_LEN, engine="pandas").data)


def on_polars(path: str, rows: int) -> Work:
    """The same by hand with polars: without checks and without the fingerprint of the log."""
    require(rows * 250)
    try:
        import polars  # noqa: F401
    except ImportError:
        raise Skipped(
            "polars is not installed; run `pip install -r benchmarks/requirements.txt`"
        ) from None
    return lambda: checksums(*with_polars(path))


def with_polars(path: str) -> tuple[Any, ...]:
    """Items and counts of the catalogue, training windows, validation targets."""
    import polars as pl

    back = pl.col("size") - 1 - pl.col("n")  # from a user's end
    rows = (
        pl.read_parquet(f"{path}/*.parquet")
        .sort("user", "timestamp", maintain_order=True)
        .with_columns(n=pl.int_range(pl.len()).over("user"), size=pl.len().cast(int).over("user"))
        .filter(pl.col("size") >= 3)
        .select("user", "item", back=back, size="size")
    )
    catalogue = (
        rows.group_by("item")
        .agg(count=(pl.col("back") > 1).sum())
        .sort(["count", "item"], descending=[True, False])
        .with_row_index("id", offset=1)
        .with_columns(pl.col("id").cast(int))
    )
    numbered = rows.join(catalogue, on="item", maintain_order="left")
    targets = numbered.filter(back=1)["id"]
    train = numbered.filter(pl.col("back") > 1).with_columns(pl.col("back") - 2)
    number, first = pl.col("back") // MAX_LEN, pl.col("back") % MAX_LEN == 0
    twice = train.filter(first & (pl.col("back") > 0)).with_columns(number=number - 1)
    padded = pl.concat_list(pl.lit([0] * (MAX_LEN + 1)), "id")
    windows = (
        pl.concat([train.with_columns(number=number), twice])
        .filter(pl.col("number") * MAX_LEN < pl.col("size") - 3)
        .sort("user", "number", "back", descending=[False, False, True])
        .group_by("user", "number", maintain_order=True)
        .agg("id")
        .select(padded.list.tail(MAX_LEN + 1).list.to_array(MAX_LEN + 1))
    )
    return catalogue["item"], catalogue["count"], windows.to_series().to_numpy(), targets


def sums(data: SequenceData) -> list[float]:
    """Numbers that tell other windows or items."""
    return checksums(data.catalogue.items, data.catalogue.counts, data.train, data.valid.targets)


# ---- Training ----


def first(path: str, steps: int, copied: bool) -> Work:
    """The first steps of an epoch as `fit` makes them, with the windows on the disk or in memory.

    Both take the windows in the order of the disk, of which the system has cached nothing.
    """
    from cprec_lib.train.batches import Batches
    from cprec_lib.train.processes import Processes

    data, processes = on_disk(path), Processes()
    if len(data.train) < steps * BATCH:
        raise Skipped(f"{steps:,} steps need {steps * BATCH:,} windows, not {len(data.train):,}")
    windows = data.train.clone() if copied else data.train
    torch.manual_seed(0)
    model = SequentialRecommender(nextitnet(data.n_items, WIDTH, dilations=(1, 4)))
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    drop_cached(prepared(path))

    def work() -> list[float]:
        batches = Batches(windows, model, BATCH, processes)
        losses = []
        for part in islice(batches.parts(shuffled(len(windows), BLOCK)), steps):
            loss = model.loss(part.windows, part.sizes) * part.weight
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        return losses

    return work


def drop_cached(folder: Path) -> None:
    """Make the next reader of a folder's files read them from the disk, where the system can."""
    for file in folder.rglob("*.npy"):
        with file.open("rb") as opened:
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
