"""Exercises of notebook 04: ties, the best score that is reachable, a split in time."""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch
from torch import Tensor

from cprec_lib.course.exercises.problem import Problem
from cprec_lib.course.exercises.values import rows_of

# A metric from ranks with ties


def expected_hit_rate(scores: Tensor, targets: Tensor, k: int) -> float:
    """Expected HR@k of scores [U, N] for item ids targets [U], with ties in random order."""
    own = scores.gather(1, targets[:, None] - 1)
    better = (scores > own).sum(1)
    equal = (scores == own).sum(1)
    return float(((k - better) / equal).clamp(0, 1).mean())


ties_at_random = Problem(
    title="Ties in random order",
    task="Compute the expected HR@k when tied items are put in a random order.",
    minutes=14,
    difficulty="medium",
    purpose="For scoring a model that gives ties, without flattering or punishing it.",
    answer=expected_hit_rate,
    cases=(
        (torch.tensor([[7.0, 2.0, 7.0, 7.0]]), torch.tensor([1]), 2),
        (torch.tensor([[9.0, 4.0, 4.0, 4.0, 1.0]]), torch.tensor([2]), 3),
        (torch.tensor([[4.0, 4.0, 4.0, 1.0]]), torch.tensor([3]), 1),
        (torch.tensor([[6.0, 6.0, 6.0, 1.0]]), torch.tensor([3]), 2),
        (torch.tensor([[1.0, 3.0, 2.0], [3.0, 2.0, 1.0]]), torch.tensor([2, 2]), 1),
        (torch.tensor([[5.0, 5.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]]), torch.tensor([1, 3]), 3),
        (torch.tensor([[9.0, 8.0, 1.0, 7.0], [1.0, 0.0, 0.0, 0.0]]), torch.tensor([3, 1]), 1),
    ),
    wrong="""
    ((k - better) / equal).clamp(0, 1) => (better + 1 <= k).float()
        Every tie goes to the target here. A model that gives all items the same score would be
        perfect. A random order puts the target on each of the tied places equally often.
    ((k - better) / equal).clamp(0, 1) => (better + equal <= k).float()
        Every tie goes against the target, as in `evaluate`. That is a rule too, but not an average
        over random orders: on some of the tied places the target would be a hit.
    ((k - better) / equal).clamp(0, 1) => (better + (equal + 1) / 2 <= k).float()
        The average rank is right, but a hit at the average rank is not the average hit: some tied
        places may lie inside the top k and others outside.
    ((k - better) / equal).clamp(0, 1) => (((better + 1 <= k).float() + (better + equal <= k)) / 2)
        This is the mean of the lenient and the strict rule. It gives every tie across place k one
        half, however many of the tied places lie inside the top k.
    / equal => / (equal - 1)
        Count the tied places once more. The target stands on one of them too.
    / equal => / (equal - 1).clamp(min=1)
        The target stands on one of the tied places too, so there is one more of them than there
        are other items with its score.
    .clamp(0, 1) =>
        A chance lies between 0 and 1. What if all tied places are inside the top k, or none?
    .clamp(0, 1) => .clamp(max=1)
        A user with more than k items above the target has a negative chance here. It should be 0.
    .clamp(0, 1).mean() => .clamp(max=1).mean().clamp(0, 1)
        The mean over the users is kept above 0 here, but each user's chance has to be. One negative
        chance takes away what other users have earned.
    [:, None] - 1 => [:, None]
        These are the scores of the wrong items. Items are numbered from 1, columns from 0.
    lambda scores, targets, k: float((scores.argsort(dim=1, descending=True, stable=True)[:, :k]
    == targets[:, None] - 1).any(1).float().mean())
        The order of a sort decides the ties here, so low item ids win. That is one order of many,
        and it is not random.
    """,
    hints=(
        "For one user, count the items that score higher than the target, and those that score as "
        "high, the target included. On which places can the target land?",
        "With a items above and t tied, the target lands on place a + 1, ..., a + t, each with the "
        "same probability. How many of these t places are at most k?",
        "The probability is (k - a) / t, but never below 0 or above 1. Then take the mean over "
        "users.",
    ),
    why="Without ties this is the plain hit rate. With ties it lies between the lenient and the "
    "strict rule, and the gap between those two shows how much the ties matter.",
)

# The best that is reachable


def best_ndcg(probabilities: Tensor, k: int) -> float:
    """Highest expected NDCG@k, mean over users, for next items with probabilities [U, N]."""
    best = probabilities.sort(dim=1, descending=True).values[:, :k]
    ranks = torch.arange(1, best.shape[1] + 1)
    return float((best / (ranks + 1).log2()).sum(1).mean())


