"""Middle layers: hidden vectors [B, L, d] in, hidden vectors [B, L, d] out, causal."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from cprec_lib.checks import check_fields, check_share
from cprec_lib.model.sharing import distinct_convolutions, sharing_table

Matrices = tuple[int, int, int]
"""How many equal matrices, and their rows and columns."""
Cost = tuple[str, int, int] | tuple[str, int, int, Matrices]
"""A component, its parameters, its multiply-adds for one position, its linear layers if any."""


@dataclass(frozen=True)
class Middle(ABC):
    """A kind of middle layers: its options, the layers built from them, and their cost.

    Each kind is a subclass with an entry in `MIDDLES`. Its own fields are its options, which are
    also fields of `ModelConfig` and arguments of its `module`. Raises ValueError for a number out
    of range or not whole.
    """

    module: ClassVar[type[CausalLayers]]
    width: int
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_fields(self)
        check_share("dropout", self.dropout)

    @classmethod
    def options(cls) -> tuple[str, ...]:
        """Names of the options of this kind, without the width and dropout that all kinds have."""
        return tuple(field.name for field in fields(cls))[2:]

    def build(self) -> CausalLayers:
        """The layers with new weights."""
        return self.module(**vars(self))

    @abstractmethod
    def cost(self) -> Iterator[Cost]:
        """The cost of each component."""


class CausalLayers(nn.Module, ABC):
    """Layers from hidden vectors [B, L, d] to hidden vectors [B, L, d]."""

    def forward(self, hidden: Tensor, real: Tensor | None = None) -> Tensor:
        """Hidden vectors [B, L, d] to [B, L, d]; position t depends on positions up to t only.

        `real` [B, L] is False at padding, where inputs are ignored and outputs are zero.
        """
        if real is None:
            real = hidden.new_ones(hidden.shape[:2], dtype=torch.bool)
        mask = real.unsqueeze(-1).to(hidden.dtype)
        return self.apply_layers(hidden * mask, mask)

    @abstractmethod
    def apply_layers(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """`forward` of hidden vectors that are zero where mask [B, L, 1] is 0; so is the result."""


class CausalConvolution(nn.Module):
    """Dilated causal convolution over time.

    y[t] = bias + sum over i of weight[:, :, i] x[t - (k - 1 - i) dilation],  x[t < 0] = 0.
    The dilation is an argument of each call, because a shared layer is applied with several.
    """

    def __init__(self, width: int, kernel_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, width, kernel_size))
        self.bias = nn.Parameter(torch.zeros(width))
        nn.init.kaiming_uniform_(self.weight, nonlinearity="relu")

    def forward(self, hidden: Tensor, dilation: int) -> Tensor:
        """Convolve [B, L, d] along L; position t sees positions up to t only."""
        if torch.is_autocast_enabled(hidden.device.type):
            # Rounded before the taps are gathered: one copy instead of k.
            hidden = hidden.to(torch.get_autocast_dtype(hidden.device.type))
        kernel_size = self.weight.shape[-1]
        # A gather and a matrix product: at width 64 on a CPU 2 to 4 times as fast as conv1d.
        taps: Tensor = Taps.apply(hidden, kernel_size, dilation)  # type: ignore[no-untyped-call]
        return F.linear(taps, self.weight.transpose(1, 2).flatten(1), self.bias)


class Taps(torch.autograd.Function):
    """The inputs of a convolution, gathered: [B, L, d] to [B, L, k d], tap i from column i d on.

    taps[t, i] = x[t - (k - 1 - i) dilation], so the gradient of x[t] is the sum over i of those of
    taps[t + (k - 1 - i) dilation, i]. Autograd would fill a tensor with zeros for each tap.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, kernel_size: int, dilation: int) -> Tensor:
        ctx.kernel_size, ctx.dilation = kernel_size, dilation
        length = hidden.shape[1]
        padded = F.pad(hidden, (0, 0, (kernel_size - 1) * dilation, 0))
        return torch.cat(
            [padded[:, i * dilation : i * dilation + length] for i in range(kernel_size)], -1
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        *earlier, current = grad.chunk(ctx.kernel_size, -1)
        by_hidden = current.clone(memory_format=torch.contiguous_format)
        for back, tap in enumerate(reversed(earlier), 1):
            shift = back * ctx.dilation
            by_hidden[:, :-shift] += tap[:, shift:]
        return by_hidden, None, None


class Dropout(nn.Dropout):
    """`nn.Dropout` with a mask that costs a fifth on a CPU: one 64-bit draw serves four units.

    The share of units dropped is p rounded to 16 bits; the others are scaled accordingly.
    """

    def forward(self, hidden: Tensor) -> Tensor:
        """`hidden`, in training mode with units dropped."""
        if not self.training or self.p == 0 or hidden.device.type != "cpu":
            return super().forward(hidden)
        count = hidden.numel()
        words = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None)
        draws = words.view(torch.int16)[:count].view(hidden.shape)  # each from -2**15 to 2**15 - 1
        dropped = min(round(self.p * 2**16), 2**16 - 1)
        kept = (draws >= dropped - 2**15).to(hidden.dtype)
        return hidden * kept.mul_(2**16 / (2**16 - dropped))


