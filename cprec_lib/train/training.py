"""`fit`: the training loop, early stopping, and resuming from a checkpoint."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from cprec_lib.big import sharding
from cprec_lib.big.windows import shuffled
from cprec_lib.data.sequences import SequenceData
from cprec_lib.files import named_path
from cprec_lib.model.recommender import SequentialRecommender
from cprec_lib.model.weights import copy_tensors
from cprec_lib.progress import bar, show
from cprec_lib.train.batches import Batches
from cprec_lib.train.checkpoints import CHECKPOINT, Checkpoint, Epoch, History, Settings, parse
from cprec_lib.train.config import TrainConfig
from cprec_lib.train.data_record import describe_sequences
from cprec_lib.train.evaluation import evaluate_together
from cprec_lib.train.processes import Processes


class OutOfTime(Exception):
    """No time is left for another epoch; a later `fit` can resume from the checkpoint."""


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

    It gets these weights even if the training is interrupted or fails. Every position of every
    window is predicted, except padding. On a CPU the same model, data, config and number of threads
    give the same numbers, bit for bit.

    After each epoch `folder`, if given, receives a checkpoint, written whole or not at all; with
    `resume` the training continues from it as if it had never stopped. `progress` prints a bar to
    standard output or, where that is a pipe or a file, a line an epoch. The main process calls
    `log` with each saved epoch. `deadline` is in seconds of `time.time()`: an epoch starts only if
    one as long as the last still fits.

    Several processes (see `Processes`) call `fit` with the same arguments. Each moves the model to
    its device and computes a part of each batch and of the evaluation. The losses are those of one
    process up to rounding, except for dropout, which each process draws for itself. A resumed
    training may have another number of processes.

    Raises OutOfTime at the deadline; ValueError if the catalogues differ, if the launcher sets
    another precision, if the folder is in use, and for a checkpoint that is corrupt, of another run
    or not to be resumed; FloatingPointError if the loss or the weights are not finite; MemoryError
    if a step needs too much memory.
    """
    config, processes = config or TrainConfig(), Processes()
    _check(model, data, config, processes)
    model.to(processes.device(next(model.parameters()).device))
    path = None if folder is None else named_path(folder) / CHECKPOINT
    split = sharding.split(model, processes.count) if config.shard else model
    training = Training(split, data, config, path, processes)
    with processes.holding(path and path.parent):
        try:
            training.open(resume)
            _train(training, data, progress, deadline, log)
        finally:
            training.restore_best()
            sharding.join(split, model)
    return training.history


def _train(
    training: Training,
    data: SequenceData,
    progress: bool,
    deadline: float | None,
    log: Callable[[Epoch], None] | None,
) -> None:
    """Train for epoch after epoch, until the last one, early stopping or the deadline."""
    model, config, optimizer = training.model, training.config, training.optimizer
    processes, history = training.processes, training.history
    objective = processes.wrap(Objective(model, config))
    batches = Batches(data.train, model, config.batch_size, processes)
    with _bar(training, batches.positions, progress and processes.main) as positions:
        while not training.finished:
            training.check_time(deadline)
            started, number = time.perf_counter(), len(history.epochs) + 1
            total = torch.zeros((), device=batches.device)
            model.train()
            with (
                _drawing(training, number, batches, data.block) as order,
                _advice_on_memory(config),
            ):
                for step, part in enumerate(batches.parts(order)):
                    epochs_done = number - 1 + step * config.batch_size / max(1, len(order))
                    optimizer.param_groups[0]["lr"] = config.rate(epochs_done)
                    loss = objective(part.windows, part.sizes) * part.weight
                    optimizer.zero_grad(set_to_none=True)
                    loss.backward()
                    optimizer.step()
                    total += loss.detach()  # on the device: no step waits for a GPU
                    positions.update(part.positions)
            mean = float(processes.mean(total)) / (step + 1)
            training.check_finite(mean, number)
            seconds = time.perf_counter() - started
            with sharding.whole(model):
                valid = evaluate_together(processes, model, data, "valid").metrics()
            training.close(Epoch(number, mean, seconds, valid))
            _show(positions, training)
            if log and processes.main:
                log(history.epochs[-1])


