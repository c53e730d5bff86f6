"""Run a learner's code with limits on time and memory, and leave the notebook unchanged.

On Linux the code runs in a copy of the notebook's process (`fork`). The copy has the notebook's
objects, starts within milliseconds, and can always be killed. On other systems the code runs in a
thread: Windows cannot fork, and on macOS a forked process may not use the system's libraries.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import io
import os
import random
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Event, Lock, Thread
from time import monotonic
from typing import Any, TypeVar

import numpy as np
import torch

Value = TypeVar("Value")
MEMORY = 2**30
"""Bytes that the code may use in addition to those that the notebook uses."""


class TookTooLong(Exception):
    """The call did not end in time."""


class Died(Exception):
    """The process in which the call ran ended before the call did."""


class _Stop(BaseException):
    """Ends the call from outside; not an Exception, so that `except Exception` lets it through."""


def limited(seconds: float, call: Callable[[], Value]) -> Value:
    """The value of `call()`, which has to be picklable; its printed output is shown.

    Raises TookTooLong if the call takes longer than `seconds`, Died if its process ends, and
    RuntimeError if the call raises. If the call runs in a thread, a call that hangs inside a C
    function keeps running in the background, and a call that ends its process ends the notebook's.
    """
    reader, writer = Pipe(duplex=False)
    child = _copy(call, writer, int(seconds) + 1) if _forks() else None
    writer.close()  # so that the end of the child ends the pipe
    try:
        if child is None:
            with undisturbed():
                return within(seconds, call)
        value: Value = _received(reader, child, seconds)
        return value
    finally:
        reader.close()
        if child is not None:
            child.kill()
            child.join()


def _copy(call: Callable[[], Any], writer: Connection, seconds: int) -> BaseProcess | None:
    """A copy of this process that runs the call; None if the system allows no other process."""
    arguments = call, writer, random.getstate(), seconds
    child = get_context("fork").Process(target=_run_in_copy, args=arguments, daemon=True)
    with warnings.catch_warnings(), suppress(OSError):
        warnings.simplefilter("ignore", DeprecationWarning)  # that threads are not copied
        child.start()
        return child
    return None


def _forks() -> bool:
    """Whether code may run in a copy; with a GPU, torch's autograd refuses to."""
    return sys.platform == "linux" and torch.cuda.device_count() == 0


def _received(reader: Connection, child: BaseProcess, seconds: float) -> Any:
    """The value that the copy sends at its end; what it prints is shown at once."""
    end = monotonic() + seconds
    try:
        while (left := end - monotonic()) > 0 and reader.poll(left):
            kind, value = reader.recv()
            if kind == "value":
                return value
            if kind == "error":
                raise RuntimeError(value)
            getattr(sys, kind).write(value)
    except (EOFError, ConnectionError):
        child.join(1)
        code = child.exitcode or 0
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        raise Died(how) from None
    raise TookTooLong


class _Printer(io.TextIOBase):
    """Sends printed text to the notebook's process."""

    def __init__(self, send: Callable[[Any], None], kind: str) -> None:
        self._send, self._kind = send, kind

    def write(self, text: str) -> int:
        self._send((self._kind, str(text)))
        return len(text)

    def writable(self) -> bool:
        return True


def _run_in_copy(call: Callable[[], Any], writer: Connection, state: Any, seconds: int) -> None:
    """Run the call in the forked process and send its value. Never returns."""
    lock = Lock()

    def send(message: Any) -> None:
        with lock:
            writer.send(message)

    try:
        sys.stdout, sys.stderr = _Printer(send, "stdout"), _Printer(send, "stderr")
        random.setstate(state)  # a fork seeds it anew
        _settle(seconds)
        try:
            send(("value", within(None, call)))
        except Exception as error:
            send(("error", str(error)))
    finally:
        os._exit(0)  # skips what the notebook's process does at exit


def _settle(seconds: int) -> None:
    """Prepare a forked process for running the code, and set its limits."""
    import resource  # not on Windows

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the notebook's process will kill this one
    faulthandler.disable()  # a crash is reported in a sentence instead
    gc.freeze()  # this process must not close the notebook's objects
    torch.set_num_threads(1)  # OpenMP's threads are not copied; waiting for them would hang
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limits = {
        resource.RLIMIT_AS: pages * resource.getpagesize() + MEMORY,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_CORE: 0,
    }
    for kind, limit in limits.items():
        soft, hard = resource.getrlimit(kind)
        lower = [bound for bound in (soft, hard) if bound != resource.RLIM_INFINITY]
        resource.setrlimit(kind, (min([limit, *lower]), hard))


def within(seconds: float | None, call: Callable[[], Value]) -> Value:
    """The value of `call()`, run in a thread of its own, which works on every system.

    Raises TookTooLong if the call takes longer than `seconds` (None: no limit), and any exception
    that the call raises. An attempt to end the program (`exit()`) becomes a RuntimeError. A call
    that hangs inside a C function keeps running in the background.
    """
    value: list[Value] = []
    error: list[BaseException] = []

    def work() -> None:
        try:
            value.append(call())
        except BaseException as raised:
            error.append(raised)
        finally:
            done.set()

    # Not `join`: if an interrupt comes while it waits, it takes the running thread for ended.
    done, worker = Event(), Thread(target=work, daemon=True)
    try:
        worker.start()
        done.wait(seconds)
    except KeyboardInterrupt:
        _end(worker, done)
        raise
    if not done.is_set():
        _end(worker, done)
        raise TookTooLong
    if not error:
        return value[0]
    if isinstance(error[0], Exception):
        raise error[0]
    raise RuntimeError(f"the code asked to end the program ({type(error[0]).__name__})")


def _end(worker: Thread, done: Event) -> None:
    """Raise _Stop in the thread, repeatedly in case its code catches it, until it is done."""
    raise_in_thread: Any = ctypes.pythonapi.PyThreadState_SetAsyncExc
    for _ in range(20):
        if not done.is_set():
            raise_in_thread(ctypes.c_ulong(worker.ident or 0), ctypes.py_object(_Stop))
            done.wait(0.05)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Restore the random numbers, the default dtype and deterministic algorithms at the end.

    Grad mode and the default device belong to each thread, so `within` does not change them.
    """
    of_python, of_numpy = random.getstate(), np.random.get_state()
    dtype = torch.get_default_dtype()
    deterministic = _deterministic()
    # Reading a GPU's random state would start CUDA even if the notebook has not.
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)
        torch.set_default_dtype(dtype)
        if _deterministic() != deterministic:  # a call takes seconds the first time
            torch.use_deterministic_algorithms(deterministic[0], warn_only=deterministic[1])


def _deterministic() -> tuple[bool, bool]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
