"""Input embeddings: ids [B, L] in, vectors [B, L, d] out. Padding, id 0, is the zero vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cprec_lib.checks import outside
from cprec_lib.model.partition import BlockPartition


def check_ids(ids: Tensor, n_items: int) -> None:
    """Raise ValueError unless ids [B, L] are 64-bit integers and, on a CPU, in 0..n_items.

    Narrower integers are refused because the offsets of blocks could overflow them.
    """
    if ids.dtype != torch.long:
        raise ValueError(f"item ids have the type {ids.dtype}; convert them with ids.long()")
    if (wrong := outside(ids, 0, n_items)) is not None:
        raise ValueError(
            f"item id {wrong} is outside 0..{n_items}; ids are 1..{n_items}, and 0 is padding"
        )


def table_rows(ids: Tensor, start: int, size: int) -> tuple[Tensor, Tensor]:
    """Table rows of the ids start + 1 .. start + size, and a mask [..., 1] that marks these ids."""
    rows = ids - (start + 1)
    inside = (rows >= 0) & (rows < size)
    # Clamped rows keep the shape fixed: no step waits for a GPU to count the ids of the block.
    return rows.clamp(0, size - 1), inside.unsqueeze(-1)


def _table(size: int, width: int, std: float) -> nn.Embedding:
    table = nn.Embedding(size, width)
    nn.init.normal_(table.weight, std=std)
    return table


def _projection(block_width: int, width: int) -> nn.Linear:
    projection = nn.Linear(block_width, width, bias=False)
    nn.init.normal_(projection.weight, std=(block_width * width) ** -0.5)
    return projection


class FullEmbedding(nn.Module):
    """The uncompressed embedding: one table [n_items, width], no row for padding."""

    def __init__(self, n_items: int, width: int) -> None:
        super().__init__()
        self.n_items = n_items
        self.weight = nn.Parameter(torch.empty(n_items, width))
        nn.init.normal_(self.weight, std=width**-0.5)

    def forward(self, ids: Tensor) -> Tensor:
        """Vectors [B, L, d] of ids [B, L]. Raises ValueError as `check_ids` does."""
        check_ids(ids, self.n_items)
        rows, real = table_rows(ids, 0, self.n_items)
        return F.embedding(rows, self.weight) * real


class BlockEmbedding(nn.Module):
    """Block-wise decomposed embedding (CpRec, section 3.2; adaptive input of Baevski and Auli).

    The head has a full table k_1 x d. Tail block j has a narrow table k_j x d_j and a projection
    to width d:  e(x) = P_j E_j[x],  without bias. Together they have
    k_1 d + sum over j >= 2 of (k_j d_j + d_j d) parameters.
    """

    def __init__(self, partition: BlockPartition) -> None:
        super().__init__()
        self.partition = partition
        width, tails = partition.width, partition.widths[1:]
        # Tables of variance 1 and projections of variance 1 / (d_j d) give every item components
        # of variance 1/d, as in FullEmbedding.
        self.tables = nn.ModuleList([_table(partition.sizes[0], width, width**-0.5)])
        self.tables.extend(
            _table(*shape, 1.0) for shape in zip(partition.sizes[1:], tails, strict=True)
        )
        self.projections = nn.ModuleList([nn.Identity(), *(_projection(w, width) for w in tails)])

    def forward(self, ids: Tensor) -> Tensor:
        """Vectors [B, L, d] of ids [B, L]. Raises ValueError as `check_ids` does."""
        check_ids(ids, self.partition.n_items)
        blocks = zip(self.partition.bounds, self.tables, self.projections, strict=True)
        vectors = []
        for (start, end), table, project in blocks:
            rows, inside = table_rows(ids, start, end - start)
            vectors.append(project(table(rows)) * inside)
        return torch.stack(vectors).sum(0)
