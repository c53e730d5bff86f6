"""Which racer of a recorded race wins at a number of bytes."""

import pytest

from cprec_lib.course import explore


def test_a_recorded_race_shows_the_winner_and_its_interval(made):
    state = made["recorded_race"].look_up("one", 8)
    assert state.winner == "codes"
    assert [*state.differences] == ["codes", "int8"]
    assert "1/8 of the bytes, 400\ncodes wins\n-0.0200 [" in state.title and state.title.endswith(
        "worse"
    )
    with pytest.raises(ValueError, match="no recorded race; `cprec race --dataset ml-100k`"):
        explore.recorded_race({})
    with pytest.raises(ValueError, match="no racer kept 1/64 of the bytes on one"):
        made["recorded_race"].look_up("one", 64)
