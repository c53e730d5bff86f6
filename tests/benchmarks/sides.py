"""Sides for the tests of the benchmark. Its child imports this module, which loads little."""

import os

import psutil
import torch

from benchmarks import child


def adding(number: float, grow: int = 0) -> child.Work:
    """Adds 1 to a number, and holds so many bytes meanwhile."""

    def work() -> list[float]:
        held = torch.ones(grow // 4)
        return [number + 1 + 0 * float(held.sum())]

    return work


def too_large() -> child.Work:
    """Needs more than any machine has."""
    child.require(1e18)
    raise AssertionError("not reached")


def broken() -> child.Work:
    """Fails."""
    raise ZeroDivisionError("a fault of its own")


def surroundings(variable: str) -> child.Work:
    """Whether a variable is set, and how many processes the parent of this one has."""
    siblings = psutil.Process().parent().children()
    return lambda: [float(variable in os.environ), len(siblings)]
