"""Experiments: plan the runs of a setting, run them in turn, record them and repeat them."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Any, cast

import numpy as np
import pandas as pd
import torch

from cprec_lib.data.sequences import SequenceData, Split
from cprec_lib.evidence.records import (
    Record,
    by_popularity,
    pack_ranks,
    read_any,
    read_record,
    record_name,
    scores_by_trial,
    sha256_of,
    trial_of,
    tuned,
    write_result,
)
from cprec_lib.evidence.search_rules import compare_rules
from cprec_lib.evidence.settings import Setting, Trial, log_name
from cprec_lib.evidence.timing import latency, race
from cprec_lib.evidence.variants import choose, label, models
from cprec_lib.files import check_writable, make_folder
from cprec_lib.logs.datasets import DATASETS, is_present, load_interactions
from cprec_lib.logs.fingerprint import describe_log, fingerprint
from cprec_lib.machine import Device, choose_device, commit, describe_machine, peak_bytes
from cprec_lib.model.config import ModelConfig
from cprec_lib.model.cost import count_parameters
from cprec_lib.model.recommender import SequentialRecommender
from cprec_lib.model.softmax import BlockSoftmax
from cprec_lib.train.baselines import Bigram, Popularity
from cprec_lib.train.config import TrainConfig
from cprec_lib.train.data_record import describe_sequences
from cprec_lib.train.evaluation import Scorer, evaluate
from cprec_lib.train.training import OutOfTime, fit

COUNTING = {"popularity": Popularity, "bigram": Bigram}
"""The variants that are not trained."""


@dataclass(frozen=True)
class Experiment:
    """One run: a variant, by its key, on a data set, trained in one way.

    A variant that is not trained has neither `config` nor `training`.
    """

    variant: str
    dataset: str
    config: ModelConfig | None
    training: TrainConfig | None
    max_len: int
    split: Split
    split_seed: int = 0
    users: int | None = None

    @property
    def stem(self) -> str:
        """Name of the record's file without its extension."""
        if self.config is None or self.training is None:
            return record_name(self.variant, None, 0)
        trial = self.training.learning_rate, self.config.dropout
        return record_name(self.variant, trial, self.training.seed)

    def describe(self) -> dict[str, Any]:
        """Everything that defines the run except the data, as it is recorded."""
        return {
            "model_config": asdict(self.config) if self.config else None,
            "train_config": asdict(self.training) if self.training else None,
            "max_len": self.max_len,
            "split": self.split,
            "split_seed": self.split_seed,
            "users": self.users,
        }

    def load(self) -> tuple[pd.DataFrame, SequenceData]:
        """The table of interactions and its split. Raises ValueError like `_load`."""
        return _load(self.dataset, self.max_len, self.split, self.split_seed, self.users)


def plan(
    keys: Sequence[str], dataset: str, n_items: int, setting: Setting, results: Path
) -> Iterator[Experiment]:
    """The runs of some variants, most informative first.

    First come the runs that tune each variant, then the further seeds of each variant whose tuning
    is complete in `results`. A variant's next run may depend on earlier ones, so the
    plan grows as results are recorded. Raises ValueError if the setting allows none of the
    variants.
    """
    configs = models(n_items, setting)
    data = (setting.max_len, setting.split, setting.split_seed, setting.users)

    def trained_by(key: str, trial: Trial, seed: int) -> Experiment:
        rate, dropout = trial
        config = replace(configs[key], dropout=dropout)
        return Experiment(key, dataset, config, setting.training(rate, seed), *data)

    if not any(key in configs or key in COUNTING for key in keys):
        raise ValueError(
            f"with {n_items} items and width {setting.width} there is no "
            + " and no ".join(map(label, keys))
        )
    for key in keys:
        if key in COUNTING:
            yield Experiment(key, dataset, None, None, *data)
    trained = [key for key in keys if key in configs]
    recorded = read_any(results)
    scores = {key: scores_by_trial(recorded.get(key, [])) for key in trained}
    following = {key: setting.next_run(scores[key]) for key in trained}
    for key in trained:
        for trial, by_seed in scores[key].items():
            for seed in by_seed:
                yield trained_by(key, trial, seed)
    of_grid = [(trial, 0) for trial in setting.trials.items()]
    for trial, seed in of_grid:
        for key in trained:
            if seed not in scores[key].get(trial, {}):
                yield trained_by(key, trial, seed)
    for key, run_of_tuning in following.items():
        if run_of_tuning and run_of_tuning not in of_grid:
            yield trained_by(key, *run_of_tuning)
    for seed in range(1, setting.seeds):
        for key in trained:
            best = trial_of(tuned(recorded[key])[0]) if following[key] is None else None
            if best:
                yield trained_by(key, best, seed)


