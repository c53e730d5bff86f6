"""Errors of DuckDB become sentences; tests/big/test_sequences.py has the parts that it refuses."""

from pathlib import Path

import pytest

from cprec_lib.big import duck


def test_its_errors_are_those_of_the_library(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match=r"my\.csv cannot be read by DuckDB .*Catalog.*; repair it"),
        duck.connected(tmp_path / "one", 2**27, Path("my.csv")) as connection,
    ):
        connection.execute("SELECT * FROM nothing")


def test_too_little_room_is_an_error_of_the_disk(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with (
        pytest.raises(OSError, match="free some space there, or choose another data folder"),
        duck.connected(tmp_path / "data" / "one", 2**25, tmp_path) as connection,
    ):
        connection.execute("SET max_temp_directory_size = '1MB'")
        connection.execute("CREATE TEMP TABLE t AS SELECT random() AS x FROM range(3000000)")
        connection.execute("CREATE TEMP TABLE u AS SELECT x FROM t ORDER BY x")


def test_counts_and_moments(tmp_path: Path) -> None:
    with duck.connected(tmp_path / "one", 2**27, tmp_path) as connection:
        connection.execute(
            "CREATE VIEW clean AS SELECT range % 3 AS user, range % 4 // 3 AS item, "
            "range AS timestamp, range AS key, range AS place FROM range(100)"
        )
        assert duck.count(connection) == (3, 75, 25)
        assert duck.moments(connection, (81, 90), 3) == [81, 90]
        assert duck.mixed_units(connection) == 0
