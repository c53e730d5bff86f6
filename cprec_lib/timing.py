"""How long models take, measured in turn in one process: what to compare are the ratios."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from cprec_lib.recommender import SequentialRecommender
from cprec_lib.sequences import SequenceData
from cprec_lib.softmax import BlockSoftmax
from cprec_lib.training import PRECISIONS

Milliseconds = dict[str, dict[str, list[float]]]


def race(
    models: Mapping[str, SequentialRecommender],
    data: SequenceData,
    batch_size: int,
    rounds: int = 9,
    steps: int = 10,
    precision: str = "float32",
) -> Milliseconds:
    """Milliseconds of a training step and of each search of `latency`, by quantity and model.

    `precision` is that of the training step, see `TrainConfig`; searches are float32. One number a
    round, in which every model has its turn; on a shared machine a disturbance then falls on all of
    them. The models are trained a little by it. A first round warms up and is not counted. Raises
    ValueError for an unknown precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"unknown precision {precision!r}; choose one of {', '.join(PRECISIONS)}")
    found: Milliseconds = {}
    steppers = {
        name: _stepper(model, data, batch_size, precision) for name, model in models.items()
    }
    for number in range(rounds + 1):
        for name, model in models.items():
            seconds = statistics.median(_seconds(steppers[name]) for _ in range(steps))
            times = {"training step": 1e3 * seconds, **latency(model, data.test.contexts)}
            for quantity, value in times.items():
                if number:
                    found.setdefault(quantity, {}).setdefault(name, []).append(value)
    return found


def speed_up(times: Mapping[str, Sequence[float]], name: str, baseline: str) -> tuple[float, ...]:
    """How many times faster a model is than the baseline: median, lowest and highest round."""
    ratios = [b / a for a, b in zip(times[name], times[baseline], strict=True)]
    return statistics.median(ratios), min(ratios), max(ratios)


@torch.no_grad()
def latency(
    model: SequentialRecommender, contexts: Tensor, k: int = 10, repeats: int = 30
) -> dict[str, float]:
    """Milliseconds, median, from contexts [U, L] to the k best items, for 1 and for 64 users.

    Exact, and by the early-stopping rule where the softmax has it.
    """
    device = next(model.parameters()).device
    searches: dict[str, Callable[..., Any]] = {"exact": model.softmax.top_k}
    if isinstance(model.softmax, BlockSoftmax):
        searches["early stopping"] = model.softmax.early_stopping_top_k
    model.eval()
    medians = {}
    for users in (1, 64):
        batch = contexts[:users].to(device)
        for name, search in searches.items():
            once = partial(_search, model, batch, search, k)
            seconds = statistics.median(_seconds(once) for _ in range(repeats))
            medians[f"{name}, {users}"] = 1e3 * seconds
    return medians


def _search(
    model: SequentialRecommender, contexts: Tensor, search: Callable[..., Any], k: int
) -> float:
    values, _ = search(model.last_hidden(contexts), k)
    return float(values.sum())  # waits for a GPU


def _stepper(
    model: SequentialRecommender, data: SequenceData, batch_size: int, precision: str
) -> Callable[[], float]:
    """A function that trains on one batch, always the same."""
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    windows, device = data.train[:batch_size], next(model.parameters()).device
    # As in `fit`: they spare a GPU from being asked for them.
    sizes = model.count_targets(windows).sum(0).tolist() if device.type == "cuda" else None
    windows = windows.to(device)

    def step() -> float:
        model.train()
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            loss = model.loss(windows, sizes)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return float(loss.detach())  # waits for a GPU

    return step


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
