"""The learner's own copies of the notebooks: make them, update them, read the progress in them.

A copy that the learner has edited is never overwritten. Notebooks are read as data.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from cprec_lib.course.notebooks import Cell, read_cells
from cprec_lib.files import make_folder, sha256, write_bytes, write_text

if TYPE_CHECKING:
    from cprec_lib.course.exercises import Problem

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
RECORD = ".course.json"
"""File in the workbook with the digest of each notebook as it was copied."""

Bank = Mapping[str, Mapping[str, "Problem"]]
"""The problems of each notebook, by name."""


@dataclass(frozen=True)
class Copy:
    """A notebook of the workbook, what was done with it, and what the learner should know."""

    path: Path
    state: Literal["copied", "updated", "current", "kept"]
    text: str = ""


def refresh(out: str | Path, notebooks: Path | None = None) -> tuple[list[Copy], str]:
    """Copy the notebooks that `out` lacks, and replace older copies that nobody has edited.

    A copy counts as edited if the types or sources of its cells differ from those that were copied;
    outputs and blank cells are ignored. Returns what was done with each notebook, and a warning if
    the record of the copies was damaged, else "". Raises FileNotFoundError if there are no
    notebooks beside the package, ValueError if one of them is damaged, and OSError if `out` cannot
    be written.
    """
    course = _course(notebooks or NOTEBOOKS)
    out = make_folder(Path(out))
    before, warning = _read_record(out / RECORD)
    record, copies = dict(before), []
    for name, content in course.items():
        newest = digest(read_cells(content))
        copy = _place(out / name, content, newest, record.get(name))
        if copy.state != "kept":
            record[name] = newest
        copies.append(copy)
    if record != before:
        write_text(out / RECORD, json.dumps({"notebooks": record}, indent=1) + "\n")
    return copies, warning


def digest(cells: list[Cell]) -> str:
    """SHA-256 of the types and sources of all cells that are not blank: what a learner edits."""
    # JupyterLab adds a blank cell when the last one is run.
    content = [[cell.kind, cell.source] for cell in cells if cell.source.strip()]
    return sha256([json.dumps(content).encode()])


def _course(folder: Path) -> dict[str, bytes]:
    """The course's notebooks by file name, all readable."""
    course = {path.name: path.read_bytes() for path in sorted(folder.glob("*.ipynb"))}
    if not course:
        raise FileNotFoundError(
            "there are no notebooks beside the package: the course lives in a checkout of the "
            "project. Clone it, and run the command with the environment that `make` builds there."
        )
    for name, content in course.items():
        try:
            read_cells(content)
        except ValueError as error:
            raise ValueError(
                f"the course's own {name} is damaged: {error}. Restore it, as with "
                f"`git checkout notebooks/{name}`; nothing was copied"
            ) from error
    return course


def _place(target: Path, content: bytes, newest: str, copied: str | None) -> Copy:
    """Update one copy, or keep it; `copied` is the recorded digest."""
    if not os.path.lexists(target):
        write_bytes(target, content)
        return Copy(target, "copied")
    if target.is_symlink() or not target.is_file():
        return Copy(target, "kept", "a link or a folder of yours")
    try:
        present = digest(read_cells(target.read_bytes()))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        return Copy(target, "kept", f"cannot be read: {why}; {_rename(target)}")
    if present == newest:
        return Copy(target, "current", "as in the course")
    if copied is None:
        return Copy(target, "kept", f"not copied from here, perhaps edited; {_rename(target)}")
    if present == copied:
        write_bytes(target, content)
        return Copy(target, "updated", "the course has a newer version, and you had edited nothing")
    if copied == newest:
        return Copy(target, "kept", "edited by you")
    return Copy(target, "kept", f"edited by you; the course has a newer one; {_rename(target)}")


def _rename(path: Path) -> str:
    return f"to get the course's, rename yours to {path.stem}-mine.ipynb and run this again"


