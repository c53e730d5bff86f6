"""Models compared: how they trained, how well they rank, and with which intervals."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cprec_lib.course.figures import style
from cprec_lib.evidence.bootstrap import Interval
from cprec_lib.train.checkpoints import History


def learning_curves(histories: Mapping[str, History]) -> Figure:
    """Training loss and validation NDCG@10 by epoch, one line per model; the best has a ring."""
    figure, [left, right] = style.canvas(width=9, columns=2)
    for name, history, look in style.styled(histories):
        frame = history.to_frame()
        for axes, column in ((left, "loss"), (right, "ndcg@10")):
            line = look.marker + look.line
            axes.plot(frame.index, frame[column], line, color=look.colour, ms=5, label=name)
        best = history.best
        ring = {"ms": 10, "mfc": look.colour, "mec": "black", "mew": 1.5}
        right.plot(best.epoch, best.valid["ndcg@10"], look.marker, **ring)
    style.label(left, "Training loss", "epoch", "loss (nats)")
    style.label(right, "Validation NDCG@10", "epoch", "NDCG@10")
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.legend()
    return figure


def estimates(
    intervals: Mapping[str, Interval], xlabel: str, title: str, reference: float | None = None
) -> Figure:
    """One dot with its interval per row; a dashed line marks `reference`."""
    extra_lines = sum(name.count("\n") for name in intervals)
    figure, [axes] = style.canvas(height=1.1 + 0.38 * len(intervals) + 0.14 * extra_lines)
    look = {"fmt": "o", "color": style.colours(3)[0], "capsize": 4}
    style.error_bars(axes, np.arange(len(intervals)), intervals.values(), lying=True, **look)
    if reference is not None:
        axes.axvline(reference, color="black", linestyle="--", linewidth=1)
    style.name_ticks(axes.yaxis, intervals)
    axes.set_ylim(len(intervals) - 0.5, -0.5)
    style.label(axes, title, xlabel)
    return figure


def trade_off(
    parameters: Mapping[str, int], accuracy: Mapping[str, Interval], metric: str, title: str
) -> Figure:
    """One row per model, the smallest on top: its parameters, and its accuracy with an interval.

    Raises ValueError unless both mappings name the same models.
    """
    if parameters.keys() != accuracy.keys():
        lone = ", ".join(sorted(parameters.keys() ^ accuracy.keys()))
        raise ValueError(f"parameters and accuracy must name the same models; one lacks {lone}")
    by_size = sorted(accuracy, key=lambda name: parameters[name])
    rows = {f"{name}\n{parameters[name]:,} parameters": accuracy[name] for name in by_size}
    return estimates(rows, metric, title)


def bootstrap(means: np.ndarray, bounds: Interval, metric: str) -> Figure:
    """Histogram of a metric's means over resampled users, with the bounds of the interval."""
    figure, [axes] = style.canvas(height=3.2)
    axes.hist(means, bins=40, color=style.colours(4)[2], edgecolor="white")
    axes.axvline(bounds.estimate, color="black", linewidth=2, label="all users")
    for bound, name in ((bounds.low, "95 % interval"), (bounds.high, None)):
        axes.axvline(bound, color="black", linestyle="--", linewidth=1.5, label=name)
    style.label(axes, "The same metric on resampled users", metric, "resamples")
    axes.legend()
    return figure


def protocols(scores: Mapping[str, Mapping[str, float]], metric: str) -> Figure:
    """One panel per protocol, with its own scale and one bar per model."""
    figure, axes = style.canvas(width=10, height=3.2, columns=len(scores), grid="x")
    for axis, (protocol, values) in zip(axes, scores.items(), strict=True):
        names, palette = [style.plain(name) for name in values], style.colours(len(values) + 1)[:-1]
        bars = axis.barh(names, list(values.values()), color=palette)
        axis.bar_label(bars, fmt=" %.3f")
        style.label(axis, protocol, metric)
        axis.margins(x=0.4)  # room for the numbers
        axis.invert_yaxis()
    return figure


def tie_orders(scores: Mapping[str, Mapping[str, Sequence[float]]], metric: str) -> Figure:
    """One row per order, one dot per run: {model: {order: values}}."""
    figure, [axes] = style.canvas(height=3.2)
    places = style.beside(len(scores), 0.24)
    for place, (model, orders, look) in zip(places, style.styled(scores), strict=True):
        for row, values in enumerate(orders.values()):
            dots: dict[str, Any] = {"color": look.colour, "alpha": 0.75, "ms": 8}
            name = model if row == 0 else None
            axes.plot(values, [row + place] * len(values), look.marker, label=name, **dots)
    orders = next(iter(scores.values()))
    style.name_ticks(axes.yaxis, orders)
    axes.set_ylim(len(orders) - 0.5, -0.5)
    style.label(axes, "The same ratings, ties in different orders", metric)
    axes.set_xlim(left=0)
    axes.legend()
    return figure


def grouped_bars(
    table: pd.DataFrame,
    ylabel: str,
    title: str,
    xlabel: str = "part of the catalogue",
    intervals: pd.DataFrame | None = None,
) -> Figure:
    """A group of bars for each row of `table`, one bar per column.

    `intervals` has the same rows and columns; each cell holds the bounds (low, high) of a bar.
    """
    figure, [axes] = style.canvas(height=3.8, grid="y")
    n_columns = len(table.columns)
    places = np.arange(len(table)) + style.beside(n_columns, 0.8)[:, None]
    for at, (name, heights, look) in zip(places, style.styled(dict(table.items())), strict=True):
        bars = {"color": look.colour, "hatch": look.hatch, "edgecolor": "white"}
        axes.bar(at, heights, 0.8 / n_columns, label=name, **bars)
        if intervals is not None:
            bounds = zip(heights, intervals.loc[table.index, heights.name], strict=True)
            values = [Interval(height, *ends) for height, ends in bounds]
            style.error_bars(axes, at, values, fmt="none", ecolor="black")
    style.name_ticks(axes.xaxis, table.index)
    style.label(axes, title, xlabel, ylabel)
    style.legend_outside(figure, 3)
    return figure


class Budget(NamedTuple):
    """Models within a budget by size and by difference from the uncompressed one; the winner."""

    title: str
    sizes: Mapping[str, int]
    differences: Mapping[str, Interval]
    winner: str


def budget(states: Sequence[Budget]) -> Figure:
    """One panel per state: a row for each model, with the difference and its interval."""
    rows = max(len(state.differences) for state in states)
    size = (7.4, 1.3 + 0.2 * rows)
    figure, axes = style.panels(len(states), 1, size, (3.2, 0.2, 0.8, 0.5), "x")
    for axis, state in zip(axes, states, strict=True):
        names, sizes = [*state.differences], state.sizes
        for place, name in enumerate(names):
            marker, colour = ("D", "black") if name == state.winner else ("o", style.colours(3)[0])
            look = {"marker": marker, "color": colour, "linestyle": "none"}
            style.error_bars(axis, [place], [state.differences[name]], lying=True, **look)
        axis.axvline(0, color="black", linestyle="--", linewidth=1)
        short = [name.replace(" in groups of 16", " groups") for name in names]
        labels = [f"{s} ({sizes[name]:,})" for s, name in zip(short, names, strict=True)]
        style.name_ticks(axis.yaxis, labels)
        gaps = state.differences.values()
        low, high = min(gap.low for gap in gaps), max(0, *(gap.high for gap in gaps))
        edge = 0.04 * (high - low)
        axis.set(xlim=(low - edge, high + edge), ylim=(rows - 0.5, -0.5))
        style.label_small(axis, state.title, "difference in NDCG@10")
    return figure
