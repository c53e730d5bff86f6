"""Middle layers: hidden vectors [B, L, d] in, hidden vectors [B, L, d] out, causal."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cprec_lib.sharing import sharing_table


class CausalConvolution(nn.Module):
    """Dilated causal convolution over time; its dilation is given at each call.

    y[t] = bias + sum over i of weight[:, :, i] x[t - (k - 1 - i) dilation],  x[t < 0] = 0.
    The dilation is no part of the layer because shared layers are applied with several dilations.
    """

    def __init__(self, width: int, kernel_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, width, kernel_size))
        self.bias = nn.Parameter(torch.zeros(width))
        nn.init.kaiming_uniform_(self.weight, nonlinearity="relu")

    def forward(self, hidden: Tensor, dilation: int) -> Tensor:
        """Convolve [B, L, d] along L; position t sees positions up to t only."""
        kernel_size = self.weight.shape[-1]
        length = hidden.shape[1]
        padded = F.pad(hidden, (0, 0, (kernel_size - 1) * dilation, 0))
        taps = [padded[:, i * dilation : i * dilation + length] for i in range(kernel_size)]
        # One gather and one matrix product: on a CPU 2 to 4 times faster than conv1d at width 64.
        return F.linear(torch.cat(taps, -1), self.weight.transpose(1, 2).flatten(1), self.bias)


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
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, real: Tensor) -> Tensor:
        """[B, L, d] to [B, L, d]; `real` [B, L, 1] is 0 at padding, whose vectors stay zero."""
        inner = F.relu(self.norm1(self.conv1(hidden, self.dilation))) * real
        inner = F.relu(self.norm2(self.conv2(inner, 2 * self.dilation)))
        outer: Tensor = hidden + self.dropout(inner) * real
        return outer


class DilatedCNN(nn.Module):
    """The middle of NextItNet: a stack of dilated residual blocks, some of them sharing layers.

    `dilations` has one entry a block, whose two convolutions have that dilation and twice it; an
    empty sequence makes a sandwich with no filling. `sharing` is one of `SHARING`. `dropout`
    (not in the paper) falls on the output of each block before it is added to the block's input.

    Raises ValueError if the width, the kernel size or a dilation is below 1, or the scheme unknown.
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
        _check_at_least_one(width=width, kernel_size=kernel_size)
        for dilation in dilations:
            _check_at_least_one(dilation=dilation)
        table = sharing_table(sharing, len(dilations))
        used = sorted({index for pair in table for index in pair})
        convolutions = {index: CausalConvolution(width, kernel_size) for index in used}
        self.blocks = nn.ModuleList(
            ResidualBlock(convolutions[first], convolutions[second], dilation, dropout)
            for (first, second), dilation in zip(table, dilations, strict=True)
        )

    def forward(self, hidden: Tensor, real: Tensor | None = None) -> Tensor:
        """Hidden vectors [B, L, d] to [B, L, d]; position t depends on positions up to t only.

        `real` [B, L] is False at padding, wherever it lies: a padded position is zero, whatever
        `hidden` holds there, and so acts as the zeros that a causal convolution sees before the
        start of a sequence.
        """
        if real is None:
            real = hidden.new_ones(hidden.shape[:2], dtype=torch.bool)
        mask = real.unsqueeze(-1).to(hidden.dtype)
        hidden = hidden * mask
        for block in self.blocks:
            hidden = block(hidden, mask)
        return hidden


def receptive_field(dilations: Sequence[int], kernel_size: int = 3) -> int:
    """Number of positions, its own included, that can reach a prediction of a `DilatedCNN`.

    1 + 3 (k - 1) (l_1 + ... + l_B): block b, whose convolutions have the dilations l_b and 2 l_b,
    looks 3 (k - 1) l_b positions further back.
    """
    return 1 + (kernel_size - 1) * sum(3 * dilation for dilation in dilations)


def _check_at_least_one(**values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise ValueError(
                f"{name.replace('_', ' ')} {value} is below 1; give a whole number >= 1"
            )
