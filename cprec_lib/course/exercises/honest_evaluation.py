"""Exercises of notebook 04: ties, the best score that is reachable, a split in time."""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch
from torch import Tensor

from cprec_lib.course.exercises.problem import Problem, Slip

# A metric from ranks with ties


def expected_hit_rate(scores: Tensor, targets: Tensor, k: int) -> float:
    """Expected HR@k of scores [U, N] for targets [U], item ids, when chance orders the ties."""
    own = scores.gather(1, targets[:, None] - 1)
    better = (scores > own).sum(1)
    equal = (scores == own).sum(1)
    return float(((k - better) / equal).clamp(0, 1).mean())


def _better_and_equal(scores: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    own = scores.gather(1, targets[:, None] - 1)
    return (scores > own).sum(1), (scores == own).sum(1)


def _lenient(scores: Tensor, targets: Tensor, k: int) -> float:
    better, _ = _better_and_equal(scores, targets)
    return float((better + 1 <= k).float().mean())


def _strict(scores: Tensor, targets: Tensor, k: int) -> float:
    better, equal = _better_and_equal(scores, targets)
    return float((better + equal <= k).float().mean())


def _middle_rank(scores: Tensor, targets: Tensor, k: int) -> float:
    better, equal = _better_and_equal(scores, targets)
    return float((better + (equal + 1) / 2 <= k).float().mean())


def _without_target(scores: Tensor, targets: Tensor, k: int) -> float:
    better, equal = _better_and_equal(scores, targets)
    return float(((k - better) / (equal - 1)).clamp(0, 1).mean())


def _unbounded(scores: Tensor, targets: Tensor, k: int) -> float:
    better, equal = _better_and_equal(scores, targets)
    return float(((k - better) / equal).mean())


def _sorted_order(scores: Tensor, targets: Tensor, k: int) -> float:
    top = scores.argsort(dim=1, descending=True, stable=True)[:, :k]
    return float((top == targets[:, None] - 1).any(1).float().mean())


def _wrong_column(scores: Tensor, targets: Tensor, k: int) -> float:
    return expected_hit_rate(scores, targets + 1, k)


ties_at_random = Problem(
    title="A coin for every tie",
    task="Compute the expected HR@k when tied items are put in a random order.",
    minutes=8,
    difficulty="medium",
    purpose="For scoring a model that ties without flattering it and without punishing it.",
    answer=expected_hit_rate,
    cases=(
        (torch.tensor([[7.0, 2.0, 7.0, 7.0]]), torch.tensor([1]), 2),
        (torch.tensor([[9.0, 4.0, 4.0, 4.0, 1.0]]), torch.tensor([2]), 3),
        (torch.tensor([[4.0, 4.0, 4.0, 1.0]]), torch.tensor([3]), 1),
        (torch.tensor([[1.0, 6.0, 6.0, 6.0]]), torch.tensor([4]), 2),
        (torch.tensor([[1.0, 3.0, 2.0], [3.0, 2.0, 1.0]]), torch.tensor([2, 2]), 1),
        (torch.tensor([[5.0, 5.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]]), torch.tensor([1, 3]), 3),
    ),
    slips=(
        Slip(
            _lenient,
            "Every tie goes to the target here. A model that gives all items one score would be "
            "perfect. Chance puts the target on each of the tied places equally often.",
        ),
        Slip(
            _strict,
            "Every tie goes against the target, as in `evaluate`. That is a rule too, but not an "
            "average over random orders: on some of its places the target would be a hit.",
        ),
        Slip(
            _middle_rank,
            "The average rank is right, but a hit at the average rank is not the average hit: "
            "part of the tied places may lie inside the top k and part outside.",
        ),
        Slip(
            _without_target,
            "Count the tied places once more. The target stands on one of them too.",
        ),
        Slip(
            _unbounded,
            "A chance lies between 0 and 1. What if all tied places are inside the top k, or none?",
        ),
        Slip(
            _wrong_column,
            "The scores of the wrong item were taken. Items are numbered from 1, columns from 0.",
        ),
        Slip(
            _sorted_order,
            "The order of a sort decides the ties here, so low item ids win. That is one order of "
            "many, and no random one.",
        ),
    ),
    hints=(
        "For one user, count the items that score higher than the target, and those that score as "
        "high, the target among them. On which places can the target land?",
        "With a items above and t tied, chance puts the target on place a + 1, ..., a + t, each "
        "with the same probability. How many of these t places are at most k?",
        "The chance is (k - a) / t, but never below 0 or above 1. Then the mean over users.",
    ),
    why="Without ties (t = 1) this is the plain hit rate. It lies between the lenient and the "
    "strict rule, and the distance between those two tells how much the ties matter.",
)

# The best that is reachable


def best_ndcg(probabilities: Tensor, k: int) -> float:
    """The highest NDCG@k to expect, mean over users, of next items with probabilities [U, N]."""
    best = probabilities.sort(dim=1, descending=True).values[:, :k]
    ranks = torch.arange(1, best.shape[1] + 1)
    return float((best / (ranks + 1).log2()).sum(1).mean())


def _gains(n_ranks: int) -> Tensor:
    return 1 / torch.arange(2, n_ranks + 2).log2()


def _expected(in_order: Tensor, k: int) -> float:
    """Expected NDCG@k where the items of each list come with these probabilities [U, N]."""
    top = in_order[:, :k]
    return float((top @ _gains(top.shape[1])).mean())


def _top(probabilities: Tensor, k: int) -> Tensor:
    return probabilities.sort(dim=1, descending=True).values[:, :k]


def _one_list_for_all(probabilities: Tensor, k: int) -> float:
    return _expected(probabilities[:, probabilities.mean(0).argsort(descending=True)], k)


def _of_ideal(probabilities: Tensor, k: int) -> float:
    top = _top(probabilities, k)
    return _expected(top, k) / float(_gains(top.shape[1]).sum())


def _certain_hit(probabilities: Tensor, k: int) -> float:
    top = _top(probabilities, k)
    return _expected(top / top.sum(1, keepdim=True), k)


def _reciprocal_ranks(probabilities: Tensor, k: int) -> float:
    top = _top(probabilities, k)
    return float((top / torch.arange(1, top.shape[1] + 1)).sum(1).mean())


def _shifted(probabilities: Tensor, k: int, shift: int) -> float:
    top = _top(probabilities, k)
    ranks = torch.arange(1, top.shape[1] + 1)
    return float((top / (ranks + shift).log2()).sum(1).mean())


def _natural(probabilities: Tensor, k: int) -> float:
    top = _top(probabilities, k)
    return float((top / torch.arange(2, top.shape[1] + 2).log()).sum(1).mean())


def _never_short(probabilities: Tensor, k: int) -> float:
    return float((_top(probabilities, k) * _gains(k)).sum(1).mean())


best_reachable = Problem(
    title="As good as it gets",
    task="Compute the highest NDCG@k that any model can expect, from the true probabilities.",
    minutes=8,
    difficulty="medium",
    purpose="For telling how much of a score's distance to 1 is the model's fault, and how much is "
    "chance.",
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
    slips=(
        Slip(
            _expected,
            "The rows are not sorted here: each list has the items in the order of their numbers. "
            "(Sorting the columns instead gives the same mean.) Which item should stand first for "
            "this user?",
        ),
        Slip(
            lambda probabilities, k: _expected(probabilities.sort(dim=1).values, k),
            "The least probable item stands first here: a sort rises unless it is told otherwise.",
        ),
        Slip(
            _one_list_for_all,
            "All users get one list here, ordered by the mean over users. That is the best that "
            "popularity can do. Whoever knows each user's probabilities gives each a list of its "
            "own.",
        ),
        Slip(
            lambda probabilities, k: float(_top(probabilities, k).sum(1).mean()),
            "This is the best hit rate: every place of the list counts the same. NDCG pays less "
            "the lower an item stands.",
        ),
        Slip(
            _reciprocal_ranks,
            "This is the best MRR: a hit at rank r counts 1 / r here. How does NDCG count it?",
        ),
        Slip(
            _of_ideal,
            "The sum was divided by that of a list with a hit at every place. Only one item comes "
            "next, so the ideal list has one hit, at rank 1. That is worth 1, and nothing is left "
            "to divide by.",
        ),
        Slip(
            _certain_hit,
            "The probabilities of the list were scaled to a sum of 1, as if the next item had to "
            "be on it. When another one comes, the user counts 0.",
        ),
        Slip(
            lambda probabilities, k: _shifted(probabilities, k, 0),
            "At rank 1 this divides by the logarithm of 1, which is 0. Rank 1 counts "
            "1 / log2(2) = 1. Do the ranks start at 1, and is 1 added to them?",
        ),
        Slip(
            lambda probabilities, k: _shifted(probabilities, k, 2),
            "Each place counts as if it were one lower. A hit at rank 1 is worth 1: is something "
            "added twice?",
        ),
        Slip(
            _natural,
            "This is the natural logarithm, so every place counts 1.44 times what it should. NDCG "
            "takes the logarithm with base 2.",
        ),
        Slip(
            lambda probabilities, k: best_ndcg(probabilities, probabilities.shape[1]),
            "Items beyond place k are counted too. The list ends there.",
        ),
        Slip(
            lambda probabilities, k: best_ndcg(probabilities, k) * len(probabilities),
            "This is the sum over the users; asked is their mean.",
        ),
        Slip(
            _never_short,
            "The list has k places here, more than there are items: one item was counted at every "
            "place. With k above N there are only N places to fill.",
        ),
    ),
    hints=(
        "Start with one user and k = 2. The item at rank 1 counts more when it comes than the one "
        "at rank 2. Which two items do you choose, and which of them goes first?",
        "The item at rank r brings 1 / log2(r + 1), but only when it comes, which it does with its "
        "own probability. The expected value adds up probability times gain over the first k "
        "ranks.",
        "`sort` with a `dim` sorts each row by itself, and `[:, :k]` takes what there is when a "
        "row has fewer than k. Count the ranks in what is left, then sum, then take the mean.",
    ),
    why="No other list does better: where a less probable item stands above a more probable one, "
    "exchanging the two can only gain. The result is 1 only if every user's next item is certain. "
    "What is missing to 1 is chance, and no model can win it.",
)

# A split in time


def split_at(table: pd.DataFrame, moment: float) -> tuple[dict[Any, int], dict[Any, Any]]:
    """Training counts of the items, and each user's target: its first item from the moment on."""
    table = table.sort_values("timestamp", kind="stable")
    past, later = table[table["timestamp"] < moment], table[table["timestamp"] >= moment]
    known = later[later["user"].isin(past["user"])]
    targets = known.groupby("user")["item"].first().to_dict()
    return past["item"].value_counts().to_dict(), targets


def _split_rows(answer: Any, rows: list[tuple[str, str, int]], moment: int) -> Any:
    return answer(pd.DataFrame(rows, columns=["user", "item", "timestamp"]), moment)


def _targets(table: pd.DataFrame, moment: float, which: str, known_only: bool = True) -> Any:
    """First or last item of each user from the moment on, in the order of the table."""
    past, later = table[table["timestamp"] < moment], table[table["timestamp"] >= moment]
    if known_only:
        later = later[later["user"].isin(past["user"])]
    return getattr(later.groupby("user")["item"], which)().to_dict()


def _sorted(table: pd.DataFrame) -> pd.DataFrame:
    return table.sort_values("timestamp", kind="stable")


def _leave_one_out(table: pd.DataFrame, moment: float) -> tuple[Any, Any]:
    table = _sorted(table)
    last = ~table.duplicated("user", keep="last")
    counts = table[~last]["item"].value_counts().to_dict()
    return counts, table[last].set_index("user")["item"].to_dict()


split_in_time = Problem(
    title="A split at one moment",
    task="Count the items before a moment; a user's first item from then on is the target.",
    minutes=12,
    difficulty="hard",
    purpose="For a test that no later event has leaked into, of the same user or of any other.",
    answer=split_at,
    use=_split_rows,
    cases=(
        (
            [
                ("ann", "X", 3),
                ("ann", "Z", 12),
                ("ann", "Y", 11),
                ("bob", "X", 20),
                ("cat", "Y", 5),
            ],
            10,
        ),
        (
            [
                ("ann", "X", 9),
                ("ann", "Z", 10),
                ("ann", "Y", 11),
                ("ann", "V", 14),
                ("ann", "W", 13),
            ],
            10,
        ),
        ([("bob", "Y", 8), ("ann", "X", 7), ("bob", "Y", 2), ("bob", "X", 1)], 10),
        ([("bob", "Y", 18), ("ann", "X", 17)], 10),
    ),
    slips=(
        Slip(
            lambda table, moment: (
                table["item"].value_counts().to_dict(),
                split_at(table, moment)[1],
            ),
            "The counts include rows of the test part. A baseline that ranks by them has seen the "
            "answers.",
        ),
        Slip(
            lambda table, moment: (split_at(table, moment)[0], _targets(table, moment, "first")),
            "A target is the first row in the table, not the first in time. The rows come in no "
            "particular order.",
        ),
        Slip(
            lambda table, moment: (
                split_at(table, moment)[0],
                _targets(_sorted(table), moment, "last"),
            ),
            "A target is the user's last item. Between the training part and it lie items that the "
            "model does not read; asked is what comes next.",
        ),
        Slip(
            lambda table, moment: (
                split_at(table, moment)[0],
                _targets(_sorted(table), moment, "first", known_only=False),
            ),
            "A user with no row before the moment has a target here. What would the model read to "
            "predict it?",
        ),
        Slip(
            lambda table, moment: split_at(table, moment + 1),
            "Rows at the very moment belong to the later part: training rows come before it.",
        ),
        Slip(
            _leave_one_out,
            "This is leave-one-out: each user's last row, whenever it was. One user's training "
            "rows are then later than another's test row, and what was popular later leaks back.",
        ),
    ),
    hints=(
        "First two tables: the rows before the moment and the rows from it on. Sort by time before "
        "you ask for a first row.",
        '`past["item"].value_counts().to_dict()` are the counts. For the targets keep the later '
        "rows of users that occur in the past: `isin`.",
        '`groupby("user")["item"].first()` gives one item a user, in the order of the rows.',
    ),
    why="Leave-one-out splits each user at another time, so a model trains on what others did "
    "after a test item was chosen. One moment for all closes that leak. It costs users: those "
    "with rows on one side only cannot be tested.",
)
