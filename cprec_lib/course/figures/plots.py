"""Pictures. Each function draws from plain arguments and returns a figure; `show` displays it.

Colours are safe for colour-blind readers and differ in lightness, so they survive greyscale;
where lines cross, marker or line style tells them apart as well.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from textwrap import fill, shorten
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from cprec_lib.course.popularity import ZipfFit
from cprec_lib.model.cost import Ledger
from cprec_lib.model.partition import BlockPartition
from cprec_lib.train.checkpoints import History
from cprec_lib.train.evaluation import Interval

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", ":", "-.")
HATCHES = ("", "//", "..", "xx", "\\\\", "oo", "--")

Values = TypeVar("Values")


def colours(n: int) -> list[Any]:
    """n colours of falling darkness."""
    return list(sns.color_palette("viridis", n))


class Style(NamedTuple):
    """How a series is told from the others."""

    colour: Any
    marker: str
    line: str
    hatch: str


def styled(
    series: Mapping[str, Values], lines: Sequence[str] = LINES
) -> Iterator[tuple[str, Values, Style]]:
    """Every series with its name and style; markers and lines start anew when they run out."""
    palette = colours(len(series) + 1)[:-1]  # the palest would be lost on white
    styles = zip(palette, cycle(MARKERS), cycle(lines), cycle(HATCHES))
    for (name, values), style in zip(series.items(), styles, strict=True):
        yield name, values, Style(*style)


def ink(colour: Any) -> str:
    """Black or white, whichever reads on the colour."""
    return "black" if np.dot(colour[:3], [0.299, 0.587, 0.114]) > 0.45 else "white"


def canvas(
    width: float = 7.5, height: float = 3.8, columns: int = 1, rows: int = 1
) -> tuple[Figure, list[Axes]]:
    """A figure of `width` x `height` inches with `rows` x `columns` axes, row by row."""
    with sns.axes_style("whitegrid"), sns.plotting_context("notebook", font_scale=0.9):
        figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
    return figure, list(axes)


def show(figure: Figure, name: str, *, alt: str, caption: str) -> None:
    """Display a figure in a notebook with its alternative text and, below it, its caption.

    If the environment variable CPREC_FIGURES holds a prefix, the figure is also written to
    PREFIX-name.png and PREFIX-name.svg.
    """
    from IPython.display import Image, Markdown, display

    prefix = os.environ.get("CPREC_FIGURES")
    if prefix:
        Path(prefix).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(f"{prefix}-{name}.png", dpi=200)
        figure.savefig(f"{prefix}-{name}.svg")
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=150)
    width = round(100 * figure.get_figwidth())
    display(Image(picture.getvalue(), alt=alt, width=width), Markdown(f"*{caption}*"))


def parameter_bars(ledgers: Mapping[str, Ledger]) -> Figure:
    """One stacked bar a model: its parameters in the embedding, the middle and the softmax."""
    figure, [axes] = canvas(height=0.9 + 0.55 * len(ledgers))
    parts = {
        part: [ledger.by_part()[part] for ledger in ledgers.values()]
        for part in ("embedding", "middle", "softmax")
    }
    _stack(axes, list(ledgers), parts, colours(4)[1:])
    for row, ledger in enumerate(ledgers.values()):
        axes.text(ledger.total, row, f" {ledger.total:,}", va="center")
    axes.set(xlabel="parameters", title="Where the parameters are")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.margins(x=0.15)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _stack(
    axes: Axes, rows: Sequence[str], parts: Mapping[str, Sequence[float]], palette: Sequence[Any]
) -> None:
    """One bar a row, its parts one after another; the first row is on top."""
    left = np.zeros(len(rows))
    for (part, values), colour in zip(parts.items(), palette, strict=True):
        axes.barh(rows, values, left=left, color=colour, edgecolor="white", label=part)
        left += values
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)


def learning_curves(histories: Mapping[str, History]) -> Figure:
    """Training loss and validation NDCG@10 by epoch, one line a model; a ring marks the best."""
    figure, [left, right] = canvas(width=9, columns=2)
    for name, history, (colour, marker, style, _) in styled(histories):
        frame = history.to_frame()
        line = {"color": colour, "marker": marker, "linestyle": style, "ms": 5, "label": name}
        left.plot(frame.index, frame["loss"], **line)
        right.plot(frame.index, frame["ndcg@10"], **line)
        best = history.best
        right.plot(best.epoch, best.valid["ndcg@10"], "o", ms=13, mfc="none", mec=colour)
    left.set(xlabel="epoch", ylabel="loss (nats)", title="Training loss")
    right.set(xlabel="epoch", ylabel="NDCG@10", title="Validation NDCG@10")
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.legend()
    return figure


def middle_share(
    n_items: np.ndarray, shares: Mapping[str, Mapping[str, np.ndarray]], marks: Mapping[str, int]
) -> Figure:
    """One panel a design: share of the parameters in the middle by catalogue size.

    `shares` is {panel: {line: values, one for each of n_items}}; `marks` names catalogue sizes.
    """
    figure, axes = canvas(width=9.5, height=4.2, columns=len(shares))
    for axis, (title, lines) in zip(axes, shares.items(), strict=True):
        for name, values, style in styled(lines):
            line = {"color": style.colour, "linestyle": style.line, "linewidth": 2}
            axis.plot(n_items, values, label=name, **line)
        axis.axhline(0.5, color="black", linewidth=1)
        for name, size in marks.items():
            axis.axvline(size, color="grey", linewidth=1)
            axis.text(size, 1.01, name, ha="center", size="small")
        axis.set_title(title, pad=20)
        axis.set(xscale="log", ylim=(0, 1), xlim=(n_items[0], n_items[-1]))
        axis.set(xlabel="items in the catalogue", ylabel="middle's share of the parameters")
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def sharing_panels(
    tables: Mapping[str, tuple[tuple[int, int], ...]], dilations: tuple[int, ...]
) -> Figure:
    """One panel a sharing table: residual blocks from bottom to top, two convolutions in each.

    Cells with one letter and colour are one convolution; below the letter is the cell's dilation.
    """
    figure, axes = canvas(width=10, height=1.6 + 0.6 * len(dilations), columns=len(tables))
    for axis, (scheme, table) in zip(axes, tables.items(), strict=True):
        distinct = max(map(max, table)) + 1
        palette = colours(distinct + 1)[1:]
        for block, pair in enumerate(table):
            for place, index in enumerate(pair):
                dilation = dilations[block] * (place + 1)
                letter = chr(ord("A") + index)
                cell(axis, (place, block), palette[index], letter, f"dilation {dilation}")
        axis.set_xticks([0, 1], ["first", "second"])
        axis.set_yticks(range(len(table)))
        axis.set(xlim=(-0.5, 1.5), ylim=(-0.5, len(table) - 0.5))
        axis.set(title=f"{scheme}\n{distinct} distinct", xlabel="convolution")
        axis.grid(visible=False)
    axes[0].set_ylabel("residual block")
    return figure


def cell(axes: Axes, place: tuple[int, int], colour: Any, letter: str, note: str = "") -> None:
    """A coloured cell with a large letter above a small note, both legible on the colour."""
    column, row = place
    axes.bar(column, 1, width=1, bottom=row - 0.5, color=colour, edgecolor="white", linewidth=3)
    text: dict[str, Any] = {"ha": "center", "va": "center", "color": ink(colour)}
    axes.text(column, row + (0.13 if note else 0), letter, size="large", weight="bold", **text)
    if note:
        axes.text(column, row - 0.22, note, size="x-small", **text)


def impulse_responses(responses: Mapping[str, np.ndarray]) -> Figure:
    """One row a layer: what it answers [L] to a single 1 at the first position."""
    figure, [axes] = canvas(width=8.5, height=1.3 + 0.5 * len(responses))
    values = np.array(list(responses.values()))
    axes.pcolormesh(values, cmap="Greys", vmax=2 * values.max(), edgecolors="lightgrey")
    for row, column in np.argwhere(values):
        cell = (column + 0.5, row + 0.5)
        axes.annotate(f"{values[row, column]:g}", cell, ha="center", va="center")
    axes.set_yticks(np.arange(len(values)) + 0.5, list(responses))
    axes.set_xticks(np.arange(values.shape[1]) + 0.5, [str(i) for i in range(values.shape[1])])
    axes.set(xlabel="positions after the 1", title="One kernel, several dilations")
    axes.invert_yaxis()
    axes.grid(visible=False)
    return figure


def estimates(
    intervals: Mapping[str, Interval], xlabel: str, title: str, reference: float | None = None
) -> Figure:
    """One dot with its interval a row; a dashed line marks `reference`."""
    extra_lines = sum(name.count("\n") for name in intervals)
    figure, [axes] = canvas(height=1.1 + 0.38 * len(intervals) + 0.14 * extra_lines)
    rows = np.arange(len(intervals))
    values = list(intervals.values())
    centre = np.array([value.estimate for value in values])
    reach = [centre - [v.low for v in values], [v.high for v in values] - centre]
    axes.errorbar(centre, rows, xerr=reach, fmt="o", color=colours(3)[0], capsize=4)
    if reference is not None:
        axes.axvline(reference, color="black", linestyle="--", linewidth=1)
    axes.set_yticks(rows, list(intervals))
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set(xlabel=xlabel, title=title)
    return figure


def influence(maps: Mapping[str, np.ndarray]) -> Figure:
    """One square a map [L, L]: dark where changing the item of a column changed a row's output."""
    figure, axes = canvas(width=4 * len(maps), height=4.6, columns=len(maps))
    for axis, (name, changed) in zip(axes, maps.items(), strict=True):
        length = len(changed)
        edges = np.arange(length + 1) + 0.5
        axis.pcolormesh(
            edges, edges, changed, cmap="Greys", vmin=0, vmax=1.3, edgecolor="lightgrey"
        )
        axis.plot([0.5, length + 0.5], [0.5, length + 0.5], "--", color=colours(3)[1], linewidth=2)
        axis.set(xlabel="position that is changed", ylabel="output that is watched", title=name)
        axis.set(aspect="equal", xticks=range(1, length + 1), yticks=range(1, length + 1))
        axis.invert_yaxis()
        axis.grid(visible=False)
    return figure


