"""Tables of item vectors, and the blocks of an embedding or a softmax that are made of them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Tensors = Mapping[str, np.ndarray]


NARROW = 32
"""Below this width a row is too short for a product to run along it."""


class Table(Protocol):
    """Rows of k items, however they are stored."""

    def rows(self, numbers: Ints) -> Floats:
        """Rows [n, w] by their numbers [n] from 0."""

    def product(self, vectors: Floats) -> Floats:
        """Products [T, k] of vectors [T, w] with every row."""


@dataclass(frozen=True)
class FloatTable:
    """A table [k, w] in float32."""

    weights: Floats

    def rows(self, numbers: Ints) -> Floats:
        return self.weights[numbers]

    def product(self, vectors: Floats) -> Floats:
        if len(vectors) == 1:  # a product of a matrix and a vector, which reads each row once
            scores: Floats = (self.weights @ vectors[0])[None]
            return scores
        return vectors @ self.weights.T


def read_table(tensors: Tensors, name: str) -> Table:
    """The table of that name. Raises KeyError if there is none."""
    weights = tensors[name]
    if (
        weights.shape[1] < NARROW
    ):  # column after column in memory: a product is 2 to 4 times as fast
        weights = np.asfortranarray(weights)
    return FloatTable(weights)


@dataclass(frozen=True)
class Block:
    """A table, perhaps with a projection between its width and that of the model."""

    table: Table
    projection: Floats | None = None

    def widen(self, numbers: Ints) -> Floats:
        """Vectors [n, d] of the rows with these numbers: P E[numbers], P [d, w]."""
        rows = self.table.rows(numbers)
        return rows if self.projection is None else rows @ self.projection.T

    def narrow(self, hidden: Floats) -> Floats:
        """Vectors [T, w] of hidden [T, d]: P h, P [w, d]."""
        return hidden if self.projection is None else hidden @ self.projection.T

    def scores(self, hidden: Floats) -> Floats:
        """Products [T, k] of hidden [T, d] with every row: E P h."""
        return self.table.product(self.narrow(hidden))


def read_blocks(tensors: Tensors, part: str) -> list[Block]:
    """The blocks of a part, such as `embedding.0`, `embedding.1`, in order."""
    blocks: list[Block] = []
    while any(name.startswith(f"{part}.{len(blocks)}.table") for name in tensors):
        name = f"{part}.{len(blocks)}"
        blocks.append(
            Block(read_table(tensors, f"{name}.table"), tensors.get(f"{name}.projection"))
        )
    return blocks


@dataclass(frozen=True)
class Embedding:
    """Vectors of items: block j holds the items up to ends[j], from the one after ends[j - 1]."""

    blocks: Sequence[Block]
    ends: Sequence[int]
    width: int

    def __call__(self, ids: Ints) -> Floats:
        """Vectors [..., d] of ids [...]; that of padding, 0, is zero."""
        vectors = np.zeros((*ids.shape, self.width), np.float32)
        for block, (start, end) in zip(self.blocks, pairwise((0, *self.ends)), strict=True):
            inside = (ids > start) & (ids <= end)
            if inside.any():
                vectors[inside] = block.widen(ids[inside] - (start + 1))
        return vectors

    def one(self, item: int) -> Floats:
        """The vector [1, d] of an item 1..N, in a quarter of the time."""
        block = bisect_left(self.ends, item)
        start = self.ends[block - 1] if block else 0
        return self.blocks[block].widen(np.array([item - start - 1]))
