"""The popularity of items: windows of a log, the long tail, and what each part of it serves."""

from collections.abc import Mapping, Sequence
from textwrap import shorten
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cprec_lib.course.figures import style
from cprec_lib.course.popularity import ZipfFit

HALVES = {"0": 0.0, "50 %": 0.5, "100 %": 1.0}


def id_grid(
    ids: np.ndarray,
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    ylabel: str = "window",
) -> Figure:
    """Item ids as numbers in a grid; padding (0) is an empty grey cell."""
    size = 1.6 + 0.8 * len(columns), 1.1 + 0.45 * len(rows)
    figure, [axes] = style.canvas(*size, grid="")
    axes.imshow(ids == 0, cmap="Greys", vmin=0, vmax=3, aspect="auto")
    for row, column in zip(*np.nonzero(ids), strict=True):
        axes.text(column, row, str(ids[row, column]), **style.CENTRED)
    for axis, names in ((axes.xaxis, columns), (axes.yaxis, rows)):
        style.name_ticks(axis, names)
        axis.set_ticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="black", linewidth=1)
    style.label(axes, title, "position", ylabel)
    return figure


def window_and_prefixes(inputs: Sequence[int]) -> Figure:
    """One window's inputs [L] as one row, and as one padded row per prefix; coloured: losses."""
    length = len(inputs)
    prefixes = [[0] * (length - end) + [*inputs[:end]] for end in range(length, 0, -1)]
    size = 1.6 + 1.1 * length, 1.4 + 0.36 * length
    figure, axes = style.canvas(*size, columns=2, grid="")
    titles = f"whole window: 1 row, {length} losses", f"prefixes: {length} rows, {length} losses"
    for axis, rows, title, used in zip(
        axes, (prefixes[:1], prefixes), titles, (0, length - 1), strict=True
    ):
        axis.set(xlim=(-0.5, length - 0.5), ylim=(length - 0.5, -0.5), aspect="equal")
        for (row, column), item in np.ndenumerate(np.array(rows)):
            colour = style.colours(4)[2] if column >= used else (0.9, 0.9, 0.9)
            axis.bar(column, 1, 1, row - 0.5, color=colour, edgecolor="white")
            axis.text(column, row, str(item or ""), color=style.ink(colour), **style.CENTRED)
        style.name_ticks(axis.xaxis, range(1, length + 1))
        axis.set_yticks([])
        style.label(axis, title, "position", "samples")
    return figure


def rank_frequency(counts: np.ndarray, fit: ZipfFit) -> Figure:
    """Left, falling counts against rank with a fitted power law; right, the error of the law."""
    figure, [left, right] = style.canvas(width=9, columns=2)
    ranks = np.arange(1, len(counts) + 1)
    law = fit.counts(ranks)
    dark, _, pale = style.colours(3)
    dots = {"marker": "o", "markersize": 3, "linestyle": "none", "color": dark}
    left.loglog(ranks, counts, label="items", **dots)
    name = f"power law, exponent {fit.exponent:.2f}"
    left.loglog(ranks, law, "--", color=pale, linewidth=2.5, label=name)
    style.label(left, "Rank-frequency", "rank (1 is the most popular)", "interactions")
    right.loglog(ranks, law / counts, **dots)
    right.axhline(1, color="black", linewidth=1)
    right.axhspan(0.5, 2, color=pale, alpha=0.25, label="within a factor of 2")
    style.label(right, "How far the law is off", "rank", "law / interactions")
    for axes in (left, right):
        axes.legend()
    return figure


