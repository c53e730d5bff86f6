"""Exercises of notebook 03: causal convolution, residual block, receptive field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cprec_lib.course.exercises.problem import Problem
from cprec_lib.course.exercises.values import describe
from cprec_lib.model.middle import CausalConvolution

# Causal padding


def keep_the_past(x: Tensor, conv: nn.Conv1d) -> Tensor:
    """Causal output [B, L, d] of a convolution that pads both sides with (k - 1) dilation."""
    outputs: Tensor = conv(x.transpose(1, 2))
    return outputs[:, :, : x.shape[1]].transpose(1, 2)


class _PaddedConv(nn.Conv1d):
    """A convolution [B, d, L] with these taps [d, d, k] that pads both sides and shows its taps."""

    def __init__(self, taps: list[list[list[float]]], dilation: int) -> None:
        width, kernel_size = len(taps), len(taps[0][0])
        padding = (kernel_size - 1) * dilation
        with torch.random.fork_rng(devices=[]):
            super().__init__(width, width, kernel_size, 1, padding, dilation, bias=False)
        self.load_state_dict({"weight": torch.tensor(taps)})

    def __repr__(self) -> str:
        taps = describe(self.weight)
        return f"Conv1d with the taps {taps}, dilation {self.dilation[0]}, no bias"


def _convolve(answer: Any, x: Tensor, conv: nn.Conv1d) -> Any:
    with torch.no_grad():
        return answer(x, conv)


causal_padding = Problem(
    title="Keep only the past",
    task="Make the output of a convolution that pads both sides causal.",
    minutes=9,
    difficulty="easy",
    purpose="For making a convolution of any framework causal.",
    answer=keep_the_past,
    use=_convolve,
    cases=(
        (torch.tensor([[[1.0], [2.0], [3.0]]]), _PaddedConv([[[100.0, 10.0, 1.0]]], 1)),
        (
            torch.arange(20.0).reshape(2, 5, 2).sin(),
            _PaddedConv(torch.arange(12.0).reshape(2, 2, 3).cos().tolist(), 2),
        ),
        (
            torch.arange(1.0, 11.0).reshape(1, 5, 2),
            _PaddedConv([[[1.0], [0.0]], [[0.0], [1.0]]], 1),
        ),
    ),
    wrong="""
    outputs[:, :, : x.shape[1]] => outputs
        The output is longer than the input: it still holds every position that touches the padding.
        Which outputs belong to a position of the sequence, and which lie beyond its end?
    : x.shape[1] => -x.shape[1] :
        These are the last outputs, and each of them reads items that come after its own. Work out
        by hand which items the convolution's first output reads, and which its last.
    [:, :, : x.shape[1]] => [:, :, conv.padding[0] // 2 :][:, :, : x.shape[1]]
        This is the middle of the output, as image models take it. Each position sees as far ahead
        as back.
    : x.shape[1] => : -conv.padding[0]
        `[:-n]` drops the last n, but nothing is left when n is 0, as with one tap. Count from the
        other end.
    : x.shape[1] => : 1 - conv.kernel_size[0]
        Kernel size minus 1 outputs are dropped here. With a dilation, the padding is longer than
        that. Count the outputs that stay instead.
    : x.shape[1] => :-2
        Two outputs are dropped here, whatever the kernel and the dilation. The number that must
        stay depends on neither.
    ]].transpose(1, 2) => ]]
        The result is [B, d, L]. Exchange the last two dimensions again after the convolution.
    ]].transpose(1, 2) => ]].reshape(x.shape)
        `reshape` keeps the order of the numbers in memory, so time and width are mixed up. Which
        method exchanges two dimensions?
    x.transpose(1, 2) => x.reshape(x.shape[0], x.shape[2], x.shape[1])
        `reshape` before the convolution keeps the order of the numbers in memory, so it convolves
        a mixture of time and width. Which method exchanges two dimensions?
    x.transpose(1, 2) => x.reshape(x.shape[0], x.shape[2], x.shape[1])
    ]].transpose(1, 2) => ]].reshape(x.shape)
        `reshape` before and after the convolution keeps the order of the numbers in memory, so the
        convolution gets a mixture of time and width. Which method exchanges two dimensions?
    x.shape[1] => x.shape[1] + conv.padding[0] - conv.kernel_size[0] + 1
        The number of outputs to drop depends on the dilation too: each gap between two taps adds to
        it.
    conv(x => conv(F.pad(x, (0, 0, conv.padding[0], 0))
        You added zeros on the left, and the convolution adds its own. So every output comes too
        late.
    """,
    hints=(
        "`nn.Conv1d` expects [B, d, L]. Exchange the last two dimensions before it and after it.",
        "Output 0 of the convolution has its newest tap on item 0 and all others on padding. So "
        "output t has its newest tap on item t. Which outputs belong to the items 0 to L - 1?",
        "The first L outputs are the right ones, for any kernel size and any dilation.",
    ),
    why="Padding on both sides and then cutting the end is the same as padding on the left. Which "
    "end is cut decides whether the model sees the past or the future; the shape is right either "
    "way.",
)

# Residual block


def residual_block(x: Tensor, block: Any) -> Tensor:
    """h = x + ReLU(LN2(Conv_2l(ReLU(LN1(Conv_l(x)))))) for x [B, L, d]."""
    inner = F.relu(block.norm1(block.conv1(x, block.dilation)))
    inner = F.relu(block.norm2(block.conv2(inner, 2 * block.dilation)))
    return x + inner


def _set_layers(block: Any, convolutions: str) -> None:
    for conv in (block.conv1, block.conv2):
        conv.weight.zero_()
        tap = 0 if "oldest" in convolutions else -1
        conv.weight[:, :, tap] = torch.eye(conv.bias.numel())
        if convolutions == "random":
            conv.weight.normal_()
            conv.bias.normal_()
    for norm in (block.norm1, block.norm2) if convolutions == "random" else ():
        norm.weight.normal_()
        norm.bias.normal_()


class _Layers(nn.Module):
    """The layers of a residual block without its sum, with known weights."""

    def __init__(self, width: int, dilation: int, convolutions: str) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            self.conv1, self.conv2 = CausalConvolution(width, 3), CausalConvolution(width, 3)
            self.norm1, self.norm2 = nn.LayerNorm(width, 1e-8), nn.LayerNorm(width, 1e-8)
            _set_layers(self, convolutions)
        self.dilation, self.convolutions = dilation, convolutions

    def __repr__(self) -> str:
        return f"a block of dilation {self.dilation}; convolutions: {self.convolutions}"


def _apply(answer: Any, x: Tensor, block: _Layers) -> Any:
    with torch.no_grad():
        return answer(x, block)


residual = Problem(
    title="NextItNet's residual block",
    task="Write the formula of NextItNet's residual block as a function.",
    minutes=12,
    difficulty="easy",
    purpose="For turning a nested formula into code, from the inside out.",
    answer=residual_block,
    use=_apply,
    cases=(
        (torch.tensor([[[-1.0, 3.0]]]), _Layers(2, 1, "each copies its newest item")),
        (
            F.pad(torch.tensor([[[-1.0, 3.0]]]), (0, 0, 0, 6)),
            _Layers(2, 1, "each copies its oldest item"),
        ),
        (torch.linspace(-2, 3, 36).reshape(1, 9, 4).sin(), _Layers(4, 2, "random")),
    ),
    wrong="""
    x + inner => inner
        The sum is missing: the function returns only the change, without the block's input.
    inner = F.relu(block.norm1 => x = F.relu(block.norm1
    block.conv2(inner => block.conv2(x
        `x` was overwritten before the sum. The sum needs the block's input.
    F.relu(block.norm2 => (block.norm2
    x + inner => F.relu(x + inner)
        The last ReLU comes after the sum here, as in many image models, so it sets negative numbers
        of the input to zero. Read the formula from the inside out.
    F.relu(block.norm2 => (block.norm2
        The last ReLU is missing: what is added to the input may be negative here.
    F.relu(block.norm1 => (block.norm1
        The first ReLU is missing, between the two convolutions.
    2 * block.dilation => block.dilation
        Both convolutions run with the same dilation here. Which dilation does the formula give the
        second one?
    2 * block.dilation => 2
    block.dilation => 1
        The dilations are 1 and 2 here for every block. `block.dilation` may be larger than 1.
    block.conv2 => block.conv1
        `conv1` is used twice, and `conv2` never.
    block.norm2 => block.norm1
        `norm1` is used twice, and `norm2` never.
    F.relu(block.norm1(block.conv1(x, => block.conv1(F.relu(block.norm1(x)),
    F.relu(block.norm2(block.conv2(inner, => block.conv2(F.relu(block.norm2(inner)),
    block.dilation)) => block.dilation
        The norm and the ReLU come before the convolution here. In the formula the convolution is
        innermost, so it comes first.
    F.relu(block.norm1( => block.norm1(F.relu(
    F.relu(block.norm2( => block.norm2(F.relu(
        The ReLU comes before the norm here. In the formula the norm is inside the ReLU, so it
        comes first.
    """,
    hints=(
        "Read the formula from the inside out. Which operation does `x` meet first?",
        "Two lines have the same form, convolution, norm, ReLU: the first with dilation l, the "
        "second with 2 l. Give their result another name than `x`.",
        "The last line adds that result to `x`.",
    ),
    why="The library's block computes the same; it also sets padded positions to zero.",
)

# Receptive field


def steps_back(dilations: Sequence[int], kernel_size: int) -> list[int]:
    """How many steps back each item lies that reaches the newest output, in ascending order."""
    seen = {0}
    for dilation in dilations:
        for gap in (dilation, 2 * dilation):
            seen = {back + tap * gap for back in seen for tap in range(kernel_size)}
    return sorted(seen)


items_seen = Problem(
    title="Which items does a stack see?",
    task="List the items that reach a stack's newest output.",
    minutes=14,
    difficulty="medium",
    optional=True,
    purpose="For choosing dilations that leave no hole in the history.",
    answer=steps_back,
    cases=(((4,), 2), ((1,), 3), ((2, 3), 2), ((4, 4), 3), ((1, 4), 1)),
    wrong="""
    sorted(seen) => [*range(max(seen) + 1)]
        This is every item up to the end of the receptive field. With dilation the taps have gaps
        between them: are all of these items really read?
    seen = {back + tap * gap for back in seen => seen |= {tap * gap
        These are the items that each layer would see if it read the items directly. A layer of a
        stack reads outputs of the layer below, and each of those looks back too.
    (dilation, 2 * dilation) => (dilation,)
        A residual block holds two convolutions. What is the dilation of the second?
    2 * dilation => dilation
        Both convolutions of a block have the same dilation here. Look at the block's formula: which
        dilation does its second convolution have?
    range(kernel_size) => range(kernel_size + 1)
        The reach is one tap too long in each layer. A kernel of k taps has one of them on the
        current position.
    {0} => [0]
    {back => [back
    range(kernel_size)} => range(kernel_size)]
        Some items are listed more than once. Two ways through the stack can lead to the same item.
    sorted(seen) => sorted(seen)[1:]
        The newest item is missing. The last tap of every layer lies on the position itself.
    sorted(seen) => [back + 1 for back in sorted(seen)]
        The list counts from 1. The newest item is 0 steps back.
    sorted(seen) => [-back for back in sorted(seen)]
        Steps back are counted with a positive sign: an item 4 positions before the newest is 4
        steps back.
    """,
    hints=(
        "Start at the newest output, 0 steps back, and go down layer by layer. Which positions of "
        "the layer below does one position read?",
        "Keep a set of positions, at first {0}. For each convolution, replace the set by all sums "
        "of one of its positions and a tap's distance: 0, l, 2 l, ... for dilation l.",
        "Two loops: over the blocks, and inside over the gaps `(l, 2 * l)`. The new set comes from "
        "a comprehension over the old set and `range(kernel_size)`.",
    ),
    why="The formula of the receptive field tells how far the stack reaches. It tells how many "
    "items are seen only if no holes are left. With three taps, blocks of dilations 1 and 4 leave "
    "none; two blocks of dilation 4 reach back 48 steps and see only every fourth item.",
)

# A block that starts as the identity


class ReZeroBlock(nn.Module):
    """x + alpha ReLU(LN2(Conv_2l(ReLU(LN1(Conv_l(x)))))), where alpha is learned."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = CausalConvolution(width, 3), CausalConvolution(width, 3)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.alpha = nn.Parameter(torch.zeros(1))
        self.dilation = dilation

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(self.norm1(self.conv1(x, self.dilation)))
        inner = F.relu(self.norm2(self.conv2(inner, 2 * self.dilation)))
        return x + self.alpha * inner


def _run_block(
    block_class: Any, x: Tensor, dilation: int, alpha: float | None, convolutions: str
) -> dict[str, Any] | None:
    """Build a block, give it known weights unless `alpha` is None, and run it on x [B, L, d]."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        block = block_class(x.shape[-1], dilation)
        if block(x) is None:
            return None
        if alpha is not None:
            torch.manual_seed(1)  # whatever building the block has drawn
            _set_weights(block, alpha, convolutions)
        names = ("conv1", "norm1", "conv2", "norm2", "alpha")
        parameters = block.named_parameters(remove_duplicate=False)
        trained = {name.split(".")[0] for name, each in parameters if each.requires_grad}
        return {
            "the output": block(x),
            "what is trained": [name for name in names if name in trained],
            "the number of parameters": sum(p.numel() for p in block.parameters()),
        }


def _set_weights(block: Any, alpha: float, convolutions: str) -> None:
    _set_layers(block, convolutions)
    if isinstance(block.alpha, Tensor):
        block.alpha.fill_(alpha)
    else:
        block.alpha = alpha


rezero_block = Problem(
    title="A block that starts as the identity",
    task="Write a residual block whose addition is scaled by a learned number that starts at 0.",
    minutes=20,
    difficulty="medium",
    optional=True,
    purpose="For stacking many residual blocks: each starts as the identity and learns how much to "
    "add.",
    answer=ReZeroBlock,
    use=_run_block,
    cases=(
        (torch.tensor([[[-1.0, 3.0]]]), 1, 0.5, "each copies its newest item"),
        (torch.tensor([[[-1.0, 3.0]]]), 1, None, "as built"),
        (F.pad(torch.tensor([[[-1.0, 3.0]]]), (0, 0, 0, 6)), 1, 0.5, "each copies its oldest item"),
        (torch.linspace(-2, 3, 36).reshape(1, 9, 4).sin(), 2, -0.7, "random"),
    ),
    wrong="""
    nn.Parameter(torch.zeros(1)) => torch.zeros(1)
        `alpha` is not among the block's parameters, so no optimiser will ever move it from 0. What
        turns a tensor into something that a module trains?
    nn.Parameter(torch.zeros(1)) => nn.Parameter(torch.zeros(1), requires_grad=False)
        `alpha` gets no gradient, so training leaves it at 0. It has to be trained with the other
        parameters.
    torch.zeros(1) => torch.ones(1)
        `alpha` starts at 1, so the new block is NextItNet's block and already changes its input. At
        the start nothing should be added.
    x + self.alpha * inner => self.alpha * x + inner
        `alpha` scales the input here. At 0 the block would forget its input, and the direct path
        around the convolutions would be closed.
    x + self.alpha * inner => F.relu(x + self.alpha * inner)
        The last ReLU comes after the sum here, so it sets negative numbers of the input to zero.
        Read the formula from the inside out.
    x + self.alpha * inner => x + inner
        `alpha` is not used: the block adds everything from the start, as NextItNet's does.
    x + self.alpha => x - self.alpha
        The change is subtracted here. The formula has a plus.
    x + self.alpha => self.alpha
        The sum is missing: the block returns only what should be added to its input.
    nn.LayerNorm(width), nn.LayerNorm(width) => [nn.LayerNorm(width)] * 2
        One LayerNorm is used twice here. Each of the two needs a scale and a shift of its own.
    self.norm2(self.conv2 => self.norm1(self.conv2
        `norm1` is used twice in `forward`, and `norm2` never.
    CausalConvolution(width, 3), CausalConvolution(width, 3) => [CausalConvolution(width, 3)] * 2
        One convolution is used twice here. Each of the two needs weights of its own.
    F.relu(self.norm2 => (self.norm2
        The last ReLU is missing: what is added to the input may be negative here.
    2 * self.dilation => self.dilation
        Both convolutions run with the same dilation here. Which dilation does the formula give the
        second one?
    F.relu(self.norm1(self.conv1(x, => self.conv1(F.relu(self.norm1(x)),
    F.relu(self.norm2(self.conv2(inner, => self.conv2(F.relu(self.norm2(inner)),
    self.dilation))) => self.dilation)
        The norm and the ReLU come before the convolution here. In the formula the convolution is
        innermost, so it comes first.
    F.relu(self.norm1( => self.norm1(F.relu(
    F.relu(self.norm2( => self.norm2(F.relu(
        The ReLU comes before the norm here. In the formula the norm is inside the ReLU, so it
        comes first.
    x + self.alpha * inner => self.alpha * (x + inner)
        `alpha` scales the whole sum here, the input included. At 0 the block would forget its
        input. It scales only what is added.
    F.relu(self.norm2 => (self.norm2
    self.alpha * inner => F.relu(self.alpha * inner)
        `alpha` is inside the last ReLU here. When `alpha` is negative, the ReLU then keeps
        numbers that should become zero. The ReLU comes first, then the factor.
    torch.zeros(1) => torch.zeros(width)
        `alpha` is one number for the whole block, not one for each component.
    """,
    hints=(
        "Start from your `residual_block`. Create the five attributes in `__init__` and "
        "compute the formula in `forward`. `CausalConvolution` gets its dilation at each call.",
        "An attribute `nn.Parameter(tensor)` is trained. `nn.LayerNorm` brings its own scale and "
        "shift.",
        "`forward` has three lines: convolution, norm, ReLU with dilation l; the same again with "
        "the other two and 2 l; then the sum, where `alpha` multiplies what is added.",
    ),
    why="With alpha at 0 the block is the identity, and so is a stack of any depth. The gradient "
    "of alpha itself is not zero, so the first step changes alpha. Bachlechner and others proposed "
    "this block as ReZero (UAI 2021).",
)

# Middle layers


class OwnLayers(nn.Module):
    """A stack of ReZero blocks that leaves padding at zero."""

    def __init__(self, width: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ReZeroBlock(width, dilation) for dilation in dilations)

    def forward(self, hidden: Tensor, real: Tensor) -> Tensor:
        for block in self.blocks:
            hidden = block(hidden) * real.unsqueeze(-1)
        return hidden


def _run_layers(layers_class: Any, hidden: Tensor, dilations: tuple[int, ...], real: Tensor) -> Any:
    """Build the layers, give every block known weights, and run them on hidden [B, L, d]."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        layers = layers_class(hidden.shape[-1], dilations)
        start = layers(hidden, real)
        if start is None:
            return None
        alphas = torch.linspace(0.5, -1, len(dilations))
        torch.manual_seed(1)  # whatever building the layers has drawn
        for block, alpha in zip(layers.blocks, alphas.tolist(), strict=True):
            _set_weights(block, alpha, "random")
        return {
            "the output when new": start,
            "the output with random weights": layers(hidden, real),
            "the number of parameters": sum(p.numel() for p in layers.parameters()),
        }


_PADDED = torch.tensor([[False] * 3 + [True] * 4, [True] * 7])
_VECTORS = torch.linspace(-2, 3, 56).reshape(2, 7, 4).sin() * _PADDED.unsqueeze(-1)

own_layers = Problem(
    title="Middle layers of your own",
    task="Stack your blocks into middle layers that can take the place of NextItNet's.",
    minutes=25,
    difficulty="hard",
    optional=True,
    purpose="For putting a part that you have written into a model, and training it.",
    answer=OwnLayers,
    use=_run_layers,
    cases=(
        (_VECTORS[1:], (1,), _PADDED[1:]),
        (_VECTORS, (1, 2), _PADDED),
        (_VECTORS[:1], (1, 4, 1), _PADDED[:1]),
    ),
    wrong="""
    nn.ModuleList(ReZeroBlock => [*(ReZeroBlock
    in dilations) => in dilations)]
        The blocks are in a plain list, so the module does not know their parameters and no
        optimiser trains them. Which kind of list does a module look into?
    ReZeroBlock(width, dilation) => one
    self.blocks = nn => one = ReZeroBlock(width, dilations[0]); self.blocks = nn
        One block is used several times here. Each place needs a block of its own.
    ReZeroBlock(width, dilation) => ReZeroBlock(width, 1)
        All blocks have the dilation 1. Each takes the next one of the tuple.
    in dilations => in reversed(dilations)
        The blocks are built in the reverse order. The first dilation belongs to the lowest block.
    block(hidden) => self.blocks[0](hidden)
        The lowest block is applied at every level of the stack. Each level has its own block.
    * real.unsqueeze(-1) =>
        Padding does not stay zero: the biases of a block reach it. Whatever a block makes of padded
        positions has to be removed, or the next block reads it.
    block(hidden) * real.unsqueeze(-1) => block(hidden)
    return hidden => return hidden * real.unsqueeze(-1)
        Padding is removed only at the end. Until then every block reads what the block below wrote
        at padded positions.
    block(hidden) * real.unsqueeze(-1) => block(hidden * real.unsqueeze(-1))
        Padding is removed before each block here, so what the last block writes there stays. Remove
        it after the block.
    real.unsqueeze(-1) => (~real).unsqueeze(-1)
        Here the items are set to zero and padding is kept: `real` is `True` where there is an item.
    hidden = block => hidden = hidden + block
        The block already adds its input. Here it is added twice.
    in self.blocks => in reversed(self.blocks)
        The blocks are applied in the reverse order. The first dilation belongs to the lowest block.
    """,
    hints=(
        "Two lines in `__init__`: a call of `super().__init__()`, and a list of blocks. Use "
        "`nn.ModuleList`, so that the module finds their parameters.",
        "`forward` is a loop over the blocks. After each block, set padded positions to zero.",
        "`real` has the shape [B, L] and the vectors have [B, L, d]. `real.unsqueeze(-1)` has the "
        "shape [B, L, 1], and a product with it removes what is not real.",
    ),
    why="With every alpha at 0 the new layers are the identity, so training starts from a model "
    "that looks at the last item only.",
)
