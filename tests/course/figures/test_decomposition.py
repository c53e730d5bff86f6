"""Blocks: the figures show what they are given."""

import numpy as np
import pytest
from matplotlib.axes import Axes

from cprec_lib import BlockPartition
from cprec_lib.course.figures import decomposition
from cprec_lib.evidence.bootstrap import Interval

PARTITION = BlockPartition(6, (2, 4), (8, 4, 1))


def boxes(axes: Axes) -> list[tuple[float, float, float, float]]:
    """Left, bottom, width and height of every bar."""
    return [(*bar.get_xy(), bar.get_width(), bar.get_height()) for bar in axes.patches]


def texts(axes: Axes) -> list[str]:
    """What is written inside the axes."""
    return [text.get_text() for text in axes.texts]


def test_block_areas_are_the_parameters_of_the_tables():
    partition = BlockPartition(100, (10, 40), (8, 4, 1))
    [axes] = decomposition.block_areas(partition, [0.5, 0.3, 0.2]).axes
    whole, *blocks = [area.get_paths()[0].get_extents() for area in axes.collections]
    assert whole.width * whole.height == 100 * 8
    areas = [block.width * block.height for block in blocks]
    assert areas == [10 * 8, 30 * 4, 60 * 1]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels[3] == "block 3: 60 items, 1 number each, 20% of the interactions"


def test_item_plane_draws_all_items_and_a_line_through_zero():
    head, tail = np.array([[1.0, 0.0], [0.0, 3.0]]), np.array([[2.0, 1.0]])
    axes = decomposition.item_plane(head, tail, direction=(2, 1)).axes[0]
    line, squares, dots = axes.lines
    np.testing.assert_allclose(line.get_xydata(), [[-3.45, -1.725], [3.45, 1.725]])
    np.testing.assert_array_equal(squares.get_xydata(), head)
    np.testing.assert_array_equal(dots.get_xydata(), tail)
    assert axes.get_xlim() == axes.get_ylim() == pytest.approx((-3.45, 3.45))


def test_decomposition_draws_parameters_to_scale():
    axes = decomposition.decomposed_table(PARTITION).axes[0]
    areas = [width * height for _, _, width, height in boxes(axes)]
    full, head, middle, tail = 2 * 8, 2 * 8, 2 * 4, 2 * 1
    assert areas == [full, head, full, middle, 8 * 4, full, tail, 8 * 1]
    bottoms = [bottom for _, bottom, _, _ in boxes(axes)]
    assert bottoms == [0, 0, 2, 2, 2, 4, 4, 4]
    assert texts(axes) == [
        "block 1: 2 × 8",
        "block 2: 2 × 4, projection 8 × 4",
        "block 3: 2 × 1, projection 8 × 1",
    ]
    assert axes.yaxis_inverted()


def test_decomposition_boxes_do_not_overlap():
    drawn = boxes(decomposition.decomposed_table(BlockPartition(9, (3,), (4, 4))).axes[0])
    for number, (left, bottom, width, height) in enumerate(drawn):
        for other_left, other_bottom, other_width, other_height in drawn[number + 1 :]:
            apart = left + width <= other_left or other_left + other_width <= left
            stacked = bottom + height <= other_bottom or other_bottom + other_height <= bottom
            assert apart or stacked


def test_probability_tree_hangs_the_items_of_a_block_below_its_token():
    probabilities = np.array([0.1, 0.3, 0.2, 0.25, 0.05, 0.1])
    axes = decomposition.probability_tree(
        probabilities, PARTITION, {4: "four", 2: "two"}, "All"
    ).axes[0]
    drawn = [box for box in boxes(axes) if box[2] > 0]
    root = [box for box in drawn if box[1] > 0.5]
    inside = [box for box in drawn if box[1] < 0.5]
    assert [width for _, _, width, _ in root] == pytest.approx([0.3, 0.1, 0.45, 0.15])
    assert [width for _, _, width, _ in inside] == pytest.approx([0.25, 0.2, 0.1, 0.05])
    assert [left for left, *_ in root] == pytest.approx([0, 0.3, 0.4, 0.85])
    assert [left for left, *_ in inside] == pytest.approx([0.4, 0.65, 0.85, 0.95])
    named = ["two\n0.300", "token of block 2\n0.450", "four\n0.250", "token of block 3\n0.150"]
    assert texts(axes) == named


