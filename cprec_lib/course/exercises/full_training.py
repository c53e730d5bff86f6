"""Exercises of notebook 07: several processes, memory, and a softmax over several machines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from cprec_lib.course.exercises.problem import Problem
from cprec_lib.course.exercises.values import difference


def loss_factors(positions: Sequence[int]) -> list[float]:
    """Factors of the processes' mean losses, so that their average is the mean of the batch."""
    return [len(positions) * own / sum(positions) for own in positions]


processes = Problem(
    title="When gradients are averaged",
    task="Write `loss_factors(positions)`: the factor by which each process multiplies its own "
    "mean loss, if the gradients are averaged over the processes.",
    minutes=11,
    difficulty="medium",
    purpose="torch's DistributedDataParallel averages gradients over processes, however many "
    "positions each has.",
    answer=loss_factors,
    cases=(([2, 1],), ([30, 10, 0, 60],), ([5, 5, 5, 5, 5],)),
    wrong="""
    len(positions) * own => own
        These factors make the *sum* over the processes right. Here the gradients are averaged,
        which divides once more.
    len(positions) * own => sum(n > 0 for n in positions) * own
        A process without positions was not counted. It adds nothing, but the average divides by
        the number of all processes.
    len(positions) * own => 2 * own
        The number of processes is taken as 2. It is the length of the list.
    own / sum(positions) => own // sum(positions)
        `//` rounds down to a whole number. The factors are fractions: divide with `/`.
    len(positions) * own / sum(positions) => 1.0
        All processes count the same, so a position counts for more in a process that has few.
    len(positions) * own / sum(positions) => 1 / len(positions)
        This is a mean over the processes. They are averaged anyway; but they hold different numbers
        of positions, which the factors have to correct.
    len(positions) * own / sum(positions) => float(own)
        The factor turns a mean into a sum over the process's positions, but nothing divides by the
        positions of the whole batch.
    len(positions) * own / sum(positions) => sum(positions) / (len(positions) * own) if own else 0.0
        The fraction is upside down: the process with the fewest positions gets the largest factor.
    len(positions) * own / sum(positions) => sum(positions) / (len(positions) * own)
        The fraction is upside down: few positions make the factor large, and with none it
        divides by zero.
    """,
    hints=(
        "Write down what you want: the sum of all losses, divided by all positions. How do you get "
        "a process's sum from its mean?",
        "A process's mean times its number of positions is its sum. Dividing by all positions "
        "makes these parts add up to the mean over the batch. What does averaging do to a sum?",
        "With P processes, the average is the sum divided by P. Each factor has to cancel the P.",
    ),
    why="The mean of the factors is 1. With equal parts each factor is 1, so the mistake shows "
    "only with uneven parts.",
)


def largest_catalogue(memory: int, width: int, middle: int, positions: int) -> int:
    """The largest number of items with which training fits in `memory` bytes."""
    for_items = memory - 16 * middle
    parameters = 2 * width + 1
    return for_items // (16 * parameters + 4 * positions)


def _to_the_nearest(memory: int, width: int, middle: int, positions: int) -> int:
    return round((memory - 16 * middle) / (16 * (2 * width + 1) + 4 * positions))


