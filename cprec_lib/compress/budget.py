"""The best model that a number of bytes allows: ways to make a model small, tried in turn."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np

from cprec_lib.compress.compressor import compress_with, compressed_config
from cprec_lib.compress.quantisation import Rounding
from cprec_lib.compress.tying import Tying
from cprec_lib.compress.widths import power_law_widths
from cprec_lib.data.sequences import SequenceData
from cprec_lib.model.config import ModelConfig, resolve_cutoffs
from cprec_lib.model.cost import count_parameters
from cprec_lib.model.recommender import SequentialRecommender
from cprec_lib.train.checkpoints import Epoch, History
from cprec_lib.train.config import TrainConfig
from cprec_lib.train.evaluation import Ranks, evaluate
from cprec_lib.train.training import OutOfTime, fit

SHARES = (0.05, 0.2)
"""Where the racers with blocks cut the catalogue."""
GROUP = 16
"""Columns that share a scale, where a racer has groups."""
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
Build = Callable[[ModelConfig, np.ndarray, int], ModelConfig]
"""From the uncompressed model, the counts of the items and a width to a model to be trained."""


# ---- The racers ----


def _narrower(full: ModelConfig, counts: np.ndarray, width: int) -> ModelConfig:
    return full if width == full.width else replace(full, width=width)


def _tied(full: ModelConfig, counts: np.ndarray, width: int) -> ModelConfig:
    return compressed_config(_narrower(full, counts, width), Tying())


def _low_rank(full: ModelConfig, counts: np.ndarray, width: int) -> ModelConfig:
    """One projection for all items but the first, which stands for a head, in and out."""
    blocks: dict[str, Any] = {"cutoffs": (1,), "widths": (full.width, width), "tree": False}
    return replace(full, block_input=True, block_softmax=True, **blocks)


def _cprec(full: ModelConfig, counts: np.ndarray, width: int) -> ModelConfig:
    """CpRec with factor 4, and with its shared layers if the middle layers are convolutions."""
    blocks: dict[str, Any] = {"block_input": True, "block_softmax": True, "widths": None}
    if full.middle == "cnn":
        blocks["sharing"] = "adjacent-block"
    cutoffs = resolve_cutoffs(full.n_items, SHARES)
    return replace(full, width=width, cutoffs=cutoffs, factor=4, **blocks)


def _power_law(full: ModelConfig, counts: np.ndarray, width: int) -> ModelConfig:
    """CpRec's blocks with widths by popularity; above 16 multiples of it, as groups of 16 need."""
    config = _cprec(full, counts, width)
    head, *tails = power_law_widths(counts, config.cutoffs, width)
    return replace(config, widths=(head, *(w if w < GROUP else w - w % GROUP for w in tails)))


def _tied_blocks(full: ModelConfig, counts: np.ndarray, width: int) -> ModelConfig:
    return compressed_config(_power_law(full, counts, width), Tying())


@dataclass(frozen=True)
class Racer:
    """A way to make a model small: an architecture, as wide as a budget allows, then rounding."""

    label: str
    build: Build
    rounding: Rounding | None = None

    def widest(self, full: ModelConfig, counts: np.ndarray, most: int) -> Plan | None:
        """The widest version with at most `most` bytes; None if there is none."""
        return next((plan for plan in self.plans(full, counts) if plan.bytes <= most), None)

    def plans(self, full: ModelConfig, counts: np.ndarray) -> Iterator[Plan]:
        """All versions, the widest first."""
        for width in range(full.width, 0, -1):
            with suppress(ValueError):  # heads or a group that do not divide this width
                config = self.build(full, counts, width)
                small = compressed_config(config, self.rounding) if self.rounding else config
                yield Plan(self, width, config, count_parameters(small).bytes)


@dataclass(frozen=True)
class Plan:
    """A racer with its width: the model to be trained, and the bytes that it has when rounded."""

    racer: Racer
    width: int
    config: ModelConfig
    bytes: int

    @property
    def label(self) -> str:
        """What the model is, for readers."""
        return f"{self.racer.label}, width {self.width}"


