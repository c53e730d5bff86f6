"""Pruning: the smallest weights are removed, the others trained a little further.

A matrix keeps a share of its weights, those with the largest absolute values (Han et al., "Learning
both Weights and Connections for Efficient Neural Networks", NeurIPS 2015). It is stored by rows:
the values in float16, the column of each, and where each row ends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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

CELLS = 2**19
"""Weights that a search unpacks at once."""


@dataclass(frozen=True)
class Pruning(Compressor):
    """Keep the share `density` of each matrix's weights, the largest ones.

    Tables, linear layers and convolutions are pruned; what stays dense is as for `Rounding`.
    `finish` trains the kept weights further. Raises ValueError for a density outside 0..1.
    """

    density: float = 0.1
    kind: str = field(default="pruning", init=False)
    tunes = True

    def __post_init__(self) -> None:
        if isinstance(self.density, bool) or not 0 < self.density <= 1:
            raise ValueError(
                f"density {self.density!r} is not a share above 0 and up to 1, such as 0.1"
            )

    def kept(self, rows: int, columns: int) -> int:
        """How many weights of a matrix are kept: a whole number for each row, on average."""
        return rows * max(1, round(self.density * columns))

    def count(self, entries: tuple[Component, ...]) -> tuple[Component, ...]:
        return tuple(self._count(entry) if entry.matrices[0] else entry for entry in entries)

    def _count(self, entry: Component) -> Component:
        """The values, their columns and the ends of the rows instead of the matrices."""
        number, rows, columns = entry.matrices
        kept = self.kept(rows, columns)
        numbers = number * (2 * kept + rows)
        stored = number * (kept * (2 + column_type(columns).itemsize) + 4 * rows)
        rest = entry.parameters - number * rows * columns
        return replace(entry, parameters=rest + numbers, saved=4 * numbers - stored)

    def apply(self, model: SequentialRecommender) -> None:
        made = {m: PRUNED[type(m)](m, self) for m in model.modules() if type(m) in PRUNED}
        replace_modules(model, made)

    def constraint(self, layer: nn.Module) -> nn.Module | None:
        return _Mask(self, layer) if type(layer) in PRUNED else None


class _Mask(nn.Module):
    """Zeros in the place of the weights of a layer that are not kept."""

    def __init__(self, pruning: Pruning, layer: nn.Module) -> None:
        super().__init__()
        weight = layer.get_parameter("weight").detach()
        places = largest(weight.flatten(), pruning.kept(len(weight), weight[0].numel()))
        self.mask = torch.zeros_like(weight).flatten().index_fill(0, places, 1.0).view_as(weight)

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.mask


def largest(weights: Tensor, n: int) -> Tensor:
    """Places [n], in order, of the n weights [W] with the largest absolute values."""
    return weights.abs().topk(n).indices.sort().values


def column_type(columns: int) -> torch.dtype:
    """The smallest type that holds the number of a column."""
    return torch.uint8 if columns <= 256 else torch.int16 if columns <= 2**15 else torch.int32


class PrunedTable(Table):
    """A matrix [rows, columns] of which some weights are kept."""

    def __init__(self, weight: Tensor, pruning: Pruning) -> None:
        super().__init__()
        n_rows, self.columns = weight.shape
        places = largest(weight.detach().flatten(), pruning.kept(n_rows, self.columns))
        per_row = (places // self.columns).bincount(minlength=n_rows)
        values = weight.detach().flatten()[places].half()
        columns = (places % self.columns).to(column_type(self.columns))
        # Parameters, though not trained, so that they are saved and moved as all weights are.
        self.values = nn.Parameter(values, requires_grad=False)
        self.places = nn.Parameter(columns, requires_grad=False)
        self.ends = nn.Parameter(per_row.cumsum(0).int(), requires_grad=False)

    def rows(self, index: Tensor) -> Tensor:
        flat = index.flatten()
        ends, starts = self.ends[flat].long(), F.pad(self.ends, (1, 0))[flat].long()
        lengths = ends - starts
        row = torch.arange(len(flat), device=flat.device).repeat_interleave(lengths)
        first = lengths.cumsum(0) - lengths  # where each of the rows begins among the found weights
        place = torch.arange(len(row), device=flat.device) + (starts - first)[row]
        dense = self.values.new_zeros(len(flat), self.columns, dtype=torch.float32)
        dense[row, self.places[place].long()] = self.values[place].float()
        return dense.view(*index.shape, self.columns)

    @property
    def weight(self) -> Tensor:
        return self.rows(torch.arange(len(self.ends), device=self.ends.device))

    def scores(self, hidden: Tensor, bias: Tensor | None = None) -> Tensor:
        every = torch.arange(len(self.ends), device=self.ends.device)
        some = every.split(max(1, CELLS // self.columns))
        scores = torch.cat([F.linear(hidden, self.rows(index)) for index in some], -1)
        return scores if bias is None else scores + bias


class PrunedLookup(PrunedTable):
    """A pruned `nn.Embedding`."""

    def __init__(self, layer: nn.Module, pruning: Pruning) -> None:
        super().__init__(layer.get_parameter("weight"), pruning)

    def forward(self, index: Tensor) -> Tensor:
        """Rows [..., columns] of an index [...]."""
        return self.rows(index)


class PrunedEmbedding(ItemTable, PrunedTable):
    """A pruned `FullEmbedding`."""

    def __init__(self, layer: FullEmbedding, pruning: Pruning) -> None:
        super().__init__(layer.weight, pruning)
        self.n_items = layer.n_items


class PrunedLinear(PrunedTable):
    """A pruned `nn.Linear`."""

    def __init__(self, layer: nn.Linear, pruning: Pruning) -> None:
        super().__init__(layer.weight, pruning)
        self.bias = layer.bias

    def forward(self, hidden: Tensor) -> Tensor:
        """Outputs [..., rows] of hidden [..., columns]."""
        return self.scores(hidden, self.bias)


class PrunedConvolution(TableConvolution):
    """A pruned `CausalConvolution`."""

    def __init__(self, layer: CausalConvolution, pruning: Pruning) -> None:
        super().__init__(layer, partial(PrunedTable, pruning=pruning))


PRUNED: dict[type[nn.Module], Callable[..., nn.Module]] = {
    FullEmbedding: PrunedEmbedding,
    nn.Embedding: PrunedLookup,
    nn.Linear: PrunedLinear,
    CausalConvolution: PrunedConvolution,
}
"""What takes the place of each kind of module."""
