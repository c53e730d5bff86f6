"""The paper's figures and tables as named runs that anyone can repeat, resume and extend."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Iterator, Mapping, Sequence
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
from cprec_lib.data.synthetic import PREFIX
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
from cprec_lib.evidence.timing import latency, race
from cprec_lib.machine import Device, choose_device, commit, describe_machine, peak_bytes
from cprec_lib.model.bounds import compare_rules
from cprec_lib.model.config import ModelConfig, config_from_json, cprec, gru4rec, nextitnet, sasrec
from cprec_lib.model.cost import count_parameters
from cprec_lib.model.recommender import SequentialRecommender
from cprec_lib.model.sharing import SHARING
from cprec_lib.model.softmax import BlockSoftmax
from cprec_lib.train.baselines import Bigram, Popularity
from cprec_lib.train.config import TrainConfig
from cprec_lib.train.data_record import describe_data, fingerprint
from cprec_lib.train.evaluation import Scorer, evaluate
from cprec_lib.train.training import OutOfTime, fit

BASELINE, COMPRESSED, NARROW = "NextItNet", "CpRec", "narrower NextItNet"
COUNTING = {"popularity": Popularity, "bigram": Bigram}
WIDER_TAIL = "CpRec, factor 2"
# Models whose size is given: at most this share of NextItNet's parameters.
SHARES = {"a quarter": 1 / 4, "an eighth": 1 / 8}
SHORTER_HEAD = ("CpRec, cut 5 / 20 %", "CpRec, cut 2 / 10 %")
SHORT_AND_SHARED = "CpRec, cut 5 / 20 %, cross-block"
SMALLER = tuple(f"{family}, {share}" for share in SHARES for family in (COMPRESSED, BASELINE))
# Other fillings, and the same in CpRec's bread.
IN_BREAD = {name: f"{name}, compressed bread" for name in ("GRU4Rec", "SASRec")}

GROUPS: dict[str, tuple[str, ...]] = {
    "overall": (
        BASELINE,
        COMPRESSED,
        "CpRec, cross-block",
        "CpRec, adjacent-layer",
        *IN_BREAD,
        *COUNTING,
    ),
    "decomposition": (
        BASELINE,
        "input only",
        "softmax only",
        "flat low-rank softmax",
        "input and softmax",
    ),
    "sharing": (BASELINE, *(f"sharing {scheme}" for scheme in SHARING if scheme != "none")),
    "rival": (BASELINE, COMPRESSED, WIDER_TAIL, NARROW, "narrower NextItNet, factor 2"),
    "sizes": (BASELINE, *SMALLER, *SHORTER_HEAD, SHORT_AND_SHARED),
    "blocks": (COMPRESSED, "CpRec, 2 blocks", "CpRec, 4 blocks", *SHORTER_HEAD),
    "generic": tuple(name for pair in IN_BREAD.items() for name in pair),
    "width": (BASELINE, *(f"NextItNet, width {width}" for width in (16, 32, 64, 128, 256, 512))),
    "depth": (BASELINE, *(f"NextItNet, {depth} blocks" for depth in (0, 2, 8, 16))),
}
"""What each figure or table compares, by name; the model names are those of `models`."""


Trial = tuple[float, float]
"""Learning rate and dropout."""


@dataclass(frozen=True)
class Setting:
    """What all models of one data set have in common.

    Each model is tuned with seed 0, in the same way; see `next_trial`. Its further seeds are
    trained as the trial with the best validation NDCG@10 was.
    `dropouts` go with the rates, one each; left out, `dropout` goes with all. `further_rates` are
    tried if the best rate lies at an edge, `more_dropouts` at the best rate. `input_dropout` is
    the same in each trial. `users` are so many users of the data set, drawn once; else all of them.
    Raises ValueError if a rate is given twice, or if rates and dropouts are not equally many.
    """

    width: int = 64
    dropout: float = 0.3
    cutoffs: tuple[float, float] = (0.1, 0.33)
    learning_rates: tuple[float, ...] = (0.003, 0.01)
    dropouts: tuple[float, ...] = ()
    epochs: int = 20
    patience: int = 3
    batch_size: int = 32
    max_len: int = 50
    split: Split = "leave_one_out"
    seeds: int = 3
    dilations: tuple[int, ...] = (1, 4, 1, 4)
    precision: str = "float32"
    schedule: str = "constant"
    users: int | None = None
    input_dropout: float = 0.0
    further_rates: tuple[float, ...] = ()
    more_dropouts: tuple[float, ...] = ()
    initial_weights: str = "scaled"

    def __post_init__(self) -> None:
        if len({*self.learning_rates}) < len(self.learning_rates):
            raise ValueError(f"learning rates {self.learning_rates}: give each one once")
        if self.dropouts and len(self.dropouts) != len(self.learning_rates):
            raise ValueError(
                f"learning rates {self.learning_rates} go with the dropouts {self.dropouts}, one "
                "each; give one dropout for all of them"
            )

    @property
    def trials(self) -> dict[float, float]:
        """The dropout that goes with each learning rate."""
        dropouts = self.dropouts or (self.dropout,) * len(self.learning_rates)
        return dict(zip(self.learning_rates, dropouts, strict=True))

    def next_trial(self, scores: Mapping[Trial, float]) -> Trial | None:
        """The learning rate and dropout to try next, given the validation scores so far.

        First the learning rates; then the neighbours of the best one, until both were tried or
        there are none; then the other dropouts at the best rate. None when all is tried.
        """
        for trial in self.trials.items():
            if trial not in scores:
                return trial
        at_first = {
            rate: score for (rate, drop), score in scores.items() if drop == self._first(rate)
        }
        ladder = sorted({*self.learning_rates, *self.further_rates})
        best = max(at_first, key=at_first.__getitem__)
        place = ladder.index(best)
        for rate in ladder[max(0, place - 1) : place + 2]:
            if rate not in at_first:
                return rate, self._first(rate)
        for dropout in self.more_dropouts:
            if (best, dropout) not in scores:
                return best, dropout
        return None

    def _first(self, rate: float) -> float:
        """The dropout that a rate is first tried with."""
        return self.trials.get(rate, self.dropout)

    def training(self, learning_rate: float, seed: int) -> TrainConfig:
        """How one run is trained."""
        return TrainConfig(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=learning_rate,
            patience=self.patience,
            seed=seed,
            precision=self.precision,
            schedule=self.schedule,
        )


# Short histories and many items, of which two cores carry a few epochs.
LARGE_CATALOGUE = Setting(
    learning_rates=(0.002, 0.005), epochs=8, patience=2, batch_size=128, max_len=20, seeds=1
)
# Windows that four blocks with these dilations see whole, and more dropout.
LONG_WINDOWS = Setting(
    width=128,
    learning_rates=(0.003, 0.006),
    dropouts=(0.3, 0.1),
    epochs=12,
    patience=12,
    max_len=100,
    dilations=(1, 4, 16, 1),
    precision="bfloat16",
    schedule="linear",
    seeds=1,
)
# Width 256 is for a GPU; first tries chose its numbers, see results/README.md.
SETTINGS: dict[str, tuple[Setting, ...]] = {
    "ml-100k": (Setting(),),
    "ml1m_ordered": (
        Setting(dropout=0.1, learning_rates=(0.002, 0.006), epochs=12, patience=12, seeds=1),
        LONG_WINDOWS,
        replace(
            LONG_WINDOWS,
            width=256,
            learning_rates=(0.004, 0.006),
            dropouts=(0.5, 0.3),
            input_dropout=0.3,
            epochs=40,
            patience=10,
            batch_size=128,
            seeds=3,
        ),
    ),
    "amazon_beauty_ordered": (LARGE_CATALOGUE,),
    "globo_users": (
        replace(LARGE_CATALOGUE, users=40_000),
        replace(
            LARGE_CATALOGUE,
            width=256,
            learning_rates=(0.003, 0.006),
            batch_size=512,
            epochs=4,
            precision="bfloat16",
            schedule="linear",
            seeds=3,
        ),
    ),
}
"""Settings of the data sets that are recorded, by width; see `setting_of`."""

# Three rates, two more on either side, three dropouts; trained until validation stops improving.
_LADDER: dict[str, Any] = {
    "learning_rates": (0.001, 0.003, 0.01),
    "further_rates": (0.0001, 0.0003, 0.03, 0.1),
    "more_dropouts": (0.1, 0.5),
    "epochs": 500,
    "patience": 5,
}
_SMALL = Setting(**_LADDER, seeds=10)
_WIDE = replace(_SMALL, width=512, precision="bfloat16", seeds=5)
_MANY = replace(_SMALL, batch_size=128, max_len=20, seeds=3)
_FIRST: dict[str, Setting] = {
    "ml-100k-w64": _SMALL,
    "ml-100k-w512": _WIDE,
    "ml-1m-w64": replace(_SMALL, seeds=3),
    "ml-1m-w128": replace(_SMALL, width=128, seeds=3),
    "amazon-beauty-w64": _MANY,
    "globo-w64": replace(_MANY, users=40_000),
}
TUNED = _FIRST | {
    f"{name}-authors": replace(setting, initial_weights="authors")
    for name, setting in _FIRST.items()
}
"""Settings by name, whose trials go on until the best rate lies inside the grid.

