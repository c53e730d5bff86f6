"""Exercises of notebook 01: counting, cutting and paying for a catalogue."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations
from typing import Any

import numpy as np

from cprec_lib.course.exercises.problem import Problem
from cprec_lib.course.exercises.values import rows_of
from cprec_lib.course.popularity import block_table
from cprec_lib.model.partition import BlockPartition

Events = list[tuple[str, str, int]]


def training_counts(events: Events) -> dict[str, int]:
    """Interactions of each item in the training part of leave-one-out."""
    histories = defaultdict(list)
    for user, item, _ in sorted(events, key=lambda event: event[2]):
        histories[user].append(item)
    counts = {item: 0 for _, item, _ in events}
    for history in histories.values():
        for item in history[:-2]:
            counts[item] += 1
    return counts


counts = Problem(
    title="Count in the training part",
    task="""\
Write `training_counts(events)`. `events` is a list of tuples `(user, item, time)` in no particular
order; a user's times are all different, and every user has three events or more. Return a dict
with the number of interactions of each item in the training part of the leave-one-out split. The
dict must have an entry for every item of the log.

By hand, with these seven events:

    ("ann", "B", 1), ("bob", "C", 1), ("ann", "A", 3), ("ann", "B", 2),
    ("ann", "A", 4), ("bob", "A", 2), ("bob", "C", 3)

Ann's sequence is B B A A, Bob's is C A C. The training parts are B B and C, so the answer is
`{"A": 0, "B": 2, "C": 1}`.""",
    minutes=9,
    difficulty="easy",
    purpose="All ids in the course depend on this count, and a count that includes the test is a "
    "leak.",
    answer=training_counts,
    wrong="""
    [:-2] =>
        This counts the whole log. The held-out items stand for the future: count only the items
        that remain in a sequence without them.
    -2 => -1
        This holds out one item of each user. Leave-one-out holds out two: one for the test, and
        one for what?
    sorted(events, key=lambda event: event[2]) => events
        This assumes that the list is in order of time. The first entry of a log need not be the
        first event.
    , key=lambda event: event[2] =>
        Without a key, tuples are sorted by their first part, then by the second: by user, then by
        item. The time comes last.
    return counts => return {item: count for item, count in counts.items() if count > 0}
        The counts are right, but an item that occurs only among the held-out items is missing. It
        needs an id as well, so it needs a count: which one?
    histories[user] => histories[0]
        This cuts the last two events off the whole log. Each user has held-out items of their own.
    lambda events: {item: [other for _, other, _ in sorted(events, key=lambda event: event[2])
    [: -2 * len({user for user, _, _ in events})]].count(item) for _, item, _ in events}
        This holds out the newest events of the whole log. Leave-one-out holds out the last two of
        each user, even if they are early.
    [:-2] => [2:]
        This drops the first two items of each user. The held-out items are the last two.
    in history[:-2] => in set(history[:-2])
        This counts an item once for each user. A user who chooses an item twice has two
        interactions with it.
    """,
    hints=(
        "Three steps: put each user's items in order of time, take the training part, and count.",
        "Sort the events by time first, then collect the items in a dict with one list per user. "
        "Each list is then in order.",
        "Start the counts with 0 for every item of `events`. A slice can remove the last two items "
        "of a list of any length.",
    ),
    cases=(
        (rows_of("ann B 1, bob C 1, ann A 3, ann B 2, ann A 4, bob A 2, bob C 3"),),
        (
            rows_of(
                "dan F 30, eve D 35, dan D 10, dan E 20, eve D 55, dan D 40, dan D 25, eve F 25, "
                "fay D 90, fay E 80, fay G 70, eve E 15, fay H 95"
            ),
        ),
    ),
    why="An item with count 0 is still in the catalogue: it has one of the last ids and a row in "
    "the tables, but no interactions that train it.",
)


def cut_windows(sequence: list[int], max_len: int) -> list[list[int]]:
    """Windows of max_len + 1 items, counted from the end, padded with 0 on the left."""
    windows, end = [], len(sequence)
    while end > 1:
        window = sequence[max(0, end - max_len - 1) : end]
        windows.append([0] * (max_len + 1 - len(window)) + window)
        end -= max_len
    return windows


windows = Problem(
    title="Cut a sequence into windows",
    task="""\
Write `cut_windows(sequence, max_len)`. `sequence` is a user's training part, a list of ids, and
`max_len` is $L$. Return the training windows as a list of lists with $L + 1$ ids each, the window
at the end of the sequence first. Omit a window that would hold one item or none, because there is
nothing to predict in it.

