"""Tables of item vectors, and the blocks of an embedding or a softmax that are made of them."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Tensors = Mapping[str, np.ndarray]
KINDS = {"F32": "<f4", "I64": "<i8", "I32": "<i4", "U16": "<u2", "U8": "u1", "I8": "i1"}
"""Types of tensors in a file, as safetensors and as numpy name them."""

NARROW = 32
"""Below this width a row is too short for a product to run along it."""
CODES = 2**19
"""Codes that become floats at once, 2 MiB; with fewer, the calls take longer than the products."""


def map_tensors(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file, mapped: what is not used takes no memory.

    safetensors itself copies each tensor. A file must not be overwritten in place while it is
    mapped, but it may be replaced. Raises ValueError, KeyError or TypeError for another file.
    """
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    header.pop("__metadata__", None)
    content = np.asarray(np.memmap(path, np.uint8, "r"))
    tensors = {}
    for name, entry in header.items():
        first, last = (8 + size + offset for offset in entry["data_offsets"])
        tensors[name] = content[first:last].view(KINDS[entry["dtype"]]).reshape(entry["shape"])
    return tensors


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


@dataclass(frozen=True)
class RoundedTable:
    """A table [k, w] of `cprec_lib.compress.quantisation`: whole numbers times scales.

    `codes` are int8 [k, w], or two of 4 bits a byte, uint8 [k, ceil(w / 2)], with 8 added to each.
    `scales` [k, groups] are bfloat16, the upper halves of float32, as uint16. Codes become floats
    a few at a time, never the whole table.
    """

    codes: np.ndarray
    scales: NDArray[np.uint16]
    width: int

    def rows(self, numbers: Ints) -> Floats:
        scales = _floats(self.scales[numbers])
        groups = self._unpack(numbers).reshape(*scales.shape, -1) - self._offset
        rows: Floats = (groups * scales[..., None]).reshape(len(numbers), self.width)
        return rows

    def product(self, vectors: Floats) -> Floats:
        found = np.empty((len(vectors), len(self.codes)), np.float32)
        step = max(1, CODES // self.width)
        for start in range(0, len(self.codes), step):
            some = slice(start, start + step)
            found[:, some] = self._product(vectors, some).T
        return found

    def _product(self, vectors: Floats, some: slice) -> Floats:
        """Products [n, T] with some rows; the scales multiply sums, which are fewer than codes."""
        codes, scales = self._unpack(some), _floats(self.scales[some])
        size, total = self.width // scales.shape[1], np.zeros((), np.float32)
        for group in range(scales.shape[1]):
            columns = slice(group * size, (group + 1) * size)
            part = vectors[:, columns].T
            sums = codes[:, columns] @ part - self._offset * part.sum(0)
            total = total + sums * scales[:, group, None]
        return total

    @property
    def _offset(self) -> np.float32:
        return np.float32(8 if self.codes.dtype == np.uint8 else 0)

    def _unpack(self, some: slice | Ints) -> Floats:
        """Codes of some rows as floats [n, w]; those of 4 bits still have 8 added."""
        codes = self.codes[some]
        if codes.dtype == np.uint8:  # the first half of the columns, then the second
            codes = np.concatenate([codes & 15, codes >> 4], 1)[:, : self.width]
        return codes.astype(np.float32)


def _floats(scales: NDArray[np.uint16]) -> Floats:
    return (scales.astype(np.uint32) << np.uint32(16)).view(np.float32)


def read_table(tensors: Tensors, name: str, width: int) -> Table:
    """The table of that name, w wide. Raises KeyError if there is none."""

    def read(part: str) -> np.ndarray:
        columns = tensors.get(f"{name}.{part}.columns")
        return tensors[f"{name}.{part}"] if columns is None else columns.T

    if any(key.startswith(f"{name}.codes") for key in tensors):
        return RoundedTable(read("codes"), read("scales"), width)
    return FloatTable(read("table"))


@dataclass(frozen=True)
class Block:
    """A table [k, w], perhaps with a projection [w, d] between its width and the model's."""

    table: Table
    projection: Floats | None = None

    def widen(self, numbers: Ints) -> Floats:
        """Vectors [n, d] of the rows with these numbers: E[numbers] P."""
        rows = self.table.rows(numbers)
        return rows if self.projection is None else rows @ self.projection

    def narrow(self, hidden: Floats) -> Floats:
        """Vectors [T, w] of hidden [T, d]: P h."""
        return hidden if self.projection is None else hidden @ self.projection.T

    def scores(self, hidden: Floats) -> Floats:
        """Products [T, k] of hidden [T, d] with every row: E P h."""
        return self.table.product(self.narrow(hidden))


def read_blocks(tensors: Tensors, part: str, width: int) -> list[Block]:
    """The blocks of a part, such as `embedding.0`, `embedding.1`, in order; d is `width`."""
    blocks: list[Block] = []
    while any(key.startswith(f"{part}.{len(blocks)}.") for key in tensors):
        name = f"{part}.{len(blocks)}"
        projection = tensors.get(f"{name}.projection")
        narrow = width if projection is None else len(projection)
        blocks.append(Block(read_table(tensors, name, narrow), projection))
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
