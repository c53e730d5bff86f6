"""The server under load: a million items over HTTP, with the client on the same cores.

`hey` sends the requests, 16 processes of it with a history each. A worker of hey waits for an
answer before it sends the next request, so it falls behind where an answer takes longer than its
interval, 64 ms or more. The rate that was reached is therefore recorded beside the one that was
asked for, and a load counts as carried only if at least 95 % of it was reached. hey states times in
steps of 0.1 ms.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from socket import create_server
from typing import Any

import numpy as np

from benchmarks.search import WIDTH, trained
from cprec_lib import SequentialRecommender, nextitnet
from cprec_lib.compress.compressor import compress_with
from cprec_lib.compress.quantisation import Rounding
from cprec_lib.evidence.statistics import carried
from cprec_lib.export.builder import Graph
from cprec_lib.export.folder import export_model
from cprec_lib.export.graphs import linear, over_history
from cprec_lib.logs.synthetic import Synthetic

TITLE = "Requests to the server, p50, p90 and p99, on the cores that also run the client"
ITEMS, QUICK_ITEMS, LENGTH, K = 1_000_000, 50_000, 20, 10
CLIENTS, INTERVAL = 16, 0.064
"""Processes of hey, and the shortest time in seconds between two requests of one worker."""
RATE = 500
"""Requests a second."""
SECONDS, SHORT, STEPS = (30, 8, 5), (2, 2, 1), (5, 1)
"""Seconds at the full rate, at lower ones and in each step of the search for the largest rate;
the same of a quick run; the steps of both."""
TIME_OUT = 10
"""Seconds that a client waits for an answer."""
WARM_UP = 1.0
"""Seconds of each load that are not counted."""
BINS = np.geomspace(0.1, 20_000, 161)
"""Edges of the recorded histogram of milliseconds."""


@dataclass(frozen=True)
class Served:
    """A model and what serves it: a function of `benchmarks.serving_child`."""

    name: str
    folder: str
    way: str = "exported"


SERVED = (
    Served("CpRec, float32", "cprec"),
    Served("CpRec, int8", "cprec-int8"),
    Served("NextItNet, float32", "nextitnet"),
    Served("NextItNet, int8", "nextitnet-int8"),
    Served("CpRec in torch", "cprec", "in_torch"),
    Served("NextItNet in torch", "nextitnet", "in_torch"),
    Served("NextItNet as one ONNX graph", "nextitnet", "one_graph"),
)


def row(quick: bool) -> dict[str, Any]:
    """Latencies, errors and memory of each model at three rates and near the largest it carries."""
    if shutil.which("hey") is None:
        print("  skipped: hey is not installed (Debian package hey)", flush=True)
        return {"skipped": "hey is not installed"}
    n_items = QUICK_ITEMS if quick else ITEMS
    described = {
        "title": TITLE,
        "items": n_items,
        "width": WIDTH,
        "history": LENGTH,
        "client": f"hey, {CLIENTS} processes",
        "weights": "CpRec trained for 150 steps on a synthetic log, NextItNet as drawn",
        "load_average_before": os.getloadavg()[0],
    }
    with tempfile.TemporaryDirectory() as folder:
        make_models(Path(folder), n_items)
        bodies = write_bodies(Path(folder), n_items)
        some = SERVED[::3] if quick else SERVED
        return {**described, "served": [_measure(s, Path(folder), bodies, quick) for s in some]}


# ---- What is served, and what is asked ----


def make_models(folder: Path, n_items: int) -> None:
    """Export each model and its int8 version, and save those that torch runs."""
    names = [str(10**7 + item) for item in range(n_items)]
    titles = [f"Item {item} with a title of the usual length" for item in range(n_items)]
    small, _ = trained(n_items)
    models = {"cprec": small, "nextitnet": SequentialRecommender(nextitnet(n_items, WIDTH))}
    for name, model in models.items():
        export_model(model, folder / name, names, titles, name)
        model.save(folder / f"{name}-torch")
        if name == "nextitnet":
            (folder / "one_graph.onnx").write_bytes(one_graph(model))
        rounded = compress_with(model, Rounding(8))
        export_model(rounded, folder / f"{name}-int8", names, titles, f"{name}-int8")


def one_graph(model: SequentialRecommender) -> bytes:
    """The graph from `ids` [1, L] and `count` [1] to the best items of a flat softmax.

    It is what a user gets who exports the whole network: logits, softmax and top-k of all items.
    """
    graph, softmax = Graph(), model.softmax
    index = graph.add("Sub", "ids", graph.constant(np.int64(1)))
    vectors = graph.add("Gather", graph.constant(model.embedding.weight.detach()), index)
    mask = graph.constant(np.ones((1, 1, 1), np.float32))
    hidden = over_history(model.middle, graph, vectors, mask)
    last = graph.add("Gather", hidden, graph.constant(-1), axis=1)
    logits = linear(graph, softmax.output, last)
    best = graph.add_several("TopK", 2, graph.add("LogSoftmax", logits, axis=-1), "count", axis=-1)
    graph.rename(best[0], "values")
    graph.rename(graph.add("Add", best[1], graph.constant(np.int64(1))), "items")
    return graph.to_bytes(
        {"ids": (np.int64, [1, "L"]), "count": (np.int64, [1])},
        {"values": (np.float32, [1, "K"]), "items": (np.int64, [1, "K"])},
    )


def write_bodies(folder: Path, n_items: int) -> list[Path]:
    """The body of a request for each process of hey: new users of the log of the training."""
    log = Synthetic(users=CLIENTS, items=n_items, groups=n_items // 1000, length=LENGTH, seed=1)
    rows = log.interactions()["item"].to_numpy().reshape(CLIENTS, LENGTH)
    paths = [folder / f"body-{client}.json" for client in range(CLIENTS)]
    for path, items in zip(paths, rows.tolist(), strict=True):
        path.write_text(json.dumps({"history": [str(10**7 + i - 1) for i in items], "k": K}))
    return paths


# ---- One server ----


def _measure(served: Served, folder: Path, bodies: list[Path], quick: bool) -> dict[str, Any]:
    print(f"  {served.name}", flush=True)
    seconds, lower, step = SHORT if quick else SECONDS
    with running(served, folder) as (process, port):
        load(port, RATE / 10, 2, bodies)  # the first requests touch the pages that later ones use
        idle = memory(process.pid, folder)
        rates = ((RATE, seconds), (RATE / 3, lower), (RATE / 10, lower))
        loads = [load(port, rate, time_, bodies) for rate, time_ in rates]
        for found in loads:
            print("    " + describe(found), flush=True)
        tried = search_rate(lambda rate: load(port, rate, step, bodies), STEPS[quick])
        print(f"    carries {carried([*loads, *tried]):.0f} requests a second", flush=True)
        after = memory(process.pid, folder)
    return {
        "name": served.name,
        "way": served.way,
        "loads": loads,
        "tried": tried,
        "memory": {"idle": idle, "after": after},
    }


@contextmanager
def running(served: Served, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The server of a model on a free port of 127.0.0.1, once it answers.

    Raises RuntimeError if it ends or does not answer within two minutes.
    """
    with create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    command = [sys.executable, "-m", "benchmarks.serving_child", served.way]
    process = subprocess.Popen([*command, str(folder / served.folder), str(port)])
    try:
        for _ in range(1200):
            if process.poll() is not None:
                raise RuntimeError(f"the server of {served.name} ended with {process.returncode}")
            try:
                HTTPConnection("127.0.0.1", port, timeout=5).request("GET", "/health")
                break
            except OSError:
                time.sleep(0.1)
        else:
            raise RuntimeError(f"the server of {served.name} does not answer")
        yield process, port
    finally:
        process.kill()
        process.wait()