def wiring(layers: Mapping[str, np.ndarray]) -> Figure:
    """Positions as dots, layers from bottom to top; dark lines lead to the last output.

    Each entry is a layer's connections [L outputs, L inputs], True where an input counts.
    """
    figure, [axes] = canvas(width=8, height=1.2 + 0.75 * len(layers))
    length = len(next(iter(layers.values())))
    alive = np.arange(length) == length - 1
    for level in range(len(layers), 0, -1):
        connections = list(layers.values())[level - 1]
        for output, source in np.argwhere(connections):
            colour, weight = (colours(4)[1], 1.8) if alive[output] else ("lightgrey", 0.8)
            line = [source + 1, output + 1], [level - 1, level]
            axes.plot(*line, color=colour, linewidth=weight, zorder=1 + alive[output])
        _dots(axes, level, alive)
        alive = connections[alive].any(0)
    _dots(axes, 0, alive)
    axes.set_yticks(range(len(layers) + 1), ["items", *layers])
    axes.set_xticks(np.arange(1, length + 1))
    axes.set(xlabel="position", title=f"{alive.sum()} positions reach the last output")
    axes.grid(visible=False)
    return figure


def _dots(axes: Axes, level: int, alive: np.ndarray) -> None:
    shades = np.where(alive, "black", "lightgrey")
    axes.scatter(np.arange(len(alive)) + 1, np.full(len(alive), level), c=shades, s=30, zorder=3)


