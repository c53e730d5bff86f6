"""Exercises of notebook 10: which blocks a search opens, a bound for a cell, a ring buffer."""

from __future__ import annotations

from collections import deque
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from cprec_lib.course.exercises.problem import Problem
from cprec_lib.course.exercises.values import difference


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
    optional=True,
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
    - head_size + 2 =>
        These are places in the root, counted from 0. The first token stands for block 2.
    place >= head_size => place > head_size
        The first token is left out. Places are counted from 0, so it stands at `head_size`.
    root.topk(k) => root.topk(k - 1)
        The k-th best entry is left out here. It belongs to the k best.
    root.topk(k) => root.topk(min(len(root), k + n_tails - 1))
        With this many places the rule is exact. The rule itself has only k.
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
    why="The rule only has to sort the root's probabilities, which are computed anyway. It errs "
    "only where tokens take places from other tokens.",
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
    optional=True,
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
    torch.maximum(query * low, query * high).sum() => query.clamp(min=0) @ high
        Columns in which the query is negative are left out. Each adds its number times the low
        value.
    .sum() => .amax()
        This is the best column alone. The dot product adds all columns.
    torch.maximum(query * low, query * high).sum() => query @ (low + high) / 2
        This is the value at the middle of the box. Some vector of the box has a larger one.
    lambda low, high, query: query @ (low + high) / 2 + query.abs() @ (high - low)
        The whole width of the box is added to the value at its middle. From the middle to a side it
        is half the width.
    """,
    hints=(
        "A dot product is a sum with one term per column. In a box, the value of each column can "
        "be chosen on its own. What is the largest term of one column?",
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
    "The more rows a box holds, the looser the bound, but the fewer numbers to read.",
)


class RingBuffer:
    """A causal convolution, weight [d, d, k] and bias [d], that takes one vector after another."""

    def __init__(self, weight: Tensor, bias: Tensor, dilation: int) -> None:
        self.weight, self.bias, self.dilation = weight, bias, dilation
        self.size = (weight.shape[2] - 1) * dilation
        self.rows = torch.zeros(self.size, weight.shape[1])
        self.time = 0

    def step(self, x: Tensor) -> Tensor:
        """The output [d] at the next position, whose input is x [d]."""
        taps = self.weight.shape[2]
        output = self.bias + self.weight[:, :, -1] @ x
        for i in range(taps - 1):
            lag = (taps - 1 - i) * self.dilation
            output = output + self.weight[:, :, i] @ self.rows[(self.time - lag) % self.size]
        self.rows[self.time % self.size] = x
        self.time += 1
        return output


class _AllInputs(RingBuffer):
    """Keeps every input beside the buffer."""

    def step(self, x: Tensor) -> Tensor:
        output = super().step(x)
        self.all = [*getattr(self, "all", []), x]
        return output


class _History(RingBuffer):
    """Keeps every input, and no buffer."""

    def step(self, x: Tensor) -> Tensor:
        self.all = [*getattr(self, "all", []), x]
        again = RingBuffer(self.weight, self.bias, self.dilation)
        return [again.step(each) for each in self.all][-1]


class _Queue(RingBuffer):
    """Moves all rows in each step, the oldest out at the front."""

    def step(self, x: Tensor) -> Tensor:
        self.time = 0  # row 0 is always the oldest
        output = super().step(x)
        self.rows = torch.cat([self.rows[1:], x[None]])
        return output


def _numbers(value: Any) -> int:
    """How many numbers a value holds: a tensor, or a collection of them."""
    if isinstance(value, Tensor):
        return value.numel()
    return sum(map(_numbers, value)) if isinstance(value, list | tuple | deque) else 0


def _rows_written(before: Any, after: Any) -> int:
    if not (isinstance(before, Tensor) and isinstance(after, Tensor)) or after.dim() != 2:
        return 0
    return int((before != after).any(1).sum()) if before.shape == after.shape else 0


def _run_ring(
    ring_class: Any, weight: Tensor, bias: Tensor, dilation: int, inputs: Tensor
) -> dict[str, Any]:
    """The outputs, and what a step changes: that is the buffer, whatever its name is."""
    ring, outputs, before = ring_class(weight, bias, dilation), [], dict[str, Any]()
    for x in inputs:
        before = deepcopy(vars(ring))
        outputs.append(ring.step(x))
    pairs = [(before.get(name), value) for name, value in vars(ring).items()]
    kept = sum(_numbers(new) for old, new in pairs if difference(new, old))
    return {
        "outputs": torch.stack(outputs),
        "numbers in the buffer": max(kept, (weight.shape[2] - 1) * dilation * len(bias)),
        "rows that a step changes": max(1, sum(_rows_written(*pair) for pair in pairs)),
    }


ring = Problem(
    title="The ring buffer of a convolution",
    task="""\
