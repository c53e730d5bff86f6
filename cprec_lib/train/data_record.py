"""The description of the data in runs, records and checkpoints, as JSON holds it."""

from __future__ import annotations

from typing import TypedDict

from cprec_lib.data.sequences import SequenceData, Split
from cprec_lib.files import sha256
from cprec_lib.logs.fingerprint import LogRecord


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


class DataRecord(SequencesRecord, LogRecord):
    """A `SequencesRecord` with the size of the table and its `fingerprint`."""


def describe_sequences(data: SequenceData) -> SequencesRecord:
    """The description that must be the same when a training resumes."""
    read = (data.train, data.valid.contexts, data.valid.targets)
    return {
        "n_items": data.n_items,
        "dropped_users": data.dropped_users,
        "max_len": data.max_len,
        "split": data.split,
        "split_seed": data.split_seed,
        "windows_sha256": sha256(part.cpu().contiguous().view(-1).numpy().data for part in read),
    }
