"""Peak memory of a running process."""

import threading
from collections.abc import Callable
from types import TracebackType

import psutil

SECONDS_BETWEEN_SAMPLES = 0.2


def resident_bytes(pid: int) -> int:
    """Memory of a process and all its descendants now, in bytes; 0 if it has ended."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.Error:
        return 0
    return sum(map(_own_bytes, family))


def _own_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:  # it has ended since it was listed
        return 0


class PeakMemory:
    """Samples a process's memory while a `with` block runs; `bytes` is the largest sample.

    `on_sample` is called after each sample, a few times a second.
    """

    def __init__(self, pid: int, on_sample: Callable[[], object]) -> None:
        self.bytes = 0
        self._pid = pid
        self._on_sample = on_sample
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._ended.wait(SECONDS_BETWEEN_SAMPLES):
            self._sample()

    def _sample(self) -> None:
        self.bytes = max(self.bytes, resident_bytes(self._pid))
        self._on_sample()

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._sample()
