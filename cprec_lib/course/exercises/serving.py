"""Exercises of notebook 10: which blocks a search opens, and a bound for the rows of a cell."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cprec_lib.course.exercises.problem import Problem


def rule_opens(root: Tensor, n_tails: int, k: int) -> list[int]:
    """Numbers of the tail blocks whose token is among the root's k best entries, ascending."""
    head_size = len(root) - n_tails
    best = root.topk(k).indices.tolist()
    return sorted(place - head_size + 2 for place in best if place >= head_size)


rule = Problem(
    title="The blocks of the rule",
    task="""\
Write `rule_opens(root, n_tails, k)`. `root` is a tensor of the root's probabilities: the head items
first, then one token for each of the `n_tails` tail blocks. Return the list of the numbers of the
tail blocks that the early-stopping rule computes, in ascending order. The tail blocks have the
numbers 2 to $n$, and no two entries of the root are equal.

By hand: the root is (0.30, 0.17, 0.28, 0.25) with two tokens. With `k = 2` the two best entries are
item 1 and the token of block 2, so the answer is `[2]`. With `k = 3` it is `[2, 3]`, and with
`k = 1` it is `[]`.""",
    minutes=7,
    difficulty="easy",
    purpose="Tokens and head items compete for the same places.",
    answer=rule_opens,
    wrong="""
    root.topk(k) => root[head_size:].topk(min(k, n_tails))
    place - head_size + 2 for place in best if place >= head_size => place + 2 for place in best
        The tokens are compared only with each other here. Head items take places as well.
    lambda root, n_tails, k: [tail + 2 for tail, token in enumerate(root[-n_tails:])
    if token > root[:-n_tails].topk(min(k, len(root) - n_tails)).values[-1]]
        This is the bound: a token is compared with the k-th best head item. In the rule, tokens
        take places from each other too.
    sorted( => list(
        The blocks are right, but the most probable comes first. Return them in ascending order.
    - head_size + 2 => - head_size + 1
        The numbers are one too low: the head is block 1, so the first tail block is block 2.
    - head_size + 2 => + 1
        These are places in the root, counted from 1. The first token stands for block 2.
    root.topk(k) => root.topk(min(len(root), k + n_tails - 1))
        These places make the rule exact. The rule itself has only k of them.
    """,
    hints=(
        "Which entries of the root are tokens? The number of head items follows from `n_tails`.",
        "`root.topk(k).indices` gives the places of the k best entries. Keep those that belong to "
        "tokens, and turn each place into the number of its block.",
    ),
    cases=(
        (torch.tensor([0.30, 0.17, 0.28, 0.25]), 2, 2),
        (torch.tensor([0.30, 0.17, 0.28, 0.25]), 2, 3),
        (torch.tensor([0.30, 0.17, 0.28, 0.25]), 2, 1),
        (torch.tensor([0.22, 0.13, 0.05, 0.11, 0.19, 0.30]), 3, 3),
        (torch.tensor([0.10, 0.04, 0.21, 0.26, 0.39]), 3, 2),
    ),
    why="The rule needs one sort of the root, which is computed anyway. It errs only where tokens "
    "take places from other tokens.",
)


def box_bound(low: Tensor, high: Tensor, query: Tensor) -> Tensor:
    """Largest dot product of query [d_j] with a vector between low [d_j] and high [d_j]."""
    return torch.maximum(query * low, query * high).sum()


def _use_box(answer: Any, low: Tensor, high: Tensor, query: Tensor) -> Any:
    found = answer(low, high, query)
    # A plain number is as good as a tensor that holds one.
    return found.item() if isinstance(found, Tensor) and found.numel() == 1 else found


