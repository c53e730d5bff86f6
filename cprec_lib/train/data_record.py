"""The description of the data in runs, records and checkpoints, as JSON holds it."""

from __future__ import annotations

from typing import TypedDict

import pandas as pd
import pyarrow
import pyarrow.csv

from cprec_lib.data.sequences import SequenceData, Split
from cprec_lib.files import sha256


class WindowsHash(TypedDict, total=False):
    """A hash of the training windows and the validation part; old records lack it.

    The validation part is in it because it chooses the best epoch.
    """

    windows_sha256: str


class SequencesRecord(WindowsHash):
    """How a table was split and cut."""

    n_items: int
    dropped_users: int
    max_len: int
    split: Split
    split_seed: int


class DataRecord(SequencesRecord):
    """A `SequencesRecord` with the size of the table and its `fingerprint`."""

    n_users: int
    n_interactions: int
    data_sha256: str


def describe_sequences(data: SequenceData) -> SequencesRecord:
    """The description that must be the same when a training resumes."""
    read = (data.train, data.valid.contexts, data.valid.targets)
    return {
        "n_items": data.n_items,
        "dropped_users": data.dropped_users,
        "max_len": data.max_len,
        "split": data.split,
        "split_seed": data.split_seed,
        "windows_sha256": sha256(part.cpu().numpy().tobytes() for part in read),
    }


def describe_data(table: pd.DataFrame, data: SequenceData) -> DataRecord:
    """The description of a table and the sequences made from it."""
    return {
        **describe_sequences(data),
        "n_users": table["user"].nunique() - data.dropped_users,
        "n_interactions": len(table),
        "data_sha256": fingerprint(table),
    }


def fingerprint(table: pd.DataFrame) -> str:
    """SHA-256 of the table's rows as lines `user,item,timestamp` of CSV, in the table's order."""
    rows = pyarrow.Table.from_pandas(table[["user", "item", "timestamp"]], preserve_index=False)
    # In batches, because all rows as one text could fill the memory.
    return sha256(_lines(batch) for batch in rows.to_batches(2**20))


def _lines(rows: pyarrow.RecordBatch) -> memoryview:
    text = pyarrow.BufferOutputStream()
    pyarrow.csv.write_csv(rows, text, pyarrow.csv.WriteOptions(include_header=False))
    return memoryview(text.getvalue())