By hand: `cut_windows([5, 3, 8, 1], 2)` is `[[3, 8, 1], [0, 5, 3]]`. Each of the
steps 5 to 3, 3 to 8 and 8 to 1 is in exactly one window.""",
    minutes=16,
    difficulty="medium",
    purpose="A step that is in no window is never learnt, and a step that is in two windows counts "
    "twice.",
    answer=cut_windows,
    wrong="""
    end -= max_len => end -= max_len + 1
        These windows have no item in common. So the step from the last item of one window to the
        first item of the next is in no window.
    end -= max_len => end -= 1
        Each window starts only one item before the next, so most steps are in several windows.
    max_len - 1) : => max_len) :
    max_len + 1 - => max_len -
    end -= max_len => end -= max_len - 1
        These windows have L items. The model reads L items and predicts L. How many items does a
        window need in all?
    max_len - 1) : => max_len) :
    max_len + 1 - => max_len -
        These windows have L items, so no two of them overlap. A window has L + 1 items: the model
        reads the first L and predicts the last L.
    [0] * (max_len + 1 - len(window)) + window => window + [0] * (max_len + 1 - len(window))
        The padding is on the right. The last item to predict must be in the last position.
    end > 1 => end > 0
        One window holds a single item. Which step can the model learn from it?
    return windows => return [window for window in windows if 0 not in window]
        The short window is missing, so the steps in it are never learnt. Fill it up with zeros on
        the left.
    return windows => return windows[:1]
        This is the window at the end only. The items before it are in windows as well.
    return windows => return windows[::-1]
        The windows are right, but their order is not. The window at the end comes first.
    max(0, end - max_len - 1) => end - max_len - 1
        Items are missing from the short window. The start of its slice is negative, and Python
        counts a negative index from the end.
    [0] * (max_len + 1 - len(window)) + window => window
        The short window is not filled up. Every window has L + 1 ids: put zeros in front.
    lambda sequence, max_len: [[0] * (max_len + 1 - len(window)) + window
    for start in range(0, len(sequence) - 1, max_len)
    for window in [sequence[start : start + max_len + 1]]][::-1]
        These windows are cut from the start, so the padding falls into the newest window. Start at
        the end.
    lambda sequence, max_len: [[0] * (max_len + 1 - len(window)) + window
    for start in range(0, len(sequence) - 1, max_len)
    for window in [sequence[start : start + max_len + 1]]]
        These windows are counted from the start. Counted from the end, only the window with the
        oldest items is short.
    """,
    hints=(
        "For a sequence of 6 items and L = 2, write down the position at which each window ends. "
        "How far apart are these positions?",
        "Loop over the ends: begin at the length of the sequence and go down in steps of L, while "
        "at least two items are left before the end.",
        "Take the slice from `end - max_len - 1` to `end`, but start at 0 if the first number is "
        "negative. If the slice is too short, put zeros in front of it.",
    ),
    cases=(
        ([5, 3, 8, 1], 2),
        ([5, 3, 8, 1, 6], 2),
        ([4, 9], 3),
        ([7], 2),
        ([*range(1, 13)], 4),
        ([*range(1, 14)], 4),
    ),
    why="With L = 1 each window is one step, a pair of items. The number of windows is the number "
    "of steps divided by L, rounded up.",
)


def head_of(counts: dict[int, int], share: float) -> list[int]:
    """Original ids of the smallest head that has `share` of the interactions."""
    by_popularity = sorted(counts, key=lambda item: (-counts[item], item))
    size = served = 0
    while served < share * sum(counts.values()):
        served += counts[by_popularity[size]]
        size += 1
    return by_popularity[:size]


head = Problem(
    title="A head for a share of the interactions",
    task="""\
`top_share` turns a share of the items into their share of the interactions. Go the other way:
write `head_of(counts, share)`. `counts` is a dict from original item id to count, unordered. Sort
the items by popularity, and items with equal counts by original id. Return the smallest head that
has at least `share` of all interactions, as a list of original ids, the most popular first. `share`
is between 0 and 1.

