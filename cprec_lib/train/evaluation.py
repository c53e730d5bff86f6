"""Ranks over the whole catalogue, and the metrics computed from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from cprec_lib.checks import check_choice
from cprec_lib.data.sequences import HeldOut, SequenceData
from cprec_lib.model.recommender import SequentialRecommender
from cprec_lib.train.processes import Processes

METRICS = ("hr", "mrr", "ndcg")
CPU_CELLS, GPU_CELLS = 2**22, 2**26
"""Scores computed at once: 16 MB of float32 on a CPU, 256 MB on a GPU to keep it busy."""
USERS = 1024
"""Limit of users at once, because the hidden vectors of their contexts take memory too: at 50
positions and width 512, 100 MB per layer."""


class Scorer(Protocol):
    """A model or a baseline: it scores the whole catalogue after a context."""

    def scores(self, contexts: Tensor) -> Tensor:
        """Scores [U, N] after left-padded contexts [U, L]; higher is better."""


@dataclass(frozen=True)
class Ranks:
    """The rank [U] of each user's target in the whole catalogue; 1 is best."""

    ranks: np.ndarray

    def values(self, metric: str) -> np.ndarray:
        """One value per user [U] of a metric such as "ndcg@10".

        With one target of rank r: HR@k = [r <= k], MRR@k = [r <= k] / r and
        NDCG@k = [r <= k] / log2(r + 1). Raises ValueError for an unknown metric.
        """
        name, _, k = metric.partition("@")
        if name not in METRICS or not k.isdigit() or int(k) < 1:
            raise ValueError(f"unknown metric {metric!r}; use hr@k, mrr@k or ndcg@k, as in ndcg@10")
        hit = self.ranks <= int(k)
        gains = {
            "hr": np.ones(len(self.ranks)),
            "mrr": 1 / self.ranks,
            "ndcg": 1 / np.log2(self.ranks + 1),
        }
        return np.where(hit, gains[name], 0.0)

    def metrics(self, k: Sequence[int] = (5, 10, 20)) -> dict[str, float]:
        """Means over the users: {"hr@5": ..., "mrr@5": ..., "ndcg@5": ..., "hr@10": ...}."""
        names = [f"{name}@{cut}" for cut in k for name in METRICS]
        return {name: float(self.values(name).mean()) for name in names}


@torch.no_grad()
def evaluate(model: Scorer, data: SequenceData, part: Literal["valid", "test"] = "test") -> Ranks:
    """Rank each user's target among all items of the catalogue.

    Items with the target's score rank above it, so that a model gains nothing from equal scores.
    NaN counts against the model too: as the target's score it ranks last, as another item's above
    the target. Raises ValueError for an unknown part or if the model scores another number of
    items.
    """
    check_choice("part", part, ("valid", "test"))
    held_out = data.valid if part == "valid" else data.test
    if not isinstance(model, nn.Module):
        return Ranks(_ranks(model, data.n_items, held_out, held_out.targets.device))
    device, training = next(model.parameters()).device, model.training
    model.eval()
    try:
        return Ranks(_ranks(model, data.n_items, held_out, device))
    finally:
        model.train(training)


def evaluate_together(
    processes: Processes,
    model: SequentialRecommender,
    data: SequenceData,
    part: Literal["valid", "test"],
) -> Ranks:
    """`evaluate`, with the users shared among the processes. Errors as for `evaluate`."""
    if processes.count == 1:
        return evaluate(model, data, part)
    held_out = data.valid if part == "valid" else data.test
    split = (t.tensor_split(processes.count) for t in (held_out.contexts, held_out.targets))
    own = HeldOut(*(parts[processes.index] for parts in split))
    mine = replace(data, valid=own) if part == "valid" else replace(data, test=own)
    ranks = evaluate(model, mine, part).ranks
    return Ranks(np.concatenate(processes.gather([ranks])))


def _users_at_once(n_items: int, device: str) -> int:
    cells = CPU_CELLS if device == "cpu" else GPU_CELLS
    return max(1, min(USERS, cells // n_items))


def _ranks(model: Scorer, n_items: int, held_out: HeldOut, device: torch.device) -> np.ndarray:
    """Ranks [U], computed for a limited number of users at once, who may come from a disk."""
    ranks = []
    size = _users_at_once(n_items, device.type)
    users = held_out.contexts.split(size), held_out.targets.split(size)
    for some, targets in zip(*users, strict=True):
        scores, target = model.scores(some.to(device)), targets.to(device)
        if scores.shape[1] != n_items:
            raise ValueError(
                f"the model scores {scores.shape[1]} items, the data has {n_items}; "
                "evaluate a model on the catalogue that it was built for"
            )
        own = scores.gather(1, target.unsqueeze(1) - 1)
        ranks.append((~(scores < own)).sum(1))
    return torch.cat(ranks).cpu().numpy()
