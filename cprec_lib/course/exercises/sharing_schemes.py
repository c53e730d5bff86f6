"""Exercises of notebook 05: who shares weights, what it saves, and how to do it properly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from cprec_lib.course.exercises.problem import Problem, Slip
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


def _combined(combine: Callable[[Tensor], Tensor]) -> Callable[[list[str], Tensor], Any]:
    """An answer that makes one gradient from those [uses, ...] of each name."""

    def answer(names: list[str], gradients: Tensor) -> dict[str, Tensor]:
        places = {name: [i for i, other in enumerate(names) if other == name] for name in names}
        return {name: combine(gradients[uses]) for name, uses in places.items()}

    return answer


def _neighbours_only(names: list[str], gradients: Tensor) -> dict[str, Tensor]:
    total: dict[str, Tensor] = {}
    for place, name in enumerate(names):
        again = place > 0 and names[place - 1] == name
        total[name] = gradients[place] + (total[name] if again else 0)
    return total


shared_gradient = Problem(
    title="One gradient from many",
    task="Work out the gradients of shared weights from those of their uses.",
    minutes=6,
    difficulty="easy",
    purpose="For seeing what `backward` does with a weight that several layers share.",
    answer=add_up,
    cases=(
        (["A", "B", "A"], torch.tensor([1.0, 20.0, 300.0])),
        (["A", "A", "B", "A"], torch.tensor([1.0, 20.0, 300.0, 4000.0])),
        (["A", "A", "A"], torch.tensor([[1.0, -2.0], [3.0, 2.0], [1.0, 0.0]])),
    ),
    slips=(
        Slip(
            _combined(lambda uses: uses.mean(0)),
            "This is the mean over the uses. The loss changes by what the weight does in the "
            "first place and by what it does in the second.",
        ),
        Slip(
            _combined(lambda uses: uses[-1]),
            "Only the last use counts here: a later gradient takes the place of an earlier one "
            "under the same name.",
        ),
        Slip(
            _combined(lambda uses: uses[0]),
            "Only the first use counts here. Every further use of the same weight adds to its "
            "gradient.",
        ),
        Slip(
            _neighbours_only,
            "Uses that lie next to each other are put together, but a weight can come back later "
            "in the stack.",
        ),
        Slip(
            _combined(lambda uses: uses.sum()),
            "Everything was added up to one number. A gradient has the shape of its weight; only "
            "the uses are added.",
        ),
    ),
    hints=(
        "Walk through names and gradients together, as with `zip`. Each gradient belongs to the "
        "weight whose name stands at the same place.",
        "Begin with an empty dictionary. `total.get(name, 0)` is what has been collected so far "
        "under a name.",
    ),
    why="PyTorch adds in the same way, into `.grad`. Eight uses that pull the same way make a "
    "gradient eight times as long, and eight that disagree cancel. AdamW divides by the running "
    "size of the gradient, so its steps do not become longer; plain gradient descent's do.",
)

# Sharing as data


def mirrored(n_blocks: int) -> Table:
    """The table of a scheme where the first block shares with the last, and so on inwards."""
    depths = [min(block, n_blocks - 1 - block) for block in range(n_blocks)]
    return tuple((2 * depth, 2 * depth + 1) for depth in depths)


def _pairs(groups: list[int]) -> Table:
    return tuple((2 * group, 2 * group + 1) for group in groups)


mirror_scheme = Problem(
    title="A mirror",
    task="Write the table of a scheme where the first block shares with the last.",
    minutes=8,
    difficulty="easy",
    purpose="For trying a scheme of your own: only its table is new.",
    answer=mirrored,
    cases=((4,), (5,), (3,), (1,), (6,)),
    slips=(
        Slip(
            lambda n: _pairs([block % ((n + 1) // 2) for block in range(n)]),
            "Here the upper half repeats the lower half in the same order. In a mirror the order "
            "turns round: the last block belongs to the first.",
        ),
        Slip(
            lambda n: _pairs([block // 2 for block in range(n)]),
            "These are neighbours sharing, which is adjacent-block. Which block lies as far from "
            "the top as this one lies from the bottom?",
        ),
        Slip(
            lambda n: tuple(
                pair if block <= n - 1 - block else pair[::-1]
                for block, pair in enumerate(mirrored(n))
            ),
            "Inside the blocks the order is turned round as well: a first convolution shares with "
            "a second. First goes with first, and second with second.",
        ),
        Slip(
            lambda n: tuple((min(b, n - 1 - b), min(b, n - 1 - b) + 1) for b in range(n)),
            "The numbers overlap: the second convolution of a block is also the first of the "
            "next. Each pair of blocks needs two numbers of its own.",
        ),
        Slip(
            lambda n: tuple((min(b, n - 1 - b),) * 2 for b in range(n)),
            "The two convolutions of a block got the same number, so they are one.",
        ),
        Slip(
            lambda n: _pairs([min(block, n - block) for block in range(n)]),
            "The partner is off by one. With n blocks the last has the number n - 1.",
        ),
        Slip(
            lambda n: _pairs([*range(n // 2), *reversed(range(n // 2))]),
            "With an odd number of blocks the one in the middle is missing. It shares with nobody, "
            "but it needs its pair.",
        ),
        Slip(
            lambda n: _pairs([max(block, n - 1 - block) for block in range(n)]),
            "The right blocks share, but the numbers do not start at 0: the lower block of each "
            "pair should give them.",
        ),
    ),
    hints=(
        "Write the table for four blocks by hand. Which block is the partner of block 0, of 1, of "
        "2, of 3?",
        "The partner of block b is n - 1 - b. Both must come to the same numbers: take the lower "
        "of the two blocks to make them.",
        "With `depth = min(b, n_blocks - 1 - b)` the two numbers are made from depth as the scheme "
        "none makes them from the block.",
    ),
    why="The table is all that a scheme is: `build` in this notebook takes such a rule as it takes "
    "the others. Takase and Kiyono (2021) compare orders of this kind in transformers and call "
    "this one cycle (rev).",
)

# Counting


def filling_parameters(table: Table, width: int, kernel_size: int) -> int:
    """Parameters of a filling whose blocks use the convolutions of a table."""
    convolutions = len({number for pair in table for number in pair})
    norms = 2 * len(table)
    return convolutions * (kernel_size * width**2 + width) + norms * 2 * width


def _count(convolutions: int, norms: int, width: int, kernel_size: int) -> int:
    return convolutions * (kernel_size * width**2 + width) + norms * 2 * width


def _distinct(table: Table) -> int:
    return len({number for pair in table for number in pair})


shared_count = Problem(
    title="Count a shared filling",
    task="Count the parameters of a filling from its table, width and kernel size.",
    minutes=6,
    difficulty="easy",
    purpose="For a number to compare with, when code claims to share.",
    answer=filling_parameters,
    cases=(
        (((0, 1), (0, 1)), 1, 3),
        (((0, 1), (2, 3), (2, 3), (0, 1)), 8, 3),
        (((5, 5), (5, 7), (7, 5)), 4, 2),
        (((0, 0),), 2, 1),
    ),
    slips=(
        Slip(
            lambda table, width, k: _count(2 * len(table), 2 * len(table), width, k),
            "A convolution that is used again was counted again. In memory it is there once.",
        ),
        Slip(
            lambda table, width, k: _count(_distinct(table), _distinct(table), width, k),
            "There is one layer normalisation for each convolution here. Are they shared as the "
            "convolutions are?",
        ),
        Slip(
            lambda table, width, k: _count(_distinct(table), 0, width, k),
            "The layer normalisations are missing. They have a scale and a shift.",
        ),
        Slip(
            lambda table, width, k: _count(_distinct(table), len(table), width, k),
            "The number of layer normalisations, or of what each holds, is half of what it should "
            "be. A block has two, and each has a scale and a shift.",
        ),
        Slip(
            lambda table, width, k: (
                _count(_distinct(table), 2 * len(table), width, k) - _distinct(table) * width
            ),
            "The convolutions have a bias too, one number for each output.",
        ),
        Slip(
            lambda table, width, k: _count(1 + max(map(max, table)), 2 * len(table), width, k),
            "The highest number in the table is no count: numbers may be left out. Count "
            "different ones.",
        ),
        Slip(
            lambda table, width, k: _count(len(set(table)), 2 * len(table), width, k),
            "Different pairs were counted. What is shared or not is a convolution, and a pair "
            "names two.",
        ),
        Slip(
            lambda table, width, k: _count(_distinct(table), 2 * len(table), width, 3),
            "The kernel size is not always 3.",
        ),
    ),
    hints=(
        "Two counts, added: the convolutions by how many different numbers the table has, the "
        "layer normalisations by how many places it has.",
        "A convolution has kernel_size matrices of width x width and a bias of width numbers; a "
        "layer normalisation has 2 x width. A set comprehension over the pairs finds the "
        "different numbers.",
    ),
    why="The count needs no model and no memory. `count_parameters` works in this way, and the "
    "notebook found the scheme that shares nothing by such a comparison.",
)

# Tying


def tie(blocks: nn.ModuleList, table: Table) -> None:
    """Let residual blocks share convolutions as the table says; the first use gives the weights."""
    made: dict[int, Any] = {}
    for block, (first, second) in zip(blocks, table, strict=True):
        block.conv1 = made.setdefault(first, block.conv1)
        block.conv2 = made.setdefault(second, block.conv2)


def _tie_with(blocks: nn.ModuleList, table: Table, bind: Any) -> None:
    """Call bind(block, name, source) at every use of a convolution after its first."""
    made: dict[int, Any] = {}
    for block, pair in zip(blocks, table, strict=True):
        for name, number in zip(("conv1", "conv2"), pair, strict=True):
            if number in made:
                bind(block, name, made[number])
            else:
                made[number] = getattr(block, name)


def _copy_values(block: Any, name: str, source: Any) -> None:
    getattr(block, name).load_state_dict(source.state_dict())


def _share_memory(block: Any, name: str, source: Any) -> None:
    getattr(block, name).weight.data = source.weight.data
    getattr(block, name).bias.data = source.bias.data


def _share_weight_only(block: Any, name: str, source: Any) -> None:
    getattr(block, name).weight = source.weight


def _tie_whole_blocks(blocks: nn.ModuleList, table: Table) -> None:
    made: dict[tuple[int, int], nn.Module] = {}
    for number, pair in enumerate(table):
        blocks[number] = made.setdefault(pair, blocks[number])


def _tie_norms_too(blocks: Any, table: Table) -> None:
    tie(blocks, table)
    made: dict[int, Any] = {}
    for block, (first, second) in zip(blocks, table, strict=True):
        block.norm1 = made.setdefault(first, block.norm1)
        block.norm2 = made.setdefault(second, block.norm2)


def _tie_by_place(blocks: nn.ModuleList, table: Table) -> None:
    """Ties firsts with firsts and seconds with seconds only."""
    firsts: dict[int, Any] = {}
    seconds: dict[int, Any] = {}
    for block, (first, second) in zip(blocks, table, strict=True):
        block.conv1 = firsts.setdefault(first, block.conv1)
        block.conv2 = seconds.setdefault(second, block.conv2)


def _last_wins(blocks: nn.ModuleList, table: Table) -> None:
    made: dict[int, Any] = {}
    for block, pair in zip(blocks, table, strict=True):
        made.update(zip(pair, (block.conv1, block.conv2), strict=True))
    for block, (first, second) in zip(blocks, table, strict=True):
        block.conv1, block.conv2 = made[first], made[second]


def _number_is_block(blocks: Any, table: Table) -> None:
    for block, (first, second) in zip(blocks, table, strict=True):
        block.conv1, block.conv2 = blocks[first].conv1, blocks[second].conv2


def _number_is_place(blocks: Any, table: Table) -> None:
    layers = _convolutions(blocks)
    for block, (first, second) in zip(blocks, table, strict=True):
        block.conv1, block.conv2 = layers[first], layers[second]


def _new_ones(blocks: Any, table: Table) -> None:
    made: dict[int, Any] = {}
    for block, (first, second) in zip(blocks, table, strict=True):
        block.conv1 = made.setdefault(first, CausalConvolution(2, 3))
        block.conv2 = made.setdefault(second, CausalConvolution(2, 3))


def _tie_and_step(answer: Any, table: Table, dilations: tuple[int, ...]) -> Any:
    """Tie blocks of width 2, take a training step, and see who still agrees."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        blocks = nn.ModuleList(
            ResidualBlock(CausalConvolution(2, 3), CausalConvolution(2, 3), dilation, 0.0)
            for dilation in dilations
        )
        before = [layer.weight for layer in _convolutions(blocks)]
        untied = [weight.detach().clone() for weight in before]
        returned = answer(blocks, table)
        touched = any(
            layer.weight is not weight or not torch.equal(weight, value)
            for layer, weight, value in zip(_convolutions(blocks), before, untied, strict=True)
        )
        # A stub returns None and changes nothing; so does a right answer where nothing is shared.
        if returned is None and not touched:
            return None
        return _report(blocks, untied)


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
    with torch.no_grad():  # by hand: the first optimizer of a process takes seconds to import
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
    minutes=12,
    difficulty="hard",
    purpose="For sharing in a model that somebody else has built, without breaking its training.",
    answer=tie,
    use=_tie_and_step,
    cases=(
        (((0, 1), (0, 1)), (1, 4)),
        (((0, 0), (1, 1), (0, 0)), (1, 1, 1)),
        (((3, 1), (1, 3), (2, 2)), (1, 2, 1)),
        (((0, 1), (2, 3)), (1, 1)),
    ),
    slips=(
        Slip(
            lambda blocks, table: _tie_with(blocks, table, _copy_values),
            "The numbers were copied: equal at the start, apart after one step, and no parameter "
            "saved. Two places have to hold one object.",
        ),
        Slip(
            lambda blocks, table: _tie_with(blocks, table, _share_memory),
            "Two parameters look at the same memory. Both are counted and both are stepped, and "
            "they part as soon as the model is moved or loaded. Share the module, not its `.data`.",
        ),
        Slip(
            lambda blocks, table: _tie_with(blocks, table, _share_weight_only),
            "The weights are one, the biases are not. To share the whole module is less work.",
        ),
        Slip(
            _tie_whole_blocks,
            "Whole blocks were shared. With them went the layer normalisations and the dilations, "
            "which each block keeps for itself.",
        ),
        Slip(
            _tie_norms_too,
            "The layer normalisations are shared too. Each place keeps its own.",
        ),
        Slip(
            _tie_by_place,
            "First convolutions share with firsts here and seconds with seconds. One number can "
            "stand in both places, and then both are the same convolution.",
        ),
        Slip(
            _last_wins,
            "They share, but the last convolution with a number gave the weights. The first one "
            "was to.",
        ),
        Slip(
            _number_is_block,
            "The numbers of the table were taken as numbers of blocks. They name convolutions: "
            "the blocks come in order, one a pair.",
        ),
        Slip(
            _number_is_place,
            "The numbers were taken as places in a list of all convolutions. They only say who is "
            "one with whom; the convolution to keep stands where a number first occurs.",
        ),
        Slip(
            _new_ones,
            "New convolutions were made, so what the blocks had learned is lost. Keep the ones "
            "that are there.",
        ),
    ),
    hints=(
        "Assigning a module to an attribute, as in `block.conv1 = other`, puts the same object "
        "there; nothing is copied.",
        "Keep a dictionary from number to module for what has been met so far, as `build` does. "
        "The module to remember is the one that is already in the block.",
        "`made.setdefault(number, module)` returns what is stored under the number, and stores "
        "the module first if there is nothing yet.",
    ),
    why="One object in two places: one parameter, the sum of the gradients, one step. An "
    "optimizer that was made before the tying would still hold the parameters that nobody uses "
    "any more, so tie first.",
)

