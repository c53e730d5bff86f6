"""The rules for columns as SQL give what those of the way in memory give."""

from pathlib import Path
from uuid import UUID

import duckdb
import pyarrow as pa
import pytest
from pyarrow import parquet

from cprec_lib.big.cleaning import Raw, ids, times
from tests.big.both import assert_same, outcome


def test_kinds_of_parquet(tmp_path: Path) -> None:
    uuids = pa.array([UUID(int=i % 3).bytes for i in range(30)], pa.binary(16))
    items = pa.array([f"i{i % 7}" for i in range(30)]).dictionary_encode()
    times = pa.array(range(30), pa.timestamp("ns"))
    for number, users in enumerate([pa.ExtensionArray.from_storage(pa.uuid(), uuids), uuids]):
        path = tmp_path / f"{number}.parquet"
        parquet.write_table(pa.table([users, items, times], ["user", "item", "time"]), path)
        assert not isinstance(assert_same(path, tmp_path), str)
    for kind in (pa.int8(), pa.uint16(), pa.uint64(), pa.float32(), pa.bool_(), pa.date32()):
        users = (
            pa.array([i % 3 % 2 for i in range(30)], pa.int32()).cast(pa.int8()).cast(kind)
            if (kind != pa.date32())
            else pa.array([0] * 30, pa.int32()).cast(kind)
        )
        path = tmp_path / f"{kind}.parquet"
        parquet.write_table(pa.table([users, items, times], ["user", "item", "time"]), path)
        expected, found = outcome(path, "pandas")[0], outcome(path, "duckdb", data_dir=tmp_path)[0]
        assert isinstance(expected, str) == isinstance(found, str)


def raw(values: str, kind: str, text: bool = False, role: str = "user") -> Raw:
    connection = duckdb.connect()
    made = f"SELECT CAST(v AS {kind}) AS {role} FROM (VALUES {values}) t(v)"
    connection.execute(f"CREATE TABLE raw AS {made}")
    return Raw(connection, {role: kind}, text)


def test_whole_numbers_of_a_text_become_integers_unless_one_is_padded() -> None:
    assert ids(raw("(' 5'), ('-7')", "VARCHAR", text=True), "user").startswith("CAST(")
    assert ids(raw("('5'), ('07')", "VARCHAR", text=True), "user").startswith("trim(")
    assert ids(raw("('5'), ('7')", "VARCHAR"), "user").startswith("trim(")


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        ("(1), (NULL)", "BIGINT", "the user is missing in 1 of 2 rows, first in row 2"),
        ("('a'), (' ')", "VARCHAR", "the user is missing in 1 of 2 rows.*where it is ' '"),
        ("('NA'), ('3')", "VARCHAR", "the user is missing.*the others are whole numbers"),
        ("('a'::BLOB), (''::BLOB)", "BLOB", "the user is missing in 1 of 2 rows, first in row 2"),
        ("('a'::BLOB), (' '::BLOB)", "BLOB", "the user is missing in 1 of 2 rows, first in row 2"),
        ("(1.5), (2)", "DOUBLE", "the user is not whole in 1 of 2 rows"),
        ("(1e16)", "DOUBLE", "exact only below 9,007,199,254,740,992"),
        ("(true)", "BOOLEAN", "the user has the type BOOLEAN; ids are whole numbers or text"),
    ],
)
def test_ids_that_are_refused(values: str, kind: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ids(raw(values, kind), "user")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ("(1600000000000000002), (1600000000000000001)", "DECIMAL(38, 0)"),
        ("(make_timestamp_ns(2)), (make_timestamp_ns(1))", "TIMESTAMP_NS"),
        ("(make_timestamp_ns(2)), (make_timestamp_ns(1))", "TIMESTAMPTZ_NS"),
    ],
)
def test_times_keep_their_order_to_the_last_digit(values: str, kind: str) -> None:
    table = raw(values, kind, role="timestamp")
    key, _ = times(table)
    assert table.connection.execute(f"SELECT rowid FROM raw ORDER BY {key}").fetchall() == [
        (1,),
        (0,),
    ]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ("(NULL), (1)", "BIGINT"),
        ("('inf'), ('1')", "DOUBLE"),
        ("('x')", "VARCHAR"),
        ("('1_000')", "VARCHAR"),
    ],
)
def test_times_that_are_refused(values: str, kind: str) -> None:
    with pytest.raises(ValueError, match="the timestamp is missing, infinite or unparsable in 1"):
        times(raw(values, kind, role="timestamp"))
