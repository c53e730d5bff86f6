"""A log by both engines: in memory with pandas, and on disk with DuckDB."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cprec_lib.big.sequences import Log, load_sequences

PARTS = ("valid", "test")


def outcome(path: Path, engine: str, **options: Any) -> tuple[Log | str, list[str]]:
    """The log, or the first words of the error; and the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found: Log | str = load_sequences(path, engine=engine, **options)
        except ValueError as error:
            found = " ".join(str(error).split(": ", 1)[-1].split()[:5])
    return found, [str(warning.message) for warning in caught]


def assert_same(path: Path, data_dir: Path, **options: Any) -> Log | str:
    """Both engines give the same error, or the same log in every number; returns it."""
    expected, told = outcome(path, "pandas", **options)
    found, told_too = outcome(path, "duckdb", data_dir=data_dir, **options)
    assert told_too == told
    if isinstance(expected, str) or isinstance(found, str):
        assert found == expected
        return expected
    assert found.record == expected.record
    ours, theirs = found.data, expected.data
    for name in ("items", "counts"):
        a, b = getattr(ours.catalogue, name), getattr(theirs.catalogue, name)
        assert a.dtype == b.dtype and np.array_equal(a, b)
    assert torch.equal(ours.train, theirs.train)
    for part in PARTS:
        a, b = getattr(ours, part), getattr(theirs, part)
        assert torch.equal(a.contexts, b.contexts) and torch.equal(a.targets, b.targets)
    for name in ("max_len", "split", "split_seed", "dropped_users", "n_items"):
        assert getattr(ours, name) == getattr(theirs, name)
    return found
