"""The parts of a model, and what they cost."""

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, PercentFormatter

from cprec_lib.course.figures import style
from cprec_lib.model.cost import Ledger

Curve = tuple[Sequence[float], Sequence[float]]


def sandwich(history: Sequence[str], n_items: int, width: int) -> Figure:
    """The model between a history of titles, oldest first, and the question of what is next."""
    figure, [axes] = style.canvas(height=4.8)
    axes.set(xlim=(0, 10), ylim=(0, 10))
    style.label(axes, "A sequential recommender is a sandwich")
    axes.axis("off")
    step = 8 / len(history)
    for position, title in enumerate(history):
        centre = 1.8 + step * (position + 0.5)
        axes.text(centre, 0.7, style.plain(fill(title, 15)), fontsize=9, **style.CENTRED)
        _arrow(axes, centre, 1.5, 2.3)
    axes.text(0, 0.7, "the history,\noldest first", va="center", style="italic")
    layers = {
        "lower slice": f"input embedding\na row of {width} numbers for each of {n_items:,} items",
        "filling": "middle layers\nmix the rows of the history into one vector",
        "upper slice": f"softmax over all items\na probability for each of {n_items:,} items",
    }
    places = zip((2.4, 4.3, 6.2), style.colours(4)[1:], strict=True)
    for (name, text), (bottom, colour) in zip(layers.items(), places, strict=True):
        box = FancyBboxPatch((2, bottom), 7.6, 1.5, "round,pad=0.1", facecolor=colour, lw=0)
        axes.add_patch(box)
        axes.text(5.8, bottom + 0.75, text, color=style.ink(colour), **style.CENTRED)
        axes.text(0, bottom + 0.75, name, va="center", style="italic")
    _arrow(axes, 5.8, 7.9, 8.8)
    axes.text(5.8, 9.3, "Which item is next?", weight="bold", **style.CENTRED)
    return figure


def _arrow(axes: Axes, x: float, bottom: float, top: float) -> None:
    axes.annotate("", (x, top), (x, bottom), arrowprops={"arrowstyle": "->", "color": "black"})


def network(inputs: str, layers: Mapping[str, str]) -> Figure:
    """A model's layers, {name: shape of what comes out}, from bottom to top; `inputs` go in."""
    figure, [axes] = style.canvas(width=7, height=1.2 + 0.75 * len(layers))
    axes.set(xlim=(0, 10), ylim=(-0.7, len(layers)))
    style.label(axes, "The shapes on the way through the model")
    axes.axis("off")
    axes.text(3.5, -0.5, style.plain(inputs), **style.CENTRED)
    palette = style.colours(len(layers) + 1)[1:]
    for level, ((name, shape), colour) in enumerate(zip(layers.items(), palette, strict=True)):
        _arrow(axes, 3.5, level - 0.33, level + 0.05)
        box = FancyBboxPatch((0.3, level + 0.1), 6.4, 0.5, "round,pad=0.05", facecolor=colour, lw=0)
        axes.add_patch(box)
        axes.text(3.5, level + 0.35, style.plain(name), color=style.ink(colour), **style.CENTRED)
        axes.text(7.1, level + 0.35, style.plain(shape), va="center", family="monospace")
    return figure


def parameter_bars(ledgers: Mapping[str, Ledger]) -> Figure:
    """One stacked bar per model: parameters of the embedding, middle layers and softmax.

    A part that no model has is left out of the legend.
    """
    figure, [axes] = style.canvas(height=0.9 + 0.55 * len(ledgers), grid="x")
    parts = {
        part: [ledger.by_part()[part] for ledger in ledgers.values()]
        for part in ("embedding", "middle", "softmax")
    }
    colours = dict(zip(parts, style.colours(4)[1:], strict=True))
    shown = {part: values for part, values in parts.items() if any(values)}
    style.stack(axes, ledgers, shown, [colours[part] for part in shown])
    for row, ledger in enumerate(ledgers.values()):
        axes.text(ledger.total, row, f" {ledger.total:,}", va="center")
    style.label(axes, "Where the parameters are", "parameters")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.margins(x=0.15)
    style.legend_outside(figure, 3)
    return figure


def middle_share(
    n_items: np.ndarray, shares: Mapping[str, Mapping[str, np.ndarray]], marks: Mapping[str, int]
) -> Figure:
    """One panel per design: share of the parameters in the middle layers by catalogue size.

    `shares` is {panel: {line: values, one for each of n_items}}; `marks` names catalogue sizes.
    """
    figure, axes = style.canvas(width=9.5, height=4.2, columns=len(shares))
    for axis, (title, lines) in zip(axes, shares.items(), strict=True):
        for name, values, look in style.styled(lines):
            axis.plot(n_items, values, look.line, color=look.colour, linewidth=2, label=name)
        axis.axhline(0.5, color="black", linewidth=1)
        for name, size in marks.items():
            axis.axvline(size, color="grey", linewidth=1)
            axis.text(size, 1.01, style.plain(name), ha="center", size="small")
        axis.set(xscale="log", ylim=(0, 1), xlim=(n_items[0], n_items[-1]))
        style.label(axis, title, "items in the catalogue", "middle's share of the parameters")
        axis.set_title(axis.get_title(), pad=20)
        axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    style.legend_outside(figure, 4)
    return figure


