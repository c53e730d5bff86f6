"""The parts of a model and what they cost: the figures show what they are given."""

import numpy as np

from cprec_lib import count_parameters, nextitnet
from cprec_lib.course.figures import cost


def test_parameter_bars_stack_the_three_parts_to_the_total():
    ledger = count_parameters(nextitnet(100, 8))
    [axes] = cost.parameter_bars({"model": ledger}).axes
    widths = {container.get_label(): container[0].get_width() for container in axes.containers}
    assert list(widths.items()) == list(ledger.by_part().items())
    assert axes.texts[0].get_text().strip() == f"{ledger.total:,}"
    last = axes.containers[-1][0]
    assert last.get_x() + last.get_width() == ledger.total


def test_the_sandwich_names_its_layers_from_the_bottom_up():
    [axes] = cost.sandwich(["First", "Last"], n_items=1682, width=32).axes
    height = {text.get_text().split("\n")[0]: text.get_position()[1] for text in axes.texts}
    layers = ["First", "input embedding", "middle layers", "softmax over all items"]
    assert [height[name] for name in layers] == sorted(height[name] for name in layers)
    assert "1,682 items" in "".join(text.get_text() for text in axes.texts)
    places = {text.get_text(): text.get_position()[0] for text in axes.texts}
    assert places["First"] < places["Last"]


def test_middle_share_draws_every_line_and_marks_the_catalogues():
    sizes = np.array([10, 100, 1000])
    lines = {"width 8": np.array([0.9, 0.5, 0.1]), "width 16": np.array([1.0, 0.6, 0.2])}
    shares = {"plain": lines, "cut": {name: values / 2 for name, values in lines.items()}}
    figure = cost.middle_share(sizes, shares, {"ours": 50})
    for axes, title in zip(figure.axes, shares, strict=True):
        assert axes.get_title() == title
        assert axes.get_xlabel() and axes.get_ylabel()
        drawn = {line.get_label(): line.get_ydata() for line in axes.lines}
        for name, values in shares[title].items():
            np.testing.assert_array_equal(drawn[name], values)
        assert [(text.get_text(), text.get_position()[0]) for text in axes.texts] == [("ours", 50)]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(lines)


def test_growth_marks_the_measured_catalogues():
    [axes] = cost.growth({}, {"one": ([1_000, 4_000], [1, 2])}, {"limit": 3}, "s", "Time").axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1,000", "4,000"]
    assert [text.get_text() for text in axes.texts] == ["limit"]
    assert axes.get_ylabel() == "time"


def test_growth_names_its_costs_in_readable_units():
    narrow = cost.growth({}, {"one": ([1, 4], [0.003, 0.1])}, {}, "s", "Time")
    wide = cost.growth({"one": ([1, 4], [2e7, 9e11])}, {}, {}, "B", "Memory")
    for figure in (narrow, wide):
        figure.draw_without_rendering()
    shown = [
        [tick.get_text() for tick in figure.axes[0].get_yticklabels()] for figure in (narrow, wide)
    ]
    assert {"5 ms", "10 ms", "20 ms"} <= {*shown[0]}
    assert {"100 MB", "1 GB", "10 GB", "100 GB"} <= {*shown[1]}
