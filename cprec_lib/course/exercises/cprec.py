"""Exercises of notebook 06: cutoffs for a budget, and fair comparisons."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from numbers import Integral
from typing import Any

import numpy as np

from cprec_lib.course.exercises.problem import Problem
from cprec_lib.course.exercises.values import difference, rows_of
from cprec_lib.evidence.bootstrap import Interval
from cprec_lib.evidence.bootstrap import interval as bootstrap
from cprec_lib.model.config import cprec, nextitnet
from cprec_lib.model.cost import count_parameters
from cprec_lib.model.partition import BlockPartition

ENOUGH = 0.8
"""Share of the budget that an answer has to use."""


def choose_cutoffs(n_items: int, width: int, budget: int) -> tuple[int, int]:
    """Two cutoffs within the budget, with a block 2 as large as the head."""
    head = n_items // 3
    while True:
        parts = count_parameters(cprec(n_items, width, (head, 2 * head))).by_part()
        if parts["embedding"] + parts["softmax"] <= budget:
            return head, 2 * head
        head -= 1


def _cost_of(answer: Callable[..., Any], n_items: int, width: int, budget: int) -> Any:
    """What the cutoffs of an answer cost, or what is wrong with them."""
    cutoffs = answer(n_items, width, budget)
    if cutoffs is None or cutoffs is ...:
        return cutoffs
    counts = isinstance(cutoffs, list | tuple) and all(
        isinstance(c, Integral) and not isinstance(c, bool) for c in cutoffs
    )
    if not counts or len(cutoffs) != 2:
        return f"the answer gives `{cutoffs!r:.80}`; two cutoffs, as item counts, are expected."
    try:
        BlockPartition.decaying(n_items, cutoffs, width)
    except ValueError as error:
        return f"these cutoffs cut no catalogue into three blocks: {error}."
    return {
        "cutoffs": tuple(map(int, cutoffs)),
        "budget": budget,
        **count_parameters(cprec(n_items, width, cutoffs)).by_part(),
    }


def _within_budget(result: Any, right: Any) -> str:
    """What is wrong with the cutoffs; the solution's are one choice of several."""
    if isinstance(result, str):
        return result
    budget, total = result["budget"], result["embedding"] + result["softmax"]
    cost = (
        f"the cutoffs {result['cutoffs']} take {result['embedding']:,} parameters in the embedding "
        f"and {result['softmax']:,} in the softmax, {total:,} together"
    )
    if total > budget:
        return f"{cost}: {total - budget:,} over the budget of {budget:,}."
    if total < ENOUGH * budget:
        return f"{cost}: less than {ENOUGH:.0%} of the budget of {budget:,}."
    return ""


cutoffs_for_a_budget = Problem(
    title="Cutoffs for a budget",
    task="Write `choose_cutoffs(n_items, width, budget)`: two cutoffs with which CpRec's embedding "
    "and softmax together take at most `budget` parameters, and at least 80 % of it.",
    minutes=16,
    difficulty="medium",
    optional=True,
    purpose="The memory of a phone or a graphics card sets the budget; the cutoffs have to fit it.",
    answer=choose_cutoffs,
    use=_cost_of,
    judge=_within_budget,
    cases=((10, 4, 58), (200, 16, 2400), (1682, 64, 60_000)),
    wrong="""
    parts["embedding"] + parts["softmax"] => parts["embedding"]
        These cutoffs suit a budget for the embedding alone. The same cutoffs cut the softmax, and
        its parameters count, too.
    count_parameters(cprec(n_items, width, => BlockPartition.decaying(n_items, width=width, cutoffs=
    2 * head))).by_part() => 2 * head))
    parts["embedding"] + parts["softmax"] => 2 * np.dot(parts.sizes, parts.widths)
        The tables alone would fit. But each tail block also has a projection, in the embedding and
        in the softmax, and the softmax has block tokens.
    return head, 2 * head => return head, head
        The second number is the size of block 2. A cutoff is the number of all items before it,
        in all blocks together.
    return head, 2 * head => return head, n_items
        The last cutoff is the whole catalogue, as in the authors' code. Here cutoffs lie between
        blocks, and the far tail needs items.
    lambda n_items, width, budget: (1, 2)
        A head of one item fits every budget, but it leaves most of the budget unused. Those
        parameters could improve the accuracy.
    """,
    hints=(
        "No formula is needed. `count_parameters(config).by_part()` counts what a choice costs, "
        "and counting is fast enough to try many choices.",
        "Derive the second cutoff from the first, for example as twice the head. Then only one "
        "number is left to find.",
        "Start with a large head and make it smaller until embedding and softmax together are "
        "within the budget. Mind that twice the head must stay below `n_items`.",
    ),
    why="Many cutoffs cost the same. An item costs most in the head, so a slightly smaller head "
    "pays for a much larger block 2. Only training can tell which is more accurate.",
)

