"""Pictures of the explorables: each function draws one panel a state, or a group of panels.

A state is what the controls chose, looked up: plain numbers and names. One state makes the picture
beside the controls, several make the small multiples that stand in the page. Panels have fixed
margins: a layout that measures every text first would double the time of a frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import shorten
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cprec_lib.course.figures.plots import HATCHES, canvas, cell, colours, ink
from cprec_lib.model.sharing import sharing_table
from cprec_lib.train.evaluation import Interval

SMALL = 9
Margins = tuple[float, float, float, float]


def _grid(
    n: int, columns: int, size: tuple[float, float], margins: Margins
) -> tuple[Figure, list[Axes]]:
    """n axes in cells of `size`, inches; `margins` are left, right, top and bottom of a cell."""
    rows = -(-n // columns)
    width, height = size[0] * columns, size[1] * rows
    left, right, top, bottom = margins
    figure, axes = canvas(width, height, columns, rows)
    figure.set_layout_engine("none")
    for number, axis in enumerate(axes):
        if number >= n:
            axis.remove()
            continue
        x, y = size[0] * (number % columns) + left, height - size[1] * (1 + number // columns)
        inside = size[0] - left - right, size[1] - top - bottom
        axis.set_position((x / width, (y + bottom) / height, inside[0] / width, inside[1] / height))
        axis.tick_params(labelsize=SMALL)
    return figure, axes[:n]


def _name(axes: Axes, title: str, x: str, y: str = "") -> None:
    """Title and labels in small type; a film's title may hold any sign, so none is a formula."""
    axes.set_title(title, fontsize=SMALL + 1.5, parse_math=False)
    axes.set_xlabel(x, fontsize=SMALL, labelpad=2)
    axes.set_ylabel(y, fontsize=SMALL, labelpad=2)


