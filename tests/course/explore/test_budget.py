"""Which recorded model wins within a budget."""

import pytest

from cprec_lib import Interval
from cprec_lib.course import explore
from cprec_lib.course.explore.budget import Candidate, choose


def test_the_validation_items_choose_the_winner(made):
    look_up = made["budget"].look_up
    assert look_up("one", 0.15).winner is None
    assert look_up("one", 0.3).winner == "CpRec"
    assert "worse" in look_up("one", 0.3).title
    assert look_up("one", 1.0).winner == "NextItNet"
    assert set(look_up("one", 1.0).sizes) == {"NextItNet", "CpRec", "narrower"}


@pytest.mark.parametrize(
    ("gap", "told"),
    [
        (Interval(0.2, 0.1, 0.3), "better"),
        (Interval(-0.2, -0.3, -0.1), "worse"),
        (Interval(0.0, -0.1, 0.1), "undecided"),
    ],
)
def test_the_verdict_is_what_the_interval_allows(gap: Interval, told: str):
    models = {"whole": Candidate(100, 0.1, Interval(0, 0, 0)), "small": Candidate(50, 0.2, gap)}
    state = choose(models, "whole", "a log", 0.5)
    assert (state.budget, state.winner) == (50, "small")
    assert state.title.endswith(f"small wins\n{gap}: {told}")


@pytest.mark.parametrize(
    ("recorded", "data_set"),
    [({}, "any data set"), ({"one": {}}, "one"), ({"one": {"NextItNet": []}}, "one")],
)
def test_a_data_set_without_the_base_is_named(recorded: dict, data_set: str):
    with pytest.raises(ValueError, match=f"no recorded runs of NextItNet on {data_set}"):
        explore.budget(recorded)


def test_a_recorded_race_shows_the_winner_and_its_interval(made):
    state = made["recorded_race"].look_up("one", 8)
    assert (state.winner, state.budget) == ("codes", 400)
    assert [*state.differences] == ["codes", "int8"]
    assert "1/8 of the bytes, 400\ncodes wins\n-0.0200 [" in state.title and state.title.endswith(
        "worse"
    )
    with pytest.raises(ValueError, match="no recorded race; `cprec race --dataset ml-100k`"):
        explore.recorded_race({})
    with pytest.raises(ValueError, match="no racer kept 1/64 of the bytes on one"):
        made["recorded_race"].look_up("one", 64)