ARCHITECTURES: dict[str, Build] = {
    "own tables": _narrower,
    "tied": _tied,
    "low rank": _low_rank,
    "CpRec": _cprec,
    "CpRec by popularity": _power_law,
    "tied blocks by popularity": _tied_blocks,
}
ROUNDINGS: dict[str, Rounding | None] = {
    "int8": Rounding(8),
    f"int4 in groups of {GROUP}": Rounding(4, GROUP),
    "int4": Rounding(4),
    "float32": None,
}
RACERS = tuple(
    Racer(f"{name}, {stored}", build, rounding)
    for name, build in ARCHITECTURES.items()
    for stored, rounding in ROUNDINGS.items()
)

# ---- The race ----


@dataclass(frozen=True)
class Result:
    """A model of a race: its bytes, the ranks of the validation targets, and its training.

    `history` is None if the model needed no training of its own. `cut_short` says that the deadline
    ended the training.
    """

    label: str
    model: SequentialRecommender
    bytes: int
    valid: Ranks
    history: History | None = None
    cut_short: bool = False

    @property
    def ndcg(self) -> float:
        """Validation NDCG@10."""
        return float(self.valid.values("ndcg@10").mean())

    @property
    def seconds(self) -> float:
        """Seconds of training of its own."""
        return self.history.describe()["seconds"] if self.history else 0.0


@dataclass(frozen=True)
class Race:
    """The uncompressed model, the models that keep the budget, and what was not tried."""

    full: Result
    budget: int
    tried: tuple[Result, ...]
    untried: tuple[str, ...]

    @property
    def best(self) -> Result:
        """The most accurate model that keeps the budget; of equal ones the smallest."""
        return max(self.tried, key=lambda result: (result.ndcg, -result.bytes))

    @property
    def front(self) -> list[Result]:
        """The models that no other one beats both in bytes and in accuracy, smallest first."""
        front: list[Result] = []
        for result in sorted((*self.tried, self.full), key=lambda r: (r.bytes, -r.ndcg)):
            if not front or result.ndcg > front[-1].ndcg:
                front.append(result)
        return front


def compress(
    model: SequentialRecommender,
    data: SequenceData,
    budget: int | str,
    training: TrainConfig | None = None,
    loss: float | None = None,
    deadline: float | None = None,
    log: Callable[[Result], None] | None = None,
) -> Race:
    """Try the racers on a trained, uncompressed model, and find the best that keeps a budget.

    `budget` is a number of bytes, or a text such as "2MB" or "8x" (see `parse_budget`). Every racer
    is as wide as the budget allows. First come those that need no training, then the others by the
    multiply-adds of their models; they are trained as `training` says. With `loss`, a share such as
    0.01, the race ends at the first model that surely loses no more of the validation NDCG@10: its
    95 % interval, with users paired, lies above the loss. At the `deadline`, in seconds of
    `time.time()`, a training ends with its best epoch so far, and no further one starts. `log`
    receives each result. The bytes are those of model.safetensors without its header.

    Raises ValueError for a model that is compressed already or does not know the data's items, for
    a budget that the model keeps already or that no racer keeps, and for a loss outside 0..1.
    """
    _check(model, loss)
    counts, training = data.catalogue.counts, training or TrainConfig()
    full = Result("uncompressed", model, _bytes(model.config), evaluate(model, data, "valid"))
    most = parse_budget(budget, full.bytes)
    trained: dict[ModelConfig, Result] = {model.config: full}
    tried: list[Result] = []
    untried: list[str] = []
    for plan in _plans(model.config, counts, most):
        if plan.config not in trained:
            found = _train(plan, model, data, training, deadline)
            if found is None:
                untried.append(plan.label)
                continue
            trained[plan.config] = found
        result = _finish(plan, trained[plan.config], data)
        tried.append(result)
        if log:
            log(result)
        if loss is not None and _loses_at_most(loss, result, full):
            break
    if not tried:
        raise ValueError(
            f"the time ended before a model that keeps the budget of {most:,} bytes was trained; "
            "give more minutes, or a larger budget, which a rounded model keeps without training"
        )
    return Race(full, most, tuple(tried), tuple(untried))


