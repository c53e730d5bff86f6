"""Training epochs of NextItNet and of CpRec on a GPU, by precision: all of `fit`'s epoch."""

from __future__ import annotations

import gc
from typing import Any

import torch

from cprec_lib import SequentialRecommender, TrainConfig, cprec, fit, nextitnet
from cprec_lib.sequences import SequenceData
from cprec_lib.synthetic import Synthetic
from cprec_lib.timing import speed_up

TITLE = "A training epoch on a GPU, at MovieLens-1M's size"
# The time depends on sizes, not on what the ids are: a log as large as MovieLens-1M stands for it.
LOG = Synthetic(items=3_416, users=6_040, length=165)
WIDTH, BATCH, LENGTH, EPOCHS = 256, 128, 100, 5
WAYS: dict[str, dict[str, Any]] = {
    "float32": {},
    "bfloat16": {"precision": "bfloat16"},
    "bfloat16, compiled": {"precision": "bfloat16", "compile": True},
}


def row(quick: bool) -> dict[str, Any]:
    """Seconds of each epoch but the first, which loads and compiles; or why there are none."""
    if not torch.cuda.is_available():
        print("  skipped: torch sees no GPU", flush=True)
        return {"title": TITLE, "skipped": "torch sees no GPU"}
    data = SequenceData.from_interactions(LOG.interactions(), max_len=LENGTH)
    cases = [_case(way, options, data) for way, options in WAYS.items() if not quick or not options]
    return {"title": TITLE, "width": WIDTH, "batch_size": BATCH, "max_len": LENGTH, "cases": cases}


def _case(way: str, options: dict[str, Any], data: SequenceData) -> dict[str, Any]:
    plan = TrainConfig(epochs=EPOCHS, patience=EPOCHS, batch_size=BATCH, **options)
    sides = {name: _epochs(name, plan, data) for name in ("CpRec", "NextItNet")}
    seconds = {name: side["seconds"] for name, side in sides.items()}
    ratios = speed_up(seconds, "CpRec", "NextItNet")
    for name, each in seconds.items():
        print(f"  {way}, {name}: {', '.join(f'{s:.2f}' for s in each)} s", flush=True)
    return {
        "case": f"width {WIDTH}, {way}",
        "ours": "CpRec",
        "sides": sides,
        "times as fast": {"NextItNet": ratios},
        "times the memory": {"NextItNet": sides["NextItNet"]["bytes"] / sides["CpRec"]["bytes"]},
    }


def _epochs(name: str, plan: TrainConfig, data: SequenceData) -> dict[str, Any]:
    """Seconds of the epochs after the first, and the most bytes that were allocated."""
    gc.collect()
    torch.cuda.reset_peak_memory_stats()
    config = {"CpRec": cprec, "NextItNet": nextitnet}[name](data.n_items, WIDTH)
    history = fit(SequentialRecommender(config).to("cuda"), data, plan, progress=False)
    return {
        "seconds": [epoch.seconds for epoch in history.epochs[1:]],
        "bytes": torch.cuda.max_memory_allocated(),
    }