def memory(pid: int, folder: Path) -> dict[str, int] | None:
    """Bytes in memory: all, those that are no file's, and those of the model's mapped files."""
    maps = Path(f"/proc/{pid}/smaps")
    if not maps.exists():  # not Linux
        return None
    found, of_the_model = {"all": 0, "private": 0, "mapped_model": 0}, False
    for line in maps.read_text().splitlines():
        if re.match("[0-9a-f]+-[0-9a-f]+ ", line):
            of_the_model = str(folder) in line
        elif line.startswith(("Rss:", "Anonymous:")):
            size = 1024 * int(line.split()[1])
            found["all" if line.startswith("Rss:") else "private"] += size
            found["mapped_model"] += size if of_the_model and line.startswith("Rss:") else 0
    return found


# ---- Load ----


def load(port: int, rate: float, seconds: float, bodies: list[Path]) -> dict[str, Any]:
    """What a constant rate gives: the rate reached, milliseconds, errors, and their histogram."""
    workers = max(1, math.ceil(rate * INTERVAL / len(bodies)))
    each = f"{rate / len(bodies) / workers:.4f}"
    how = ["-z", f"{WARM_UP + seconds:.1f}s", "-c", str(workers), "-q", each, "-o", "csv"]
    post = ["-t", str(TIME_OUT), "-m", "POST", "-T", "application/json"]
    address = f"http://127.0.0.1:{port}/recommend"
    clients = [
        subprocess.Popen(
            ["hey", *how, *post, "-D", str(body), address], stdout=subprocess.PIPE, text=True
        )
        for body in bodies
    ]
    answers = np.array([line for client in clients for line in _answers(client)]).reshape(-1, 3)
    return {"asked": rate, "seconds": seconds, **summary(answers, seconds)}


def _answers(client: subprocess.Popen[str]) -> list[tuple[float, float, float]]:
    """Milliseconds, status and second of each answer. What had none is not in hey's table."""
    lines = client.communicate()[0].splitlines()[1:]
    columns = (line.split(",") for line in lines if line.count(",") == 7)
    return [(1e3 * float(c[0]), float(c[6]), float(c[7])) for c in columns]


def summary(answers: np.ndarray, seconds: float) -> dict[str, Any]:
    """Rate, percentiles and errors of answers [n, 3]: milliseconds, status, second of sending."""
    counted = answers[(answers[:, 2] >= WARM_UP) & (answers[:, 2] < WARM_UP + seconds)]
    times, statuses = counted[:, 0], counted[:, 1]
    # Nothing was answered: as slow as the clients wait.
    percentiles = np.percentile(times, (50, 90, 99)) if len(times) else [1e3 * TIME_OUT] * 3
    return {
        "reached": len(counted) / seconds,
        "errors": int((statuses != 200).sum()),
        **dict(zip(("p50", "p90", "p99"), map(float, percentiles), strict=True)),
        "histogram": np.histogram(times, BINS)[0].tolist(),
    }


def search_rate(
    ask: Callable[[float], dict[str, Any]], steps: int, low: float = 4, high: float = 4096
) -> list[dict[str, Any]]:
    """Loads around the largest rate that is carried, found by halving on a log scale."""
    tried = []
    for _ in range(steps):
        found = ask(math.sqrt(low * high))
        tried.append({key: found[key] for key in ("asked", "reached", "p50", "p90", "errors")})
        if carried([found]):
            low = found["asked"]
        else:
            high = found["asked"]
    return tried


def describe(found: dict[str, Any]) -> str:
    """A load in words."""
    return (
        f"{found['asked']:.0f} a second: {found['reached']:.0f} reached, p50 {found['p50']:.1f}, "
        f"p90 {found['p90']:.1f}, p99 {found['p99']:.1f} ms, {found['errors']} errors"
    )
