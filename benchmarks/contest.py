"""Run the sides of a comparison in turn, each in a fresh process; compare times and numbers."""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from cprec_lib.evidence.statistics import speed_up


@dataclass(frozen=True)
class Side:
    """One way to do the work: a function of this package, see `benchmarks.child`.

    Sides with the same `group` must return the same numbers. With `calls=1` there is no warm-up.
    `command` can run another Python than ours, for a peer that needs its own packages. `neighbours`
    is the number of processes that keep a core busy meanwhile. `environment` adds variables; an
    empty value removes a variable of this process.
    """

    name: str
    function: str
    options: Mapping[str, Any] = field(default_factory=dict)
    group: str = "same"
    calls: int = 5
    threads: int = 0
    command: Sequence[str] = (sys.executable, "-m", "benchmarks.child")
    neighbours: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)


def case(name: str, sides: Sequence[Side], rounds: int, tolerance: float = 1e-4) -> dict[str, Any]:
    """A contest of the first side, ours, with the others: measurements, and ratios to ours.

    "times_as_fast" holds the median, lowest and highest round. "times_the_memory" holds medians, or
    None if our process did not grow.
    """
    print(f"  {name}", flush=True)
    found = contest(sides, rounds, tolerance)
    ours = sides[0].name
    measured = {side: entry for side, entry in found.items() if "skipped" not in entry}
    faster, memory = {}, {}
    if ours in measured:
        seconds = {side: entry["seconds"] for side, entry in measured.items()}
        grown = {side: statistics.median(entry["bytes"]) for side, entry in measured.items()}
        rivals = [side for side in measured if side != ours]
        # How many times faster ours is: its rounds against the rival's, which ran beside it.
        faster = {rival: speed_up(seconds, ours, rival) for rival in rivals}
        memory = {rival: grown[rival] / grown[ours] if grown[ours] else None for rival in rivals}
        for rival, (median, low, high) in faster.items():
            print(f"    {median:.2f} ({low:.2f} to {high:.2f}) times as fast as {rival}")
    return {
        "case": name,
        "ours": ours,
        "sides": found,
        "times_as_fast": faster,
        "times_the_memory": memory,
    }


def contest(sides: Sequence[Side], rounds: int, tolerance: float = 1e-4) -> dict[str, Any]:
    """Run the sides in turn, `rounds` times: {side: seconds and bytes per round, or why skipped}.

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
    environment = {k: v for k, v in {**os.environ, **side.environment}.items() if v}
    with busy(side.neighbours):
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode == -9:
        return {"skipped": "the system killed it: too little memory"}
    if done.returncode:
        raise RuntimeError(f"{side.name} failed:\n{done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


@contextmanager
def busy(neighbours: int) -> Iterator[None]:
    """Run `neighbours` processes that each keep a core busy, until the `with` block ends."""
    loop = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(loop) for _ in range(neighbours)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


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
