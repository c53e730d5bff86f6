"""What runs, records and checkpoints say of their data, typed as JSON holds it."""

from __future__ import annotations

from typing import TypedDict

import pandas as pd
import pyarrow
import pyarrow.csv

from cprec_lib.data.sequences import SequenceData, Split
from cprec_lib.files import sha256


class SequencesRecord(TypedDict):
    """How a table was split and cut, and a hash of what a training reads of it.

    That is the training windows, and the validation part, which chooses the best epoch.
    """

    n_items: int
    dropped_users: int
    max_len: int
    split: Split
    split_seed: int
    windows_sha256: str


class DataRecord(SequencesRecord):
    """Also the size of the table, and its `fingerprint`."""

    n_users: int
    n_interactions: int
    data_sha256: str


def describe_sequences(data: SequenceData) -> SequencesRecord:
    """What a training must find again to go on from a checkpoint."""
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
    """What the record of a run says of its table and of the sequences made of it."""
    return {
        **describe_sequences(data),
        "n_users": table["user"].nunique() - data.dropped_users,
        "n_interactions": len(table),
        "data_sha256": fingerprint(table),
    }


def fingerprint(table: pd.DataFrame) -> str:
    """SHA-256 of the table's rows as lines `user,item,timestamp` of CSV, in the table's order."""
    rows = pyarrow.Table.from_pandas(table[["user", "item", "timestamp"]], preserve_index=False)
    # All rows as one text would fill the memory.
    return sha256(_lines(batch) for batch in rows.to_batches(2**20))


def _lines(rows: pyarrow.RecordBatch) -> memoryview:
    text = pyarrow.BufferOutputStream()
    pyarrow.csv.write_csv(rows, text, pyarrow.csv.WriteOptions(include_header=False))
    return memoryview(text.getvalue())
