"""The tables of an embedding and a softmax as tensors, under the names that `serve` reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import singledispatch
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from cprec_lib.compress.codes import CodedTable
from cprec_lib.compress.compressor import ItemTable
from cprec_lib.compress.hashing import HashedTable
from cprec_lib.compress.pruning import PrunedTable
from cprec_lib.compress.quantisation import RoundedTable
from cprec_lib.compress.tying import Shared, SharedRoot
from cprec_lib.model.bounds import TailBounds
from cprec_lib.model.embedding import BlockEmbedding, FullEmbedding
from cprec_lib.model.recommender import SequentialRecommender
from cprec_lib.model.softmax import BlockSoftmax, FullSoftmax, LowRankSoftmax
from cprec_lib.serve.search import CELL_TENSORS
from cprec_lib.serve.tables import NARROW

Named = Iterator[tuple[str, Tensor]]
TABLE_PARTS = ("table", "codes", "scales")
"""Last words of the names of tensors [k, ...], which have a row for each item."""


def model_tables(model: SequentialRecommender) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors of a model's tables by name, and the stored name of each one stored elsewhere."""
    return stored((*embedding_tables(model.embedding), *softmax_tables(model.softmax)))


def stored(named: Iterable[tuple[str, Tensor]]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Tensors as arrays of a file; one that is in two places, as in a tied model, is stored once.

    Narrow tables are stored column after column: their products are 2 to 4 times as fast.
    """
    arrays: dict[str, np.ndarray] = {}
    names: dict[tuple[int, torch.Size], str] = {}
    shared = {}
    kept = [*named]  # a tensor that was freed would give its address to another one
    for name, tensor in kept:
        array = _array(tensor)
        if name.endswith(TABLE_PARTS) and array.shape[1] < NARROW:
            name, array = f"{name}.columns", array.T
        first = names.setdefault((tensor.data_ptr(), tensor.shape), name)
        if first == name:
            arrays[name] = np.ascontiguousarray(array)
        else:
            shared[name] = first
    return arrays, shared


def refusal(module: nn.Module) -> ValueError:
    """The error for a part of a model that cannot be exported."""
    return ValueError(
        f"{type(module).__name__} cannot be exported yet; register it in cprec_lib/export/tables.py"
    )


def _array(tensor: Tensor) -> np.ndarray:
    """A tensor for numpy, which has no bfloat16: its bits are kept as uint16."""
    if tensor.dtype == torch.bfloat16:
        bits: np.ndarray = tensor.detach().view(torch.int16).numpy(force=True).view(np.uint16)
        return bits
    return tensor.numpy(force=True)


@singledispatch
def embedding_ends(embedding: nn.Module) -> tuple[int, ...]:
    """The last item of each block of an embedding."""
    raise refusal(embedding)


@embedding_ends.register
def _(embedding: FullEmbedding) -> tuple[int, ...]:
    return (embedding.n_items,)


@embedding_ends.register
def _(embedding: ItemTable) -> tuple[int, ...]:
    return (embedding.n_items,)


@embedding_ends.register
def _(embedding: BlockEmbedding) -> tuple[int, ...]:
    return (*embedding.partition.cutoffs, embedding.partition.n_items)


@singledispatch
def embedding_tables(embedding: nn.Module) -> Named:
    """The tensors of `cprec_lib.serve.tables.Embedding`, by name."""
    yield from _table("embedding.0", embedding)


@embedding_tables.register
def _(embedding: BlockEmbedding) -> Named:
    pairs = zip(embedding.tables, embedding.projections, strict=True)
    for block, (rows, project) in enumerate(pairs):
        yield from _table(f"embedding.{block}", rows)
        if block:
            yield f"embedding.{block}.projection", cast(Tensor, project.weight).T


@singledispatch
def softmax_tables(softmax: nn.Module) -> Named:
    """The tensors of `cprec_lib.serve.search.Softmax`, by name."""
    raise refusal(softmax)


@softmax_tables.register
def _(softmax: FullSoftmax) -> Named:
    yield from _table("root.0", softmax.output)
    yield "root.bias", softmax.output.bias


@softmax_tables.register
def _(softmax: LowRankSoftmax) -> Named:
    yield from _table("root.0", softmax.head)
    yield from _tails("root", 1, softmax)


@softmax_tables.register
def _(softmax: BlockSoftmax) -> Named:
    root = softmax.root
    for block, rows in enumerate(
        (root.head, root.tokens) if isinstance(root, SharedRoot) else (root,)
    ):
        yield from _table(f"root.{block}", rows)
    yield from _tails("tail", 0, softmax)
    for tail, cells in enumerate(TailBounds(softmax).cells):
        for name in CELL_TENSORS:
            yield f"tail.{tail}.{name}", getattr(cells, name)


def _tails(part: str, first: int, softmax: BlockSoftmax | LowRankSoftmax) -> Named:
    pairs = zip(softmax.tail_tables, softmax.tail_projections, strict=True)
    for block, (rows, project) in enumerate(pairs, first):
        yield from _table(f"{part}.{block}", rows)
        yield f"{part}.{block}.projection", cast(Tensor, project.weight)


def _table(name: str, layer: nn.Module) -> Named:
    yield from _inner(name, layer).items()


@singledispatch
def tensors_of(layer: nn.Module) -> dict[str, Tensor]:
    """The tensors of a layer's matrix [k, w], by the last words of their names."""
    return {"table": cast(Tensor, layer.weight)}


@tensors_of.register
def _(layer: RoundedTable) -> dict[str, Tensor]:
    return {"codes": layer.codes, "scales": layer.scales}


@tensors_of.register
def _(layer: CodedTable) -> dict[str, Tensor]:
    return {"codes": layer.codes, **_inner("centroids", layer.centroids)}


@tensors_of.register
def _(layer: HashedTable) -> dict[str, Tensor]:
    return {
        **_inner("quotients", layer.quotients),
        **_inner("remainders", layer.remainders),
        "places": torch.tensor([layer.n_items, layer.n_remainders, layer.step]),
    }


@tensors_of.register
def _(layer: PrunedTable) -> dict[str, Tensor]:
    return {"values": layer.values, "places": layer.places, "ends": layer.ends}


def _inner(name: str, layer: nn.Module) -> dict[str, Tensor]:
    """The tensors of a table within a table."""
    return {f"{name}.{part}": tensor for part, tensor in tensors_of(layer).items()}


@tensors_of.register
def _(layer: Shared) -> dict[str, Tensor]:
    return tensors_of(layer.table)
