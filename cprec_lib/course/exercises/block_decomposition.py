"""Exercises of notebook 02: the block embedding and the two-level softmax."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from cprec_lib.course.exercises.problem import Problem
from cprec_lib.model.partition import BlockPartition
from cprec_lib.model.softmax import BlockSoftmax


def vector_of(
    item: int, cutoffs: tuple[int, ...], tables: list[Tensor], projections: list[Tensor]
) -> Tensor:
    """Vector [d] of one item; zeros for padding."""
    if item == 0:
        return torch.zeros(tables[0].shape[1])
    block = bisect_left(cutoffs, item)
    start = cutoffs[block - 1] if block > 0 else 0
    row = tables[block][item - start - 1]
    return projections[block - 1] @ row if block > 0 else row


def _use_vector(
    answer: Any,
    item: int,
    cutoffs: tuple[int, ...],
    tables: list[list[list[float]]],
    projections: list[list[list[float]]],
) -> Any:
    to_tensors = [torch.tensor(table) for table in tables]
    return answer(item, cutoffs, to_tensors, [torch.tensor(matrix) for matrix in projections])


_TWO = ((2,), [[[1.0, 0.0], [0.0, 1.0]], [[3.0], [-1.0]]], [[[1.0], [2.0]]])
_THREE = (
    (1, 3),
    [[[5.0, 6.0]], [[1.0, 2.0], [3.0, 4.0]], [[1.0, -1.0], [2.0, 0.0], [0.0, 7.0]]],
    [[[1.0, 1.0], [0.0, 2.0]], [[0.0, 3.0], [1.0, 0.0]]],
)
_FOUR = (
    (1, 2, 3),
    [[[5.0, 6.0]], [[1.0]], [[2.0]], [[3.0], [-2.0]]],
    [[[1.0], [0.0]], [[0.0], [1.0]], [[4.0], [1.0]]],
)
_WIDE = ((1,), [[[1.0, 2.0, 3.0]], [[4.0]]], [[[1.0], [0.0], [2.0]]])

look_up = Problem(
    title="Look one item up",
    task="""\
Write the look-up of a single item: `vector_of(item, cutoffs, tables, projections)`. `item` is an
id from 0 (padding) to $N$. `cutoffs` is a tuple; there can be any number of tail blocks.
`tables` is a list with one tensor of shape $[k_j, d_j]$ for each block. `projections` is a list
with one tensor of shape $[d, d_j]$ for each *tail* block, so `projections[0]` belongs to
`tables[1]`. Return the item's vector, a tensor $[d]$. For padding, return the zero vector.

