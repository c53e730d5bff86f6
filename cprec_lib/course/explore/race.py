"""Which racer of a recorded race wins at a number of bytes."""

from cprec_lib.course.explore.explorable import Control, Explorable, named
from cprec_lib.course.figures.comparison import Budget
from cprec_lib.course.figures.comparison import budget as draw
from cprec_lib.evidence.bootstrap import Interval
from cprec_lib.evidence.race import BASE, TIMES, Standing, winners
from cprec_lib.evidence.statistics import judge


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
        winner.racer,
    )


def _say(state: Budget) -> str:
    return state.title.replace("\n", ", ") + "."


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
        "Test NDCG@10 minus that of the uncompressed model, with its 95 % interval. A racer's "
        "bytes are in brackets. The racers are sorted by validation NDCG@10, and the first one "
        "wins. A group of int4 has 16 weights.",
    )