def _powers(axes: Axes, low: float, high: float, direction: str = "y") -> None:
    """A log axis from low to high with its powers of ten as plain numbers; formulas are slow."""
    powers = range(int(np.ceil(np.log10(low))), int(np.floor(np.log10(high))) + 1)
    powers = powers[:: max(1, -(-len(powers) // 5))]
    axes.set(**{f"{direction}scale": "log", f"{direction}lim": (low, high)})
    axes.minorticks_off()
    ticks = {f"{10.0**power:,g}": 10.0**power for power in powers}
    axes.set(**{f"{direction}ticks": list(ticks.values()), f"{direction}ticklabels": list(ticks)})


def _piece(axes: Axes, row: float, left: float, size: float, text: str, **style: Any) -> None:
    """A piece of a bar, with its text if the axes have room for it."""
    axes.barh(row, size, 0.8, left, edgecolor="white", linewidth=0.8, **style)
    low, high = axes.get_xlim()
    inches = axes.bbox.width / axes.figure.dpi * size / (high - low)
    if text and inches > 0.075 * max(map(len, text.split("\n"))):
        place: dict[str, Any] = {"ha": "center", "va": "center", "size": SMALL - 1}
        place["bbox"] = {"facecolor": style["color"], "edgecolor": "none", "pad": 0.5}
        axes.text(left + size / 2, row, text, color=ink(style["color"]), **place)


class Cut(NamedTuple):
    """A catalogue cut into head and tail: `parts` are shares, {row: (head's, tail's)}."""

    title: str
    head: float
    parts: Mapping[str, tuple[float, float]]


def tail(curve: tuple[np.ndarray, np.ndarray], cuts: Sequence[Cut]) -> Figure:
    """Left, counts by share of the catalogue, head and tail; right, what lies on each side.

    `curve` holds shares of the catalogue, the most popular items first, and their interactions.
    """
    figure, axes = _grid(2 * len(cuts), 2, (4.1, 2.6), (1.1, 0.3, 0.4, 0.55))
    items, counts = curve
    head_colour, tail_colour = palette = colours(3)[:2]
    for cut, left, right in zip(cuts, axes[::2], axes[1::2], strict=True):
        left.fill_between(items, 0.5, counts, color=tail_colour, label="tail")
        head = items <= cut.head
        left.fill_between(items[head], 0.5, counts[head], color=head_colour, label="head")
        left.axvline(cut.head, color="black", linewidth=2)
        left.set_xlim(0, 1)
        _powers(left, 0.5, 1.2 * counts.max())
        left.set_xticks([0, 0.5, 1], ["0", "50 %", "100 %"])
        _name(left, cut.title, "items, the most popular first", "interactions an item")
        left.legend(fontsize=SMALL, loc="lower left")
        right.set(xlim=(0, 1), ylim=(len(cut.parts) - 0.5, -0.5))
        for row, shares in enumerate(cut.parts.values()):
            start = 0.0
            for share, colour in zip(shares, palette, strict=True):
                _piece(right, row, start, share, f"{share:.0%}", color=colour)
                start += share
        right.set_yticks(range(len(cut.parts)), list(cut.parts))
        right.set_xticks([0, 0.5, 1], ["0", "50 %", "100 %"])
        right.grid(visible=False)
        _name(right, "On each side of the cut", "share of the whole")
    return figure


class Bread(NamedTuple):
    """Parameters of a model's bread, uncut and cut, by the same parts."""

    title: str
    uncut: Mapping[str, int]
    cut: Mapping[str, int]


def bread(states: Sequence[Bread]) -> Figure:
    """One panel a state: the parameters of the uncut bread above those of the cut one."""
    figure, axes = _grid(len(states), 1, (7.4, 2.1), (0.7, 0.7, 0.4, 0.85))
    for axis, state in zip(axes, states, strict=True):
        rows = {"uncut": state.uncut, "cut": state.cut}
        largest = max(sum(parts.values()) for parts in rows.values())
        axis.set(xlim=(0, 1.02 * largest), ylim=(1.5, -0.5))
        palette = colours(len(state.cut) + 1)[:-1]
        for row, parts in enumerate(rows.values()):
            start = 0
            for (part, size), colour, hatch in zip(parts.items(), palette, HATCHES, strict=False):
                style: dict[str, Any] = {"color": colour, "hatch": hatch}
                style["label"] = part if row else None
                _piece(axis, row, start, size, f"{size:,}", **style)
                start += size
            total: dict[str, Any] = {"va": "center", "size": SMALL, "clip_on": False}
            axis.text(start, row, f" {start:,}", **total)
        axis.set_yticks([0, 1], list(rows))
        axis.set_xticks([0, largest], ["0", f"{largest:,}"])
        axis.grid(visible=False)
        _name(axis, state.title, "parameters of embedding and softmax")
        where: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.42)}
        axis.legend(ncols=len(state.cut), fontsize=SMALL, frameon=False, **where)
    return figure


class Flow(NamedTuple):
    """One prediction: {block: (its probability, that of its ten best items)}, and the answer.

    `true_block` is the place of the block that holds the item which came next.
    """

    title: str
    blocks: Mapping[str, tuple[float, float]]
    true_block: int


def flow(states: Sequence[Flow]) -> Figure:
    """Probability from the whole, above, through the root to the items inside the blocks."""
    figure, axes = _grid(len(states), 1, (7.4, 2.5), (1.05, 0.15, 0.6, 0.5))
    for axis, state in zip(axes, states, strict=True):
        axis.set(xlim=(0, 1), ylim=(2.5, -0.5))
        _piece(axis, 0, 0, 1, "all items: 1", color=(0.85, 0.85, 0.85))
        start, palette = 0.0, colours(len(state.blocks) + 1)[:-1]
        for number, (name, (mass, best)) in enumerate(state.blocks.items()):
            colour = palette[number]
            came = number == state.true_block
            text = f"{name}\n{mass:.3f}"
            _piece(axis, 1, start, mass, text, color=colour)
            _piece(axis, 2, start, best, f"10 best\n{best:.3f}", color=colour)
            _piece(axis, 2, start + best, mass - best, "others", color=colour, hatch="//")
            if came:
                axis.plot(start + mass / 2, 0.5, "v", color="black", ms=9, clip_on=False)
            start += mass
        axis.set_yticks([0, 1, 2], ["all", "root", "inside\nthe blocks"])
        axis.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axis.grid(visible=False)
        _name(
            axis, state.title, "probability; the triangle stands over the block of what came next"
        )
    return figure


class Reach(NamedTuple):
    """Gradient size [L] of the prediction at each item, the newest first."""

    title: str
    sizes: np.ndarray


def reach(states: Sequence[Reach], window: int) -> Figure:
    """One panel a stack: how strongly each past item reaches the prediction, on a log scale."""
    figure, axes = _grid(len(states), 1, (7.4, 2.2), (0.75, 0.15, 0.4, 0.55))
    positive = np.concatenate([state.sizes[state.sizes > 0] for state in states])
    bottom, top = positive.min() / 5, positive.max() * 3
    for axis, state in zip(axes, states, strict=True):
        back = np.flatnonzero(state.sizes)
        axis.axvspan(-1, window - 0.5, color="0.9", label=f"window of {window} items")
        axis.vlines(back, bottom, state.sizes[back], color=colours(3)[0], linewidth=1.8)
        axis.set_xlim(len(state.sizes), -1.5)
        _powers(axis, bottom, top)
        axis.legend(loc="upper left", fontsize=SMALL)
        axis.grid(visible=False)
        _name(axis, state.title, "items back from the newest", "gradient")
    return figure


def sharing(states: Sequence[tuple[str, int]], columns: int = 1) -> Figure:
    """One panel a scheme and number of blocks: equal letters are one convolution."""
    most = max(blocks for _, blocks in states)
    figure, axes = _grid(len(states), columns, (6 / columns**0.3, 1.55), (0.75, 0.15, 0.4, 0.5))
    for axis, (scheme, blocks) in zip(axes, states, strict=True):
        table = np.array(sharing_table(scheme, blocks)).T
        names = {index: chr(ord("A") + n) for n, index in enumerate(np.unique(table))}
        palette = colours(len(names) + 1)[1:]
        shades = dict(zip(names, palette, strict=True))
        for (row, block), index in np.ndenumerate(table):
            cell(axis, (block, row), shades[index], names[index])
        axis.set(xlim=(-0.5, most - 0.5), ylim=(1.5, -0.5))
        axis.set_yticks([0, 1], ["first", "second"])
        axis.set_xticks(range(blocks))
        axis.grid(visible=False)
        plural = "s" * (blocks > 1)
        title = f"{scheme}, {blocks} block{plural}: {table.size} applied, {len(names)} stored"
        _name(axis, title, "residual block")
    return figure


class Listing(NamedTuple):
    """A list of recommended items: titles, ids, and which of them the last film brought in."""

    title: str
    items: Sequence[str]
    ids: Sequence[int]
    new: Sequence[bool]


def listings(states: Sequence[Sequence[Listing]], cutoffs: Sequence[int], n_items: int) -> Figure:
    """One row of panels a state, one panel a list: each item's place in the catalogue."""
    panels = [listing for state in states for listing in state]
    longest = max(len(panel.items) for panel in panels)
    size = 4.7, 0.9 + 0.21 * longest
    figure, axes = _grid(len(panels), len(states[0]), size, (2.5, 0.15, 0.4, 0.5))
    old_colour, new_colour = colours(3)[:2]
    for axis, panel in zip(axes, panels, strict=True):
        for kind, colour, marker in ((False, old_colour, "o"), (True, new_colour, "D")):
            rows = [row for row, new in enumerate(panel.new) if new == kind]
            ids = [panel.ids[row] for row in rows]
            axis.plot(ids, rows, marker, color=colour, mec="black")
        for cutoff in cutoffs:
            axis.axvline(cutoff + 0.5, color="black", linestyle="--", linewidth=1)
        axis.set_ylim(longest - 0.5, -0.5)
        _powers(axis, 0.8, 1.2 * n_items, "x")
        axis.set_yticks([])  # a text a line takes less time than a tick
        beside: dict[str, Any] = {"ha": "right", "va": "center", "size": SMALL - 1}
        beside["transform"] = axis.get_yaxis_transform()
        for row, item in enumerate(panel.items):
            line = shorten(item, 32, placeholder=" …")
            axis.text(-0.02, row, line, parse_math=False, **beside)
        _name(axis, panel.title, "popularity rank, the tail on the right")
        axis.set_ylabel("the list, the best on top", fontsize=SMALL, labelpad=160)
    return figure


class Budget(NamedTuple):
    """Models by size and by difference to the uncompressed one, and the winner within a budget."""

    title: str
    parameters: Mapping[str, int]
    differences: Mapping[str, Interval]
    budget: int
    winner: str | None


def budget(states: Sequence[Budget]) -> Figure:
    """One panel a state: differences with intervals by size; what the budget admits is dark."""
    figure, axes = _grid(len(states), 1, (7.4, 2.7), (0.85, 0.2, 0.6, 0.55))
    every = [gap for state in states for gap in state.differences.values()]
    low, high = min(gap.low for gap in every), max(gap.high for gap in every)
    for axis, state in zip(axes, states, strict=True):
        names = list(state.differences)
        within = {True: "within the budget", False: "too large"}
        for fits, colour in ((False, "0.7"), (True, colours(3)[0])):
            chosen = [name for name in names if (state.parameters[name] <= state.budget) == fits]
            _intervals(axis, state, chosen, color=colour, label=within[fits], marker="o")
        if state.winner is not None:
            style = {"color": "black", "label": "the winner", "marker": "D", "markersize": 9}
            _intervals(axis, state, [state.winner], linewidth=2.5, **style)
        axis.axvline(state.budget, color="black", linestyle="--", linewidth=1.5)
        axis.axhline(0, color="black", linewidth=1)
        largest = max(state.parameters.values())
        axis.set(xlim=(0, 1.05 * largest), ylim=(low - 0.35 * (high - low), high + 0.002))
        quarters = [0.0, 0.25, 0.5, 0.75, 1.0]
        axis.set_xticks([share * largest for share in quarters], [f"{q:.0%}" for q in quarters])
        _name(axis, state.title, f"parameters, of {largest:,}", "difference in NDCG@10")
        axis.legend(fontsize=SMALL, loc="lower right", ncols=3)
    return figure


def _intervals(axes: Axes, state: Budget, names: Sequence[str], **style: Any) -> None:
    """A dot with its interval for each named model."""
    if not names:
        return
    values = [state.differences[name] for name in names]
    centre = np.array([value.estimate for value in values])
    spread = [centre - [v.low for v in values], [v.high for v in values] - centre]
    sizes = [state.parameters[name] for name in names]
    axes.errorbar(sizes, centre, yerr=spread, linestyle="none", **style)
