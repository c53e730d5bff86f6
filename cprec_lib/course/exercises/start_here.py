"""Exercises of notebook 00: the rank of an item, and a history as the model reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cprec_lib.course.exercises.problem import Problem


def rank_of(scores: Sequence[float], item: int) -> int:
    """Rank of an item; ties rank above it. scores[i - 1] is the score of item i."""
    own = scores[item - 1]
    return sum(score >= own for score in scores)


rank = Problem(
    title="The rank of an item",
    task="Write `rank_of(scores, item)`: the item's rank, 1 for the best, ties against it.",
    minutes=7,
    difficulty="easy",
    purpose="HR, NDCG and most other metrics in this course are computed from ranks.",
    answer=rank_of,
    cases=(
        ([0.2, 0.5, 0.1, 0.2], 1),
        ([0.3, 0.3, 0.3], 2),
        ([2.0, -1.0, 0.5, 3.0, 0.5], 4),
        ([2.0, -1.0, 0.5, 3.0, 0.5], 2),
        ([2.0, -1.0, 0.5, 3.0, 0.5], 3),
    ),
    wrong="""
    sum(score >= own => 1 + sum(score > own
        Ties count in the item's favour here. A model that gives every item the same score would
        then rank each item first. Which items rank above the item if scores are equal?
    in scores) => in scores) - 1
        The rank counts from 0, as Python's indices do. What is the rank of the best item?
    in scores) => in scores) + 1
        The item itself is counted among those above it, so every rank is one too large. What
        rank does the best item get?
    item - 1 => item
        This is the rank of the next item. Ids count from 1, indices of a list from 0.
    >= => <=
        This counts the items with lower scores, so the best item would come last. Which scores rank
        above the item's own?
    sum(score >= => 1 + sum(score <
        The items are ranked from the lowest score to the highest here, so the worst item has rank
        1. A higher score is better.
    sum(score >= own => sum((score >= own) + (score > own)
    in scores) => in scores) / 2 + 0.5
        Items with equal scores share their mean rank. Some evaluations use that rule, but here an
        item ranks below all others with the same score.
    """,
    hints=(
        "You need not sort anything. Find the item's own score first: which index of the list "
        "holds the score of item 1?",
        "The rank of an item is the number of items that rank above it, plus one for the item "
        "itself. Which comparison of scores counts the item as well?",
        "Go through `scores` and count those that are at least as high as the item's own.",
    ),
    why="The count includes the item itself, so the best rank is 1. Ties count against the item, "
    "so a model gains nothing by giving many items the same score.",
)


def as_context(history: Sequence[int], ids: Mapping[int, int], length: int) -> list[int]:
    """The last `length` films of a history as the model's ids, filled up on the left with 0."""
    newest = [ids[film] for film in history][-length:]
    return [0] * (length - len(newest)) + newest


_IDS = {50: 1, 100: 2, 181: 3, 172: 4, 204: 5, 11: 6}

context = Problem(
    title="A history as the model reads it",
    task="Write `as_context(history, ids, length)`: the model's ids, padded on the left.",
    minutes=8,
    difficulty="easy",
    purpose="What the model sees depends on which end of a history is padded or cut.",
    answer=as_context,
    cases=(
        ([172, 50], _IDS, 3),
        ([172, 50, 181, 11], _IDS, 3),
        ([204, 204, 11], _IDS, 3),
        ([11, 172, 50, 100, 204], _IDS, 2),
        ([], _IDS, 2),
    ),
    wrong="""
    [0] * (length - len(newest)) + newest => newest + [0] * (length - len(newest))
        The padding is on the right. The newest film must be in the last position, from which the
        model predicts the next one.
    [-length:] => [:length]
        A long history keeps its oldest films here. Which end says more about the next film?
    ids[film] => film
        These are the original ids. The model uses ids of its own, which `ids` holds.
    ids[film] => ids[film] - 1
        All ids are one too small, so film 1 became 0, which is padding. `ids` already holds the
        numbers that the model uses.
    [0] * (length - len(newest)) + newest => newest
        A short history stays short. The model needs `length` numbers. What fills the free
        positions?
    [-length:] =>
        A long history is not cut. The model reads only `length` positions.
    [-length:] => [len(history) - length :]
        A history that is too short loses films here: the index at which it is cut is below 0, and
        Python counts that from the end.
    [ids[film] for film in history] => [*dict.fromkeys(ids[film] for film in history)]
        A film that occurs twice is kept once here. The model reads every entry of the history.
    [-length:] => [-length:][::-1]
        The newest film comes first here. A sequence runs from the oldest film to the newest.
    """,
    hints=(
        "Three steps: turn each film into the model's id, cut a history that is too long, pad one "
        "that is too short.",
        "`numbers[-length:]` keeps the last `length` numbers of a list. It keeps all of a shorter "
        "list.",
        "`[0] * n` is a list of n zeros. How many are missing, and on which side do they go?",
    ),
    why="The newest item is always in the last position, so the model always predicts from there, "
    "however short the history is. The 0 is not an item and has no row in the embedding.",
)
