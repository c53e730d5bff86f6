"""Time and memory of runs as text: the table on the terminal, and the numbers in pages.

A page marks the place with `<!-- measured -->` and `<!-- /measured -->`; the build writes the text
between them.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from cprec_lib.course import calibration
from cprec_lib.machine import cpu_cores
from tools.execution import Measured

MARK = "measured"
OPENING, CLOSING = f"<!-- {MARK} -->", f"<!-- /{MARK} -->"


def duration(seconds: float) -> str:
    """Seconds for a person: `38 s`, or `3.5 min` from 100 seconds on."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def memory(n_bytes: int) -> str:
    """Bytes for a person: `0.9 GB`."""
    return f"{n_bytes / 1e9:.1f} GB"


def write_between_markers(text: str, mark: str, new: str, place: str) -> str:
    """`text` with `new` between the markers of `mark`; `place` names the text in an error.

    Raises ValueError unless there is exactly one pair of markers.
    """
    opening, closing = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    marked = re.compile(f"{opening}.*?{closing}", flags=re.DOTALL)
    changed, n_places = marked.subn(lambda _: f"{opening}{new}{closing}", text)
    if n_places != 1:
        raise ValueError(
            f"{place} has {n_places} places marked {opening} ... {closing}, and exactly one is "
            "written. Add the markers, or remove the spare ones."
        )
    return changed


def write_header(notebook: NotebookNode, run: Measured, step_seconds: float) -> None:
    """Write the time and memory of the run into the first text cell of the notebook.

    `step_seconds` is the time of a calibration step at that time; `cprec doctor` reads it.
    """
    measured = (
        f"Measured on {cpu_cores()} CPU cores: {duration(run.seconds)}, {memory(run.peak_bytes)}."
        f"{calibration.comment(step_seconds)}"
    )
    _write_header(notebook, measured, run.name)


def write_page(page: Path, runs: Sequence[Measured]) -> None:
    """Write the table of all runs into the page."""
    text = page.read_text(encoding="utf-8")
    changed = write_between_markers(text, MARK, markdown_table(runs), page.name)
    page.write_text(changed, encoding="utf-8", newline="\n")


def check_markers(notebooks: Sequence[Path], page: Path) -> None:
    """Raise ValueError if a file lacks the markers, before the run and not after it."""
    for path in notebooks:
        _write_header(nbformat.read(path, as_version=4), "", path.name)
    write_between_markers(page.read_text(encoding="utf-8"), MARK, "", page.name)


def markdown_table(runs: Sequence[Measured]) -> str:
    """The table for docs/benchmarks.md: a line for each notebook and one for all of them."""
    lines = [
        "",
        f"Measured on {cpu_cores()} CPU cores.",
        "",
        "| Notebook | Time | Peak memory |",
        "|---|---:|---:|",
    ]
    for run in runs:
        link = f"[{run.name}](../notebooks/{run.name}.ipynb)"
        lines.append(f"| {link} | {duration(run.seconds)} | {memory(run.peak_bytes)} |")
    lines.append(f"| All | {_total_duration(runs)} | {_largest_memory(runs)} |")
    return "\n".join([*lines, ""])


def terminal_table(runs: Sequence[Measured]) -> str:
    """The table that is printed at the end of a run."""
    line = "{:<24} {:>8} {:>12}  {}".format
    rows = [line(r.name, f"{r.seconds:.1f}", memory(r.peak_bytes), r.status) for r in runs]
    total = sum(run.seconds for run in runs)
    failed = sum(run.failure is not None for run in runs)
    return "\n".join(
        [
            line("notebook", "seconds", "peak memory", "status"),
            *rows,
            line("all", f"{total:.1f}", _largest_memory(runs), f"{failed} failed"),
        ]
    )


def _write_header(notebook: NotebookNode, measured: str, name: str) -> None:
    cells = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    if not cells:
        raise ValueError(f"{name} has no text cell; its first one must hold {OPENING}.")
    place = f"The first text cell of {name}"
    cells[0].source = write_between_markers(cells[0].source, MARK, measured, place)


def _total_duration(runs: Sequence[Measured]) -> str:
    return duration(sum(run.seconds for run in runs))


def _largest_memory(runs: Sequence[Measured]) -> str:
    return memory(max(run.peak_bytes for run in runs))
