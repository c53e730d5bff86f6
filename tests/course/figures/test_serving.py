"""Latencies have their percentiles, and a load shows which models carry it."""

from cprec_lib.course.figures.serving import Load, latencies, loads


def test_the_percentiles_are_those_of_the_requests():
    (axes,) = latencies([float(number) for number in range(1, 102)], "a title").axes
    assert [line.get_xdata()[0] for line in axes.lines] == [51, 91, 100]
    assert axes.lines[0].get_label() == "p50, 51.0 ms"
    assert sum(bar.get_height() for bar in axes.patches) == 101


def test_models_that_do_not_carry_a_rate_are_pale():
    points = {"fast": [(10.0, 1.0), (100.0, 2.0)], "slow": [(10.0, 90.0), (100.0, 900.0)]}
    (axes,) = loads([Load("one", points, {"fast": True, "slow": False}, 50, 20)]).axes
    fast, slow, rate, limit = axes.lines
    assert (fast.get_alpha(), slow.get_alpha()) == (1, 0.35)
    assert (rate.get_xdata()[0], limit.get_ydata()[0]) == (50, 20)
