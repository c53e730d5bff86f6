"""Run the benchmark: `python -m benchmarks [ROW ...] [--quick]`.

Results go to results/bench/, those of a quick run to build/bench/.
"""

from __future__ import annotations

import argparse
import datetime
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.child import chosen_device
from cprec_lib.evidence.records import write_result
from cprec_lib.files import check_writable, make_folder
from cprec_lib.machine import commit, cpu_cores, describe_machine

ROWS = (
    "losses",
    "search",
    "rounding",
    "growth",
    "epochs",
    "neighbour",
    "loading",
    "big",
    "serving",
    "gpu",
    "recbole",
)
ROOT = Path(__file__).resolve().parent.parent
RESULTS, QUICK = ROOT / "results" / "bench", ROOT / "build" / "bench"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the rows that the command line names, or all, and store each as soon as it is done."""
    given = _arguments(arguments)
    for name in given.rows or ROWS:
        module = import_module(f"benchmarks.{name}")
        print(f"{name}: {module.TITLE}", flush=True)
        started = time.perf_counter()
        result = module.row(given.quick)
        minutes = (time.perf_counter() - started) / 60
        path = given.out / f"{name}.json"
        if "skipped" in result and path.exists():
            print(f"  {path.name} is not changed\n", flush=True)
            continue
        write_result(path, {**result, **_provenance(), "minutes": minutes})
        print(f"  {minutes:.1f} minutes\n", flush=True)
    print(f"The results are in {given.out}; ratios above 1 favour ours.")


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    # Not `choices`: with nargs="*" argparse would check the empty list against them.
    parser.add_argument(
        "rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; default: all"
    )
    parser.add_argument("--quick", action="store_true", help="run few sizes, in under six minutes")
    parser.add_argument("--out", type=Path, help="folder for the results")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.rows if name not in ROWS]
    if unknown:
        parser.error(f"unknown row {unknown[0]!r}; choose from {', '.join(ROWS)}")
    given.out = given.out or (QUICK if given.quick else RESULTS)
    try:
        check_writable(make_folder(given.out))  # fail now, not after minutes
    except OSError as error:
        parser.error(error.strerror)
    return given


def _provenance() -> dict[str, Any]:
    """Machine, versions, date and commit."""
    return {
        **describe_machine(chosen_device()),
        "cores": cpu_cores(),
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
    }


if __name__ == "__main__":
    main()
