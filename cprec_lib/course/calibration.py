"""How fast this machine trains, against the one on which the notebooks were measured.

`make figures` writes into the header of each notebook what its run took and, in a comment that no
page shows, what a step took there at that time: the loss of one batch and its gradient. The ratio
of a step here to a step there turns the one into an estimate for this machine.
"""

from __future__ import annotations

import re
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from cprec_lib.course.notebooks import read_cells

SECONDS, LONGEST = 1.0, 2.0
"""How long steps are repeated: the one if that makes enough of them, else at most the other."""
ENOUGH = 5
"""Steps that make a steady median, with the first, which is slow and not counted."""

_STEP = "<!-- loss and gradient of a batch took {:.2f} ms -->"
_HEADER = re.compile(
    r"<!-- measured -->Measured on \d+ CPU cores: ([\d.]+) (s|min)\b.*?"
    r"<!-- loss and gradient of a batch took ([\d.]+) ms --><!-- /measured -->"
)


@dataclass(frozen=True)
class Measurement:
    """Seconds that a notebook took somewhere, and a step there at that time."""

    seconds: float
    step_seconds: float


def step_seconds() -> float:
    """Median seconds of a step at the sizes that the notebooks use. Takes a second or two.

    A step is the loss of a batch and its gradient: the optimizer's part is small, and importing
    torch's optimizers takes longer than all the rest. The state of torch's random numbers stays as
    it was. Raises ImportError or OSError if torch does not load.
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
    """What the header of a notebook records; None if it records no step, or cannot be read."""
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
