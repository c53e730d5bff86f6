"""How time and memory of loss and gradients grow with the catalogue, for a head of fixed size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from benchmarks.child import Work, chosen_device, require
from benchmarks.contest import Side, case
from cprec_lib import BlockPartition, BlockSoftmax, FullSoftmax

TITLE = "Growth with the catalogue: loss and gradients, width 64, 256 predictions"
WIDTH, TOKENS, CUTOFFS = 64, 256, (1_000, 5_000)
SIZES, QUICK = (10_000, 100_000, 1_000_000, 10_000_000), (10_000, 100_000, 1_000_000)


def row(quick: bool) -> dict[str, Any]:
    """Times and memory by size, and the exponents of the curves from 100,000 items on."""
    sizes = QUICK if quick else SIZES
    cases = [case(f"{n_items:,} items", _sides(n_items), 2, 1e-3) for n_items in sizes]
    exponents = {
        side: {what: _exponent(sizes, cases, side, what) for what in ("seconds", "bytes")}
        for side in ("BlockSoftmax", "FullSoftmax")
    }
    print(f"  exponents: {exponents}", flush=True)
    return {"title": TITLE, "items": sizes, "cases": cases, "exponents": exponents}


def _exponent(
    sizes: Sequence[int], cases: Sequence[dict[str, Any]], side: str, what: str
) -> float | None:
    """Slope of the log of the median against the log of N; None with fewer than two points."""
    points = [
        (np.log(n_items), np.log(np.median(case["sides"][side][what])))
        for n_items, case in zip(sizes, cases, strict=True)
        if what in case["sides"][side] and n_items >= 100_000
    ]
    return float(np.polyfit(*zip(*points, strict=True), 1)[0]) if len(points) > 1 else None


def _sides(n_items: int) -> list[Side]:
    calls = 3 if n_items < 1_000_000 else 1
    return [
        Side(name, "benchmarks.growth:both_ways", {"layer": name, "n_items": n_items}, name, calls)
        for name in ("BlockSoftmax", "FullSoftmax")
    ]


def both_ways(layer: str, n_items: int) -> Work:
    """Loss and gradients of one batch: [loss]."""
    blocks = layer == "BlockSoftmax"
    # Weights, their gradient and as many logits; blocks have more logits than weights.
    require(4 * n_items * (28 if blocks else 3 * WIDTH + 10))
    device = chosen_device()
    torch.manual_seed(0)
    partition = BlockPartition.decaying(n_items, CUTOFFS, WIDTH)
    softmax = (BlockSoftmax(partition) if blocks else FullSoftmax(WIDTH, n_items)).to(device)
    hidden = torch.randn(TOKENS, WIDTH, device=device, requires_grad=True)
    targets = (n_items ** torch.rand(TOKENS, device=device)).long().clamp(1, n_items)

    def work() -> list[float]:
        softmax.zero_grad(set_to_none=True)
        mean = softmax.mean_nll(hidden, targets)
        mean.backward()
        return [float(mean.detach())]

    return work
