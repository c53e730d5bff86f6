"""Experiments: the runs of a setting, planned, run in turn, recorded, and repeated."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pandas as pd
import torch

from cprec_lib.data.datasets import load_interactions
from cprec_lib.data.sequences import SequenceData, Split
from cprec_lib.evidence.records import (
    Result,
    by_popularity,
    digest,
    pack_ranks,
    read_all,
    read_result,
    trial_of,
    write_result,
)
from cprec_lib.evidence.settings import Setting, Trial, short_name
from cprec_lib.evidence.timing import latency, race
from cprec_lib.evidence.variants import COUNTING, GROUPS, models
from cprec_lib.machine import Device, choose_device, commit, describe_machine, peak_bytes
from cprec_lib.model.bounds import compare_rules
from cprec_lib.model.config import ModelConfig, config_from_json, cprec, gru4rec, nextitnet, sasrec
from cprec_lib.model.cost import count_parameters
from cprec_lib.model.recommender import ModelConfig, SequentialRecommender
from cprec_lib.model.search import compare_rules
from cprec_lib.model.softmax import BlockSoftmax
from cprec_lib.train.evaluation import Scorer, evaluate
from cprec_lib.train.training import OutOfTime, fit


@dataclass(frozen=True)
class Experiment:
    """One run: a named model on a data set, trained in one way. A model that only counts has
    neither `config` nor `training`."""

    name: str
    dataset: str
    config: ModelConfig | None
    training: TrainConfig | None
    max_len: int
    split: Split
    users: int | None = None

    @property
    def stem(self) -> str:
        """Name of the result's file, without its ending."""
        words = self.name.lower().replace(",", "").replace("%", "").replace("/", "").split()
        if self.training is None:
            return "-".join(words)
        assert self.config
        rate, dropout = self.training.learning_rate, self.config.dropout
        return "-".join([*words, f"lr{rate:g}", f"d{dropout:g}", f"s{self.training.seed}"])

    def describe(self) -> dict[str, Any]:
        """All that fixes the run but the data, as it is recorded."""
        return {
            "model_config": asdict(self.config) if self.config else None,
            "train_config": asdict(self.training) if self.training else None,
            "max_len": self.max_len,
            "split": self.split,
            **({} if self.users is None else {"users": self.users}),
        }


def plan(
    names: Sequence[str], dataset: str, n_items: int, setting: Setting, results: Path
) -> Iterator[Experiment]:
    """The runs of some models, most informative first: the trials of every model with seed 0, then
    the further seeds of each model whose trials are all recorded in `results`.

    A model's next trial may depend on those before it, so the plan grows as results are recorded.

    Raises ValueError if the setting can have none of the models.
    """
    configs, data = models(n_items, setting), (setting.max_len, setting.split, setting.users)

    def run(name: str, trial: Trial, seed: int) -> Experiment:
        rate, dropout = trial
        config = replace(configs[name], dropout=dropout)
        return Experiment(name, dataset, config, setting.training(rate, seed), *data)

    if not any(name in configs or name in COUNTING for name in names):
        raise ValueError(
            f"with {n_items} items and width {setting.width} there is no {' and no '.join(names)}"
        )
    for name in names:
        if name in COUNTING:
            yield Experiment(name, dataset, None, None, *data)
    trained = [name for name in names if name in configs]
    recorded = read_all(results) if any(results.glob("*.json")) else {}
    scores = {name: _scores(recorded.get(name, [])) for name in trained}
    following = {name: setting.next_trial(scores[name]) for name in trained}
    for name in trained:
        for trial in scores[name]:
            yield run(name, trial, 0)
    for trial in setting.trials.items():
        for name in trained:
            if trial not in scores[name]:
                yield run(name, trial, 0)
    for name, following_trial in following.items():
        if following_trial and following_trial not in setting.trials.items():
            yield run(name, following_trial, 0)
    for seed in range(1, setting.seeds):
        for name in trained:
            if following[name] is None:
                yield run(name, max(scores[name], key=scores[name].__getitem__), seed)


def _scores(runs: Sequence[Result]) -> dict[Trial, float]:
    """Validation NDCG@10 of the recorded trials, which have seed 0."""
    scores = {trial_of(run): float(run["valid"]["ndcg@10"]) for run in runs if run["seed"] == 0}
    return {trial: score for trial, score in scores.items() if trial}


def reproduce(
    names: Sequence[str],
    dataset: str,
    setting: Setting,
    results: Path,
    work: Path,
    budget: float = float("inf"),
    device: Device = "auto",
) -> Iterator[tuple[Experiment, Result | None]]:
    """Run what is not recorded yet, one run after the other, and yield each with its result.

    `results` receives the files. `work` receives the runs themselves, from which one that was
    interrupted goes on. When `budget` seconds are spent, the run at hand is left at its last
    checkpoint and yielded with None. Raises ValueError if a recorded result is damaged or of other
    data.
    """
    deadline = time.time() + budget
    while lacking := missing(names, dataset, setting, results):
        experiment = lacking[0]
        work_folder = work / results.name / experiment.stem
        result = _in_fresh_process(experiment, work_folder, deadline - time.time(), device)
        yield experiment, result
        if result is None:
            return
        write_result(results / f"{experiment.stem}.json", result)


def missing(
    names: Sequence[str], dataset: str, setting: Setting, results: Path
) -> list[Experiment]:
    """The runs of `plan` that are not recorded. Raises ValueError as `is_recorded` does."""
    n_items, data_sha256 = _identify(dataset, setting.max_len, setting.split, setting.users)
    return [
        experiment
        for experiment in plan(names, dataset, n_items, setting, results)
        if not is_recorded(experiment, results, data_sha256)
    ]


