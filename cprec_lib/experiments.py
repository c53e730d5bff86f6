"""Named runs whose results are recorded, one small JSON each, and read back with intervals."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from cprec_lib.datasets import load_interactions
from cprec_lib.evaluation import Ranks, evaluate
from cprec_lib.files import make_folder, write_text
from cprec_lib.ledger import count_parameters
from cprec_lib.partition import cutoffs_from_shares
from cprec_lib.recommender import ModelConfig, cprec, nextitnet
from cprec_lib.runs import HISTORY, Run, train
from cprec_lib.sequences import SequenceData
from cprec_lib.sharing import SHARING
from cprec_lib.training import TrainConfig

BASELINE, COMPRESSED, NARROW = "NextItNet", "CpRec", "narrower NextItNet"


def ablation(
    n_items: int, width: int = 64, dropout: float = 0.3, cutoffs: tuple[float, ...] = (0.1, 0.33)
) -> dict[str, ModelConfig]:
    """Models that differ from NextItNet or from CpRec in one respect, by name.

    Each part of CpRec alone (input, softmax, flat low-rank softmax, each sharing scheme), both
    decompositions, all of CpRec, CpRec with wider tails, and the plain rival: an uncompressed
    model so narrow that it is no larger than CpRec.
    """
    full = nextitnet(n_items, width, dropout=dropout)
    whole = cprec(n_items, width, cutoffs, dropout=dropout)
    parts = replace(full, cutoffs=whole.cutoffs)
    shared = {f"sharing {s}": replace(full, sharing=s) for s in SHARING if s != "none"}
    return {
        BASELINE: full,
        "input only": replace(parts, block_input=True),
        "softmax only": replace(parts, block_softmax=True),
        "flat low-rank softmax": replace(parts, block_softmax=True, tree=False),
        "input and softmax": replace(parts, block_input=True, block_softmax=True),
        **shared,
        COMPRESSED: whole,
        "CpRec, factor 2": replace(whole, factor=2),
        NARROW: _no_larger(full, count_parameters(whole).total),
    }


def _no_larger(config: ModelConfig, parameters: int) -> ModelConfig:
    """The widest version of `config` with at most so many parameters."""
    widths = range(config.width, 0, -1)
    narrower = (replace(config, width=width) for width in widths)
    return next(c for c in narrower if count_parameters(c).total <= parameters)


def reproduce_ablation(
    dataset: str,
    folder: Path,
    work: Path,
    width: int = 64,
    dropout: float = 0.3,
    seeds: int = 3,
    training: TrainConfig | None = None,
    names: Sequence[str] = (),
) -> Path:
    """Run those models of `ablation` on a data set whose results are not recorded yet.

    All of them, or those in `names`, each with the seeds 0 .. seeds - 1. `dataset` is a name or a
    path. Results go to a folder below `folder`, named for data set, width and dropout, which is
    returned; `work` receives the runs themselves, from which an interrupted one goes on. Raises
    ValueError for an unknown name.
    """
    n_items = SequenceData.from_interactions(load_interactions(dataset)).n_items
    models = ablation(n_items, width, dropout)
    for name in names:
        if name not in models:
            raise ValueError(f"unknown model {name!r}; choose from {', '.join(models)}")
    label = f"{Path(dataset).stem}-w{width}-d{dropout:g}"
    for seed in range(seeds):
        settings = replace(training or TrainConfig(), seed=seed)
        for name in names or models:
            stem = f"{name.lower().replace(',', '').replace(' ', '-')}-s{seed}"
            result = folder / label / f"{stem}.json"
            if not result.exists():
                record(name, dataset, models[name], settings, result, work / label / stem)
    return folder / label


def record(
    name: str, dataset: str, config: ModelConfig, training: TrainConfig, result: Path, work: Path
) -> None:
    """Train one model and write the file `result`: what `runs.train` describes, the training loss,
    and each user's test rank, so that a comparison needs no second training. `work` receives the
    run, and an interrupted run there goes on. Of a path only the file's name is recorded."""
    architecture = asdict(config)
    del architecture["n_items"]
    metrics = train(
        work, dataset, "nextitnet", architecture=architecture, training=training, resume=True
    )
    run = Run.load(work)
    data = run.data()
    ranks = evaluate(run.model, data, "test")
    metrics |= {
        "model": name,
        "dataset": Path(dataset).stem,
        "train_loss": _best_loss(work, metrics["best_epoch"]),
        "test_by_popularity": by_popularity(ranks, data),
        "test_ranks": ranks.ranks.tolist(),
    }
    make_folder(result.parent)
    write_text(result, json.dumps(metrics) + "\n")


def _best_loss(work: Path, best_epoch: int) -> float:
    lines = (work / HISTORY).read_text(encoding="utf-8").splitlines()
    return float(json.loads(lines[best_epoch - 1])["loss"])


def by_popularity(
    ranks: Ranks, data: SequenceData, shares: Sequence[float] = (0.1, 0.33)
) -> list[dict[str, float]]:
    """NDCG@10 of the users whose target lies in the head, in the middle and in the far tail.

    One entry a part, the most popular first: the share of the items where it ends, its users, and
    their mean NDCG@10.
    """
    ends = (*cutoffs_from_shares(data.n_items, shares), data.n_items)
    part = np.searchsorted(ends, data.test.targets.numpy())
    ndcg = ranks.values("ndcg@10")
    return [
        {"end": end, "users": int((part == p).sum()), "ndcg@10": float(ndcg[part == p].mean())}
        for p, end in enumerate((*shares, 1.0))
    ]


def read_results(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Recorded runs by model, one a seed, the baseline first.

    Raises FileNotFoundError if the folder holds none.
    """
    results: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(folder.glob("*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        results.setdefault(result["model"], []).append(result)
    if not results:
        raise FileNotFoundError(f"no results in {folder.name}; `cprec reproduce` makes them")
    order = list(ablation(100))
    return dict(sorted(results.items(), key=lambda entry: order.index(entry[0])))


def values(runs: Iterable[dict[str, Any]], metric: str = "ndcg@10") -> np.ndarray:
    """A metric for each user [U], averaged over the runs (seeds)."""
    each = [Ranks(np.array(run["test_ranks"])).values(metric) for run in runs]
    mean: np.ndarray = np.stack(each).mean(axis=0)
    return mean
