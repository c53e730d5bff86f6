"""From the sorted rows of a log to a folder of arrays."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import compute, parquet

from cprec_lib.big import duck, windows
from cprec_lib.data.sequences import PERIODS, Split, check_lengths
from cprec_lib.files import sha256
from cprec_lib.logs import columns
from cprec_lib.logs.fingerprint import LogRecord, lines
from cprec_lib.logs.tables import COLUMNS, warn_of_doubts

ITEMS, LOG = "items.parquet", "log.json"


@dataclass(frozen=True)
class Cut:
    """How to split and cut; see `SequenceData.from_interactions`."""

    max_len: int
    split: Split
    seed: int

    @property
    def shortest(self) -> int:
        """Rows that a user must have."""
        return 2 + (self.split == "leave_one_out")


def write_arrays(connection: Any, path: Path, folder: Path, cut: Cut) -> None:
    """Write items and windows of the log whose view `clean` the connection has.

    Warns, and raises ValueError, as `load_interactions` and `from_interactions` do.
    """
    items, rows = duck.sorted_rows(connection, cut.shortest)
    scan = Scan(folder / "work", cut.shortest)
    digest = sha256(lines(scan.watch(rows)))
    warn_of_doubts(path, scan.rows, duck.mixed_units(connection), *scan.repeats)
    lengths = np.concatenate(scan.lengths)
    check_lengths(scan.dropped, len(lengths), cut.shortest, scan.longest)
    periods = []
    if cut.split.startswith("by_time"):
        periods = duck.moments(connection, PERIODS, cut.shortest)
    codes, times = scan.arrays()
    bounds = windows.split(times, periods, lengths, cut.split, cut.seed)
    order, counts = windows.number_items(codes, bounds["train"], len(items))
    ids = np.empty(len(items), dtype=np.int64)
    ids[order] = np.arange(1, len(items) + 1)
    windows.write(folder, codes, ids, bounds, cut.max_len)
    catalogue = pa.table({"item": items.take(pa.array(order)), "count": counts[order]})
    parquet.write_table(catalogue, folder / ITEMS)
    record: LogRecord = {
        "n_users": len(lengths),
        "n_interactions": scan.rows,
        "data_sha256": digest,
    }
    found = {"log": record, "dropped_users": scan.dropped}
    (folder / LOG).write_text(json.dumps(found), encoding="utf-8")


class Scan:
    """What one pass over the sorted rows finds; it keeps item codes and times of long users."""

    def __init__(self, folder: Path, shortest: int) -> None:
        self.folder, self.shortest = folder, shortest
        self.lengths: list[np.ndarray] = []
        self.rows = self.dropped = self.longest = 0
        self.repeats = np.zeros(3, np.int64)
        self.kind: Any = np.int64

    def watch(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The batches without the codes, which are noted in passing."""
        with self._open("codes") as codes, self._open("times") as times:
            for table in _whole_users(batches):
                self._note(table, codes, times)
                yield from table.select(COLUMNS).to_batches()

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Item codes and times [R] of the users that are long enough, mapped from the disk."""
        codes = np.memmap(self.folder / "codes", np.int32, "r")
        return codes, np.memmap(self.folder / "times", self.kind, "r")

    def _open(self, name: str) -> Any:
        return (self.folder / name).open("wb")

    def _note(self, table: pa.Table, codes: Any, times: Any) -> None:
        rows = table.select(COLUMNS).to_pandas()
        self.rows += len(rows)
        self.repeats += columns.repeats(rows)
        users = rows["user"].array
        changes = np.append(True, np.asarray(users[1:] != users[:-1], dtype=bool))
        lengths = np.diff(np.flatnonzero(changes), append=len(rows))
        long = lengths >= self.shortest
        self.lengths.append(lengths[long])
        self.dropped += int((~long).sum())
        self.longest = max(self.longest, int(lengths.max()))
        kept, time = np.repeat(long, lengths), rows["timestamp"].to_numpy()
        self.kind = time.dtype
        codes.write(table["code"].to_numpy().astype(np.int32)[kept].data)
        times.write(np.ascontiguousarray(time[kept]).data)


def _whole_users(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The rows of sorted batches as tables that end between two users."""
    rest: list[pa.Table] = []
    for batch in batches:
        table = pa.concat_tables([*rest, pa.Table.from_batches([batch])])
        last = compute.index(table["user"], table["user"][-1]).as_py()
        if last:
            yield table.slice(0, last)
        rest = [table.slice(last)]
    yield from rest