def lorenz_curves(curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Share of interactions by share of items, least popular first; the diagonal: all equal."""
    figure, [axes] = style.canvas(width=5.6, height=4.8)
    axes.plot([0, 1], [0, 1], color="black", linewidth=1, label="all items equal")
    for name, (items, interactions), (colour, _, line, _) in style.styled(curves):
        axes.plot(items, interactions, line, color=colour, linewidth=2, label=name)
        axes.fill_between(items, interactions, items, color=colour, alpha=0.15, linewidth=0)
    below = "share of items, least popular first"
    style.label(axes, "Lorenz curve", below, "share of interactions")
    axes.legend()
    return figure


def share_bars(rows: Mapping[str, Sequence[float]], parts: Sequence[str], title: str) -> Figure:
    """One bar of shares that sum to 1 per row, one colour per part; labels from 5 % on."""
    figure, [axes] = style.canvas(height=1.5 + 0.5 * len(rows), grid="")
    shares = np.array([list(values) for values in rows.values()]).T
    palette = style.colours(len(parts) + 1)[:-1]
    style.stack(axes, rows, dict(zip(parts, shares, strict=True)), palette)
    for left, values, colour in zip(shares.cumsum(0) - shares, shares, palette, strict=True):
        for row, (start, value) in enumerate(zip(left, values, strict=True)):
            if value >= 0.045:
                place = start + value / 2, row
                axes.text(*place, f"{value:.0%}", color=style.ink(colour), **style.CENTRED)
    axes.set_xlim(0, 1)
    style.label(axes, title, "share")
    style.legend_outside(figure, len(parts))
    return figure


def tails(
    curves: Mapping[str, tuple[Sequence[int], Sequence[int]]],
    top_shares: Mapping[str, Mapping[str, float]],
) -> Figure:
    """Data sets compared: left, counts by rank; right, the interactions of the top items."""
    figure, [left, right] = style.canvas(width=10, height=4.2, columns=2)
    dots: dict[str, Any] = {"ms": 5, "markevery": 4}
    for name, (ranks, counts), look in style.styled(curves):
        left.loglog(ranks, counts, color=look.colour, label=name, **dots, marker=look.marker)
    style.label(left, "Rank-frequency curves", "rank", "interactions")
    tops = {
        top: [shares[top] for shares in top_shares.values()]
        for top in next(iter(top_shares.values()))
    }
    rows = [style.plain(name) for name in top_shares]
    for top, values, look in style.styled(tops):
        right.plot(values, rows, look.marker, ms=9, color=look.colour, label=top)
    right.set_xlim(0, 1)
    style.label(right, "What the most popular items have", "share of interactions")
    right.invert_yaxis()
    for axes in (left, right):
        axes.legend(fontsize=9)
    return figure


class Cut(NamedTuple):
    """A catalogue cut into head and tail: `parts` are shares, {row: (head's, tail's)}."""

    title: str
    head: float
    parts: Mapping[str, tuple[float, float]]


def cut_sides(states: Sequence[Cut], curve: tuple[np.ndarray, np.ndarray]) -> Figure:
    """Left, counts by share of the catalogue, head and tail; right, what lies on each side.

    On the left an area is a number of interactions.

    `curve` holds shares of the catalogue, the most popular items first, and their interactions.
    """
    figure, axes = style.panels(2 * len(states), 2, (4.1, 2.6), (1.1, 0.3, 0.4, 0.55), "xy")
    palette = style.colours(3)[:2]
    for cut, left, right in zip(states, axes[::2], axes[1::2], strict=True):
        _counts_by_side(left, curve, cut, palette)
        right.set(xlim=(0, 1), ylim=(len(cut.parts) - 0.5, -0.5))
        for row, shares in enumerate(cut.parts.values()):
            texts = ["> 99%" if 0.995 <= share < 1 else f"{share:.0%}" for share in shares]
            style.bar(right, row, map(style.Piece, shares, texts, palette))
        style.name_ticks(right.yaxis, cut.parts)
        right.grid(visible=False)
        style.label_small(right, "On each side of the cut", "share of the whole")
        for axis in (left, right):
            style.name_ticks(axis.xaxis, HALVES, list(HALVES.values()))
    return figure


def _counts_by_side(
    axes: Axes, curve: tuple[np.ndarray, np.ndarray], cut: Cut, palette: Sequence[Any]
) -> None:
    """The counts as an area, with the head drawn over the tail."""
    items, counts = curve
    head = items <= cut.head
    top = 1.1 * counts.max()
    axes.fill_between(items, counts, color=palette[1], label="tail")
    axes.fill_between(items[head], counts[head], color=palette[0], label="head")
    # The line starts above the counts, where it hides no thin head, and ends below the legend.
    axes.vlines(cut.head, np.interp(cut.head, items, counts), 0.72 * top, color="black")
    axes.set(xlim=(0, 1), ylim=(0, top))
    style.label_small(axes, cut.title, "items, the most popular first", "interactions per item")
    handles, names = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], names[::-1], fontsize=style.SMALL, loc="upper right")


class Listing(NamedTuple):
    """A list of recommended items: titles, ids, and which of them the last film brought in."""

    title: str
    items: Sequence[str]
    ids: Sequence[int]
    new: Sequence[bool]


def listings(states: Sequence[Sequence[Listing]], cutoffs: Sequence[int], n_items: int) -> Figure:
    """One row of panels per state, one panel per list: each item's place in the catalogue."""
    lists = [listing for state in states for listing in state]
    longest = max(len(listing.items) for listing in lists)
    lines = max(listing.title.count("\n") for listing in lists)
    left, right = 3.1, 0.15
    size = 5.4, 0.9 + 0.16 * lines + 0.21 * longest
    margins = left, right, 0.4 + 0.16 * lines, 0.5
    figure, axes = style.panels(len(lists), len(states[0]), size, margins, "x")
    kinds = zip((False, True), style.colours(3)[:2], "oD", strict=True)
    looks = {new: {"color": colour, "marker": marker} for new, colour, marker in kinds}
    for axis, listing in zip(axes, lists, strict=True):
        for kind, look in looks.items():
            rows = [row for row, new in enumerate(listing.new) if new == kind]
            ids = [listing.ids[row] for row in rows]
            axis.plot(ids, rows, linestyle="none", mec="black", **look)
        for cutoff in cutoffs:
            axis.axvline(cutoff + 0.5, color="black", linestyle="--", linewidth=1)
        axis.set_ylim(longest - 0.5, -0.5)
        style.powers(axis, 0.8, 1.2 * n_items, "x")
        _name_rows(axis, listing.items)
        style.label_small(axis, listing.title, "popularity rank (1 is the most popular)")
        axis.title.set(ha="left", x=(0.1 - left) / (size[0] - left - right))
        axis.set_ylabel("the list, the best on top", labelpad=205)
    return figure


def _name_rows(axes: Axes, items: Sequence[str]) -> None:
    """One text per row, which is faster to draw than a tick."""
    axes.set_yticks([])
    place: dict[str, Any] = {"ha": "right", "va": "center", "size": style.SMALL - 1}
    for row, item in enumerate(items):
        text = style.plain(shorten(item, 44, placeholder=" …"))
        axes.text(-0.02, row, text, transform=axes.get_yaxis_transform(), **place)
