"""Pictures of notebook 04: that they show what they are given."""

import re

import numpy as np
import pytest

from cprec_lib import SHARING
from cprec_lib.course.figures import plots
from cprec_lib.model.sharing import distinct_convolutions, sharing_table

DILATIONS = (1, 4, 1, 4, 2)


def test_middle_share_draws_every_line_and_marks_the_catalogues():
    sizes = np.array([10, 100, 1000])
    lines = {"width 8": np.array([0.9, 0.5, 0.1]), "width 16": np.array([1.0, 0.6, 0.2])}
    shares = {"plain": lines, "cut": {name: values / 2 for name, values in lines.items()}}
    figure = plots.middle_share(sizes, shares, {"ours": 50})
    for axes, title in zip(figure.axes, shares, strict=True):
        assert axes.get_title() == title
        assert axes.get_xlabel() and axes.get_ylabel()
        drawn = {line.get_label(): line.get_ydata() for line in axes.lines}
        for name, values in shares[title].items():
            np.testing.assert_array_equal(drawn[name], values)
        assert [(text.get_text(), text.get_position()[0]) for text in axes.texts] == [("ours", 50)]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(lines)


@pytest.mark.parametrize("n_blocks", [1, 2, 5])
def test_sharing_panels_give_one_letter_and_one_colour_to_one_convolution(n_blocks):
    tables = {scheme: sharing_table(scheme, n_blocks) for scheme in SHARING}
    figure = plots.sharing_panels(tables, DILATIONS[:n_blocks])
    for axes, (scheme, table) in zip(figure.axes, tables.items(), strict=True):
        distinct = distinct_convolutions(scheme, n_blocks)
        assert axes.get_title() == f"{scheme}\n{distinct} distinct"
        indices = [index for pair in table for index in pair]
        letters = [text.get_text() for text in axes.texts[::2]]
        colours = [bar.get_facecolor() for bar in axes.patches]
        assert letters == ["ABCDEFGHIJ"[index] for index in indices]
        assert len(set(zip(indices, colours, strict=True))) == len(set(colours)) == distinct


def test_sharing_panels_show_each_cells_place_and_own_dilation():
    figure = plots.sharing_panels({"all": sharing_table("cross-layer", 2)}, (1, 4))
    texts = figure.axes[0].texts
    notes = [text.get_text() for text in texts[1::2]]
    assert notes == ["dilation 1", "dilation 2", "dilation 4", "dilation 8"]
    places = [tuple(map(round, text.get_position())) for text in texts[::2]]
    assert places == [(0, 0), (1, 0), (0, 1), (1, 1)]


def test_sharing_panels_write_in_ink_that_the_colour_bears():
    figure = plots.sharing_panels({"none": sharing_table("none", 4)}, (1, 4, 1, 4))
    [axes] = figure.axes
    for bar, text in zip(axes.patches, axes.texts[::2], strict=True):
        luminance = np.dot(bar.get_facecolor()[:3], [0.299, 0.587, 0.114])
        ink = {"black": 0.0, "white": 1.0}[text.get_color()]
        assert abs(luminance - ink) > 0.4


def test_impulse_responses_write_each_value_where_it_arrives():
    responses = {"near": np.array([3.0, 2.0, 0.0]), "far": np.array([3.0, 0.0, 0.5])}
    [axes] = plots.impulse_responses(responses).axes
    cells = {text.xy: text.get_text() for text in axes.texts}
    assert cells == {(0.5, 0.5): "3", (1.5, 0.5): "2", (0.5, 1.5): "3", (2.5, 1.5): "0.5"}
    assert [label.get_text() for label in axes.get_yticklabels()] == list(responses)
    assert re.search("positions", axes.get_xlabel())