Run = tuple[str, float, float, float]


def tuned_scores(runs: Sequence[Run]) -> dict[str, float]:
    """Each model's test score at the rate with its best validation score."""
    best: dict[str, Run] = {}
    for run in runs:
        model, _, valid, _ = run
        if model not in best or valid > best[model][2]:
            best[model] = run
    return {model: run[3] for model, run in best.items()}


def _one_rate(runs: Sequence[Run]) -> dict[str, float]:
    mean = {run[1]: np.mean([other[2] for other in runs if other[1] == run[1]]) for run in runs}
    rate = max(mean, key=lambda rate: mean[rate])
    return {run[0]: run[3] for run in runs if run[1] == rate}


tuning = Problem(
    title="Tune both sides",
    task="Write `tuned_scores(runs)`: for each model the test score of the run that validation "
    "chooses.",
    minutes=5,
    difficulty="easy",
    purpose="A comparison is only as good as the tuning of both sides.",
    answer=tuned_scores,
    cases=(
        (rows_of("large .01 .30 .27, large .03 .24 .29, small .01 .21 .20, small .03 .25 .24"),),
        (
            rows_of(
                "a .001 .12 .11, b .001 .15 .13, c .001 .11 .14, "
                "a .003 .14 .10, b .003 .14 .16, c .003 .16 .12, "
                "a .010 .13 .15, b .010 .12 .12, c .010 .13 .13"
            ),
        ),
        (rows_of("a .01 -6.1 -6.2, a .03 -5.8 -5.9, b .01 -6.3 -6.0, b .03 -6.4 -6.1"),),
    ),
    wrong="""
    model, _, valid, _ => model, _, _, valid
    best[model][2] => best[model][3]
        The test score chose the run. The best of several tries on the test flatters the model: part
        of it is luck with these very test items.
    run[3] for => run[2] for
        These are validation scores. The best of several is biased upwards, because it was chosen
        for being high. Which score was held out for the report?
    _one_rate
        All models run at one learning rate, the best on average. A rate that suits one model may
        not suit another. The budget should be the same, not the rate.
    lambda runs: {m: float(np.mean([run[3] for run in runs if run[0] == m])) for m, *_ in runs}
        This is the mean over the rates. A bad rate then counts against a model, although nobody
        would use it for that model.
    model not in best or valid > best[model][2] => valid > best.get(model, (model, 0, 0))[2]
        The best score so far starts at 0, so a model whose scores are all below 0 is missing.
        Validation scores may be negative, as with minus the loss.
    lambda runs: {run[0]: run[3] for run in runs}
        Each model keeps its last run. A dict forgets the earlier entries of a key; which run should
        stay?
    """,
    hints=(
        "Two numbers of a run have different jobs: one chooses, the other is reported.",
        "Go through the runs and keep, for each model, the best one so far by its validation "
        "score.",
        "Keep a dict from each model's name to its best run so far. Replace the run if the new "
        "one has a higher validation score; take the test scores at the end.",
    ),
    why="The reported score can be lower than that of another rate. That is the price of an honest "
    "score: the test items had no part in the choice.",
)


def widest_rival(n_items: int, width: int, budget: int) -> int:
    """The largest width at which NextItNet has at most `budget` parameters."""
    while count_parameters(nextitnet(n_items, width)).total > budget:
        width -= 1
    return width


