"""The search for the k most probable items: best of a list, merging lists, exclusions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from cprec_lib.model.embedding import check_ids


def best(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
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


def merge(
    first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor], k: int
) -> tuple[Tensor, Tensor]:
    """The k best of two lists of (values, items); on a tie the first list's item goes first."""
    values, order = torch.cat([first[0], second[0]], 1).sort(descending=True, stable=True)
    items = torch.cat([first[1], second[1]], 1).gather(1, order)
    return values[:, :k], items[:, :k]


def without(scores: Tensor, exclude: Tensor | None, start: int) -> Tensor:
    """Scores [T, C] of the items start + 1 .. start + C, with -inf at those to exclude."""
    if exclude is None:
        return scores
    columns = exclude - (start + 1)
    rows, places = ((columns >= 0) & (columns < scores.shape[1])).nonzero(as_tuple=True)
    return scores.index_put((rows, columns[rows, places]), scores.new_tensor(-torch.inf))


def check_k(k: int, n_items: int, n_rows: int, exclude: Tensor | None) -> None:
    if k < 1:
        raise ValueError(f"k {k} is below 1; ask for at least one item")
    if exclude is not None:
        if exclude.dim() != 2 or len(exclude) != n_rows:
            raise ValueError(
                f"exclude has shape {tuple(exclude.shape)}; it needs two dimensions and one row "
                f"for each of the {n_rows} hidden vectors"
            )
        check_ids(exclude, n_items)
    excluded = 0
    if exclude is not None and exclude.numel() > 0:
        ordered = exclude.sort(1).values
        new = F.pad(ordered[:, 1:] != ordered[:, :-1], (1, 0), value=True) & (ordered > 0)
        excluded = int(new.sum(1).max())
    if k > n_items - excluded:
        raise ValueError(
            f"k {k} is more than the {n_items - excluded} items left to choose from "
            f"({n_items} in the catalogue, up to {excluded} excluded); ask for fewer"
        )
