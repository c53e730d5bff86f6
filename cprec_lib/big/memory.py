"""What training will need of a process's memory, worked out before it starts."""

from __future__ import annotations

import warnings
from dataclasses import astuple, dataclass
from importlib.util import find_spec
from typing import Protocol

import torch
from torch import Tensor

from cprec_lib.machine import free_bytes
from cprec_lib.model.config import ModelConfig
from cprec_lib.model.cost import count_parameters
from cprec_lib.model.cross_entropy import chunk_rows
from cprec_lib.model.recommender import SequentialRecommender


@dataclass(frozen=True)
class Need:
    """Bytes of one process at the moment that needs most, in float32 and with AdamW.

    `kept` are the best epoch's weights. While a checkpoint is written, it is in memory once more.
    """

    weights: int
    gradients: int
    optimizer: int
    kept: int
    activations: int
    checkpoint: int = 0

    @property
    def total(self) -> int:
        """Activations are gone when a checkpoint is written, so the larger of both counts."""
        fixed = self.weights + self.gradients + self.optimizer + self.kept
        return fixed + max(self.activations, self.checkpoint)

    def __str__(self) -> str:
        names = ("weights", "gradients", "AdamW", "best weights", "activations", "checkpoint")
        parts = zip(names, astuple(self), strict=True)
        listed = ", ".join(f"{name} {size / 1e9:.2f}" for name, size in parts)
        return f"{self.total / 1e9:.2f} GB at most ({listed})"


def training_need(
    config: ModelConfig,
    batch_size: int,
    max_len: int,
    processes: int = 1,
    shard: bool = False,
    checkpoints: bool = True,
) -> Need:
    """The need of each process; one with `shard` holds its share of all but the activations.

    Split tables are put together one at a time: the largest part of the model, and its gradient,
    are added to the activations.
    """
    ledger = count_parameters(config)
    share = 4 * ledger.total // (processes if shard else 1)
    gathered = 8 * max(ledger.by_part().values()) if shard and processes > 1 else 0
    rows = -(-batch_size // processes)
    activations = gathered + _activations(config, rows, max_len)
    return Need(share, share, 2 * share, share, activations, 4 * share * checkpoints)


def _activations(config: ModelConfig, rows: int, length: int) -> int:
    """Bytes that autograd saves in the forward pass, counted by torch without computing it.

    The loss has the hidden vectors, their gradient and a few rows of logits.
    """
    saved: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        saved[storage._cdata] = storage.nbytes()
        return tensor

    with torch.device("meta"):
        model = SequentialRecommender(config)
        weights = {p.untyped_storage()._cdata for p in model.parameters()}
        ids = torch.ones(rows, length, dtype=torch.long)
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            model(ids)
    passed: int = sum(size for storage, size in saved.items() if storage not in weights)
    positions = rows * length
    sizes = config.partition.sizes if config.block_softmax and config.tree else (config.n_items,)
    width, largest = config.width, max(sizes)
    chunk = min(positions, chunk_rows(width, largest, torch.device("cpu")))
    return passed + 4 * (3 * positions * width + chunk * largest)


class Plan(Protocol):
    """Of a `TrainConfig`, what decides the need."""

    @property
    def batch_size(self) -> int: ...

    @property
    def shard(self) -> bool: ...


def announce(
    config: ModelConfig, plan: Plan, max_len: int, processes: int, device: torch.device
) -> None:
    """Print what a process will need; warn, with what to do, if its device has less free memory.

    Without psutil, the free memory of a machine is unknown.
    """
    need = training_need(config, plan.batch_size, max_len, processes, plan.shard)
    print(f"A process will need about {need}", flush=True)
    if device.type != "cuda" and find_spec("psutil") is None:
        return
    here = processes if device.type != "cuda" else 1
    if (free := free_bytes(device) // here) < need.total:
        shared = training_need(config, plan.batch_size, max_len, max(2, processes), True)
        warnings.warn(advice(need, shared, free, max(2, processes)), stacklevel=3)


def advice(need: Need, shared: Need, free: int, processes: int) -> str:
    """What to do if the need exceeds the free bytes of a process."""
    ways = "a larger --factor, smaller --cutoffs or a smaller --batch-size"
    if shared.total < need.total:
        ways = f"--shard ({shared.total / 1e9:.2f} GB in each of {processes} processes), {ways}"
    return (
        f"{need.total / 1e9:.2f} GB may not fit: {free / 1e9:.2f} GB are free for a process. Try "
        f"{ways}; `cprec compress` makes a trained model smaller"
    )