By hand: the cutoffs are `(2,)`, so items 1 and 2 are the head. The head's table has the rows (1, 0)
and (0, 1). The tail's table has the rows (3) and (−1), and the projection is the column (1, 2).
Item 4 is the second item of the tail and has the row (−1), so its vector is $-1 \\cdot (1, 2)$: the
answer is `tensor([-1., -2.])`.""",
    minutes=12,
    difficulty="medium",
    purpose="You see which numbers belong to one item and which are shared by its block.",
    answer=vector_of,
    wrong="""
    item == 0 => item < 0
        Padding, id 0, gets an item's row here. Its index becomes −1, which is a valid index: that
        of the last row.
    bisect_left(cutoffs, item) => sum(item >= cutoff for cutoff in cutoffs)
        An item whose id equals a cutoff is put into the next block. A cutoff is the last id of its
        block.
    item - start - 1 => item - start
        The rows are off by one. The first item of a block has row 0 of its table.
    projections[block - 1] @ row => row @ projections[block - 1]
        The projection is transposed. It has one row for each of the d numbers of the result.
    projections[block - 1] => projections[block]
        A tail block uses the projection of another block. The head has none, so the two lists are
        not aligned.
    projections[block - 1] => projections[block - 2]
        A tail block uses the projection of the block before it; block 2 uses the last
        projection. `projections[0]` belongs to `tables[1]`, which is block 2.
    torch.zeros(tables[0].shape[1]) => torch.zeros(tables[-1].shape[1])
        Padding's vector has the width of a narrow row here. Every item's vector has d numbers, and
        so has padding's.
    torch.zeros(tables[0].shape[1]) => torch.zeros(2)
        Padding's vector always has two numbers here. It needs d, as many as a row of the head has.
    item - start - 1 => item - 1
        The row within a block is not the item's id minus 1. Each table starts again at row 0 after
        the cutoff before it.
    cutoffs[block - 1] if block > 0 else 0 => sum(cutoffs[:block])
        The cutoffs are added up here, as if they were the sizes of the blocks. Each cutoff is
        already an id, the last one of its block.
    projections[block - 1] => projections[0]
        Every tail block uses the projection of block 2 here. Each tail block has its own.
    projections[block - 1] @ row => torch.cat([row, torch.zeros(tables[0].shape[1] - len(row))])
        The narrow row is filled up with zeros here. It has to be multiplied by the projection of
        its block, which gives d numbers.
    """,
    hints=(
        "Three questions: in which block is the item, which row of that block's table is it, and "
        "does the row need a projection?",
        "The block's number is the number of cutoffs that are smaller than the item. The row is "
        "counted from the cutoff before the block.",
        "`bisect.bisect_left(cutoffs, item)` gives the block. A matrix of shape [d, d_j] times a "
        "row of d_j numbers (`@`) gives d numbers. Handle id 0 first.",
    ),
    cases=(
        (2, *_THREE),
        (1, *_THREE),
        (0, *_TWO),
        (3, *_THREE),
        (5, *_THREE),
        (6, *_THREE),
        (4, *_TWO),
        (4, *_FOUR),
        (5, *_FOUR),
        (0, *_WIDE),
    ),
    use=_use_vector,
    why="The library looks up every id in every block and keeps the right vector. That is more "
    "work, but its shapes do not depend on the ids, so a GPU need not wait for them.",
)


def log_prob_of(item: int, root_logits: Tensor, tail_logits: list[Tensor]) -> Tensor:
    """Log-probability of one item in the two-level softmax."""
    root = root_logits.log_softmax(0)
    place = item - 1
    head_size = len(root) - len(tail_logits)
    if place < head_size:
        return root[place]
    place -= head_size
    for token, logits in enumerate(tail_logits, start=head_size):
        if place < len(logits):
            return root[token] + logits.log_softmax(0)[place]
        place -= len(logits)
    raise ValueError(f"there is no item {item}")


def _use_log_prob(answer: Any, item: int, root_logits: Tensor, tail_logits: list[Tensor]) -> Any:
    found = answer(item, root_logits, tail_logits)
    # A plain number is as good as a tensor that holds one.
    return found.item() if isinstance(found, Tensor) and found.numel() == 1 else found


def _logits(root: list[float], *tails: list[float]) -> tuple[Tensor, list[Tensor]]:
    """Logits with these exponentials."""
    return torch.tensor(root).log(), [torch.tensor(tail).log() for tail in tails]


def _with_tokens(root: Tensor, tails: list[Tensor]) -> Tensor:
    """Logits of all items in one row, a block's with its token's added: a wrong answer."""
    head, tokens = root.tensor_split([-len(tails)])
    return torch.cat([head, *(token + tail for token, tail in zip(tokens, tails, strict=True))])


log_probability = Problem(
    title="One log-probability of the tree",
    task="""\
Write `log_prob_of(item, root_logits, tail_logits)` for a single hidden vector whose logits are
given. `root_logits` is a tensor: one logit for each head item, then one for the token of each tail
block. `tail_logits` is a list: for each tail block, a tensor with one logit for each item of the
block. `item` is an id from 1 to $N$. Return its log-probability, one number. The lengths of the
tensors tell you the sizes of the blocks. A logit can be as large as 200. Its exponential does not
fit into float32, so compute with log-probabilities throughout.