rival = Problem(
    title="The plain rival",
    task="Write `widest_rival(n_items, width, budget)`: the largest width, at most `width`, at "
    "which NextItNet has no more than `budget` parameters.",
    minutes=7,
    difficulty="medium",
    optional=True,
    purpose="A compressed model has to beat an uncompressed one of the same size.",
    answer=widest_rival,
    cases=(
        (3, 4, 200),
        (3, 4, 300),
        (3, 4, 900),
        (3, 4, 159),
        (1682, 64, 96_024),
        (3416, 64, 140_328),
        (26_744, 512, 4_000_000),
    ),
    wrong="""
    > budget => >= budget
        A rival with exactly as many parameters as the budget is left out. It has no more than the
        budget, so it counts.
    lambda n_items, width, budget: widest_rival(n_items, width - 1, budget)
        `width` itself is never tried. It is the answer if a NextItNet of this width fits.
    lambda n_items, width, budget: min(width, widest_rival(n_items, width, budget) + 1)
        This width is one too large: it is the first that no longer fits, so the rival would be
        larger than the compressed model.
    lambda n_items, width, budget: min(range(1, width + 1), key=lambda narrow:
    abs(count_parameters(nextitnet(n_items, narrow)).total - budget))
        At this width the size is nearest to the budget, but it may be above the budget. The rival
        must not be the larger model.
    lambda n_items, width, budget: widest_rival(n_items, 9 * width, budget)
        The rival is wider than `width` where the budget allows it. It has to be a narrower
        NextItNet, or the same one.
    lambda n, width, budget: int(width * budget / count_parameters(nextitnet(n, width)).total)
        The width was reduced in proportion to the parameters. Not every part of the model grows in
        proportion to its width: look at a convolution.
    lambda n, width, budget: int(width *
    (budget / count_parameters(nextitnet(n, width)).total) ** 0.5)
        The width was reduced with the square root of the parameters. Not every part of the model
        grows with the square of its width: look at a table.
    lambda n_items, width, budget: min(width, (budget - n_items) // (2 * n_items))
        Embedding and softmax alone fit the budget at this width. The middle layers of the rival
        count as well.
    """,
    hints=(
        "How many parameters does NextItNet have at a given width? `count_parameters` tells you, "
        "and there are few enough widths to try.",
        "`count_parameters(nextitnet(n_items, width)).total` is the size at a width. It grows with "
        "the width, so the search can start at either end.",
        "Start at the full width, and make it smaller by 1 as long as the model is too large.",
    ),
    why="A convolution has d² weights per tap, a table d numbers per item. So where most "
    "parameters are in the middle layers, half the width leaves less than half the size.",
)


@lru_cache(maxsize=100)
def _remembered(values: tuple[float, ...]) -> Interval:
    return bootstrap(np.array(values))


def interval(values: np.ndarray) -> Interval:
    """The library's. A check asks for the same few again and again, so they are remembered."""
    return _remembered(tuple(values.tolist()))


def judge_model(small: np.ndarray, whole: np.ndarray, margin: float) -> str:
    """Whether the small model is as good as the whole one, by the paired interval."""
    gap = interval(small - whole)
    if gap.low > -margin:
        return "as good"
    return "worse" if gap.high < 0 else "undecided"


def _beside_interval(
    answer: Callable[..., Any], small: np.ndarray, whole: np.ndarray, margin: float
) -> Any:
    """An answer's verdict, with what it is about, so that a message can show the interval."""
    verdict = answer(small, whole, margin)
    if verdict is None or verdict is ...:
        return verdict
    return {"verdict": verdict, "difference": small - whole, "margin": margin}


def _same_verdict(result: Any, right: Any) -> str:
    wrong = difference(result["verdict"], right["verdict"])
    if not wrong:
        return ""
    gap = interval(right["difference"])
    return (
        f"the interval is [{gap.low:.3f}, {gap.high:.3f}], and minus the margin is "
        f"{-right['margin']}: {wrong}"
    )


_WHOLE = np.array([0.3, 0.5, 0.9, 0.4, 0.8, 0.3, 0.5, 0.7])


def _less(*lost: float) -> np.ndarray:
    """Scores of a small model that loses these amounts, one per user."""
    return np.asarray(_WHOLE - lost)


