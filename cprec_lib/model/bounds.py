"""Bounds by which an exact top-k search rules out tail blocks without reading their rows."""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn

from cprec_lib.checks import whole_number
from cprec_lib.model.softmax import BlockSoftmax


class TailBounds:
    """Upper bounds on an item's log-probability in each tail block, for `BlockSoftmax.top_k`.

    The rows e_i of a block's table are grouped into cells of near neighbours, as in a k-d tree:
    halved at the median of the widest column until they hold at most `cell_size` rows. A cell c
    keeps the lowest and highest value of each column, lo_c and hi_c, and the mean m_c and number
    n_c of its rows. For the block's narrow vector q = P h these bound the logits and their sum:

        max_i q.e_i  <=  max_c (q+ . hi_c + q- . lo_c)        q+ = max(q, 0), q- = min(q, 0)
        log sum_i exp(q.e_i)  >=  log sum_c n_c exp(q . m_c)  (Jensen's inequality)

    The difference bounds log softmax_j(x) of every item x. The search reads 3 d_j / cell_size
    numbers per item instead of d_j.

    The bounds keep a copy of the softmax. `softmax.top_k(..., bound=bounds)` compares the tail
    blocks with the copy, bit for bit, and refuses other weights; at a million items this takes
    several times as long as the search for one row. `bounds.top_k` searches the copy, which nothing
    changes: the fast way to serve a model after training.

    Raises ValueError for a `cell_size` below 1 and for weights that are not finite, TypeError for
    another kind of softmax.
    """

    def __init__(self, softmax: BlockSoftmax, cell_size: int = 256) -> None:
        if not isinstance(softmax, BlockSoftmax):
            raise TypeError(f"bounds are of a BlockSoftmax, not of a {type(softmax).__name__}")
        cell_size = whole_number("cell_size", cell_size, least=1)
        self._copy = copy.deepcopy(softmax).requires_grad_(False)
        for tail in range(len(softmax.tail_tables)):
            self._copy.check_tail(tail)
        tables = [cast(Tensor, table.weight) for table in self._copy.tail_tables]
        self.cells = [Cells(table, cell_size) for table in tables]

    @property
    def n_bytes(self) -> int:
        """Bytes of all bounds: those that a search reads if it opens no block."""
        return sum(cells.n_bytes for cells in self.cells)

    @torch.no_grad()
    def __call__(self, tail: int, hidden: Tensor) -> Tensor:
        """Upper bounds [T] of an item's log-probability inside a tail block, for hidden [T, d]."""
        return self.cells[tail].bound(self._copy.tail_projections[tail](hidden))

    def check(self, softmax: nn.Module) -> None:
        """Raise ValueError unless the tail blocks of a softmax equal those of the copy."""
        if softmax is self._copy:
            return
        ours, theirs = _tail_weights(self._copy), _tail_weights(softmax)
        if len(ours) != len(theirs) or not all(map(_same, ours, theirs)):
            raise ValueError(
                "the bounds belong to other weights: this is another softmax, or its weights have "
                "changed since the bounds were made; make new bounds"
            )

    def top_k(self, hidden: Tensor, k: int, exclude: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`BlockSoftmax.top_k` of the copy."""
        return self._copy.top_k(hidden, k, exclude, self)


class Cells:
    """The C cells of a table [k, w]: `corners` [2 w, C + 1], `means` [w, C], `log_sizes` [C].

    A column of `corners` is hi_c over lo_c, the last one the largest |value| of each column and its
    negative.
    """

    def __init__(self, table: Tensor, cell_size: int) -> None:
        cells = _split(table, cell_size)
        high = torch.stack([cell.amax(0) for cell in cells])
        low = torch.stack([cell.amin(0) for cell in cells])
        largest = torch.maximum(high, -low).amax(0, keepdim=True)
        corners = torch.cat([torch.cat([high, low], 1), torch.cat([largest, -largest], 1)])
        self.corners = corners.T.contiguous()
        self.means = torch.stack([cell.mean(0) for cell in cells]).T.contiguous()
        sizes = torch.tensor([len(cell) for cell in cells], device=table.device)
        self.log_sizes = sizes.to(table.dtype).log()

    @property
    def n_bytes(self) -> int:
        """Bytes of the cells."""
        return sum(t.nbytes for t in (self.corners, self.means, self.log_sizes))

    def bound(self, narrow: Tensor) -> Tensor:
        """Upper bounds [T] of log softmax(E q) for narrow vectors q [T, w]."""
        at_most = torch.cat([narrow.clamp(min=0), narrow.clamp(max=0)], 1) @ self.corners
        total = torch.logsumexp(torch.addmm(self.log_sizes, narrow, self.means), 1)
        # Far more than the rounding errors, so that the bound holds in floating point. The last
        # corner holds the largest values of all rows, which set the scale of these errors.
        slack = 1e3 * torch.finfo(narrow.dtype).eps * (1 + at_most[:, -1])
        return at_most[:, :-1].amax(1) - total + slack


def _tail_weights(softmax: nn.Module) -> list[Tensor]:
    named = softmax.named_parameters(remove_duplicate=False)
    return [weight.detach() for name, weight in named if name.startswith("tail_")]


def _same(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors have the same dtype, device, shape and bits."""
    if (first.dtype, first.device, first.shape) != (second.dtype, second.device, second.shape):
        return False
    flat = [tensor.contiguous().flatten() for tensor in (first, second)]
    if all(tensor.storage_offset() == 0 and tensor.nbytes % 8 == 0 for tensor in flat):
        flat = [tensor.view(torch.int64) for tensor in flat]  # compares three times as fast
    return torch.equal(*flat)


def _split(table: Tensor, cell_size: int) -> list[Tensor]:
    """Split a table into cells of at most `cell_size` neighbouring rows."""
    if len(table) <= cell_size:
        return [table]
    column = (table.amax(0) - table.amin(0)).argmax()
    ordered = table[table[:, column].argsort()]
    return [cell for half in ordered.tensor_split(2) for cell in _split(half, cell_size)]