class Training:
    """The state of a training, which its checkpoints hold; without a `path` it writes none."""

    def __init__(
        self,
        model: SequentialRecommender,
        data: SequenceData,
        config: TrainConfig,
        path: Path | None,
        processes: Processes,
    ) -> None:
        self.model, self.config, self.path, self.processes = model, config, path, processes
        self.settings: Settings = {
            "model": asdict(model.config),
            "training": asdict(config),
            "data": describe_sequences(data),
        }
        rate, decay = config.learning_rate, config.weight_decay
        self.optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=decay, fused=True)
        self.history = History()
        self.best = _copy(model)

    @property
    def finished(self) -> bool:
        """Whether all epochs are over, or `patience` epochs brought no better one."""
        done = len(self.history.epochs)
        return done >= self.config.epochs or (
            done > 0 and done - self.history.best.epoch >= self.config.patience
        )

    def check_time(self, deadline: float | None) -> None:
        """Raise OutOfTime, in all processes, if an epoch as long as the last no longer fits."""
        epochs = self.history.epochs
        takes = epochs[-1].seconds if epochs else 0.0
        if deadline is not None and self.processes.on_main(lambda: time.time() + takes > deadline):
            raise OutOfTime(f"no time for epoch {len(epochs) + 1} of {self.config.epochs}")

    def check_finite(self, loss: float, number: int) -> None:
        """Raise FloatingPointError unless the loss, the weights and AdamW's state are finite."""
        moments = (tensor for own in self.optimizer.state.values() for tensor in own.values())
        state = map(sharding.local, (*self.model.parameters(), *moments))
        if not math.isfinite(loss):
            what = f"the loss of epoch {number} is {loss}"
        elif not all(self.processes.gather([all(bool(t.isfinite().all()) for t in state)])):
            what = f"the weights after epoch {number} are not finite"
        else:
            return
        raise FloatingPointError(
            f"{what}; try a learning rate of {self.config.learning_rate / 3:.2g}. The last "
            "checkpoint, if any, holds the epoch before"
        )

    def close(self, epoch: Epoch) -> None:
        """Add a finished epoch, keep its weights if they are the best, and save a checkpoint."""
        self.history.epochs.append(epoch)
        if self.history.best is epoch:
            self.best = _copy(self.model)
        if (path := self.path) and self.config.shard:
            sharding.save(path, epoch.epoch, self._checkpoint(), self.processes.on_main)
        elif path:
            self.processes.on_main(lambda: self._checkpoint().save(path))

    def restore_best(self) -> None:
        """Give the model its best epoch's weights."""
        copy_tensors(self.best, self.model, Path(CHECKPOINT))

    def open(self, resume: bool) -> None:
        """Continue from the checkpoint if there is one. Raises ValueError if it cannot be used."""
        if (path := self.path) is None or (found := self._find(path, resume)) is None:
            return
        found.check(self.settings, self.model, path)
        copy_tensors(found.model, self.model, path)
        self.best, self.history = found.best, found.history
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in found.adamw.items():
            number, _, entry = name.partition("/")
            state.setdefault(int(number), {})[entry] = tensor
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})

    def _find(self, path: Path, resume: bool) -> Checkpoint | None:
        """The checkpoint to resume; of a split one, each process reads its own rows."""
        on_main = self.processes.on_main
        if not self.config.shard:
            return on_main(lambda: Checkpoint.read(path) if _resumable(path, resume) else None)
        if (folder := on_main(lambda: _resumable(sharding.newest(path), resume))) is None:
            return None
        run, names = on_main(lambda: sharding.read(folder))
        return Checkpoint(*parse(run), *sharding.load(folder, names, self.model))

    def _checkpoint(self) -> Checkpoint:
        state = self.optimizer.state_dict()["state"]
        adamw = {f"{i}/{name}": t for i, own in state.items() for name, t in own.items()}
        now: dict[str, Tensor] = dict(self.model.named_parameters())
        return Checkpoint(self.settings, self.history, now, self.best, adamw)


