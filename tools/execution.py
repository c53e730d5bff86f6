"""Run one notebook from top to bottom in a fresh kernel, and measure it."""

import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal
from nbformat import NotebookNode
from tqdm import tqdm

from tools.memory import PeakMemory

SECONDS_A_CELL = 300
SECONDS_TO_START = 180  # the first start reads a lot, perhaps from a slow disk
_COLOUR = re.compile(r"\x1b\[[\d;]*m")  # terminal colours of a traceback
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


@dataclass(frozen=True)
class Failure:
    """The code cell that failed, counted from 1, and the reason."""

    cell_number: int
    source: str
    reason: str


@dataclass(frozen=True)
class Measured:
    """An executed notebook, with the time and memory that its run took."""

    name: str
    notebook: NotebookNode
    seconds: float
    peak_bytes: int
    failure: Failure | None

    @property
    def status(self) -> str:
        """`ok`, or the cell that failed."""
        return f"failed in code cell {self.failure.cell_number}" if self.failure else "ok"


def run_notebook(path: Path, environment: dict[str, str]) -> Measured:
    """Run the notebook at `path` in its own folder; `environment` adds variables for the kernel.

    The file is only read. A cell that fails or takes longer than SECONDS_A_CELL ends the run.
    """
    notebook = nbformat.read(path, as_version=4)
    clear_results(notebook)
    start = time.perf_counter()
    peak_bytes, failure = _execute(notebook, path, environment)
    seconds = time.perf_counter() - start
    remove_machine_traces(notebook)
    return Measured(path.stem, notebook, seconds, peak_bytes, failure)


def code_cells(notebook: NotebookNode) -> list[tuple[int, NotebookNode]]:
    """The non-empty code cells, which a run executes, each with its place in the notebook."""
    return [
        (place, cell)
        for place, cell in enumerate(notebook.cells)
        if cell.cell_type == "code" and cell.source.strip()
    ]


def clear_results(notebook: NotebookNode) -> None:
    """Clear the outputs of an earlier run, so that a cell that is not reached shows none."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None


def remove_machine_traces(notebook: NotebookNode) -> None:
    """Remove everything that changes from run to run or shows nothing without a kernel."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {
                "display_name": "Python 3 (ipykernel)",
                "language": "python",
                "name": "python3",
            },
            "language_info": {"name": "python", "pygments_lexer": "ipython3"},
        }
    )
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if WIDGET_VIEW not in o.get("data", {})]


def _execute(
    notebook: NotebookNode, path: Path, environment: dict[str, str]
) -> tuple[int, Failure | None]:
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=SECONDS_A_CELL,
        startup_timeout=SECONDS_TO_START,
        coalesce_streams=True,
        record_timing=False,
        extra_arguments=["--log-level=CRITICAL"],  # the kernel's own log, not the notebook's
    )
    # A cell's progress bar would end up in its output; this run has its own on the terminal.
    kernel_environment = {**os.environ, "TQDM_DISABLE": "1", **environment}
    with (
        _progress_bar(path.stem, len(code_cells(notebook))) as progress,
        client.setup_kernel(cwd=str(path.parent), env=kernel_environment),
        PeakMemory(client.km.provisioner.pid, on_sample=_refresher(progress)) as memory,
    ):
        failure = _execute_cells(client, progress)
    return memory.bytes, failure


def _execute_cells(client: NotebookClient, progress: tqdm) -> Failure | None:
    for number, (place, cell) in enumerate(code_cells(client.nb), start=1):
        try:
            client.execute_cell(cell, place)
        except (CellControlSignal, RuntimeError) as error:  # RuntimeError: the kernel died
            return Failure(number, cell.source, _reason(error, cell))
        progress.update()
    return None


def _reason(error: Exception, cell: NotebookNode) -> str:
    tracebacks = [o.traceback for o in cell.outputs if o.output_type == "error"]
    text = "\n".join(tracebacks[-1]) if tracebacks else f"{type(error).__name__}: {error}"
    return _COLOUR.sub("", text)


def _progress_bar(name: str, n_cells: int) -> tqdm:
    return tqdm(
        desc=name,
        total=n_cells,
        bar_format="{desc:<24} {bar:20} cell {n_fmt} of {total_fmt}, {elapsed}",
        mininterval=0.5 if sys.stderr.isatty() else 10,
    )


def _refresher(progress: tqdm) -> Callable[[], object]:
    """Updates the elapsed time during a long cell; does nothing if the output is a log file."""
    return progress.refresh if sys.stderr.isatty() else lambda: None
