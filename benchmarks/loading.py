"""From a raw ratings file to training tensors: our reader compared with pandas by hand.

The log is generated in MovieLens's format and shape: 145 ratings per user, 27,000 items on a Zipf
curve, rows sorted by user and item, and several ratings in one second.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from pyarrow import csv
from torch import Tensor

from benchmarks.child import Work, require
from benchmarks.contest import Side, case, contest
from cprec_lib import SequenceData, load_interactions

TITLE = "From a raw ratings file to training tensors"
FOLDER = Path(__file__).resolve().parent.parent / "build" / "bench"
COLUMNS = ["userId", "movieId", "rating", "timestamp"]
ITEMS = 27_000
RATINGS_PER_USER = 145
MAX_LEN = 50
# Hide a GPU, so that the memory measured is that of the process.
COMMAND = ("env", "CUDA_VISIBLE_DEVICES=", sys.executable, "-m", "benchmarks.child")


def row(quick: bool) -> dict[str, Any]:
    """Both sides on 20 million ratings, or on 2 million if `quick`."""
    return {"title": TITLE, "cases": [compare(2_000_000 if quick else 20_000_000)]}


def compare(rows: int, folder: Path = FOLDER, rounds: int = 2) -> dict[str, Any]:
    """Seconds and memory of each side on a log of `rows` ratings, which is generated once."""
    path = folder / f"ratings-{rows}.csv"
    options = {"path": str(path), "rows": rows}
    generator, ours, by_hand = (
        Side(name, f"{__name__}:{function}", options, calls=1, command=COMMAND)
        for name, function in [
            ("generator", "generated"),
            ("cprec_lib", "ours"),
            ("pandas", "by_hand"),
        ]
    )
    name, made = f"{rows:,} ratings", contest([generator], rounds=1)
    if not path.exists():  # the generator was skipped for lack of memory
        return {"case": name, "ours": ours.name, "sides": made}
    return case(name, [ours, by_hand], rounds, tolerance=0)  # sums of ids are exact


# ---- The log ----


def ratings(rows: int, seed: int = 0) -> pa.Table:
    """A log of `rows` distinct pairs of user and item, sorted by pair."""
    draw = np.random.default_rng(seed)
    n_users = max(1, rows // RATINGS_PER_USER)
    activity = 0.2 + draw.lognormal(size=n_users)
    # Draw an eighth more than needed, because repeated pairs are dropped below.
    n_drawn = draw.multinomial(rows * 9 // 8 + 1000, activity / activity.sum())
    user = np.repeat(np.arange(n_users), n_drawn)
    # The rank at which a Zipf law with exponent 0.8 reaches a share u of its mass.
    rank = (1 + draw.random(len(user)) * ((ITEMS + 1) ** 0.2 - 1)) ** 5
    pairs = np.sort(user * ITEMS + draw.permutation(ITEMS)[rank.astype(np.int64) - 1])
    pairs = pairs[np.append(True, pairs[1:] > pairs[:-1])][:rows]
    user, item = pairs // ITEMS, pairs % ITEMS
    # A user rates in one session, half a minute per rating on average, often several at once.
    start = draw.integers(820_000_000, 1_420_000_000, n_users)
    sitting = 30 * n_drawn[user]
    time = start[user] + (draw.random(len(user)) * sitting).astype(np.int64) // 60 * 60
    stars = draw.integers(1, 11, len(user)) / 2
    return pa.table([user + 1, item + 1, stars, time], names=COLUMNS)


def generated(path: str, rows: int) -> Work:
    """Write the log if it does not exist; returns its number of bytes."""
    target = Path(path)

    def work() -> list[float]:
        if not target.exists():
            require(rows * 120)
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_suffix(f".{os.getpid()}")
            with part.open("wb") as file:
                file.write(f"{','.join(COLUMNS)}\n".encode())  # pyarrow would put it in quotes
                csv.write_csv(ratings(rows), file, csv.WriteOptions(include_header=False))
            part.replace(target)
        return [target.stat().st_size]

    return work


# ---- The sides ----


def ours(path: str, rows: int) -> Work:
    """With the library."""
    require(rows * 150)

    def work() -> list[float]:
        data = SequenceData.from_interactions(load_interactions(path), MAX_LEN)
        held_out = [data.valid.contexts, data.valid.targets, data.test.contexts, data.test.targets]
        return checksums(data.catalogue.items, data.catalogue.counts, data.train, *held_out)

    return work


def by_hand(path: str, rows: int) -> Work:
    """With pandas alone: column operations where pandas has them, and a loop over users."""
    require(rows * 250)
    return lambda: checksums(*tensors_by_hand(path))


def tensors_by_hand(path: str) -> tuple[Any, ...]:
    """Items and counts of the catalogue, training windows, contexts and targets of both parts."""
    table = pd.read_csv(path, usecols=["userId", "movieId", "timestamp"])
    table = table.sort_values(["userId", "timestamp"], kind="stable")
    table = table[table.groupby("userId")["movieId"].transform("size") >= 3]
    to_come = table.groupby("userId").cumcount(ascending=False)
    counts = table["movieId"][to_come >= 2].value_counts()
    counts = counts.reindex(np.sort(table["movieId"].unique()), fill_value=0)
    counts = counts.sort_values(ascending=False, kind="stable")
    ids = pd.Series(np.arange(1, len(counts) + 1), index=counts.index)
    windows, valid, test, targets = [], [], [], []
    for _, history in table["movieId"].map(ids).groupby(table["userId"]):
        sequence = history.to_numpy()
        for end in range(len(sequence) - 2, 1, -MAX_LEN):
            windows.append(sequence[max(0, end - MAX_LEN - 1) : end])
        valid.append(sequence[-MAX_LEN - 2 : -2])
        test.append(sequence[-MAX_LEN - 1 : -1])
        targets.append(sequence[-2:])
    last = torch.tensor(np.array(targets))
    contexts = padded(valid, MAX_LEN), padded(test, MAX_LEN)
    train = padded(windows, MAX_LEN + 1)
    return counts.index, counts, train, contexts[0], last[:, 0], contexts[1], last[:, 1]


def padded(sequences: list[np.ndarray], length: int) -> Tensor:
    """Rows [R, length] with zeros on the left."""
    rows = np.zeros((len(sequences), length), dtype=np.int64)
    for i, sequence in enumerate(sequences):
        rows[i, length - len(sequence) :] = sequence
    return torch.from_numpy(rows)


def checksums(*parts: Any) -> list[float]:
    """For each array: its length and its sums weighted by row and by column, exact as floats."""
    numbers = []
    for part in parts:
        matrix = np.asarray(part)
        matrix = matrix.reshape(len(matrix), -1)
        sums = [np.arange(1, len(x) + 1) @ x for x in (matrix.sum(1), matrix.sum(0))]
        numbers += [len(matrix), *(int(x) % 2**50 for x in sums)]
    return numbers
