"""Training epochs of NextItNet and of CpRec on a GPU, by precision: `fit` without validation."""

from __future__ import annotations

import gc
from typing import Any

import torch

from cprec_lib import SequentialRecommender, TrainConfig, cprec, fit, nextitnet
from cprec_lib.data.sequences import SequenceData
from cprec_lib.evidence.statistics import speed_up
from cprec_lib.logs.synthetic import Synthetic
from cprec_lib.machine import peak_bytes

TITLE = "A training epoch on a GPU, at MovieLens-1M's size"
# The time depends on sizes only, so a synthetic log of MovieLens-1M's size stands for it.
LOG = Synthetic(items=3_416, users=6_040, length=165)
WIDTH, BATCH, LENGTH, EPOCHS = 256, 128, 100, 5
WAYS: dict[str, dict[str, Any]] = {
    "float32": {},
    "bfloat16": {"precision": "bfloat16"},
    "bfloat16, compiled": {"precision": "bfloat16", "compile": True},
}


def row(quick: bool) -> dict[str, Any]:
    """Seconds of each epoch except the first, which loads and compiles; or why it was skipped."""
    if not torch.cuda.is_available():
        print("  skipped: torch sees no GPU", flush=True)
        return {"title": TITLE, "skipped": "torch sees no GPU"}
    data = SequenceData.from_interactions(LOG.interactions(), max_len=LENGTH)
    ways = list(WAYS)[:1] if quick else list(WAYS)
    cases = [case(way, WIDTH, data, torch.device("cuda")) for way in ways]
    return {"title": TITLE, "batch_size": BATCH, "max_len": LENGTH, "cases": cases}


def case(way: str, width: int, data: SequenceData, device: torch.device) -> dict[str, Any]:
    """Train both models in one of the `WAYS`, one after the other.

    "times_as_fast" compares the nth epoch of one model with the nth of the other. Unlike the sides
    of other rows, the models do not take turns.
    """
    plan = TrainConfig(epochs=EPOCHS, patience=EPOCHS, batch_size=BATCH, **WAYS[way])
    configs = {"CpRec": cprec(data.n_items, width), "NextItNet": nextitnet(data.n_items, width)}
    sides = {}
    for name, config in configs.items():
        gc.collect()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        history = fit(SequentialRecommender(config).to(device), data, plan, progress=False)
        seconds = [epoch.seconds for epoch in history.epochs[1:]]
        sides[name] = {"seconds": seconds, "bytes": peak_bytes(device)}
        print(f"  {way}, {name}: {', '.join(f'{s:.2f}' for s in seconds)} s", flush=True)
    times = {name: side["seconds"] for name, side in sides.items()}
    memory = sides["NextItNet"]["bytes"] / sides["CpRec"]["bytes"]
    return {
        "case": f"width {width}, {way}",
        "ours": "CpRec",
        "sides": sides,
        "times_as_fast": {"NextItNet": speed_up(times, "CpRec", "NextItNet")},
        "times_the_memory": {"NextItNet": memory},
    }
