"""Run a learner's code for a limited time, and undo what it does to the notebook's settings."""

from __future__ import annotations

import ctypes
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any, TypeVar

import numpy as np
import torch

Value = TypeVar("Value")


class TookTooLong(Exception):
    """The time was spent before the call ended."""


class _Stop(BaseException):
    """Ends the call from outside; not an Exception, so that `except Exception` lets it through."""


def within(seconds: float, call: Callable[[], Value]) -> Value:
    """The value of `call()`.

    Raises TookTooLong if it has not ended after so many seconds, and whatever it raises; what would
    end the program (`exit()`) becomes a RuntimeError. The call runs in a thread of its own, which
    works on every system. One that hangs inside a C function is left behind.
    """
    value: list[Value] = []
    error: list[BaseException] = []

    def work() -> None:
        try:
            value.append(call())
        except BaseException as raised:
            error.append(raised)

    worker = Thread(target=work, daemon=True)
    worker.start()
    try:
        worker.join(seconds)
    except KeyboardInterrupt:
        _end(worker)
        raise
    if worker.is_alive():
        _end(worker)
        raise TookTooLong
    if not error:
        return value[0]
    if isinstance(error[0], Exception):
        raise error[0]
    raise RuntimeError(f"the code asked to end the program ({type(error[0]).__name__})")


def _end(worker: Thread) -> None:
    """Raise _Stop in the thread; again if its code caught the first ones."""
    raise_in_thread: Any = ctypes.pythonapi.PyThreadState_SetAsyncExc
    for _ in range(20):
        if worker.is_alive():
            raise_in_thread(ctypes.c_ulong(worker.ident or 0), ctypes.py_object(_Stop))
            worker.join(0.05)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Put back afterwards the random numbers, the default dtype and deterministic algorithms.

    Grad mode and the default device are each thread's own: `within` leaves them alone.
    """
    of_python, of_numpy = random.getstate(), np.random.get_state()
    dtype = torch.get_default_dtype()
    deterministic = _deterministic()
    # To read a GPU's random numbers would start CUDA where the notebook has not.
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