By hand: the exponentials of the root's logits are 5, 3 and 2, and those of the only tail block's
logits are 1 and 3. So there are two head items and one token. Item 4 is the second item of the tail
block: $p(4) = 2/10 \\cdot 3/4 = 0.15$. The answer is $\\ln 0.15 \\approx -1.897$.""",
    minutes=12,
    difficulty="medium",
    purpose="To score one item, you need the root and at most one tail block.",
    answer=log_prob_of,
    wrong="""
    item - 1 => item
        This is the log-probability of another item. Ids begin at 1, indices at 0.
    root[token] + logits => logits
        This is the probability of a tail item *if* its block is chosen. The probability of the
        block is missing.
    root[token] + => root[token] *
        Two logarithms are multiplied. Which operation on logarithms corresponds to a product of
        probabilities?
    logits.log_softmax(0)[place] => logits[place]
        The logits of the tail block are added without a softmax. The probabilities of the block
        must sum to the probability of its token.
    root[token] => root[head_size]
        A tail block uses the token of another block. The tokens are in the order of the blocks.
    start=head_size => start=0
        The probability of a head item is taken for that of the block. In the root the tokens come
        after the head items.
    len(root) - len(tail_logits) => len(root) - 1
        Only the last entry of the root counts as a token here. The root has one token for each tail
        block.
    .log_softmax(0) =>
        These are logits. A logit can be any number; `log_softmax` turns logits into
        log-probabilities.
    root_logits.log_softmax(0) => root_logits
        The logits of the root are used without a softmax. The probabilities of the head items and
        the tokens must sum to 1.
    root_logits.log_softmax(0) => root_logits
    return root[place] => return root[:head_size].log_softmax(0)[place]
    root[token] => root[head_size:].log_softmax(0)[token - head_size]
        Head items and block tokens are in two softmaxes here. At the root they compete with each
        other, in one.
    return root[place] => return root_logits[:head_size].log_softmax(0)[place]
        A head item's softmax runs over the head alone here. The tokens are in the root as well and
        receive a part of the probability.
    lambda item, root, tails: torch.cat([root[: -len(tails)], *tails]).log_softmax(0)[item - 1]
        This is one softmax over all items, as in the flat variant: the tokens are not used.
    lambda item, root, tails: _with_tokens(root, tails).log_softmax(0)[item - 1]
        The logits of token and item are added here, and one softmax runs over all items. The tree
        has a softmax at the root and one inside each tail block.
    logits.log_softmax(0)[place] => torch.cat(tail_logits).log_softmax(0)[item - 1 - head_size]
        All tail items share one softmax here. Each tail block has a softmax of its own.
    place < head_size => place < len(root)
        The first ids after the head get the probabilities of block tokens here. A token is in the
        root, but it is not an item.
    place < head_size => place < len(root)
    place -= head_size => place -= len(root)
        The block tokens are counted as items. They follow the head in the root, but they have no
        ids: the first id after the head is the first item of block 2.
    lambda *case: -log_prob_of(*case)
        This is the negative log-likelihood. The logarithm of a probability is never above 0.
    lambda *case: log_prob_of(*case).exp()
        This is the probability. Return its logarithm.
    lambda *case: log_prob_of(*case).exp().log()
        A tiny probability is rounded to 0 before its logarithm is taken (underflow). Use
        `log_softmax`, and add logarithms.
    lambda *case: (log_prob_of(*case).exp() + 1e-12).log()
        The small number that is added keeps the logarithm finite, but makes it wrong. Use
        `log_softmax`, and add logarithms.
    root_logits.log_softmax(0) => (root_logits.exp() / root_logits.exp().sum()).log()
    + logits.log_softmax(0) => + (logits.exp() / logits.exp().sum()).log()
        The exponential of a large logit is infinite in float32. `log_softmax` avoids it.
    """,
    hints=(
        "The root has one entry for each head item and one for each tail block. How many head "
        "items are there, then?",
        "If the item is not in the head, go through the tail blocks and subtract the size of each "
        "block that you pass from the item's index, until the index falls inside a block.",
        "Use `log_softmax(0)` twice: over the whole root and over the item's block. The logarithm "
        "of a product is a sum.",
    ),
    cases=(
        (3, *_logits([5.0, 3.0, 2.0], [1.0, 3.0])),
        (4, *_logits([5.0, 3.0, 2.0], [1.0, 3.0])),
        (2, *_logits([5.0, 3.0, 2.0], [1.0, 3.0])),
        (2, *_logits([4.0, 3.0, 3.0], [2.0, 6.0], [1.0, 1.0, 2.0])),
        (6, *_logits([4.0, 2.0, 4.0], [2.0, 6.0], [1.0, 1.0, 2.0])),
        (2, torch.tensor([200.0, 0.0]), [torch.tensor([200.0, 0.0])]),
    ),
    use=_use_log_prob,
    why="A head item needs no tail block, and a tail item needs only one. That is why the loss of "
    "the tree is cheaper than that of a softmax over all items.",
)


def root_targets(targets: Tensor, cutoffs: tuple[int, ...]) -> Tensor:
    """Index of each target in the root's logits."""
    block = torch.bucketize(targets, torch.tensor(cutoffs))
    return torch.where(block == 0, targets, cutoffs[0] + block) - 1


