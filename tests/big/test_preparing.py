"""One pass over sorted rows: users stay whole, and short ones are dropped."""

from pathlib import Path

import pyarrow as pa

from cprec_lib.big.preparing import Scan


def rows(users: list[int]) -> list[pa.RecordBatch]:
    """A batch for each two rows; all items and times are those of the place."""
    place = list(range(len(users)))
    columns = {"user": users, "item": place, "timestamp": place, "code": place}
    return pa.table(columns).to_batches(2)


def test_a_user_may_cross_batches(tmp_path: Path) -> None:
    scan = Scan(tmp_path, shortest=3)
    seen = pa.Table.from_batches(scan.watch(rows([1, 1, 1, 2, 3, 3, 3, 3, 3, 4])))
    assert seen["user"].to_pylist() == [1, 1, 1, 2, 3, 3, 3, 3, 3, 4]
    assert seen.column_names == ["user", "item", "timestamp"]
    assert [n for some in scan.lengths for n in some] == [3, 5]
    assert (scan.rows, scan.dropped, scan.longest) == (10, 2, 5)
    assert scan.repeats.tolist() == [0, 0, 2]
    codes, times = scan.arrays()
    assert codes.tolist() == times.tolist() == [0, 1, 2, 4, 5, 6, 7, 8]
