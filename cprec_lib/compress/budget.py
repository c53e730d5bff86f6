"""The best model that a number of bytes allows: ways to make a model small, tried in turn."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from cprec_lib.checks import check_share
from cprec_lib.compress.distillation import learning_from
from cprec_lib.compress.racers import Plan, plans
from cprec_lib.data.sequences import SequenceData
from cprec_lib.files import sha256
from cprec_lib.model.config import ModelConfig
from cprec_lib.model.cost import count_parameters
from cprec_lib.model.recommender import SequentialRecommender
from cprec_lib.train.checkpoints import Epoch, History
from cprec_lib.train.config import TrainConfig
from cprec_lib.train.evaluation import Ranks, evaluate
from cprec_lib.train.training import OutOfTime, fit

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


@dataclass(frozen=True)
class Result:
    """A model of a race: its bytes, the ranks of the validation targets, and its training.

    `history` is None if the model needed no training of its own. `cut_short` says that the deadline
    ended the training. `finishing` are the seconds of compressing the trained model.
    """

    label: str
    model: SequentialRecommender
    bytes: int
    valid: Ranks
    history: History | None = None
    cut_short: bool = False
    finishing: float = 0.0

    @property
    def ndcg(self) -> float:
        """Validation NDCG@10."""
        return float(self.valid.values("ndcg@10").mean())

    @property
    def seconds(self) -> float:
        """Seconds of training of its own, and of finishing."""
        return self.finishing + (self.history.describe()["seconds"] if self.history else 0.0)


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
    distillation: float = 0.0,
) -> Race:
    """Try the racers on a trained, uncompressed model, and find the best that keeps a budget.

    `budget` is a number of bytes, or a text such as "2MB" or "8x" (see `parse_budget`). Every racer
    is as wide as the budget allows. First come those that need no training, then the others by the
    multiply-adds of their models; they are trained as `training` says. With `loss`, a share such as
    0.01, the race ends at the first model that surely loses no more of the validation NDCG@10: its
    95 % interval, with users paired, lies above the loss. At the `deadline`, in seconds of
    `time.time()`, a training ends with its best epoch so far, and no further one starts. `log`
    receives each result. With `distillation`, a share of the loss, the models that are trained also
    learn from the probabilities of `model`; see `distilled_loss`. The bytes are those of
    model.safetensors without its header.

    Raises ValueError for a model that is compressed already or does not know the data's items, for
    a budget that the model keeps already or that no racer keeps, and for a loss or a distillation
    outside 0..1.
    """
    _check(model, loss)
    check_share("distillation", distillation)
    counts, training = data.catalogue.counts, training or TrainConfig()
    size, valid = count_parameters(model.config).bytes, evaluate(model, data, "valid")
    full = Result("uncompressed", model, size, valid)
    most = parse_budget(budget, full.bytes)
    device = next(model.parameters()).device
    trainer = Trainer(model.config, data, training, device, deadline, distillation=distillation)
    trainer.trained[model.config] = full
    tried: list[Result] = []
    untried: list[str] = []
    for plan in plans(model.config, counts, most):
        result = trainer.result(plan)
        if result is None:
            untried.append(plan.label)
            continue
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


class Trainer:
    """Makes the models of plans; of those that differ in finishing alone, one is trained.

    At the `deadline` a training ends with its best epoch so far, and no further one starts. With a
    folder `work`, a training that was interrupted goes on from its last epoch. With `distillation`,
    all models but the uncompressed one learn from that one, which is trained first.
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
        if late and plan.trains(self.full):
            return None
        if plan.config not in self.trained:
            found = self._train(plan)
            if found is None:
                return None
            self.trained[plan.config] = found
        trained, started = self.trained[plan.config], time.perf_counter()
        if plan.last is None:
            return replace(trained, label=plan.label)
        model = plan.last.finish(trained.model, self.data, self.training, self.deadline)
        seconds = time.perf_counter() - started
        valid = evaluate(model, self.data, "valid")
        return replace(
            trained,
            label=plan.label,
            model=model,
            bytes=plan.bytes,
            valid=valid,
            finishing=seconds if plan.last.tunes else 0.0,
        )

    def _train(self, plan: Plan) -> Result | None:
        """The trained model of a plan; None if no epoch fits before the deadline."""
        seed = self.training.seed
        model = SequentialRecommender(plan.config, seed).to(self.device)
        for compressor in plan.config.compressors:
            compressor.prepare(model, self.data, seed)
        epochs: list[Epoch] = []
        cut_short = False
        try:
            epochs = self._fit(model, epochs.append).epochs
        except OutOfTime:
            if not epochs:
                return None
            cut_short = True
        size, valid = count_parameters(plan.config).bytes, evaluate(model, self.data, "valid")
        return Result(plan.label, model, size, valid, History(epochs), cut_short)

    def _fit(self, model: SequentialRecommender, log: Callable[[Epoch], None]) -> History:
        folder, teacher, share = None, None, 0.0
        if self.distillation and model.config != self.full:
            share = self.distillation
            teacher = self.result(Plan.of("uncompressed", self.full, None))
        if self.work:
            given = [asdict(model.config), asdict(self.training), *filter(None, [share])]
            text = json.dumps(given, sort_keys=True)
            folder = self.work / sha256([text.encode()])[:16]
        with learning_from(teacher.model if teacher else None, model, share):
            return fit(
                model,
                self.data,
                self.training,
                folder,
                resume=True,
                progress=False,
                deadline=self.deadline,
                log=log,
            )


def _loses_at_most(loss: float, result: Result, full: Result) -> bool:
    """Whether the 95 % interval of the paired difference lies above a loss of the full model's."""
    ours, theirs = (r.valid.values("ndcg@10") for r in (result, full))
    difference = ours - theirs
    error = difference.std(ddof=1) / len(difference) ** 0.5 if len(difference) > 1 else np.inf
    return bool(difference.mean() - 1.96 * error >= -loss * theirs.mean())
