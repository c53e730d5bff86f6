"""Blocks: how they cut a table, their probabilities in a two-level softmax, what a search skips."""

from collections.abc import Mapping, Sequence
from textwrap import shorten
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cprec_lib.course.figures import style
from cprec_lib.evidence.bootstrap import Interval
from cprec_lib.model.partition import BlockPartition


def block_areas(partition: BlockPartition, interactions: Sequence[float]) -> Figure:
    """A table as an area, items times width, in blocks; `interactions`: the share of each."""
    figure, [axes] = style.canvas(height=4)
    whole = [0, partition.n_items]
    axes.fill_between(whole, partition.width, color="lightgrey", label="saved by the cut")
    palette = style.colours(partition.n_blocks + 1)[:-1]
    blocks = zip(partition.bounds, partition.widths, interactions, palette, strict=True)
    for number, ((start, end), width, share, colour) in enumerate(blocks, start=1):
        items, numbers = f"{end - start:,} items", f"{width} number{'s' * (width > 1)} each"
        text = f"block {number}: {items}, {numbers}, {share:.0%} of the interactions"
        axes.fill_between([start, end], width, color=colour, edgecolor="black", label=text)
    title = "The area of a block is its number of parameters"
    style.label(axes, title, "item id (1 is the most popular)", "width (numbers per item)")
    axes.margins(0)
    axes.legend(loc="upper right")
    return figure


def decomposed_table(partition: BlockPartition) -> Figure:
    """A full table beside its blocks and their projections; equal areas are equal parameters."""
    figure, [axes] = style.canvas(width=8, height=4.8, grid="")
    full, gap = partition.width, partition.width / 16
    palette = style.colours(partition.n_blocks + 1)[:-1]
    blocks = zip(partition.bounds, partition.widths, palette, strict=True)
    for number, ((start, end), width, colour) in enumerate(blocks, start=1):
        size, box = end - start, {"align": "edge", "color": colour, "edgecolor": "white"}
        axes.barh(start, full, size, **box)
        axes.barh(start, width, size, left=2 * full, **box)
        text = f"block {number}: {size:,} × {width}"
        if number > 1:
            axes.barh(start, width, full, left=2 * full + width + gap, hatch="//////", **box)
            text += f", projection {full} × {width}"
        axes.text(3.1 * full, start + size / 2, text, va="center")
    style.name_ticks(axes.xaxis, ["full table", "blocks and projections"], [full / 2, 2.5 * full])
    axes.set(xlim=(0, 5.6 * full), ylim=(partition.n_items, 0))
    below = "(equal areas are equal numbers of parameters)"
    style.label(axes, "One table, decomposed", below, "item id")
    return figure


def item_plane(head: np.ndarray, tail: np.ndarray, direction: Sequence[float]) -> Figure:
    """Item vectors [items, 2] as dots, and the line through 0 along `direction`."""
    figure, [axes] = style.canvas(width=7, height=4.2)
    far = 1.15 * max(np.abs(head).max(), np.abs(tail).max())
    ends = np.outer([-1, 1], far * np.array(direction) / np.abs(direction).max())
    axes.plot(*ends.T, color="grey", linestyle="--", label="the projection's direction")
    axes.plot(*head.T, "s", color=style.colours(4)[0], label="head items")
    axes.plot(*tail.T, "o", color=style.colours(4)[3], mec="black", label="tail items")
    axes.set(aspect="equal", xlim=(-far, far), ylim=(-far, far))
    style.label(axes, "Item vectors of width 2", "first component", "second component")
    style.legend_outside(figure, beside=True)
    return figure


def most_probable(
    probabilities: np.ndarray, start: int, end: int, smallest: float
) -> tuple[np.ndarray, float]:
    """Ids of a block's items of at least `smallest` each, falling, and what the others sum to.

    The block's items are start + 1 to end; `probabilities` [N] are by id.
    """
    ids = start + 1 + np.argsort(-probabilities[start:end], kind="stable")
    sizes = probabilities[ids - 1]
    return ids[sizes >= smallest], sizes[sizes < smallest].sum()


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
    figure, [axes] = style.canvas(width=9.5, height=4.6, grid="")
    left = 0.0
    blocks = zip(partition.bounds, style.colours(partition.n_blocks + 1)[:-1], strict=True)
    for number, ((start, end), colour) in enumerate(blocks, start=1):
        if number > 1:
            token = probabilities[start:end].sum()
            _stretch(axes, left, token, 1, f"token of block {number}", colour)
        ids, others = most_probable(probabilities, start, end, smallest)
        pieces = [(names.get(item, ""), probabilities[item - 1]) for item in ids.tolist()]
        for text, size in [*pieces, ("", others)]:
            _stretch(axes, left, size, int(number == 1), text, colour)
            left += size
    style.name_ticks(axes.yaxis, ["inside\nthe blocks", "root"])
    axes.set_xlim(0, 1)
    style.label(axes, title, "probability")
    return figure


