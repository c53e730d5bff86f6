"""The race at equal bytes: every way to make a model small, at the same budgets, as records.

All racers of a log are trained in the same way, as its `Setting` in `RACES` says, and each is as
large as a budget allows: a share of the bytes of the uncompressed NextItNet. A model that several
racers finish in different ways, such as by rounding, is trained once. Pruned models have more
training than the others: `TUNING_EPOCHS` epochs on top, at a third of the rate.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple, NotRequired, TypedDict

import numpy as np
import torch

from cprec_lib.compress.budget import Trainer
from cprec_lib.compress.quantisation import Rounding
from cprec_lib.compress.racers import CONTROL, GROUP, RACERS, Plan, Racer, named
from cprec_lib.data.sequences import SequenceData
from cprec_lib.evidence.experiments import Experiment
from cprec_lib.evidence.records import (
    by_popularity,
    pack_ranks,
    read_result,
    unpack_ranks,
    write_result,
)
from cprec_lib.evidence.settings import Setting, log_name
from cprec_lib.evidence.statistics import Difference, difference, difference_over_users
from cprec_lib.evidence.timing import EXACT, latency, search_bytes
from cprec_lib.files import check_writable, make_folder
from cprec_lib.logs.fingerprint import describe_log
from cprec_lib.machine import Device, choose_device, commit, describe_machine
from cprec_lib.model.config import ModelConfig, nextitnet
from cprec_lib.train.data_record import describe_sequences
from cprec_lib.train.evaluation import Ranks, evaluate

TIMES = (4, 8, 16, 32)
"""How many times smaller than the uncompressed model the budgets are."""
BASE = "uncompressed"
LIST = 10
"""Records keep the ranks up to here; NDCG@10 needs no others."""
LEFT_OUT = (
    *(
        f"{name}, float32"
        for name in (
            "tied",
            "tied blocks by popularity",
            "hashing",
            "shared codes",
            "CpRec by popularity",
        )
    ),
    f"low rank, int4 in groups of {GROUP}",
)
"""Racers whose like is recorded already; each would take trainings of its own."""
RACED: dict[str, Racer] = {
    racer.label: racer
    for racer in (*RACERS, CONTROL)
    if racer.label not in LEFT_OUT
    and racer.rounding not in (Rounding(4), Rounding(4, GROUP, tunes=True))
}
"""The racers that are recorded, by their labels; int4 is recorded with groups and untuned."""
REFERENCES = {
    "rounded full model, int8": Rounding(8),
    f"rounded full model, int4 in groups of {GROUP}": Rounding(4, GROUP),
}
"""The uncompressed model, rounded at its full width: recorded beside the budgets."""
SHORT = Setting(
    learning_rates=(0.005,),
    epochs=3,
    patience=3,
    schedule="linear",
    batch_size=128,
    max_len=20,
    seeds=1,
)
"""For logs of many items and short histories, of which two cores train one seed."""
RACES: dict[str, Setting] = {
    "ml-100k": Setting(
        width=32,
        dilations=(1, 4),
        dropout=0.1,
        learning_rates=(0.01,),
        epochs=6,
        patience=6,
        schedule="linear",
    ),
    "ml-1m": Setting(
        dropout=0.1, learning_rates=(0.006,), epochs=4, patience=4, schedule="linear", seeds=1
    ),
    # After three epochs NextItNet has a test NDCG@10 of 0.013 here; five at a constant rate: 0.025.
    "amazon-beauty": replace(SHORT, epochs=8, patience=8),
    "globo": replace(SHORT, users=40_000),
}
"""How the models of a log are trained: one rate for all, which falls evenly to zero."""


class Finish(TypedDict):
    """One model of a race: its racer, its bytes, and how well it does.

    `times` is the budget, how many times smaller than the uncompressed model; 1 for that model.
    `valid` and `test` are NDCG@10; `head` and `outside` are that of the test users whose target is
    among the most popular tenth of the items, and of the others. `seconds` are those of its
    training. `ranks` are the test ranks [U], those beyond ten as 11, packed.

    `milliseconds` are those of a search for one user, the median of 30, and `search_bytes` its
    `search_bytes`; the first records lack both. `rounded_from`, which only the `REFERENCES` have,
    are the `ranks` of the model that was rounded.
    """

    racer: str
    model: str
    seed: int
    times: int
    bytes: int
    valid: float
    test: float
    head: float | None
    outside: float | None
    seconds: float
    ranks: str
    commit: str | None
    date: str
    milliseconds: NotRequired[float]
    search_bytes: NotRequired[int]
    rounded_from: NotRequired[str]


# ---- Running it ----


def run_race(
    dataset: str,
    setting: Setting,
    path: Path,
    work: Path,
    racers: Sequence[str] = (),
    device: Device = "auto",
    distillation: float = 0.0,
) -> Iterator[Finish]:
    """Run what `path` lacks of a log's race, and add each finish to it; yields the new ones.

    `racers` are labels of `RACED` and `REFERENCES`, or their ways, as "tied" for all forms; all
    without any. Seed after seed, the smallest budgets last. The record also says how many racers
    keep each budget, so that a part of a race shows as one. With `distillation` the models learn
    from the uncompressed one, as in `compress`. Interrupted trainings go on from `work`. Raises
    ValueError for an unknown racer, and for a file that was recorded with another setting or other
    data.
    """
    chosen = {BASE, *named(racers, [*RACED, *REFERENCES])}
    check_writable(make_folder(path.parent))  # before the training, not after it
    table, data = Experiment(
        BASE, dataset, None, None, setting.max_len, setting.split, setting.split_seed, setting.users
    ).load()
    place = choose_device(device)
    record = _opened(
        path,
        {
            "dataset": log_name(dataset),
            "setting": {**asdict(setting), "seeds": 0},
            "distillation": distillation,
            **describe_sequences(data),
            **describe_log(table, data.dropped_users),
        },
    )
    record |= describe_machine(place)
    code = commit()  # before the first finish changes the record, which may be in the checkout
    full = nextitnet(
        data.n_items, setting.width, dropout=setting.dropout, dilations=setting.dilations
    )
    for seed in range(setting.seeds):
        lane = Lane(full, data, setting, seed, work / log_name(dataset), place, distillation)
        entrants = [*lane.entrants()]
        # The keys of JSON are text.
        record["entrants"] = Counter(str(times) for *_, times in entrants if times > 1)
        known = {_key(each) for each in record["finishes"]}
        for plan, racer, times in entrants:
            if racer in chosen and (racer, seed, times) not in known:
                finish = lane.run(plan, racer, times, code)
                record["finishes"].append(finish)
                write_result(path, record)
                yield finish


def _key(finish: Finish) -> tuple[str, int, int]:
    return finish["racer"], finish["seed"], finish["times"]


def _opened(path: Path, race: dict[str, Any]) -> dict[str, Any]:
    """The record of a race, read or begun. Raises ValueError for one of another race."""
    if not path.exists():
        return {**race, "finishes": []}
    found = {"distillation": 0.0, **read_result(path)}  # the first records lack it
    plain = json.loads(json.dumps(race))
    if differ := [name for name in race if found.get(name) != plain[name]]:
        raise ValueError(
            f"{path} was recorded with another {', '.join(differ)}; give the same options and "
            "data, or another folder for the results"
        )
    return found


class Lane:
    """The race of one seed: its uncompressed model, and what is made in its trainings."""

    def __init__(
        self,
        full: ModelConfig,
        data: SequenceData,
        setting: Setting,
        seed: int,
        work: Path,
        device: torch.device,
        distillation: float = 0.0,
    ) -> None:
        self.data, self.seed = data, seed
        (rate,) = setting.learning_rates
        training = setting.training(rate, seed)
        self.trainer = Trainer(full, data, training, device, work=work, distillation=distillation)
        self.base = Plan.of(BASE, full, None)

    def entrants(self) -> Iterator[tuple[Plan, str, int]]:
        """The plans with their racers and budgets: the uncompressed one and the references first.

        A reference whose group does not divide the width is left out.
        """
        yield self.base, BASE, 1
        for label, rounding in REFERENCES.items():
            with suppress(ValueError):
                yield Plan.of(label, self.base.config, rounding), label, 1
        for times in TIMES:
            most = self.base.bytes // times
            for racer in RACED.values():
                with_one = racer.widest(self.base.config, self.data.catalogue.counts, most)
                if with_one:
                    yield with_one, racer.label, times

    def run(self, plan: Plan, racer: str, times: int, code: str | None) -> Finish:
        """Train and finish the model of a plan, and measure it; `code` is the commit."""
        result = self.trainer.result(plan)
        assert result  # without a deadline there always is one
        test = evaluate(result.model, self.data, "test")
        head, outside = by_popularity(test, self.data, (0.1,))
        contexts = self.data.test.contexts
        finish: Finish = {
            "racer": racer,
            "model": result.label,
            "seed": self.seed,
            "times": times,
            "bytes": result.bytes,
            "valid": result.ndcg,
            "test": float(test.values("ndcg@10").mean()),
            "head": head["ndcg@10"],
            "outside": outside["ndcg@10"],
            "seconds": result.seconds,
            "ranks": _packed(test),
            "commit": code,
            "date": time.strftime("%Y-%m-%d"),
            "milliseconds": latency(result.model, contexts, numbers=(1,))[EXACT[1].key],
            "search_bytes": search_bytes(result.model, contexts),
        }
        if racer in REFERENCES:
            # Where only the record of the uncompressed model is left, it has been trained again.
            whole = self.trainer.trained[plan.config].model
            finish["rounded_from"] = _packed(evaluate(whole, self.data, "test"))
        return finish


def _packed(ranks: Ranks) -> str:
    return pack_ranks(ranks.ranks.clip(max=LIST + 1))


# ---- Reading it ----


class Standing(NamedTuple):
    """A racer at a budget, averaged over its seeds, and its test NDCG@10 against the base's.

    `racer`, `bytes` and the other fields are as in `Finish`, NaN where not recorded; `seeds` says
    how many there are. If no racer has two seeds, the interval of `gap` is over the users alone.
    """

    racer: str
    model: str
    times: int
    bytes: int
    valid: float
    test: float
    head: float
    outside: float
    seconds: float
    seeds: int
    gap: Difference
    milliseconds: float = float("nan")
    search_bytes: float = float("nan")


def read_race(path: Path) -> list[Standing]:
    """The standings of a recorded race, those of the largest budgets first.

    Raises ValueError as `read_result` does.
    """
    return standings(read_result(path)["finishes"])


def standings(finishes: Iterable[Finish]) -> list[Standing]:
    """The standings of some finishes.

    Intervals and judgements follow `docs/evidence.md`: users and seeds vary, and the variance
    between seeds is pooled over all models of the race. A reference is compared with the models
    that were rounded, seed by seed.
    """
    runs: dict[tuple[str, int], list[Finish]] = {}
    for finish in finishes:
        runs.setdefault((finish["racer"], finish["times"]), []).append(finish)
    values = {
        _name(*key): np.stack([_ndcg(run["ranks"]) for run in own])
        for key, own in runs.items()
        if key[0] not in REFERENCES
    }
    compare = difference if any(len(own) > 1 for own in values.values()) else difference_over_users
    return [
        Standing(
            racer,
            own[0]["model"],
            times,
            own[0]["bytes"],
            **{name: _mean(own, name) for name in MEANS},
            seeds=len(own),
            gap=_of_rounding(own)
            if racer in REFERENCES
            else compare(values, _name(racer, times), _name(BASE, 1)),
        )
        for (racer, times), own in sorted(runs.items(), key=lambda pair: pair[0][1])
    ]


def _ndcg(ranks: str) -> np.ndarray:
    values: np.ndarray = unpack_ranks(ranks).values("ndcg@10")
    return values


def _of_rounding(runs: Sequence[Finish]) -> Difference:
    """Rounded minus unrounded, for the same trainings, so that their seeds are paired.

    The squared error is var(D) / U over the users plus the variance between the differences of the
    S seeds, divided by S. What neither explains is in both, so the interval is a little too wide.
    """
    rounded = np.stack([_ndcg(run["ranks"]) for run in runs])
    whole = np.stack([_ndcg(run["rounded_from"]) for run in runs])
    found = difference_over_users({"rounded": rounded, "whole": whole}, "rounded", "whole")
    if len(runs) < 2 or not found.error:
        return found
    seeds = float((rounded - whole).mean(1).var(ddof=1)) / len(runs)
    uncertain = found.of_users**2 / found.freedom + seeds**2 / (len(runs) - 1)
    freedom = (found.of_users + seeds) ** 2 / uncertain
    return replace(found, of_seeds=seeds, freedom=freedom)


def outside_head(standings: Sequence[Standing]) -> float:
    """The share of the test items outside the most popular tenth; NaN where that is not recorded.

    The test NDCG@10 of the uncompressed model is a mean of `head` and `outside` with this weight.
    """
    base = next(each for each in standings if each.racer == BASE)
    apart = base.head - base.outside
    return (base.head - base.test) / apart if apart else float("nan")


def winners(standings: Sequence[Standing]) -> dict[int, Standing]:
    """The racer with the best validation NDCG@10 at each budget; of equal ones the smallest."""
    best: dict[int, Standing] = {}
    for each in sorted(standings, key=lambda each: (-each.valid, each.bytes)):
        if each.times > 1:
            best.setdefault(each.times, each)
    return dict(sorted(best.items()))


MEANS = ("valid", "test", "head", "outside", "seconds", "milliseconds", "search_bytes")


def _mean(runs: Sequence[Finish], name: str) -> float:
    found = [run.get(name) for run in runs]
    return float("nan") if None in found else float(np.mean(found))  # type: ignore[arg-type]


def _name(racer: str, times: int) -> str:
    return f"{racer} {times}"