root_loss = Problem(
    title="The targets of the root",
    task="""\
The loss at the root is `F.cross_entropy(root_logits, root_targets(targets, cutoffs))`. It needs the
index of each target among the root's logits, counted from 0: first the head items, then the block
tokens. Write `root_targets(targets, cutoffs)`. `targets` is a tensor $[T]$ of item ids from 1 to
$N$, and `cutoffs` is a tuple. Return the indices, a tensor $[T]$ of 64-bit integers like
`targets`.

By hand: with cutoffs `(2, 4)` the root has four entries: item 1, item 2, the token of block 2
(items 3 and 4), and the token of block 3 (items from 5 on). So
`root_targets(torch.tensor([1, 4, 5]), (2, 4))` is `tensor([0, 2, 3])`.""",
    minutes=8,
    difficulty="easy",
    optional=True,
    purpose="At the root, all items of a tail block have the same target.",
    answer=root_targets,
    wrong="""
    targets, cutoffs[0] + block) - 1 => targets, cutoffs[0] + block - 1)
        The indices of the head items are one too high. Item 1 has the first logit of the root.
    targets, cutoffs[0] + block) - 1 => targets - 1, cutoffs[0] + block)
        The indices of the block tokens are one too high. The head has no token: the first token is
        that of block 2, and it directly follows the last head item.
    ) - 1 => )
        All indices are one too high. Ids begin at 1, indices at 0.
    torch.tensor(cutoffs)) => torch.tensor(cutoffs), right=True)
        An item whose id equals a cutoff is put into the next block. A cutoff is the last id of its
        block.
    lambda targets, cutoffs: targets - 1
        Each tail item has its own index here. The root has no entry for a tail item, only one for
        its block.
    lambda targets, cutoffs: torch.bucketize(targets, torch.tensor(cutoffs))
        This is the number of each target's block, counted from 0. In the root every head item has
        an entry of its own, and the tokens follow.
    cutoffs[0] + block => cutoffs[0] + 1
        All tail items get the same token. Each tail block has its own token.
    targets, cutoffs[0] + block => targets + len(cutoffs), block
        The block tokens come first here. In the root they come last.
    """,
    hints=(
        "Write down the entries of the root for cutoffs (2, 4), with their indices. Which entry "
        "stands for item 4?",
        "`torch.bucketize(targets, torch.tensor(cutoffs))` gives the block of each target, with 0 "
        "for the head. The tokens begin at index $k_1$, which is the first cutoff.",
        "`torch.where` chooses between two results: one for targets in the head, one for targets "
        "in the tail.",
    ),
    cases=(
        (torch.tensor([1, 4, 5]), (2, 4)),
        (torch.tensor([1, 2, 3, 4, 5, 6, 9]), (2, 4)),
        (torch.tensor([7, 3, 4, 20, 11]), (3, 7, 11)),
        (torch.tensor([2, 1]), (1,)),
    ),
    why="A target in the tail has a second loss inside its block, where its index is counted from "
    "the start of the block. `BlockSoftmax.nll` adds the two losses.",
)


def tree_logits(p: Tensor, cutoffs: tuple[int, ...]) -> tuple[Tensor, list[Tensor]]:
    """Logits of the root, and of each tail block, with which a tree gives the probabilities p."""
    head, *tails = p.tensor_split(cutoffs)
    tokens = torch.stack([tail.sum() for tail in tails])
    return torch.cat([head, tokens]).log(), [tail.log() for tail in tails]


