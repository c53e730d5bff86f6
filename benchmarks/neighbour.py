"""Training beside a busy neighbour: the cost of a core that another process uses.

`python -m benchmarks.neighbour` measures the table behind the choice of cprec_lib's spin limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from statistics import median
from typing import Any

import torch

from benchmarks import epochs
from benchmarks.child import Work
from benchmarks.contest import Side, case, contest

TITLE = "Beside a process that keeps a core busy"
STEPS = 20
ITEMS, PREDICTIONS = 50_000, 2048
# How long a waiting libgomp thread spins; "" leaves the choice to libgomp.
TRIED: dict[str, Mapping[str, str]] = {
    "libgomp's own choice": {"GOMP_SPINCOUNT": "", "OMP_WAIT_POLICY": ""},
    **{f"GOMP_SPINCOUNT={n}": {"GOMP_SPINCOUNT": str(n)} for n in (1_000, 10_000, 100_000)},
    "OMP_WAIT_POLICY=PASSIVE": {"GOMP_SPINCOUNT": "", "OMP_WAIT_POLICY": "PASSIVE"},
}


def row(quick: bool) -> dict[str, Any]:
    """Training steps of both models and the loss, with and without a neighbour; torch's loss."""
    rounds = 2 if quick else 3
    cases = [_alone_or_not(_steps(model), rounds) for model in ("CpRec", "NextItNet")]
    both = [replace(side, neighbours=1) for side in (OURS, TORCHS)]
    cases.append(case(f"loss, {ITEMS:,} items, beside a neighbour", both, rounds))
    cases.append(_alone_or_not(OURS, rounds))
    return {"title": TITLE, "steps": STEPS, "cases": cases}


def _alone_or_not(side: Side, rounds: int) -> dict[str, Any]:
    beside = replace(side, name="beside a neighbour", neighbours=1)
    return case(side.name, [beside, replace(side, name="alone")], rounds)


def _steps(model: str) -> Side:
    options = {"model": model, "n_items": 1_682, "width": 64}
    name = f"{STEPS} training steps of {model}, MovieLens-100K's size"
    return Side(name, "benchmarks.neighbour:steps", options, model)


def _loss(name: str, layer: str) -> Side:
    options = {"layer": layer, "n_items": ITEMS, "tokens": PREDICTIONS}
    return Side(name, "benchmarks.losses:both_ways", options, "loss")


OURS = _loss("BlockSoftmax", "blocks")
TORCHS = _loss("torch AdaptiveLogSoftmaxWithLoss", "adaptive")


def steps(model: str, n_items: int, width: int) -> Work:
    """STEPS steps as one call, because one step is shorter than a scheduler's time slice."""
    step = epochs.step(model, n_items, width)

    def work() -> list[float]:
        return [number for _ in range(STEPS) for number in step()]

    return work


def spinning(rounds: int = 2) -> Iterator[tuple[str, int, dict[str, float]]]:
    """Median seconds of each of TRIED: yields (what, neighbours, {way: seconds})."""
    for side in (_steps("NextItNet"), OURS):
        for neighbours in range(3):
            ways = [
                replace(side, name=name, neighbours=neighbours, environment=environment, calls=2)
                for name, environment in TRIED.items()
            ]
            found = contest(ways, rounds)
            seconds = {name: median(entry["seconds"]) for name, entry in found.items()}
            yield side.name, neighbours, seconds


if __name__ == "__main__":
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    for what, neighbours, seconds in spinning():
        print(f"{what}, busy neighbours: {neighbours}")
        for name, each in seconds.items():
            print(f"    {name:26}{each:8.3f} s", flush=True)
