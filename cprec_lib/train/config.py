"""How to train: the settings of a training, which check themselves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from cprec_lib.checks import check_choice, whole_number

PRECISIONS = ("float32", "bfloat16")
SCHEDULES = ("constant", "linear")


@dataclass(frozen=True)
class TrainConfig:
    """How to train. Training stops after `patience` epochs without a better validation NDCG@10.

    `batch_size` counts the windows of a step over all processes. `weight_decay` is AdamW's, on
    every parameter. `seed` draws the order of the windows and the dropped units; a model's initial
    weights have their own seed. `precision`, "float32" or "bfloat16", is that of the large matrix
    products in training; weights, their updates, the loss and the evaluation stay float32.
    `compile` compiles the embedding and the middle layers. `shard` splits parameters, gradients and
    optimiser over the processes by FSDP2, and their checkpoints. With the `schedule` "linear" the
    learning rate falls evenly to zero over `epochs`, which cannot be raised later; with "constant"
    it stays. Raises ValueError for a number out of range and an unknown precision or schedule.
    """

    epochs: Annotated[int, "Largest number of epochs."] = 20
    batch_size: Annotated[int, "Windows in a step, over all processes."] = 32
    learning_rate: Annotated[float, "Learning rate of AdamW."] = 3e-3
    weight_decay: Annotated[float, "Weight decay of AdamW."] = 0.01
    patience: Annotated[int, "Epochs without a better validation NDCG@10 before it stops."] = 3
    seed: Annotated[int, "Seed of the initial weights, order of windows, dropout."] = 0
    precision: Annotated[str, f"Precision of matrix products: {' or '.join(PRECISIONS)}."] = (
        "float32"
    )
    compile: Annotated[bool, "Compile the embedding and the middle layers."] = False
    shard: Annotated[bool, "Split tables, gradients and optimiser over the processes."] = False
    schedule: Annotated[str, f"Learning rate over time: {' or '.join(SCHEDULES)}."] = "constant"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "patience", "seed"):
            value = whole_number(name, getattr(self, name))
            object.__setattr__(self, name, value)
            if value < 1 and name != "seed":
                usual = getattr(TrainConfig, name)
                raise ValueError(f"{name} {value} is below 1; {usual} is usual")
        for name in ("learning_rate", "weight_decay"):
            object.__setattr__(self, name, float(getattr(self, name)))
        if not 0 < (rate := self.learning_rate) < math.inf:
            raise ValueError(f"learning_rate {rate} is not a positive number; 0.003 is usual")
        if not 0 <= (decay := self.weight_decay) < math.inf:
            raise ValueError(f"weight_decay {decay} is negative or not a number; 0.01 is usual")
        check_choice("precision", self.precision, PRECISIONS)
        check_choice("schedule", self.schedule, SCHEDULES)
        for name in ("compile", "shard"):
            if not isinstance(value := getattr(self, name), bool):
                raise ValueError(f"{name} {value!r} is neither True nor False")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TrainConfig:
        """The config in a JSON object; a field that the object lacks takes its default.

        Raises ValueError for an unknown field, and as the class does.
        """
        try:
            return cls(**values)
        except TypeError as error:
            raise ValueError(f"this is not a TrainConfig of this library: {error}") from error

    def rate(self, epochs_done: float) -> float:
        """The learning rate after `epochs_done` epochs, whole or not."""
        left = 1 - epochs_done / self.epochs if self.schedule == "linear" else 1.0
        return left * self.learning_rate
