"""`fit`: the training loop, early stopping, and going on from a checkpoint."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from cprec_lib.checks import whole_number
from cprec_lib.data.sequences import HeldOut, SequenceData
from cprec_lib.model.config import config_from_json
from cprec_lib.model.recommender import SequentialRecommender
from cprec_lib.model.weights import check_tensors, copy_tensors
from cprec_lib.train.batches import Batches
from cprec_lib.train.checkpoints import CHECKPOINT, Checkpoint, Epoch, History, describe_data
from cprec_lib.train.evaluation import Ranks, evaluate
from cprec_lib.train.processes import Processes

PRECISIONS = ("float32", "bfloat16")
SCHEDULES = ("constant", "linear")


@dataclass(frozen=True)
class TrainConfig:
    """How to train. Stops early after `patience` epochs without a better validation NDCG@10.

    `batch_size` counts windows, over all processes. `weight_decay` is AdamW's, on every parameter.
    `seed` orders the windows and drops units; a model's initial weights have their own seed.
    `precision` is that of the large matrix products in training, "float32" or "bfloat16"; weights,
    their updates, the loss and the evaluation stay float32. `compile` gives the embedding and the
    middle to torch.compile. The `schedule` "linear" lets the learning rate fall evenly to zero over
    all `epochs`, which cannot be raised later; "constant" keeps it. Raises ValueError for a number
    that trains nothing and for an unknown precision or schedule.
    """

    epochs: int = 20
    batch_size: int = 32
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    patience: int = 3
    seed: int = 0
    precision: str = "float32"
    compile: bool = False
    schedule: str = "constant"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "patience", "seed"):
            object.__setattr__(self, name, whole_number(name, getattr(self, name)))
        for name in ("learning_rate", "weight_decay"):
            object.__setattr__(self, name, float(getattr(self, name)))
        for name in ("epochs", "batch_size", "patience"):
            if getattr(self, name) < 1:
                usual = getattr(TrainConfig, name)
                raise ValueError(f"{name} {getattr(self, name)} is below 1; {usual} is usual")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(
                f"learning_rate {self.learning_rate} is not a positive number; 0.003 is usual"
            )
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise ValueError(
                f"weight_decay {self.weight_decay} is negative or not a number; 0.01 is usual"
            )
        for name, known in (("precision", PRECISIONS), ("schedule", SCHEDULES)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"unknown {name} {getattr(self, name)!r}; choose one of {', '.join(known)}"
                )
        if not isinstance(self.compile, bool):
            raise ValueError(f"compile {self.compile!r} is neither True nor False")

    def rate(self, epochs_done: float) -> float:
        """The learning rate when so many epochs, parts of one included, are over."""
        left = 1 - epochs_done / self.epochs if self.schedule == "linear" else 1.0
        return left * self.learning_rate


class OutOfTime(Exception):
    """The time that `fit` was given is spent; its checkpoint goes on from the last epoch."""


def fit(
    model: SequentialRecommender,
    data: SequenceData,
    config: TrainConfig | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    deadline: float | None = None,
    log: Callable[[Epoch], None] | None = None,
) -> History:
    """Train `model` in place, on its own device, and leave it with its best epoch's weights.

    It gets them also if the run is interrupted or fails. Every position of every window is
    predicted, padding excepted. After each epoch `folder`, if given, receives a checkpoint, written
    whole or not at all; `resume` goes on from it as if the run had never stopped. The same model,
    data and config give the same numbers, bit for bit on a CPU with the same number of threads.
    `progress` prints a bar to standard output: positions predicted so far and each second, the time
    that all epochs still take, loss and validation NDCG@10 of the last one. `log` is called in
    the main process with each epoch that is over and saved. `deadline`, in seconds of
    `time.time()`, is not overrun by more than the first epoch: later ones start only if one like
    the last still fits.

    Several processes (see `Processes`) call it with the same arguments. Each moves the model to its
    device and takes its part of each batch and of the evaluation; the main one writes and prints.
    Their losses are those of one process up to rounding, but for dropout, which each process draws
    for itself. A run may be resumed with another number of them.

    Raises OutOfTime at the deadline, ValueError if the catalogues differ, if the launcher wants
    another precision than `config`, if another process uses the folder, or if that holds a
    checkpoint that is corrupt, of another run, or that `resume` was not asked to use;
    FloatingPointError if the loss is no longer finite; MemoryError if a step finds too little.
    """
    config = config or TrainConfig()
    _check_catalogue(model, data)
    processes = Processes()
    _check_precision(config, processes)
    model.to(processes.device(next(model.parameters()).device))
    run = _Run(model, data, config, Path(folder) if folder else None, processes)
    with processes.holding(run.folder) if run.folder else nullcontext():
        run.open(resume)
        try:
            _train(run, data, progress, deadline, log)
        finally:
            run.restore_best()
    return run.history


def _train(
    run: _Run,
    data: SequenceData,
    progress: bool,
    deadline: float | None,
    log: Callable[[Epoch], None] | None,
) -> None:
    model, config, processes = run.model, run.config, run.processes
    objective = processes.wrap(Objective(model, config))
    batches = Batches(data.train, model, config.batch_size, processes)
    with (
        _compiled(model, config.compile),
        _bar(run, batches.positions, progress and processes.main) as bar,
    ):
        while not run.finished:
            run.check_time(deadline)
            epoch = _one_epoch(run, data, objective, batches, bar)
            run.close_epoch(epoch)
            _show(bar, run)
            if log and processes.main:
                log(epoch)


class _Run:
    """The state of a run: what a checkpoint holds."""

    def __init__(
        self,
        model: SequentialRecommender,
        data: SequenceData,
        config: TrainConfig,
        folder: Path | None,
        processes: Processes,
    ) -> None:
        self.model, self.config, self.folder, self.processes = model, config, folder, processes
        self.description = {
            "model": asdict(model.config),
            "training": asdict(config),
            "data": describe_data(data),
        }
        self.optimizer = torch.optim.AdamW(
            model.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.history = History()
        self.best = _copy(model)

    @property
    def finished(self) -> bool:
        done = len(self.history.epochs)
        return done >= self.config.epochs or (
            done > 0 and done - self.history.best.epoch >= self.config.patience
        )

    def check_time(self, deadline: float | None) -> None:
        """Raise OutOfTime if no further epoch fits."""
        if deadline is not None:
            self.processes.on_main(lambda: self._check_time(deadline))

    def _check_time(self, deadline: float) -> None:
        epochs = self.history.epochs
        next_takes = epochs[-1].seconds if epochs else 0.0
        if time.time() + next_takes > deadline:
            raise OutOfTime(f"no time for epoch {len(epochs) + 1} of {self.config.epochs}")

    def close_epoch(self, epoch: Epoch) -> None:
        self.history.epochs.append(epoch)
        if self.history.best is epoch:
            self.best = _copy(self.model)
        if self.folder:
            path = self.folder / CHECKPOINT
            self.processes.on_main(lambda: self._checkpoint().save(path))

    def restore_best(self) -> None:
        copy_tensors(self.best, self.model, Path(CHECKPOINT))

    def open(self, resume: bool) -> None:
        """Go on from the folder's checkpoint if there is one."""
        if self.folder is None:
            return
        path = self.folder / CHECKPOINT
        found = self.processes.on_main(lambda: _find(path, resume))
        if found:
            self._go_on(found, path)

    def _checkpoint(self) -> Checkpoint:
        state = self.optimizer.state_dict()["state"]
        adamw = {f"{i}/{name}": t for i, own in state.items() for name, t in own.items()}
        return Checkpoint(self.description, self.history, _copy(self.model), self.best, adamw)

    def _go_on(self, found: Checkpoint, path: Path) -> None:
        # A setting that the library got since then had its default.
        found.settings["model"] = asdict(config_from_json(found.settings.get("model", {})))
        found.settings["training"] = {**asdict(TrainConfig()), **found.settings.get("training", {})}
        found.check(self.description, path)
        check_tensors(found.best, self.model, path)
        copy_tensors(found.model, self.model, path)
        self.best = {name: tensor.clone() for name, tensor in found.best.items()}
        self.history = found.history
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in found.adamw.items():
            index, _, key = name.partition("/")
            state.setdefault(int(index), {})[key] = tensor
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})


