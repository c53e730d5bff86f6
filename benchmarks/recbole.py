"""RecBole's NextItNet and ours on ml-100k: seconds of training until a validation NDCG@10.

`python -m benchmarks.recbole` runs this row alone.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from benchmarks.child import chosen_device
from cprec_lib.data.sequences import SequenceData
from cprec_lib.evidence.settings import setting_of
from cprec_lib.logs.datasets import load_interactions
from cprec_lib.model.config import nextitnet
from cprec_lib.model.cost import count_parameters
from cprec_lib.model.recommender import SequentialRecommender
from cprec_lib.train.baselines import Popularity
from cprec_lib.train.checkpoints import Epoch
from cprec_lib.train.evaluation import evaluate
from cprec_lib.train.training import fit
from tools.set_up import environment_python

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / "build" / "recbole"
REQUIREMENTS = ("numpy<2", "recbole==1.2.1", f"torch=={torch.__version__.partition('+')[0]}")
TITLE = "NextItNet on MovieLens-100K: seconds to a validation NDCG@10, beside RecBole 1.2.1"
DATASET, OURS, PEER = "ml-100k", "cprec_lib", "RecBole 1.2.1"
BUDGET = 420.0
# RecBole's default dilations: 5 times [1, 4]. The learning rate was tuned for (1, 4, 1, 4).
DILATIONS, LEARNING_RATE, SEEDS = (1, 4) * 5, 0.01, (0, 1, 2)
METRICS = ("ndcg@10", "hr@10", "mrr@10")
THEIR_NAMES = {"ndcg@10": "ndcg@10", "hr@10": "hit@10", "mrr@10": "mrr@10"}

Curve = list[dict[str, Any]]


class NoPeer(Exception):
    """RecBole could not be installed; the message gives the reason and the commands."""


def row(quick: bool) -> dict[str, Any]:
    """The row of the benchmark: curves and seconds of both sides and the ratio; or why skipped."""
    if quick:
        reason = f"RecBole trains for {BUDGET / 60:.0f} minutes, and the row takes 9 in all"
        print(f"  skipped: {reason}", flush=True)
        return {"title": TITLE, "skipped": reason}
    try:
        python = peer(ENVIRONMENT, REQUIREMENTS)
    except NoPeer as error:
        print(f"  skipped: {error}", flush=True)
        return {"title": TITLE, "skipped": str(error)}
    return compare(load_interactions(DATASET), python, BUDGET, SEEDS)


def compare(
    table: pd.DataFrame, python: Path, budget: float, seeds: Sequence[int]
) -> dict[str, Any]:
    """Train RecBole's model for `budget` seconds, then ours with each seed until it is as good.

    Raises ArithmeticError if the two do not predict the same targets from the same contexts, or
    if their evaluations of RecBole's scores differ.
    """
    data = SequenceData.from_interactions(table, setting_of(DATASET).max_len)
    with tempfile.TemporaryDirectory() as folder:
        theirs = train_theirs(table, python, Path(folder), budget)
        found = np.load(Path(folder) / "held_out.npz")
        check_same(data, table, {name: found[name] for name in found.files}, theirs["curve"][-1])
    target = best(theirs["curve"])["ndcg@10"]
    runs = [ours(data, seed, target) for seed in seeds]
    return {
        "title": TITLE,
        "sizes": {
            "users": len(data.valid.targets),
            "items": data.n_items,
            "interactions": len(table),
            "predictions_per_epoch": theirs["samples"],
        },
        "cases": [{**race(theirs, runs), **_beside_popularity(data, target)}],
    }


def _beside_popularity(data: SequenceData, target: float) -> dict[str, Any]:
    """Popularity's NDCG@10; a target below it was reached before RecBole learned from the order."""
    popularity = evaluate(Popularity(data), data, "valid").metrics()["ndcg@10"]
    relation = "below" if target < popularity else "not below"
    print(f"  {target:.4f} is {relation} popularity's {popularity:.4f}", flush=True)
    return {"popularity_ndcg@10": popularity, "target_below_popularity": target < popularity}


# ---- RecBole's environment ----


