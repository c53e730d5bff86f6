"""Which model carries a load."""

import pytest

from cprec_lib.course import explore
from cprec_lib.course.explore.load import say


def test_models_are_named_by_what_they_carry(made):
    assert "carried by CpRec float32." in say(made["load"].look_up(500, 50))
    assert "carried by none." in say(made["load"].look_up(1000, 10))


def test_without_a_measurement_there_is_nothing_to_explore():
    with pytest.raises(ValueError, match="python -m benchmarks serving"):
        explore.load([])
