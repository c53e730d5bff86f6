"""Rounding of the weights after training: 8 or 4 bits a weight, a scale a row or a group.

A weight w of a group with the largest absolute value m is stored as the whole number

    code = round(w / scale),   scale = m / 127 in 8 bits, m / 7 in 4 bits,

so that w is about scale * code. The scales are bfloat16, which has the range of float32. One large
weight makes the scale of its whole group large: an outlier costs the accuracy of its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cprec_lib.checks import whole_number
from cprec_lib.compress.compressor import (
    Compressor,
    ItemTable,
    Table,
    TableConvolution,
    replace_modules,
)
from cprec_lib.model.cost import Component
from cprec_lib.model.embedding import FullEmbedding
from cprec_lib.model.middle import CausalConvolution
from cprec_lib.model.recommender import SequentialRecommender

CELLS = 2**20
"""Codes that a search converts to floats at once: 4 MB of them."""
SCALE_BYTES = 2
"""Bytes of a bfloat16 scale."""


class Eight:
    """A code a byte, from -127 to 127."""

    largest, offset = 127, 0

    @staticmethod
    def pack(codes: Tensor) -> Tensor:
        """int8 [..., c] of whole numbers [..., c]."""
        return codes.to(torch.int8)

    @staticmethod
    def unpack(packed: Tensor) -> Tensor:
        """The codes int8 [..., c], which are the bytes."""
        return packed


class Four:
    """Two codes a byte, from -7 to 7, each with 8 added.

    Of a row of c columns, byte j holds column j in its lower four bits and column ceil(c / 2) + j
    in its upper four.
    """

    largest, offset = 7, 8

    @staticmethod
    def pack(codes: Tensor) -> Tensor:
        """uint8 [..., ceil(c / 2)] of whole numbers [..., c]."""
        padded = F.pad(codes, (0, codes.shape[-1] % 2)) + Four.offset
        low, high = padded.to(torch.uint8).chunk(2, -1)
        return low | (high << 4)

    @staticmethod
    def unpack(packed: Tensor) -> Tensor:
        """The codes int8 [..., 2 ceil(c / 2)] of uint8 [..., ceil(c / 2)]."""
        both = torch.cat((packed & 15, packed >> 4), -1)
        return both.view(torch.int8).sub_(Four.offset)


FORMATS: dict[int, type[Eight | Four]] = {8: Eight, 4: Four}
"""How codes are packed, by their bits."""


@dataclass(frozen=True)
class Rounding(Compressor):
    """Store each matrix of a trained model in `bits` bits a weight.

    Tables, linear layers and convolutions are rounded. Biases, norms, positions of an attention and
    the gates of a GRU stay float32. Each row has one scale, or with a `group` one for each group of
    so many neighbouring columns; a row that is not longer than the group has one. If it `tunes`,
    `finish` trains the model a little further with rounded weights in the forward pass, and the
    gradient passes through the rounding as if it were not there (Bengio et al., "Estimating or
    Propagating Gradients Through Stochastic Neurons", 2013).

    Raises ValueError for other bits than 8 and 4, and for a group that does not divide the rows.
    """

    bits: int = 8
    group: int | None = None
    tunes: bool = False
    kind: str = field(default="rounding", init=False)

    def __post_init__(self) -> None:
        if self.bits not in FORMATS or isinstance(self.bits, bool):
            raise ValueError(f"bits {self.bits!r} are not supported; choose 8 or 4")
        if self.group is not None:
            whole_number("group", self.group, least=1)

    @property
    def format(self) -> type[Eight | Four]:
        """How codes are packed."""
        return FORMATS[self.bits]

    def n_groups(self, columns: int) -> int:
        """Number of scales of a row. Raises ValueError if the group does not divide it."""
        if self.group is None or self.group >= columns:
            return 1
        if columns % self.group:
            raise ValueError(
                f"the group {self.group} does not divide rows of {columns} weights; choose a group "
                "that does, or a scale a row"
            )
        return columns // self.group

    def row_bytes(self, columns: int) -> int:
        """Bytes of a row: its codes, padded to whole bytes, and its scales."""
        return -(-columns * self.bits // 8) + SCALE_BYTES * self.n_groups(columns)

    def count(self, entries: tuple[Component, ...]) -> tuple[Component, ...]:
        return tuple(replace(entry, saved=entry.saved + self._saved(entry)) for entry in entries)

    def _saved(self, entry: Component) -> int:
        number, rows, columns = entry.matrices
        return number * rows * (4 * columns - self.row_bytes(columns)) if number else 0

    def apply(self, model: SequentialRecommender) -> None:
        replace_modules(
            model,
            {
                module: ROUNDED[type(module)](module, self)
                for module in model.modules()
                if type(module) in ROUNDED
            },
        )

    def constraint(self, layer: nn.Module) -> nn.Module | None:
        return _Rounded(self) if type(layer) in ROUNDED else None

    def encode(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Packed codes [rows, bytes] and scales [rows, groups] of a weight [rows, columns].

        Raises ValueError for weights that are not finite.
        """
        if not weight.isfinite().all():
            raise ValueError("the weights hold NaN or infinity, which cannot be rounded")
        groups = weight.unflatten(1, (self.n_groups(weight.shape[1]), -1))
        largest = self.format.largest
        scales = (groups.abs().amax(2) / largest).bfloat16()
        steps = scales.to(weight.dtype).unsqueeze(2)
        codes = (groups / steps.where(steps > 0, 1)).round()
        # A scale that was rounded down could make a code one too large.
        return self.format.pack(codes.clamp(-largest, largest).flatten(1)), scales


class _Rounded(nn.Module):
    """Rounds the weights of a layer; the gradient is that of the weights themselves."""

    def __init__(self, rounding: Rounding) -> None:
        super().__init__()
        self.rounding = rounding

    def forward(self, weight: Tensor) -> Tensor:
        rows = weight.detach().movedim(1, -1)  # the table of a convolution has tap after tap
        rounded = RoundedTable(rows.flatten(1), self.rounding).weight.view_as(rows).movedim(-1, 1)
        return weight + (rounded - weight).detach()


class RoundedTable(Table):
    """A rounded matrix [rows, columns]."""

    def __init__(self, weight: Tensor, rounding: Rounding) -> None:
        super().__init__()
        self.format, self.columns = rounding.format, weight.shape[1]
        codes, scales = rounding.encode(weight.detach())
        # Parameters, though not trained, so that they are saved and moved as all weights are.
        self.codes = nn.Parameter(codes, requires_grad=False)
        self.scales = nn.Parameter(scales, requires_grad=False)

    def rows(self, index: Tensor) -> Tensor:
        return self._values(F.embedding(index, self.codes), F.embedding(index, self.scales))

    @property
    def weight(self) -> Tensor:
        return self._values(self.codes, self.scales)

    def _values(self, codes: Tensor, scales: Tensor) -> Tensor:
        """float32 [..., columns] of packed codes and scales; float64 if the scales are."""
        values = self._unscaled(codes)
        values.view(*scales.shape, -1).mul_(scales.unsqueeze(-1))
        return values

    def _unscaled(self, codes: Tensor) -> Tensor:
        """The numbers that the scales multiply: [..., columns] of packed codes."""
        whole = self.format.unpack(codes)
        if whole.shape[-1] > self.columns:  # the half byte that fills the row
            whole = whole[..., : self.columns].contiguous()
        return whole.to(torch.promote_types(self.scales.dtype, torch.float32))

    def scores(self, hidden: Tensor, bias: Tensor | None = None) -> Tensor:
        step = max(1, CELLS // self.columns)
        if len(self.codes) <= step:
            return F.linear(hidden, self.weight, bias)
        pieces = zip(self.codes.split(step), self.scales.split(step), strict=True)
        if self.scales.shape[1] > 1:
            found = [F.linear(hidden, self._values(*piece)) for piece in pieces]
        else:  # a scale multiplies a score, not each of its weights
            found = [F.linear(hidden, self._unscaled(codes)) * scales.T for codes, scales in pieces]
        scores = torch.cat(found, -1)
        return scores if bias is None else scores + bias


class RoundedLookup(RoundedTable):
    """A rounded `nn.Embedding`."""

    def __init__(self, layer: nn.Module, rounding: Rounding) -> None:
        super().__init__(layer.get_parameter("weight"), rounding)

    def forward(self, index: Tensor) -> Tensor:
        """Rows [..., columns] of an index [...]."""
        return self.rows(index)


class RoundedEmbedding(ItemTable, RoundedTable):
    """A rounded `FullEmbedding`."""

    def __init__(self, layer: FullEmbedding, rounding: Rounding) -> None:
        super().__init__(layer.weight, rounding)
        self.n_items = layer.n_items


class RoundedLinear(RoundedTable):
    """A rounded `nn.Linear`."""

    def __init__(self, layer: nn.Linear, rounding: Rounding) -> None:
        super().__init__(layer.weight, rounding)
        self.bias = layer.bias

    def forward(self, hidden: Tensor) -> Tensor:
        """Outputs [..., rows] of hidden [..., columns]."""
        return self.scores(hidden, self.bias)


class RoundedConvolution(TableConvolution):
    """A rounded `CausalConvolution`."""

    def __init__(self, layer: CausalConvolution, rounding: Rounding) -> None:
        super().__init__(layer, partial(RoundedTable, rounding=rounding))


ROUNDED: dict[type[nn.Module], Callable[..., nn.Module]] = {
    FullEmbedding: RoundedEmbedding,
    nn.Embedding: RoundedLookup,
    nn.Linear: RoundedLinear,
    CausalConvolution: RoundedConvolution,
}
"""What takes the place of each kind of module."""
