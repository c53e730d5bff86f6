"""The rules of the top-k search compared: how many tail blocks each spares, and what it misses."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from cprec_lib.model.bounds import TailBounds
from cprec_lib.model.search import Found
from cprec_lib.model.softmax import BlockSoftmax


@torch.no_grad()
def compare_rules(softmax: BlockSoftmax, hidden: Tensor, k: int = 10) -> dict[str, float]:
    """How much work each rule of a top-k search saves for hidden vectors [T, d], and what it costs.

    "spared_by_" tokens, bounds, early_stopping: the share of the T (n - 1) pairs of a vector and a
    tail block that the rule does not compute. "missed_by_early_stopping": the share of the T lists
    in which the rule of CpRec's authors finds other items than the exact search. Raises ValueError
    without vectors and as `top_k` does, TypeError as `TailBounds` does.
    """
    if len(hidden) == 0:
        raise ValueError("no hidden vectors, so there is nothing to search for")
    bound = TailBounds(softmax)
    exact, tokens = _spared(softmax, hidden, lambda some: softmax.search(some, k))
    _, bounds = _spared(softmax, hidden, lambda some: softmax.search(some, k, bound=bound))
    rule, early = _spared(softmax, hidden, lambda some: softmax.early_stopping_search(some, k))
    return {
        "spared_by_tokens": tokens,
        "spared_by_bounds": bounds,
        "spared_by_early_stopping": early,
        "missed_by_early_stopping": float((rule != exact).any(1).float().mean()),
    }


def _spared(
    softmax: BlockSoftmax, hidden: Tensor, search: Callable[[Tensor], Found]
) -> tuple[Tensor, float]:
    """The items that a search finds, and the share of the pairs that it does not compute."""
    found = [search(some) for some in hidden.split(64)]
    opened, pairs = sum(sum(part.opened) for part in found), len(hidden) * len(softmax.tail_tables)
    return torch.cat([part.items for part in found]), 1 - opened / pairs
