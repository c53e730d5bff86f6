"""A cut through a catalogue."""

import pytest

from tests.course.explore.explorables import COUNTS


def test_the_tail_adds_up(made):
    cut = made["tail"].look_up(0.2, 4)
    assert cut.parts["interactions"] == pytest.approx(
        (COUNTS[:200].sum() / COUNTS.sum(), COUNTS[200:].sum() / COUNTS.sum())
    )
    assert sum(cut.parts["cut table"]) == pytest.approx(
        (200 * 64 + 800 * 16 + 16 * 64) / (1000 * 64)
    )
