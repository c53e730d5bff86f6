"""Exercises of notebook 08: how much seeds differ, many comparisons, which logs decide a claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cprec_lib.course.exercises.problem import Problem

# The variance between seeds


def pooled_variance(scores: Mapping[str, Sequence[float]]) -> float:
    """Variance between the seeds of a model, pooled over the models that have several."""
    repeated = [np.array(own) for own in scores.values() if len(own) > 1]
    squares = sum(((own - own.mean()) ** 2).sum() for own in repeated)
    return float(squares / sum(len(own) - 1 for own in repeated))


spread_of_seeds = Problem(
    title="How much a seed changes",
    task="Pool the variance between seeds over all models of a setting.",
    minutes=10,
    difficulty="medium",
    purpose=(
        "The intervals below need the variance between seeds, and each model has only a few seeds."
    ),
    answer=pooled_variance,
    cases=(
        ({"A": [1.0, 3.0], "B": [2.0, 2.0, 5.0]},),
        ({"A": [10.0, 12.0], "B": [1.0, 1.0]},),
        ({"A": [0.25, 0.5, 0.75], "B": [0.5]},),
        ({"A": [4.0, 4.0, 4.0], "B": [1.0, 7.0], "C": [2.0, 3.0, 4.0, 5.0]},),
    ),
    wrong="""
    len(own) - 1 for => len(own) for
        You divided by the number of runs. Each model's mean is computed from its own seeds, so
        one seed of each model tells nothing new: count the seeds minus one.
    len(own) - 1 for own in repeated => len(own) for own in scores.values()
        You divided by the number of all runs. A model with one seed says nothing about seeds, and
        each other model says as much as its number of seeds minus one.
    len(own) - 1 for own in repeated => max(len(own) - 1, 1) for own in scores.values()
        A model with a single seed counts in your divisor. It says nothing about seeds: leave it
        out.
    sum(len(own) - 1 for own in repeated) => (sum(map(len, scores.values())) - 1)
        You divided by the number of all runs minus one. Every model has its own mean, so subtract
        one for each model, not one in all.
    len(own) - 1 for own in repeated => 1 for own in repeated
        You divided by the number of models. Divide by the sum of (number of seeds - 1) over them.
    lambda scores: float(sum(np.var(own, ddof=1) * len(own) for own in scores.values()
    if len(own) > 1) / sum(len(own) for own in scores.values() if len(own) > 1))
        Each variance is weighted by its number of seeds. Weight it by that number minus one, the
        divisor of the variance.
    lambda scores: float(np.mean([np.var(own) for own in scores.values()]))
        This is the mean of the variances, each divided by the number of seeds. Add up the squared
        distances of all models first, and leave out models with one seed.
    ((own - own.mean()) ** 2) => abs(own - own.mean())
        These are the distances from the mean. Square them before you add them up.
    lambda scores: float(np.mean([np.var(own, ddof=1) for own in scores.values() if len(own) > 1]))
        Every model counts the same here. A model with many seeds says more about their variance
        than one with two: weight each variance by its number of seeds minus one.
    lambda scores: float(np.var([s for own in scores.values() for s in own], ddof=1))
        This is the variance of all runs together, so the differences between the models count as
        differences between seeds. Subtract each model's own mean.
    return float( => return np.sqrt(
        This is the standard deviation. The exercise asks for its square, the variance.
    own - own.mean() => own - np.concatenate(repeated).mean()
        The mean of all runs is subtracted here. A difference between two models is not one
        between seeds: subtract the mean of the model's own runs.
    """,
    hints=(
        "Take one model with the scores 1 and 3. How far is each from the model's mean, and what "
        "do the squares add up to?",
        "Add these sums of squares over all models with two or more seeds.",
        "Divide by the sum of (number of seeds - 1) over the same models.",
    ),
    why="Two seeds of one model say little about how much seeds differ. Ten models with two seeds "
    "each say as much as one model with eleven seeds, if seeds change every model alike.",
)

# Many comparisons


def rejected(p_values: Sequence[float], level: float) -> list[bool]:
    """Which hypotheses Holm's method rejects, in the order of the p-values."""
    found, n = [False] * len(p_values), len(p_values)
    for rank, place in enumerate(sorted(range(n), key=lambda i: p_values[i])):
        if p_values[place] * (n - rank) > level:
            break
        found[place] = True
    return found


many_comparisons = Problem(
    title="Correct for many comparisons",
    task="Say which of several hypotheses Holm's method rejects.",
    minutes=13,
    difficulty="medium",
    purpose="Among many models, the luckiest looks better than it is.",
    answer=rejected,
    cases=(
        ([0.01, 0.04, 0.03], 0.05),
        ([0.01, 0.02, 0.03], 0.05),
        ([0.04], 0.05),
        ([0.2, 0.012, 0.6, 0.001], 0.05),
        ([0.02, 0.001, 0.04, 0.06], 0.05),
        ([0.001, 0.2, 0.001], 0.05),
        ([0.02, 0.001, 0.03, 0.03], 0.05),
        ([0.03, 0.026, 0.9], 0.05),
        ([0.025, 0.5], 0.05),
        ([0.0252, 0.5], 0.05),
    ),
    wrong="""
    * (n - rank) => * 1
        No correction here: each p-value is compared with the level itself. With 20 true
        hypotheses one is rejected by chance, on average.
    * (n - rank) => * n
        Every p-value is multiplied by n: that is Bonferroni's method. It is right but stricter than
        necessary. After one rejection, only n - 1 hypotheses remain.
    p_values[place] * (n - rank) > level => 1 - (1 - p_values[place]) ** (n - rank) > level
        This is Šidák's correction, which holds for independent p-values. Holm multiplies.
    > level => >= level
        A product that equals the level counts as too large here. It may be as large as the level.
    * (n - rank) => * n / (rank + 1)
        The p-value is multiplied by n divided by its rank, as by Benjamini and Hochberg. They bound
        the share of wrong rejections; Holm bounds the probability of a single one.
    lambda p_values, level: [p <= level * max((k for k in range(1, len(p_values) + 1)
    if sorted(p_values)[k - 1] <= level * k / len(p_values)), default=0) / len(p_values)
    for p in p_values]
        This is the method of Benjamini and Hochberg, which bounds the share of wrong rejections.
        Holm bounds the probability of a single one.
    lambda p_values, level: [any(q >= p and q * (1 + sum(r > q for r in p_values)) <= level
    for q in p_values) for p in p_values]
        You begin with the largest p-value and reject from the first that is small enough: that is
        Hochberg's method. Holm begins with the smallest and stops at the first that is too large.
    * (n - rank) => * (n - rank - 1)
        The factors are too small by one: multiply the smallest p-value by n, not by n - 1.
    break => continue
        The method stops at the first hypothesis that it keeps. Larger p-values are kept as well,
        even if they are small enough for their own rank.
    , key=lambda i: p_values[i] =>
        The p-values are taken in the order in which they came. Begin with the smallest.
    lambda p_values, level: [not one for one in rejected(p_values, level)]
        True and False are exchanged. True says that the method rejects the hypothesis.
    key=lambda i: p_values[i] => key=lambda i: -p_values[i]
        Begin with the smallest p-value, not the largest.
    * (n - rank) => * (rank + 1)
        The smallest p-value has to meet the strictest bound: multiply it by n, the next by
        n - 1.
    found[place] => found[p_values.index(p_values[place])]
        `index` finds the first of two equal p-values, so the second gets no answer. Sort the
        places, not the p-values.
    found[place] => found[rank]
        The answers stand in the order of the sorted p-values. Put each back where its p-value was.
    """,
    hints=(
        "Sort the p-values. The smallest of n is compared with level / n.",
        "If it is rejected, n - 1 hypotheses remain: compare the next with level / (n - 1), and so "
        "on.",
        "Stop at the first that is not rejected. Everything from there on is kept. Remember where "
        "each p-value stood in the list.",
    ),
    why="If all hypotheses are true, the chance that any is rejected is at most the level, even if "
    "the p-values depend on each other.",
)

# Which logs decide


def deciding_logs(judged: Sequence[tuple[str, str]]) -> dict[str, bool]:
    """The logs that decide a claim, and how: True if the variant is as good there."""
    answers: dict[str, set[str]] = {}
    for log, answer in judged:
        answers.setdefault(log, set()).add(answer)
    decided = {log: found - {"undecided"} for log, found in answers.items()}
    return {log: found == {"as good"} for log, found in decided.items() if len(found) == 1}


logs_that_decide = Problem(
    title="Two logs, not two settings",
    task="Find the logs that decide a claim, from the answers of single settings.",
    minutes=8,
    difficulty="easy",
    optional=True,
    purpose="Two settings of one log test the same users, so they are not independent.",
    answer=deciding_logs,
    cases=(
        ([("films", "as good"), ("films", "as good"), ("news", "undecided")],),
        ([("films", "as good"), ("films", "worse")],),
        ([("films", "undecided"), ("films", "worse"), ("news", "as good")],),
        ([("news", "worse"), ("news", "worse"), ("news", "as good")],),
        ([("news", "as good"), ("news", "worse"), ("news", "as good")],),
        ([],),
    ),
    wrong="""
    lambda judged: {log: answer == "as good" for log, answer in judged}
        The last answer of each log wins here. A log may have several settings: collect their
        answers first. "Undecided" is not an answer.
    lambda judged: {log: answer == "as good" for log, answer in judged if answer != "undecided"}
        The last decided answer of each log wins here. A log whose settings contradict each other
        decides nothing, whichever comes last.
    lambda judged: {log: all(a == "as good" for l, a in judged if l == log) for log, _ in judged}
        "Undecided" counts as an answer against here. It says nothing either way: leave it out, and
        with it a log that has no other answer.
    found - {"undecided"} => found
        One undecided setting keeps the whole log from deciding here. It says nothing either way:
        leave it out.
    lambda judged: {log: sum((a == "as good") - (a == "worse") for l, a in judged if l == log) > 0
    for log, answer in judged if answer != "undecided"}
        The majority of a log's settings wins here. A log whose settings contradict each other
        decides nothing, however many there are on either side.
    lambda judged: {log: answer == "as good" for log, answer in reversed(judged)
    if answer != "undecided"}
        The first decided answer of each log wins here. A log whose settings contradict each other
        decides nothing, whichever comes first.
    lambda judged: {log: votes > 0 for log, votes in ((log, sum((a == "as good") - (a == "worse")
    for l, a in judged if l == log)) for log, _ in judged) if votes}
        The majority of a log's settings wins here, and only a tie leaves it undecided. A log whose
        settings contradict each other decides nothing.
    in answers.items() => in answers.items() if "undecided" not in found
        One undecided setting keeps the whole log from deciding here. It says nothing either way:
        remove "undecided" before you compare the answers.
    lambda judged: {**dict.fromkeys(log for log, _ in judged), **deciding_logs(judged)}
        The dict has an entry for every log here. Leave out a log that decides nothing.
    lambda judged: {log: all(a == "as good" for l, a in judged if l == log and a != "undecided")
    for log, answer in judged if answer != "undecided"}
        A log whose settings contradict each other counts as refuting here. It decides nothing.
    """,
    hints=(
        "Collect the answers of each log in a set.",
        'Remove "undecided" from each set. How many different answers may be left?',
        "A log decides if exactly one answer is left. It is True for as good, False for worse.",
    ),
    why="Settings of one log share its users. If the log happens to suit a model, it suits it in "
    "every setting. So only logs count, and the claim needs two of them.",
)
