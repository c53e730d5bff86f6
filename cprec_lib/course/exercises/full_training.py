"""Exercises of notebook 07: several processes, memory, and a softmax over several machines."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cprec_lib.course.exercises.problem import Problem


def loss_factors(positions: Sequence[int]) -> list[float]:
    """What each process multiplies its mean loss by, so that the mean over them is the batch's."""
    return [len(positions) * own / sum(positions) for own in positions]


processes = Problem(
    title="When gradients are averaged",
    task="Write `loss_factors(positions)`: what each process multiplies its own mean loss by, if "
    "the gradients are averaged over the processes.",
    minutes=8,
    difficulty="medium",
    purpose="torch's DistributedDataParallel averages gradients over processes, whatever each of "
    "them was computed from.",
    answer=loss_factors,
    cases=(([2, 1],), ([30, 10, 0, 60],), ([5, 5, 5, 5, 5],)),
    wrong="""
    len(positions) * own => own
        These factors make the *sum* over the processes right. Here the gradients are averaged,
        which divides once more.
    len(positions) * own => sum(n > 0 for n in positions) * own
        A process without positions was left out of the count. It has nothing to add, but the
        average divides by the number of all processes.
    len(positions) * own / sum(positions) => 1.0
        All processes count the same, so a position in a short part counts for more than one in a
        long part.
    len(positions) * own / sum(positions) => 1 / len(positions)
        This is a mean over the processes. They are averaged anyway; what is missing is that they
        hold different numbers of positions.
    len(positions) * own / sum(positions) => float(own)
        The factor turns a mean into a sum over the process's positions, but nothing divides by the
        positions of the whole batch.
    len(positions) * own / sum(positions) => sum(positions) / (len(positions) * own) if own else 0.0
        The fraction stands on its head: the process with the fewest positions gets the largest
        factor.
    """,
    hints=(
        "Write down what you want: the sum of all losses, divided by all positions. How do you get "
        "a process's sum from its mean?",
        "A process's mean times its number of positions is its sum. Dividing by all positions "
        "makes these parts add up to the mean over the batch. What does averaging do to a sum?",
        "With P processes, the average is the sum divided by P. Each factor has to make up for it.",
    ),
    why="The factors have the mean 1. With equal parts each is 1, which is why the mistake is not "
    "seen until the parts are uneven.",
)


def largest_catalogue(memory: int, width: int, filling: int, positions: int) -> int:
    """How many items an uncompressed model may have, to be trained in so many bytes."""
    for_items = memory - 16 * filling
    parameters = 2 * width + 1
    return for_items // (16 * parameters + 4 * positions)


catalogue = Problem(
    title="Does it fit?",
    task="Write `largest_catalogue(memory, width, filling, positions)`: how many items a model "
    "with an uncompressed embedding and softmax may have, to be trained in `memory` bytes.",
    minutes=8,
    difficulty="easy",
    purpose="To know before renting a machine whether your catalogue fits on it.",
    answer=largest_catalogue,
    cases=(
        (1700, 2, 25, 10),
        (16 * 10**9, 64, 99_840, 1600),
        (80 * 10**9, 512, 6_303_744, 6400),
        (10**6, 8, 1728, 50),
    ),
    wrong="""
    16 => 4
        Only the weights are counted, 4 bytes a parameter. Training keeps more than the weights.
    16 => 8
        Weights and gradients are counted. The optimiser remembers something about each parameter,
        too.
    16 => 12
        12 bytes a parameter: one of its numbers is missing. Go through them: the weight, its
        gradient, and what the optimiser keeps.
    + 4 * positions =>
        The logits are missing. The full softmax makes one for each item at each position.
    4 * positions => 16 * positions
        The logits take 16 bytes each here. A logit is no parameter: the optimiser does not know it.
    2 * width + 1 => width + 1
        An item has only one row here. There are two slices of bread, and weights are not shared
        between them.
    2 * width + 1 => 2 * width
        An item's bias is missing: the softmax of NextItNet has one number for each item besides its
        row.
    - 16 * filling =>
        The filling has no room. It does not grow with the catalogue, but it is there.
    return for_items => return 1 + for_items
        One item too many: it does not fit entirely, and half an item helps nobody.
    """,
    hints=(
        "Sort the bytes in two heaps: those that every further item adds, and those that are there "
        "without any item.",
        "An item adds parameters in the embedding and in the softmax, and one logit at each "
        "position. How many bytes is each?",
        "Take the filling's bytes from the memory, divide by an item's bytes, and round down.",
    ),
    why="Per item the width and the positions of a batch compete: with small widths the logits "
    "take more than the tables. Half the batch then helps more than half the width.",
)


def sharded_log_prob(shards: Sequence[Tensor]) -> list[Tensor]:
    """Log-probabilities [T, n_j] of each machine's items from its logits [T, n_j]."""
    own = torch.stack([logits.logsumexp(1, keepdim=True) for logits in shards])
    return [logits - own.logsumexp(0) for logits in shards]


_BY_HAND = [torch.tensor([[6.0, 3.0]]).log(), torch.tensor([[1.0]]).log()]
_TWO_POSITIONS = [
    torch.tensor([[0.5, -1.0, 2.0], [3.0, 0.0, 1.0]]),
    torch.tensor([[1.5], [-2.0]]),
    torch.tensor([[0.0, 0.25], [2.5, -0.5]]),
]
_LARGE = [torch.tensor([[200.0, 199.0]]), torch.tensor([[198.0, 201.0]])]

shards = Problem(
    title="A softmax on several machines",
    task="Write `sharded_log_prob(shards)`: from each machine's logits [T, n_j] to the "
    "log-probabilities of its items in the whole catalogue.",
    minutes=12,
    difficulty="hard",
    purpose="A catalogue that no machine can hold needs a softmax that is put together from parts.",
    answer=sharded_log_prob,
    cases=((_BY_HAND,), (_TWO_POSITIONS,), (_LARGE,)),
    wrong="""
    logits - own.logsumexp(0) => logits.log_softmax(1)
        Each machine made a softmax of its own, so the probabilities of every machine sum to 1. What
        do they have to know of each other?
    logits - own.logsumexp(0) => (logits - own.logsumexp(0)).exp()
        These are probabilities. What is asked for are their logarithms.
    logits.logsumexp(1, keepdim=True) => logits.exp().sum(1, keepdim=True)
    own.logsumexp(0) => own.sum(0).log()
        Right on paper, but the exponential of a large logit is infinite in float32: from 89 on.
        Which function adds exponentials without computing them as they are?
    own.logsumexp(0) => own.sum(0)
        The machines' numbers are added. They are logarithms: to add them is to multiply the sums
        that they stand for.
    own.logsumexp(0) => own.flatten().logsumexp(0)
        One total serves all positions. Each position has probabilities of its own that sum to 1.
    own.logsumexp(0) => own.amax(0)
        Only the largest of the machines' numbers is subtracted. That is a good guess where one
        machine has nearly all of the probability, and wrong elsewhere.
    """,
    hints=(
        "A log-probability is a logit minus one number, and that number is the same for all items "
        "of a position, on every machine.",
        "Each machine sends `logsumexp` over its own items, one number a position. How did the "
        "section put such numbers together?",
        "Stack the machines' numbers in one tensor, and take `logsumexp` over the machines. With "
        "`keepdim=True` the shapes fit the logits.",
    ),
    why="Only T numbers a machine travel, whatever the size of the catalogue. To send the logits "
    "themselves would give the same probabilities and move T times N numbers.",
)