def reach(gradients: Mapping[str, np.ndarray]) -> Figure:
    """One row of bars a stack: gradient size [L] by position, oldest first, on a log scale."""
    figure, axes = canvas(width=8.5, height=0.7 + 1.35 * len(gradients), rows=len(gradients))
    positive = np.concatenate([sizes[sizes > 0] for sizes in gradients.values()])
    smallest, largest = positive.min(), positive.max()
    for axis, (name, sizes, style) in zip(axes, styled(gradients), strict=True):
        back = np.arange(len(sizes))[::-1]
        axis.bar(back, sizes, width=0.8, color=style.colour)
        field = int(back[sizes > 0].max()) + 1
        axis.axvline(field - 0.5, color="black", linestyle="--", linewidth=1)
        axis.set(yscale="log", title=f"{name}: {field} positions")
        axis.grid(visible=False)
        axis.set(xlim=(len(sizes) - 0.5, -1), ylim=(smallest / 2, largest * 2))
    axes[-1].set_xlabel("items back from the newest")
    figure.supylabel("size of the gradient", fontsize="medium")
    return figure


def signal_by_depth(depths: Sequence[int], sizes: Mapping[str, Sequence[float]]) -> Figure:
    """Size of a gradient by number of blocks, one line a design, on log scales."""
    figure, [axes] = canvas(width=6.5)
    for name, values, (colour, marker, line, _) in styled(sizes):
        axes.plot(depths, values, color=colour, marker=marker, linestyle=line, label=name)
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(depths), [str(depth) for depth in depths])
    axes.set(yscale="log", xlabel="residual blocks", ylabel="gradient at the newest item")
    axes.set_title("What reaches the newest item's vector")
    axes.legend()
    return figure


def scaling(panels: Mapping[str, Mapping[int, Interval]], xlabels: Sequence[str]) -> Figure:
    """One panel a series, with a scale of its own: NDCG@10 by a size that doubles, 0 allowed.

    Raises ValueError unless there is a label for each panel.
    """
    figure, axes = canvas(width=4 * len(panels), columns=len(panels))
    for axis, xlabel, (title, points) in zip(axes, xlabels, panels.items(), strict=True):
        sizes = sorted(points)
        values = [points[size] for size in sizes]
        centre = np.array([value.estimate for value in values])
        reach = [centre - [v.low for v in values], [v.high for v in values] - centre]
        axis.errorbar(sizes, centre, yerr=reach, fmt="o-", color=colours(3)[0], capsize=4)
        axis.set_xscale("symlog", base=2, linthresh=1)
        axis.set_xticks(sizes, [str(size) for size in sizes])
        axis.minorticks_off()
        axis.set(xlabel=xlabel, ylabel="test NDCG@10", title=title)
    return figure