what_an_interval_decides = Problem(
    title="What an interval decides",
    task='Write `judge_model(small, whole, margin)`: "as good", "worse" or "undecided", by the '
    "paired interval of the difference.",
    minutes=13,
    difficulty="medium",
    purpose='"Undecided" is often read as "just as good"; a margin separates the two.',
    answer=judge_model,
    use=_beside_interval,
    judge=_same_verdict,
    cases=(
        (np.array([0.3, 0.5, 0.9]), np.array([0.31, 0.51, 0.91]), 0.012),
        (_less(0, 0.1, 0.1, 0, 0.1, 0, 0, 0.1), _WHOLE, 0.005),
        (_less(0, 0.4, -0.1, 0, 0.1, -0.4, -0.3, 0.3), _WHOLE, 0.02),
        (_less(0, -0.1, 0, 0, -0.1, 0.05, 0, 0), _WHOLE, 0.03),
        (_less(0, 0.3, -0.1, 0, 0.4, 0.2, 0, -0.1), _WHOLE, 0.02),
        (np.array([0.9, 1.0, 0.8]), np.array([0.0, 0.1, 0.0]), 0.02),
        (_less(0.3, 0.1, 0.2, 0.1, 0.3, 0.2, 0.1, 0.25), _WHOLE, 0.2),
        (np.array([0.32, 0.52, 0.4]), np.array([0.31, 0.51, 0.39]), 0.05),
        (np.array([0.25, 0.5, 0.25]), np.array([0.75, 1.0, 0.75]), 0.5),
        (_less(0, 0, 0, 0, 0, 0, 0, 0.4), _WHOLE, 0.02),
        (_less(0, 0.05, 0, 0, -0.02, 0, 0, 0.05), _WHOLE, 0.03),
    ),
    wrong="""
    gap.high < 0 => gap.high < -margin
        Here "worse" needs a loss that is certainly larger than the margin. It is enough that every
        value in the interval is a loss.
    if gap.low > -margin: => if gap.low > -margin and gap.high >= 0:
        An interval below 0 but above minus the margin is called worse. The first rule comes first:
        such a loss is too small to matter.
    gap.low > -margin => gap.low >= -margin
        This interval has a loss exactly as large as the margin. "As good" needs every loss to be
        smaller.
    gap.high < 0 => gap.high <= 0
        This interval ends at 0, and a difference of 0 is not a loss.
    gap.low > -margin => gap.high >= 0
    "worse" if gap.high < 0 else "undecided" => "worse"
        Only 0 decides here: an interval that reaches it is taken to show that nothing is lost. With
        few users every interval reaches 0, however much is lost. How large may the loss still be?
    -margin => 0
        The interval is compared with 0, and the margin is not used. A loss can be certain and yet
        too small to matter.
    -margin => -margin * whole.mean()
        The margin is taken as a share of the whole model's accuracy. Here it is a difference in
        NDCG@10, as the interval is.
    interval(small - whole) => np.mean(small - whole)
    gap.low => gap
    "worse" if gap.high < 0 else "undecided" => "worse"
        Only the estimate decides, so nothing is ever undecided. Other users would give another
        estimate; the interval says how different.
    gap.low => gap.high
    "worse" if gap.high < 0 else "undecided" => "worse"
        The upper bound decides that the model is as good. That is the best case. Which bound says
        how large the loss may be?
    gap.low => interval(small).low - interval(whole).high
    gap.high => interval(small).high - interval(whole).low
        The bounds come from one interval for each model. Users who are hard for one model are hard
        for the other, too. That part cancels only if the difference is taken user by user, before
        the interval.
    gap.low > -margin => gap.low > margin
        Here the small model would have to win by the margin. The margin is what it may lose: on
        which side of 0 does that lie?
    gap.low > -margin => gap.low > -margin and gap.high < margin
        This asks both models to be equally good, within the margin. A gain, however large, does not
        make the small model less than "as good".
    small - whole => whole - small
        The difference is taken the other way round: here the whole model would have to be as good
        as the small one.
    """,
    hints=(
        "First the difference of each user, then one interval for its mean. `interval` has `.low` "
        "and `.high`.",
        "Draw a line with 0 and, left of it, minus the margin. Where must the whole interval lie "
        'for "as good"? Where must it lie for "worse"?',
        "Two comparisons are enough: the lower bound with minus the margin, then the upper bound "
        "with 0. If neither decides, the answer is undecided.",
    ),
    why="The first rule is called a test of non-inferiority. An interval may include 0 and leave "
    'the question undecided, or lie below 0 and still show "as good".',
)

Models = Mapping[str, tuple[int, float]]


def pareto_front(models: Models) -> list[str]:
    """Names of the models that no other dominates, the smallest first."""

    def dominated(size: int, score: float) -> bool:
        others = [other for other in models.values() if other != (size, score)]
        return any(other[0] <= size and other[1] >= score for other in others)

    names = sorted(models, key=lambda name: models[name][0])
    return [name for name in names if not dominated(*models[name])]


