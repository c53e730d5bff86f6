"""The exact search for the k most probable items, block by block, in numpy.

`cprec_lib.model.search` and `cprec_lib.model.bounds` do the same with torch, and derive it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cprec_lib.checks import whole_number
from cprec_lib.serve.tables import Block, Floats, Ints, Tensors, read_blocks

CELLS = 2**24
"""Scores of the root that exist at once: 64 MiB."""


@dataclass(frozen=True)
class Cells:
    """What bounds the log-probabilities in a tail block: see `cprec_lib.model.bounds`."""

    corners: Floats
    means: Floats
    log_sizes: Floats

    def bound(self, narrow: Floats) -> float:
        """An upper bound of log softmax(E q) for a narrow vector q [w]."""
        parts = np.concatenate([np.maximum(narrow, 0), np.minimum(narrow, 0)])
        at_most = parts @ self.corners
        total = _log_sum_exp(narrow @ self.means + self.log_sizes)
        # Far more than the rounding errors, so that the bound holds in floating point.
        slack = 1e3 * np.finfo(np.float32).eps * (1 + at_most[-1])
        return float(at_most[:-1].max() - total + slack)


@dataclass(frozen=True)
class Tail:
    """A tail block: the items from `start` + 1 on, and the bounds of their log-probabilities."""

    start: int
    block: Block
    cells: Cells


class Softmax:
    """A root with the items of the head and a token for each tail block, and the tail blocks.

    Without tail blocks it is a flat softmax over all items, whose root may have a bias.
    """

    def __init__(self, tensors: Tensors, ends: Sequence[int], width: int) -> None:
        self._root = read_blocks(tensors, "root", width)
        self._bias = tensors.get("root.bias")
        self._head_size, self._n_items = ends[0], ends[-1]
        self.tails = [
            Tail(start, block, Cells(*(tensors[f"tail.{tail}.{name}"] for name in CELL_TENSORS)))
            for tail, (start, block) in enumerate(
                zip(ends[:-1], read_blocks(tensors, "tail", width), strict=True)
            )
        ]

    def top_k(
        self, hidden: Floats, k: int, exclude: Sequence[Ints] | None = None
    ) -> tuple[Floats, Ints]:
        """The k most probable items of each row: (log-probabilities [T, k], items [T, k]).

        Exact. Of equal values the lower item comes first. `exclude` has the items that each row
        omits. Raises ValueError if fewer than k items remain.
        """
        self._check(k, exclude)
        values, items = np.empty((len(hidden), k), np.float32), np.empty((len(hidden), k), np.int64)
        at_once = max(1, CELLS // self._head_size)
        for first in range(0, len(hidden), at_once):
            some = hidden[first : first + at_once]
            for row, root in enumerate(self._root_scores(some), first):
                omitted = None if exclude is None else exclude[row]
                values[row], items[row] = self._search(hidden[row], root, k, omitted)
        return values, items

    def _root_scores(self, hidden: Floats) -> Floats:
        parts = [block.scores(hidden) for block in self._root]
        scores = parts[0] if len(parts) == 1 else np.concatenate(parts, 1)
        return scores if self._bias is None else scores + self._bias

    def _search(
        self, hidden: Floats, root: Floats, k: int, exclude: Ints | None
    ) -> tuple[Floats, Ints]:
        """The best of the head, then of each tail block that cannot be ruled out."""
        root = root - _log_sum_exp(root)
        values, items = _best(root[: self._head_size], 0, k, exclude)
        for tail, token in zip(self.tails, root[self._head_size :], strict=True):
            narrow = tail.block.narrow(hidden[None])
            least = values[-1] if len(values) == k else -np.inf
            if token + tail.cells.bound(narrow[0]) <= least:
                continue
            scores = tail.block.table.product(narrow)[0]
            scores += token - _log_sum_exp(scores)
            found, theirs = _best(scores, tail.start, k, exclude, least)
            values, items = np.concatenate([values, found]), np.concatenate([items, theirs])
            first = np.argsort(-values, kind="stable")[:k]
            values, items = values[first], items[first]
        return values, items

    def _check(self, k: int, exclude: Sequence[Ints] | None) -> None:
        whole_number("k", k, least=1)
        # The first call of np.unique imports numpy.ma, and the first request would wait for that.
        excluded = 0 if exclude is None else max(len({*items.tolist()}) for items in exclude)
        if k > self._n_items - excluded:
            raise ValueError(
                f"k {k} is more than the {self._n_items - excluded} items left to choose from "
                f"({self._n_items} in the catalogue, up to {excluded} excluded); ask for fewer"
            )


CELL_TENSORS = ("corners", "means", "log_sizes")
"""Names of the tensors of `Cells`, each in `tail.J.NAME`."""


def _log_sum_exp(scores: Floats) -> np.float32:
    largest = scores.max()
    room = scores - largest
    total: np.float32 = largest + np.log(np.exp(room, out=room).sum())
    return total


def _best(
    scores: Floats, start: int, k: int, exclude: Ints | None, least: float = -np.inf
) -> tuple[Floats, Ints]:
    """The best min(k, C) of the items start + 1 .. start + C by their scores [C], best first.

    Those below `least` may be left out.
    """
    if exclude is not None:
        columns = exclude - (start + 1)
        scores[columns[(columns >= 0) & (columns < len(scores))]] = -np.inf
    # All that tie for the last place stay, in order, and a stable sort takes the lowest.
    candidates = np.flatnonzero(scores >= max(_reached_by(scores, k), least))
    order = candidates[np.argsort(-scores[candidates], kind="stable")[:k]]
    return scores[order], order + (start + 1)


def _reached_by(scores: Floats, k: int) -> float:
    """A value that at least k of the scores [C] reach, and few more; -inf if C is below k.

    It is the k-th largest maximum of short stretches. `np.partition` of all scores takes 40 times
    as long where they are a million.
    """
    length = max(1, int(len(scores) ** 0.5))
    count = len(scores) // length
    if count < k:
        length, count = 1, len(scores)
    if count < k:
        return -np.inf
    maxima = scores[: count * length].reshape(count, length).max(1)
    return float(np.partition(maxima, count - k)[count - k])
