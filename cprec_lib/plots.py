"""Pictures. Each function draws from plain arguments and returns a figure; `show` displays it.

Colours are safe for colour-blind readers and differ in lightness, so they survive greyscale;
where lines cross, marker or line style tells them apart as well.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cprec_lib.evaluation import Interval
from cprec_lib.ledger import Ledger
from cprec_lib.training import History

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", ":", "-.")


def colours(n: int) -> list[Any]:
    """n colours of falling darkness."""
    return list(sns.color_palette("viridis", n))


def canvas(width: float = 7.5, height: float = 3.8, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure of `width` x `height` inches with `columns` axes side by side."""
    with sns.axes_style("whitegrid"), sns.plotting_context("notebook", font_scale=0.9):
        figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
        axes = figure.subplots(1, columns, squeeze=False)[0]
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
    left = np.zeros(len(ledgers))
    parts = ("embedding", "middle", "softmax")
    for part, colour in zip(parts, colours(4)[1:], strict=True):
        values = np.array([ledger.by_part()[part] for ledger in ledgers.values()])
        axes.barh(list(ledgers), values, left=left, color=colour, edgecolor="white", label=part)
        left += values
    for row, total in enumerate(left):
        axes.text(total, row, f" {int(total):,}", va="center")
    axes.set(xlabel="parameters", title="Where the parameters are")
    axes.margins(x=0.15)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def learning_curves(histories: Mapping[str, History]) -> Figure:
    """Training loss and validation NDCG@10 by epoch, one line a model; a ring marks the best."""
    figure, [left, right] = canvas(width=9, columns=2)
    styles = zip(histories.items(), colours(len(histories) + 1), MARKERS, strict=False)
    for (name, history), colour, marker in styles:
        frame = history.to_frame()
        line = {"color": colour, "marker": marker, "markersize": 5, "label": name}
        left.plot(frame.index, frame["loss"], **line)
        right.plot(frame.index, frame["ndcg@10"], **line)
        best = history.best
        right.plot(best.epoch, best.valid["ndcg@10"], "o", ms=13, mfc="none", mec=colour)
    left.set(xlabel="epoch", ylabel="loss (nats)", title="Training loss")
    right.set(xlabel="epoch", ylabel="NDCG@10", title="Validation NDCG@10")
    left.legend()
    return figure


def estimates(
    intervals: Mapping[str, Interval], xlabel: str, title: str, reference: float | None = None
) -> Figure:
    """One dot with its interval a row; a dashed line marks `reference`."""
    figure, [axes] = canvas(height=1.1 + 0.38 * len(intervals))
    rows = np.arange(len(intervals))
    values = list(intervals.values())
    centre = np.array([value.estimate for value in values])
    reach = [centre - [v.low for v in values], [v.high for v in values] - centre]
    axes.errorbar(centre, rows, xerr=reach, fmt="o", color=colours(3)[0], capsize=4)
    if reference is not None:
        axes.axvline(reference, color="black", linestyle="--", linewidth=1)
    axes.set_yticks(rows, list(intervals))
    axes.invert_yaxis()
    axes.set(xlabel=xlabel, title=title)
    return figure
