"""The history of a training, and the checkpoint from which it resumes."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from cprec_lib.big.sharding import local
from cprec_lib.files import save_tensors, sha256
from cprec_lib.model.config import config_from_json
from cprec_lib.train.config import TrainConfig
from cprec_lib.train.data_record import SequencesRecord

CHECKPOINT = "checkpoint.safetensors"
SEAL = "sha256"
"""Entry of the metadata that shows whether the others are those that were written."""
ADAMW = ("step", "exp_avg", "exp_avg_sq")
"""AdamW's state of a parameter: its number of steps, and two tensors of its shape."""


@dataclass(frozen=True)
class Epoch:
    """One pass over the training windows: loss (nats), seconds of training, validation metrics.

    The loss is the mean over the batches of each batch's mean loss, computed while the weights
    change. All batches have the same weight, whatever their number of positions.
    """

    epoch: int
    loss: float
    seconds: float
    valid: dict[str, float]


class TrainingRecord(TypedDict):
    """A training: seconds without validation, number of epochs, the best one and its loss."""

    seconds: float
    seconds_per_epoch: float
    epochs: int
    best_epoch: int
    train_loss: float


@dataclass
class History:
    """The epochs of a training so far. Without epochs, its methods raise ValueError."""

    epochs: list[Epoch] = field(default_factory=list)

    @property
    def best(self) -> Epoch:
        """The first epoch with the highest validation NDCG@10; `fit` keeps its weights."""
        return max(self._some(), key=lambda epoch: epoch.valid["ndcg@10"])

    @property
    def seconds_per_epoch(self) -> float:
        """Median training seconds of an epoch, without validation."""
        return statistics.median(epoch.seconds for epoch in self._some())

    def to_frame(self) -> pd.DataFrame:
        """One row per epoch: loss, seconds and the validation metrics."""
        rows = [{**asdict(e), **e.valid} for e in self._some()]
        return pd.DataFrame(rows).drop(columns="valid").set_index("epoch")

    def describe(self) -> TrainingRecord:
        """The description of the training in the record of a run."""
        return {
            "seconds": sum(epoch.seconds for epoch in self.epochs),
            "seconds_per_epoch": self.seconds_per_epoch,
            "epochs": len(self.epochs),
            "best_epoch": self.best.epoch,
            "train_loss": self.best.loss,
        }

    def _some(self) -> list[Epoch]:
        if not self.epochs:
            raise ValueError("this history has no epochs; take the one that fit returns")
        return self.epochs


class Settings(TypedDict):
    """What a training is fixed by: the fields of `ModelConfig` and `TrainConfig`, and the data."""

    model: dict[str, Any]
    training: dict[str, Any]
    data: SequencesRecord