def _use_tree(answer: Any, p: list[float], cutoffs: tuple[int, ...]) -> Any:
    """Probabilities that `BlockSoftmax` gives with these logits, or what is wrong with them."""
    found = answer(torch.tensor(p), cutoffs)
    if found is None or found is ...:
        return None
    if not isinstance(found, tuple | list) or len(found) != 2:
        return f"the answer gives `{found!r}`; a pair is expected, the root's logits and a list."
    root, tails = found
    partition = BlockPartition(len(p), cutoffs, (1,) * (len(cutoffs) + 1))
    softmax = BlockSoftmax(partition)
    if not isinstance(tails, Sequence) or len(tails) != len(cutoffs):
        return f"the second part should be a list of {len(cutoffs)} tensors, one per tail block."
    modules = [softmax.root, *softmax.tail_tables]
    names = ["the root", *(f"block {number + 2}" for number in range(len(tails)))]
    with torch.no_grad():
        for module, logits, name in zip(modules, [root, *tails], names, strict=True):
            shape = [len(module.weight)]
            if not isinstance(logits, Tensor) or [*logits.shape] != shape:
                got = [*logits.shape] if isinstance(logits, Tensor) else type(logits).__name__
                return f"the logits of {name} should be a tensor {shape}; the answer gives {got}."
            module.weight.copy_(logits.unsqueeze(1))
        for projection in softmax.tail_projections.parameters():
            projection.fill_(1)
        return softmax.log_prob(torch.ones(1, 1))[0].exp()


def _judge_tree(got: Any, right: Any) -> str:
    if isinstance(got, str):
        return got
    if torch.allclose(got, right, rtol=1e-4, atol=1e-6):
        return ""
    given, asked = ([round(value, 4) for value in p.tolist()] for p in (got, right))
    return f"with these logits the tree gives `{given}`; it should give `{asked}`."


any_tree = Problem(
    title="A tree for any probabilities",
    task="""\
Write `tree_logits(p, cutoffs)`. `p` is a tensor $[N]$ of probabilities, all above 0, with sum 1;
`cutoffs` is a tuple. Return a pair. The first part is a tensor with the logits of the root: one for
each head item, then one for the token of each tail block. The second part is a list with one tensor
for each tail block: one logit for each of its items. The check puts the logits into a
`BlockSoftmax`, which must then give the probabilities `p`. More than one answer is right.

By hand: `p` is (0.5, 0.3, 0.05, 0.15) with cutoffs `(2,)`. A root with the logits $\\ln 5$,
$\\ln 3$ and $\\ln 2$ gives the head items 0.5 and 0.3 and the token 0.2. A tail block with $\\ln 1$
and $\\ln 3$ splits the 0.2 into 0.05 and 0.15.""",
    minutes=14,
    difficulty="medium",
    optional=True,
    purpose="You see whether the tree itself, without narrow rows, restricts which probabilities "
    "are possible.",
    answer=tree_logits,
    wrong="""
    ]).log(), [tail.log() => ]), [tail
        These are probabilities. The softmax takes the exponentials of its inputs.
    tail.sum() => tail.max()
        The token has the probability of the block's best item. It stands for all items of the
        block.
    tail.sum() => tail.mean()
        The token has the mean probability of the block's items. What do the probabilities of its
        items sum to?
    [head, tokens]).log() => [head.log(), 0 * tokens])
        The token of every block has the logit 0 here. Its logit depends on the probabilities of the
        block's items.
    tail.sum() => tail.log().sum().exp()
        The logarithms of a block's items are added, which multiplies their probabilities. The token
        stands for one item of the block *or* another.
    [head, tokens] => [tokens, head]
        The tokens come first in this root. They have to come last.
    [head, tokens] => [head, tokens, head.sum().reshape(1)]
        This root has one token too many. The head needs no token, because its items are in the
        root.
    """,
    hints=(
        "Begin with probabilities: what must the root give to a token, and what must a block give "
        "to its items?",
        "A token must receive the sum of the probabilities of its block's items. Inside the block "
        "only the ratios of its items matter.",
        "The logarithm of a probability can serve as its logit: the softmax takes the exponential "
        "and divides by the sum. `tensor_split(cutoffs)` cuts a tensor at the cutoffs.",
    ),
    cases=(
        ([0.5, 0.3, 0.05, 0.15], (2,)),
        ([0.1, 0.05, 0.15, 0.2, 0.1, 0.4], (1, 3)),
        ([0.02, 0.28, 0.1, 0.1, 0.05, 0.25, 0.2], (3, 5)),
    ),
    use=_use_tree,
    judge=_judge_tree,
    why="So for one history the tree rules nothing out. It has two limits: one weight matrix must "
    "serve all histories, and the rows of a tail block are narrow.",
)
