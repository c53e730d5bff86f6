"""Run the course: `python -m tools.course run` or `python -m tools.course figures`.

`run` executes a copy of every notebook and writes pages. `figures` executes the notebooks in place
and writes their figures. If a notebook fails, the others still run, and the exit status is 1.
"""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import nbformat

from cprec_lib.course.calibration import step_seconds
from tools import measured, pages
from tools.execution import Failure, Measured, run_notebook

ROOT = Path(__file__).resolve().parent.parent
HEADLINE_TAG = "headline"


def run_course(notebooks: Path, out: Path) -> list[Measured]:
    """Run every notebook; write executed notebooks, pages and an index to `out`."""
    runs = _run_each(notebooks, lambda path: {})
    pages.write_course(runs, notebooks, out, headlines(runs))
    print(f"\nTo read the course, open {out / 'index.html'}")
    _report(runs)
    return runs


def run_figures(notebooks: Path, out: Path, page: Path) -> list[Measured]:
    """Run every notebook in place and write its figures to `out`.

    The file of a notebook that fails is not changed. After any failure `page` is not changed.
    """
    measured.check_markers(_notebook_paths(notebooks), page)
    out.mkdir(parents=True, exist_ok=True)
    steps = []

    def prepare(path: Path) -> dict[str, str]:
        _delete_figures(out, path.stem)
        steps.append(step_seconds())
        return {"CPREC_FIGURES": str(out.resolve() / path.stem)}

    runs = _run_each(notebooks, prepare)
    steps.append(step_seconds())
    for run, before, after in zip(runs, steps[:-1], steps[1:], strict=True):
        if not run.failure:
            # The mean of before and after: other programs may have slowed a part of the run.
            measured.write_header(run.notebook, run, (before + after) / 2)
            nbformat.write(run.notebook, notebooks / f"{run.name}.ipynb")
    if not any(run.failure for run in runs):
        measured.write_page(page, runs)
    print(f"\nThe figures are in {out}")
    _report(runs)
    return runs


def headlines(runs: Sequence[Measured]) -> list[str]:
    """The text that cells tagged `headline` printed or returned."""
    return [
        text
        for run in runs
        for cell in run.notebook.cells
        if HEADLINE_TAG in cell.metadata.get("tags", [])
        for text in map(_text, cell.get("outputs", []))
        if text
    ]


def _text(output: nbformat.NotebookNode) -> str:
    if output.output_type == "stream":
        return output.text if output.name == "stdout" else ""
    return output.get("data", {}).get("text/plain", "")


def _notebook_paths(folder: Path) -> list[Path]:
    paths = sorted(folder.glob("*.ipynb"))
    if not paths:
        raise FileNotFoundError(f"The folder {folder} holds no notebook (*.ipynb) to run.")
    return paths


def _run_each(folder: Path, environment: Callable[[Path], dict[str, str]]) -> list[Measured]:
    runs = []
    for path in _notebook_paths(folder):
        run = run_notebook(path, environment(path))
        if run.failure:
            print(_failure_text(run.name, run.failure), flush=True)
        runs.append(run)
    return runs


def _delete_figures(out: Path, name: str) -> None:
    """Delete the figures of an earlier run; a figure that was renamed would stay otherwise."""
    for kind in ("png", "svg"):
        for path in out.glob(f"{name}-*.{kind}"):
            path.unlink()


def _report(runs: Sequence[Measured]) -> None:
    print("\n" + measured.terminal_table(runs))
    for text in headlines(runs):
        print("\n" + text.rstrip("\n"))
    for run in runs:
        if run.failure:
            print("\n" + _failure_text(run.name, run.failure))


def _failure_text(name: str, failure: Failure) -> str:
    heading = f"{name} failed in code cell {failure.cell_number}:"
    source = "\n".join(f"    {line}" for line in failure.source.splitlines())
    return f"{heading}\n\n{source}\n\n{failure.reason}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.course", description=__doc__)
    parser.add_argument("--notebooks", type=Path, default=ROOT / "notebooks")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run copies of the notebooks and write pages")
    run.add_argument("--out", type=Path, default=Path("build/course"))
    figures = commands.add_parser("figures", help="run the notebooks in place and write figures")
    figures.add_argument("--out", type=Path, default=Path("build/figures"))
    figures.add_argument("--page", type=Path, default=ROOT / "docs" / "benchmarks.md")
    return parser.parse_args()


def main() -> int:
    """Run the command; returns the exit status."""
    arguments = _arguments()
    if arguments.command == "run":
        runs = run_course(arguments.notebooks, arguments.out)
    else:
        runs = run_figures(arguments.notebooks, arguments.out, arguments.page)
    return 1 if any(run.failure for run in runs) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, FileNotFoundError) as error:  # they say what to do
        sys.exit(str(error))
    except KeyboardInterrupt:
        logging.disable()  # keeps asyncio from complaining about the interrupted cell
        sys.exit("\nStopped.")
