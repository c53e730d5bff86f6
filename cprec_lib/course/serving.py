"""What notebook 10 measures: searches, the parts of a request, lists, and a server."""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from socket import create_server
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import pandas as pd

from cprec_lib.evidence.statistics import SLOWEST, carried
from cprec_lib.serve.model import Model
from cprec_lib.serve.tables import Ints

START_SECONDS = 60.0
"""How long a server may take to start."""
PARTS = ("look up the vectors", "middle layers", "search")


def milliseconds(work: Callable[[], object], calls: int = 15) -> float:
    """Median time of a call in ms, after one that is not counted."""
    times = []
    for _ in range(calls + 1):
        start = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - start))
    return float(np.median(times[1:]))


def search_times(record: Mapping[str, Any], at_once: int) -> pd.DataFrame:
    """Median ms of each search, by the catalogue; `record` is that of the benchmark search.json.

    A search finds the ten best items for `at_once` histories. Reading alone is left out.
    """
    ending = f", {at_once} at once"
    return pd.DataFrame(
        {
            case["case"].removesuffix(ending): {
                way: 1e3 * np.median(side["seconds"]) / case["searches_per_call"]
                for way, side in case["sides"].items()
                if not way.startswith("floor")
            }
            for case in record["cases"]
            if case["case"].endswith(ending)
        }
    )


def cost_of_parts(model: Model, row_bytes: int, length: int = 20) -> pd.DataFrame:
    """Bytes that each part of a request reads, and ms: for reading them alone, and measured.

    `model` has a flat softmax; `row_bytes` is the size of an item's row in its tables, which the
    search reads with a bias of four bytes. The history has the items 1 to `length`.
    """
    history = np.arange(1, length + 1, dtype=np.int64)
    hidden, graph = model.hidden([history]), model.folder / "model.onnx"
    look_up = milliseconds(lambda: model.embedding(history[None]))
    times = [
        look_up,
        milliseconds(lambda: model.hidden([history])) - look_up,
        milliseconds(lambda: model.softmax.top_k(hidden, 10)),
    ]
    read = [length * row_bytes, graph.stat().st_size, model.n_items * (row_bytes + 4)]
    alone = [milliseconds(np.ones(n // 4 + 1, np.float32).sum) for n in read]
    columns = {"bytes": read, "reading them, ms": alone, "measured, ms": times}
    return pd.DataFrame(columns, PARTS)


def kept(lists: Mapping[str, Ints]) -> pd.DataFrame:
    """What stays of the first model's lists [U, k] in those of each: all items, and the first."""
    whole = next(iter(lists.values()))

    def row(items: Ints) -> list[float]:
        same = [np.isin(a, b).mean() for a, b in zip(whole, items, strict=True)]
        return [float(np.mean(same)), float((items[:, 0] == whole[:, 0]).mean())]

    columns = ["items kept", "first item kept"]
    return pd.DataFrame([row(items) for items in lists.values()], [*lists], columns)


def load_table(served: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """The highest rate asked of each model and the largest that it carries, a second; and ms.

    `served` is that of the benchmark's record serving.json.
    """
    return pd.DataFrame(
        {
            each["name"]: {
                f"answers a second at {first['asked']} requests a second": first["reached"],
                **{f"{name}, ms": first[name] for name in ("p50", "p90", "p99")},
                f"largest rate with p90 within {SLOWEST:.0f} ms": carried(
                    [*each["loads"], *each["tried"]]
                ),
            }
            for each in served
            for first in [each["loads"][0]]
        }
    ).T


class Server:
    """`cprec serve` of an exported folder, on a free port of this machine, until `stop`.

    Raises RuntimeError if it ends or does not answer within a minute.
    """

    def __init__(self, folder: Path) -> None:
        with create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "cprec_lib", "serve", str(folder), "--port", str(port)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        atexit.register(self.stop)
        end = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise RuntimeError(f"the server does not start; try `cprec serve {folder}`")
            time.sleep(0.1)

    def ask(self, path: str, body: Any = None) -> Any:
        """What the server answers to GET, or to POST if there is a body: JSON, read.

        Raises OSError if it does not answer or refuses.
        """
        content = None if body is None else json.dumps(body).encode()
        request = Request(self.address + path, content, {"Content-Type": "application/json"})
        with urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def time(self, histories: Sequence[Sequence[str]]) -> tuple[list[float], list[float]]:
        """Ms from each request to its answer, one after another, and those for the model alone."""
        whole, model = [], []
        for history in histories:
            start = time.perf_counter()
            answer = self.ask("/recommend", {"history": [*history]})
            whole.append(1e3 * (time.perf_counter() - start))
            model.append(float(answer["milliseconds"]))
        return whole, model

    def stop(self) -> None:
        """End the server; one that has ended may be stopped again."""
        self._process.terminate()
        self._process.wait()
        atexit.unregister(self.stop)

    def _answers(self) -> bool:
        try:
            self.ask("/health")
        except OSError:
            return False
        return True
