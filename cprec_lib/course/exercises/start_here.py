"""Exercises of notebook 00: the rank of an item, and a history as the model reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cprec_lib.course.exercises.problem import Problem


def rank_of(scores: Sequence[float], item: int) -> int:
    """Rank of an item; one that scores the same counts as above it. scores[i - 1] is item i's."""
    own = scores[item - 1]
    return sum(score >= own for score in scores)


rank = Problem(
    title="The rank of an item",
    task="Write `rank_of(scores, item)`: the item's rank, 1 for the best, ties against it.",
    minutes=5,
    difficulty="easy",
    purpose="HR, NDCG and every other number that judges a model in this course are made of ranks.",
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
        Ties are counted in the item's favour. A model that gives every item the same score would
        then put each item first. Who stands above the item if scores are equal?
    in scores) => in scores) - 1
        The rank counts from 0, as Python's places do. What is the rank of the best item?
    in scores) => in scores) + 1
        The item itself is counted among those above it, so every rank is one too large. What does
        the count give for the best item?
    item - 1 => item
        This is the rank of the item after the one that was asked for. Items count from 1, places in
        a list from 0.
    >= => <=
        This counts the items with lower scores: the best item would come last. Which scores stand
        before the item's own?
    sum(score >= => 1 + sum(score <
        The scores run from low to high here, so the worst item has rank 1. A higher score is
        better.
    sum(score >= own => sum((score >= own) + (score > own)
    in scores) => in scores) / 2 + 0.5
        Items with equal scores share the mean of their places. That is a rule too, but here the
        item stands below all that score as high.
    """,
    hints=(
        "Nothing has to be sorted. Find the item's own score first: at which place of the list "
        "does item 1 stand?",
        "The rank of an item is the number of items that stand at its place or above. Compare "
        "every score with its own. Does the item itself belong to those you count?",
        "Go through `scores` and count those that are at least as high as the item's own.",
    ),
    why="Counting the item itself gives the 1 that a rank starts with. With ties against the "
    "target, a model gains nothing by giving many items the same score.",
)


def as_context(history: Sequence[int], ids: Mapping[int, int], length: int) -> list[int]:
    """The last `length` films of a history as the model's ids, filled up on the left with 0."""
    newest = [ids[film] for film in history][-length:]
    return [0] * (length - len(newest)) + newest


_IDS = {50: 1, 100: 2, 181: 3, 172: 4, 204: 5, 11: 6}

context = Problem(
    title="A history as the model reads it",
    task="Write `as_context(history, ids, length)`: the model's ids, padded on the left.",
    minutes=5,
    difficulty="easy",
    purpose="A model reads lists of one length; which end is filled or cut decides what it sees.",
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
        The padding stands on the right. The newest film has to be in the last place: from there the
        model predicts the next one.
    [-length:] => [:length]
        A long history keeps its oldest films. Which end of it says more about the next film?
    ids[film] => film
        These are the original ids. The model knows the films by numbers of its own, which `ids`
        holds.
    ids[film] => ids[film] - 1
        All ids are one too small, so film 1 became 0, which is padding. `ids` already holds the
        numbers that the model uses.
    [0] * (length - len(newest)) + newest => newest
        A short history stays short. The model needs `length` numbers; what fills the places that
        are free?
    [-length:] =>
        A long history is not cut. The model reads `length` places and no more.
    [-length:] => [-length:][::-1]
        The newest film comes first. A sequence runs from the oldest film to the newest.
    """,
    hints=(
        "Three steps: turn each film into the model's id, cut what is too long, fill what is too "
        "short.",
        "`numbers[-length:]` keeps the end of a list, and all of a list that is shorter.",
        "`[0] * n` is a list of n zeros. How many are missing, and on which side do they go?",
    ),
    why="With the newest item always in the last place, the prediction always stands there too, "
    "however short the history is. The 0 has no row in the embedding: it is no item.",
)
