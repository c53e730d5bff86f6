"""Made-up records for tests: every field that a record must have."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cprec_lib.evidence.records import Record, pack_ranks, sha256_of
from cprec_lib.train.evaluation import Ranks


def record(variant: str, ranks: Sequence[int] | np.ndarray = (1,), **more: Any) -> Record:
    """A record of users whose targets have these ranks; `more` are other values of its fields."""
    found = Ranks(np.asarray(ranks))
    whole: dict[str, Any] = {
        "variant": variant,
        "dataset": "toy",
        "seed": 0,
        "model_config": {"width": 64, "dropout": 0.3},
        "train_config": {"learning_rate": 0.01},
        "max_len": 50,
        "split": "leave_one_out",
        "split_seed": 0,
        "users": None,
        "parameters": 100,
        "valid": {"ndcg@10": 0.1},
        "test": found.metrics(),
        "test_by_popularity": [],
        "test_ranks": pack_ranks(found.ranks),
        "n_items": 100,
        "n_users": len(found.ranks),
        "dropped_users": 0,
        "n_interactions": 1000,
        "data_sha256": "0" * 64,
        "device": "cpu",
        "hardware": "x86_64",
        "threads": 1,
        "versions": {"torch": "2.13.0"},
        "commit": None,
        "date": "2026-01-02",
        **more,
    }
    fixing = {key: whole[key] for key in ("model_config", "train_config", "seed", "max_len")}
    return {"config_sha256": sha256_of(fixing), **whole}  # type: ignore[typeddict-item]