def peer(folder: Path, requirements: Sequence[str]) -> Path:
    """The Python of an environment with these requirements, which is made if it is not complete.

    Raises NoPeer if it cannot be made.
    """
    python, stamp = environment_python(folder), folder / "installed.txt"
    wanted = "\n".join(requirements)
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    print(f"  making {folder} with {', '.join(requirements)}: 1.6 GB and more, once", flush=True)
    make = [sys.executable, "-m", "venv", "--clear", str(folder)]
    # Few of its 13,000 modules are imported, so none is compiled beforehand.
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--no-compile"]
    pip += requirements
    for command in (make, pip):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
            raise NoPeer(f"{said[-1]}; to install it: {_shell(make)} && {_shell(pip)}")
    stamp.write_text(wanted, encoding="utf-8")
    return python


def _shell(command: Sequence[str]) -> str:
    return " ".join(f"'{word}'" if set(word) & set(" <>") else word for word in command)


# ---- The two sides ----


def write_atomic(table: pd.DataFrame, path: Path) -> None:
    """Write a sorted table as RecBole's atomic file, with each row's place as its time.

    Places have no ties, which two programs might order differently. Up to 16 million places are
    exact in the 32-bit floats in which RecBole stores times. Unix seconds are not exact: they are
    rounded to multiples of 64.
    """
    columns = {"user_id:token": table["user"], "item_id:token": table["item"]}
    places = np.arange(1, len(table) + 1)
    frame = pd.DataFrame({**columns, "timestamp:float": places})
    frame.to_csv(path, sep="\t", index=False)


def train_theirs(table: pd.DataFrame, python: Path, folder: Path, budget: float) -> dict[str, Any]:
    """Train RecBole's NextItNet in `folder`; returns its result, see `benchmarks.recbole_child`.

    Raises RuntimeError, with the end of what it printed, if RecBole fails.
    """
    (folder / "log").mkdir()
    write_atomic(table, folder / "log" / "log.inter")
    threads, cuda = torch.get_num_threads(), chosen_device().type == "cuda"
    task = {"budget": budget, "threads": threads, "cuda": cuda}
    (folder / "task.json").write_text(json.dumps(task), encoding="utf-8")
    # Without -P, `import recbole` would find this file, which is in the child's folder.
    command = [str(python), "-P", str(ROOT / "benchmarks" / "recbole_child.py"), str(folder)]
    print(f"  RecBole trains for {budget:.0f} s, to the end of a quarter epoch", flush=True)
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"RecBole failed:\n{done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return result


class _Reached(Exception):
    """Ends the training, because the target is reached."""


def ours(data: SequenceData, seed: int, target: float) -> dict[str, Any]:
    """Train our NextItNet of the same shape with the course's setting until it reaches the target.

    Early stopping may end the training before that.
    """
    setting, curve, seconds = setting_of(DATASET), Curve(), 0.0

    def log(epoch: Epoch) -> None:
        nonlocal seconds
        seconds += epoch.seconds
        found = {name: epoch.valid[name] for name in METRICS}
        curve.append({"epoch": epoch.epoch, "seconds": seconds, **found})
        reached = epoch.valid["ndcg@10"]
        print(f"  ours, seed {seed}: {seconds:.1f} s, NDCG@10 {reached:.4f}", flush=True)
        if reached >= target:
            raise _Reached

    config = nextitnet(data.n_items, setting.width, dilations=DILATIONS, dropout=setting.dropout)
    model = SequentialRecommender(config, seed).to(chosen_device())
    with suppress(_Reached):
        fit(model, data, setting.training(LEARNING_RATE, seed), progress=False, log=log)
    return {"seed": seed, "curve": curve, "parameters": count_parameters(config).total}


# ---- Checks that both sides solve the same task ----


