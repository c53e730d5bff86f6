"""The folder of an exported model: graphs, tables, names of the items, and the manifest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from safetensors.numpy import save

from cprec_lib.compress.runs import check_no_run
from cprec_lib.export.graphs import lags, last_hidden_graph, next_position_graph, window
from cprec_lib.export.tables import embedding_ends, model_tables
from cprec_lib.files import file_hash, held, named_path, write_bytes
from cprec_lib.model.recommender import SequentialRecommender
from cprec_lib.serve.items import pack
from cprec_lib.serve.manifest import GRAPH, ITEMS, MANIFEST, STEP, TABLES, Manifest
from cprec_lib.train.run_folder import Run


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
    finite, names that are not one per item, a model with a part that cannot be exported, and a
    folder that holds a run, OSError if the folder cannot be written.
    """
    names = {"originals": originals} | ({} if titles is None else {"titles": titles})
    _check(model, names)
    folder, middle = named_path(folder), model.middle
    check_no_run(folder)  # a run's manifest has the same name
    width, known_lags = model.config.width, lags(middle)
    tables, shared = model_tables(model)
    contents = {
        GRAPH: last_hidden_graph(middle, width),
        TABLES: save(tables),
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
            shared=shared,
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
    for name, weight in model.named_parameters():
        if not weight.isfinite().all():
            raise ValueError(f"{name} holds NaN or infinity; train the model again, more slowly")