def bootstrap(means: np.ndarray, bounds: Interval, metric: str) -> Figure:
    """Histogram of a metric's means over resampled users, with the bounds of the interval."""
    figure, [axes] = canvas(height=3.2)
    axes.hist(means, bins=40, color=colours(4)[2], edgecolor="white")
    axes.axvline(bounds.estimate, color="black", linewidth=2, label="all users")
    for bound, label in ((bounds.low, "95 % interval"), (bounds.high, None)):
        axes.axvline(bound, color="black", linestyle="--", linewidth=1.5, label=label)
    axes.set(xlabel=metric, ylabel="resamples", title="The same metric on resampled users")
    axes.legend()
    return figure


def protocols(scores: Mapping[str, Mapping[str, float]], metric: str) -> Figure:
    """One panel a protocol, with a scale of its own, and one bar a model in it."""
    figure, axes = canvas(width=10, height=3.2, columns=len(scores))
    for axis, (protocol, values) in zip(axes, scores.items(), strict=True):
        bars = axis.barh(list(values), list(values.values()), color=colours(len(values) + 1)[:-1])
        axis.bar_label(bars, fmt=" %.3f")
        axis.set(xlabel=metric, title=protocol)
        axis.margins(x=0.4)  # room for the numbers
        axis.invert_yaxis()
        axis.grid(axis="y", visible=False)
    return figure


def _beside(n: int, step: float) -> np.ndarray:
    """Offsets of n things at one place: `step` apart, or less, so that they keep to 0.8 in all."""
    return min(step, 0.8 / n) * (np.arange(n) - (n - 1) / 2)


def tie_orders(scores: Mapping[str, Mapping[str, Sequence[float]]], metric: str) -> Figure:
    """One row an order, one dot a run: {model: {order: values}}."""
    figure, [axes] = canvas(height=3.2)
    places = _beside(len(scores), 0.24)
    for place, (model, orders, style) in zip(places, styled(scores), strict=True):
        for row, values in enumerate(orders.values()):
            dots: dict[str, Any] = {"color": style.colour, "alpha": 0.75, "ms": 8}
            dots["label"] = model if row == 0 else None
            axes.plot(values, np.full(len(values), row + place), style.marker, **dots)
    names = list(next(iter(scores.values())))
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set(xlabel=metric, title="The same ratings, ties in different orders")
    axes.set_xlim(left=0)
    axes.legend()
    return figure


def compression_bars(sizes: pd.DataFrame) -> Figure:
    """One panel a catalogue: times smaller by cutoffs, one bar a sharing scheme.

    `sizes` has columns catalogue, cutoffs, sharing and "times smaller".
    """
    names = list(sizes["catalogue"].unique())
    figure, axes = canvas(width=10, height=3.6, columns=len(names))
    for axis, name in zip(axes, names, strict=True):
        sns.barplot(
            sizes[sizes["catalogue"] == name],
            x="cutoffs",
            y="times smaller",
            hue="sharing",
            palette=colours(sizes["sharing"].nunique() + 1)[1:],
            ax=axis,
        )
        axis.axhspan(4, 8, color="grey", alpha=0.2, zorder=0)
        axis.set(title=name, xlabel="cutoffs")
        axis.legend().set_visible(False)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def trade_off(
    parameters: Mapping[str, int], accuracy: Mapping[str, Interval], metric: str, title: str
) -> Figure:
    """One row a model, the smallest on top: its parameters, and its accuracy as dot and interval.

    Both mappings name the same models.
    """
    if parameters.keys() != accuracy.keys():
        lone = ", ".join(sorted(parameters.keys() ^ accuracy.keys()))
        raise ValueError(f"parameters and accuracy must name the same models; one lacks {lone}")
    by_size = sorted(accuracy, key=lambda name: parameters[name])
    rows = {f"{name}\n{parameters[name]:,} parameters": accuracy[name] for name in by_size}
    return estimates(rows, metric, title)


