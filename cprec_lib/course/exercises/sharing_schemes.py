"""Exercises of notebook 05: who shares weights, what it saves, and how to do it properly."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy  # noqa: F401  (a wrong answer uses it)
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from cprec_lib.course.exercises.problem import Problem
from cprec_lib.course.exercises.values import describe
from cprec_lib.model.config import ModelConfig, cprec, nextitnet
from cprec_lib.model.cost import count_parameters
from cprec_lib.model.middle import CausalConvolution, ResidualBlock
from cprec_lib.model.sharing import sharing_table

Table = tuple[tuple[int, int], ...]

# The gradient of a shared weight


def add_up(names: list[str], gradients: Tensor) -> dict[str, Tensor]:
    """Gradient of each weight: names [n] of the weights that n layers use, gradients [n, ...]."""
    total: dict[str, Tensor] = {}
    for name, gradient in zip(names, gradients, strict=True):
        total[name] = total.get(name, 0) + gradient
    return total


shared_gradient = Problem(
    title="One gradient from many",
    task="Work out the gradients of shared weights from those of their uses.",
    minutes=8,
    difficulty="easy",
    purpose="Shows what `backward` does with a weight that several layers share.",
    answer=add_up,
    cases=(
        (["A", "B", "A"], torch.tensor([1.0, 20.0, 300.0])),
        (["A", "A", "B", "A"], torch.tensor([1.0, 20.0, 300.0, 4000.0])),
        (["A", "A", "A"], torch.tensor([[1.0, -2.0], [3.0, 2.0], [1.0, 0.0]])),
    ),
    wrong="""
    return total => return {name: value / names.count(name) for name, value in total.items()}
        This is the mean over the uses. A change of the weight changes the loss through each use,
        and these changes add up.
    total.get(name, 0) + gradient => gradient
        Only the last use counts here: a later gradient replaces an earlier one of the same name.
    total.get(name, 0) + gradient => total.get(name, gradient)
        Only the first use counts here. Every further use of the same weight adds to its gradient.
    total: dict[str, Tensor] = {} => total, last = {}, None
    total.get(name, 0) + gradient => gradient + (total[name] if name == last else 0); last = name
        Only uses next to each other are added, but a weight can occur again later in the stack.
    return total => return {name: value.sum() for name, value in total.items()}
        Everything was added up to one number. A gradient has the shape of its weight: add only
        over the uses.
    total.get(name, 0) + gradient => gradients.sum(0)
        Every weight got the sum of all gradients. Add only those of its own uses.
    """,
    hints=(
        "Go through names and gradients together, as with `zip`. Each gradient belongs to the "
        "weight whose name has the same place.",
        "Begin with an empty dictionary. `total.get(name, 0)` is the sum so far for a name.",
    ),
    why="PyTorch adds in the same way, into `.grad`. Gradients of opposite sign cancel. Eight "
    "equal gradients make a sum eight times as long, and plain gradient descent takes a step eight "
    "times as long. AdamW does not: it divides each gradient by its usual size.",
)

# Sharing as data


def mirrored(n_blocks: int) -> Table:
    """The table of a scheme where the first block shares with the last, and so on inwards."""
    depths = [min(block, n_blocks - 1 - block) for block in range(n_blocks)]
    return tuple((2 * depth, 2 * depth + 1) for depth in depths)


mirror_scheme = Problem(
    title="A mirror",
    task="Write the table of a scheme where the first block shares with the last.",
    minutes=11,
    difficulty="easy",
    purpose="Shows that a new scheme needs nothing but a new table.",
    answer=mirrored,
    cases=((4,), (5,), (3,), (1,), (6,)),
    wrong="""
    min(block, n_blocks - 1 - block) => block % ((n_blocks + 1) // 2)
        Here the upper half repeats the lower half in the same order. A mirror reverses the order:
        the last block shares with the first.
    min(block, n_blocks - 1 - block) => block // 2
        Here neighbours share, as in adjacent-block. Which block is as far from the top as this one
        is from the bottom?
    (2 * depth, 2 * depth + 1) for depth => (2 * d, 2 * d + 1)[:: 1 if d == b else -1] for b, d
    in depths => in enumerate(depths)
        Inside the blocks the order is reversed as well, so a first convolution shares with a
        second. First convolutions share with first ones, second with second ones.
    2 * depth => depth
        The numbers overlap: the second convolution of a block is also the first of the next. Each
        pair of blocks needs two numbers of its own.
    (2 * depth, 2 * depth + 1) => (depth, depth)
        The two convolutions of a block got the same number, so they are one. They should differ.
    n_blocks - 1 - block => n_blocks - block
        The partner is off by one. With n blocks the last has the number n - 1.
    range(n_blocks) => range(n_blocks) if 2 * block != n_blocks - 1
        With an odd number of blocks the one in the middle is missing. It shares with no other, but
        it needs its pair.
    (2 * depth, 2 * depth + 1) for => (depth, depth + (n_blocks + 1) // 2) for
        The right layers share, but the numbers are not in the order in which they first occur from
        the bottom. Block 0 has 0 and 1, block 1 has 2 and 3.
    tuple((2 * depth, 2 * depth + 1) => tuple((2 * depth, 2 * depth + (b != n_blocks - 1 - b))
    for depth in depths => for b, depth in enumerate(depths)
        In the middle block both convolutions got the same number. It shares with no other block,
        but its two convolutions differ.
    (2 * depth, 2 * depth + 1) for depth in depths => tuple(min(i, n - i) for i in b) for b in pairs
    depths = [ => n = 2 * n_blocks - 1; pairs = [(i, i + 1) for i in range(0, n, 2)]; depths = [
        The layers were mirrored one by one, so the lowest convolution shares with the highest.
        Mirror the blocks: first convolutions share with first ones.
    min( => max(
        The right blocks share, but the numbers do not start at 0. Take them from the lower block
        of each pair.
    min(block, n_blocks - 1 - block) => (n_blocks - 1) // 2 - min(block, n_blocks - 1 - block)
        The right blocks share, but the numbers start in the middle. Start at the bottom: block 0
        has 0 and 1.
    (2 * depth, 2 * depth + 1) => (2 * depth + 1, 2 * depth + 2)
        The right layers share, but the numbers start at 1. Start at 0: block 0 has 0 and 1.
    (2 * depth, 2 * depth + 1) for depth in depths => (2 * d, 2 * b + 1) for b, d in pairs
    depths = [ => pairs = enumerate(min(b, n_blocks - 1 - b) for b in range(n_blocks)); depths = [
        Only the first convolutions share. The second convolution of a block has to be that of its
        partner, too.
    """,
    hints=(
        "Write the table for four blocks by hand. Which block is the partner of block 0, of 1, of "
        "2, of 3?",
        "The partner of block b is n - 1 - b. Both must get the same numbers: compute them from "
        "the lower of the two blocks.",
        "With `depth = min(b, n_blocks - 1 - b)`, compute the two numbers from depth as the scheme "
        "none computes them from the block.",
    ),
    why="A scheme is nothing but its table: with the rule `lambda block: table[block]`, `build` in "
    "this notebook makes the blocks. "
    "Takase and Kiyono (2021) compare schemes of this kind in transformers and call this one "
    "cycle (rev).",
)

# Counting


def middle_parameters(table: Table, width: int, kernel_size: int) -> int:
    """Parameters of middle layers whose blocks use the convolutions of a table."""
    convolutions = len({number for pair in table for number in pair})
    norms = 2 * len(table)
    return convolutions * (kernel_size * width**2 + width) + norms * 2 * width


def _distinct(table: Table) -> int:
    return len({number for pair in table for number in pair})


shared_count = Problem(
    title="Count shared middle layers",
    task="Count the parameters of middle layers from their table, width and kernel size.",
    minutes=8,
    difficulty="easy",
    optional=True,
    purpose="Tells how many parameters a model should have if its code really shares weights.",
    answer=middle_parameters,
    cases=(
        (((0, 1), (0, 1)), 2, 3),
        (((0, 1), (2, 3), (2, 3), (0, 1)), 8, 3),
        (((5, 5), (5, 7), (7, 5)), 4, 2),
        (((0, 0),), 2, 1),
    ),
    wrong="""
    len({number for pair in table for number in pair}) => 2 * len(table)
        A convolution that is used again was counted again. It is stored only once.
    2 * len(table) => convolutions
        There is one layer normalisation for each convolution here. Are they shared as the
        convolutions are?
    + norms * 2 * width =>
        The layer normalisations are missing. They have a scale and a shift.
    2 * len(table) => len(table)
        The number of layer normalisations, or of what each holds, is half of what it should be. A
        block has two, and each has a scale and a shift.
    width**2 => width
        A convolution maps width numbers to width numbers: each tap is a matrix of width x width.
    width**2 + width => width**2
        The convolutions have a bias too, one number for each output.
    len({number for pair in table for number in pair}) => 1 + max(map(max, table))
        The highest number in the table is not the number of convolutions, because numbers may be
        skipped. Count the distinct ones.
    {number for pair in table for number in pair} => set(table)
        Distinct pairs were counted. Convolutions are shared one by one, and a pair names two.
    len({number for pair in table for number in pair}) => 2 * len(set(table))
        Each distinct pair was counted as two convolutions. A number can occur in several pairs, or
        twice in one.
    len({number for pair in table for number in pair}) => sum(len(set(c)) for c in zip(*table))
        First and second convolutions were counted apart. A number can occur in both places, and
        then both are one convolution.
    kernel_size * => 3 *
        The kernel size is not always 3.
    """,
    hints=(
        "Add two counts. The number of convolutions is the number of distinct numbers in the "
        "table; the number of layer normalisations is the number of its places.",
        "A convolution has kernel_size matrices of width x width and a bias of width numbers; a "
        "layer normalisation has 2 x width. A set comprehension over the pairs finds the "
        "distinct numbers.",
    ),
    why="The count needs no model and no memory. `count_parameters` works in this way. The "
    "notebook detects the scheme that shares nothing by such a comparison.",
)

# Tying


def tie(blocks: nn.ModuleList, table: Table) -> None:
    """Let residual blocks share convolutions as the table says; the first use gives the weights."""
    made: dict[int, Any] = {}
    for block, (first, second) in zip(blocks, table, strict=True):
        block.conv1 = made.setdefault(first, block.conv1)
        block.conv2 = made.setdefault(second, block.conv2)


def _tie_with(blocks: nn.ModuleList, table: Table, bind: Callable[[Any, Any], Any]) -> None:
    """Call bind(own, made) at every use of a convolution; the first use binds it to itself."""
    made: dict[int, Any] = {}
    for own, number in zip(_convolutions(blocks), chain(*table), strict=True):
        bind(own, made.setdefault(number, own))


def _share_memory(own: Any, made: Any) -> None:
    own.weight.data, own.bias.data = made.weight.data, made.bias.data


class _Blocks(nn.ModuleList):
    """Residual blocks of width 2 that show their dilations; always the same weights."""

    def __init__(self, *dilations: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            super().__init__(
                ResidualBlock(CausalConvolution(2, 3), CausalConvolution(2, 3), dilation, 0.0)
                for dilation in dilations
            )

    def __repr__(self) -> str:
        return f"residual blocks with the dilations {[block.dilation for block in self]}"


def _tie_and_step(answer: Any, blocks: nn.ModuleList, table: Table) -> dict[str, Any]:
    """Tie the blocks, take a training step, and see which weights still agree."""
    untied = [layer.weight.detach().clone() for layer in _convolutions(blocks)]
    owned = {id(parameter) for parameter in blocks.parameters()}
    answer(blocks, table)
    kept = owned.issuperset(map(id, blocks.parameters()))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        report = _report(blocks, untied)
    return {**report, "whether all parameters are those of the blocks that were given": kept}


def _convolutions(blocks: nn.ModuleList) -> list[Any]:
    return [layer for block in blocks for layer in (block.conv1, block.conv2)]


def _report(blocks: Any, untied: list[Tensor]) -> dict[str, Any]:
    layers = _convolutions(blocks)
    start = [
        next((place for place, value in enumerate(untied) if torch.equal(value, layer.weight)), -1)
        for layer in layers
    ]
    hidden = torch.randn(4, 12, 2)
    for block in blocks:
        hidden = block(hidden, torch.ones(1, 1, 1))
    (hidden * torch.randn(hidden.shape)).sum().backward()
    with torch.no_grad():  # by hand: the first optimiser of a process takes seconds to import
        for parameter in blocks.parameters():
            if parameter.grad is not None:
                parameter -= 0.1 * parameter.grad
    return {
        "whose weights each convolution starts with": start,
        "whose values each convolution agrees with after a step": [
            next(i for i, other in enumerate(layers) if _agree(layer, other)) for layer in layers
        ],
        "the number of parameters": sum(parameter.numel() for parameter in blocks.parameters()),
        "the dilations": [block.dilation for block in blocks],
        "the parameters of the norms": len(
            {id(p) for block in blocks for n in (block.norm1, block.norm2) for p in n.parameters()}
        ),
    }


def _agree(layer: Any, other: Any) -> bool:
    return torch.equal(layer.weight, other.weight) and torch.equal(layer.bias, other.bias)


tied_blocks = Problem(
    title="Tie them properly",
    task="Make the convolutions of finished blocks share as a table says.",
    minutes=16,
    difficulty="hard",
    optional=True,
    purpose="Makes the layers of a finished model share weights, without breaking its training.",
    answer=tie,
    use=_tie_and_step,
    cases=(
        (_Blocks(1, 4), ((0, 1), (0, 1))),
        (_Blocks(1, 1, 1), ((0, 0), (1, 1), (0, 0))),
        (_Blocks(1, 2, 1), ((3, 1), (1, 3), (2, 2))),
        (_Blocks(1, 1), ((0, 1), (2, 3))),
    ),
    changes=("blocks",),
    wrong="""
    lambda *case: _tie_with(*case, lambda own, made: own.load_state_dict(made.state_dict()))
        The numbers were copied. They are equal at the start but differ after one step, and no
        parameter is saved. Both places have to hold one object.
    lambda *case: _tie_with(*case, _share_memory)
        Two parameters use the same memory. Both are counted, the optimiser changes both, and they
        separate as soon as the model is moved or loaded. Share the module, not its `.data`.
    lambda *case: _tie_with(*case, lambda own, made: setattr(own, "weight", made.weight))
        The weights are shared, the biases are not. Sharing the whole module is less work.
    block.conv1 => blocks[place]
    block, (first, second) in zip(blocks, table, strict=True) => place, pair in enumerate(table)
    setdefault(first => setdefault(pair
    block.conv2 = made.setdefault(second, block.conv2) =>
        Whole blocks were shared, with their layer normalisations and dilations. Each block should
        keep its own.
    made: dict[int, Any] = {} => made, norms = {}, {}
    block.conv1 = => block.norm1 = norms.setdefault(first, block.norm1); block.conv1 =
    block.conv2 = => block.norm2 = norms.setdefault(second, block.norm2); block.conv2 =
        The layer normalisations are shared too. Each place keeps its own.
    made: dict[int, Any] = {} => firsts, seconds = {}, {}
    made.setdefault(first => firsts.setdefault(first
    made.setdefault(second => seconds.setdefault(second
        Here first convolutions share only with first ones, and second with second ones. A number
        can occur in both places, and then both are the same convolution.
    made: dict[int, Any] = {} => made = dict(zip(chain(*table), _convolutions(blocks)))
        They share, but the weights are those of the last convolution with a number. Keep the
        first one.
    made.setdefault(first, block.conv1) => blocks[first].conv1
    made.setdefault(second, block.conv2) => blocks[second].conv2
        The numbers of the table were taken as numbers of blocks. They name convolutions; the blocks
        come in the order of the pairs.
    made: dict[int, Any] = {} => layers = _convolutions(blocks)
    made.setdefault(first, block.conv1) => layers[first]
    made.setdefault(second, block.conv2) => layers[second]
        The numbers were taken as places in a list of all convolutions. They only say which places
        share; keep the convolution where a number first occurs.
    block.conv1) => deepcopy(block.conv1))
    block.conv2) => deepcopy(block.conv2))
        The blocks hold copies of their convolutions. The values are right, but whoever else holds
        the originals, such as an optimiser, changes other objects. Keep the originals.
    first, block.conv1) => first, CausalConvolution(2, 3))
    second, block.conv2) => second, CausalConvolution(2, 3))
        New convolutions were made, so what the blocks had learned is lost. Keep the existing ones.
    """,
    hints=(
        "Assigning a module to an attribute, as in `block.conv1 = other`, puts the same object "
        "there; nothing is copied.",
        "Keep a dictionary from each number so far to its module, as `build` does. Store the "
        "module that is already in the block.",
        "`made.setdefault(number, module)` returns what is stored under the number, and stores "
        "the module first if there is nothing yet.",
    ),
    why="One object in two places is one parameter: its gradient is the sum over both uses, and it "
    "takes one step. An optimiser that was made before the tying would still hold the unused "
    "parameters, so tie first.",
)

# The whole model

_ITEMS, _WIDTH, _DILATIONS = 8000, 128, (1, 2, 4, 8, 1, 2)


def _fits(got: Any, right: ModelConfig) -> str:
    """What is wrong with a config, as a sentence; "" if nothing is."""
    if not isinstance(got, ModelConfig):
        return f"this is `{describe(got)}`; a config is expected, as `cprec(...)` returns it."
    for name in ("n_items", "width", "dilations", "kernel_size", "middle", "tree"):
        if getattr(got, name) != getattr(right, name):
            return f"`{name}` is {getattr(got, name)}; it should stay {getattr(right, name)}."
    table = sharing_table(got.sharing or "none", len(got.dilations or ()))
    if _distinct(table) < 6:
        return (
            f"with {got.sharing!r} the number of distinct convolutions is {_distinct(table)}; at "
            "least 6 are asked for."
        )
    if got.cutoffs and got.cutoffs[0] < 80:
        return f"the head has {got.cutoffs[0]} items; it should have at least 80, 1 % of all."
    if got.widths or got.factor != 4:
        return "the widths of the blocks of items should fall by the factor 4, the default."
    if len(got.cutoffs) > 2:
        return f"{len(got.cutoffs)} cutoffs make {len(got.cutoffs) + 1} blocks; three are allowed."
    ledger, full = (
        count_parameters(got),
        count_parameters(nextitnet(_ITEMS, _WIDTH, dilations=_DILATIONS)),
    )
    times = full.total / ledger.total
    parts = ", ".join(f"{part} {number:,}" for part, number in ledger.by_part().items())
    if times < 5:
        return f"the model is {times:.2f} times smaller; 5 are asked for. Its parts: {parts}."
    return ""


def _cprec(**options: Any) -> ModelConfig:
    options = {"width": _WIDTH, "dilations": _DILATIONS, **options}
    return cprec(_ITEMS, **options)


budget = Problem(
    title="Five times smaller",
    task="Find a config at a fifth of the size that keeps enough distinct convolutions.",
    minutes=11,
    difficulty="medium",
    optional=True,
    purpose="Finds the part of a model where compression saves most.",
    answer=_cprec(cutoffs=(0.02, 0.1), sharing="adjacent-block"),
    judge=_fits,
    wrong="""
    _cprec(sharing="adjacent-block")
        Close: the default cutoffs leave too large a head. Where are the parameters of embedding and
        softmax, and which cutoff changes them most?
    _cprec(sharing="adjacent-layer")
        The middle layers are as small as they may be. The rest has to come from embedding and
        softmax: look at what each block of items costs.
    _cprec(sharing="cross-block")
        Small enough, but this shares more than allowed. Which schemes keep a convolution for each
        residual block?
    _cprec(sharing="cross-layer")
        All layers use one convolution here. Which schemes keep more of them?
    _cprec(sharing="none")
        Nothing is shared, and the middle layers are now the larger part of the model.
    nextitnet(_ITEMS, _WIDTH, dilations=_DILATIONS, sharing="adjacent-block")
        The middle layers are smaller, but embedding and softmax are uncompressed, and most of this
        model is there.
    _cprec(width=64, sharing="adjacent-block")
        A narrower model is smaller, too, but the width should stay 128.
    """,
    hints=(
        "`count_parameters(config).by_part()` shows which part is the largest. Try it on the "
        "uncompressed model, then compress the largest part first.",
        "Six residual blocks and six distinct convolutions: two of the five schemes keep exactly "
        "that many. Then only the cutoffs are left to choose.",
        "An item costs 128 numbers in the embedding and 128 in the softmax if it is in the head, "
        "32 in the second block, 8 in the third. Lower the first cutoff, then the second, until "
        "it fits.",
    ),
    why="Many cutoffs fit. With a smaller head, more items get narrow vectors. How much accuracy "
    "that costs is a question for an experiment, as in notebook 06.",
)
