"""Which model carries a load."""

import pytest

from cprec_lib.course import explore
from cprec_lib.course.explore.load import carried, say


def test_a_rate_is_carried_if_it_was_reached_in_time_without_errors():
    fine = {"asked": 100, "reached": 99, "p90": 8, "errors": 0}
    slow, late = {**fine, "asked": 200, "reached": 150}, {**fine, "asked": 300, "p90": 60}
    wrong = {**fine, "asked": 400, "reached": 400, "errors": 1}
    assert carried([fine, slow, late, wrong], limit=50) == 100
    assert carried([fine], limit=5) == 0


def test_models_are_named_by_what_they_carry(made):
    assert "carried by CpRec float32." in say(made["load"].look_up(500, 50))
    assert "carried by none." in say(made["load"].look_up(1000, 10))


def test_without_a_measurement_there_is_nothing_to_explore():
    with pytest.raises(ValueError, match="python -m benchmarks serving"):
        explore.load([])