def compression_bars(sizes: pd.DataFrame) -> Figure:
    """One panel per catalogue: times smaller by cutoffs, one bar per sharing scheme.

    `sizes` has columns catalogue, cutoffs, sharing and "times smaller".
    """
    texts = ["catalogue", "cutoffs", "sharing"]
    sizes = sizes.assign(**{column: sizes[column].map(style.plain) for column in texts})
    names = list(sizes["catalogue"].unique())
    palette = style.colours(sizes["sharing"].nunique() + 1)[1:]
    figure, axes = style.canvas(width=10, height=3.6, columns=len(names))
    for axis, name in zip(axes, names, strict=True):
        chosen = sizes[sizes["catalogue"] == name]
        bars = {"x": "cutoffs", "y": "times smaller", "hue": "sharing", "palette": palette}
        sns.barplot(chosen, ax=axis, **bars)
        axis.axhspan(4, 8, color="grey", alpha=0.2, zorder=0)
        axis.set_title(name)
        axis.legend().set_visible(False)
    style.legend_outside(figure, 3)
    return figure


def growth(
    lines: Mapping[str, Curve],
    points: Mapping[str, Curve],
    levels: Mapping[str, float],
    unit: Literal["B", "s"],
    title: str,
) -> Figure:
    """How a cost grows with the catalogue: computed lines, measured points, levels to compare with.

    Each line or point series is (items, costs), in bytes or seconds; both axes are logarithmic.
    Where there are points, the ticks stand at their catalogues.
    """
    figure, [axes] = style.canvas(width=8.5, height=4.4)
    for name, (items, costs), look in style.styled(lines):
        axes.plot(items, costs, look.line, color=look.colour, linewidth=2.5, label=name)
    for name, (items, costs), look in style.styled(points):
        hollow: dict[str, Any] = {"mfc": "none", "mew": 2}  # points at one place stay visible
        axes.plot(items, costs, look.marker, color=look.colour, ms=8, label=name, **hollow)
    for name, level in levels.items():
        axes.axhline(level, color="black", linewidth=1)
        place = axes.get_yaxis_transform()
        over: dict[str, Any] = {"fc": "white", "ec": "none", "pad": 1}  # no grid behind the name
        axes.text(0.01, level, style.plain(name), transform=place, va="center", bbox=over)
    axes.set(xscale="log", yscale="log")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)))
    axes.yaxis.set_major_formatter(EngFormatter(unit))
    axes.minorticks_off()
    if points:
        sizes = sorted({size for items, _ in points.values() for size in items})
        style.name_ticks(axes.xaxis, [f"{size:,}" for size in sizes], sizes)
    else:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size:,.0f}"))
    costs_are = {"B": "memory", "s": "time"}
    style.label(axes, title, "items in the catalogue", costs_are[unit])
    axes.legend(loc="lower right")
    return figure


class Bread(NamedTuple):
    """Parameters of a model's embedding and softmax, uncut and cut, by the same parts."""

    title: str
    uncut: Mapping[str, int]
    cut: Mapping[str, int]


def bread(states: Sequence[Bread]) -> Figure:
    """One panel per state: parameters of embedding and softmax, uncut above cut."""
    figure, axes = style.panels(len(states), 1, (7.4, 2.1), (0.7, 0.7, 0.4, 0.85))
    for axis, state in zip(axes, states, strict=True):
        largest = max(sum(state.uncut.values()), sum(state.cut.values()))
        axis.set(xlim=(0, 1.15 * largest), ylim=(1.5, -0.5))
        palette = style.colours(len(state.cut) + 1)[:-1]
        for row, parts in enumerate((state.uncut, state.cut)):
            looks = zip(parts.items(), palette, style.HATCHES, strict=False)
            pieces = [
                style.Piece(size, f"{size:,}", colour, hatch, part if row else None)
                for (part, size), colour, hatch in looks
            ]
            end = style.bar(axis, row, pieces)
            axis.text(end, row, f" {end:,.0f}", va="center", size=style.SMALL, clip_on=False)
        style.name_ticks(axis.yaxis, ["uncut", "cut"])
        style.name_ticks(axis.xaxis, ["0", f"{largest:,}"], [0, largest])
        style.label_small(axis, state.title, "parameters of embedding and softmax")
        where: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.42)}
        axis.legend(ncols=len(state.cut), fontsize=style.SMALL, frameon=False, **where)
    return figure
