"""One of each explorable, and what every picture of theirs has to be."""

import itertools
from collections.abc import Callable
from typing import Any

import ipywidgets
import numpy as np
import pandas as pd
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cprec_lib import (
    BlockPartition,
    BlockSoftmax,
    SequenceData,
    SequentialRecommender,
    cprec,
    nextitnet,
)
from cprec_lib.course import explore
from cprec_lib.course.explore.explorable import Control, Explorable
from cprec_lib.evidence.race import BASE, TIMES, Standing
from cprec_lib.evidence.statistics import Difference

COUNTS = np.ceil(2000 / np.arange(1, 1001))
N_USERS, N_FILMS = 40, 60
TRICKY = (
    r'<b>"Film" & $\frac{$ $y_1$</b> with a Title That Goes on and on, or How Long Is Long (1998)'
)


def films() -> tuple[SequenceData, pd.Series]:
    """Random users and films; the first film's title is a trap for HTML and for mathtext."""
    draw = np.random.default_rng(0)
    items = draw.integers(1, N_FILMS + 1, 12 * N_USERS)
    items[:N_FILMS] = np.arange(1, N_FILMS + 1)
    users = np.repeat(np.arange(N_USERS), 12)
    table = pd.DataFrame({"user": users, "item": items, "timestamp": np.arange(len(items))})
    titles = pd.Series({item: f"Film {item:03d} (1990)" for item in range(1, N_FILMS + 1)})
    titles[1] = TRICKY
    return SequenceData.from_interactions(table, max_len=10), titles


def recommendations() -> Explorable:
    """Two untrained models."""
    data, titles = films()
    models = {
        "NextItNet": SequentialRecommender(nextitnet(data.n_items, 8)),
        "CpRec": SequentialRecommender(cprec(data.n_items, 8, (0.1, 0.33))),
    }
    return explore.recommendations(
        models, data, titles, ["Film 002 (1990)", "Film 003 (1990)"], TRICKY, (6, 20)
    )


def tree() -> Explorable:
    """A tree that is not trained, and titles that are traps."""
    partition = BlockPartition(300, (20, 100), (16, 4, 1))
    hidden = torch.randn(30, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        log_prob = BlockSoftmax(partition).log_prob(hidden)
    names = {item: f"Film {item}" for item in range(1, 301)}
    targets = torch.tensor([1, 20, 21, 100, 101, 300] * 5)
    return explore.tree(log_prob, partition, targets, [TRICKY] * 30, names)


def standing(racer: str, times: int, size: int, valid: float, gap: float) -> Standing:
    """A racer of a made-up recorded race."""
    difference = Difference(gap, 0.06, 1e-6, 1e-6, 20)
    return Standing(racer, racer, times, size, valid, 0.06 + gap, 0.1, 0.02, 9, 3, difference)


def recorded_race() -> Explorable:
    """Two logs; the racer that is best on the validation items is not best on the test."""
    standings = [
        standing(BASE, 1, 3200, 0.07, 0),
        *(
            standing(racer, times, 3200 // times, valid, gap)
            for times in TIMES
            for racer, valid, gap in (("int8", 0.05, -0.001), ("codes", 0.06, -0.02))
        ),
    ]
    return explore.recorded_race({"one": standings, "other": standings[:-1]})


def load() -> Explorable:
    """A model that carries much, one that carries little, and one that never answers in time."""

    def points(best: float) -> dict[str, Any]:
        found = [
            {"asked": rate, "reached": min(rate, best), "p50": 1.0, "p90": 900 * rate / best}
            for rate in (500, 160, 50, 4)
        ]
        loads = [{**point, "errors": 0} for point in found]
        return {"loads": loads[:3], "tried": loads[3:]}

    models = {"CpRec, float32": 9000, "NextItNet, float32": 60, "NextItNet in torch": 0.5}
    return explore.load([{"name": name, **points(best)} for name, best in models.items()])


EXPLORABLES: dict[str, Callable[[], Explorable]] = {
    "tail": lambda: explore.tail(COUNTS),
    "partition": lambda: explore.partition(1682),
    "tree": tree,
    "reach": explore.reach,
    "sharing": explore.sharing,
    "recommendations": recommendations,
    "recorded_race": recorded_race,
    "load": load,
}


def ends(control: Control) -> list[Any]:
    """First and last value of a control; a search may also be empty."""
    options = list(control.options.values())
    return (
        [control.start, options[-1], ""] if control.kind == "search" else [options[0], options[-1]]
    )


def corners(explorable: Explorable) -> list[tuple[Any, ...]]:
    """Every combination of the ends of the controls that makes a picture."""
    every = itertools.product(*map(ends, explorable.controls))
    return [values for values in every if explorable.name != "recommendations" or any(values[:-1])]


def check_drawn(figure: Figure) -> None:
    """Finite, titled, labelled, and within the canvas."""
    page = FigureCanvasAgg(figure)
    page.draw()
    for axes in figure.axes:
        assert axes.get_title() and axes.get_xlabel()
        assert axes.get_ylabel() or any(text.get_text() for text in axes.get_yticklabels())
        assert np.isfinite([*axes.get_xlim(), *axes.get_ylim()]).all()
        for patch in axes.patches:
            assert np.isfinite(patch.get_extents().get_points()).all()
        for line in axes.lines:
            assert np.isfinite(np.asarray(line.get_xydata(), dtype=float)).all()
        box = axes.title.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= figure.bbox.width, axes.get_title()


def parts(box: Any) -> tuple[list[Any], Any]:
    """The controls of a box, and its picture."""
    left, picture = box.children
    return [child for child in left.children if not isinstance(child, ipywidgets.HTML)], picture