best_reachable = Problem(
    title="The best reachable NDCG",
    task="Compute the highest NDCG@k that any model can expect, from the true probabilities.",
    minutes=11,
    difficulty="medium",
    optional=True,
    purpose="For telling how much of the gap between a score and 1 is the model's fault, and how "
    "much is chance.",
    answer=best_ndcg,
    cases=(
        (torch.tensor([[0.2, 0.5, 0.3]]), 2),
        (torch.tensor([[0.6, 0.3, 0.1], [0.1, 0.2, 0.7]]), 1),
        (torch.tensor([[1.0]]), 3),
        (torch.tensor([[0.75, 0.25]]), 5),
        (
            torch.tensor(
                [
                    [0.05, 0.40, 0.10, 0.25, 0.15, 0.05],
                    [0.30, 0.05, 0.20, 0.05, 0.10, 0.30],
                    [0.00, 0.00, 1.00, 0.00, 0.00, 0.00],
                ]
            ),
            3,
        ),
    ),
    wrong="""
    .sort(dim=1, descending=True).values =>
        No row is sorted here (a sort of the columns does not sort the rows): each list has the
        items in the order of their numbers. Which item should stand first for this user?
    , descending=True =>
        The least probable item comes first here: a sort is ascending unless told otherwise.
    .sort(dim=1, descending=True).values => [:, probabilities.mean(0).argsort(descending=True)]
        All users get the same list here, ordered by the mean over users. That is the best that
        popularity can do. With each user's probabilities known, each user gets a list of their own.
    best / (ranks + 1).log2() => best
        This is the best hit rate: every place of the list counts the same. In NDCG a hit counts
        less the lower the item stands.
    (ranks + 1).log2() => ranks
        This is the best MRR: a hit at rank r counts 1 / r here. How does NDCG count it?
    .mean() => .mean() / (1 / (ranks + 1).log2()).sum()
        You divided the sum by that of a list with a hit at every place. Only one item comes next,
        so the ideal list has one hit, at rank 1. It is worth 1, so there is nothing to divide by.
    best / => best / best.sum(1, keepdim=True) /
        You scaled the probabilities of the list to a sum of 1, as if the next item had to be on
        it. When another item comes, the user counts 0.
    (ranks + 1).log2() => ranks.log2()
        At rank 1 this divides by the logarithm of 1, which is 0. Rank 1 counts 1 / log2(2) = 1. Do
        the ranks start at 1, and is 1 added to them?
    ranks + 1 => ranks + 2
        Each place counts as if it were one lower. A hit at rank 1 is worth 1: is something added
        twice?
    log2 => log
        This is the natural logarithm, so every place counts 1.44 times what it should. NDCG takes
        the logarithm with base 2.
    [:, :k] =>
        Items beyond place k are counted too. The list ends there.
    .sum(1).mean() => .sum()
        This is the sum over the users. The exercise asks for their mean.
    best.shape[1] + 1 => k + 1
        The list has k places here, more than there are items, so an item counts more than once.
        With k above N there are only N places to fill.
    """,
    hints=(
        "Start with one user and k = 2. The item at rank 1 counts more when it comes than the one "
        "at rank 2. Which two items do you choose, and which of them goes first?",
        "The item at rank r gains 1 / log2(r + 1), but only when it comes next, which it does with "
        "its own probability. The expected value is the sum of probability times gain over the "
        "first k ranks.",
        "`sort` with a `dim` sorts each row by itself. `[:, :k]` takes the whole row when it has "
        "fewer than k columns, so count the ranks after the cut. Then sum, and take the mean.",
    ),
    why="No other list does better: where a less probable item stands above a more probable one, "
    "exchanging the two can only gain. The result is 1 only if every user's next item is certain. "
    "The gap to 1 is chance, and no model can close it.",
)

# A split in time


def split_at(table: pd.DataFrame, moment: float) -> tuple[dict[Any, int], dict[Any, Any]]:
    """Training counts of the items, and each user's target: the first item from the moment on."""
    table = table.sort_values("timestamp", kind="stable")
    past, later = table[table["timestamp"] < moment], table[table["timestamp"] >= moment]
    known = later[later["user"].isin(past["user"])]
    targets = known.groupby("user")["item"].first().to_dict()
    return past["item"].value_counts().to_dict(), targets


def _rows(text: str) -> pd.DataFrame:
    return pd.DataFrame(rows_of(text), columns=["user", "item", "timestamp"])


split_in_time = Problem(
    title="A split at one moment",
    task="Count the items before a moment, and take each user's first item from then on as target.",
    minutes=17,
    difficulty="hard",
    optional=True,
    purpose="For a test without leaks from later events, of the same user or of any other.",
    answer=split_at,
    cases=(
        (_rows("ann X 3, ann Z 12, ann Y 11, bob X 20, cat Y 5"), 10),
        (_rows("ann X 9, ann Z 10, ann Y 11, ann V 14, ann W 13"), 10),
        (_rows("bob Y 8, ann X 7, bob Y 2, bob X 1"), 10),
        (_rows("bob Y 18, ann X 17"), 10),
    ),
    wrong="""
    return past["item"] => return table["item"]
        The counts include rows of the test part. A baseline that ranks by them has seen the
        answers.
    table = table.sort_values("timestamp", kind="stable") =>
        This target is the first row in the table, not the first in time. The rows come in no
        particular order.
    .first() => .last()
        This target is the user's last item. The model does not read the items between the training
        part and this target. The target should be the item that comes next.
    later[later["user"].isin(past["user"])] => later
        A user without a row before the moment has a target here. What would the model read to
        predict it?
    < moment => <= moment
    >= moment => > moment
        Rows at the very moment belong to the later part: training rows come before it.
    table["timestamp"] < moment => table.duplicated("user", keep="last")
    table["timestamp"] >= moment => ~table.duplicated("user", keep="last")
    later[later["user"].isin(past["user"])] => later
        This is leave-one-out: each user's last row, whenever it was. One user's training rows are
        then later than another's test row, and what was popular later leaks back.
    """,
    hints=(
        "Start with two tables: the rows before the moment and the rows from it on. Sort by time "
        "before you take a first row.",
        '`past["item"].value_counts().to_dict()` gives the counts. For the targets keep the later '
        "rows of users that occur in the past: `isin`.",
        '`groupby("user")["item"].first()` gives the first item of each user, in row order.',
    ),
    why="Leave-one-out splits each user at a different time, so a model trains on what others did "
    "after a test item was chosen. One moment for all closes that leak. The price is fewer test "
    "users: those with rows on one side only cannot be tested.",
)
