"""The best model that a number of bytes allows: ways to make a model small, tried in turn."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from cprec_lib.checks import check_share
from cprec_lib.compress.distillation import learning_from
from cprec_lib.compress.racers import RACERS, Plan, named, plans
from cprec_lib.data.sequences import SequenceData
from cprec_lib.files import sha256
from cprec_lib.model.config import ModelConfig
from cprec_lib.model.cost import count_parameters
from cprec_lib.model.recommender import SequentialRecommender
from cprec_lib.train.checkpoints import Epoch, History
from cprec_lib.train.config import TrainConfig
from cprec_lib.train.evaluation import Ranks, evaluate
from cprec_lib.train.training import OutOfTime, fit

TUNING_EPOCHS, SLOWER = 3, 3
"""Epochs of tuning, on top of the training, and the factor by which its rate is smaller."""
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


@dataclass(frozen=True)
class Result:
    """A model of a race: its bytes, the ranks of the validation targets, and its training.

    `history` is None if the model needed no training of its own. `tuning` has the epochs that a
    compressor added. `cut_short` says that the deadline ended one of the two. `bytes` are those of
    the tensors, as `Ledger.bytes`.
    """

    label: str
    model: SequentialRecommender
    bytes: int
    valid: Ranks
    history: History | None = None
    cut_short: bool = False
    tuning: History | None = None

    @property
    def ndcg(self) -> float:
        """Validation NDCG@10."""
        return float(self.valid.values("ndcg@10").mean())

    @property
    def seconds(self) -> float:
        """Seconds of training of its own, and of tuning."""
        own = filter(None, (self.history, self.tuning))
        return sum((history.describe()["seconds"] for history in own), 0.0)


@dataclass(frozen=True)
class Race:
    """The uncompressed model, the models that keep the budget, and what was not tried.

    `shown` says that the last model was shown to lose no more than asked, so the race ended there.
    """

    full: Result
    budget: int
    tried: tuple[Result, ...]
    untried: tuple[str, ...]
    shown: bool = False

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
    distillation: float = 0.0,
    racers: Sequence[str] = (),
) -> Race:
    """Try the racers on a trained, uncompressed model, and find the best that keeps a budget.

    `budget` is a number of bytes, or a text such as "2MB" or "8x" (see `parse_budget`). Every racer
    is as wide as the budget allows. First come those that need no training, then the others by the
    multiply-adds of their models; they are trained as `training` says. With `loss`, a share such as
    0.01, the race ends at the first model that surely loses no more of the validation NDCG@10: its
    95 % interval, with users paired, lies above the loss. At the `deadline`, in seconds of
    `time.time()`, a training ends with its best epoch so far, and no further one starts. `log`
    receives each result. With `distillation`, a share of the loss, the models that are trained or
    tuned also learn from the probabilities of `model`; see `distilled_loss`. `racers` are labels,
    or ways such as "tied" for all forms of it; all racers without any. The bytes are those of
    model.safetensors without its header, a few kB that do not grow with the catalogue.

    Pruned and tuned models are trained `TUNING_EPOCHS` epochs further, at a smaller rate, so they
    have more training than the others.

    Raises ValueError for a model that is compressed already or does not know the data's items, for
    a budget that the model keeps already or that no racer keeps, for an unknown racer, and for a
    loss or a distillation outside 0..1.
    """
    check_uncompressed(model)
    if loss is not None and not 0 <= loss < 1:
        raise ValueError(f"loss {loss} is not a share of at least 0 and below 1, such as 0.01")
    check_share("distillation", distillation)
    labels = named(racers)
    chosen = [racer for racer in RACERS if racer.label in labels]
    counts, training = data.catalogue.counts, training or TrainConfig()
    size = count_parameters(model.config).bytes
    most = parse_budget(budget, size)
    planned = plans(model.config, counts, most, chosen)
    full = Result("uncompressed", model, size, evaluate(model, data, "valid"))
    device = next(model.parameters()).device
    trainer = Trainer(model.config, data, training, device, deadline, distillation=distillation)
    trainer.trained[model.config] = full
    tried: list[Result] = []
    untried: list[str] = []
    shown = False
    for plan in planned:
        result = None if shown else trainer.result(plan)
        if result is None:
            untried.append(plan.label)
            continue
        tried.append(result)
        if log:
            log(result)
        shown = loss is not None and _loses_at_most(loss, result, full)
    if not tried:
        raise ValueError(
            f"the time ended before a model that keeps the budget of {most:,} bytes was trained; "
            "give more minutes, or a larger budget, which a rounded model keeps without training"
        )
    return Race(full, most, tuple(tried), tuple(untried), shown)


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


def check_uncompressed(model: SequentialRecommender) -> None:
    """Raise ValueError for a model with compressors or blocks."""
    if model.config.compressors:
        raise ValueError(
            "the model is compressed already; give the uncompressed one that it was made from"
        )
    if model.config.block_input or model.config.block_softmax:
        raise ValueError(
            "the model has blocks, as CpRec does, so it is compressed already; give an "
            "uncompressed one, such as that of `cprec train --model nextitnet`"
        )


class Trainer:
    """Makes the models of plans; of those that differ in finishing alone, one is trained.

    At the `deadline` a training ends with its best epoch so far, and no further one starts. With a
    folder `work`, a training that was interrupted goes on from its last epoch. With `distillation`,
    all trainings and tunings but that of the uncompressed model learn from that one, which is
    trained first.
    """

    def __init__(
        self,
        full: ModelConfig,
        data: SequenceData,
        training: TrainConfig,
        device: torch.device,
        deadline: float | None = None,
        work: Path | None = None,
        distillation: float = 0.0,
    ) -> None:
        self.full, self.data, self.training = full, data, training
        self.device, self.deadline, self.work = device, deadline, work
        self.distillation = distillation
        self.trained: dict[ModelConfig, Result] = {}

    def result(self, plan: Plan) -> Result | None:
        """The result of a plan; None if the deadline leaves no time for its training."""
        late = self.deadline is not None and time.time() > self.deadline
        tunes = plan.last is not None and plan.last.tunes
        if late and (tunes or plan.config not in self.trained):
            return None
        if plan.config not in self.trained:
            found = self._train(plan)
            if found is None:
                return None
            self.trained[plan.config] = found
        trained = self.trained[plan.config]
        if plan.last is None:
            return replace(trained, label=plan.label)
        tunings: list[tuple[History, bool]] = []
        model = plan.last.finish(trained.model, lambda copy: tunings.append(self._tune(copy)))
        if tunings:
            [(tuning, cut_short)] = tunings
            if not tuning.epochs:
                return None
            trained = replace(trained, tuning=tuning, cut_short=trained.cut_short or cut_short)
        valid = evaluate(model, self.data, "valid")
        return replace(trained, label=plan.label, model=model, bytes=plan.bytes, valid=valid)

    def _train(self, plan: Plan) -> Result | None:
        """The trained model of a plan; None if no epoch fits before the deadline."""
        seed = self.training.seed
        model = SequentialRecommender(plan.config, seed).to(self.device)
        for compressor in plan.config.compressors:
            compressor.prepare(model, self.data, seed)
        taught = bool(self.distillation) and plan.config != self.full
        folder = None
        if self.work:
            given = [asdict(plan.config), asdict(self.training)]
            text = json.dumps([*given, self.distillation] if taught else given, sort_keys=True)
            folder = self.work / sha256([text.encode()])[:16]
        history, cut_short = self._fit(model, self.training, taught, folder)
        if not history.epochs:
            return None
        size, valid = count_parameters(plan.config).bytes, evaluate(model, self.data, "valid")
        return Result(plan.label, model, size, valid, history, cut_short)

    def _tune(self, model: SequentialRecommender) -> tuple[History, bool]:
        rate = self.training.learning_rate / SLOWER
        training = replace(self.training, epochs=TUNING_EPOCHS, learning_rate=rate)
        return self._fit(model, training, bool(self.distillation))

    def _fit(
        self,
        model: SequentialRecommender,
        training: TrainConfig,
        taught: bool,
        folder: Path | None = None,
    ) -> tuple[History, bool]:
        """The epochs of a training, and whether the deadline ended it."""
        teacher = self.result(Plan.of("uncompressed", self.full, None)) if taught else None
        epochs: list[Epoch] = []
        with learning_from(teacher.model if teacher else None, model, self.distillation):
            try:
                history = fit(
                    model,
                    self.data,
                    training,
                    folder,
                    resume=True,
                    progress=False,
                    deadline=self.deadline,
                    log=epochs.append,
                )
            except OutOfTime:
                return History(epochs), True
        return history, False


def _loses_at_most(loss: float, result: Result, full: Result) -> bool:
    """Whether the 95 % interval of the paired difference lies above a loss of the full model's."""
    ours, theirs = (r.valid.values("ndcg@10") for r in (result, full))
    difference = ours - theirs
    error = difference.std(ddof=1) / len(difference) ** 0.5 if len(difference) > 1 else np.inf
    # Without an error, all users agree, which few users do by chance.
    return bool(error and difference.mean() - 1.96 * error >= -loss * theirs.mean())
