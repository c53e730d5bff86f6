"""A search of one user in a rounded and in a pruned model, beside its float32 version.

The models take turns in one process, on one thread. The time is that of the thread on its core, so
that waiting for another program does not count. The fastest round of each is compared.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch

from benchmarks.child import one_thread
from cprec_lib import ModelConfig, SequentialRecommender, cprec, nextitnet
from cprec_lib.compress.compressor import Compressor, compress_with
from cprec_lib.compress.pruning import Pruning
from cprec_lib.compress.quantisation import Rounding

TITLE = "A search of one user in a rounded model, one thread"
PLAIN, K, LENGTH = "float32", 10, 20
AIM = 1.5
"""A rounded model's search may take so many times as long as that of its float32 version."""
FORMS: dict[str, Compressor] = {
    "int8": Rounding(8),
    "int4": Rounding(4),
    "int4 in groups of 16": Rounding(4, 16),
    "pruned to a tenth": Pruning(0.1),
}
SIZES = (
    *((n, 64) for n in (2_000, 10_000, 30_000, 100_000)),
    *((n, 256) for n in (2_000, 20_000, 100_000)),
)
QUICK = ((2_000, 64),)
ROUNDS, WARM_UP = 100, 2


def row(quick: bool) -> dict[str, Any]:
    """Seconds of each round, by model, catalogue and width, and how many times as long."""
    cases = []
    for n_items, width in QUICK if quick else SIZES:
        for name, config in _configs(n_items, width).items():
            case = f"{name}, {n_items:,} items, width {width}"
            seconds = searches(config, FORMS)
            slower = times_as_long(seconds)
            print(f"  {case}: " + ", ".join(f"{k} {v:.2f}" for k, v in slower.items()), flush=True)
            sides = {side: {"seconds": rounds} for side, rounds in seconds.items()}
            cases.append({"case": case, "ours": PLAIN, "sides": sides, "times_as_long": slower})
    return {"title": TITLE, "threads": 1, "aim": AIM, "cases": cases}


def _configs(n_items: int, width: int) -> dict[str, ModelConfig]:
    return {
        "NextItNet": nextitnet(n_items, width),
        "CpRec": cprec(n_items, width, (n_items // 20, n_items // 5)),
    }


def searches(
    config: ModelConfig, forms: Mapping[str, Compressor], rounds: int = ROUNDS
) -> dict[str, list[float]]:
    """Seconds of a thread for each round of a search, of the float32 model and of each form."""
    model = SequentialRecommender(config).eval()
    models = {PLAIN: model, **{name: compress_with(model, form) for name, form in forms.items()}}
    drawn = torch.randint(1, config.n_items + 1, (LENGTH,), generator=torch.Generator())
    history = [drawn.tolist()]
    found: dict[str, list[float]] = {name: [] for name in models}
    with one_thread():
        for number in range(WARM_UP + rounds):
            for name, each in models.items():
                each.recommend(history, K)  # brings its weights back into the caches
                started = time.thread_time()
                each.recommend(history, K)
                if number >= WARM_UP:
                    found[name].append(time.thread_time() - started)
    return found


def times_as_long(seconds: Mapping[str, list[float]]) -> dict[str, float]:
    """The fastest round of each form over that of the float32 model."""
    return {
        name: min(rounds) / min(seconds[PLAIN]) for name, rounds in seconds.items() if name != PLAIN
    }
