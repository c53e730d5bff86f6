"""Dilated convolutions: which items reach the last output, and which convolutions are shared."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cprec_lib.course.figures import style
from cprec_lib.model.sharing import sharing_table


def influence(maps: Mapping[str, np.ndarray]) -> Figure:
    """One square per map [L, L]: dark where changing a column's item changed a row's output."""
    figure, axes = style.canvas(width=4 * len(maps), height=4.6, columns=len(maps), grid="")
    for axis, (name, changed) in zip(axes, maps.items(), strict=True):
        length = len(changed)
        edges = np.arange(length + 1) + 0.5
        shades: dict[str, Any] = {"cmap": "Greys", "vmin": 0, "vmax": 1.3}
        axis.pcolormesh(edges, edges, changed, edgecolor="lightgrey", **shades)
        axis.plot(
            [0.5, length + 0.5], [0.5, length + 0.5], "--", color=style.colours(3)[1], linewidth=2
        )
        style.label(axis, name, "position that is changed", "output that is watched")
        axis.set(aspect="equal", xticks=range(1, length + 1), yticks=range(1, length + 1))
        axis.invert_yaxis()
    return figure


def paths_to_last(layers: Sequence[np.ndarray]) -> list[np.ndarray]:
    """For the items and each layer, the positions [L] from which a path leads to the last output.

    Each layer is its connections [L outputs, L inputs], True where an input counts.
    """
    length = len(layers[0])
    alive = [np.arange(length) == length - 1]
    for connections in reversed(layers):
        alive.insert(0, connections[alive[0]].any(0))
    return alive


def wiring(layers: Mapping[str, np.ndarray]) -> Figure:
    """Positions as dots, layers from bottom to top; dark lines lead to the last output.

    Each entry is a layer's connections [L outputs, L inputs], True where an input counts.
    """
    figure, [axes] = style.canvas(width=8, height=1.2 + 0.75 * len(layers), grid="")
    alive = paths_to_last(list(layers.values()))
    for level, connections in enumerate(layers.values(), start=1):
        for output, source in np.argwhere(connections):
            dark = alive[level][output]
            colour, weight = (style.colours(4)[1], 1.8) if dark else ("lightgrey", 0.8)
            line = [source + 1, output + 1], [level - 1, level]
            axes.plot(*line, color=colour, linewidth=weight, zorder=1 + dark)
    positions = np.arange(1, len(alive[0]) + 1)
    for level, reaching in enumerate(alive):
        shades = np.where(reaching, "black", "lightgrey")
        axes.scatter(positions, np.full(len(positions), level), c=shades, s=30, zorder=3)
    style.name_ticks(axes.yaxis, ["items", *layers])
    axes.set_xticks(positions)
    style.label(axes, f"{alive[0].sum()} positions reach the last output", "position")
    return figure


def reach(gradients: Mapping[str, np.ndarray]) -> Figure:
    """One row of bars per stack: gradient size [L] by position, oldest first, on a log scale."""
    n = len(gradients)
    figure, axes = style.canvas(width=8.5, height=0.7 + 1.35 * n, rows=n, grid="")
    positive = np.concatenate([sizes[sizes > 0] for sizes in gradients.values()])
    smallest, largest = positive.min(), positive.max()
    for axis, (name, sizes, look) in zip(axes, style.styled(gradients), strict=True):
        back = np.arange(len(sizes))[::-1]
        axis.bar(back, sizes, width=0.8, color=look.colour)
        field = int(back[sizes > 0].max()) + 1
        axis.axvline(field - 0.5, color="black", linestyle="--", linewidth=1)
        axis.set(yscale="log", title=f"{name}: {field} positions")
        axis.set(xlim=(len(sizes) - 0.5, -1), ylim=(smallest / 2, largest * 2))
    axes[-1].set_xlabel("items back from the newest")
    figure.supylabel("size of the gradient", fontsize="medium")
    return figure


def signal_by_depth(depths: Sequence[int], sizes: Mapping[str, Sequence[float]]) -> Figure:
    """Size of a gradient by number of residual blocks, one line per design, on log scales."""
    figure, [axes] = style.canvas(width=6.5)
    for name, values, (colour, marker, line, _) in style.styled(sizes):
        axes.plot(depths, values, color=colour, marker=marker, linestyle=line, label=name)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    style.name_ticks(axes.xaxis, depths, depths)
    title = "What reaches the newest item's vector"
    style.label(axes, title, "residual blocks", "gradient at the newest item")
    axes.legend()
    return figure


def impulse_responses(responses: Mapping[str, np.ndarray]) -> Figure:
    """One row per layer: its output [L] for a single 1 at the first position."""
    figure, [axes] = style.canvas(width=8.5, height=1.3 + 0.5 * len(responses), grid="")
    values = np.array(list(responses.values()))
    axes.pcolormesh(values, cmap="Greys", vmax=2 * values.max(), edgecolors="lightgrey")
    for row, column in np.argwhere(values):
        place = (column + 0.5, row + 0.5)
        axes.annotate(f"{values[row, column]:g}", place, **style.CENTRED)
    for axis, names in ((axes.yaxis, responses), (axes.xaxis, range(values.shape[1]))):
        style.name_ticks(axis, names, np.arange(len(names)) + 0.5)
    style.label(axes, "One kernel, several dilations", "positions after the 1")
    axes.invert_yaxis()
    return figure


Table = tuple[tuple[int, int], ...]


def sharing_panels(tables: Mapping[str, Table], dilations: tuple[int, ...]) -> Figure:
    """One panel per sharing table: residual blocks from bottom to top, each with two convolutions.

    Cells with one letter and colour are one convolution; below the letter is the cell's dilation.
    """
    height = 1.6 + 0.6 * len(dilations)
    figure, axes = style.canvas(width=10, height=height, columns=len(tables), grid="")
    for axis, (scheme, table) in zip(axes, tables.items(), strict=True):
        distinct = _cells(axis, table, dilations)
        style.name_ticks(axis.xaxis, ["first", "second"])
        style.name_ticks(axis.yaxis, range(len(table)))
        axis.set(xlim=(-0.5, 1.5), ylim=(-0.5, len(table) - 0.5))
        style.label(axis, f"{scheme}\n{distinct} distinct", "convolution")
    axes[0].set_ylabel("residual block")
    return figure


def sharing_rows(states: Sequence[tuple[str, int]], columns: int = 1) -> Figure:
    """One panel per scheme and number of residual blocks; equal letters share one convolution."""
    most = max(blocks for _, blocks in states)
    size, margins = (6 / columns**0.3, 1.55), (0.75, 0.15, 0.4, 0.5)
    figure, axes = style.panels(len(states), columns, size, margins)
    for axis, (scheme, blocks) in zip(axes, states, strict=True):
        stored = _cells(axis, sharing_table(scheme, blocks))
        style.name_ticks(axis.yaxis, ["first", "second"])
        style.name_ticks(axis.xaxis, range(blocks))
        axis.set(xlim=(-0.5, most - 0.5), ylim=(1.5, -0.5))
        title = f"{scheme}, {blocks} block{'s' * (blocks > 1)}: "
        style.label_small(axis, f"{title}{2 * blocks} applied, {stored} stored", "residual block")
    return figure


def _cells(axes: Axes, table: Table, dilations: Sequence[int] = ()) -> int:
    """Draw one lettered cell per convolution, and return the number of distinct ones.

    With dilations, which stand in the cells, the blocks go upwards; without, to the right.
    """
    distinct = max(map(max, table)) + 1
    palette = style.colours(distinct + 1)[1:]
    for (block, place), index in np.ndenumerate(table):
        column, row = (place, block) if dilations else (block, place)
        box: dict[str, Any] = {"color": palette[index], "edgecolor": "white", "linewidth": 3}
        axes.bar(column, 1, width=1, bottom=row - 0.5, **box)
        text: dict[str, Any] = {"color": style.ink(palette[index])} | style.CENTRED
        letter, above = chr(ord("A") + index), 0.13 if dilations else 0
        axes.text(column, row + above, letter, size="large", weight="bold", **text)
        if dilations:
            note = f"dilation {dilations[block] * (place + 1)}"
            axes.text(column, row - 0.22, note, size="x-small", **text)
    return distinct


class Reach(NamedTuple):
    """Size [L] of the prediction's gradient at each item, newest first."""

    title: str
    sizes: np.ndarray


def reach_in_window(states: Sequence[Reach], window: int) -> Figure:
    """One panel per stack: how strongly each past item reaches the prediction, on a log scale.

    A panel ends a little beyond the window, and has room for the legend above the lines.
    """
    figure, axes = style.panels(len(states), 1, (7.4, 2.2), (0.75, 0.15, 0.4, 0.55))
    positive = np.concatenate([state.sizes[state.sizes > 0] for state in states])
    bottom, top = positive.min() / 5, positive.max() * 50
    for axis, state in zip(axes, states, strict=True):
        back = np.flatnonzero(state.sizes)
        axis.axvspan(-1, window - 0.5, color="0.9", label=f"window of {window} positions")
        axis.vlines(back, bottom, state.sizes[back], color=style.colours(3)[0], linewidth=1.8)
        axis.set_xlim(1.3 * window, -1.5)
        style.powers(axis, bottom, top)
        style.label_small(axis, state.title, "items back from the newest", "gradient")
    axes[0].legend(loc="upper left", fontsize=style.SMALL)
    return figure
