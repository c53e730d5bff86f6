"""Killed trainings with split weights end as undisturbed ones: `python -m tests.big.killing 20`."""

import sys
from pathlib import Path

import pytest

from tests.big import killing


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no server that forks")
def test_a_training_that_was_killed_twice_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    expected, found, notes = killing.both(tmp_path, kills=2)
    assert found == pytest.approx(expected, abs=1e-12)
    assert len(found) == 8 and found[-1] < found[0] - 0.1
    assert [note["while running"] for note in notes] == [True, True]
    assert notes[0]["processes"] != notes[1]["processes"]
    assert [path.name for path in (tmp_path / "disturbed" / "run").iterdir() if path.is_dir()] == [
        "checkpoint-8"
    ]
