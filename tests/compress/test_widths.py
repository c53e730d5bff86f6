"""Widths by a power law of popularity."""

import numpy as np
import pytest

from cprec_lib import BlockPartition
from cprec_lib.compress.widths import power_law_widths

COUNTS = np.repeat([160, 10, 1], [2, 4, 8])


@pytest.mark.parametrize(
    ("power", "widths"), [(0, (64, 64, 64)), (0.5, (64, 16, 5)), (1, (64, 4, 1)), (9, (64, 1, 1))]
)
def test_widths_by_hand(power: float, widths: tuple[int, ...]) -> None:
    assert power_law_widths(COUNTS, (2, 6), 64, power) == widths
    assert BlockPartition(14, (2, 6), widths).width == 64


def test_items_without_training_interactions_have_a_width() -> None:
    assert power_law_widths(np.array([3, 0, 0]), (1,), 8) == (8, 1)
    assert power_law_widths(np.array([3, 0, 0]), (2,), 8) == (8, 1)


@pytest.mark.parametrize("power", [-0.5, float("nan")])
def test_a_power_that_makes_the_tail_wider_is_refused(power: float) -> None:
    with pytest.raises(ValueError, match=r"power .* is negative; 0.3 is usual"):
        power_law_widths(COUNTS, (2, 6), 64, power)
