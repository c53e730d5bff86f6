"""The history of a training, and the checkpoint from which it goes on."""

from __future__ import annotations

import hashlib
import json
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors import SafetensorError, safe_open
from torch import Tensor

from cprec_lib.data.sequences import SequenceData
from cprec_lib.files import save_tensors

CHECKPOINT = "checkpoint.safetensors"


@dataclass(frozen=True)
class Epoch:
    """One pass over the training windows: loss (nats), seconds of training, validation metrics.

    The loss is the mean over the batches of each batch's mean over its positions, taken while the
    weights change. A batch with fewer positions counts as much as another.
    """

    epoch: int
    loss: float
    seconds: float
    valid: dict[str, float]


@dataclass
class History:
    """The epochs of a run so far. Without any, all but `epochs` raises ValueError."""

    epochs: list[Epoch] = field(default_factory=list)

    @property
    def best(self) -> Epoch:
        """The first epoch with the highest validation NDCG@10, whose weights `fit` keeps."""
        return max(self._some(), key=lambda epoch: epoch.valid["ndcg@10"])

    @property
    def seconds_per_epoch(self) -> float:
        """Median training seconds of an epoch, validation left out."""
        return statistics.median(epoch.seconds for epoch in self._some())

    def to_frame(self) -> pd.DataFrame:
        """One row an epoch: loss, seconds and the validation metrics."""
        rows = [{**asdict(e), **e.valid} for e in self._some()]
        return pd.DataFrame(rows).drop(columns="valid").set_index("epoch")

    def _some(self) -> list[Epoch]:
        if not self.epochs:
            raise ValueError("this history has no epochs; take the one that fit returns")
        return self.epochs


@dataclass
class Checkpoint:
    """A run after some epochs: what it is of, weights now and at its best, AdamW's state.

    `settings` describe the model, the training and the data. `adamw` has a key for each entry of
    each parameter's state, "number/entry".
    """

    settings: dict[str, Any]
    history: History
    model: dict[str, Tensor]
    best: dict[str, Tensor]
    adamw: dict[str, Tensor]

    def save(self, path: Path) -> None:
        """Write a safetensors file, whole or not at all. Raises OSError if it cannot be written."""
        groups = {"model": self.model, "best": self.best, "adamw": self.adamw}
        tensors = {f"{group}/{name}": t for group, own in groups.items() for name, t in own.items()}
        history = [asdict(epoch) for epoch in self.history.epochs]
        metadata = json.dumps({**self.settings, "history": history})
        save_tensors(path, tensors, {"run": metadata})

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """Read what `save` wrote. Raises ValueError if it is corrupt; executes no code."""
        groups: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "adamw": {}}
        try:
            with safe_open(path, "pt") as file:
                settings = dict(json.loads(file.metadata()["run"]))
                epochs = [Epoch(**epoch) for epoch in settings.pop("history")]
                for key in file.keys():  # noqa: SIM118 - the file is no dictionary
                    group, _, name = key.partition("/")
                    groups[group][name] = file.get_tensor(key)
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} is corrupt or no checkpoint of this library ({error}); delete it to start "
                "over"
            ) from error
        return cls(settings, History(epochs), **groups)

    def check(self, settings: dict[str, Any], path: Path) -> None:
        """Raise ValueError, which names the first difference, unless it is of these settings.

        More epochs than before is how one goes on, unless the learning rate falls with them; every
        other setting must be the same.
        """
        ours, theirs = (json.loads(json.dumps(some)) for some in (settings, self.settings))
        for part, values in ours.items():
            for name, value in values.items():
                found = theirs.get(part, {}).get(name)
                free = name == "epochs" and values.get("schedule") == "constant"
                if found != value and not free:
                    raise ValueError(
                        f"{path} is of another run: its {name} is {found}, this run's is {value}; "
                        "use the same data and settings, or another folder"
                    )


def describe_data(data: SequenceData) -> dict[str, Any]:
    """What a run must find again to go on: how the table was cut, and a hash of what it reads.

    That is the training windows, and the validation part, which chooses the best epoch.
    """
    digest = hashlib.sha256()
    for part in (data.train, data.valid.contexts, data.valid.targets):
        digest.update(part.cpu().numpy().tobytes())
    return {"max_len": data.max_len, "split": data.split, "data's sha256": digest.hexdigest()}
