"""Windows of a log that does not fit the memory, cut from some users at a time into files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cprec_lib.data import sequences
from cprec_lib.data.sequences import HeldOut, Split

ROWS = 2**20
"""Rows of the log, or sequences, in memory at once."""
POOL = 1024
"""Blocks of windows that are shuffled together."""
Bounds = tuple[np.ndarray, np.ndarray]


def users(lengths: np.ndarray) -> Bounds:
    """Starts and ends [U] of the rows of users with so many rows."""
    ends = lengths.cumsum()
    return ends - lengths, ends


def split(
    times: np.ndarray, periods: list[Any], lengths: np.ndarray, kind: Split, seed: int
) -> dict[str, Bounds]:
    """Starts and ends of each part's sequences, as `SequenceData` has them. Errors as there.

    `times` [R] may be a file; `periods` are `sequences.moments`. Both are used by time alone.
    """
    starts, ends = users(lengths)
    if not kind.startswith("by_time"):
        return sequences.split_users(starts, ends, kind, seed)
    reached: list[list[np.ndarray]] = [[] for _ in periods]
    numbered = True
    for base, rows, own in groups(times, starts, ends):
        numbered = numbered and sequences.only_numbered(rows, *own)
        for found, moment in zip(reached, periods, strict=True):
            found.append(base + sequences.reach(rows, *own, moment))
    if numbered:
        raise ValueError(sequences.NO_TIMES)
    joined = [np.concatenate(found) for found in reached]
    return sequences.split_by_time(starts, ends, joined, kind, seed)


def groups(
    rows: np.ndarray, starts: np.ndarray, ends: np.ndarray
) -> Iterator[tuple[int, np.ndarray, Bounds]]:
    """The rows of some sequences at a time: where they start, they, and the sequences in them."""
    first = 0
    while first < len(starts):
        reach = np.searchsorted(ends, starts[first] + ROWS, side="right")
        last = min(max(int(reach), first + 1), first + ROWS // 8, len(starts))
        base, limit = int(starts[first]), int(ends[last - 1])
        yield base, np.array(rows[base:limit]), (starts[first:last] - base, ends[first:last] - base)
        first = last


def number_items(codes: np.ndarray, train: Bounds, n_items: int) -> tuple[np.ndarray, np.ndarray]:
    """The codes in the order of the catalogue, and the training counts of the codes, [N] both."""
    counts = np.zeros(n_items, dtype=np.int64)
    for _, rows, own in groups(codes, *train):
        counts += sequences.count(rows, *own, n_items)
    return np.argsort(-counts, kind="stable"), counts


def write(
    folder: Path, codes: np.ndarray, ids: np.ndarray, bounds: dict[str, Bounds], max_len: int
) -> None:
    """Cut windows and contexts from the items ids[codes] and write them as .npy files."""
    starts, ends = bounds["train"]
    n_windows = int((-(-(ends - starts - 1) // max_len)).sum())
    cut = (
        sequences.windows(ids[rows], *own, max_len).numpy()
        for _, rows, own in groups(codes, starts, ends)
    )
    _write_rows(folder / "train.npy", (n_windows, max_len + 1), cut)
    for name in ("valid", "test"):
        starts, ends = bounds[name]
        held = (
            sequences.held_out(ids[rows], *own, max_len).contexts.numpy()
            for _, rows, own in groups(codes, starts, ends)
        )
        _write_rows(folder / f"{name}_contexts.npy", (len(ends), max_len), held)
        np.save(folder / f"{name}_targets.npy", ids[codes[ends - 1]])


def _write_rows(path: Path, shape: tuple[int, int], parts: Iterator[np.ndarray]) -> None:
    """Write the rows of all parts as one .npy file of int64, without the whole in memory."""
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.int64)), "fortran_order": False}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {**header, "shape": shape})
        for part in parts:
            file.write(np.ascontiguousarray(part).data)


def read(folder: Path) -> tuple[torch.Tensor, HeldOut, HeldOut]:
    """Training windows, validation and test part, mapped from the files that `write` wrote.

    Raises ValueError if a file is damaged.
    """
    found = {}
    for name in ("train", "valid_contexts", "valid_targets", "test_contexts", "test_targets"):
        path = folder / f"{name}.npy"
        try:  # copy on write: torch warns of arrays that are only for reading
            found[name] = torch.from_numpy(np.load(path, mmap_mode="c"))
        except (OSError, ValueError, EOFError) as error:
            raise ValueError(f"{path} is damaged ({error}); delete its folder") from error
    valid = HeldOut(found["valid_contexts"], found["valid_targets"])
    return found["train"], valid, HeldOut(found["test_contexts"], found["test_targets"])


def shuffled(n: int, block: int) -> torch.Tensor:
    """A random order [n] of windows, which reads a disk in blocks of `block` windows in a row.

    The blocks come in random order, and the windows of `POOL` blocks at a time are shuffled.
    """
    if block == 1:
        return torch.randperm(n)
    blocks = torch.randperm(-(-n // block)).unsqueeze(1) * block + torch.arange(block)
    order = blocks.flatten()
    parts = order[order < n].split(POOL * block)
    return torch.cat([part[torch.randperm(len(part))] for part in parts])
