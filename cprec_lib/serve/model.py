"""An exported model: `load` reads it, `Model.recommend` ranks the catalogue after histories."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from cprec_lib.checks import check_histories
from cprec_lib.files import named_path
from cprec_lib.serve.items import Names
from cprec_lib.serve.manifest import EXPORT, GRAPH, ITEMS, TABLES, Manifest, readable
from cprec_lib.serve.search import Softmax
from cprec_lib.serve.tables import Embedding, Floats, Ints, map_tensors, read_blocks


class Model:
    """An exported model, whose tables and names are mapped into memory.

    `titles` and `originals` hold the titles (the original ids if there are none) and the original
    ids of the items 1..N, at the positions 0..N-1. `bytes` is the size of its tables and its graph.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        stored, items = map_tensors(folder / TABLES), map_tensors(folder / ITEMS)
        tensors = stored | {name: stored[same] for name, same in manifest.shared.items()}
        self.folder, self.manifest, width = folder, manifest, manifest.width
        blocks = read_blocks(tensors, "embedding", width)
        self.embedding = Embedding(blocks, manifest.embedding_ends, width)
        self.softmax = Softmax(tensors, manifest.softmax_ends, width)
        self.originals = Names(items, "originals")
        self.titles = Names(items, "titles") if "titles.text" in items else self.originals
        if not len(self.originals) == len(self.titles) == manifest.n_items:
            raise ValueError(f"{ITEMS} does not name {manifest.n_items} items")
        self._graph = session(folder / GRAPH)
        self.bytes = sum(t.nbytes for t in stored.values()) + (folder / GRAPH).stat().st_size

    @property
    def has_titles(self) -> bool:
        """Whether items have titles beside their original ids."""
        return self.titles is not self.originals

    @property
    def n_items(self) -> int:
        """Number of items N."""
        return self.manifest.n_items

    def recommend(
        self, histories: Sequence[Sequence[int]], k: int, exclude_seen: bool = False
    ) -> tuple[Floats, Ints]:
        """The k most probable next items after each history (items 1..N, oldest first).

        Returns (log-probabilities [B, k], items [B, k]), exact over the whole catalogue, as
        `SequentialRecommender.recommend` does. `exclude_seen` omits the items of the history.
        Raises ValueError for an empty history, an item outside 1..N, and as `Softmax.top_k` does.
        """
        rows = check_histories(histories, self.n_items)
        return self.softmax.top_k(self.hidden(rows), k, rows if exclude_seen else None)

    def hidden(self, histories: Sequence[Ints]) -> Floats:
        """Hidden vectors [B, d] after histories of items 1..N, none of them empty."""
        window = self.manifest.window or max(map(len, histories))
        length = min(window, max(map(len, histories)))
        ids = np.zeros((len(histories), length), np.int64)
        for row, history in zip(ids, histories, strict=True):
            recent = history[-length:]
            row[length - len(recent) :] = recent
        found: Floats = self._graph.run(None, {"vectors": self.embedding(ids), "real": ids > 0})[0]
        return found


def load(folder: str | Path) -> Model:
    """Read a folder that `cprec export` wrote, without executing code from it.

    The folder is mapped into memory: while it is served, replace its files, as `cprec export` does,
    but do not overwrite them in place. Raises FileNotFoundError for a missing file, OSError for a
    folder that cannot be read, ValueError for one of another version and for a file that is corrupt
    or has changed.
    """
    folder = named_path(folder)
    with readable(folder):
        manifest = Manifest.read(folder)
        with fitting(folder):
            model = Model(folder, manifest)
            model.recommend([[1]], 1)  # the first call is slow: it touches each table
    return model


@contextmanager
def fitting(folder: Path) -> Iterator[None]:
    """Raise ValueError if the body cannot read or compute the model of a folder."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:  # numpy, safetensors and onnxruntime each raise their own
        raise ValueError(
            f"the files of {folder} make no model ({type(error).__name__}: {error}); {EXPORT}"
        ) from error


def session(path: Path) -> Any:
    """The onnxruntime session of a graph, on one thread: its layers are too small for more."""
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
