"""The folder of an exported model: graphs, tables, names of the items, and the manifest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import singledispatch
from pathlib import Path

from safetensors.numpy import save
from torch import Tensor, nn

from cprec_lib.compress.runs import check_free
from cprec_lib.export.graphs import lags, last_hidden_graph, next_position_graph, window
from cprec_lib.files import file_hash, held, named_path, write_bytes
from cprec_lib.model.bounds import TailBounds
from cprec_lib.model.embedding import BlockEmbedding, FullEmbedding
from cprec_lib.model.recommender import SequentialRecommender
from cprec_lib.model.softmax import BlockSoftmax, FullSoftmax, LowRankSoftmax
from cprec_lib.serve.items import pack
from cprec_lib.serve.manifest import GRAPH, ITEMS, MANIFEST, STEP, TABLES, Manifest
from cprec_lib.serve.search import CELL_TENSORS
from cprec_lib.train.run_folder import Run

Named = Iterator[tuple[str, Tensor]]


def export_run(run: str | Path, folder: str | Path) -> Manifest:
    """Export the model of a run, with its items and their titles, into `folder`.

    Raises ValueError and FileNotFoundError as `Run.load` does, and as `export_model` does.
    """
    loaded = Run.load(run)
    titles = list(loaded.items["title"]) if "title" in loaded.items else None
    originals = list(loaded.items["original"])
    return export_model(loaded.model, folder, originals, titles, loaded.record["model"])


def export_model(
    model: SequentialRecommender,
    folder: str | Path,
    originals: Sequence[str],
    titles: Sequence[str] | None = None,
    name: str = "model",
) -> Manifest:
    """Write what `cprec_lib.serve.load` reads; returns the manifest.

    `originals` and `titles` are the original ids and the titles of the items 1..N. The folder
    receives model.onnx (the middle layers), step.onnx if they can go on from what they computed,
    tables.safetensors, items.safetensors and finally manifest.json with the SHA-256 of the others.
    An export that is interrupted leaves no manifest. Raises ValueError for weights that are not
    finite, a compressed model, names that are not one per item and a folder that holds a run,
    OSError if the folder cannot be written.
    """
    names = {"originals": originals} | ({} if titles is None else {"titles": titles})
    _check(model, names)
    folder, middle = named_path(folder), model.middle
    check_free(folder)  # a run's manifest has the same name
    width, known_lags = model.config.width, lags(middle)
    contents = {
        GRAPH: last_hidden_graph(middle, width),
        TABLES: save({key: tensor.numpy(force=True) for key, tensor in _tables(model)}),
        ITEMS: save({k: v for part, each in names.items() for k, v in pack(each, part).items()}),
    }
    if known_lags is not None:
        contents[STEP] = next_position_graph(middle, width)
    with held(folder):
        (folder / MANIFEST).unlink(missing_ok=True)  # the old one, of other files
        for file, content in contents.items():
            write_bytes(folder / file, content)
        manifest = Manifest(
            name=name,
            n_items=model.config.n_items,
            width=width,
            window=window(middle),
            embedding_ends=embedding_ends(model.embedding),
            softmax_ends=model.softmax.ends,
            lags=known_lags,
            sha256={file: file_hash(folder / file) for file in contents},
        )
        manifest.write(folder)
    return manifest


def _check(model: SequentialRecommender, names: dict[str, Sequence[str]]) -> None:
    for part, each in names.items():
        if len(each) != model.config.n_items:
            raise ValueError(
                f"{len(each)} {part} for a model of {model.config.n_items} items; give one for "
                "each of the items 1..N"
            )
    if model.config.compressors:
        kinds = ", ".join(compressor.kind for compressor in model.config.compressors)
        raise ValueError(
            f"a model with {kinds} cannot be exported yet; export the uncompressed one that it was "
            "made from"
        )
    for name, weight in model.named_parameters():
        if not weight.isfinite().all():
            raise ValueError(f"{name} holds NaN or infinity; train the model again, more slowly")


def _tables(model: SequentialRecommender) -> Named:
    yield from embedding_tables(model.embedding)
    yield from softmax_tables(model.softmax)


@singledispatch
def embedding_ends(embedding: nn.Module) -> tuple[int, ...]:
    """The last item of each block of an embedding."""
    raise TypeError(f"no export of {type(embedding).__name__} yet")


@embedding_ends.register
def _(embedding: FullEmbedding) -> tuple[int, ...]:
    return (embedding.n_items,)


@embedding_ends.register
def _(embedding: BlockEmbedding) -> tuple[int, ...]:
    return (*embedding.partition.cutoffs, embedding.partition.n_items)


@singledispatch
def embedding_tables(embedding: nn.Module) -> Named:
    """The tensors of `cprec_lib.serve.tables.Embedding`, by name."""
    raise TypeError(f"no export of {type(embedding).__name__} yet")


@embedding_tables.register
def _(embedding: FullEmbedding) -> Named:
    yield "embedding.0.table", embedding.weight


@embedding_tables.register
def _(embedding: BlockEmbedding) -> Named:
    pairs = zip(embedding.tables, embedding.projections, strict=True)
    for block, (table, projection) in enumerate(pairs):
        yield f"embedding.{block}.table", table.get_parameter("weight")
        if block:
            yield f"embedding.{block}.projection", projection.get_parameter("weight")


@singledispatch
def softmax_tables(softmax: nn.Module) -> Named:
    """The tensors of `cprec_lib.serve.search.Softmax`, by name."""
    raise TypeError(f"no export of {type(softmax).__name__} yet")


@softmax_tables.register
def _(softmax: FullSoftmax) -> Named:
    yield "root.0.table", softmax.output.weight
    yield "root.bias", softmax.output.bias


@softmax_tables.register
def _(softmax: LowRankSoftmax) -> Named:
    yield "root.0.table", softmax.head.weight
    yield from _tails("root", 1, softmax)


@softmax_tables.register
def _(softmax: BlockSoftmax) -> Named:
    yield "root.0.table", softmax.root.weight
    yield from _tails("tail", 0, softmax)
    for tail, cells in enumerate(TailBounds(softmax).cells):
        for name in CELL_TENSORS:
            yield f"tail.{tail}.{name}", getattr(cells, name)


def _tails(part: str, first: int, softmax: BlockSoftmax | LowRankSoftmax) -> Named:
    pairs = zip(softmax.tail_tables, softmax.tail_projections, strict=True)
    for block, (table, projection) in enumerate(pairs, first):
        yield f"{part}.{block}.table", table.get_parameter("weight")
        yield f"{part}.{block}.projection", projection.get_parameter("weight")