Each with our initial weights, and with those of the authors.
"""


def tuned_setting(name: str) -> Setting:
    """The setting of that name in `TUNED`. Raises ValueError, which lists them, for another."""
    if name not in TUNED:
        raise ValueError(f"unknown setting {name!r}; choose from {', '.join(TUNED)}")
    return TUNED[name]


def setting_of(dataset: str, width: int | None = None) -> Setting:
    """How a data set is recorded at a width: its first setting if no width is given.

    A width that is not recorded gets the rest of the first setting, a data set that is not
    recorded that of `Setting`.
    """
    known = SETTINGS.get(Path(dataset).stem, (Setting(),))
    if width is None:
        return known[0]
    return next((s for s in known if s.width == width), replace(known[0], width=width))


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


def models(n_items: int, setting: Setting) -> dict[str, ModelConfig]:
    """Every trained model by name; most differ from NextItNet or from CpRec in one respect.

    A "narrower NextItNet" is the plain rival: the widest uncompressed model that is no larger than
    CpRec. Those called "a quarter" or "an eighth" are as wide as that share of NextItNet's
    parameters lets them be; CpRec then has factor 2, which keeps more of the tail. The other
    fillings have two layers, which at the same width have about half the parameters of NextItNet's
    four blocks. Left out is what a setting cannot have: a second name for NextItNet's own width,
    and a size below that of width 1.
    """
    layers: dict[str, Any] = {
        "dropout": setting.dropout,
        "input_dropout": setting.input_dropout,
        "dilations": setting.dilations,
        "initial_weights": setting.initial_weights,
    }
    full = nextitnet(n_items, setting.width, **layers)
    whole = cprec(n_items, setting.width, setting.cutoffs, **layers)
    wider_tail = replace(whole, factor=2)
    parts = replace(full, cutoffs=whole.cutoffs)
    first, second = setting.cutoffs
    cuts = {
        "CpRec, 2 blocks": (first,),
        "CpRec, 4 blocks": (first / 2, first, second),
        "CpRec, cut 5 / 20 %": (0.05, 0.2),
        "CpRec, cut 2 / 10 %": (0.02, 0.1),
    }
    found: dict[str, ModelConfig | None] = {
        BASELINE: full,
        COMPRESSED: whole,
        WIDER_TAIL: wider_tail,
        "CpRec, cross-block": replace(whole, sharing="cross-block"),
        "CpRec, adjacent-layer": replace(whole, sharing="adjacent-layer"),
        NARROW: _no_larger(full, count_parameters(whole).total),
        "narrower NextItNet, factor 2": _no_larger(full, count_parameters(wider_tail).total),
        "input only": replace(parts, block_input=True),
        "softmax only": replace(parts, block_softmax=True),
        "flat low-rank softmax": replace(parts, block_softmax=True, tree=False),
        "input and softmax": replace(parts, block_input=True, block_softmax=True),
    }
    found |= {f"sharing {s}": replace(full, sharing=s) for s in SHARING if s != "none"}
    for name, cut in cuts.items():
        fits = cut[0] * n_items >= 1  # else its head would be empty
        found[name] = cprec(n_items, setting.width, cut, **layers) if fits else None
    short = found[SHORTER_HEAD[0]]
    found[SHORT_AND_SHARED] = short and replace(short, sharing="cross-block")
    for name, share in SHARES.items():
        limit = int(share * count_parameters(full).total)
        found[f"{COMPRESSED}, {name}"] = _no_larger(wider_tail, limit)
        found[f"{BASELINE}, {name}"] = _no_larger(full, limit)
    found |= _other_fillings(n_items, setting, whole.cutoffs)
    for name in GROUPS["width"][1:]:
        width = int(name.split()[-1])
        found[name] = replace(full, width=width) if width != full.width else None
    for name in GROUPS["depth"][1:]:
        found[name] = replace(full, dilations=((1, 4) * 8)[: int(name.split()[1])])
    return {name: config for name, config in found.items() if config}


def _other_fillings(
    n_items: int, setting: Setting, cutoffs: tuple[int, ...]
) -> dict[str, ModelConfig]:
    """GRU4Rec and SASRec, whole and in CpRec's bread."""
    common: dict[str, Any] = {
        "initial_weights": setting.initial_weights,
        "layers": 2,
        "dropout": setting.dropout,
        "input_dropout": setting.input_dropout,
    }
    fillings = {
        "GRU4Rec": gru4rec(n_items, setting.width, **common),
        "SASRec": sasrec(n_items, setting.width, max_positions=setting.max_len, **common),
    }
    bread: dict[str, Any] = {"cutoffs": cutoffs, "block_input": True, "block_softmax": True}
    return fillings | {IN_BREAD[name]: replace(fillings[name], **bread) for name in fillings}