def check_same(
    data: SequenceData,
    table: pd.DataFrame,
    found: Mapping[str, np.ndarray],
    theirs: Mapping[str, float],
) -> None:
    """Raise ArithmeticError unless RecBole's validation equals ours.

    Users, contexts and targets must be the same and in the same order. Our metrics of the scores
    in `found` must equal `theirs`, which RecBole's evaluator computed.
    """
    own = {str(item): place for place, item in enumerate(data.catalogue.items, start=1)}
    ids = np.array([own.get(token, 0) for token in found["item_tokens"]])  # the padding is 0
    users = found["user_tokens"][found["users"]].tolist()
    pairs = {
        "users": (users, [str(user) for user in pd.unique(table["user"])]),
        "items": (sorted(ids), list(range(data.n_items + 1))),
        "targets": (ids[found["targets"]], data.valid.targets.numpy()),
        "contexts": (left_padded(ids[found["contexts"]]), data.valid.contexts.numpy()),
    }
    for name, (one, other) in pairs.items():
        if not np.array_equal(one, other):
            raise ArithmeticError(f"the {name} of RecBole's validation differ from ours")
    scores = torch.from_numpy(found["scores"][:, np.argsort(ids)[1:]])
    metrics = evaluate(_Fixed(scores), data, "valid").metrics()
    for name in METRICS:
        if not math.isclose(metrics[name], theirs[THEIR_NAMES[name]], abs_tol=1e-4):
            raise ArithmeticError(
                f"{name} of the same scores: {metrics[name]} by our evaluation, "
                f"{theirs[THEIR_NAMES[name]]} by RecBole's"
            )


def left_padded(contexts: np.ndarray) -> np.ndarray:
    """Move the zeros of RecBole's rows [U, L], which stand on the right, to the left."""
    filled = contexts > 0
    return np.take_along_axis(contexts, np.argsort(filled, axis=1, kind="stable"), axis=1)


class _Fixed:
    """Precomputed scores [U, N], returned in the order of the users."""

    def __init__(self, scores: Tensor) -> None:
        self._left = scores

    def scores(self, contexts: Tensor) -> Tensor:
        given, self._left = self._left.tensor_split([len(contexts)])
        return given


# ---- The figure ----


def race(theirs: dict[str, Any], runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Seconds of both sides to RecBole's best NDCG@10 within its budget, and ratios.

    A run of ours that reaches the target in its first epoch may have reached it earlier. Its
    seconds are then an upper bound, and the ratio is a lower bound. If a run never reaches the
    target, there is no ratio.
    """
    top = best(theirs["curve"])
    seconds, target = top["seconds"], top["ndcg@10"]
    reached = [first_reaching(run["curve"], target) for run in runs]
    ratios = [seconds / s for s in reached if s is not None]
    complete = len(ratios) == len(runs)
    at_most = any(run["curve"][0]["ndcg@10"] >= target for run in runs)
    found = {PEER: (statistics.median(ratios), min(ratios), max(ratios))} if complete else {}
    if complete:
        least = "at least " if at_most else ""
        print(f"  NDCG@10 {target:.4f}: {least}{found[PEER][0]:.0f} times as fast", flush=True)
    else:
        print(f"  NDCG@10 {target:.4f} is not reached by ours with every seed", flush=True)
    return {
        "case": f"validation NDCG@10 of {target:.4f}",
        "ours": OURS,
        "target": target,
        "sides": {
            OURS: {"seconds": reached, "runs": list(runs)},
            PEER: {"seconds": [seconds], **theirs},
        },
        "times_as_fast": found,
        "lower_bound": at_most,
        "seconds_per_epoch": {
            OURS: statistics.median(map(_per_epoch, runs)),
            PEER: _per_epoch(theirs),
        },
    }


def best(curve: Curve) -> dict[str, Any]:
    """The first entry with the highest NDCG@10."""
    return max(curve, key=lambda entry: entry["ndcg@10"])


def first_reaching(curve: Curve, target: float) -> float | None:
    """Seconds after the first epoch whose NDCG@10 is at least the target; None without one."""
    return next((e["seconds"] for e in curve if e["ndcg@10"] >= target), None)


def _per_epoch(run: dict[str, Any]) -> float:
    last = run["curve"][-1]
    return float(last["seconds"] / last["epoch"])


def main() -> None:
    """Run this row alone, with another budget or an existing environment."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recbole", description=__doc__)
    parser.add_argument("--budget", type=float, default=BUDGET, help="seconds for RecBole")
    parser.add_argument("--python", type=Path, help="Python of an environment with RecBole")
    parser.add_argument("--users", type=int, help="number of users, for a trial; default: all")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, help="file for the result, JSON")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    table = load_interactions(DATASET)
    if given.users:
        table = table[table["user"].isin(pd.unique(table["user"])[: given.users])]
    python = given.python or peer(ENVIRONMENT, REQUIREMENTS)
    result = compare(table, python, given.budget, SEEDS)
    if given.out:
        given.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