def _find(path: Path, resume: bool) -> Checkpoint | None:
    if not path.exists():
        return None
    if not resume:
        raise ValueError(f"{path.parent} already holds a run; resume it, or choose another folder")
    return Checkpoint.read(path)


class Objective(nn.Module):
    """The model's loss as a forward pass, which is all that several processes see of a module."""

    def __init__(self, model: SequentialRecommender, config: TrainConfig) -> None:
        super().__init__()
        self.model, self.bf16 = model, config.precision == "bfloat16"

    def forward(self, windows: Tensor, sizes: list[int]) -> Tensor:
        with torch.autocast(windows.device.type, torch.bfloat16, enabled=self.bf16):
            if windows.device.type == "cuda":
                return self.model.loss(windows, sizes)
            return self.model.loss(windows)


def _one_epoch(
    run: _Run, data: SequenceData, objective: nn.Module, batches: Batches, bar: tqdm[Any]
) -> Epoch:
    number = len(run.history.epochs) + 1
    started = time.perf_counter()
    loss = _train_epoch(run, objective, batches, number, bar)
    seconds = time.perf_counter() - started
    valid = evaluate_together(run.processes, run.model, data, "valid").metrics()
    return Epoch(number, loss, seconds, valid)


def _train_epoch(
    run: _Run, objective: nn.Module, batches: Batches, number: int, bar: tqdm[Any]
) -> float:
    """One pass over the windows in an order that the seed and the epoch's number fix."""
    config, processes, device = run.config, run.processes, batches.device
    run.model.train()
    seed = config.seed * 1_000_003 + number
    with _seeded(seed, device):
        order = torch.randperm(len(batches.counts))
        if processes.index > 0:
            _seed(seed + (processes.index << 32), device)  # other units drop
        with _advice_on_memory(config.batch_size):
            total, steps = _steps(run, objective, batches, order, number, bar)
    mean = float(processes.mean(total)) / steps
    if not math.isfinite(mean):
        raise FloatingPointError(
            f"the loss of epoch {number} is {mean}; try a learning rate of "
            f"{config.learning_rate / 3:.2g}. The last checkpoint, if any, holds the epoch before"
        )
    return mean