# The whole model

_ITEMS, _WIDTH, _DILATIONS = 8000, 128, (1, 2, 4, 8, 1, 2)


def _fits(got: Any, right: ModelConfig) -> str:
    """What keeps a config from doing what was asked, as a sentence; "" if nothing does."""
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
    minutes=10,
    difficulty="medium",
    purpose="For spending a budget of parameters where it buys most.",
    answer=_cprec(cutoffs=(0.02, 0.1), sharing="adjacent-block"),
    judge=_fits,
    slips=(
        Slip(
            _cprec(sharing="adjacent-block"),
            "Close: the default cutoffs leave too large a head. Where do the parameters of the "
            "bread lie, and which cutoff moves most of them?",
        ),
        Slip(
            _cprec(sharing="adjacent-layer"),
            "The filling is as thin as it may be. The rest has to come from the bread: look at "
            "what each block of items costs.",
        ),
        Slip(
            _cprec(sharing="cross-block"),
            "Small enough, but the filling was thinned more than allowed. Which schemes keep a "
            "convolution for each residual block?",
        ),
        Slip(
            _cprec(sharing="cross-layer"),
            "One convolution does everything here. Which schemes keep more of them?",
        ),
        Slip(
            _cprec(sharing="none"),
            "Nothing is shared, and the filling now is the larger part of the model.",
        ),
        Slip(
            nextitnet(_ITEMS, _WIDTH, dilations=_DILATIONS, sharing="adjacent-block"),
            "The filling is thinner, but the bread is whole, and most of this model is bread.",
        ),
        Slip(
            _cprec(width=64, sharing="adjacent-block"),
            "Narrower is smaller too, but that is another model. The width was to stay.",
        ),
    ),
    hints=(
        "`count_parameters(config).by_part()` shows which part is the heaviest. Try it on the "
        "uncut model, then cut the heaviest part first.",
        "Six residual blocks and six distinct convolutions: two of the five schemes keep exactly "
        "that many. Then only the cutoffs are left to turn.",
        "An item of the head costs 128 numbers in each slice of the bread, one of the second "
        "block 32, one of the third 8. Lower the first cutoff, then the second, until it fits.",
    ),
    why="Many cutoffs do it. The price of a smaller head is that more items get narrow vectors; "
    "whether accuracy pays for that is a question for an experiment, as in notebook 06.",
)
