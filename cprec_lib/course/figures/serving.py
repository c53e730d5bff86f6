"""How long requests take."""

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from cprec_lib.course.figures import style

PERCENTILES = (50, 90, 99)


def latencies(milliseconds: Sequence[float], title: str) -> Figure:
    """How many requests took how long, on a log scale, with p50, p90 and p99."""
    figure, [axes] = style.canvas(height=3.2)
    bins = np.geomspace(min(milliseconds), max(milliseconds), 40)
    axes.hist(milliseconds, bins.tolist(), color=style.colours(3)[1])
    for percentile, line in zip(PERCENTILES, style.LINES, strict=False):
        place = float(np.percentile(milliseconds, percentile))
        name = f"p{percentile}, {place:.1f} ms"
        axes.axvline(place, color="black", linestyle=line, label=name)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    style.label(axes, title, "milliseconds (log scale)", "requests")
    axes.legend()
    return figure


class Load(NamedTuple):
    """For each model its rates and p90 in ms, and whether it carries a rate within a limit."""

    title: str
    points: Mapping[str, Sequence[tuple[float, float]]]
    carries: Mapping[str, bool]
    rate: float
    limit: float


def loads(states: Sequence[Load]) -> Figure:
    """One panel per state: p90 by requests a second; models that do not carry the rate are pale."""
    figure, axes = style.panels(len(states), 1, (7.4, 3.6), (0.85, 2.6, 0.5, 0.55), "xy")
    every = [point for state in states for some in state.points.values() for point in some]
    rates, times = (np.array(each) for each in zip(*every, strict=True))
    times = times[np.isfinite(times)]
    for axis, state in zip(axes, states, strict=True):
        style.powers(axis, rates.min() / 1.3, rates.max() * 1.3, "x")
        style.powers(axis, times.min() / 1.5, times.max() * 1.5)
        for name, points, look in style.styled(state.points):
            strong = dict(zip(map(style.plain, state.carries), state.carries.values(), strict=True))
            alpha = 1 if strong[name] else 0.35
            line = {"color": look.colour, "alpha": alpha, "label": fill(name, 28), "ms": 5}
            axis.plot(*np.transpose(sorted(points)), look.marker + look.line, **line)
        for draw, place in ((axis.axvline, state.rate), (axis.axhline, state.limit)):
            draw(place, color="black", linestyle=":", linewidth=1.5)
        style.label_small(axis, state.title, "requests a second that were asked for", "p90 in ms")
        axis.legend(fontsize=style.SMALL, loc="center left", bbox_to_anchor=(1.02, 0.5))
    return figure
