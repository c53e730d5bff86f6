"""What all figures share: colours, text, error bars, legends, and `show`, which displays a figure.

Colours are safe for colour-blind readers and differ in lightness, so they survive greyscale;
where lines cross, marker or line style tells them apart as well. Every title, label and name goes
through `plain`: an item's title may hold any sign.
"""

import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import cycle, product
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from cprec_lib.evidence.bootstrap import Interval

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", ":", "-.")
HATCHES = ("", "//", "..", "xx", "\\\\", "oo", "--")
UNPRINTABLE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
MARKDOWN = str.maketrans(
    {sign: f"\\{sign}" for sign in r"\`*_[]<>|~&"}
    # The tag keeps MathJax, which reads the page and not the Markdown, from pairing dollar signs.
    | {"$": "<span>&#36;</span>"}
)

SMALL = 9
CENTRED: dict[str, Any] = {"ha": "center", "va": "center"}

Values = TypeVar("Values")


def colours(n: int) -> list[Any]:
    """n colours, from dark to light."""
    return list(sns.color_palette("viridis", n))


def ink(colour: Any) -> str:
    """Black or white, whichever is readable on the colour."""
    return "black" if np.dot(colour[:3], [0.299, 0.587, 0.114]) > 0.45 else "white"


def plain(text: object) -> str:
    """A text that matplotlib shows as it is, with a replacement for each control character.

    Otherwise matplotlib would typeset what stands between two dollars as a formula, and leave a
    name that starts with an underscore out of the legend.
    """
    printable = UNPRINTABLE.sub("\ufffd", str(text)).replace("$", r"\$")
    return f"\u200b{printable}" if printable.startswith("_") else printable


class Style(NamedTuple):
    """The style that distinguishes a series from the others."""

    colour: Any
    marker: str
    line: str
    hatch: str


def styled(
    series: Mapping[Any, Values], lines: Sequence[str] = LINES
) -> Iterator[tuple[str, Values, Style]]:
    """Every series with its plain name and style; markers and lines repeat when they run out."""
    palette = colours(len(series) + 1)[:-1]  # the palest would be invisible on white
    styles = zip(palette, cycle(MARKERS), cycle(lines), cycle(HATCHES))
    for (name, values), style in zip(series.items(), styles, strict=True):
        yield plain(name), values, Style(*style)


def canvas(
    width: float = 7.5, height: float = 3.8, columns: int = 1, rows: int = 1, grid: str = "xy"
) -> tuple[Figure, list[Axes]]:
    """A figure of `width` x `height` inches with `rows` x `columns` axes, row by row.

    `grid` names the axes, "x" and "y", whose ticks have grid lines.
    """
    with sns.axes_style("whitegrid"), sns.plotting_context("notebook", font_scale=0.9):
        layout = ConstrainedLayoutEngine(wspace=0.05)  # no label touches the panel on its left
        figure = Figure(figsize=(width, height), layout=layout, facecolor="white")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, direction in product(axes, {"x", "y"} - {*grid}):
        axis.grid(axis=direction, visible=False)
    return figure, list(axes)


def label(axes: Axes, title: str, x: str = "", y: str = "") -> None:
    """Title and axis labels."""
    axes.set(title=plain(title), xlabel=plain(x), ylabel=plain(y))


def name_ticks(
    axis: Axis, names: Iterable[Any], places: Sequence[float] | np.ndarray | None = None
) -> None:
    """Names along an axis, at 0, 1, 2 and so on unless `places` are given."""
    texts = [plain(name) for name in names]
    axis.set_ticks(range(len(texts)) if places is None else places, texts)


