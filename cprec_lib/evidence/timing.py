"""How long models take, measured in turn in one process; only the ratios can be compared."""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from cprec_lib.data.sequences import SequenceData
from cprec_lib.model.recommender import SequentialRecommender
from cprec_lib.model.softmax import BlockSoftmax
from cprec_lib.train.config import TrainConfig
from cprec_lib.train.training import Objective

Milliseconds = dict[str, dict[str, list[float]]]


@dataclass(frozen=True)
class Quantity:
    """A measured time: its key in records, its label, and the key of the baseline's time.

    An uncompressed model has only the exact search, so `against` is then the exact search's key.
    """

    key: str
    label: str
    against: str


USERS = (1, 64)
K = 10
"""Items that a search finds."""
STEP = Quantity("training_step", "training step", "training_step")
EXACT = {n: Quantity(f"exact_{n}", f"exact, {n}", f"exact_{n}") for n in USERS}
EARLY = {n: Quantity(f"early_stopping_{n}", f"early stopping, {n}", f"exact_{n}") for n in USERS}
"""Searches for 1 and for 64 users, exact and by the early-stopping rule."""
QUANTITIES = {q.key: q for q in (STEP, *EXACT.values(), *EARLY.values())}


def race(
    models: Mapping[str, SequentialRecommender],
    data: SequenceData,
    config: TrainConfig,
    rounds: int = 9,
    steps: int = 10,
) -> Milliseconds:
    """Milliseconds of a training step and of each search of `latency`, by quantity's key and model.

    A step has the batch size, the learning rate and the precision of `config`; searches are
    float32. There is one number per round. Every model has its turn in every round, so that a
    disturbance of a shared machine affects all of them. The steps change the models' weights. The
    first round is a warm-up and is not counted.
    """
    found: Milliseconds = {}
    steppers = {name: _stepper(model, data, config) for name, model in models.items()}
    for number in range(rounds + 1):
        for name, model in models.items():
            seconds = statistics.median(_seconds(steppers[name]) for _ in range(steps))
            times = {STEP.key: 1e3 * seconds, **latency(model, data.test.contexts)}
            for quantity, value in times.items():
                if number:
                    found.setdefault(quantity, {}).setdefault(name, []).append(value)
    return found


@torch.no_grad()
def latency(
    model: SequentialRecommender,
    contexts: Tensor,
    repeats: int = 30,
    numbers: Sequence[int] = USERS,
) -> dict[str, float]:
    """Median milliseconds from contexts [U, L] to the best items, by key of a quantity.

    Measures the exact search, and the early-stopping rule if the softmax has it, for each of the
    `numbers` of users, which are in `USERS`.
    """
    device = next(model.parameters()).device
    searches: list[tuple[dict[int, Quantity], Callable[..., Any]]] = [(EXACT, model.softmax.top_k)]
    if isinstance(model.softmax, BlockSoftmax):
        searches.append((EARLY, model.softmax.early_stopping_top_k))
    model.eval()
    medians = {}
    for users in numbers:
        batch = contexts[:users].to(device)
        for quantities, search in searches:
            once = partial(_search, model, batch, search)
            seconds = statistics.median(_seconds(once) for _ in range(repeats))
            medians[quantities[users].key] = 1e3 * seconds
    return medians


@torch.no_grad()
def search_bytes(model: SequentialRecommender, contexts: Tensor) -> int:
    """The most bytes that the tensors of an exact search for one user take at once.

    The weights and the context [1, L] are not counted. `contexts` are [U, L].
    """
    model.eval()
    context = contexts[:1].to(next(model.parameters()).device)
    once = partial(_search, model, context, model.softmax.top_k)
    once()  # what is made at the first call only is not counted
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        with _quiet(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
            once()
        trace.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    memory = [event for event in events if event["name"] == "[memory]"]
    memory.sort(key=lambda event: event["ts"])
    changes: list[int] = [event["args"]["Bytes"] for event in memory]
    return max(accumulate(changes, initial=0))


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing on the standard error of this process, where torch's profiler says that it starts."""
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def _search(model: SequentialRecommender, contexts: Tensor, search: Callable[..., Any]) -> float:
    values, _ = search(model.last_hidden(contexts), K)
    return float(values.sum())  # waits for a GPU


def _stepper(
    model: SequentialRecommender, data: SequenceData, config: TrainConfig
) -> Callable[[], float]:
    """A function that trains for one step, always on the same batch."""
    objective = Objective(model, config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, fused=True)
    windows = data.train[: config.batch_size]
    sizes = model.softmax.count_targets(windows).sum(0).tolist()
    windows = windows.to(next(model.parameters()).device)

    def step() -> float:
        model.train()
        loss = objective(windows, sizes)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return float(loss.detach())  # waits for a GPU

    return step


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
