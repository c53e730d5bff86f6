"""Statistics: what made-up tables must say."""

from cprec_lib.evidence.statistics import speed_up


def test_a_speed_up_compares_rounds_not_means() -> None:
    times = {"slow": [4.0, 40.0, 6.0], "fast": [1.0, 20.0, 2.0]}
    assert speed_up(times, "fast", "slow") == (3.0, 2.0, 4.0)
