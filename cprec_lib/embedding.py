"""Input embeddings: item ids [B, L] in, vectors [B, L, d] out. Padding (id 0) is the zero vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cprec_lib.partition import BlockPartition


def check_ids(ids: Tensor, n_items: int) -> None:
    """Raise ValueError if ids [B, L] are no 64-bit integers or one lies outside 0..n_items.

    Only ids on the CPU are checked against the range: reading a GPU's values back would stall
    every training step. Narrower integers are refused because offsets of blocks overflow them.
    """
    if ids.dtype != torch.long:
        raise ValueError(f"item ids have the type {ids.dtype}; convert them with ids.long()")
    if ids.device.type != "cpu" or ids.numel() == 0:
        return
    low, high = ids.aminmax()
    if low < 0 or high > n_items:
        wrong = int(low) if low < 0 else int(high)
        raise ValueError(
            f"item id {wrong} is outside 0..{n_items}; ids are 1..{n_items}, and 0 is padding"
        )


def _look_up(table: Tensor, ids: Tensor, start: int) -> Tensor:
    """Rows of `table` for the ids start + 1 .. start + len(table); zeros for every other id."""
    rows = ids - (start + 1)
    inside = (rows >= 0) & (rows < len(table))
    # Clamping keeps the shapes fixed, so that no step waits for a GPU to count the block's ids.
    return F.embedding(rows.clamp(0, len(table) - 1), table) * inside.unsqueeze(-1)


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
        return _look_up(self.weight, ids, 0)


class BlockEmbedding(nn.Module):
    """Block-wise decomposed embedding (CpRec, section 3.2; adaptive input of Baevski and Auli).

    The head block has a full table k_1 x d. Tail block j has a narrow table k_j x d_j and a
    projection to d:  e(x) = P_j E_j[x],  without bias or dropout. It owns
    k_1 d + sum over j >= 2 of (k_j d_j + d_j d) parameters.
    """

    def __init__(self, partition: BlockPartition) -> None:
        super().__init__()
        self.partition = partition
        width = partition.width
        self.tables = nn.ModuleList(
            nn.Embedding(size, block_width)
            for size, block_width in zip(partition.sizes, partition.widths, strict=True)
        )
        self.projections = nn.ModuleList(
            [nn.Identity(), *(nn.Linear(w, width, bias=False) for w in partition.widths[1:])]
        )
        self._initialise()

    def _initialise(self) -> None:
        # Unit-variance tables and projections scaled by (d_j d)^-1/2 give every item, head or
        # tail, components of the same variance 1/d as in FullEmbedding.
        width = self.partition.width
        nn.init.normal_(self.tables[0].weight, std=width**-0.5)
        for table, projection in list(zip(self.tables, self.projections, strict=True))[1:]:
            nn.init.normal_(table.weight)
            nn.init.normal_(projection.weight, std=(table.embedding_dim * width) ** -0.5)

    def forward(self, ids: Tensor) -> Tensor:
        """Vectors [B, L, d] of ids [B, L]. Raises ValueError as `check_ids` does."""
        check_ids(ids, self.partition.n_items)
        starts = [start for start, _ in self.partition.bounds]
        blocks = zip(starts, self.tables, self.projections, strict=True)
        vectors = [project(_look_up(table.weight, ids, start)) for start, table, project in blocks]
        return torch.stack(vectors).sum(0)
