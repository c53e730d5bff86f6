"""Batches of training windows, shared among processes and moved to their devices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from cprec_lib.machine import free_bytes
from cprec_lib.model.recommender import SequentialRecommender
from cprec_lib.train.processes import Processes


class Part(NamedTuple):
    """One process's part of a batch: windows [B, L + 1] on its device.

    The whole batch predicts `positions` targets, the part some of them: `sizes` counts its targets
    by block of the softmax. The mean over the processes of `weight` times the part's mean loss is
    the mean loss over all positions.
    """

    windows: Tensor
    sizes: list[int]
    weight: float
    positions: int


class Batches:
    """Training windows [W, L + 1] in batches of `size` windows, over all processes."""

    def __init__(
        self, windows: Tensor, model: SequentialRecommender, size: int, processes: Processes
    ) -> None:
        self.size, self.processes = size, processes
        self.device = next(model.parameters()).device
        # Counted once and on the CPU, so that no step waits for a GPU or another process to count.
        self.counts = model.softmax.count_targets(windows.cpu())
        self.positions = int(self.counts.sum())
        self.resident = fits(windows, self.device)
        self.windows = windows.to(self.device if self.resident else "cpu")

    def parts(self, order: Tensor) -> Iterator[Part]:
        """This process's part of each batch, with the windows in the order [W]."""
        for batch in order.split(self.size):
            part = batch.tensor_split(self.processes.count)[self.processes.index]
            here, everywhere = int(self.counts[part].sum()), int(self.counts[batch].sum())
            weight = self.processes.count * here / max(1, everywhere)
            if here == 0 < everywhere:
                # The others wait for its gradients, so it computes those of a window at weight 0.
                part = batch[self.counts[batch].sum(1).argmax()].unsqueeze(0)
            sizes = self.counts[part].sum(0).tolist()
            yield Part(self._fetch(part), sizes, weight, everywhere)

    def _fetch(self, rows: Tensor) -> Tensor:
        if self.resident:
            return self.windows[_send(rows, self.device)]
        return _send(self.windows[rows], self.device)


def fits(windows: Tensor, device: torch.device) -> bool:
    """Whether all windows fit on the device: on a GPU, in a quarter of its free memory.

    The rest is for gradients, AdamW's state and the activations of a step.
    """
    return device.type != "cuda" or windows.nbytes <= free_bytes(device) // 4


def _send(tensor: Tensor, device: torch.device) -> Tensor:
    """A copy on the device; to a GPU from pinned memory, without waiting."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
