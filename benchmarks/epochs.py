"""A training epoch of NextItNet and of CpRec, from the seconds of a training step."""

from __future__ import annotations

import math
from typing import Any

import torch

from benchmarks.child import Work, chosen_device, require
from benchmarks.contest import Side, case
from cprec_lib import ModelConfig, SequentialRecommender, count_parameters, cprec, nextitnet
from cprec_lib.logs.synthetic import Synthetic

TITLE = "A training epoch of NextItNet and of CpRec"
BATCH, LENGTH = 32, 50
# The time depends on sizes only, so a synthetic log of MovieLens-1M's size stands for it.
LOGS = {
    "MovieLens-1M's size": {"items": 3_416, "windows": 20_000},
    "300,000 items": {"items": 300_000, "windows": 20_000},
}
WIDTHS, QUICK = (64, 256, 512), (64,)


def row(quick: bool) -> dict[str, Any]:
    """Seconds of a step and the steps per epoch, by log and width."""
    cases = []
    for name, log in LOGS.items():
        for width in QUICK if quick else WIDTHS:
            found = case(f"{name}, width {width}", _sides(log["items"], width), rounds=2)
            cases.append({**found, "steps_per_epoch": math.ceil(log["windows"] / BATCH)})
    return {"title": TITLE, "cases": cases, "positions_per_step": BATCH * LENGTH}


def _sides(n_items: int, width: int) -> list[Side]:
    def side(model: str, calls: int) -> Side:
        options = {"model": model, "n_items": n_items, "width": width}
        return Side(model, "benchmarks.epochs:step", options, "targets", calls)

    # With a large catalogue a step of NextItNet takes seconds.
    return [side("CpRec", 3), side("NextItNet", 1 if n_items > 100_000 else 3)]


def step(model: str, n_items: int, width: int) -> Work:
    """One AdamW step on a fixed batch; returns the targets' number and sum, which must agree."""
    device = chosen_device()
    config = nextitnet(n_items, width) if model == "NextItNet" else cprec(n_items, width)
    require(needed(config))
    recommender = SequentialRecommender(config).to(device)
    optimizer = torch.optim.AdamW(recommender.parameters(), fused=True)
    for parameter in recommender.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()  # AdamW allocates its moments in the first step
    log = Synthetic(items=n_items, users=BATCH, length=LENGTH + 1)
    windows = torch.tensor(log.interactions()["item"].to_numpy()).view(BATCH, -1).to(device)

    def work() -> list[float]:
        optimizer.zero_grad(set_to_none=True)
        loss = recommender.loss(windows)
        loss.backward()
        optimizer.step()
        assert math.isfinite(float(loss.detach()))  # waits for a GPU
        return [windows[:, 1:].numel(), int(windows[:, 1:].sum())]

    return work


def needed(config: ModelConfig) -> int:
    """Bytes of weights, gradients and AdamW's two moments; the logits count as one full table."""
    return 4 * (4 * count_parameters(config).total + config.n_items * config.width)
