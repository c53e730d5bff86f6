"""The exact search for the k most probable items, block by block."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cprec_lib.model.embedding import check_ids

UpperBound = Callable[[int, Tensor], Tensor]
"""Number of a tail block, hidden [T, d] -> upper bounds [T] of an item's log-probability inside."""


Ids = Tensor | None
"""Ids [T, E] of the items to leave out of each row, 0 for none."""


class Bound(Protocol):
    """An `UpperBound` that knows for which weights it holds, as `TailBounds` does."""

    def __call__(self, tail: int, hidden: Tensor) -> Tensor:
        """Upper bounds [T] for hidden [T, d]."""

    def check(self, softmax: nn.Module) -> None:
        """Raise ValueError unless the bounds hold for this softmax as it is now."""


class Found(NamedTuple):
    """Log-probabilities [T, k], items [T, k], and for how many rows each tail block was opened."""

    values: Tensor
    items: Tensor
    opened: tuple[int, ...]


class Tree(Protocol):
    """What a search has to know of a softmax: see `Softmax`."""

    ends: tuple[int, ...]

    def tail_logits(self, tail: int, hidden: Tensor) -> Tensor: ...
    def check_tail(self, tail: int) -> None: ...


def search(
    tree: Tree, hidden: Tensor, root: Tensor, bound: UpperBound | None, k: int, exclude: Ids
) -> Found:
    """The best items of the head, then of each tail block that cannot be ruled out.

    `root` [T, k_1 + n - 1] holds scores of the head's items and of the n - 1 tokens. No item of a
    block is more probable than the block's token, so a token at or below a row's k-th best value so
    far rules the block out for that row; with a `bound`, token plus bound do. Equal values go to
    the lower item. Places that cannot be filled hold item 0 at -inf. Raises ValueError for NaN.
    """
    head_size, root = tree.ends[0], root.log_softmax(-1)
    values, columns = _best(_without(root[:, :head_size], exclude, 0), k)
    missing, opened = (0, k - values.shape[1]), []
    values, items = F.pad(values, missing, value=-torch.inf), F.pad(columns + 1, missing)
    for tail, (start, _) in enumerate(pairwise(tree.ends)):
        token = root[:, head_size + tail]
        at_most = token if bound is None else token + bound(tail, hidden)
        rows = (at_most > values[:, -1]).nonzero().squeeze(1)
        opened.append(len(rows))
        if len(rows) == 0:
            if bound is None:  # bounds are of finite weights
                tree.check_tail(tail)
            continue
        scores = token[rows].unsqueeze(1) + tree.tail_logits(tail, hidden[rows]).log_softmax(-1)
        some = None if exclude is None else exclude[rows]
        found, columns = _best(_without(scores, some, start), k)
        values[rows], items[rows] = _merge(
            (values[rows], items[rows]), (found, columns + start + 1), k
        )
    if (wrong := values.isnan().any(1)).any():
        raise ValueError(
            f"the scores of row {int(wrong.nonzero()[0])} are not numbers: its hidden vector or "
            "the weights hold NaN or infinity"
        )
    return Found(values, items.masked_fill(values == -torch.inf, 0), tuple(opened))


def _best(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The min(k, C) largest of scores [T, C] and their columns; ties to the lower column."""
    k = min(k, scores.shape[1])
    values, columns = scores.topk(k)
    # topk keeps any of the columns that tie for the last place; a stable sort keeps the lowest.
    tied = (scores >= values[:, -1:]).sum(1) > k
    if tied.any():
        columns[tied] = scores[tied].sort(descending=True, stable=True).indices[:, :k]
    columns = columns.sort().values
    values, order = scores.gather(1, columns).sort(descending=True, stable=True)
    return values, columns.gather(1, order)


def _merge(
    first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor], k: int
) -> tuple[Tensor, Tensor]:
    """The k best of two lists of (values, items); on a tie the first list's item goes first."""
    values, order = torch.cat([first[0], second[0]], 1).sort(descending=True, stable=True)
    items = torch.cat([first[1], second[1]], 1).gather(1, order)
    return values[:, :k], items[:, :k]


def _without(scores: Tensor, exclude: Ids, start: int) -> Tensor:
    """Scores [T, C] of the items start + 1 .. start + C, with -inf at those to exclude."""
    if exclude is None:
        return scores
    columns = exclude - (start + 1)
    rows, places = ((columns >= 0) & (columns < scores.shape[1])).nonzero(as_tuple=True)
    return scores.index_put((rows, columns[rows, places]), scores.new_tensor(-torch.inf))


def check_search(k: int, n_items: int, n_rows: int, exclude: Ids) -> None:
    """Raise ValueError unless each of the rows has k items left beside those to exclude."""
    if k < 1:
        raise ValueError(f"k {k} is below 1; ask for at least one item")
    excluded = 0 if exclude is None else _most_excluded(exclude, n_items, n_rows)
    if k > n_items - excluded:
        raise ValueError(
            f"k {k} is more than the {n_items - excluded} items left to choose from "
            f"({n_items} in the catalogue, up to {excluded} excluded); ask for fewer"
        )


def _most_excluded(exclude: Tensor, n_items: int, n_rows: int) -> int:
    """The most different items that a row excludes."""
    if exclude.dim() != 2 or len(exclude) != n_rows:
        raise ValueError(
            f"exclude has shape {tuple(exclude.shape)}; it needs two dimensions and one row for "
            f"each of the {n_rows} hidden vectors"
        )
    check_ids(exclude, n_items)
    if exclude.numel() == 0:
        return 0
    ordered = exclude.sort(1).values
    new = F.pad(ordered[:, 1:] != ordered[:, :-1], (1, 0), value=True) & (ordered > 0)
    return int(new.sum(1).max())