box = Problem(
    title="A bound from a box",
    task="""\
Write `box_bound(low, high, query)`. `low` and `high` are tensors $[d_j]$, the corners of a cell's
box: the lowest and the highest value of each column among the rows of the cell. `query` is the
narrow vector $q$, a tensor $[d_j]$. Return the largest value of $q \\cdot v$ over all vectors $v$
in the box, one number. No row of the cell has a higher logit.

By hand: the rows are (0, 1) and (2, 3), so the corners are (0, 1) and (2, 3). With $q = (1, -1)$
the largest value is $1 \\cdot 2 - 1 \\cdot 1 = 1$, at the vector (2, 1). Both rows have the logit
−1, so the bound is not tight.""",
    minutes=11,
    difficulty="medium",
    purpose="A box needs two rows of numbers, however many rows of the table it holds.",
    answer=box_bound,
    wrong="""
    torch.maximum(query * low, query * high).sum() => query @ high
        The upper corner is not always the best vector. Where a number of the query is negative, a
        low value gives the larger product.
    torch.maximum(query * low, query * high).sum() => torch.maximum(query @ low, query @ high)
        Only the two corners are tried. A vector in the box may take one column from the lower
        corner and another from the upper.
    torch.maximum => torch.minimum
        This is the smallest dot product. A bound on the best logit needs the largest.
    query * low, query * high => query * low, (query * high).abs()
        The sign of a product counts. A negative product lowers the logit.
    torch.maximum(query * low, query * high).sum() => query.abs() @ torch.maximum(low, high)
        The sign of the query's numbers is lost. A negative number wants a low value.
    .sum() => .amax()
        This is the best column alone. The dot product adds all columns.
    torch.maximum(query * low, query * high).sum() => query @ (low + high) / 2
        This is the value at the middle of the box. Some vector of the box has a larger one.
    """,
    hints=(
        "A dot product is a sum with one term per column, and in a box the columns can be chosen "
        "independently. What is the largest term of one column?",
        "In a column with the query's number q, the term lies between q times low and q times "
        "high. Take the larger of the two, whatever the sign of q.",
        "`torch.maximum(a, b)` takes the larger of two numbers, component by component.",
    ),
    cases=(
        (torch.tensor([0.0, 1.0]), torch.tensor([2.0, 3.0]), torch.tensor([1.0, -1.0])),
        (torch.tensor([-1.0, 0.5]), torch.tensor([2.0, 1.0]), torch.tensor([-3.0, 2.0])),
        (
            torch.tensor([-2.0, -1.0, 0.0, 0.25]),
            torch.tensor([-1.0, 3.0, 0.0, 0.75]),
            torch.tensor([-0.5, 1.5, 7.0, -4.0]),
        ),
        (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0]), torch.tensor([3.0, -1.0])),
    ),
    use=_use_box,
    why="With a single row in the cell the two corners are that row, and the bound is its logit. "
    "The more rows a box holds, the looser is the bound and the fewer numbers have to be read.",
)


def blocks_to_open(root: Tensor, inside: list[Tensor], k: int) -> list[int]:
    """Numbers of the tail blocks that are computed, the most probable token first."""
    head_size, opened = len(root) - len(inside), []
    best = root[:head_size].topk(k).values
    for tail in root[head_size:].argsort(descending=True).tolist():
        token = root[head_size + tail]
        if token <= best[-1]:
            break
        opened.append(tail + 2)
        best = torch.cat([best, token * inside[tail]]).topk(k).values
    return opened


def _in_the_list(root: Tensor, inside: list[Tensor], k: int) -> list[int]:
    """The blocks that hold one of the k best items."""
    head_size = len(root) - len(inside)
    tails = [token * tail for token, tail in zip(root[head_size:], inside, strict=True)]
    last = torch.cat([root[:head_size], *tails]).topk(k).values[-1]
    order = root[head_size:].argsort(descending=True).tolist()
    return [tail + 2 for tail in order if (tails[tail] >= last).any()]


def _use_search(answer: Any, root: list[float], inside: list[list[float]], k: int) -> Any:
    return answer(torch.tensor(root), [torch.tensor(tail) for tail in inside], k)