def reproduce(
    keys: Sequence[str],
    dataset: str,
    setting: Setting,
    results: Path,
    work: Path,
    budget: float = float("inf"),
    device: Device = "auto",
) -> Iterator[tuple[Experiment, Record | None]]:
    """Run everything that is not recorded yet, one run at a time, and yield each with its record.

    The records are written to `results`. Checkpoints are written to `work`, and an interrupted run
    resumes from them. When `budget` seconds are spent, the current run stops at its last checkpoint
    and is yielded with None. Raises ValueError if a record is damaged or of other data, OSError if
    `results` cannot be written, and ChildProcessError if a run is killed.
    """
    deadline = time.time() + budget
    while lacking := missing(keys, dataset, setting, results):
        check_writable(make_folder(results))  # before the training, not after it
        experiment = lacking[0]
        work_folder = work / results.name / experiment.stem
        result = _in_fresh_process(experiment, work_folder, deadline - time.time(), device)
        if result is None:
            yield experiment, None
            return
        write_result(results / f"{experiment.stem}.json", result)
        yield experiment, result


FEWEST_ITEMS = 10
"""Latency and the metrics at 10 need at least this many items."""
NOMINAL_ITEMS = 10_000
"""Assumed size of a catalogue that is not known yet: all variants exist at this size."""


def missing(
    keys: Sequence[str], dataset: str, setting: Setting, results: Path, download: bool = True
) -> list[Experiment]:
    """The runs of `plan` that are not recorded.

    Without `download`, a data set of the registry that is not on this machine is not fetched. The
    catalogue's size then comes from the records, or else is `NOMINAL_ITEMS`, and the recorded
    hashes of the data are not checked. Raises ValueError like `is_recorded`, and for a catalogue
    with fewer than `FEWEST_ITEMS` items.
    """
    if download or not _is_elsewhere(dataset):
        n_items, data_sha256 = _identify(
            dataset, setting.max_len, setting.split, setting.split_seed, setting.users
        )
    else:
        recorded = read_any(results).values()
        n_items = next((runs[0]["n_items"] for runs in recorded), NOMINAL_ITEMS)
        data_sha256 = None
    return [
        experiment
        for experiment in plan(keys, dataset, n_items, setting, results)
        if not is_recorded(experiment, results, data_sha256)
    ]


def _is_elsewhere(dataset: str) -> bool:
    """Whether a data set has a known name and its data is not on this machine."""
    return dataset in DATASETS and not is_present(dataset)


@cache
def _identify(
    dataset: str, max_len: int, split: Split, split_seed: int, users: int | None
) -> tuple[int, str]:
    """Size of a data set's catalogue and the fingerprint of its table."""
    table, data = _load(dataset, max_len, split, split_seed, users)
    return data.n_items, fingerprint(table)


def _load(
    dataset: str, max_len: int, split: Split, split_seed: int, users: int | None
) -> tuple[pd.DataFrame, SequenceData]:
    """The interactions of a data set and their split.

    With `users`, only that number of users is kept, drawn with a fixed seed. Raises ValueError if
    `users` is zero or more than there are, and for a catalogue with fewer than `FEWEST_ITEMS`
    items.
    """
    table = load_interactions(dataset)
    if users is not None:
        known = table["user"].unique()
        if not 1 <= users <= len(known):
            raise ValueError(f"users {users} is outside 1..{len(known)}, the users of {dataset}")
        drawn = np.random.default_rng(0).permutation(known)[:users]
        table = table[table["user"].isin(drawn)].reset_index(drop=True)
    data = SequenceData.from_interactions(table, max_len, split, split_seed)
    if data.n_items < FEWEST_ITEMS:
        raise ValueError(
            f"{log_name(dataset)} has {data.n_items} items, but a record measures lists of ten; "
            f"give data with at least {FEWEST_ITEMS} items"
        )
    return table, data


def is_recorded(experiment: Experiment, results: Path, data_sha256: str | None) -> bool:
    """Whether a run has a record; `data_sha256` is None if the data is not known.

    Raises ValueError if the file is damaged or was recorded with other options or data. A record is
    never replaced and never stands for another run.
    """
    path = results / f"{experiment.stem}.json"
    if not path.exists():
        return False
    found = read_record(path)
    wanted = experiment.describe()
    if data_sha256:
        wanted["data_sha256"] = data_sha256
    for name, value in json.loads(json.dumps(wanted)).items():
        theirs = found.get(name)
        if theirs != value:
            raise ValueError(
                f"{path} was recorded with {name} {theirs}, now it is {value}; give the same "
                "options and data, or another folder for the results"
            )
    return True


def _in_fresh_process(
    experiment: Experiment, work: Path, seconds: float, device: Device
) -> Record | None:
    """Call `run` in a process of its own, so that the peak memory is that of this run alone.

    Raises ChildProcessError if that process is killed.
    """
    fresh = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(1, mp_context=fresh, initializer=_end_with_parent) as pool:
            return pool.submit(run, experiment, work, seconds, device).result()
    except BrokenProcessPool:
        raise ChildProcessError(
            f"the process of {experiment.stem} was killed, perhaps because memory ran out; the "
            "same command resumes it from its last checkpoint"
        ) from None


def _end_with_parent() -> None:
    """End this process with its parent; otherwise a run would go on after its command is killed."""
    parent = multiprocessing.parent_process()
    assert parent

    def wait() -> None:
        parent.join()
        os._exit(1)

    Thread(target=wait, daemon=True).start()