def legend_outside(figure: Figure, columns: int = 1, beside: bool = False) -> None:
    """One legend for all panels, taken from the first, below or beside them."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    place: Any = f"outside {'right' if beside else 'lower'} center"
    figure.legend(handles, labels, loc=place, ncols=columns)


def error_bars(
    axes: Axes, places: Any, values: Iterable[Interval], lying: bool = False, **look: Any
) -> None:
    """A dot at each estimate, with a bar from the low to the high end of its interval."""
    centre, low, high = np.array([(value.estimate, value.low, value.high) for value in values]).T
    spread = [centre - low, high - centre]
    if lying:
        axes.errorbar(centre, places, xerr=spread, **look)
    else:
        axes.errorbar(places, centre, yerr=spread, **look)


def beside(n: int, step: float) -> np.ndarray:
    """Offsets of n things at one place: `step` apart, or less, so that they span 0.8 at most."""
    return min(step, 0.8 / n) * (np.arange(n) - (n - 1) / 2)


def stack(
    axes: Axes, rows: Iterable[Any], parts: Mapping[str, Sequence[float]], palette: Sequence[Any]
) -> None:
    """One bar per row, its parts one after another; the first row is on top."""
    names = [plain(row) for row in rows]
    left = np.zeros(len(names))
    for (part, values), colour in zip(parts.items(), palette, strict=True):
        axes.barh(names, values, left=left, color=colour, edgecolor="white", label=plain(part))
        left += values
    axes.invert_yaxis()


def panels(
    n: int, columns: int, size: tuple[float, float], margins: Sequence[float], grid: str = ""
) -> tuple[Figure, list[Axes]]:
    """n axes, row by row, in cells of `size`; `margins` are a cell's left, right, top and bottom.

    In inches. The layout is fixed: one that measures every text would double the time of a frame.
    """
    width, height = size[0] * columns, size[1] * n / columns
    figure, axes = canvas(width, height, columns, n // columns, grid)
    figure.set_layout_engine(None)
    left, right, top, bottom = margins
    figure.subplots_adjust(left / width, bottom / height, 1 - right / width, 1 - top / height)
    between, above = left + right, top + bottom
    figure.subplots_adjust(wspace=between / (size[0] - between), hspace=above / (size[1] - above))
    for axis in axes:
        axis.tick_params(labelsize=SMALL)
    return figure, axes


def label_small(axes: Axes, title: str, x: str, y: str = "") -> None:
    """Title and labels in small type."""
    label(axes, title, x, y)
    axes.title.set_fontsize(SMALL + 1.5)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_fontsize(SMALL)
        axis.labelpad = 2


def powers(axes: Axes, low: float, high: float, direction: Literal["x", "y"] = "y") -> None:
    """A log axis from low to high; its powers of ten are plain numbers, as formulas are slow."""
    exponents = range(int(np.ceil(np.log10(low))), int(np.floor(np.log10(high))) + 1)
    places = [10.0**exponent for exponent in exponents[:: max(1, -(-len(exponents) // 5))]]
    axes.set(**{f"{direction}scale": "log", f"{direction}lim": (low, high)})
    axes.minorticks_off()
    name_ticks(getattr(axes, f"{direction}axis"), [f"{place:,g}" for place in places], places)


class Piece(NamedTuple):
    """A piece of a bar."""

    size: float
    text: str
    colour: Any
    hatch: str = ""
    label: str | None = None


def bar(axes: Axes, row: float, pieces: Iterable[Piece]) -> float:
    """Draw a bar of pieces, each with its text if there is room; returns where the bar ends."""
    low, high = axes.get_xlim()
    inches = axes.bbox.width / axes.figure.dpi / (high - low)
    start = 0.0
    for size, text, colour, hatch, name in pieces:
        look: dict[str, Any] = {"color": colour, "hatch": hatch, "label": name and plain(name)}
        axes.barh(row, size, 0.8, start, edgecolor="white", linewidth=0.8, **look)
        if text and size * inches > 0.075 * max(map(len, text.split("\n"))):
            box = {"facecolor": colour, "edgecolor": "none", "pad": 0.5}
            place: dict[str, Any] = {"size": SMALL - 1, "bbox": box} | CENTRED
            axes.text(start + size / 2, row, plain(text), color=ink(colour), **place)
        start += size
    return start


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
    below = " ".join(caption.split()).translate(MARKDOWN)  # an empty line would end the emphasis
    display(Image(picture.getvalue(), alt=alt, width=width), Markdown(f"*{below}*"))