def _resumable(path: Path | None, resume: bool) -> Path | None:
    """The path if something is there. Raises ValueError unless it is to be resumed."""
    if path is None or not path.exists():
        return None
    if not resume:
        raise ValueError(f"{path.parent} already holds a run; resume it, or choose another folder")
    return path


class Objective(nn.Module):
    """The model's loss as a forward pass, through which DistributedDataParallel works.

    `config` sets the precision, and whether the embedding and the middle layers are compiled. The
    softmax is not compiled, because the number of rows of its blocks differs between batches.
    """

    def __init__(self, model: SequentialRecommender, config: TrainConfig) -> None:
        super().__init__()
        self.model, self.bf16 = model, config.precision == "bfloat16"
        self.loss: Callable[..., Tensor] = model.loss
        if config.compile or config.shard:
            forward = torch.compile(model.forward) if config.compile else model.forward
            self.loss = partial(model.loss, forward=forward)

    def forward(self, windows: Tensor, sizes: list[int]) -> Tensor:
        with torch.autocast(windows.device.type, torch.bfloat16, enabled=self.bf16):
            if windows.device.type == "cuda":
                return self.loss(windows, sizes)
            return self.loss(windows)


@contextmanager
def _drawing(training: Training, number: int, batches: Batches, block: int) -> Iterator[Tensor]:
    """Draw the order of an epoch's windows; in the body, dropout too follows seed and epoch.

    Afterwards torch's generators, the CPU's and that of a CUDA device, have the caller's state
    again. `torch.manual_seed` would reseed the other GPUs, whose state is not restored.
    """
    device, index = batches.device, training.processes.index
    seed = training.config.seed * 1_000_003 + number
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        _seed(seed, device)
        order = shuffled(len(batches.counts), block)
        if index > 0:
            _seed(seed + (index << 32), device)  # each process drops other units
        yield order


def _seed(seed: int, device: torch.device) -> None:
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index].manual_seed(seed)


@contextmanager
def _advice_on_memory(config: TrainConfig) -> Iterator[None]:
    """Raise MemoryError with advice where torch runs out of memory."""
    try:
        yield
    except RuntimeError as error:
        on_cpu = "DefaultCPUAllocator" in str(error)  # this error has no class of its own
        if not (on_cpu or isinstance(error, torch.OutOfMemoryError)):
            raise
        size = config.batch_size
        advice = f"a batch size of {size // 2}" if size > 1 else "a narrower model or less max_len"
        raise MemoryError(
            f"too little memory for a batch size of {size}; try {advice}. The last checkpoint, if "
            "any, holds the epoch before"
        ) from error


def _check(
    model: SequentialRecommender, data: SequenceData, config: TrainConfig, processes: Processes
) -> None:
    if model.config.n_items != data.n_items:
        raise ValueError(
            f"the model knows {model.config.n_items} items, the data {data.n_items}; "
            "build the model with n_items=data.n_items"
        )
    data.check_trainable()
    launched = {"no": "float32", "bf16": "bfloat16"}.get(asked := processes.mixed_precision, asked)
    if launched not in ("float32", config.precision):
        raise ValueError(
            f"accelerate was launched with mixed precision {asked}, but TrainConfig's precision is "
            f"{config.precision}, which is what will be recorded; leave it to TrainConfig alone"
        )


def _bar(training: Training, positions: int, progress: bool) -> tqdm[Any]:
    """A bar over the positions that all epochs predict."""
    total, done = (n * positions for n in (training.config.epochs, len(training.history.epochs)))
    started = bar(_epochs(training), total, done, " positions", progress)
    _show(started, training)
    return started


def _show(bar: tqdm[Any], training: Training) -> None:
    if training.history.epochs:
        last = training.history.epochs[-1]
        numbers = f"loss {last.loss:.3f}, valid NDCG@10 {last.valid['ndcg@10']:.4f}"
        show(bar, _epochs(training), numbers)


def _epochs(training: Training) -> str:
    return f"{len(training.history.epochs)}/{training.config.epochs} epochs"


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.named_parameters()}
