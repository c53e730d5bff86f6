"""Forest plots: what the recorded differences say about a claim."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cprec_lib.course.figures import style
from cprec_lib.evidence.bootstrap import Interval
from cprec_lib.evidence.claims import Part
from cprec_lib.evidence.claims_page import setting
from cprec_lib.evidence.comparisons import Finding
from cprec_lib.evidence.variants import label

EDGES = (-40.0, 30.0)
"""Widest ends of the axis, in percent of the baseline; longer intervals end here."""
STEP = 5
"""The axis ends at a multiple of this."""


def forest(parts: Sequence[Part]) -> Figure:
    """One panel per part of a claim, one row per comparison.

    A row shows the difference in percent of the baseline, with its interval; at the right are the
    seeds and the users. Between the bounds of the shaded band lies what the part's question leaves
    undecided. A comparison that is not counted has a hollow dot. A row names the variant only if
    the rows of its panel differ in it.
    """
    shown = [part for part in parts if part.findings]
    heights = [0.7 + 0.26 * len(part.findings) for part in shown]
    figure = Figure(figsize=(10, sum(heights) + 0.5), layout="constrained", facecolor="white")
    panels = figure.subplots(len(shown), 1, squeeze=False, sharex=True, height_ratios=heights)
    for axes, part in zip(panels.ravel(), shown, strict=True):
        _panel(axes, part)
    panels[-1, 0].set_xlim(_edges([finding for part in shown for finding in part.findings]))
    panels[-1, 0].set_xlabel("difference in test NDCG@10, in percent of the baseline")
    return figure


def _panel(axes: Axes, part: Part) -> None:
    question = part.findings[0].question
    axes.axvspan(100 * question.above, 100 * question.below, color="0.87", zorder=0)
    axes.axvline(0, color="black", linewidth=1)
    for row, finding in enumerate(part.findings):
        _draw_row(axes, row, finding)
    several = len({finding.comparison.key for finding in part.findings}) > 1
    style.name_ticks(axes.yaxis, [_name(finding, several) for finding in part.findings])
    axes.tick_params(labelsize=style.SMALL)
    axes.set_ylim(len(part.findings) - 0.4, -0.6)
    axes.set_title(style.plain(part.title), fontsize=style.SMALL + 2)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _edges(findings: Sequence[Finding]) -> tuple[float, float]:
    """Ends of an axis that holds zero and all intervals, within `EDGES`."""
    ends = [
        100 * one.comparison.share(end)
        for one in findings
        for end in one.comparison.difference.interval()
    ]
    low, high = (STEP * math.floor(min(ends) / STEP), STEP * math.ceil(max(ends) / STEP))
    return max(EDGES[0], min(low, -STEP)), min(EDGES[1], max(high, STEP))


def _draw_row(axes: Axes, row: int, finding: Finding) -> None:
    one = finding.comparison
    low, high = one.difference.interval()
    percent = [100 * one.share(value) for value in (one.difference.estimate, low, high)]
    colour = "0.6" if one.flaws else style.colours(3)[0]
    look: dict[str, Any] = {"fmt": "o", "color": colour, "capsize": 3, "ms": 6}
    look["mfc"] = "white" if one.flaws else colour
    style.error_bars(axes, [row], [Interval(*percent)], lying=True, **look)
    seeds = "+".join(map(str, one.seeds))
    note = f"{finding.answer}; {seeds} seeds, {one.users:,} users"
    beside: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "va": "center"}
    axes.annotate(note, (1.01, row), fontsize=style.SMALL, annotation_clip=False, **beside)


def _name(finding: Finding, with_variant: bool) -> str:
    one = finding.comparison
    where = setting(one.recorded)
    return f"{where}: {label(one.key)}" if with_variant else where


def seeds(scores: Mapping[str, Sequence[float]], metric: str, title: str) -> Figure:
    """One row per model: a dot for each seed, and a line at their mean."""
    figure, [axes] = style.canvas(height=1.2 + 0.45 * len(scores))
    for row, (_, values, look) in enumerate(style.styled(scores)):
        axes.plot(values, [row] * len(values), look.marker, color=look.colour, alpha=0.7, ms=8)
        axes.vlines(sum(values) / len(values), row - 0.3, row + 0.3, color=look.colour, linewidth=2)
    style.name_ticks(axes.yaxis, scores)
    axes.set_ylim(len(scores) - 0.5, -0.5)
    style.label(axes, title, metric)
    return figure