def _no_larger(config: ModelConfig, parameters: int) -> ModelConfig | None:
    """The widest version of `config` with at most so many parameters, if there is one."""
    narrower = (replace(config, width=width) for width in range(config.width, 0, -1))
    return next((c for c in narrower if count_parameters(c).total <= parameters), None)


def label(dataset: str, setting: Setting) -> str:
    """Name of the folder that holds the results of a data set with one setting.

    It names `dropout`, even where `dropouts` go with the rates.
    """
    split = "" if setting.split == "leave_one_out" else f"-{setting.split}"
    users = "" if setting.users is None else f"-u{setting.users}"
    return f"{short_name(dataset)}-w{setting.width}-d{setting.dropout:g}{split}{users}"


def short_name(dataset: str) -> str:
    """A data set's name as part of a file's name: without folder and ending, or punctuation."""
    if dataset.startswith(PREFIX):
        return dataset.translate(str.maketrans(":,=", "---"))
    return Path(dataset).stem


def choose(groups: Sequence[str], names: Sequence[str] = ()) -> list[str]:
    """Names of the models to run, without repetition: `names`, or all of some groups, or all.

    Raises ValueError, which lists the choices, for an unknown group or name.
    """
    for group in groups:
        if group not in GROUPS:
            raise ValueError(f"unknown group {group!r}; choose from {', '.join(GROUPS)} and time")
    known = [name for group in GROUPS.values() for name in group]
    for name in names:
        if name not in known:
            raise ValueError(
                f"unknown model {name!r}; choose from {'; '.join(dict.fromkeys(known))}"
            )
    chosen = names or [name for group in groups or GROUPS for name in GROUPS[group]]
    return list(dict.fromkeys(chosen))


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