def parse_budget(budget: int | str, full_bytes: int) -> int:
    """A budget in bytes: a number, with a unit such as kB or MiB, or a share of the model as "8x".

    "8x" is an eighth of `full_bytes`. Raises ValueError for another text, and for a budget that the
    uncompressed model keeps already.
    """
    found = re.fullmatch(r"\s*(\d{1,18}(?:\.\d+)?)\s*(?:(x)|([kmg]i?)?b?)\s*", str(budget), re.I)
    if not found or float(found[1]) == 0:
        raise ValueError(f"budget {budget!r} is not a size; give one such as 500kB, 2MB or 8x")
    number = float(found[1])
    if found[2] and number <= 1:
        raise ValueError(f"budget {budget!r} makes no model smaller; give one such as 8x")
    most = int(full_bytes / number if found[2] else number * UNITS[(found[3] or "").lower()])
    if most >= full_bytes:
        raise ValueError(
            f"the uncompressed model has {full_bytes:,} bytes, so it keeps the budget of {most:,} "
            "already; give a smaller one, such as 8x"
        )
    return most


def _check(model: SequentialRecommender, loss: float | None) -> None:
    if model.config.compressors:
        raise ValueError(
            "the model is compressed already; give the uncompressed one that it was made from"
        )
    if loss is not None and not 0 <= loss < 1:
        raise ValueError(f"loss {loss} is not a share of at least 0 and below 1, such as 0.01")


def _bytes(config: ModelConfig) -> int:
    return count_parameters(config).bytes


def _plans(full: ModelConfig, counts: np.ndarray, most: int) -> list[Plan]:
    """The plans that keep the budget, those with the least training first."""
    widest = (racer.widest(full, counts, most) for racer in RACERS)
    plans = [plan for plan in widest if plan]
    if not plans:
        every = chain.from_iterable(racer.plans(full, counts) for racer in RACERS)
        smallest = min(every, key=lambda plan: plan.bytes)
        raise ValueError(
            f"no model keeps the budget of {most:,} bytes; the smallest possible has "
            f"{smallest.bytes:,} ({smallest.label})"
        )
    costs = {plan: count_parameters(plan.config).multiply_adds for plan in plans}
    return sorted(plans, key=lambda plan: (plan.config != full, costs[plan]))


def _train(
    plan: Plan,
    full: SequentialRecommender,
    data: SequenceData,
    training: TrainConfig,
    deadline: float | None,
) -> Result | None:
    """The trained model of a plan, before rounding; None if no epoch fits before the deadline."""
    if deadline is not None and time.time() > deadline:
        return None
    device = next(full.parameters()).device
    model = SequentialRecommender(plan.config, training.seed).to(device)
    epochs: list[Epoch] = []
    cut_short = False
    try:
        fit(model, data, training, progress=False, deadline=deadline, log=epochs.append)
    except OutOfTime:
        if not epochs:
            return None
        cut_short = True
    valid = evaluate(model, data, "valid")
    return Result(plan.label, model, _bytes(plan.config), valid, History(epochs), cut_short)


def _finish(plan: Plan, trained: Result, data: SequenceData) -> Result:
    """The result of a plan: its trained model, rounded if the racer says so."""
    if plan.racer.rounding is None:
        return replace(trained, label=plan.label)
    model = compress_with(trained.model, plan.racer.rounding)
    valid = evaluate(model, data, "valid")
    return replace(trained, label=plan.label, model=model, bytes=plan.bytes, valid=valid)


def _loses_at_most(loss: float, result: Result, full: Result) -> bool:
    """Whether the 95 % interval of the paired difference lies above a loss of the full model's."""
    ours, theirs = (r.valid.values("ndcg@10") for r in (result, full))
    difference = ours - theirs
    error = difference.std(ddof=1) / len(difference) ** 0.5 if len(difference) > 1 else np.inf
    return bool(difference.mean() - 1.96 * error >= -loss * theirs.mean())
