"""Popularity: the figures show what they are given."""

import numpy as np
import pandas as pd

from cprec_lib.course.figures import popularity
from cprec_lib.course.popularity import ZipfFit, lorenz_curve
from tests.course.figures.drawings import names


def test_an_id_grid_leaves_padding_empty():
    [axes] = popularity.id_grid(np.array([[0, 7], [3, 0]]), "Windows", ["a", "b"], ["1", "2"]).axes
    assert {text.get_text(): text.get_position() for text in axes.texts} == {
        "7": (1, 0),
        "3": (0, 1),
    }
    np.testing.assert_array_equal(axes.images[0].get_array(), [[1, 0], [0, 1]])


def test_rank_frequency_compares_the_law_with_the_counts():
    law = ZipfFit(exponent=1.0, scale=12.0, r_squared=1.0)
    left, right = popularity.rank_frequency(np.array([6, 6, 1]), law).axes
    np.testing.assert_allclose(left.lines[0].get_ydata(), [6, 6, 1])
    np.testing.assert_allclose(left.lines[1].get_ydata(), [12, 6, 4])
    np.testing.assert_allclose(right.lines[0].get_ydata(), [2, 1, 4])
    assert "1.00" in left.get_legend().get_texts()[1].get_text()


def test_lorenz_curves_are_drawn_below_the_diagonal_of_equality():
    curve = lorenz_curve(np.array([4, 3, 1]))
    [axes] = popularity.lorenz_curves({"songs": curve}).axes
    diagonal, line = axes.lines
    assert diagonal.get_xydata().tolist() == [[0, 0], [1, 1]]
    np.testing.assert_allclose(line.get_xydata(), np.column_stack(curve))


def test_share_bars_follow_one_another_and_name_all_but_the_small():
    [axes] = popularity.share_bars(
        {"row": pd.Series([0.5, 0.46, 0.04], [1, 2, 3])}, names(3), "t"
    ).axes
    bars = [container[0] for container in axes.containers]
    np.testing.assert_allclose([bar.get_x() for bar in bars], [0, 0.5, 0.96])
    np.testing.assert_allclose([bar.get_width() for bar in bars], [0.5, 0.46, 0.04])
    assert [text.get_text() for text in axes.texts] == ["50%", "46%"]


def test_tails_give_each_data_set_a_curve_and_a_row():
    shares = {"a": {"top": 0.1}, "b": {"top": 0.7}}
    left, right = popularity.tails({"a": ([1, 2], [9, 1]), "b": ([1, 3], [5, 2])}, shares).axes
    assert {line.get_label(): line.get_xydata().tolist() for line in left.lines} == {
        "a": [[1, 9], [2, 1]],
        "b": [[1, 5], [3, 2]],
    }
    assert [label.get_text() for label in right.get_yticklabels()] == ["a", "b"]
    assert list(right.lines[0].get_xdata()) == [0.1, 0.7]