Write the class `RingBuffer`. `RingBuffer(weight, bias, dilation)` takes the weights $[d, d, k]$ and
the bias $[d]$ of a causal convolution with $k \\ge 2$ taps. Its method `step(x)` takes the input
$[d]$ of the next position and returns the output $[d]$ there,

$$y_t = b + \\sum_i W_i\\, x_{t - (k - 1 - i) D}, \\qquad x_t = 0 \\text{ for } t < 0,$$

where $W_i$ is `weight[:, :, i]` and $D$ is the dilation ($\\ell$ in notebook 03). Positions are
counted from 0. Keep only the last $(k - 1) D$ inputs, zeros at first, and do not move them: the new
input takes the place of the oldest. In a tensor with $(k - 1) D$ rows, position $t$ belongs to row
$t$ modulo the number of rows. A `collections.deque` with a `maxlen` will do as well.

By hand: the example above, with `weight` [[[0.5, 1.0]]], `bias` [0] and `dilation` 2, gives 1, 2
and 4.5 for the inputs 1, 2 and 4.""",
    minutes=25,
    difficulty="hard",
    purpose="It lets any dilated CNN follow a user, an audio signal or a sensor.",
    answer=RingBuffer,
    wrong="""
    output = self.bias + => self.rows[self.time % self.size] = x; output = self.bias +
        The new input is written before the oldest one is read, which lies in the same row. Read
        first.
    (taps - 1 - i) * self.dilation => (i + 1) * self.dilation
        The earlier taps are in the reverse order. The first one belongs to the input that is
        furthest back.
    = weight, bias, dilation => = weight.flip(2), bias, dilation
        The taps are in the reverse order. The last one, `weight[:, :, -1]`, belongs to the present
        input.
    (taps - 1 - i) * self.dilation => self.dilation ** (taps - 1 - i)
        The distances are powers of the dilation. They are its multiples: (k − 1 − i) · D.
    lag = (taps - 1 - i) * self.dilation => lag = taps - 1 - i
        The inputs are neighbours. With a dilation they lie `dilation` positions apart.
    self.time += 1 => self.time += 0
        The position never moves on, so every input is written to the same row.
    self.rows[self.time % self.size] = x => self.rows[self.time % self.size] = output
        The output is written to the buffer. Keep the input x.
    self.rows[self.time % self.size] = x => pass
        No input is written to the buffer, so its rows stay zero.
    (weight.shape[2] - 1) * dilation => weight.shape[2] - 1
        The buffer has k − 1 rows. With a dilation the first tap needs an input from (k − 1) · D
        positions ago, so it takes (k − 1) · D rows.
    self.bias + self.weight => self.weight
        The bias is missing.
    self.weight[:, :, i] => self.weight[:, :, i].T
        The matrix of an earlier tap is transposed. In `weight[:, :, i]` each row gives one output.
    = weight, bias, dilation => = weight.transpose(0, 1), bias, dilation
        The matrices are transposed. Multiply as `weight[:, :, i] @ x`, not `x @ weight[:, :, i]`.
    _AllInputs
        The outputs are right, but all inputs are kept beside the buffer. The state of a user must
        not grow.
    _History
        The outputs are right, but the whole history is kept. The state of a user must not grow, and
        (k − 1) · D inputs are enough.
    (weight.shape[2] - 1) * dilation => weight.shape[2] * dilation
        The outputs are right, but the buffer has k · D rows. (k − 1) · D are enough: the last tap
        takes the present input from `x`.
    (weight.shape[2] - 1) * dilation => (weight.shape[2] - 1) * dilation + 1
        The outputs are right, but the buffer has a row too many. Read the oldest input before you
        write the new one in its place, then (k − 1) · D rows are enough.
    _Queue
        The outputs are right, but each step moves all rows. In a ring one row changes: the oldest,
        which the new input replaces.
    """,
    hints=(
        "In `__init__`, make `self.rows`, zeros with (k − 1) · dilation rows, and `self.time = 0`.",
        "The last tap multiplies x itself. Tap i multiplies the input of (k − 1 − i) · dilation "
        "positions ago, which is in row `(self.time - lag) % self.size`.",
        "Compute the output first. Then overwrite row `self.time % self.size`, and add 1 to "
        "`self.time`.",
    ),
    cases=(
        (torch.tensor([[[0.5, 1.0]]]), torch.tensor([0.0]), 2, torch.tensor([[1.0], [2], [4]])),
        (
            torch.tensor([[[1.0, 10, 100], [0, 2, 0]], [[3.0, 0, 1], [-1, 0, 2]]]),
            torch.tensor([0.5, -0.5]),
            2,
            torch.arange(12.0).reshape(6, 2) % 7,
        ),
        (
            torch.tensor([[[1.0, 10, 100]]]),
            torch.tensor([0.0]),
            3,
            torch.arange(1.0, 9).reshape(8, 1),
        ),
    ),
    use=_run_ring,
    why="No input moves: the newest takes the place of the oldest. All layers of the course's CNN "
    "together keep 15 kB a user at width 64 and dilations 1, 4, 1, 4.",
)
