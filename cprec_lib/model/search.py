"""The exact search for the k most probable items, block by block."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cprec_lib.checks import whole_number
from cprec_lib.model.embedding import check_ids

UpperBound = Callable[[int, Tensor], Tensor]
"""Tail block number, hidden [T, d] -> upper bounds [T] on an item's log-probability in it."""

Ids = Tensor | None
"""Ids [T, E] of the items to exclude in each row; 0 excludes nothing."""


class Bound(Protocol):
    """An `UpperBound` that checks whose weights it belongs to, as `TailBounds` does."""

    def __call__(self, tail: int, hidden: Tensor) -> Tensor:
        """Upper bounds [T] for hidden [T, d]."""

    def check(self, softmax: nn.Module) -> None:
        """Raise ValueError unless the bounds hold for this softmax as it is now."""


class Found(NamedTuple):
    """Log-probabilities [T, k], items [T, k], and how many rows opened each tail block."""

    values: Tensor
    items: Tensor
    opened: tuple[int, ...]


class Tree(Protocol):
    """The part of a `Softmax` that a search needs."""

    ends: tuple[int, ...]

    def tail_logits(self, tail: int, hidden: Tensor) -> Tensor: ...
    def check_tail(self, tail: int) -> None: ...


def search(
    tree: Tree, hidden: Tensor, root: Tensor, bound: UpperBound | None, k: int, exclude: Ids
) -> Found:
    """The best items of the head, then of each tail block that cannot be ruled out.

    `root` [T, k_1 + n - 1] holds the scores of the head's items and of the n - 1 tokens. No item of
    a block is more probable than the block's token. A token at or below a row's k-th best value so
    far therefore rules the block out for that row; with a `bound`, token plus bound does. Of equal
    values the lower item comes first. Places left over hold item 0 at -inf. Raises ValueError for
    NaN.
    """
    head_size, root = tree.ends[0], root.log_softmax(-1)
    values, columns = _best(_without(root[:, :head_size], exclude, 0), k)
    missing, opened = (0, k - values.shape[1]), []
    values, items = F.pad(values, missing, value=-torch.inf), F.pad(columns + 1, missing)
    for tail, (start, _) in enumerate(pairwise(tree.ends)):
        token = root[:, head_size + tail]
        at_most = token if bound is None else token + bound(tail, hidden)
        rows = (~(at_most <= values[:, -1])).nonzero().squeeze(1)  # also where it is NaN
        opened.append(len(rows))
        if len(rows) == 0:
            if bound is None:  # `TailBounds` has already checked the weights
                tree.check_tail(tail)
            continue
        scores = token[rows].unsqueeze(1) + tree.tail_logits(tail, hidden[rows]).log_softmax(-1)
        some = None if exclude is None else exclude[rows]
        found, columns = _best(_without(scores, some, start), k)
        every = torch.cat([items[rows], columns + (start + 1)], 1)
        values[rows], order = _first(torch.cat([values[rows], found], 1), k)
        items[rows] = every.gather(1, order)
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
        columns[tied] = _first(scores[tied], k)[1]
    columns = columns.sort().values
    values, order = _first(scores.gather(1, columns), k)
    return values, columns.gather(1, order)


def _first(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of scores [T, C] and their columns by a stable sort: the slower, safe way."""
    values, columns = scores.sort(descending=True, stable=True)
    return values[:, :k], columns[:, :k]


def _without(scores: Tensor, exclude: Ids, start: int) -> Tensor:
    """Scores [T, C] of the items start + 1 .. start + C, with -inf at those to exclude."""
    if exclude is None:
        return scores
    columns = exclude - (start + 1)
    rows, places = ((columns >= 0) & (columns < scores.shape[1])).nonzero(as_tuple=True)
    return scores.index_put((rows, columns[rows, places]), scores.new_tensor(-torch.inf))


def check_search(k: int, n_items: int, n_rows: int, exclude: Ids) -> None:
    """Raise ValueError unless every row has at least k items that are not excluded."""
    whole_number("k", k, least=1)
    excluded = 0 if exclude is None else _most_excluded(exclude, n_items, n_rows)
    if k > n_items - excluded:
        raise ValueError(
            f"k {k} is more than the {n_items - excluded} items left to choose from "
            f"({n_items} in the catalogue, up to {excluded} excluded); ask for fewer"
        )


def _most_excluded(exclude: Tensor, n_items: int, n_rows: int) -> int:
    """The largest number of distinct items that a row excludes."""
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
