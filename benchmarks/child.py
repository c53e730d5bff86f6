"""One side of a comparison, measured in a process of its own: `python -m benchmarks.child JSON`.

The JSON names a function, its options and the number of calls. The function prepares and returns
the work to be timed; the work returns the numbers by which the sides are compared. The last line
printed is JSON too: the seconds of each call, the bytes by which the process grew, and the numbers.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from cprec_lib.machine import free_bytes, peak_bytes

Work = Callable[[], Sequence[float]]


class Skipped(Exception):
    """This machine cannot run a side; the message says what is missing."""


def chosen_device() -> torch.device:
    """The device of all rows: a GPU of CUDA, else the CPU, because some rivals know no other."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def one_thread() -> Iterator[None]:
    """torch uses one thread until the `with` block ends."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def require(n_bytes: float) -> None:
    """Raise Skipped unless `n_bytes` take at most nine tenths of the free memory."""
    free = free_bytes(chosen_device())
    if n_bytes > 0.9 * free:
        raise Skipped(f"needs {n_bytes / 1e9:.1f} GB, {free / 1e9:.1f} GB are free")


def measure(side: str, options: dict[str, Any], calls: int, threads: int) -> dict[str, Any]:
    """Prepare the side, warm up once unless there is only one call, and time the calls."""
    if threads:
        torch.set_num_threads(threads)
    module, name = side.split(":")
    prepare: Callable[..., Work] = getattr(importlib.import_module(module), name)
    device = chosen_device()
    before = peak_bytes(device) or 0
    try:
        work = prepare(**options)
        numbers = work() if calls > 1 else []
        seconds = []
        for _ in range(calls):
            started = time.perf_counter()
            numbers = work()  # the numbers are on the CPU, so a GPU has finished
            seconds.append(time.perf_counter() - started)
    except Skipped as error:
        return {"skipped": str(error)}
    grown = (peak_bytes(device) or 0) - before
    return {"seconds": seconds, "bytes": grown, "numbers": [float(x) for x in numbers]}


if __name__ == "__main__":
    # Sides raise the Skipped of this module; the one of `__main__` is another class.
    from benchmarks.child import measure

    print(json.dumps(measure(**json.loads(sys.argv[1]))))
