"""A server of the benchmark: `python -m benchmarks.serving_child WAY FOLDER PORT`.

All ways have the same routes, checks and names of items; they differ in what computes the list.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as `cprec serve`

import numpy as np

from cprec_lib.serve.model import Model, session
from cprec_lib.serve.server import run
from cprec_lib.serve.service import Service

Histories = Sequence[Sequence[int]]
Lists = tuple[np.ndarray, np.ndarray]


class InTorch:
    """The model in torch, on one thread; with bounds if it has tail blocks."""

    def __init__(self, model: Model) -> None:
        import torch

        from cprec_lib import BlockSoftmax, SequentialRecommender, TailBounds

        torch.set_num_threads(1)
        self._model = SequentialRecommender.load(f"{model.folder}-torch").eval()
        softmax = self._model.softmax
        self._search: Any = TailBounds(softmax) if isinstance(softmax, BlockSoftmax) else softmax

    def recommend(self, histories: Histories, k: int, exclude_seen: bool = False) -> Lists:
        import torch

        with torch.inference_mode():
            ids = torch.tensor(histories)
            hidden = self._model.last_hidden(ids)
            values, items = self._search.top_k(hidden, k, ids if exclude_seen else None)
        return values.numpy(), items.numpy()


class OneGraph:
    """Embedding, middle layers, softmax and the k best in one ONNX graph.

    It finds as many more items as the history has, and the seen ones are removed afterwards.
    """

    def __init__(self, model: Model) -> None:
        self._graph = session(model.folder.with_name("one_graph.onnx"))

    def recommend(self, histories: Histories, k: int, exclude_seen: bool = False) -> Lists:
        ids = np.array(histories, np.int64)
        count = k + ids.shape[1] * exclude_seen
        values, items = self._graph.run(None, {"ids": ids, "count": np.array([count])})
        new = ~np.isin(items[0], ids) if exclude_seen else np.ones(count, bool)
        return values[:, new][:, :k], items[:, new][:, :k]


WAYS = {"in_torch": InTorch, "one_graph": OneGraph}


def main(way: str, folder: str, port: str) -> None:
    """Serve the model of a folder on 127.0.0.1 until killed."""
    service = Service(Path(folder))
    if way in WAYS:
        service.model.recommend = WAYS[way](service.model).recommend  # type: ignore[method-assign]
    run(service, port=int(port))


if __name__ == "__main__":
    main(*sys.argv[1:])