catalogue = Problem(
    title="Does it fit?",
    task="Write `largest_catalogue(memory, width, middle, positions)`: how many items a model with "
    "an uncompressed embedding and softmax may have if its training has to fit in `memory` bytes.",
    minutes=11,
    difficulty="easy",
    purpose="Before you rent a machine: does your catalogue fit on it?",
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
        Weights and gradients are counted. The optimiser also keeps numbers for each parameter.
    16 => 12
        12 bytes per parameter: one number is missing. There are the weight, its gradient, and what
        the optimiser keeps.
    + 4 * positions =>
        The logits are missing. The full softmax makes one for each item at each position.
    4 * positions => 16 * positions
        The logits take 16 bytes each here. A logit is not a parameter: the optimiser keeps nothing
        for it.
    4 * positions => 8 * positions
        The logits take 8 bytes each here, as if their gradients were kept beside them. The task
        counts them once.
    2 * width + 1 => width + 1
        An item has only one row here. It needs one in the embedding and one in the softmax, because
        the two share no weights.
    2 * width + 1 => 2 * width
        An item's bias is missing: besides its row, the softmax of NextItNet has one number for each
        item.
    - 16 * middle =>
        The middle layers are missing. They do not grow with the catalogue, but they take memory.
    - 16 * middle => - 4 * middle
        Only the weights of the middle layers are counted. They are trained like the others, so
        each takes 16 bytes.
    return for_items => return 1 + for_items
        One item too many: the last one does not fit entirely.
    // => /
        This is a fraction. A catalogue has a whole number of items, so round down.
    _to_the_nearest
        Rounded to the nearest whole number. The part of an item that does not fit has to be left
        out, however large: round down.
    - 16 * middle => - 16 * middle - 4 * positions
    + 4 * positions =>
        The logits are subtracted once, as if their number did not depend on the catalogue. Each
        further item adds a logit at every position.
    """,
    hints=(
        "Divide the bytes into two parts: those that every further item adds, and those that are "
        "needed without any item.",
        "An item adds parameters in the embedding and in the softmax, and one logit at each "
        "position. How many bytes does each take?",
        "Subtract the bytes of the middle layers from the memory, divide by the bytes of an item, "
        "and round down.",
    ),
    why="The bytes of an item depend on the width and on the positions of a batch: with small "
    "widths the logits take more than the tables. Halving the batch then saves more than halving "
    "the width.",
)


def sharded_log_prob(shards: Sequence[Tensor]) -> list[Tensor]:
    """Log-probabilities [T, n_j] of each machine's items from its logits [T, n_j]."""
    own = torch.stack([logits.logsumexp(1, keepdim=True) for logits in shards])
    return [logits - own.logsumexp(0) for logits in shards]


_Sent = dict[int, dict[tuple[float, ...], int]]
"""For each machine, the numbers that it sends, and how many they are."""


class _Placed(Tensor):
    """A tensor on one of several machines; operations note which tensors machines have to send.

    An operation on tensors of several machines runs where the largest is, and the others are sent
    there. Its result is known to all machines.
    """

    machine: int | None
    sent: _Sent

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = super().__torch_function__(func, types, args, kwargs)  # type: ignore[no-untyped-call]
        used = [*_placed_in([*args, *(kwargs or {}).values()])]
        places = {tensor.machine for tensor in used} - {None}
        if len(places) > 1:
            here = max(used, key=lambda tensor: tensor.shape.numel()).machine
            for tensor in used:
                if tensor.machine not in (None, here):
                    _note(tensor)
        owner = places.pop() if len(places) == 1 else None
        for tensor in _placed_in([result]):
            tensor.machine, tensor.sent = owner, used[0].sent
        return result


_Placed.__name__ = "Tensor"  # errors and messages show the name of the class


def _placed_in(values: Sequence[Any]) -> Iterator[_Placed]:
    for value in values:
        if isinstance(value, _Placed):
            yield value
        elif isinstance(value, list | tuple):
            yield from _placed_in(value)


def _note(tensor: _Placed) -> None:
    """Note that its machine sends a tensor, once for all machines, even if it is computed anew."""
    numbers = tensor.as_subclass(Tensor).detach().flatten()
    tensor.sent.setdefault(tensor.machine or 0, {})[(*numbers.tolist(),)] = len(numbers)


def _count_sent(answer: Any, shards: list[Tensor]) -> Any:
    """An answer's result, and, if it is right, the most numbers per position that a machine sends.

    An answer that is wrong in any case is judged by its values alone, however it computes them.
    """
    found, sent = _run(answer, shards)
    if not isinstance(found, list) or not all(_is_right(answer, case) for case in _ALL):
        return found, 0
    numbers = [sum(sizes.values()) for sizes in sent.values()]
    return found, max(numbers, default=0) / len(shards[0])


def _run(answer: Any, shards: list[Tensor]) -> tuple[Any, _Sent]:
    """An answer's result, a tuple as a list, and what each machine sent."""
    sent: _Sent = {}
    placed = [shard.as_subclass(_Placed) for shard in shards]
    for machine, shard in enumerate(placed):
        shard.machine, shard.sent = machine, sent
    found = answer(placed)
    if not isinstance(found, list | tuple):
        return found, sent
    return [part.as_subclass(Tensor) if isinstance(part, Tensor) else part for part in found], sent


def _is_right(answer: Any, shards: list[Tensor]) -> bool:
    try:
        return not difference(
            _run(answer, [*map(torch.clone, shards)])[0], sharded_log_prob(shards)
        )
    except Exception:  # the check shows it at the case in which it is raised
        return False


def _judge_shards(got: Any, right: Any) -> str:
    result, sent = got if isinstance(got, tuple) and len(got) == 2 else (got, 0)
    wrong = difference(result, right[0])
    if wrong or sent <= 1:
        return wrong
    return (
        f"the log-probabilities are right, but a machine sends {sent:g} numbers per position; "
        "one is enough."
    )


def _two_numbers(shards: Sequence[Tensor]) -> list[Tensor]:
    """Each machine sends the largest of its logits, then its sum of exponentials."""
    top = torch.stack([logits.amax(1, keepdim=True) for logits in shards]).amax(0)
    total = torch.stack([(logits - top).exp().sum(1, keepdim=True) for logits in shards]).sum(0)
    return [logits - top - total.log() for logits in shards]


_BY_HAND = [torch.tensor([[6.0, 3.0]]).log(), torch.tensor([[1.0]]).log()]
_TWO_POSITIONS = [
    torch.tensor([[0.5, -1.0, 2.0], [3.0, 0.0, 1.0]]),
    torch.tensor([[1.5], [-2.0]]),
    torch.tensor([[0.0, 0.25], [2.5, -0.5]]),
]
_LARGE = [torch.tensor([[200.0, 199.0]]), torch.tensor([[198.0, 201.0]])]
_ALL = _BY_HAND, _TWO_POSITIONS, _LARGE

shards = Problem(
    title="A softmax on several machines",
    task="Write `sharded_log_prob(shards)`: from each machine's logits [T, n_j] to the "
    "log-probabilities of its items in the whole catalogue.",
    minutes=12,
    difficulty="medium",
    optional=True,
    purpose="A catalogue that is too large for one machine needs a softmax that is combined from "
    "parts.",
    answer=sharded_log_prob,
    cases=tuple((case,) for case in _ALL),
    use=_count_sent,
    judge=_judge_shards,
    wrong="""
    logits - own.logsumexp(0) => logits.log_softmax(1)
        Each machine divides by the sum over its own items, so its probabilities sum to 1. All
        machines need the same number: the logarithm of the sum over the whole catalogue.
    logits - own.logsumexp(0) => (logits - own.logsumexp(0)).exp()
        These are probabilities. Return their logarithms.
    logits.logsumexp(1, keepdim=True) => logits.exp().sum(1, keepdim=True)
    own.logsumexp(0) => own.sum(0).log()
        Right on paper, but in float32 the exponential of a logit of 89 or more is infinite. Which
        function computes the logarithm of a sum of exponentials safely?
    own.logsumexp(0) => own.sum(0)
        The machines' numbers are added. They are logarithms of sums, so adding them multiplies the
        sums.
    own.logsumexp(0) => own.mean(0)
        The machines' numbers are averaged. They are logarithms of sums, and the sums have to be
        added.
    own.logsumexp(0) => own.flatten().logsumexp(0)
        One total is used for all positions. The probabilities of each position must sum to 1.
    own.logsumexp(0) => own.amax(0)
        Only the largest of the machines' numbers is subtracted. That is nearly right where one
        machine has nearly all of the probability, and wrong otherwise.
    lambda shards: [*torch.cat([*shards], 1).log_softmax(1).split([s.shape[1] for s in shards], 1)]
        All logits are brought to one machine, which computes the whole softmax. They are what the
        machines should keep. What is the one number that a machine has to send?
    _two_numbers
        Each machine sends two numbers per position: the largest logit, for all to subtract, and a
        sum. Which function makes one number of a machine's logits, safely?
    """,
    hints=(
        "A log-probability is a logit minus one number, and that number is the same for all items "
        "of a position, on every machine.",
        "Each machine sends `logsumexp` over its own items, one number a position. How did the "
        "section combine such numbers?",
        "Stack the machines' numbers in one tensor, and take `logsumexp` over the machines. With "
        "`keepdim=True` the shapes fit the logits.",
    ),
    why="Each machine sends only T numbers, whatever the size of the catalogue. Sending the logits "
    "would give the same probabilities, but the machines would send T times N numbers.",
)
