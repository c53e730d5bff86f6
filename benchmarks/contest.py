"""Sides of a comparison in turn, each in a fresh process; ratios and whether all agree."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Side:
    """One way to do the work: a function of this package, see `benchmarks.child`.

    Sides with the same `group` must return the same numbers. `calls` of 1 leaves out the warm-up.
    `command` runs another Python than ours, for a peer that needs its own packages.
    """

    name: str
    function: str
    options: Mapping[str, Any] = field(default_factory=dict)
    group: str = "same"
    calls: int = 5
    threads: int = 0
    command: Sequence[str] = (sys.executable, "-m", "benchmarks.child")


def contest(sides: Sequence[Side], rounds: int, tolerance: float = 1e-4) -> dict[str, Any]:
    """Run the sides in turn, `rounds` times: {side: seconds a round, bytes, or why skipped}.

    Raises ArithmeticError if two sides of a group do not return the same numbers, and
    RuntimeError, with the end of what it printed, if a side fails.
    """
    found: dict[str, dict[str, Any]] = {}
    numbers: dict[str, tuple[str, list[float]]] = {}
    for _ in range(rounds):
        for side in sides:
            if "skipped" in found.get(side.name, {}):
                continue
            measured = _run(side)
            if "skipped" in measured:
                print(f"  {side.name}: skipped, {measured['skipped']}", flush=True)
                found[side.name] = measured
                continue
            _check(side, measured["numbers"], numbers, tolerance)
            entry = found.setdefault(side.name, {"seconds": [], "bytes": []})
            entry["seconds"].append(statistics.median(measured["seconds"]))
            entry["bytes"].append(measured["bytes"])
    return found


def _run(side: Side) -> dict[str, Any]:
    task = {
        "side": side.function,
        "options": dict(side.options),
        "calls": side.calls,
        "threads": side.threads,
    }
    command = [*side.command, json.dumps(task)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == -9:
        return {"skipped": "the system ended it: too little memory"}
    if done.returncode:
        raise RuntimeError(f"{side.name} failed:\n{done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _check(
    side: Side, found: list[float], known: dict[str, tuple[str, list[float]]], tolerance: float
) -> None:
    name, expected = known.setdefault(side.group, (side.name, found))
    same = len(expected) == len(found) and all(
        math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance)
        for a, b in zip(expected, found, strict=True)
    )
    if not same:
        raise ArithmeticError(f"{side.name} found {found[:5]}, {name} found {expected[:5]}")