search = Problem(
    title="The blocks that must be opened",
    task="""\
`our_top_k` takes the tail blocks in order of their numbers. It may open (compute) a block
needlessly, because a later block holds better items. Take the most probable token first instead.
Write `blocks_to_open(root, inside, k)`. `root` is a tensor of the root's *probabilities*: first the
head items, then the tokens. `inside` is a list with one tensor per tail block, the probabilities of
its items inside the block; use it only once the block is open. The head has `k` items or more, and
no two tokens are equal. Return the list of the numbers of the opened blocks, in the order in which
they are opened. The tail blocks have the numbers 2 to $n$. A block whose token is only as probable
as the `k`-th best item so far stays closed.

By hand, with `k = 2`: the root is (0.30, 0.10, 0.25, 0.35), with two head items and the tokens of
blocks 2 and 3. Inside block 2 the items have 0.5 and 0.5, inside block 3 they have 0.8 and 0.2. The
two best so far are 0.30 and 0.10. Block 3 has the larger token, 0.35 > 0.10, so it is opened: its
items have 0.28 and 0.07. Now the two best are 0.30 and 0.28. The token of block 2, 0.25, is below
0.28. The answer is `[3]`; in the order of the numbers both blocks would be opened.""",
    minutes=17,
    difficulty="hard",
    purpose="The order of the search costs nothing, but it decides how much of the tail is "
    "computed.",
    answer=blocks_to_open,
    wrong="""
    root[head_size:].argsort(descending=True).tolist() => range(len(inside))
    break => continue
        This takes the blocks in the order of their numbers. Which block is most likely to hold
        items that rule out the others?
    descending=True => descending=False
    break => continue
        This begins with the least probable token.
    best = torch.cat([best, token * inside[tail]]).topk(k).values =>
        All tokens are compared with the head alone. The items of an opened block also count among
        the best so far.
    best[-1] => best[0]
        The tokens are compared with the best item so far. The list has k places: which item must a
        new item beat to enter?
    token * inside => inside
        The probabilities inside a block are used directly. They hold only if the block is chosen.
    lambda root, inside, k: [2 + place - len(root) + len(inside)
    for place in root.topk(k).indices.tolist() if place >= len(root) - len(inside)]
        This is the early-stopping rule, in which tokens take places from items. Compare a token
        with items only.
    _in_the_list
        These are the blocks that have an item in the list of k. This is known only after they have
        been opened, and the search may have to open other blocks as well.
    token <= best => token < best
        This opens a block whose token is as probable as the k-th best item. None of its items can
        be more probable than that item.
    return opened => return sorted(opened)
        The blocks are right, but they are sorted by number. Return them in the order in which they
        are opened.
    tail + 2 => tail
        The blocks are right, but their numbers are not: the first tail block has the number 2.
    tail + 2 => tail + 1
        The blocks are right, but their numbers are one too low: the head is block 1.
    """,
    hints=(
        "Keep two things up to date: the k best probabilities so far, and the list of opened "
        "blocks.",
        "If a token is too small, what do you know about the tokens after it?",
        "`argsort(descending=True)` on the tokens gives the order. After a block is opened, join "
        "its items' probabilities (token times inside) to the best ones and keep the k largest.",
    ),
    cases=(
        ([0.30, 0.10, 0.25, 0.35], [[0.5, 0.5], [0.8, 0.2]], 2),
        (
            [0.20, 0.125, 0.05, 0.05, 0.125, 0.27, 0.18],
            [[0.9, 0.1], [0.4, 0.3, 0.3], [0.9, 0.1]],
            2,
        ),
        (
            [0.16, 0.05, 0.04, 0.17, 0.18, 0.19, 0.21],
            [[0.5, 0.5], [0.25, 0.75], [0.3, 0.3, 0.4], [0.2, 0.2, 0.2, 0.4]],
            3,
        ),
        ([0.6, 0.2, 0.1, 0.06, 0.04], [[1.0], [0.5, 0.5]], 3),
        ([0.375, 0.125, 0.3, 0.125, 0.075], [[0.4, 0.4, 0.2], [0.5, 0.5], [0.5, 0.5]], 2),
    ),
    use=_use_search,
    why="In this order a block is opened only if its token is at least as probable as the k-th "
    "best item of the whole catalogue. A search by this bound that opened fewer blocks could not "
    "know that it missed nothing.",
)