By hand: `head_of({7: 1, 3: 5, 9: 1, 5: 1}, 0.75)`. The order is 3, 5, 7, 9, with counts 5, 1, 1
and 1. The head needs 6 of the 8 interactions. Items 3 and 5 have 6, so the answer is `[3, 5]`.""",
    minutes=12,
    difficulty="medium",
    optional=True,
    purpose="Sometimes you know what share of the interactions the head should have, but not its "
    "size.",
    answer=head_of,
    wrong="""
    [:size] => [: round(share * len(counts))]
        This head has `share` of the items. It should have `share` of the interactions.
    [:size] => [: int(share * len(counts))]
        This head has `share` of the items, rounded down. It should have `share` of the
        interactions.
    [:size] => [: -int(-share * len(counts) // 1)]
        This head has `share` of the items, rounded up. It should have `share` of the
        interactions.
    [:size] => [: size - 1]
        This head is one item short: without its last item it does not have the share.
    (-counts[item], item) => -counts[item]
        Equal counts stay in the order in which the dict lists them. Then two people with the same
        data could number their items differently.
    (-counts[item], item) => (counts[item], item), reverse=True
        Among equal counts the highest original id comes first here. Reversing a sort reverses the
        order of ties as well.
    -counts => counts
        This head begins with the least popular item. It should begin with the most popular one.
    , key=lambda item: (-counts[item], item) =>
        The items are in the order of their original ids. Sort them by count.
    served < share => served <= share
        A head with exactly this share is enough; this head has one item more.
    served < share => served <= share
    [:size] => [: size - 1]
        This head stops before it reaches the share. It should have at least that share.
    """,
    hints=(
        "Two steps: sort the items, then add them to the head one by one until it has enough "
        "interactions.",
        "`sorted` takes a `key`. If the key is a pair, ties in its first part are sorted by the "
        "second. How can one part fall while the other rises?",
        "Sort by the pair of negative count and id. Then add items to a list while the sum of "
        "their counts is less than `share` times the sum of all counts.",
    ),
    cases=(
        ({7: 1, 3: 5, 9: 1, 5: 1}, 0.75),
        ({11: 3, 4: 9, 8: 3, 2: 20, 6: 1, 15: 9, 1: 3}, 0.5),
        ({11: 3, 4: 9, 8: 3, 2: 20, 6: 1, 15: 9, 1: 3}, 0.875),
        ({10: 2, 30: 2, 20: 2, 40: 2}, 0.25),
    ),
    why="The last items of such a head may be there only because of their ids: other items with "
    "the same count stay outside. Rare items often have the same count as many others.",
)


def items_for_half(width: int, middle: int) -> int:
    """Smallest number of items with which embedding and softmax hold more than half."""
    return middle // (2 * width + 1) + 1


half = Problem(
    title="When the middle layers are the smaller part",
    task="""\
Write `items_for_half(width, middle)`. NextItNet has rows of `width` numbers, and its middle layers
have `middle` parameters. Return the smallest number of items with which embedding and softmax hold
more than half of all parameters.

By hand: with width 4 an item costs 9 parameters. If the middle layers have 90 and there
are 10 items, embedding and softmax have 90 as well, exactly half. So `items_for_half(4, 90)` is
`11`.""",
    minutes=6,
    difficulty="easy",
    optional=True,
    purpose="If the middle layers are the larger part, a smaller embedding and softmax cannot "
    "halve the model.",
    answer=items_for_half,
    wrong="""
    2 * width + 1 => 2 * width
        Each item has one number more than its two rows. Where does that number belong?
    2 * width + 1 => width
        This counts one row per item. An item has a row in the embedding and one in the softmax.
    2 * width + 1 => width + 1
        This counts the row and the bias of the softmax. The embedding has a row as well.
    (2 * width + 1) + 1 => (2 * width + 1)
        This is the largest number of items with which embedding and softmax hold half or less.
    middle // (2 * width + 1) + 1 => -(-middle // (2 * width + 1))
        This is right unless the division leaves no remainder: then embedding and softmax hold
        exactly half, not more.
    middle // (2 => middle // 2 // (2
        Half of all parameters is not half of those in the middle layers: embedding and softmax
        count as well.
    """,
    hints=(
        "If one of two parts holds more than half of the whole, how does it compare with the "
        "other part?",
        "Embedding and softmax have $2Nd + N$ parameters. What is the smallest whole number $N$ "
        "for which this is more than `middle`?",
        "Divide by the cost of one item, without a remainder (`//`). What is left to do?",
    ),
    cases=((4, 90), (4, 91), (64, 99_840), (512, 6_303_744)),
    why="The NextItNet of this section has 99,840 parameters in its middle layers at width 64, so "
    "the answer is 774 items. At width 512 it is 6,150, because the middle layers grow with the "
    "square of the width.",
)


def best_cutoffs(counts: list[int], width: int, budget: int) -> tuple[int, int]:
    """The two cutoffs that give an interaction the widest row on average within a budget."""
    chosen, best = (0, 0), 0.0
    for cutoffs in combinations(range(1, len(counts)), 2):
        partition = BlockPartition.decaying(len(counts), cutoffs, width, factor=4)
        table = block_table(np.array(counts), partition)
        mean_width = (table["width"] * table["share_of_interactions"]).sum()
        if table["decomposed"].sum() <= budget and mean_width > best:
            chosen, best = cutoffs, mean_width
    return chosen


def _use_cutoffs(answer: Any, counts: list[int], width: int, budget: int) -> Any:
    """(cutoffs, budget, parameters by block, mean width), or what is wrong with the cutoffs."""
    cutoffs = answer(counts, width, budget)
    if cutoffs is None or cutoffs is ...:
        return None
    if not isinstance(cutoffs, tuple | list | np.ndarray) or len(cutoffs) != 2:
        return f"the answer gives `{cutoffs!r}`; a pair of cutoffs is expected."
    try:
        partition = BlockPartition.decaying(len(counts), tuple(cutoffs), width, factor=4)
    except ValueError as error:
        return f"the answer gives `{tuple(cutoffs)}`: {error}."
    table = block_table(np.array(counts), partition)
    mean_width = float((table["width"] * table["share_of_interactions"]).sum())
    return partition.cutoffs, budget, tuple(table["decomposed"].tolist()), mean_width


def _judge_cutoffs(got: Any, right: Any) -> str:
    if isinstance(got, str):
        return got
    cutoffs, budget, blocks, mean_width = got
    if sum(blocks) > budget:
        costs = " + ".join(map(str, blocks))
        return (
            f"the cutoffs `{cutoffs}` need {costs} = {sum(blocks)} parameters, block by block; "
            f"the budget is {budget}."
        )
    if mean_width < right[-1] * (1 - 1e-6):
        return (
            f"the cutoffs `{cutoffs}` keep to the budget and give a mean width of "
            f"{mean_width:.3f}; {right[-1]:.3f} is possible."
        )
    return ""


cutoffs = Problem(
    title="The best cut for a budget",
    task="""\
Write `best_cutoffs(counts, width, budget)`. `counts` is a list of the items' counts, the most
popular first. The table is cut into three blocks, none of them empty, with factor 4: the rows
have `width` numbers, a quarter of that and a sixteenth, rounded down, but at least 1. The table
may have at most `budget` parameters, projections included. The width of an interaction is the
block width of its item. Return the pair of cutoffs for which the mean width over all
*interactions* is largest. If several pairs are equally good, return any of them. There are at most
13 items, and at least one pair of cutoffs keeps to the budget.

By hand: `best_cutoffs([8, 4, 2, 1, 1], 4, 19)`. The widths are 4, 1 and 1, since a
sixteenth of 4 is less than 1. With cutoffs (2, 3) the
table has $2 \\cdot 4 + (1 + 4) + (2 + 4) = 19$ parameters. The head has 12 of the 16
interactions, so the mean width is $(12 \\cdot 4 + 4 \\cdot 1) / 16 = 3.25$. A head of three items
needs 22 parameters, which is too many. Both `(2, 3)` and `(2, 4)` are right.""",
    minutes=20,
    difficulty="hard",
    optional=True,
    purpose="A memory limit is a common reason to compress, and then the question is where to cut.",
    answer=best_cutoffs,
    wrong="""
    table["decomposed"].sum() => (table["items"] * table["width"]).sum()
        The rows fit into the budget, but a cut table does not consist of rows alone. What turns a
        narrow row into a row of full width?
    table["share_of_interactions"] => table["items"]
        This maximises the mean width over the items. The mean over the interactions gives popular
        items more weight.
    <= budget => < budget
        A table of exactly `budget` parameters is allowed, and it can give a larger mean width.
    table["width"] * => [1, 0, 0] *
        This makes the head as large as possible. A larger second block may gain more than the last
        items of the head.
    0.0 => (0, 0)
    (table["width"] * table["share_of_interactions"]).sum() => cutoffs
        This takes the largest head that fits, and then the largest second block. A smaller head can
        pay for a second block that gains more. Compare the mean widths.
    0.0 => -float("inf")
    table["width"] * table["share_of_interactions"] => -table["items"] * table["width"]
        This is the smallest table. You may use the whole budget.
    return chosen => return chosen[0], chosen[1] - chosen[0]
        These look like sizes of blocks. A cutoff counts all items from the start of the catalogue,
        including the blocks before it.
    """,
    hints=(
        "13 items have only 66 pairs of cutoffs. You can try them all.",
        "`itertools.combinations(range(1, len(counts)), 2)` lists the pairs. For one pair you need "
        "two numbers: the parameters and the mean width.",
        "Call `block_table` with the counts as an array and a `BlockPartition` of the pair. The "
        "parameters are the sum of `decomposed`. The mean width is the sum of `width` times "
        "`share_of_interactions` over the blocks.",
    ),
    cases=(
        ([8, 4, 2, 1, 1], 4, 19),
        ([40, 22, 15, 10, 8, 6, 5, 4, 3, 3, 2, 2, 1], 16, 165),
        ([9] * 6 + [1] * 6, 16, 150),
        ([3] * 10, 12, 83),
    ),
    use=_use_cutoffs,
    judge=_judge_cutoffs,
    why="The mean width can be computed before training, but it is only a stand-in for accuracy. "
    "Only training shows whether a wider row helps a rare item as much as a popular one.",
)
