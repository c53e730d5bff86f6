"""Train and evaluate RecBole's NextItNet in turn; runs in RecBole's own Python.

`python recbole_child.py FOLDER`: task.json in the folder gives the budget, log/log.inter is the
data. Writes result.json and held_out.npz there; RecBole writes its own files too.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.model.sequential_recommender import NextItNet
from recbole.trainer import Trainer
from recbole.utils import init_seed

# Model and training keep RecBole's defaults; these settings fix data, split and metrics.
# For a sequential model RecBole keeps the items of the history in the ranking: its
# FullSortEvalDataLoader returns None for them, and only the padding's score becomes -inf.
SETTINGS: dict[str, Any] = {
    "data_path": ".",
    "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
    "train_neg_sample_args": None,  # as loss_type CE, the model's default, requires
    "eval_args": {
        "split": {"LS": "valid_and_test"},
        "group_by": "user",
        "order": "TO",
        "mode": "full",
    },
    "metrics": ["NDCG", "Hit", "MRR"],
    "topk": [10],
    "valid_metric": "NDCG@10",
    "metric_decimal_place": 8,
}
PARTS = 4
SHOWN = ("embedding_size", "block_num", "dilations", "kernel_size", "reg_weight", "loss_type")
SHOWN += ("MAX_ITEM_LIST_LENGTH", "learner", "learning_rate", "train_batch_size", "weight_decay")
SHOWN += ("seed",)


def prepare(task: dict[str, Any]) -> tuple[Trainer, Any, Any]:
    """Trainer, training batches and validation batches, in the order of RecBole's `run_recbole`.

    RecBole's `fit` does the same as `main` but does not return the seconds of an epoch.
    """
    # The name must not be ml-100k, or RecBole would use the copy that it contains.
    config = Config("NextItNet", "log", config_dict={**SETTINGS, "use_gpu": task["cuda"]})
    init_seed(config["seed"], config["reproducibility"])
    train, valid, _ = data_preparation(config, create_dataset(config))
    init_seed(config["seed"] + config["local_rank"], config["reproducibility"])
    model = NextItNet(config, train._dataset).to(config["device"])
    trainer = Trainer(config, model)
    trainer.eval_collector.data_collect(train)
    return trainer, train, valid


def stretches(trainer: Trainer, train: Any, valid: Any, budget: float) -> Iterator[dict[str, Any]]:
    """Train and evaluate in turn until `budget` seconds of training are spent, at least once.

    An epoch takes minutes on a CPU, so the model is evaluated `PARTS` times per epoch.
    """
    seconds, steps = 0.0, 0
    size = -(-len(train) // PARTS)
    while seconds < budget:
        started = time.perf_counter()
        if steps % len(train) == 0:
            batches = iter(train)  # another epoch, shuffled anew
        part = list(islice(batches, size))
        steps += len(part)
        trainer._train_epoch(part, steps // len(train))
        seconds += time.perf_counter() - started  # its losses have been read, so a GPU has finished
        metrics = trainer.evaluate(valid, load_best_model=False)
        found = {name: float(value) for name, value in metrics.items()}
        yield {"epoch": steps / len(train), "seconds": seconds, **found}


@torch.no_grad()
def held_out(trainer: Trainer, valid: Any) -> dict[str, np.ndarray]:
    """Users, contexts, targets and scores [U, N + 1] of the validation part; original ids."""
    trainer.model.eval()
    batches = [batch for batch, *_ in valid]
    scores = [trainer.model.full_sort_predict(b.to(trainer.device)).cpu() for b in batches]
    parts = {"users": "user_id", "targets": "item_id", "contexts": "item_id_list"}
    arrays = {name: torch.cat([b[field] for b in batches]) for name, field in parts.items()}
    tokens = valid._dataset.field2id_token
    return {
        **{name: array.cpu().numpy() for name, array in arrays.items()},
        "scores": torch.cat(scores).numpy(),
        "user_tokens": np.asarray(tokens["user_id"], dtype=str),
        "item_tokens": np.asarray(tokens["item_id"], dtype=str),
    }


def main(folder: Path) -> None:
    """Read the task, train, and write the results."""
    os.chdir(folder)  # RecBole creates folders in its working directory
    task = json.loads(Path("task.json").read_text(encoding="utf-8"))
    torch.set_num_threads(task["threads"])
    trainer, train, valid = prepare(task)
    curve = []
    for entry in stretches(trainer, train, valid, task["budget"]):
        curve.append(entry)
        print(
            f"  RecBole, epoch {entry['epoch']:.2f}: {entry['seconds']:.0f} s, "
            f"NDCG@10 {entry['ndcg@10']:.4f}",
            flush=True,
        )
    result = {
        "curve": curve,
        "device": trainer.device.type,
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "samples": len(train._dataset),
        "settings": {name: trainer.config[name] for name in SHOWN},
    }
    np.savez(folder / "held_out.npz", **held_out(trainer, valid))
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv.pop(1)).resolve())  # popped, because RecBole reads the command line too