@dataclass
class Checkpoint:
    """A training after some epochs: its settings, current and best weights, and AdamW's state.

    The keys of `adamw` are "number of the parameter/entry of its state".
    """

    settings: Settings
    history: History
    model: dict[str, Tensor]
    best: dict[str, Tensor]
    adamw: dict[str, Tensor]

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by "group/name"."""
        groups = {"model": self.model, "best": self.best, "adamw": self.adamw}
        return {f"{group}/{k}": t for group, own in groups.items() for k, t in own.items()}

    def run(self) -> str:
        """Settings and history as JSON."""
        history = [asdict(epoch) for epoch in self.history.epochs]
        return json.dumps({**self.settings, "history": history})

    def save(self, path: Path) -> None:
        """Write a safetensors file, whole or not at all. Raises OSError if it cannot be written."""
        run = self.run()
        tensors = {name: t.detach().cpu().contiguous() for name, t in self.tensors().items()}
        save_tensors(path, tensors, {"run": run, SEAL: _seal(run, tensors)})

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """Read what `save` wrote. Raises ValueError if it is corrupt; executes no code."""
        groups: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "adamw": {}}
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata()
                settings, history = parse(metadata["run"])
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            for key, tensor in tensors.items():
                group, _, name = key.partition("/")
                groups[group][name] = tensor
            # Older checkpoints have no seal.
            if metadata.get(SEAL) not in (None, _seal(metadata["run"], tensors)):
                raise ValueError("its content was changed after it was written")
        except (SafetensorError, KeyError, TypeError, ValueError, RecursionError, OSError) as error:
            raise ValueError(
                f"{path} is corrupt or no checkpoint of this library ({error}); delete it to "
                "start over"
            ) from error
        return cls(settings, history, **groups)

    def check(self, settings: Settings, model: nn.Module, path: Path) -> None:
        """Raise ValueError, naming the fault, unless a training with `settings` can resume here.

        The settings must be the same, except for the number of epochs under a constant learning
        rate. The tensors must fit the model and its AdamW: torch accepts any state of AdamW, and
        then reads and writes beyond the end of its tensors.
        """
        wanted = json.loads(json.dumps(settings))
        for part, found in json.loads(json.dumps(self.settings)).items():
            for name, value in found.items():
                free = name == "epochs" and found.get("schedule") == "constant"
                if value != (own := wanted[part].get(name)) and not free:
                    raise ValueError(
                        f"{path} is of another run: its {name} is {value}, this run's is {own}; "
                        "use the same data and settings, or choose another folder"
                    )
        _check_tensors(self.tensors(), model, path)


def _seal(run: str, tensors: dict[str, Tensor]) -> str:
    """SHA-256 of a checkpoint's metadata and of the names and bytes of its tensors."""
    parts: list[bytes | memoryview] = [run.encode()]
    for name in sorted(tensors):
        parts += [name.encode(), tensors[name].reshape(-1).view(torch.uint8).numpy().data]
    return sha256(parts)


def parse(metadata: str) -> tuple[Settings, History]:
    """Settings and history of a checkpoint; older forms are converted to the current one."""
    run = json.loads(metadata)
    data = dict(run["data"])
    data["windows_sha256"] = data.pop("data's sha256", None) or data["windows_sha256"]
    settings: Settings = {
        "model": asdict(config_from_json(run["model"])),
        "training": asdict(TrainConfig.from_json(run["training"])),
        "data": data,  # type: ignore[typeddict-item]  # an old one has fewer fields, which its hash covers
    }
    epochs = [Epoch(**epoch) for epoch in run["history"]]
    if not epochs or [epoch.epoch for epoch in epochs] != list(range(1, len(epochs) + 1)):
        raise ValueError("its epochs are not 1, 2, 3, ...")
    for epoch in epochs:
        for number in (epoch.loss, epoch.seconds, epoch.valid["ndcg@10"]):
            if not (isinstance(number, float) and math.isfinite(number)):
                raise TypeError(f"{number!r} in its history is not a finite number")
    return settings, History(epochs)


def _check_tensors(found: dict[str, Tensor], model: nn.Module, path: Path) -> None:
    expected: dict[str, Tensor] = {}
    for number, (name, parameter) in enumerate(model.named_parameters()):
        expected |= {f"model/{name}": parameter, f"best/{name}": parameter}
        state = [f"adamw/{number}/{entry}" for entry in ADAMW]
        if found.keys() & {*state}:  # a parameter without a gradient so far has no state
            expected |= dict(zip(state, (torch.tensor(0.0), parameter, parameter), strict=True))
    for name in sorted(found.keys() ^ expected.keys()):
        lacking = "its weights lack" if name in expected else "the model lacks"
        raise ValueError(f"{path} belongs to another model: {lacking} {name}")
    for name, tensor in found.items():
        own = expected[name]
        if (tensor.shape, tensor.dtype) != (own.shape, own.dtype):
            raise ValueError(
                f"{path} belongs to another model: {name} is {tuple(tensor.shape)} of "
                f"{tensor.dtype}, the model's is {tuple(own.shape)} of {own.dtype}"
            )
        least = {"step": 1, "exp_avg_sq": 0}.get(name.rpartition("/")[2], -torch.inf)
        tensor = local(tensor)
        if not (tensor.isfinite() & (tensor >= least)).all():
            raise ValueError(f"{path} is corrupt: {name} has numbers that no training produces")