def _read_record(path: Path) -> tuple[dict[str, str], str]:
    """The digests by file name; a damaged record is renamed, with a warning."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}, ""
    try:
        digests = json.loads(content)["notebooks"]
        return {str(name): str(value) for name, value in digests.items()}, ""
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        aside = path.with_name(path.name + ".damaged")
        path.replace(aside)
        return {}, (
            f"{path.name} was damaged and is now {aside.name}; notebooks that differ from the "
            "course's are kept, whether you edited them or not"
        )


# ---- Progress ----

Status = Literal[
    "correct", "incorrect", "cannot tell", "stopped", "not attempted", "not run", "no copy"
]
ORDER: tuple[Status, ...] = get_args(Status)
"""The best status comes first; it counts if an exercise is checked in several places."""

_CHECK = re.compile(r"^[^#\n]*?\bexercises\.(\w+)\.check\(", flags=re.MULTILINE)
_VERDICT = re.compile(r"^(Correct|Incorrect|Not attempted|Cannot tell)\.", flags=re.MULTILINE)


@dataclass(frozen=True)
class Progress:
    """The status of an exercise, from the outputs that the learner saved."""

    notebook: str
    title: str
    status: Status
    minutes: int


def bank() -> Bank:
    """The problems of every notebook."""
    from cprec_lib.course.exercises import NOTEBOOKS, problems

    return {notebook: problems(notebook) for notebook in NOTEBOOKS}


def progress(out: str | Path, problems: Bank | None = None) -> tuple[list[Progress], list[str]]:
    """The status of each exercise in the copies in `out`, and the files that cannot be read.

    Renamed copies count too if their names still start with the notebook's name. Raises
    FileNotFoundError if there is no such folder.
    """
    out = Path(out)
    if not out.is_dir():
        raise FileNotFoundError(f"there is no folder {out}; `cprec workbook` makes it")
    rows, unreadable = [], []
    for notebook, of_notebook in (bank() if problems is None else problems).items():
        found: dict[str, Status] = {}
        copies = sorted(out.glob(f"{notebook}*.ipynb"))
        for path in copies:
            try:
                statuses = _statuses(read_cells(path.read_bytes()))
            except (OSError, ValueError):
                unreadable.append(path.name)
                continue
            for name, status in statuses:
                found[name] = min(status, found.get(name, status), key=ORDER.index)
        missing: Status = "not run" if copies else "no copy"
        for name, problem in of_notebook.items():
            status = found.get(name, missing)
            rows.append(Progress(notebook, problem.title, status, problem.minutes))
    return rows, unreadable


def _statuses(cells: list[Cell]) -> Iterator[tuple[str, Status]]:
    """The name of each exercise that a code cell checks, and the status in its saved output."""
    for cell in cells:
        names = _CHECK.findall(cell.source) if cell.kind == "code" else []
        verdicts = _verdicts(cell)
        # A notebook shows the value of a cell's last line: the last verdict is the last check's.
        lacking: list[Status] = [_without_verdict(cell)] * (len(names) - len(verdicts))
        yield from zip(names, [*lacking, *verdicts][-len(names) :] if names else [], strict=True)


def _verdicts(cell: Cell) -> list[Status]:
    """The statuses in a cell's outputs: one at the start of a value, one per line of a stream."""
    words = []
    for output in cell.outputs:
        data = output.get("data")
        if isinstance(data, dict):
            words += _VERDICT.findall(_text(data.get("text/plain")).partition("\n")[0])
        else:
            words += _VERDICT.findall(_text(output.get("text")))
    return [status for word in words for status in ORDER if status == word.lower()]


def _text(text: object) -> str:
    """The text of an output, or "" if the file holds something else in its place."""
    if isinstance(text, list):
        return "".join(filter(lambda line: isinstance(line, str), text))
    return text if isinstance(text, str) else ""


def _without_verdict(cell: Cell) -> Status:
    stopped = any(output.get("output_type") == "error" for output in cell.outputs)
    return "stopped" if stopped else "not run"


def table(rows: list[Progress]) -> str:
    """A table with a line for each exercise, one for each notebook and one for all."""
    width = max([len(row.title) for row in rows] + [len("exercise")])
    line = f"{{:<24}}{{:<{width + 2}}}{{:<15}}{{:>7}}".format
    lines = [line("notebook", "exercise", "status", "minutes")]
    for notebook in dict.fromkeys(row.notebook for row in rows):
        of_notebook = [row for row in rows if row.notebook == notebook]
        lines += [line(r.notebook, r.title, r.status, r.minutes) for r in of_notebook]
        lines.append(line(notebook, "all", *_totals(of_notebook)))
    return "\n".join([*lines, line("all", "", *_totals(rows))])


def _totals(rows: list[Progress]) -> tuple[str, int]:
    correct = sum(row.status == "correct" for row in rows)
    return f"{correct} of {len(rows)} correct", sum(row.minutes for row in rows)