class ResidualBlock(nn.Module):
    """NextItNet's dilated residual block (Yuan et al., WSDM 2019).

    x + ReLU(LN2(Conv_2l(ReLU(LN1(Conv_l(x))))))  with dilation l, then 2l.
    """

    def __init__(
        self, conv1: CausalConvolution, conv2: CausalConvolution, dilation: int, dropout: float
    ) -> None:
        super().__init__()
        width = conv1.bias.numel()
        self.conv1, self.conv2 = conv1, conv2
        self.norm1 = nn.LayerNorm(width, eps=1e-8)
        self.norm2 = nn.LayerNorm(width, eps=1e-8)
        self.dilation = dilation
        self.dropout = Dropout(dropout)

    def forward(self, hidden: Tensor, real: Tensor) -> Tensor:
        """[B, L, d] to [B, L, d]; `real` [B, L, 1] is 0 at padding, whose vectors stay zero."""
        inner = F.relu(self.norm1(self.conv1(hidden, self.dilation))) * real
        inner = F.relu(self.norm2(self.conv2(inner, 2 * self.dilation)))
        outer: Tensor = hidden + self.dropout(inner) * real
        return outer


class DilatedCNN(CausalLayers):
    """The middle of NextItNet: a stack of dilated residual blocks, which may share layers.

    `dilations` has one entry l per block, whose two convolutions have the dilations l and 2l;
    without entries the stack is the identity. `sharing` is one of `SHARING`. `dropout` (not in the
    paper) applies to what each block adds to its input. Raises ValueError as `Convolutions` does.
    """

    def __init__(
        self,
        width: int,
        dilations: Sequence[int] = (1, 4, 1, 4),
        kernel_size: int = 3,
        sharing: str = "none",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        Convolutions(width, dropout, tuple(dilations), kernel_size, sharing)  # checks them
        table = sharing_table(sharing, len(dilations))
        used = sorted({index for pair in table for index in pair})
        convolutions = {index: CausalConvolution(width, kernel_size) for index in used}
        self.blocks = nn.ModuleList(
            ResidualBlock(convolutions[first], convolutions[second], dilation, dropout)
            for (first, second), dilation in zip(table, dilations, strict=True)
        )

    def apply_layers(self, hidden: Tensor, mask: Tensor) -> Tensor:
        for block in self.blocks:
            hidden = block(hidden, mask)
        return hidden


@dataclass(frozen=True)
class Convolutions(Middle):
    """A `DilatedCNN`. Raises ValueError for an unknown sharing scheme."""

    module = DilatedCNN
    dilations: tuple[int, ...] = (1, 4, 1, 4)
    kernel_size: int = 3
    sharing: str = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        sharing_table(self.sharing, len(self.dilations))

    def cost(self) -> Iterator[Cost]:
        """A shared convolution counts once as parameters, and at each use as multiply-adds."""
        blocks, weights = len(self.dilations), self.kernel_size * self.width**2
        distinct = distinct_convolutions(self.sharing, blocks)
        matrices = distinct, self.width, self.kernel_size * self.width
        yield "convolutions", distinct * (weights + self.width), 2 * blocks * weights, matrices
        yield "layer norms", 2 * blocks * 2 * self.width, 2 * blocks * self.width


class GRU(CausalLayers):
    """The middle of GRU4Rec: a stack of gated recurrent layers.

    r = sigmoid(W_r x[t] + U_r h[t-1])          z = sigmoid(W_z x[t] + U_z h[t-1])
    n = tanh(W_n x[t] + r * (U_n h[t-1]))       h[t] = (1 - z) * n + z * h[t-1],   h[-1] = 0

    Hidasi et al., "Session-based Recommendations with Recurrent Neural Networks", ICLR 2016. The
    layers have no biases (as in the paper's formulas, unlike its code), so that a zero state stays
    zero on zero input: padding before a sequence changes nothing. torch applies r after U_n, the
    paper before it. `dropout` applies to the output of each layer. Raises ValueError as
    `Recurrence` does.
    """

    def __init__(self, width: int, layers: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        Recurrence(width, dropout, layers)  # checks them
        self.layers = nn.ModuleList(
            nn.GRU(width, width, bias=False, batch_first=True) for _ in range(layers)
        )
        self.dropout = Dropout(dropout)

    def apply_layers(self, hidden: Tensor, mask: Tensor) -> Tensor:
        for layer in self.layers:
            hidden = self.dropout(layer(hidden)[0])
        return hidden * mask


@dataclass(frozen=True)
class Recurrence(Middle):
    """A `GRU`."""

    module = GRU
    layers: int = 1

    def cost(self) -> Iterator[Cost]:
        """Three gates of two matrices each; three elementwise products mix them and the state."""
        gates = 6 * self.width**2
        yield "gates", self.layers * gates, self.layers * (gates + 3 * self.width)


class AttentionBlock(nn.Module):
    """One block of SASRec: attention to the positions so far, then a two-layer network at each.

    x + Dropout(Attention(LN1(x))),  then  x + Dropout(FFN(LN2(x)))
    Attention(x) = softmax(Q K^T / sqrt(d / heads)) V  of each head's columns of x W_Q, x W_K, x W_V
    FFN(x) = ReLU(x W_1 + b_1) W_2 + b_2
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, eps=1e-8)
        self.norm2 = nn.LayerNorm(width, eps=1e-8)
        self.projection = nn.Linear(width, 3 * width, bias=False)  # W_Q, W_K and W_V
        self.feed_forward = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)
        )
        self.dropout = Dropout(dropout)

    def forward(self, hidden: Tensor, seen: Tensor) -> Tensor:
        """[B, L, d] to [B, L, d]; `seen` [B, 1, L, L] says which position sees which."""
        projected = self.projection(self.norm1(hidden)).unflatten(-1, (3, self.heads, -1))
        queries, keys, values = projected.permute(2, 0, 3, 1, 4)  # each [B, heads, L, d / heads]
        mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=seen)
        hidden = hidden + self.dropout(mixed.transpose(1, 2).flatten(2))
        outer: Tensor = hidden + self.dropout(self.feed_forward(self.norm2(hidden)))
        return outer


class SelfAttention(CausalLayers):
    """The middle of SASRec: learned positions, then blocks of causal self-attention.

    LN(Block(... Block(Dropout(sqrt(d) x + p)))),  where p[0], p[1], ... belong to the first real
    position of a sequence, the second, and so on.

    Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018. The original numbers
    positions in the padded window, so that the last item always has the last number. Numbered from
    its start, a history gets the same vectors alone as at the start of a longer one, so a model is
    used as it was trained. The authors' code also takes keys and values from before LN1, adds to
    the normalised input, and has biases in the three projections.

    `heads` share the width. `dropout` applies to the input and to what each half of a block adds;
    in the authors' code also to the attention weights and between W_1 and W_2, but not to what
    attention adds. The caller cuts histories longer than `max_positions`, as `last_hidden` does.
    Raises ValueError as `Attention` does.
    """

    def __init__(
        self,
        width: int,
        layers: int = 2,
        heads: int = 1,
        max_positions: int = 50,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        Attention(width, dropout, layers, heads, max_positions)  # checks them
        # Small beside the items, whose components have variance 1 after the factor sqrt(d).
        self.positions = nn.Parameter(torch.empty(max_positions, width).normal_(std=width**-0.5))
        self.blocks = nn.ModuleList(AttentionBlock(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width, eps=1e-8)
        self.dropout = Dropout(dropout)

    def apply_layers(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Padding gets no number, and no position sees it. Raises ValueError if L is too large."""
        length, (known, width) = hidden.shape[1], self.positions.shape
        if length > known:
            raise ValueError(
                f"a window of {length} positions, but this attention knows {known}; cut it to the "
                f"last {known}, or build the model with max_positions={length}"
            )
        is_real = mask.squeeze(-1) > 0
        ordinal = (is_real.cumsum(1) - 1).clamp(min=0)
        hidden = self.dropout(hidden * width**0.5 + F.embedding(ordinal, self.positions))
        seen = _seen(is_real)
        for block in self.blocks:
            hidden = block(hidden, seen)
        normed: Tensor = self.norm(hidden) * mask
        return normed


@dataclass(frozen=True)
class Attention(Middle):
    """A `SelfAttention`. Raises ValueError unless the heads divide the width."""

    module = SelfAttention
    layers: int = 2
    heads: int = 1
    max_positions: int = 50

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % self.heads:
            raise ValueError(
                f"{self.heads} heads do not divide the width {self.width}; each head takes an "
                "equal share of it"
            )

    def cost(self) -> Iterator[Cost]:
        """At the last of n positions: one query times n keys, n weights times n values."""
        d, layers, n = self.width, self.layers, self.max_positions
        matrix, norms, feeds = d * d, 2 * layers + 1, 2 * layers
        yield "positions", n * d, d
        yield "attention", layers * 3 * matrix, layers * d * (3 * d + 2 * n), (layers, 3 * d, d)
        yield "feed-forward", feeds * (matrix + d), feeds * matrix, (feeds, d, d)
        yield "layer norms", norms * 2 * d, norms * d


MIDDLES: dict[str, type[Middle]] = {
    "cnn": Convolutions,
    "gru": Recurrence,
    "attention": Attention,
}
"""The kinds of middle layers by name, as in `ModelConfig.middle`."""


def _seen(real: Tensor) -> Tensor:
    """Mask [B, 1, L, L]: each position sees itself and the real positions before it."""
    itself = torch.eye(real.shape[1], dtype=torch.bool, device=real.device)
    # A padded position must see itself: the softmax over no position is NaN.
    return ((real[:, None, :] | itself).tril()).unsqueeze(1)


def receptive_field(dilations: Sequence[int], kernel_size: int = 3) -> int:
    """Number of positions, its own included, on which a prediction of a `DilatedCNN` depends.

    1 + 3 (k - 1) (l_1 + ... + l_B): block b, with the dilations l_b and 2 l_b, reaches
    3 (k - 1) l_b positions further back.
    """
    return 1 + (kernel_size - 1) * sum(3 * dilation for dilation in dilations)
