"""Models side by side: the figures show what they are given."""

import numpy as np
import pandas as pd
import pytest

from cprec_lib.course.figures import comparison
from cprec_lib.evidence.bootstrap import Interval
from tests.course.figures.drawings import NARROW, WIDE, history


def test_trade_off_has_a_row_a_model_from_small_to_large():
    accuracy = {"large": Interval(0.3, 0.25, 0.35), "small": Interval(0.2, 0.1, 0.4)}
    [axes] = comparison.trade_off({"small": 10, "large": 1000}, accuracy, "NDCG@10", "Both").axes
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert rows == ["small\n10 parameters", "large\n1,000 parameters"]
    dots, _, [bars] = axes.containers[0].lines
    assert list(dots.get_xdata()) == [0.2, 0.3]
    bounds = [segment[:, 0] for segment in bars.get_segments()]
    np.testing.assert_allclose(bounds, [[0.1, 0.4], [0.25, 0.35]])
    assert (axes.get_xlabel(), axes.get_title()) == ("NDCG@10", "Both")
    assert axes.yaxis_inverted()


def test_trade_off_names_the_model_that_has_no_size():
    with pytest.raises(ValueError, match="one lacks b"):
        comparison.trade_off({"a": 1}, {"a": NARROW, "b": WIDE}, "NDCG@10", "Both")


def test_grouped_bars_stand_by_row_with_their_intervals():
    table = pd.DataFrame({"a": [0.1, 0.2], "b": [0.3, 0.4]}, ["head", "tail"])
    intervals = {"b": [(0.2, 0.5), (0.4, 0.7)], "a": [(0.0, 0.1), (0.1, 0.3)]}
    bounds = pd.DataFrame(intervals, table.index)
    [axes] = comparison.grouped_bars(table, "share", "Both", intervals=bounds).axes
    assert axes.get_xlabel() == "part of the catalogue"
    assert [bar.get_height() for bar in axes.patches] == [0.1, 0.2, 0.3, 0.4]
    centres = [bar.get_x() + bar.get_width() / 2 for bar in axes.patches]
    np.testing.assert_allclose(centres, [-0.2, 0.8, 0.2, 1.2])
    assert len({bar.get_hatch() for bar in axes.patches}) == 2
    errors = [segment for lines in axes.collections for segment in lines.get_segments()]
    drawn = [(segment[0, 0], *segment[:, 1]) for segment in errors]
    expected = [(-0.2, 0, 0.1), (0.8, 0.1, 0.3), (0.2, 0.2, 0.5), (1.2, 0.4, 0.7)]
    np.testing.assert_allclose(drawn, expected)


def test_learning_curves_ring_the_best_epoch():
    _, right = comparison.learning_curves({"one": history(9)}).axes
    curve, ring = right.lines
    best = np.argmax(curve.get_ydata())
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (best + 1, curve.get_ydata()[best])


def test_estimates_draw_each_interval_around_its_dot():
    [axes] = comparison.estimates({"a": WIDE, "b": NARROW}, "x", "title", reference=0.3).axes
    bars = axes.containers[0].lines[2][0].get_segments()
    np.testing.assert_allclose([bar[:, 0] for bar in bars], [[0.01, 0.9], [0.1, 0.1]])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    assert axes.lines[-1].get_xdata()[0] == 0.3


def test_bootstrap_draws_the_estimate_and_both_bounds():
    bounds = Interval(0.5, 0.4, 0.7)
    axes = comparison.bootstrap(np.linspace(0.3, 0.8, 100), bounds, "HR@10").axes[0]
    assert [line.get_xdata()[0] for line in axes.lines] == [0.5, 0.4, 0.7]
    assert sum(bar.get_height() for bar in axes.patches) == 100


def test_protocols_have_a_panel_each_with_a_bar_for_every_model():
    scores = {"whole": {"a": 0.1, "b": 0.2}, "sampled": {"a": 0.6, "b": 0.5}}
    figure = comparison.protocols(scores, "HR@10")
    assert [axes.get_title() for axes in figure.axes] == ["whole", "sampled"]
    for axes, values in zip(figure.axes, scores.values(), strict=True):
        assert [bar.get_width() for bar in axes.patches] == list(values.values())


def test_tie_orders_draws_a_dot_a_run_in_the_row_of_its_order():
    scores = {"a": {"shuffled": [0.1, 0.2], "rising": [0.3]}, "b": {"shuffled": [0], "rising": [1]}}
    axes = comparison.tie_orders(scores, "NDCG@10").axes[0]
    values = [list(line.get_xdata()) for line in axes.lines]
    assert values == [[0.1, 0.2], [0.3], [0], [1]]
    rows = [{round(height) for height in line.get_ydata()} for line in axes.lines]
    assert rows == [{0}, {1}, {0}, {1}]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b"]
