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
KINDS = {
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "U16": "<u2",
    "U8": "u1",
    "I8": "i1",
}
"""Types of tensors in a file, as safetensors and as numpy name them."""

NARROW = 32
"""Below this width a row is too short for a product to run along it."""
CODES = 2**19
"""Codes that become floats at once, 2 MiB; with fewer, the calls take longer than the products."""
CENTROIDS = 256
"""Centroids of a split: as many as a byte has values."""


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


@dataclass(frozen=True)
class CodedTable:
    """A table [k, w] of `cprec_lib.compress.codes`: each byte of an item chooses a part of its row.

    `codes` are uint8 [k, m]; `centroids` [256 m, w / m] are a table of its own, those of a split
    together.
    """

    codes: np.ndarray
    centroids: Table

    def rows(self, numbers: Ints) -> Floats:
        codes = self.codes[numbers]
        places = codes + CENTROIDS * np.arange(codes.shape[1])
        return self.centroids.rows(places.ravel()).reshape(len(numbers), -1)

    def product(self, vectors: Floats) -> Floats:
        n_items, splits = self.codes.shape
        products = self._products(vectors)
        found = np.zeros((len(vectors), n_items), np.float32)
        step = max(1, CODES // splits)
        for start in range(0, n_items, step):
            some = slice(start, start + step)
            for codes, scores in zip(self.codes[some].T, products, strict=True):
                found[:, some] += scores.take(codes, axis=1)  # 2.5 times as fast as scores[:, ...]
        return found

    def _products(self, vectors: Floats) -> Floats:
        """Products [m, T, 256] of the parts of vectors [T, w] with the centroids of each split."""
        splits = self.codes.shape[1]
        every = self.centroids.rows(np.arange(CENTROIDS * splits))
        parts = vectors.reshape(len(vectors), splits, -1).transpose(1, 0, 2)
        products: Floats = parts @ every.reshape(splits, CENTROIDS, -1).transpose(0, 2, 1)
        return products


@dataclass(frozen=True)
class HashedTable:
    """A table [k, w] of `cprec_lib.compress.hashing`: products of a quotient and a remainder.

    `quotients` [n, w] and `remainders` [R, w] are tables of their own. Row i is at place
    i * step mod k, whose quotient and remainder by R name the two rows.
    """

    quotients: Table
    remainders: Table
    n_rows: int
    n_remainders: int
    step: int

    def rows(self, numbers: Ints) -> Floats:
        quotients, remainders = np.divmod(self._places(numbers), self.n_remainders)
        return self.quotients.rows(quotients) * self.remainders.rows(remainders)

    def product(self, vectors: Floats) -> Floats:
        """h (q * r) = (h * q) r: each quotient in use scores all remainders."""
        n_used = -(-self.n_rows // self.n_remainders)
        scaled = vectors[:, None] * self.quotients.rows(np.arange(n_used))
        scores = self.remainders.product(scaled.reshape(-1, vectors.shape[1]))
        scores = scores.reshape(len(vectors), -1)
        found = np.empty((len(vectors), self.n_rows), np.float32)
        at_once = max(1, CODES // vectors.shape[1])
        for start in range(0, self.n_rows, at_once):
            numbers = np.arange(start, min(start + at_once, self.n_rows))
            found[:, start : start + at_once] = scores.take(self._places(numbers), axis=1)
        return found

    def _places(self, numbers: Ints) -> Ints:
        places: Ints = numbers * self.step % self.n_rows
        return places


@dataclass(frozen=True)
class PrunedTable:
    """A table [k, w] of `cprec_lib.compress.pruning`, of whose weights some are kept.

    `values` are float16, row after row, `places` their columns, and `ends` [k] say where each row
    ends. A product multiplies the kept weights alone, a few at a time.
    """

    values: np.ndarray
    places: np.ndarray
    ends: np.ndarray
    width: int

    def rows(self, numbers: Ints) -> Floats:
        ends, starts = self.ends[numbers], np.where(numbers > 0, self.ends[numbers - 1], 0)
        lengths = ends - starts
        first = np.cumsum(lengths) - lengths  # where each of the rows begins among those asked for
        kept = np.arange(lengths.sum()) + np.repeat(starts - first, lengths)
        dense = np.zeros((len(numbers), self.width), np.float32)
        row = np.repeat(np.arange(len(numbers)), lengths)
        dense[row, self.places[kept]] = self.values[kept]
        return dense

    def product(self, vectors: Floats) -> Floats:
        found = np.zeros((len(vectors), len(self.ends)), np.float32)
        step, start = max(1, CODES // self.width), 0
        for first in range(0, len(self.ends), step):
            ends = self.ends[first : first + step]
            starts = np.append(start, ends[:-1])
            kept, start = slice(start, ends[-1]), ends[-1]
            products = vectors.take(self.places[kept], axis=1) * self.values[kept]
            some = np.flatnonzero(ends > starts)  # `reduceat` has no empty sums
            sums = np.add.reduceat(products, starts[some] - kept.start, axis=1)
            found[:, first + some] = sums
        return found


def read_table(tensors: Tensors, name: str, width: int) -> Table:
    """The table of that name, w wide. Raises KeyError if there is none."""

    def read(part: str) -> np.ndarray:
        columns = tensors.get(f"{name}.{part}.columns")
        return tensors[f"{name}.{part}"] if columns is None else columns.T

    def inner(part: str, width: int) -> Table:
        return read_table(tensors, f"{name}.{part}", width)

    inside = (key.removeprefix(f"{name}.") for key in tensors if key.startswith(f"{name}."))
    parts = {key.split(".")[0] for key in inside}
    if "centroids" in parts:
        codes = read("codes")
        return CodedTable(codes, inner("centroids", width // codes.shape[1]))
    if "quotients" in parts:
        quotients, remainders = inner("quotients", width), inner("remainders", width)
        return HashedTable(quotients, remainders, *read("places").tolist())
    if "values" in parts:
        return PrunedTable(read("values"), read("places"), read("ends"), width)
    if "codes" in parts:
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