def _stretch(axes: Axes, left: float, size: float, row: int, text: str, colour: Any) -> None:
    """A piece of a strip; its text is vertical in a narrow piece and omitted if it does not fit."""
    axes.barh(row, size, 0.92, left, color=colour, ec="white", linewidth=min(0.8, 100 * size))
    if not text or size < 0.016:
        return
    narrow = size < 0.15
    words = f"{shorten(text, 21, placeholder=' …')}{'  ' if narrow else chr(10)}{size:.3f}"
    place: dict[str, Any] = {"rotation": 90 * narrow} | style.CENTRED
    axes.text(left + size / 2, row, style.plain(words), color=style.ink(colour), size=8, **place)


class Flow(NamedTuple):
    """One prediction: {block: (its probability, that of its ten best items)}, and the answer.

    `true_block` is the place of the block that holds the item which came next.
    """

    title: str
    blocks: Mapping[str, tuple[float, float]]
    true_block: int


def flow(states: Sequence[Flow]) -> Figure:
    """Probability from the whole, above, through the root to the items inside the blocks."""
    figure, axes = style.panels(len(states), 1, (7.4, 2.5), (1.05, 0.15, 0.6, 0.5))
    for axis, state in zip(axes, states, strict=True):
        axis.set(xlim=(0, 1), ylim=(2.5, -0.5))
        root, inside, start = [], [], 0.0
        palette = style.colours(len(state.blocks) + 1)[:-1]
        for (name, (mass, best)), colour in zip(state.blocks.items(), palette, strict=True):
            root.append(style.Piece(mass, f"{name}\n{mass:.3f}", colour))
            inside.append(style.Piece(best, f"10 best\n{best:.3f}", colour))
            inside.append(style.Piece(mass - best, "others", colour, "//"))
            if len(root) == state.true_block + 1:
                axis.plot(start + mass / 2, 0.5, "v", color="black", ms=9, clip_on=False)
            start += mass
        for row, pieces in enumerate(
            ([style.Piece(1, "all items: 1", (0.85, 0.85, 0.85))], root, inside)
        ):
            style.bar(axis, row, pieces)
        style.name_ticks(axis.yaxis, ["all", "root", "inside\nthe blocks"])
        style.name_ticks(axis.xaxis, ["0", "0.5", "1"], [0, 0.5, 1])
        parts = "plain: a block's ten best, hatched: its others, triangle: what came next"
        below = f"probability ({parts})"
        style.label_small(axis, state.title, below)
    return figure


def by_block(
    quantities: Mapping[str, Mapping[str, Sequence[Interval]]],
    blocks: Sequence[str],
    difference: str = "",
) -> Figure:
    """One panel per quantity, dots with intervals for each block: {panel: {model: values}}.

    If all quantities are differences of one kind, `difference` names the kind: the panels then
    have one scale and a line at zero.
    """
    figure, axes = style.canvas(width=9.5, height=4, columns=len(quantities), grid="y")
    for axis, (quantity, models) in zip(axes, quantities.items(), strict=True):
        if difference:
            axis.axhline(0, color="grey", linestyle="--", zorder=0)
            if axis is not axes[0]:
                axis.sharey(axes[0])
        places = style.beside(len(models), 0.22)
        for place, (name, values, look) in zip(places, style.styled(models), strict=True):
            dots = {"fmt": look.marker, "color": look.colour, "capsize": 3, "label": name}
            style.error_bars(axis, np.arange(len(blocks)) + place, values, **dots)
        style.name_ticks(axis.xaxis, blocks)
        style.label(axis, quantity, "block of the true next item", difference or quantity)
    style.legend_outside(figure, 4)
    return figure


def boxes(cells: Sequence[np.ndarray], query: tuple[float, float]) -> Figure:
    """Rows of width 2 in cells [n_c, 2], each in its box with its mean, and a query vector.

    A ring marks the corner of each box that lies furthest in the query's direction.
    """
    figure, [axes] = style.canvas(width=7, height=4.4)
    for _, rows, look in style.styled(dict(enumerate(cells))):
        low, high = rows.min(0), rows.max(0)
        axes.add_patch(Rectangle(low, *(high - low), fc=(*look.colour, 0.15), ec=look.colour))
        axes.plot(*rows.T, look.marker, color=look.colour, ms=5)
        axes.plot(*rows.mean(0), "x", color="black", ms=9, mew=2)
        corner = np.where(np.array(query) > 0, high, low)
        axes.plot(*corner, "o", color="black", fillstyle="none", ms=11, mew=1.5)
    arrow = {"arrowstyle": "->", "color": "black", "linewidth": 2}
    axes.annotate("", query, (0, 0), arrowprops=arrow)
    place: dict[str, Any] = {"xytext": (-6, 5), "textcoords": "offset points", "ha": "right"}
    axes.annotate("query", query, **place)
    axes.update_datalim([query, (0, 0)])
    axes.autoscale_view()
    title = "Rows in cells: boxes, means (×), best corners (○)"
    style.label(axes, title, "first column", "second column")
    return figure
