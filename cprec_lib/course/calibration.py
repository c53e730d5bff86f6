"""How fast this machine trains, compared with the one on which the notebooks were measured.

`make figures` writes into the header of each notebook how long its run took. A hidden comment there
says how long a step took on that machine at that time: the loss of one batch and its gradient. The
run time, multiplied by the ratio of a step here to a step there, is an estimate for this machine.
"""

from __future__ import annotations

import re
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from cprec_lib.course.notebooks import read_cells

SECONDS, LONGEST = 1.0, 2.0
"""Seconds for which steps are repeated, and the limit if these give fewer than ENOUGH steps."""
ENOUGH = 5
"""Steps needed for a stable median, including the first, which is slow and not counted."""

_STEP = "<!-- loss and gradient of a batch took {:.2f} ms -->"
_HEADER = re.compile(
    r"<!-- measured -->Measured on \d+ CPU cores: ([\d.]+) (s|min)\b.*?"
    r"<!-- loss and gradient of a batch took ([\d.]+) ms --><!-- /measured -->"
)


@dataclass(frozen=True)
class Measurement:
    """Seconds that a notebook took on some machine, and that a step took there at that time."""

    seconds: float
    step_seconds: float


def step_seconds() -> float:
    """Median seconds of a step at the sizes that the notebooks use. Takes a second or two.

    A step is the loss of a batch and its gradient. The optimizer is omitted: its share is small,
    and importing torch's optimizers takes longer than everything else. The state of torch's random
    numbers does not change. Raises ImportError or OSError if torch does not load.
    """
    import torch

    from cprec_lib.model.config import nextitnet
    from cprec_lib.model.recommender import SequentialRecommender

    with torch.random.fork_rng(devices=[]):
        model = SequentialRecommender(nextitnet(1682, width=64, dropout=0.3), seed=0).train()
        windows = torch.randint(1, 1683, (32, 51))
        times: list[float] = []
        begun = time.perf_counter()
        while len(times) < 2 or time.perf_counter() - begun < (
            SECONDS if len(times) >= ENOUGH else LONGEST
        ):
            started = time.perf_counter()
            model.loss(windows).backward()
            model.zero_grad()
            times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def comment(seconds: float) -> str:
    """The comment in a notebook's header that records what a step took."""
    return _STEP.format(1e3 * seconds)


def read_measurement(notebook: Path) -> Measurement | None:
    """The measurement in a notebook's header; None if it has none or the file cannot be read."""
    try:
        cells = read_cells(notebook.read_bytes())
    except (OSError, ValueError):
        return None
    header = next((cell.source for cell in cells if cell.kind == "markdown"), "")
    found = _HEADER.search(header)
    if found is None:
        return None
    number, unit, milliseconds = found.groups()
    try:
        seconds, step = float(number) * (60 if unit == "min" else 1), float(milliseconds) / 1e3
    except ValueError:  # "1.2.3"
        return None
    return Measurement(seconds, step) if step > 0 else None
