"""Dilated convolutions and how they are shared: the figures show what they are given."""

import re

import numpy as np
import pytest

from cprec_lib import SHARING
from cprec_lib.course.figures import convolution
from cprec_lib.model.sharing import distinct_convolutions, sharing_table

DILATIONS = (1, 4, 1, 4, 2)


def causal(length: int, dilation: int) -> np.ndarray:
    """Connections of a causal convolution with kernel 2."""
    back = np.subtract.outer(np.arange(length), np.arange(length))
    return (back == 0) | (back == dilation)


def test_influence_shows_outputs_as_rows_and_changes_as_columns():
    changed = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 1]])
    figure = convolution.influence({"left": changed, "right": changed.T})
    left, right = figure.axes
    assert (left.get_title(), right.get_title()) == ("left", "right")
    np.testing.assert_array_equal(left.collections[0].get_array().reshape(3, 3), changed)
    np.testing.assert_array_equal(right.collections[0].get_array().reshape(3, 3), changed.T)
    assert left.yaxis_inverted()


@pytest.mark.parametrize(("dilations", "field"), [((1,), 2), ((1, 1), 3), ((1, 2), 4)])
def test_wiring_counts_the_positions_that_reach_the_last_output(dilations, field):
    layers = {f"layer {i}": causal(6, dilation) for i, dilation in enumerate(dilations)}
    axes = convolution.wiring(layers).axes[0]
    assert axes.get_title() == f"{field} positions reach the last output"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["items", *layers]


def test_reach_marks_the_oldest_position_with_a_gradient_on_one_scale():
    short, long = np.array([0, 0, 0.1, 1.0]), np.array([0, 1e-4, 0.1, 1.0])
    first, second = convolution.reach({"short": short, "long": long}).axes
    assert first.get_title() == "short: 2 positions"
    assert second.get_title() == "long: 3 positions"
    assert first.get_ylim() == second.get_ylim()
    heights = [bar.get_height() for bar in second.patches]
    places = [round(bar.get_x() + bar.get_width() / 2) for bar in second.patches]
    assert dict(zip(places, heights, strict=True)) == {3: 0, 2: 1e-4, 1: 0.1, 0: 1.0}


def test_signal_by_depth_draws_one_line_a_design():
    axes = convolution.signal_by_depth([2, 4], {"with": [1.0, 2.0], "without": [1.0, 0.1]}).axes[0]
    assert {line.get_label(): list(line.get_ydata()) for line in axes.lines} == {
        "with": [1.0, 2.0],
        "without": [1.0, 0.1],
    }


@pytest.mark.parametrize("n_blocks", [1, 2, 5])
def test_sharing_panels_give_one_letter_and_one_colour_to_one_convolution(n_blocks):
    tables = {scheme: sharing_table(scheme, n_blocks) for scheme in SHARING}
    figure = convolution.sharing_panels(tables, DILATIONS[:n_blocks])
    for axes, (scheme, table) in zip(figure.axes, tables.items(), strict=True):
        distinct = distinct_convolutions(scheme, n_blocks)
        assert axes.get_title() == f"{scheme}\n{distinct} distinct"
        indices = [index for pair in table for index in pair]
        letters = [text.get_text() for text in axes.texts[::2]]
        colours = [bar.get_facecolor() for bar in axes.patches]
        assert letters == ["ABCDEFGHIJ"[index] for index in indices]
        assert len(set(zip(indices, colours, strict=True))) == len(set(colours)) == distinct


def test_sharing_panels_show_each_cells_place_and_own_dilation():
    figure = convolution.sharing_panels({"all": sharing_table("cross-layer", 2)}, (1, 4))
    texts = figure.axes[0].texts
    notes = [text.get_text() for text in texts[1::2]]
    assert notes == ["dilation 1", "dilation 2", "dilation 4", "dilation 8"]
    places = [tuple(map(round, text.get_position())) for text in texts[::2]]
    assert places == [(0, 0), (1, 0), (0, 1), (1, 1)]


def test_sharing_panels_write_in_ink_that_the_colour_bears():
    figure = convolution.sharing_panels({"none": sharing_table("none", 4)}, (1, 4, 1, 4))
    [axes] = figure.axes
    for bar, text in zip(axes.patches, axes.texts[::2], strict=True):
        luminance = np.dot(bar.get_facecolor()[:3], [0.299, 0.587, 0.114])
        ink = {"black": 0.0, "white": 1.0}[text.get_color()]
        assert abs(luminance - ink) > 0.4


def test_impulse_responses_write_each_value_where_it_arrives():
    responses = {"near": np.array([3.0, 2.0, 0.0]), "far": np.array([3.0, 0.0, 0.5])}
    [axes] = convolution.impulse_responses(responses).axes
    cells = {text.xy: text.get_text() for text in axes.texts}
    assert cells == {(0.5, 0.5): "3", (1.5, 0.5): "2", (0.5, 1.5): "3", (2.5, 1.5): "0.5"}
    assert [label.get_text() for label in axes.get_yticklabels()] == list(responses)
    assert re.search("positions", axes.get_xlabel())


def test_paths_to_last_are_followed_down_to_the_items():
    items, first, last = convolution.paths_to_last([causal(5, 2), causal(5, 1)])
    assert np.flatnonzero(items).tolist() == [1, 2, 3, 4]
    assert np.flatnonzero(first).tolist() == [3, 4]
    assert np.flatnonzero(last).tolist() == [4]
