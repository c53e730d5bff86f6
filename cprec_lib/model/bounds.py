"""Bounds that let an exact top-k search pass over tail blocks without looking at their rows."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import zip_longest

import torch
from torch import Tensor, nn

from cprec_lib.checks import whole_number
from cprec_lib.model.search import Found
from cprec_lib.model.softmax import BlockSoftmax


class TailBounds:
    """What is the most probable item of a tail block at best? Pass it to `BlockSoftmax.top_k`.

    The rows e_i of a block's table are gathered into cells of near neighbours, as in a k-d tree:
    halved again and again at the median of the widest column. Of each cell c only the lowest and
    highest value of each column, lo_c and hi_c, the mean m_c and the number n_c of its rows are
    kept. For the block's narrow vector q = P h these bound the logits and their sum:

        max_i q.e_i  <=  max_c (q+ . hi_c + q- . lo_c)        q+ = max(q, 0), q- = min(q, 0)
        log sum_i exp(q.e_i)  >=  log sum_c n_c exp(q . m_c)  (Jensen's inequality)

    The difference bounds log softmax_j(x) of every item x. The search then reads
    3 d_j / cell_size numbers for an item instead of d_j.

    The bounds keep a copy of the softmax of the moment. `softmax.top_k(..., bound=bounds)` compares
    the tail blocks with the copy, bit for bit, and refuses bounds of other weights, however these
    came about; at a million items this takes several times as long as the search for one row.
    `bounds.top_k` searches the copy itself, which nothing can change: the fast way to serve a model
    that is no longer trained.

    Raises ValueError for a `cell_size` below 1 and for weights that are not finite, TypeError for
    another kind of softmax.
    """

    def __init__(self, softmax: BlockSoftmax, cell_size: int = 256) -> None:
        if not isinstance(softmax, BlockSoftmax):
            raise TypeError(f"bounds are of the tail blocks of a BlockSoftmax, not of {softmax!r}")
        cell_size = whole_number("cell_size", cell_size, least=1)
        self._copy = copy.deepcopy(softmax).requires_grad_(False)
        for tail in range(len(softmax.tail_tables)):
            self._copy.check_tail(tail)
        tables = [table.get_parameter("weight") for table in self._copy.tail_tables]
        self._cells = [_Cells(table, cell_size) for table in tables]

    @property
    def n_bytes(self) -> int:
        """Bytes of all bounds: what a search that spares every block reads of them."""
        return sum(cells.n_bytes for cells in self._cells)

    @torch.no_grad()
    def __call__(self, tail: int, hidden: Tensor) -> Tensor:
        """Upper bounds [T] of an item's log-probability inside a tail block, for hidden [T, d]."""
        return self._cells[tail].bound(self._copy.tail_projections[tail](hidden))

    def check(self, softmax: nn.Module) -> None:
        """Raise ValueError unless the tail blocks of a softmax are those of the copy."""
        pairs = zip_longest(_tail_weights(self._copy), _tail_weights(softmax))
        if softmax is not self._copy and not all(_same(*pair) for pair in pairs):
            raise ValueError(
                "the bounds are of other weights: of another softmax, or the weights have changed "
                "since the bounds were made; make them anew"
            )

    def top_k(self, hidden: Tensor, k: int, exclude: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`BlockSoftmax.top_k` of the softmax as it was when the bounds were made."""
        return self._copy.top_k(hidden, k, exclude, self)


@torch.no_grad()
def compare_rules(softmax: BlockSoftmax, hidden: Tensor, k: int = 10) -> dict[str, float]:
    """What each rule of a top-k search does for hidden vectors [T, d].

    "spared by" tokens, bounds, early stopping: the share of the T times n - 1 pairs of a vector and
    a tail block that the rule passes over. "missed by early stopping": the share of the T lists in
    which the rule of CpRec's authors has other items than the exact search. Raises ValueError
    without vectors and as `top_k` does, TypeError as `TailBounds` does.
    """
    if len(hidden) == 0:
        raise ValueError("no hidden vectors, so there is nothing to search for")
    bound = TailBounds(softmax)
    exact, tokens = _spared(softmax, hidden, lambda some: softmax.search(some, k))
    _, bounds = _spared(softmax, hidden, lambda some: softmax.search(some, k, bound=bound))
    rule, early = _spared(softmax, hidden, lambda some: softmax.early_stopping_search(some, k))
    return {
        "spared by tokens": tokens,
        "spared by bounds": bounds,
        "spared by early stopping": early,
        "missed by early stopping": float((rule != exact).any(1).float().mean()),
    }


def _spared(
    softmax: BlockSoftmax, hidden: Tensor, search: Callable[[Tensor], Found]
) -> tuple[Tensor, float]:
    """The items that a search finds, and the share of pairs with a tail block that it spares."""
    found = [search(some) for some in hidden.split(64)]
    opened, pairs = sum(sum(part.opened) for part in found), len(hidden) * len(softmax.tail_tables)
    return torch.cat([part.items for part in found]), 1 - opened / pairs


class _Cells:
    """Boxes, means and sizes of the cells of a table [k, w]."""

    def __init__(self, table: Tensor, cell_size: int) -> None:
        cells = _split(table, cell_size)
        high = torch.stack([cell.amax(0) for cell in cells])
        low = torch.stack([cell.amin(0) for cell in cells])
        largest = torch.maximum(high, -low).amax(0, keepdim=True)
        corners = torch.cat([torch.cat([high, low], 1), torch.cat([largest, -largest], 1)])
        self._corners = corners.T.contiguous()
        self._means = torch.stack([cell.mean(0) for cell in cells]).T.contiguous()
        sizes = torch.tensor([len(cell) for cell in cells], device=table.device)
        self._log_sizes = sizes.to(table.dtype).log()

    @property
    def n_bytes(self) -> int:
        """Bytes of the cells."""
        return sum(t.nbytes for t in (self._corners, self._means, self._log_sizes))

    def bound(self, narrow: Tensor) -> Tensor:
        """Upper bounds [T] of log softmax(E q) for narrow vectors q [T, w]."""
        at_most = torch.cat([narrow.clamp(min=0), narrow.clamp(max=0)], 1) @ self._corners
        total = torch.logsumexp(torch.addmm(self._log_sizes, narrow, self._means), 1)
        # Rounding must not turn a bound into a wrong claim: allow for far more than it amounts to.
        # The last corner holds the largest values of all rows, the scale of what is rounded.
        slack = 1e3 * torch.finfo(narrow.dtype).eps * (1 + at_most[:, -1])
        return at_most[:, :-1].amax(1) - total + slack


def _tail_weights(softmax: nn.Module) -> list[Tensor]:
    named = softmax.named_parameters(remove_duplicate=False)
    return [weight.detach() for name, weight in named if name.startswith("tail_")]


def _same(first: Tensor | None, second: Tensor | None) -> bool:
    """Whether two tensors agree in type, place, shape and every bit."""
    if first is None or second is None:
        return False
    if (first.dtype, first.device, first.shape) != (second.dtype, second.device, second.shape):
        return False
    flat = [tensor.contiguous().flatten() for tensor in (first, second)]
    if all(tensor.storage_offset() == 0 and tensor.nbytes % 8 == 0 for tensor in flat):
        flat = [tensor.view(torch.int64) for tensor in flat]  # compared three times as fast
    return torch.equal(*flat)


def _split(table: Tensor, cell_size: int) -> list[Tensor]:
    """A table in cells of at most `cell_size` rows, each of rows that are near each other."""
    if len(table) <= cell_size:
        return [table]
    column = (table.amax(0) - table.amin(0)).argmax()
    ordered = table[table[:, column].argsort()]
    return [cell for half in ordered.tensor_split(2) for cell in _split(half, cell_size)]
