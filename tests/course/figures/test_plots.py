"""Pictures: every function draws at both ends of its arguments, named and labelled; `show`."""

import inspect
import itertools
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import IPython.display
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imread

from cprec_lib import (
    SHARING,
    BlockPartition,
    count_parameters,
    cprec,
    nextitnet,
)
from cprec_lib.course.figures import plots
from cprec_lib.course.popularity import ZipfFit, fit_zipf, lorenz_curve
from cprec_lib.model.sharing import sharing_table
from cprec_lib.train.evaluation import Interval
from cprec_lib.train.training import Epoch, History

LONG = "A Very Long Title of a Film, or How a Name Goes on and on (1998)"
NARROW, WIDE = Interval(0.1, 0.1, 0.1), Interval(0.2, 0.01, 0.9)


def history(n: int) -> History:
    """n epochs, the best of them in the middle."""
    scores = [0.1 - abs(epoch - n // 2) * 0.001 for epoch in range(n)]
    return History([Epoch(i + 1, 7 - i, 1.0, {"ndcg@10": s}) for i, s in enumerate(scores)])


def counts(n: int) -> np.ndarray:
    """Falling counts of n items."""
    return np.ceil(1000 / np.arange(1, n + 1))


def names(n: int) -> list[str]:
    """n names."""
    return [f"name {number}" for number in range(n)]


def ledgers(n: int) -> dict:
    """n models, every second of them compressed."""
    return {
        name: count_parameters((nextitnet, cprec)[number % 2](1000 * (number + 1), 8))
        for number, name in enumerate(names(n))
    }


def causal(length: int) -> np.ndarray:
    """Connections of each position with itself and all before it."""
    return np.tri(length, dtype=bool)


def models(n: int) -> dict[str, Interval]:
    """n models, with a narrow interval or a wide one."""
    return {name: (NARROW, WIDE)[number % 2] for number, name in enumerate(names(n))}


def sizes(catalogues: int, schemes: int) -> pd.DataFrame:
    """A table for `compression_bars`."""
    rows = [
        (name, "5/20 %", sharing, 2.5)
        for name in names(catalogues)
        for sharing in SHARING[:schemes]
    ]
    return pd.DataFrame(rows, columns=["catalogue", "cutoffs", "sharing", "times smaller"])


def many_blocks(n_items: int) -> BlockPartition:
    """Five blocks."""
    cutoffs = [round(share * n_items) for share in (0.01, 0.1, 0.3, 0.6)]
    return BlockPartition.decaying(n_items, cutoffs, 1024)


def tails(n: int, items: int) -> Figure:
    """n data sets of so many items."""
    ranks = range(1, items + 1)
    tops = {"top 1 %": 0.0, "top 20 %": 1.0}
    return plots.tails(
        {name: (ranks, counts(items)) for name in names(n)}, dict.fromkeys(names(n), tops)
    )


def cuts(n: int, lines: int) -> Figure:
    """n sizes of the head, and so many factors."""
    head = np.linspace(0, 1, n)
    return plots.cut_curves(head, np.sqrt(head), dict.fromkeys(names(lines), head))


# A drawing with little in it and one with much, for each function that returns a figure.
DRAWINGS: dict[str, tuple[Callable[[], Figure], Callable[[], Figure]]] = {
    "parameter_bars": (
        lambda: plots.parameter_bars(ledgers(1)),
        lambda: plots.parameter_bars(ledgers(8)),
    ),
    "learning_curves": (
        lambda: plots.learning_curves({"one": history(1)}),
        lambda: plots.learning_curves({name: history(30) for name in names(5)}),
    ),
    "middle_share": (
        lambda: plots.middle_share(np.array([10, 20]), {"a": {"b": np.array([0, 1])}}, {}),
        lambda: plots.middle_share(
            np.geomspace(10, 1e6, 50),
            {name: dict.fromkeys(names(4), np.linspace(1, 0, 50)) for name in names(2)},
            {"small": 11, "large": 900_000},
        ),
    ),
    "sharing_panels": (
        lambda: plots.sharing_panels({"none": sharing_table("none", 1)}, (1,)),
        lambda: plots.sharing_panels({s: sharing_table(s, 8) for s in SHARING}, (1, 4) * 4),
    ),
    "impulse_responses": (
        lambda: plots.impulse_responses({"one": np.array([1.0])}),
        lambda: plots.impulse_responses(dict.fromkeys(names(8), np.eye(20)[0])),
    ),
    "estimates": (
        lambda: plots.estimates(models(1), "NDCG@10", "One"),
        lambda: plots.estimates(models(12), "NDCG@10", "Many", reference=0.1),
    ),
    "front": (
        lambda: plots.front({"one": 10}, {"one": 0.1}, "One"),
        lambda: plots.front(
            {name: 1000 * n for n, name in enumerate(names(12), 1)},
            {name: 0.1 + 0.01 * (n * 7 % 12) for n, name in enumerate(names(12))},
            "Many",
        ),
    ),
    "growth": (
        lambda: plots.growth({"one": ([1, 10], [1, 10])}, {}, {}, "bytes", "One"),
        lambda: plots.growth(
            {name: ([10, 1e8], [n, 1e8]) for n, name in enumerate(names(6), 1)},
            {name: ([10, 100], [n, 100]) for n, name in enumerate(names(2), 1)},
            {"a limit": 1e6, "another": 1e7},
            "bytes",
            "Many",
        ),
    ),
    "influence": (
        lambda: plots.influence({"one": causal(1)}),
        lambda: plots.influence({name: causal(12) for name in names(3)}),
    ),
    "wiring": (
        lambda: plots.wiring({"one": causal(1)}),
        lambda: plots.wiring({name: causal(16) for name in names(4)}),
    ),
    "reach": (
        lambda: plots.reach({"one": np.array([1.0])}),
        lambda: plots.reach({name: np.geomspace(1e-6, 1, 50) for name in names(4)}),
    ),
    "signal_by_depth": (
        lambda: plots.signal_by_depth([1], {"one": [1.0]}),
        lambda: plots.signal_by_depth([1, 2, 64], {name: [1, 1e-3, 1e-9] for name in names(4)}),
    ),
    "bootstrap": (
        lambda: plots.bootstrap(np.array([0.5]), Interval(0.5, 0.5, 0.5), "HR@10"),
        lambda: plots.bootstrap(np.linspace(0, 1, 2000), Interval(0.5, 0, 1), "HR@10"),
    ),
    "protocols": (
        lambda: plots.protocols({"whole": {"one": 0.0}}, "HR@10"),
        lambda: plots.protocols(dict.fromkeys(names(3), dict.fromkeys(names(5), 1.0)), "HR@10"),
    ),
    "tie_orders": (
        lambda: plots.tie_orders({"one": {"file": [0.1]}}, "NDCG@10"),
        lambda: plots.tie_orders(
            {model: {order: [0.1, 0.2] for order in names(4)} for model in names(3)}, "NDCG@10"
        ),
    ),
    "compression_bars": (
        lambda: plots.compression_bars(sizes(1, 1)),
        lambda: plots.compression_bars(sizes(3, len(SHARING))),
    ),
    "scaling": (
        lambda: plots.scaling({"One": {0: NARROW}}, ["width"]),
        lambda: plots.scaling(
            {name: {2**n: WIDE for n in range(4, 10)} for name in ("First log", "Other log")},
            ["width", "residual blocks"],
        ),
    ),
    "trade_off": (
        lambda: plots.trade_off({"name 0": 1}, models(1), "NDCG@10", "One"),
        lambda: plots.trade_off(dict.fromkeys(names(12), 10**8), models(12), "NDCG@10", "Many"),
    ),
    "sandwich": (
        lambda: plots.sandwich(["A"], n_items=1, width=1),
        lambda: plots.sandwich([LONG] * 5, n_items=10**7, width=1024),
    ),
    "id_grid": (
        lambda: plots.id_grid(np.array([[0]]), "One", ["a"], ["1"]),
        lambda: plots.id_grid(np.arange(60).reshape(6, 10), "Many", names(6), names(10)),
    ),
    "rank_frequency": (
        lambda: plots.rank_frequency(counts(3), fit_zipf(counts(3))),
        lambda: plots.rank_frequency(counts(5000), ZipfFit(2.0, 10**6, 0.5)),
    ),
    "lorenz_curves": (
        lambda: plots.lorenz_curves({"one": lorenz_curve(np.array([5]))}),
        lambda: plots.lorenz_curves({name: lorenz_curve(counts(5000)) for name in names(4)}),
    ),
    "share_bars": (
        lambda: plots.share_bars({"one": [1.0]}, ["all"], "One"),
        lambda: plots.share_bars({row: [0.9, 0.07, 0.03, 0] for row in names(6)}, names(4), "Many"),
    ),
    "block_areas": (
        lambda: plots.block_areas(BlockPartition(2, (1,), (1, 1)), [0.5, 0.5]),
        lambda: plots.block_areas(many_blocks(10**6), [0.2] * 5),
    ),
    "cut_curves": (lambda: cuts(2, 1), lambda: cuts(100, 3)),
    "decomposition": (
        lambda: plots.decomposition(BlockPartition(2, (1,), (1, 1))),
        lambda: plots.decomposition(many_blocks(10**4)),
    ),
    "item_plane": (
        lambda: plots.item_plane(np.ones((1, 2)), np.ones((1, 2)), (0, 1)),
        lambda: plots.item_plane(1e3 * np.eye(2)[[0, 1] * 50], -1e3 * np.eye(2), (1, -1)),
    ),
    "probability_tree": (
        lambda: plots.probability_tree(
            np.array([0.0, 1.0]), BlockPartition(2, (1,), (1, 1)), {}, "One"
        ),
        lambda: plots.probability_tree(
            np.full(500, 1 / 500), many_blocks(500), dict.fromkeys(range(1, 9), LONG), "Many"
        ),
    ),
    "token_bounds": (
        lambda: plots.token_bounds(np.array([0.1]), {"one": np.array([0.1])}, k=1),
        lambda: plots.token_bounds(
            np.geomspace(1e-9, 1, 900), {name: np.geomspace(1, 1e-9, 900) for name in names(2)}, 10
        ),
    ),
    "search_by_blocks": (
        lambda: plots.search_by_blocks([1], {"one": [0.0]}, {"one": [1.0]}),
        lambda: plots.search_by_blocks(
            [1, 4, 64],
            {name: [1.0, 0.5, 0.0] for name in names(3)},
            {name: [0.0, 0.0, 1.0] for name in names(3)},
        ),
    ),
    "by_block": (
        lambda: plots.by_block({"HR@10": {"one": [NARROW]}}, ["head"]),
        lambda: plots.by_block(
            {panel: {model: [NARROW, WIDE] * 2 for model in names(4)} for panel in names(2)},
            names(4),
        ),
    ),
    "tails": (lambda: tails(1, 1), lambda: tails(7, 100)),
    "grouped_bars": (
        lambda: plots.grouped_bars(pd.DataFrame({"a": [0.1]}), "share", "One"),
        lambda: plots.grouped_bars(
            pd.DataFrame(0.5, names(4), names(5)),
            "share",
            "Many",
            "the film to predict",
            pd.DataFrame([[(0.0, 1.0)] * 5] * 4, names(4), names(5)),
        ),
    ),
}


def test_every_function_that_draws_is_drawn_here():
    public = inspect.getmembers(plots, inspect.isfunction)
    drawing = {
        name
        for name, function in public
        if function.__module__ == plots.__name__
        and function.__annotations__.get("return") == "Figure"
    }
    assert drawing == set(DRAWINGS)


@pytest.mark.parametrize(
    "draw",
    [draw for ends in DRAWINGS.values() for draw in ends],
    ids=[f"{name}-{end}" for name in DRAWINGS for end in ("little", "much")],
)
def test_every_picture_fits_a_page_and_says_what_it_shows(draw):
    figure = draw()
    figure.canvas.draw()  # the layout is made, and would warn, only now
    assert figure.get_facecolor() == (1, 1, 1, 1)
    width, height = figure.get_size_inches()
    assert 2 <= width <= 12 and 1 <= height <= 12
    assert figure.axes
    for axes in figure.axes:
        assert axes.get_title()
        if axes.axison:
            assert said(figure, axes, "x"), "the x axis has neither a label nor names"
            assert said(figure, axes, "y"), "the y axis has neither a label nor names"


def said(figure: Figure, axes: Axes, direction: str) -> bool:
    """Whether an axis has a label, if need be one shared by its row or column, or bears names."""
    if getattr(figure, f"get_sup{direction}label")():
        return True
    span = "colspan" if direction == "x" else "rowspan"
    place = getattr(axes.get_subplotspec(), span).start
    for other in figure.axes:
        shared = getattr(other.get_subplotspec(), span).start == place
        if shared and getattr(other, f"get_{direction}label")():
            return True
    ticks = [text.get_text() for text in getattr(axes, f"get_{direction}ticklabels")()]
    return any(character.isalpha() for tick in ticks for character in tick)


def test_colours_fall_in_darkness():
    lightness = [np.dot(colour, [0.299, 0.587, 0.114]) for colour in plots.colours(5)]
    assert lightness == sorted(lightness)
    assert np.diff(lightness).min() > 0.05


def nine(values: Any) -> dict[str, Any]:
    """Nine series of the same values."""
    return {name: values for name in names(9)}


NINE_SERIES: dict[str, Callable[[], Figure]] = {
    "learning_curves": lambda: plots.learning_curves(nine(history(2))),
    "middle_share": lambda: plots.middle_share(np.array([1, 2]), {"a": nine(np.zeros(2))}, {}),
    "signal_by_depth": lambda: plots.signal_by_depth([1], nine([1.0])),
    "tie_orders": lambda: plots.tie_orders(nine({"file": [0.1]}), "NDCG@10"),
    "lorenz_curves": lambda: plots.lorenz_curves(nine(lorenz_curve(counts(5)))),
    "cut_curves": lambda: cuts(3, 9),
    "tails": lambda: tails(9, 5),
    "tails, top shares": lambda: plots.tails({"one": ([1], [1])}, {"one": nine(0.5)}),
    "grouped_bars": lambda: plots.grouped_bars(pd.DataFrame(nine([0.5])), "share", "Nine"),
    "by_block": lambda: plots.by_block({"HR@10": nine([NARROW])}, ["head"]),
    "token_bounds": lambda: plots.token_bounds(np.array([0.1]), nine(np.array([0.1])), k=1),
    "search_by_blocks": lambda: plots.search_by_blocks([1], nine([0.5]), nine([0.5])),
}


@pytest.mark.parametrize("draw", NINE_SERIES.values(), ids=NINE_SERIES)
def test_no_series_is_dropped(draw):
    drawn = [axes.get_legend_handles_labels()[1] for axes in draw().axes]
    named = [sum(label.endswith(tuple(names(9))) for label in labels) for labels in drawn]
    assert 9 in named


def test_neighbouring_series_differ_in_more_than_colour():
    styles = [style for _, _, style in plots.styled(nine(0))]
    assert len(styles) == 9
    assert len({style.colour for style in styles}) == 9
    for one, other in itertools.pairwise(styles):
        assert one.marker != other.marker and one.line != other.line and one.hatch != other.hatch


def test_scaling_has_a_panel_a_series_with_intervals_in_order_of_size():
    series = {"A": {64: WIDE, 16: NARROW}, "B": {0: NARROW, 2: WIDE}}
    first, second = plots.scaling(series, ["width", "residual blocks"]).axes
    assert (first.get_title(), first.get_xlabel()) == ("A", "width")
    dots, _, [bars] = first.containers[0].lines
    assert list(dots.get_xdata()) == [16, 64]
    assert list(dots.get_ydata()) == [NARROW.estimate, WIDE.estimate]
    bounds = [segment[:, 1] for segment in bars.get_segments()]
    np.testing.assert_allclose(bounds, [[NARROW.low, NARROW.high], [WIDE.low, WIDE.high]])
    assert [label.get_text() for label in second.get_xticklabels()] == ["0", "2"]


def test_trade_off_has_a_row_a_model_from_small_to_large():
    accuracy = {"large": Interval(0.3, 0.25, 0.35), "small": Interval(0.2, 0.1, 0.4)}
    [axes] = plots.trade_off({"small": 10, "large": 1000}, accuracy, "NDCG@10", "Both").axes
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
        plots.trade_off({"a": 1}, {"a": NARROW, "b": WIDE}, "NDCG@10", "Both")


def test_grouped_bars_stand_by_row_with_their_intervals():
    table = pd.DataFrame({"a": [0.1, 0.2], "b": [0.3, 0.4]}, ["head", "tail"])
    intervals = {"b": [(0.2, 0.5), (0.4, 0.7)], "a": [(0.0, 0.1), (0.1, 0.3)]}
    bounds = pd.DataFrame(intervals, table.index)
    [axes] = plots.grouped_bars(table, "share", "Both", intervals=bounds).axes
    assert axes.get_xlabel() == "part of the catalogue"
    assert [bar.get_height() for bar in axes.patches] == [0.1, 0.2, 0.3, 0.4]
    centres = [bar.get_x() + bar.get_width() / 2 for bar in axes.patches]
    np.testing.assert_allclose(centres, [-0.2, 0.8, 0.2, 1.2])
    assert len({bar.get_hatch() for bar in axes.patches}) == 2
    errors = [segment for lines in axes.collections for segment in lines.get_segments()]
    drawn = [(segment[0, 0], *segment[:, 1]) for segment in errors]
    expected = [(-0.2, 0, 0.1), (0.8, 0.1, 0.3), (0.2, 0.2, 0.5), (1.2, 0.4, 0.7)]
    np.testing.assert_allclose(drawn, expected)


def test_parameter_bars_stack_the_three_parts_to_the_total():
    ledger = count_parameters(nextitnet(100, 8))
    [axes] = plots.parameter_bars({"model": ledger}).axes
    widths = {container.get_label(): container[0].get_width() for container in axes.containers}
    assert list(widths.items()) == list(ledger.by_part().items())
    assert axes.texts[0].get_text().strip() == f"{ledger.total:,}"
    last = axes.containers[-1][0]
    assert last.get_x() + last.get_width() == ledger.total


def test_learning_curves_ring_the_best_epoch():
    _, right = plots.learning_curves({"one": history(9)}).axes
    curve, ring = right.lines
    best = np.argmax(curve.get_ydata())
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (best + 1, curve.get_ydata()[best])


def test_estimates_draw_each_interval_around_its_dot():
    [axes] = plots.estimates({"a": WIDE, "b": NARROW}, "x", "title", reference=0.3).axes
    bars = axes.containers[0].lines[2][0].get_segments()
    np.testing.assert_allclose([bar[:, 0] for bar in bars], [[0.01, 0.9], [0.1, 0.1]])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    assert axes.lines[-1].get_xdata()[0] == 0.3


def test_the_sandwich_names_its_layers_from_the_bottom_up():
    [axes] = plots.sandwich(["First", "Last"], n_items=1682, width=32).axes
    height = {text.get_text().split("\n")[0]: text.get_position()[1] for text in axes.texts}
    layers = ["First", "input embedding", "middle layers", "softmax over all items"]
    assert [height[name] for name in layers] == sorted(height[name] for name in layers)
    assert "1,682 items" in "".join(text.get_text() for text in axes.texts)
    places = {text.get_text(): text.get_position()[0] for text in axes.texts}
    assert places["First"] < places["Last"]


def test_an_id_grid_leaves_padding_empty():
    [axes] = plots.id_grid(np.array([[0, 7], [3, 0]]), "Windows", ["a", "b"], ["1", "2"]).axes
    assert {text.get_text(): text.get_position() for text in axes.texts} == {
        "7": (1, 0),
        "3": (0, 1),
    }
    np.testing.assert_array_equal(axes.images[0].get_array(), [[1, 0], [0, 1]])


def test_rank_frequency_compares_the_law_with_the_counts():
    law = ZipfFit(exponent=1.0, scale=12.0, r_squared=1.0)
    left, right = plots.rank_frequency(np.array([6, 6, 1]), law).axes
    np.testing.assert_allclose(left.lines[0].get_ydata(), [6, 6, 1])
    np.testing.assert_allclose(left.lines[1].get_ydata(), [12, 6, 4])
    np.testing.assert_allclose(right.lines[0].get_ydata(), [2, 1, 4])
    assert "1.00" in left.get_legend().get_texts()[1].get_text()


def test_lorenz_curves_are_drawn_below_the_diagonal_of_equality():
    curve = lorenz_curve(np.array([4, 3, 1]))
    [axes] = plots.lorenz_curves({"songs": curve}).axes
    diagonal, line = axes.lines
    assert diagonal.get_xydata().tolist() == [[0, 0], [1, 1]]
    np.testing.assert_allclose(line.get_xydata(), np.column_stack(curve))


def test_share_bars_follow_one_another_and_name_all_but_the_small():
    [axes] = plots.share_bars({"row": pd.Series([0.5, 0.46, 0.04], [1, 2, 3])}, names(3), "t").axes
    bars = [container[0] for container in axes.containers]
    np.testing.assert_allclose([bar.get_x() for bar in bars], [0, 0.5, 0.96])
    np.testing.assert_allclose([bar.get_width() for bar in bars], [0.5, 0.46, 0.04])
    assert [text.get_text() for text in axes.texts] == ["50%", "46%"]


def test_block_areas_are_the_parameters_of_the_tables():
    partition = BlockPartition(100, (10, 40), (8, 4, 1))
    [axes] = plots.block_areas(partition, [0.5, 0.3, 0.2]).axes
    whole, *blocks = [area.get_paths()[0].get_extents() for area in axes.collections]
    assert whole.width * whole.height == 100 * 8
    areas = [block.width * block.height for block in blocks]
    assert areas == [10 * 8, 30 * 4, 60 * 1]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels[3] == "block 3: 60 items, 1 number each, 20% of the interactions"


def test_cut_curves_draw_what_they_are_given():
    head, served, kept = np.array([0.1, 0.5]), np.array([0.4, 0.9]), np.array([0.3, 0.6])
    [axes] = plots.cut_curves(head, served, {"factor 4": kept}).axes
    drawn = {line.get_label(): line.get_ydata().tolist() for line in axes.lines}
    assert drawn == {"interactions of the head": [0.4, 0.9], "parameters, factor 4": [0.3, 0.6]}


def test_tails_give_each_data_set_a_curve_and_a_row():
    shares = {"a": {"top": 0.1}, "b": {"top": 0.7}}
    left, right = plots.tails({"a": ([1, 2], [9, 1]), "b": ([1, 3], [5, 2])}, shares).axes
    assert {line.get_label(): line.get_xydata().tolist() for line in left.lines} == {
        "a": [[1, 9], [2, 1]],
        "b": [[1, 5], [3, 2]],
    }
    assert [label.get_text() for label in right.get_yticklabels()] == ["a", "b"]
    assert list(right.lines[0].get_xdata()) == [0.1, 0.7]


@pytest.fixture
def shown(monkeypatch) -> list:
    """What `show` displayed."""
    displayed: list = []
    monkeypatch.setattr(IPython.display, "display", lambda *things: displayed.extend(things))
    return displayed


def test_show_displays_the_picture_with_its_alternative_text_and_caption(shown, monkeypatch):
    monkeypatch.delenv("CPREC_FIGURES", raising=False)
    plots.show(plots.parameter_bars(ledgers(2)), "bars", alt="Two bars.", caption="Sizes.")
    picture, caption = shown
    data, metadata = picture._repr_mimebundle_()
    assert metadata["image/png"]["alt"] == "Two bars."
    assert set(data) == {"image/png"}
    assert caption.data == "*Sizes.*"


def test_show_writes_png_and_svg_where_the_prefix_says(shown, monkeypatch, tmp_path: Path):
    monkeypatch.setenv("CPREC_FIGURES", str(tmp_path / "new" / "01_notebook"))
    figure = plots.parameter_bars(ledgers(2))
    plots.show(figure, "bars", alt="Two bars.", caption="Sizes.")
    written = sorted((tmp_path / "new").iterdir())
    assert [path.name for path in written] == ["01_notebook-bars.png", "01_notebook-bars.svg"]
    pixels = imread(written[0])
    assert pixels.shape[1] == pytest.approx(200 * figure.get_figwidth(), abs=1)
    assert pixels[..., 3].min() == 1  # opaque
    assert ElementTree.parse(written[1]).getroot().tag.endswith("svg")


def test_show_writes_nothing_without_a_prefix(shown, monkeypatch, tmp_path: Path):
    monkeypatch.delenv("CPREC_FIGURES", raising=False)
    monkeypatch.chdir(tmp_path)
    plots.show(plots.parameter_bars(ledgers(1)), "bars", alt="A bar.", caption="Size.")
    assert list(tmp_path.iterdir()) == []


def test_the_front_names_the_models_that_no_other_beats_and_all_of_a_few():
    sizes = {"small": 10, "level": 10, "large, worse": 30, "medium": 20, "large": 40}
    scores = {"small": 0.2, "level": 0.1, "large, worse": 0.25, "medium": 0.3, "large": 0.4}
    few = plots.front(sizes, scores, "Front").axes[0]
    assert {text.get_text() for text in few.texts} == set(sizes)
    more = {"bad": 25, "worse": 26}
    many = plots.front(sizes | more, scores | dict.fromkeys(more, 0.1), "Front").axes[0]
    assert [text.get_text() for text in many.texts] == ["small", "medium", "large"]


def test_the_front_has_a_name_for_dominated_models_only_where_there_are_some():
    sizes = {"small": 10, "large": 20}
    for scores, named in (((0.1, 0.2), 1), ((0.2, 0.1), 2)):
        figure = plots.front(sizes, dict(zip(sizes, scores, strict=True)), "Front")
        assert len(figure.legends[0].get_texts()) == named
