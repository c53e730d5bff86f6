"""The row `big` of the benchmark on few rows: its log, its sides and its training steps."""

from __future__ import annotations

import sys

import pytest

from benchmarks import big
from benchmarks.child import Skipped
from cprec_lib.big.sequences import load_sequences

ROWS = 20_000


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("log") / "log")
    assert big.on_generator(path, ROWS)() == [1]
    return path


def test_the_log_has_its_rows_users_and_items(log: str) -> None:
    data = load_sequences(log, engine="pandas")
    assert data.record["n_interactions"] == ROWS
    assert 0.9 < data.record["n_users"] / (ROWS / big.ROWS_PER_USER) <= 1
    assert 0.9 < data.data.n_items / (ROWS / big.ROWS_PER_ITEM) <= 1


def test_all_sides_make_the_same_windows(log: str) -> None:
    pytest.importorskip("duckdb")
    found = big.on_duckdb(log, ROWS)()
    assert found == big.on_pandas(log, ROWS)()
    pytest.importorskip("polars")
    assert found == big.on_polars(log, ROWS)()


def test_other_windows_have_other_sums(log: str) -> None:
    data = load_sequences(log, engine="pandas").data
    before = big.sums(data)
    data.train[0] = data.train[0].flip(0)
    assert big.sums(data) != before


def test_without_polars_its_side_is_skipped(log: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(Skipped, match="pip install -r benchmarks"):
        big.on_polars(log, ROWS)


def test_steps_from_the_disk_are_those_from_memory(log: str) -> None:
    pytest.importorskip("duckdb")
    losses = [big.first(log, 3, copied)() for copied in (False, True)]
    assert losses[0] == losses[1] and len(losses[0]) == 3
    assert len(set(losses[0])) == 3
    with pytest.raises(Skipped, match=r"1,000 steps need 32,000 windows, not \d+"):
        big.first(log, 1_000, False)
