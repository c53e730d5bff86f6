"""What training will need of a process's memory, worked out before it starts."""

from __future__ import annotations

import warnings
from dataclasses import astuple, dataclass, replace
from typing import Protocol

import psutil  # type: ignore[import-untyped]
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

    What the C library keeps of freed memory is not counted. It was 70 to 90 % of the need with few
    items and batches of 256 windows, and 2 to 11 % with large tables.

    `kept` are the best epoch's weights. At the end of an epoch their successors are copied beside
    them, and then a checkpoint is put together before it is written.
    """

    weights: int
    gradients: int
    optimizer: int
    kept: int
    activations: int
    checkpoint: int = 0

    @property
    def total(self) -> int:
        """Activations, the second copy and the checkpoint follow each other: the largest counts."""
        fixed = self.weights + self.gradients + self.optimizer + self.kept
        return fixed + max(self.activations, self.kept, self.checkpoint)

    def __str__(self) -> str:
        names = ("weights", "gradients", "AdamW", "best weights", "activations", "checkpoint")
        parts, (scale, _) = zip(names, astuple(self), strict=True), _unit(self.total)
        listed = ", ".join(f"{name} {size / scale:.2f}" for name, size in parts)
        return f"{sized(self.total)} at most ({listed})"


def sized(n_bytes: int) -> str:
    """So many bytes in GB, or below 1 GB in MB."""
    scale, name = _unit(n_bytes)
    return f"{n_bytes / scale:.2f} {name}"


def _unit(n_bytes: int) -> tuple[float, str]:
    return (1e9, "GB") if n_bytes >= 1e9 else (1e6, "MB")


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
    """Bytes that autograd saves in the forward pass, and those of the loss.

    Counted by torch on one window and on three, with a tiny catalogue of as many blocks; the bytes
    grow evenly with the windows. The loss has the hidden vectors, their gradient, a few rows of the
    logits of one block, and the softmax's new gradient beside the old one.
    """
    blocks = len(config.cutoffs) + 1
    tiny = replace(config, n_items=blocks + 1, cutoffs=tuple(range(1, blocks)))
    model = SequentialRecommender(tiny)
    one, three = (_saved(model, n, length) for n in (1, 3))
    sizes: tuple[int, ...] = (config.n_items,)
    widths: tuple[int, ...] = (config.width,)
    if config.block_softmax and config.tree:
        sizes, widths = config.partition.sizes, config.partition.widths
    positions, cpu = rows * length, torch.device("cpu")
    logits = max(
        size * min(positions, chunk_rows(width, size, cpu))
        for size, width in zip(sizes, widths, strict=True)
    )
    new = count_parameters(config).by_part()["softmax"]
    return rows * (three - one) // 2 + 4 * (3 * positions * config.width + logits + new)


def _saved(model: SequentialRecommender, rows: int, length: int) -> int:
    """Bytes that the forward pass of so many windows saves for the backward pass."""
    saved: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        # The result keeps the saved tensors, so that no two of them have the same address.
        hidden = model(torch.ones(rows, length, dtype=torch.long))
    del hidden
    for parameter in model.parameters():
        saved.pop(parameter.untyped_storage().data_ptr(), None)
    return sum(saved.values())


def fixed_bytes(config: ModelConfig) -> int:
    """Bytes of weights, gradients and AdamW's two moments, in float32."""
    return 16 * count_parameters(config).total


class Plan(Protocol):
    """Of a `TrainConfig`, what decides the need."""

    @property
    def batch_size(self) -> int: ...

    @property
    def shard(self) -> bool: ...


def announce(
    config: ModelConfig, plan: Plan, max_len: int, processes: int, device: torch.device
) -> None:
    """Print what a process will need beside what it holds already, torch and the data.

    These take 0.35 GB with a small log, and 0.08 GB more once torch has loaded what a step needs.
    Warn, with what to do, if its device has less free memory.
    """
    need = training_need(config, plan.batch_size, max_len, processes, plan.shard)
    held = sized(psutil.Process().memory_info().rss)
    print(f"A process will need about {need}, besides the {held} of torch and the data", flush=True)
    here = processes if device.type != "cuda" else 1
    if (free := free_bytes(device) // here) < need.total:
        shared = training_need(config, plan.batch_size, max_len, max(2, processes), True)
        warnings.warn(advice(need, shared, free, max(2, processes)), stacklevel=3)


def advice(need: Need, shared: Need, free: int, processes: int) -> str:
    """What to do if the need exceeds the free bytes of a process."""
    ways = "a larger --factor, smaller --cutoffs or a smaller --batch-size"
    if shared.total < need.total:
        ways = f"--shard ({sized(shared.total)} in each of {processes} processes), {ways}"
    return (
        f"{sized(need.total)} may not fit: {sized(free)} are free for a process. Try "
        f"{ways}; `cprec compress` makes a trained model smaller"
    )