def _rising(
    models: Models, order: list[str], beats: Callable[[float, float], bool] = float.__gt__
) -> list[str]:
    """Keeps each model of the order whose accuracy beats that of the last one kept."""
    kept = order[:1]
    for name in order[1:]:
        if beats(models[name][1], models[kept[-1]][1]):
            kept.append(name)
    return kept


pareto = Problem(
    title="Which models are on the front?",
    task="Write `pareto_front(models)`: the names of the models that no other dominates, the "
    "smallest first.",
    minutes=10,
    difficulty="medium",
    optional=True,
    purpose="Whatever your budget is, the model to choose is on the front.",
    answer=pareto_front,
    cases=(
        ({"A": (10, 0.10), "B": (20, 0.08), "C": (30, 0.12), "D": (30, 0.11)},),
        ({"D": (50, 0.11), "A": (10, 0.10), "C": (40, 0.09), "B": (30, 0.12)},),
        (
            {
                "T": (12, 0.5),
                "P": (9, 0.3),
                "Q": (7, 0.3),
                "U": (5, 0.05),
                "R": (5, 0.1),
                "S": (8, 0.2),
            },
        ),
    ),
    wrong="""
    other[0] <= size and other[1] >= score => other[0] < size and other[1] > score
    models[name][0]) => models[name])
        A model is omitted only if another is better in both respects. It is also dominated by one
        of equal size that is more accurate, and by a smaller one that is as accurate.
    other[0] <= size and other[1] >= score => other[0] < size and other[1] > score
        Two kinds of dominated models are kept: those that have a more accurate model of equal size
        beside them, and those that have a smaller one that is as accurate.
    other[0] <= size => other[0] < size
        A model is kept although another of equal size is more accurate. "At least as small"
        includes an equal size.
    models[name][0]) => models[name])
    [name for name in names => [name for last, name in zip([names[0], *names], names)
    not dominated(*models[name]) => name == last or models[name][1] > models[last][1]
        Each model is compared only with its neighbour in size. A much smaller model can dominate
        it, too.
    lambda models: _rising(models, [*models])
        The models are taken in the order of the dict, which need not be sorted.
    lambda models: _rising(models, sorted(models, key=lambda name: models[name][0]))
        Nearly: of two models of equal size, the one that came first stays, even if the other is
        more accurate.
    lambda models: _rising(models, sorted(models, key=lambda name: models[name]))
        Nearly: of two models of equal size the less accurate one is kept, too. It comes first, and
        nothing smaller beats it.
    lambda models: _rising(models,
    sorted(models, key=lambda name: (models[name][0], -models[name][1])), float.__ge__)
        Nearly: a model that is larger than another and only as accurate is dominated.
    lambda models: [name for name in models if name in pareto_front(models)]
        The right models, but in the order of the dict. The smallest comes first.
    lambda models: sorted(pareto_front(models))
        The right models, but in the order of their names. The smallest comes first.
    [other for other in models.values() if other != (size, score)] => models.values()
        Every model was omitted, because each was compared with itself, too: it is as small and as
        accurate as itself.
    lambda models: pareto_front(models)[::-1]
        The right models, but the largest comes first.
    lambda models: [max(models, key=lambda name: models[name][1] / models[name][0])]
        This is the model with the most accuracy per parameter. Not everyone wants half the accuracy
        at a third of the size; the front keeps every model that somebody could choose.
    lambda models: [max(models, key=lambda name: models[name][1])]
        This is the most accurate model. Others are smaller, and nothing of their size or below
        beats them.
    lambda models: _rising(models,
    sorted(models, key=lambda name: models[name], reverse=True), float.__lt__)[::-1]
        The search goes from the largest model down, and keeps each model that is less accurate than
        the last one kept. But the largest model may be dominated, and it is compared with none.
    """,
    hints=(
        "Take one model, and check for every other: is it at least as small, and at least as "
        "accurate? Do not compare a model with itself.",
        "Or sort by size first. Going from the smallest model up, when are the additional "
        "parameters worth it?",
        "Going up in size, a model is on the front if it is more accurate than all before it. If "
        "two have the same size, the more accurate one has to come first.",
    ),
    why="The front is made of estimates. The comparison of two neighbours may be undecided, and "
    "with other users a model just below the front might be on it.",
)