def run(
    experiment: Experiment, work: Path, seconds: float = float("inf"), device: Device = "auto"
) -> Record | None:
    """Train and measure one model; None if `seconds` were spent before its last epoch.

    The checkpoint is written to `work`; the next call resumes from it.
    """
    deadline = time.time() + seconds
    chosen = choose_device(device)
    table, data = experiment.load()
    try:
        model, facts = _trained(experiment, data, work, chosen, deadline)
    except OutOfTime:
        return None
    ranks = evaluate(model, data, "test")
    record = {
        "variant": experiment.variant,
        "config_sha256": sha256_of(experiment.describe()),
        **facts,
        "test": ranks.metrics(),
        "test_by_popularity": by_popularity(ranks, data),
        "test_ranks": pack_ranks(ranks.ranks),
        **experiment.describe(),
        **_circumstances(experiment.dataset, table, data, chosen),
        "peak_bytes": peak_bytes(chosen),
    }
    return cast(Record, record)


def _circumstances(
    dataset: str, table: pd.DataFrame, data: SequenceData, device: torch.device
) -> dict[str, Any]:
    """What records and times say about data, machine and date."""
    return {
        "dataset": log_name(dataset),
        **describe_sequences(data),
        **describe_log(table, data.dropped_users),
        **describe_machine(device),
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d"),
    }


def run_again(
    path: Path,
    work: Path,
    dataset: str | None = None,
    seconds: float = float("inf"),
    device: Device = "auto",
) -> tuple[Record, Record | None]:
    """Repeat the run that a record describes: returns (the record, the new record).

    `dataset` says where the data is; by default it is the data set named in the record. `work` and
    `seconds` are as in `run`; the new record is None if the time is spent. Nothing is written to
    the results, and `work` is deleted after the last epoch, so that the next call trains again.
    Raises ValueError if the data is not that of the record, or if another version of the library
    made the record; the message lists what differs.
    """
    recorded = read_record(path)
    experiment = _experiment_of(recorded, dataset or recorded["dataset"], path)
    table, _ = experiment.load()
    if fingerprint(table) != recorded["data_sha256"]:
        raise ValueError(
            f"{path} was recorded with other data than {experiment.dataset} holds; name the data "
            "that it was recorded with"
        )
    now = run(experiment, work, seconds, device)
    if now:
        shutil.rmtree(work, ignore_errors=True)  # a model that is not trained leaves no folder
    return recorded, now


def _experiment_of(record: Record, dataset: str, path: Path) -> Experiment:
    """The run that a record describes."""
    configs: list[Any] = []
    for kind, name in ((ModelConfig, "model_config"), (TrainConfig, "train_config")):
        found = cast(dict[str, Any], record)[name]
        known = {field.name for field in fields(kind)}
        if found is not None and (differ := sorted(known ^ {*found})):
            raise ValueError(
                f"{path} was made by another version of the library; its {name} differs in "
                f"{', '.join(differ)}"
            )
        configs.append(None if found is None else kind(**found))
    config, training = configs
    return Experiment(
        record["variant"],
        dataset,
        config,
        training,
        max_len=record["max_len"],
        split=record["split"],
        split_seed=record["split_seed"],
        users=record["users"],
    )


def _trained(
    experiment: Experiment, data: SequenceData, work: Path, device: torch.device, deadline: float
) -> tuple[Scorer, dict[str, Any]]:
    """The model, and the record's fields on its size, its training and its speed."""
    config, training = experiment.config, experiment.training
    if config is None or training is None:
        counting = COUNTING[experiment.variant](data)
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
        "stopped": "patience" if len(history.epochs) < training.epochs else "epochs",
        "latency_ms": latency(model, data.test.contexts),
        **_rules(model, data),
    }


@torch.no_grad()
def _rules(model: SequentialRecommender, data: SequenceData) -> dict[str, Any]:
    """What the search rules of a model with blocks skip and miss, for up to 2,048 users."""
    if not isinstance(model.softmax, BlockSoftmax):
        return {}
    contexts = data.test.contexts[:2048].to(next(model.parameters()).device)
    hidden = torch.cat([model.last_hidden(some) for some in contexts.split(64)])
    return {"search_rules": compare_rules(model.softmax, hidden)}


def time_models(dataset: str, setting: Setting, path: Path, device: Device = "auto") -> None:
    """Race the untrained models of the group "rival" and write the times to `path`; see `race`."""
    check_writable(make_folder(path.parent))
    chosen = choose_device(device)
    table, data = _load(dataset, setting.max_len, setting.split, setting.split_seed, setting.users)
    configs, keys = models(data.n_items, setting), choose(["rival"])
    built = {k: SequentialRecommender(configs[k]).to(chosen) for k in keys if k in configs}
    times = {
        "width": setting.width,
        "batch_size": setting.batch_size,
        "precision": setting.precision,
        "milliseconds": race(built, data, setting.training(setting.learning_rates[0], seed=0)),
        **_circumstances(dataset, table, data, chosen),
    }
    write_result(path, times)