@cache
def _identify(dataset: str, max_len: int, split: Split, users: int | None) -> tuple[int, str]:
    """Size of a data set's catalogue, and the fingerprint of its table."""
    table = _table(dataset, users)
    return SequenceData.from_interactions(table, max_len, split).n_items, fingerprint(table)


def _table(dataset: str, users: int | None) -> pd.DataFrame:
    """The interactions of a data set, or of so many of its users, always the same ones.

    Raises ValueError for more users than there are, or none.
    """
    table = load_interactions(dataset)
    if users is None:
        return table
    known = table["user"].unique()
    if not 1 <= users <= len(known):
        raise ValueError(f"users {users} is outside 1..{len(known)}, the users of {dataset}")
    drawn = np.random.default_rng(0).permutation(known)[:users]
    return table[table["user"].isin(drawn)].reset_index(drop=True)


def is_recorded(experiment: Experiment, results: Path, data_sha256: str) -> bool:
    """Whether the result of a run is there.

    Raises ValueError if the file is damaged, or of other settings or data: a result is never
    replaced, and never counts for another one.
    """
    path = results / f"{experiment.stem}.json"
    if not path.exists():
        return False
    found = read_result(path)
    # A field that the library got since then had its default.
    if found["model_config"]:
        found["model_config"] = asdict(config_from_json(found["model_config"]))
        found["train_config"] = {**asdict(TrainConfig()), **found["train_config"]}
    wanted = {**experiment.describe(), "data_sha256": data_sha256}
    for name, value in json.loads(json.dumps(wanted)).items():
        theirs = json.loads(json.dumps(found.get(name)))
        if theirs != value:
            raise ValueError(
                f"{path} was recorded with {name} {theirs}, now it is {value}; give the same "
                "options and data, or another folder for the results"
            )
    return True


def _in_fresh_process(*arguments: Any) -> Result | None:
    """`run` in a process of its own, whose peak memory is then that of this run alone."""
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=fresh, initializer=_end_with_parent) as pool:
        return pool.submit(run, *arguments).result()


def _end_with_parent() -> None:
    """Else a run whose command was killed would train on, unseen."""
    parent = multiprocessing.parent_process()
    assert parent

    def wait() -> None:
        parent.join()
        os._exit(1)

    Thread(target=wait, daemon=True).start()


def run(
    experiment: Experiment, work: Path, seconds: float = float("inf"), device: Device = "auto"
) -> Result | None:
    """Train and measure one model; None if `seconds` were spent before its last epoch.

    `work` receives the checkpoint from which the next call goes on.
    """
    deadline = time.time() + seconds
    chosen = choose_device(device)
    table = _table(experiment.dataset, experiment.users)
    data = SequenceData.from_interactions(table, experiment.max_len, experiment.split)
    try:
        model, course = _trained(experiment, data, work, chosen, deadline)
    except OutOfTime:
        return None
    ranks = evaluate(model, data, "test")
    return {
        "model": experiment.name,
        "config_sha256": digest(experiment.describe()),
        "dataset": short_name(experiment.dataset),
        **course,
        "test": ranks.metrics(),
        "test_by_popularity": by_popularity(ranks, data),
        "test_ranks": pack_ranks(ranks.ranks),
        **experiment.describe(),
        **describe_data(table, data),
        **describe_machine(chosen),
        "peak_bytes": peak_bytes(chosen),
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d"),
    }


def _trained(
    experiment: Experiment, data: SequenceData, work: Path, device: torch.device, deadline: float
) -> tuple[Scorer, Result]:
    """The model, and what there is to say of its size, its training and its speed."""
    config, training = experiment.config, experiment.training
    if config is None or training is None:
        counting = COUNTING[experiment.name](data)
        valid = evaluate(counting, data, "valid").metrics()
        return counting, {"valid": valid, "seed": 0, "parameters": 0}
    model = SequentialRecommender(config, training.seed).to(device)
    history = fit(model, data, training, work, resume=True, deadline=deadline)
    ledger = count_parameters(config)
    return model, {
        "valid": history.best.valid,
        "seed": training.seed,
        "parameters": ledger.total,
        "parameters_by_part": ledger.by_part(),
        "bytes": ledger.bytes,
        **history.describe(),
        "latency_ms": latency(model, data.test.contexts),
        **_rules(model, data),
    }


@torch.no_grad()
def _rules(model: SequentialRecommender, data: SequenceData) -> Result:
    """What the rules of a search spare and miss of a model with blocks, for up to 2,048 users."""
    if not isinstance(model.softmax, BlockSoftmax):
        return {}
    contexts = data.test.contexts[:2048].to(next(model.parameters()).device)
    hidden = torch.cat([model.last_hidden(some) for some in contexts.split(64)])
    return {"search_rules": compare_rules(model.softmax, hidden)}


def time_models(
    dataset: str,
    setting: Setting,
    path: Path,
    names: Sequence[str] = GROUPS["rival"],
    device: Device = "auto",
) -> None:
    """Race untrained models of one data set and write the result `path`: see `race`."""
    chosen = choose_device(device)
    table = _table(dataset, setting.users)
    data = SequenceData.from_interactions(table, setting.max_len, setting.split)
    configs = models(data.n_items, setting)
    known = [name for name in names if name in configs]
    built = {name: SequentialRecommender(configs[name]).to(chosen) for name in known}
    result = {
        "dataset": short_name(dataset),
        "width": setting.width,
        "batch_size": setting.batch_size,
        "precision": setting.precision,
        "milliseconds": race(built, data, setting.training(setting.learning_rates[0], seed=0)),
        **describe_data(table, data),
        **describe_machine(chosen),
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d"),
    }
    write_result(path, result)