def front(mebibytes: Mapping[str, float], accuracy: Mapping[str, float], title: str) -> Figure:
    """Accuracy against size, on a log scale: one dot a model, and the Pareto front as a line.

    A model stands on the front if no other is both smaller and more accurate. Of more than six
    models only those on the front are named.
    """
    figure, [axes] = canvas(width=9, height=4.6)
    by_size = sorted(accuracy, key=lambda name: (mebibytes[name], -accuracy[name]))
    best, on_front = -np.inf, []
    for name in by_size:
        if accuracy[name] > best:
            best = accuracy[name]
            on_front.append(name)
    if dominated := [name for name in by_size if name not in on_front]:
        sizes, scores = ([values[name] for name in dominated] for values in (mebibytes, accuracy))
        axes.scatter(sizes, scores, color="0.55", label="dominated")
    line = [(mebibytes[name], accuracy[name]) for name in on_front]
    axes.plot(*np.transpose(line), "o-", color=colours(3)[0], label="Pareto front")
    # To the upper left, where the rising line leaves room.
    style: dict[str, Any] = {"textcoords": "offset points", "ha": "right", "fontsize": "small"}
    for name in by_size if len(by_size) <= 6 else on_front:
        axes.annotate(name, (mebibytes[name], accuracy[name]), (-5, 4), **style)
    axes.set(xlabel="size of the weights in MiB", ylabel="test NDCG@10", title=title)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xmargin(0.3)
    # Beside the axes, where it hides no dot.
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def growth(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    points: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    levels: Mapping[str, float],
    ylabel: str,
    title: str,
) -> Figure:
    """How a cost grows with the catalogue, on log axes: computed lines, measured points, and
    horizontal levels to compare with. Each line or point series is (items, costs)."""
    figure, [axes] = canvas(width=8.5, height=4.4)
    for name, (items, costs), style in styled(lines):
        axes.plot(items, costs, style.line, color=style.colour, linewidth=2.5, label=name)
    for name, (items, costs), style in styled(points):
        axes.plot(items, costs, style.marker, color=style.colour, ms=7, label=name)
    for name, level in levels.items():
        axes.axhline(level, color="black", linewidth=1)
        transform = axes.get_yaxis_transform()
        axes.text(0, level, f" {name}", transform=transform, va="bottom")
    axes.set(xscale="log", yscale="log", xlabel="items in the catalogue", ylabel=ylabel)
    axes.set(title=title)
    axes.legend(loc="lower right")
    return figure


def sandwich(history: Sequence[str], n_items: int, width: int) -> Figure:
    """The model between a history of titles, oldest first, and the question of what is next."""
    figure, [axes] = canvas(height=4.8)
    axes.set(xlim=(0, 10), ylim=(0, 10), title="A sequential recommender is a sandwich")
    axes.axis("off")
    step = 8 / len(history)
    for position, title in enumerate(history):
        centre = 1.8 + step * (position + 0.5)
        axes.text(centre, 0.7, fill(title, 15), ha="center", va="center", fontsize=9)
        _arrow(axes, centre, 1.5, 2.3)
    axes.text(0, 0.7, "the history,\noldest first", va="center", style="italic")
    layers = {
        "lower slice": f"input embedding\na row of {width} numbers for each of {n_items:,} items",
        "filling": "middle layers\nmix the rows of the history into one vector",
        "upper slice": f"softmax over all items\na probability for each of {n_items:,} items",
    }
    places = zip((2.4, 4.3, 6.2), colours(4)[1:], strict=True)
    for (name, text), (bottom, colour) in zip(layers.items(), places, strict=True):
        box = FancyBboxPatch((2, bottom), 7.6, 1.5, "round,pad=0.1", facecolor=colour, lw=0)
        axes.add_patch(box)
        axes.text(5.8, bottom + 0.75, text, color=ink(colour), ha="center", va="center")
        axes.text(0, bottom + 0.75, name, va="center", style="italic")
    _arrow(axes, 5.8, 7.9, 8.8)
    axes.text(5.8, 9.3, "Which item is next?", ha="center", va="center", weight="bold")
    return figure


def _arrow(axes: Axes, x: float, bottom: float, top: float) -> None:
    axes.annotate("", (x, top), (x, bottom), arrowprops={"arrowstyle": "->", "color": "black"})


