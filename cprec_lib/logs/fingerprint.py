"""The fingerprint of a log, by which records and runs know their data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypedDict

import pandas as pd
import pyarrow
import pyarrow.csv

from cprec_lib.files import sha256


class LogRecord(TypedDict):
    """Users that were long enough to split, rows, and the `fingerprint`."""

    n_users: int
    n_interactions: int
    data_sha256: str


def describe_log(table: pd.DataFrame, dropped_users: int) -> LogRecord:
    """The size and the fingerprint of a table."""
    return {
        "n_users": table["user"].nunique() - dropped_users,
        "n_interactions": len(table),
        "data_sha256": fingerprint(table),
    }


def fingerprint(table: pd.DataFrame) -> str:
    """SHA-256 of the table's rows as lines `user,item,timestamp` of CSV, in the table's order."""
    rows = pyarrow.Table.from_pandas(table[["user", "item", "timestamp"]], preserve_index=False)
    # In batches, because all rows as one text could fill the memory.
    return sha256(lines(rows.to_batches(2**20)))


def lines(batches: Iterable[pyarrow.RecordBatch]) -> Iterator[memoryview]:
    """The batches' rows as text, to be hashed."""
    for rows in batches:
        text = pyarrow.BufferOutputStream()
        pyarrow.csv.write_csv(rows, text, pyarrow.csv.WriteOptions(include_header=False))
        yield memoryview(text.getvalue())
