"""The pictures of notebook 03 show what they are given."""

import numpy as np
import pytest

from cprec_lib.course.figures import plots
from cprec_lib.train.evaluation import Interval


def causal(length: int, dilation: int) -> np.ndarray:
    """Connections of a causal convolution with kernel 2."""
    back = np.subtract.outer(np.arange(length), np.arange(length))
    return (back == 0) | (back == dilation)


def test_influence_shows_outputs_as_rows_and_changes_as_columns():
    changed = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 1]])
    figure = plots.influence({"left": changed, "right": changed.T})
    left, right = figure.axes
    assert (left.get_title(), right.get_title()) == ("left", "right")
    np.testing.assert_array_equal(left.collections[0].get_array().reshape(3, 3), changed)
    np.testing.assert_array_equal(right.collections[0].get_array().reshape(3, 3), changed.T)
    assert left.yaxis_inverted()


@pytest.mark.parametrize(("dilations", "field"), [((1,), 2), ((1, 1), 3), ((1, 2), 4)])
def test_wiring_counts_the_positions_that_reach_the_last_output(dilations, field):
    layers = {f"layer {i}": causal(6, dilation) for i, dilation in enumerate(dilations)}
    axes = plots.wiring(layers).axes[0]
    assert axes.get_title() == f"{field} positions reach the last output"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["items", *layers]


def test_reach_marks_the_oldest_position_with_a_gradient_on_one_scale():
    short, long = np.array([0, 0, 0.1, 1.0]), np.array([0, 1e-4, 0.1, 1.0])
    first, second = plots.reach({"short": short, "long": long}).axes
    assert first.get_title() == "short: 2 positions"
    assert second.get_title() == "long: 3 positions"
    assert first.get_ylim() == second.get_ylim()
    heights = [bar.get_height() for bar in second.patches]
    places = [round(bar.get_x() + bar.get_width() / 2) for bar in second.patches]
    assert dict(zip(places, heights, strict=True)) == {3: 0, 2: 1e-4, 1: 0.1, 0: 1.0}


def test_signal_by_depth_draws_one_line_a_design():
    axes = plots.signal_by_depth([2, 4], {"with": [1.0, 2.0], "without": [1.0, 0.1]}).axes[0]
    assert {line.get_label(): list(line.get_ydata()) for line in axes.lines} == {
        "with": [1.0, 2.0],
        "without": [1.0, 0.1],
    }


def test_bootstrap_draws_the_estimate_and_both_bounds():
    bounds = Interval(0.5, 0.4, 0.7)
    axes = plots.bootstrap(np.linspace(0.3, 0.8, 100), bounds, "HR@10").axes[0]
    assert [line.get_xdata()[0] for line in axes.lines] == [0.5, 0.4, 0.7]
    assert sum(bar.get_height() for bar in axes.patches) == 100


def test_protocols_have_a_panel_each_with_a_bar_for_every_model():
    scores = {"whole": {"a": 0.1, "b": 0.2}, "sampled": {"a": 0.6, "b": 0.5}}
    figure = plots.protocols(scores, "HR@10")
    assert [axes.get_title() for axes in figure.axes] == ["whole", "sampled"]
    for axes, values in zip(figure.axes, scores.values(), strict=True):
        assert [bar.get_width() for bar in axes.patches] == list(values.values())


def test_tie_orders_draws_a_dot_a_run_in_the_row_of_its_order():
    scores = {"a": {"shuffled": [0.1, 0.2], "rising": [0.3]}, "b": {"shuffled": [0], "rising": [1]}}
    axes = plots.tie_orders(scores, "NDCG@10").axes[0]
    values = [list(line.get_xdata()) for line in axes.lines]
    assert values == [[0.1, 0.2], [0.3], [0], [1]]
    rows = [{round(height) for height in line.get_ydata()} for line in axes.lines]
    assert rows == [{0}, {1}, {0}, {1}]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b"]