def _steps(
    run: _Run,
    objective: nn.Module,
    batches: Batches,
    order: Tensor,
    number: int,
    bar: tqdm[Any],
) -> tuple[Tensor, int]:
    """A step for each batch; the sum of their losses, which stays on the device, and their number.

    The program runs ahead of a GPU: no step reads anything back from it, or waits for it.
    """
    total, steps = torch.zeros((), device=batches.device), 0
    for part in batches.parts(order):
        done = number - 1 + steps * batches.size / max(1, len(order))
        run.optimizer.param_groups[0]["lr"] = run.config.rate(done)
        loss = objective(part.windows, part.sizes) * part.weight
        run.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        run.optimizer.step()
        total += loss.detach()
        steps += 1
        bar.update(part.positions)
    return total, steps


@contextmanager
def _advice_on_memory(batch_size: int) -> Iterator[None]:
    """Raise MemoryError, which says what to try, where torch finds too little memory."""
    try:
        yield
    except RuntimeError as error:
        on_cpu = "DefaultCPUAllocator" in str(error)  # it has no class of its own
        if not (on_cpu or isinstance(error, torch.OutOfMemoryError)):
            raise
        smaller = f"a batch size of {batch_size // 2}"
        raise MemoryError(
            f"too little memory for a batch size of {batch_size}; try "
            f"{smaller if batch_size > 1 else 'a narrower model or shorter windows'}. The last "
            "checkpoint, if any, holds the epoch before"
        ) from error


def evaluate_together(
    processes: Processes,
    model: SequentialRecommender,
    data: SequenceData,
    part: Literal["valid", "test"],
) -> Ranks:
    """`evaluate`, of whose users each process ranks a part. Raises ValueError as it does."""
    if processes.count == 1:
        return evaluate(model, data, part)
    held_out = data.valid if part == "valid" else data.test
    split = (t.tensor_split(processes.count) for t in (held_out.contexts, held_out.targets))
    own = HeldOut(*(parts[processes.index] for parts in split))
    mine = replace(data, valid=own) if part == "valid" else replace(data, test=own)
    ranks = evaluate(model, mine, part).ranks
    return Ranks(np.concatenate(processes.gather([ranks])))


@contextmanager
def _compiled(model: nn.Module, wanted: bool) -> Iterator[None]:
    """Give the model's forward pass, embedding and middle, to torch.compile for a while.

    The softmax stays as it is: how many rows its blocks get differs from batch to batch.
    """
    if wanted:
        setattr(model, "forward", torch.compile(model.forward))  # noqa: B010 - mypy's wish
    try:
        yield
    finally:
        if wanted:
            del model.forward


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's generators for one epoch and put the caller's state back afterwards.

    Those of the CPU, which orders the windows, and of a CUDA device, which drops units there. No
    other GPU is touched, as `torch.manual_seed` would do for good.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        _seed(seed, device)
        yield


def _seed(seed: int, device: torch.device) -> None:
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index].manual_seed(seed)


def _check_catalogue(model: SequentialRecommender, data: SequenceData) -> None:
    if model.config.n_items != data.n_items:
        raise ValueError(
            f"the model knows {model.config.n_items} items, the data {data.n_items}; "
            "build the model with n_items=data.n_items"
        )


def _check_precision(config: TrainConfig, processes: Processes) -> None:
    launched = {"no": "float32", "bf16": "bfloat16"}.get(asked := processes.mixed_precision, asked)
    if launched not in ("float32", config.precision):
        raise ValueError(
            f"accelerate was launched with mixed precision {asked}, but TrainConfig's precision is "
            f"{config.precision}, which is what will be recorded; leave it to TrainConfig alone"
        )


def _bar(run: _Run, positions: int, progress: bool) -> tqdm[Any]:
    """A bar over the positions that all epochs predict."""
    # With progress, `disable` stays out of it, so that the environment's TQDM_DISABLE counts.
    quiet: dict[str, Any] = {} if progress else {"disable": True}
    bar = tqdm(
        desc=_epochs(run),
        total=run.config.epochs * positions,
        initial=len(run.history.epochs) * positions,
        unit=" positions",
        unit_scale=True,
        file=sys.stdout,
        dynamic_ncols=True,
        **quiet,
    )
    _show(bar, run)
    return bar


def _show(bar: tqdm[Any], run: _Run) -> None:
    if run.history.epochs:
        last = run.history.epochs[-1]
        bar.set_description_str(_epochs(run), refresh=False)
        bar.set_postfix_str(f"loss {last.loss:.3f}, valid NDCG@10 {last.valid['ndcg@10']:.4f}")


def _epochs(run: _Run) -> str:
    return f"{len(run.history.epochs)}/{run.config.epochs} epochs"


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.named_parameters()}
