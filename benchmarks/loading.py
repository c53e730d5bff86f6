"""From a raw ratings file to training tensors: our reader beside the way a user would write it.

The log is generated in MovieLens's format and of its shape: 145 ratings a user, 27,000 items on a
Zipf curve, rows by user and item, and many ratings in one second.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv
from torch import Tensor

from benchmarks.child import Work
from benchmarks.contest import Side, contest
from cprec_lib import SequenceData, load_interactions
from cprec_lib.datasets import DATASETS

FOLDER = Path(__file__).resolve().parent.parent / "build" / "bench"
ITEMS = 27_000
RATINGS_PER_USER = 145
MAX_LEN = 50
COLUMNS = ["user", "item", "rating", "timestamp"]


def ratings(rows: int, seed: int = 0) -> pa.Table:
    """A log of `rows` distinct pairs of user and item, in the order of the pairs."""
    draw = np.random.default_rng(seed)
    n_users = max(1, rows // RATINGS_PER_USER)
    activity = 0.2 + draw.lognormal(size=n_users)
    # With repeated pairs, which are dropped below: an eighth more than needed leaves enough.
    n_drawn = draw.multinomial(rows * 9 // 8 + 1000, activity / activity.sum())
    user = np.repeat(np.arange(n_users), n_drawn)
    # Where a Zipf law with exponent 0.8 reaches a share u of its mass is a power of u.
    rank = (1 + draw.random(len(user)) * ((ITEMS + 1) ** 0.2 - 1)) ** 5
    pairs = np.sort(user * ITEMS + draw.permutation(ITEMS)[rank.astype(np.int64) - 1])
    pairs = pairs[np.append(True, pairs[1:] > pairs[:-1])][:rows]
    user, item = pairs // ITEMS, pairs % ITEMS
    # A user rates in one sitting, half a minute a rating on average, but often several at once.
    start = draw.integers(820_000_000, 1_420_000_000, n_users)
    sitting = 30 * n_drawn[user]
    time = start[user] + (draw.random(len(user)) * sitting).astype(np.int64) // 60 * 60
    stars = draw.integers(1, 11, len(user)) / 2
    return pa.table([user + 1, item + 1, stars, time], names=COLUMNS)


def file_of(rows: int, ending: str) -> Path:
    """The log as ratings.csv, or within an archive as GroupLens packs it; made once and kept."""
    path = FOLDER / str(rows) / {"csv": "ratings.csv", "zip": "ml-20m.zip"}[ending]
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        if ending == "csv":
            with part.open("wb") as file:
                file.write(b"userId,movieId,rating,timestamp\n")
                csv.write_csv(ratings(rows), file, csv.WriteOptions(include_header=False))
        else:
            with ZipFile(part, "w", ZIP_DEFLATED, compresslevel=1) as archive:
                archive.write(file_of(rows, "csv"), "ml-20m/ratings.csv")
        part.replace(path)
    return path


if __name__ == "__main__":
    import sys, time
    t=time.time(); file_of(int(sys.argv[1]), "csv"); print(time.time()-t)
    t=time.time(); p=file_of(int(sys.argv[1]), "zip"); print(time.time()-t, p.stat())