def test_probability_tree_draws_what_is_too_thin_to_see_as_one_piece():
    probabilities = np.array([0.5, 0.02, 0.03, 0.4, 0.03, 0.02])
    partition = BlockPartition(6, (3,), (2, 1))
    axes = decomposition.probability_tree(probabilities, partition, {}, "All", smallest=0.1).axes[0]
    widths = [width for _, _, width, _ in boxes(axes)]
    assert widths == pytest.approx([0.5, 0.05, 0.45, 0.4, 0.05])


def test_probability_tree_turns_and_shortens_a_name_in_a_narrow_piece():
    probabilities = np.array([0.9, 0.04, 0.03, 0.03])
    title = "A Very Long Title of a Film (1998)"
    partition = BlockPartition(4, (2,), (2, 1))
    axes = decomposition.probability_tree(probabilities, partition, {2: title}, "All").axes[0]
    assert texts(axes)[0] == "A Very Long Title …  0.040"
    assert axes.texts[0].get_rotation() == 90


def test_probability_tree_leaves_out_a_name_that_does_not_fit():
    probabilities = np.array([0.9, 0.01, 0.09])
    axes = decomposition.probability_tree(
        probabilities, BlockPartition(3, (2,), (2, 1)), {1: "one", 2: "two", 3: "three"}, "All"
    ).axes[0]
    assert texts(axes) == ["one\n0.900", "token of block 2  0.090", "three  0.090"]


def test_by_block_draws_each_model_in_each_panel():
    low, high = Interval(1.0, 0.5, 2.0), Interval(3.0, 2.5, 4.0)
    panels = {"loss": {"a": [low, high], "b": [high, low]}, "gain": {"a": [low, low]}}
    figure = decomposition.by_block(panels, ["head", "tail"])
    left, right = figure.axes
    assert (left.get_title(), right.get_title()) == ("loss", "gain")
    heights = [list(container[0].get_ydata()) for container in left.containers]
    assert heights == [[1, 3], [3, 1]]
    first, second = (container[0].get_xdata() for container in left.containers)
    assert (first < second).all()
    bars = left.containers[0][2][0].get_segments()
    assert [list(bar[:, 1]) for bar in bars] == [[0.5, 2.0], [2.5, 4.0]]
    assert [label.get_text() for label in left.get_xticklabels()] == ["head", "tail"]


def test_the_best_corner_of_a_box_is_the_furthest_along_the_query():
    axes = decomposition.boxes([np.array([[0.0, 1.0], [2.0, 3.0]])], (1.0, -1.0)).axes[0]
    _, mean, corner = axes.lines
    assert (mean.get_xydata().tolist(), corner.get_xydata().tolist()) == ([[1, 2]], [[2, 1]])


def test_the_most_probable_items_of_a_block_fall_and_the_others_are_summed():
    probabilities = np.array([0.5, 0.02, 0.2, 0.08, 0.2])
    ids, others = decomposition.most_probable(probabilities, 1, 5, smallest=0.1)
    assert ids.tolist() == [3, 5]
    assert others == pytest.approx(0.1)


def test_by_block_draws_differences_on_one_scale_around_zero():
    small, large = Interval(0.1, 0.0, 0.2), Interval(3.0, 2.5, 4.0)
    panels = {"whole": {"a": [large]}, "part": {"a": [small]}}
    figure = decomposition.by_block(panels, ["head"], difference="nats more")
    left, right = figure.axes
    assert left.get_ylim() == right.get_ylim()
    assert left.get_ylabel() == right.get_ylabel() == "nats more"
    assert all([*axes.lines[0].get_ydata()] == [0, 0] for axes in (left, right))
