"""Write a user's log and load it."""

from __future__ import annotations

import warnings
from pathlib import Path

import pandas as pd

from cprec_lib.logs.datasets import load_interactions

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
    """The table without the warnings about repeated rows, equal times and mixed units."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return load_interactions(path, **options)