def id_grid(ids: np.ndarray, title: str, rows: Sequence[str], columns: Sequence[str]) -> Figure:
    """Item ids as numbers in a grid; padding (0) is an empty grey cell."""
    figure, [axes] = canvas(width=1.6 + 0.8 * len(columns), height=1.1 + 0.45 * len(rows))
    axes.imshow(ids == 0, cmap="Greys", vmin=0, vmax=3, aspect="auto")
    for row, column in zip(*np.nonzero(ids), strict=True):
        axes.text(column, row, str(ids[row, column]), ha="center", va="center")
    axes.set_xticks(np.arange(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xticks(np.arange(len(columns) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(rows) + 1) - 0.5, minor=True)
    axes.grid(visible=False)
    axes.grid(which="minor", color="black", linewidth=1)
    axes.set(title=title, xlabel="position", ylabel="window")
    return figure


def rank_frequency(counts: np.ndarray, fit: ZipfFit) -> Figure:
    """Falling counts against rank with a fitted power law; right, how far the law is off."""
    figure, [left, right] = canvas(width=9, columns=2)
    ranks = np.arange(1, len(counts) + 1)
    law = fit.counts(ranks)
    dots = {"marker": "o", "markersize": 3, "linestyle": "none", "color": colours(3)[0]}
    left.loglog(ranks, counts, label="items", **dots)
    label = f"power law, exponent {fit.exponent:.2f}"
    left.loglog(ranks, law, "--", color=colours(3)[2], linewidth=2.5, label=label)
    left.legend()
    left.set(xlabel="rank (1 is the most popular)", ylabel="interactions", title="Rank-frequency")
    right.loglog(ranks, law / counts, **dots)
    right.axhline(1, color="black", linewidth=1)
    right.axhspan(0.5, 2, color=colours(3)[2], alpha=0.25, label="within a factor of 2")
    right.legend()
    right.set(xlabel="rank", ylabel="law / interactions", title="How far the law is off")
    return figure


def lorenz_curves(curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Share of interactions against share of items, least popular first; a diagonal: all equal."""
    figure, [axes] = canvas(width=5.6, height=4.8)
    axes.plot([0, 1], [0, 1], color="black", linewidth=1, label="all items equal")
    for name, (items, interactions), (colour, _, line, _) in styled(curves):
        axes.plot(items, interactions, line, color=colour, linewidth=2, label=name)
        axes.fill_between(items, interactions, items, color=colour, alpha=0.15, linewidth=0)
    axes.set(
        xlabel="share of items, least popular first",
        ylabel="share of interactions",
        title="Lorenz curve",
    )
    axes.legend()
    return figure


def share_bars(rows: Mapping[str, Sequence[float]], parts: Sequence[str], title: str) -> Figure:
    """One bar of shares that sum to 1 a row, one colour a part; shares from 5 % on are named."""
    figure, [axes] = canvas(height=1.5 + 0.5 * len(rows))
    shares = np.array([list(values) for values in rows.values()]).T
    palette = colours(len(parts) + 1)[:-1]
    _stack(axes, list(rows), dict(zip(parts, shares, strict=True)), palette)
    for left, values, colour in zip(shares.cumsum(0) - shares, shares, palette, strict=True):
        for row, (start, value) in enumerate(zip(left, values, strict=True)):
            if value >= 0.045:
                style: dict[str, Any] = {"color": ink(colour), "ha": "center", "va": "center"}
                axes.text(start + value / 2, row, f"{value:.0%}", **style)
    axes.set(xlabel="share", title=title, xlim=(0, 1))
    axes.grid(visible=False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=len(parts))
    return figure


def block_areas(partition: BlockPartition, interactions: Sequence[float]) -> Figure:
    """A table as an area, items times width, in blocks; `interactions`: the share of each."""
    figure, [axes] = canvas(height=4)
    axes.fill_between(
        [0, partition.n_items], partition.width, color="lightgrey", label="saved by the cut"
    )
    blocks = zip(partition.bounds, partition.widths, interactions, strict=True)
    for number, (((start, end), width, share), colour) in enumerate(
        zip(blocks, colours(partition.n_blocks), strict=True), start=1
    ):
        items, numbers = f"{end - start:,} items", f"{width} number{'s' * (width > 1)} each"
        label = f"block {number}: {items}, {numbers}, {share:.0%} of the interactions"
        axes.fill_between([start, end], width, color=colour, edgecolor="black", label=label)
    axes.set(
        xlabel="item id (1 is the most popular)",
        ylabel="width (numbers an item)",
        title="The area of a block is its number of parameters",
    )
    axes.margins(0)
    axes.legend(loc="upper right")
    return figure


def cut_curves(
    head: np.ndarray, interactions: np.ndarray, parameters: Mapping[str, np.ndarray]
) -> Figure:
    """What a two-block cut keeps, by the head's share of the catalogue.

    `interactions`: the share that the head serves at full width; `parameters`: the share of the
    table that remains, one line a factor.
    """
    figure, [axes] = canvas()
    axes.plot(head, interactions, color="black", linewidth=2.5, label="interactions of the head")
    for name, values, (colour, _, line, _) in styled(parameters, LINES[1:]):
        axes.plot(head, values, line, color=colour, linewidth=2.5, label=f"parameters, {name}")
    axes.set(
        xlabel="share of the catalogue in the head",
        ylabel="share that remains",
        title="What a cut into head and tail keeps",
        xlim=(0, 1),
        ylim=(0, 1.02),
    )
    axes.legend(loc="lower right")
    return figure


def tails(
    curves: Mapping[str, tuple[Sequence[int], Sequence[int]]],
    top_shares: Mapping[str, Mapping[str, float]],
) -> Figure:
    """Data sets side by side: counts by rank; right, the interactions that the top items have."""
    figure, [left, right] = canvas(width=10, height=4.2, columns=2)
    for name, (ranks, counts), (colour, marker, _, _) in styled(curves):
        left.loglog(ranks, counts, marker=marker, markersize=4, color=colour, label=name)
    left.set(xlabel="rank", ylabel="interactions", title="Rank-frequency")
    left.legend(fontsize=9)
    tops = {
        top: [shares[top] for shares in top_shares.values()]
        for top in next(iter(top_shares.values()))
    }
    for top, values, style in styled(tops):
        right.plot(values, list(top_shares), style.marker, ms=9, color=style.colour, label=top)
    right.set(xlabel="share of interactions", title="What the most popular items have", xlim=(0, 1))
    right.set_ylabel("data set")
    right.invert_yaxis()
    right.legend(fontsize=9)
    return figure


def grouped_bars(
    table: pd.DataFrame,
    ylabel: str,
    title: str,
    xlabel: str = "part of the catalogue",
    intervals: pd.DataFrame | None = None,
) -> Figure:
    """A group of bars for each row of `table`, one bar a column.

    `intervals` has the same rows and columns; each cell holds the bounds (low, high) of a bar.
    """
    figure, [axes] = canvas(height=3.8)
    places = _beside(len(table.columns), 0.8)
    width = 0.8 / len(table.columns)
    columns = {str(name): (name, place) for name, place in zip(table, places, strict=True)}
    for label, (name, place), style in styled(columns):
        at, heights = np.arange(len(table)) + place, table[name].to_numpy()
        look = {"color": style.colour, "hatch": style.hatch, "edgecolor": "white"}
        axes.bar(at, heights, width, label=label, **look)
        if intervals is not None:
            low, high = np.array(intervals.loc[table.index, name].tolist(), dtype=float).T
            axes.errorbar(at, heights, [heights - low, high - heights], fmt="none", ecolor="black")
    axes.set_xticks(np.arange(len(table)), [str(row) for row in table.index])
    axes.set(ylabel=ylabel, xlabel=xlabel, title=title)
    axes.grid(axis="x", visible=False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def item_plane(head: np.ndarray, tail: np.ndarray, direction: Sequence[float]) -> Figure:
    """Item vectors [items, 2] as dots, and the line through 0 along `direction`."""
    figure, [axes] = canvas(width=7, height=4.2)
    far = 1.15 * max(np.abs(head).max(), np.abs(tail).max())
    ends = np.outer([-1, 1], far * np.array(direction) / np.abs(direction).max())
    axes.plot(*ends.T, color="grey", linestyle="--", label="the projection's direction")
    axes.plot(*head.T, "s", color=colours(4)[0], label="head items")
    axes.plot(*tail.T, "o", color=colours(4)[3], mec="black", label="tail items")
    axes.set(xlabel="first component", ylabel="second component", aspect="equal")
    axes.set(xlim=(-far, far), ylim=(-far, far), title="Item vectors of width 2")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center")
    return figure


def decomposition(partition: BlockPartition) -> Figure:
    """A full table beside its blocks and their projections; equal areas are equal parameters."""
    figure, [axes] = canvas(width=8, height=4.8)
    full, gap = partition.width, partition.width / 4
    palette = colours(partition.n_blocks + 1)[:-1]
    blocks = zip(partition.bounds, partition.widths, palette, strict=True)
    for number, ((start, end), width, colour) in enumerate(blocks, start=1):
        size, box = end - start, {"align": "edge", "color": colour, "edgecolor": "white"}
        axes.barh(start, full, size, **box)
        axes.barh(start, width, size, left=2 * full, **box)
        text = f"block {number}: {size:,} × {width}"
        if number > 1:
            axes.barh(start, width, full, left=2 * full + width + gap, hatch="//////", **box)
            text += f", projection {full} × {width}"
        axes.text(3 * full + gap, start + size / 2, text, va="center")
    axes.set_xticks([full / 2, 2.5 * full], ["full table", "blocks and projections"])
    axes.set(xlim=(0, 6 * full), ylim=(partition.n_items, 0), ylabel="item id")
    axes.set(xlabel="(equal areas are equal numbers of parameters)", title="One table, decomposed")
    axes.grid(visible=False)
    return figure


def probability_tree(
    probabilities: np.ndarray,
    partition: BlockPartition,
    names: Mapping[int, str],
    title: str,
    smallest: float = 0.001,
) -> Figure:
    """One prediction's probabilities [N] as a strip of length 1, at the root and in the blocks.

    A block's items, the most probable first, stand below its token. `names` labels items by id.
    A block's items of less than `smallest` each, too thin to see, are drawn as one piece.
    """
    figure, [axes] = canvas(width=9.5, height=4.6)
    left = 0.0
    blocks = zip(partition.bounds, colours(partition.n_blocks + 1)[:-1], strict=True)
    for number, ((start, end), colour) in enumerate(blocks, start=1):
        ids = start + 1 + np.argsort(-probabilities[start:end], kind="stable")
        sizes = probabilities[ids - 1]
        if number > 1:
            _stretch(axes, left, sizes.sum(), 1, f"token of block {number}", colour)
        seen = sizes >= smallest
        labels = [names.get(int(item), "") for item in ids[seen]]
        pieces = [*sizes[seen], sizes[~seen].sum()]
        for text, size in zip([*labels, ""], pieces, strict=True):
            _stretch(axes, left, size, int(number == 1), text, colour)
            left += size
    axes.set_yticks([0, 1], ["inside\nthe blocks", "root"])
    axes.set(xlim=(0, 1), xlabel="probability", title=title)
    axes.grid(visible=False)
    return figure


def _stretch(axes: Axes, left: float, size: float, row: int, text: str, colour: Any) -> None:
    """A piece of a strip; its text stands upright where it is narrow, if it fits at all."""
    axes.barh(row, size, 0.92, left, color=colour, ec="white", linewidth=min(0.8, 100 * size))
    if not text or size < 0.016:
        return
    narrow = size < 0.15
    label = f"{shorten(text, 21, placeholder=' …')}{'  ' if narrow else chr(10)}{size:.3f}"
    place: dict[str, Any] = {"ha": "center", "va": "center", "rotation": 90 * narrow}
    axes.text(left + size / 2, row, label, color=ink(colour), size=8, **place)


def by_block(
    panels: Mapping[str, Mapping[str, Sequence[Interval]]], blocks: Sequence[str]
) -> Figure:
    """One panel a quantity, one group of dots with intervals a block: {panel: {model: values}}."""
    figure, axes = canvas(width=9.5, height=4, columns=len(panels))
    for axis, (panel, models) in zip(axes, panels.items(), strict=True):
        places = _beside(len(models), 0.22)
        for place, (name, values, style) in zip(places, styled(models), strict=True):
            centre = np.array([value.estimate for value in values])
            reach = [centre - [v.low for v in values], [v.high for v in values] - centre]
            look = {"fmt": style.marker, "color": style.colour, "capsize": 3, "label": name}
            axis.errorbar(np.arange(len(blocks)) + place, centre, yerr=reach, **look)
        axis.set_xticks(np.arange(len(blocks)), blocks)
        axis.set(xlabel="block of the true next item", ylabel=panel, title=panel)
        axis.grid(axis="x", visible=False)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def token_bounds(rivals: np.ndarray, tokens: Mapping[str, np.ndarray], k: int) -> Figure:
    """Each user's block tokens [U] against the k-th best probability [U] so far, on log scales."""
    figure, [axes] = canvas(width=7.5, height=4.4)
    for name, values, style in styled(tokens):
        look = {"s": 14, "color": style.colour, "marker": style.marker, "alpha": 0.6}
        axes.scatter(rivals, values, label=name, **look)
    low, high = 0.8 * rivals.min(), 1.25 * rivals.max()
    floor = 0.8 * min(low, *(values.min() for values in tokens.values()))
    axes.plot([low, high], [low, high], color="black", linewidth=1)
    axes.fill_between([low, high], floor, [low, high], color="lightgrey", label="skip the block")
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(floor, 1))
    axes.set(xlabel=f"{k}th best probability in the head", title="Can the block matter?")
    axes.set_ylabel("probability of the block's token")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center")
    return figure


def search_by_blocks(
    n_blocks: Sequence[int],
    computed: Mapping[str, Sequence[float]],
    missed: Mapping[str, Sequence[float]],
) -> Figure:
    """By number of tail blocks: the share of the tail computed, and of the best items missed.

    One line a way to search in each panel.
    """
    figure, axes = canvas(width=9.5, columns=2)
    titles = ("Share of the tail's items computed", "Share of the ten best items missed")
    for axis, lines, title in zip(axes, (computed, missed), titles, strict=True):
        for name, values, (colour, marker, line, _) in styled(lines):
            axis.plot(n_blocks, values, color=colour, marker=marker, linestyle=line, label=name)
        axis.set(xscale="log", xlabel="tail blocks", ylabel="share", title=title)
        axis.set_xticks(list(n_blocks), [str(number) for number in n_blocks], minor=False)
        axis.minorticks_off()
        small = max(map(max, lines.values())) < 0.2
        axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=int(small)))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure
