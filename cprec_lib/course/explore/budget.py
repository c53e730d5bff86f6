"""Which model wins within a budget: of recorded models by parameters, of a race's by bytes."""

from typing import NamedTuple

import numpy as np

from cprec_lib.course.explore.explorable import Control, Explorable, join, named, percent
from cprec_lib.course.figures.comparison import Budget
from cprec_lib.course.figures.comparison import budget as draw
from cprec_lib.evidence.bootstrap import Interval, interval
from cprec_lib.evidence.race import BASE, TIMES, Standing, winners
from cprec_lib.evidence.records import Record, values
from cprec_lib.evidence.statistics import judge
from cprec_lib.evidence.variants import BASELINE

BUDGETS = tuple(share / 100 for share in range(15, 101, 5))
WHICH = "Which recorded runs are compared."
RULE = (
    "The smallest model is at the top; grey ones are too large. Of the others, the one with the "
    "best validation NDCG@10 wins (diamond)."
)
HOW_LARGE = "The largest size of a model, as a share of the uncompressed one."


class Candidate(NamedTuple):
    """A model's size, its validation NDCG@10, and its test NDCG@10 minus that of the base."""

    size: int
    valid: float
    gap: Interval


def candidates(models: dict[str, list[Record]], base: str) -> dict[str, Candidate]:
    """The models with parameters, but no more than `base`, from their records, one per seed."""
    own, whole = values(models[base]), models[base][0]["parameters"]
    return {
        name: Candidate(
            runs[0]["parameters"],
            float(np.mean([run["valid"]["ndcg@10"] for run in runs])),
            interval(values(runs) - own),
        )
        for name, runs in models.items()
        if 0 < runs[0]["parameters"] <= whole
    }


def choose(models: dict[str, Candidate], base: str, data_set: str, share: float) -> Budget:
    """The model that is best on the validation items within a share of the size of `base`."""
    limit = int(share * models[base].size)
    within = [name for name, model in models.items() if model.size <= limit]
    winner = max(within, key=lambda name: models[name].valid, default=None)
    by_size = sorted(models, key=lambda name: models[name].size)
    sizes = {name: models[name].size for name in by_size}
    gaps = {name: models[name].gap for name in by_size}
    if winner is None:
        result = "no model is so small"
    elif winner == base:
        result = f"{base} itself wins"
    else:
        gap = models[winner].gap
        told = "better" if gap.low > 0 else "worse" if gap.high < 0 else "undecided"
        result = f"{winner} wins\n{gap}: {told}"
    title = f"{data_set}, {share:.0%} of {base}\n{limit:,} parameters: {result}"
    return Budget(title, sizes, gaps, limit, winner, "parameters")


def _say(state: Budget) -> str:
    return state.title.replace("\n", ", ") + "."


def budget(recorded: dict[str, dict[str, list[Record]]], base: str = BASELINE.label) -> Explorable:
    """Which recorded model wins within a budget of parameters: {data set: {model: its records}}.

    The validation items choose the winner. Its test NDCG@10 is compared with that of `base`, paired
    by user and averaged over seeds. Models larger than `base` are omitted. Raises ValueError if a
    data set has no run of `base`, or if there is no data set.
    """
    lacking = [data_set for data_set, models in recorded.items() if not models.get(base)]
    if lacking or not recorded:
        raise ValueError(f"no recorded runs of {base} on {join(lacking) or 'any data set'}")
    fitting = {name: candidates(models, base) for name, models in recorded.items()}
    first, last = next(iter(recorded)), next(reversed(recorded))
    return Explorable(
        "budget",
        (
            Control("Data set", WHICH, named(recorded), first, "list"),
            Control("Budget", HOW_LARGE, percent(BUDGETS), 0.35),
        ),
        lambda data_set, share: choose(fitting[data_set], base, data_set, share),
        draw,
        _say,
        ((first, BUDGETS[0]), (first, 0.35), (last, BUDGETS[-1])),
        f"Test NDCG@10 of recorded models (parameters) minus {base}'s, with 95 % paired intervals "
        f"over users. {RULE}",
    )


def standings_at(standings: list[Standing], data_set: str, times: int) -> Budget:
    """The racers of a recorded race at a budget, those with the best validation NDCG@10 first.

    Raises ValueError if no racer keeps the budget.
    """
    here = sorted((s for s in standings if s.times == times), key=lambda s: -s.valid)
    if not here:
        raise ValueError(f"no racer kept 1/{times} of the bytes on {data_set}")
    limit = next(s.bytes for s in standings if s.racer == BASE) // times
    winner = winners(standings)[times]
    gaps = {s.racer: Interval(s.gap.estimate, *s.gap.interval()) for s in here}
    return Budget(
        f"{data_set}, 1/{times} of the bytes, {limit:,}\n{winner.racer} wins\n"
        f"{gaps[winner.racer]}, {judge(winner.gap)}",
        {s.racer: s.bytes for s in here},
        gaps,
        limit,
        winner.racer,
        "bytes",
    )


def recorded_race(recorded: dict[str, list[Standing]]) -> Explorable:
    """Which racer wins at a budget, on which log: {data set: standings of its recorded race}.

    The validation items choose the winner. Raises ValueError if there is no race.
    """
    if not recorded:
        raise ValueError("no recorded race; `cprec race --dataset ml-100k` makes one")
    first, last = next(iter(recorded)), next(reversed(recorded))
    budgets = {f"1/{times}": times for times in TIMES}
    return Explorable(
        "recorded_race",
        (
            Control("Data set", "Which recorded race is shown.", named(recorded), first, "list"),
            Control(
                "Budget", "The largest size, as a share of the uncompressed model.", budgets, 8
            ),
        ),
        lambda data_set, times: standings_at(recorded[data_set], data_set, times),
        draw,
        _say,
        ((first, TIMES[0]), (last, TIMES[-1])),
        "Test NDCG@10 minus the uncompressed model's with its 95 % interval, by racer (bytes), in "
        "order of validation NDCG@10; the first one wins. The groups of int4 have 16 weights.",
    )
