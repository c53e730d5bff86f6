"""Every notebook of the course passes every check that needs no kernel."""

import re
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from cprec_lib.course.exercises import NOTEBOOKS as WITH_EXERCISES
from cprec_lib.course.exercises import problems
from tests.notebooks import notebook_checks as checks

ROOT = Path(__file__).resolve().parent.parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MOST_WORDS = 3000
MOST_MINUTES = 60
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> nbformat.NotebookNode:
    """A notebook as its file has it."""
    return nbformat.read(path, as_version=nbformat.NO_CONVERT)


def asks(notebook: nbformat.NotebookNode) -> bool:
    """Does a code cell check an answer to an exercise?"""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return any(re.search(r"^exercises\.\w+\.check\(", source, re.MULTILINE) for source in code)


def test_the_course_is_numbered_without_a_gap() -> None:
    numbers = {path.name[:3] for path in NOTEBOOKS}
    assert len(numbers) == len(NOTEBOOKS)
    assert numbers == {f"{n:02d}_" for n in range(len(numbers))}


@each_notebook
@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.__name__)
def test_notebook(path: Path, check: Callable[[nbformat.NotebookNode], list[str]]) -> None:
    assert check(read(path)) == []


@each_notebook
def test_links_lead_somewhere(path: Path) -> None:
    assert checks.dead_links(read(path), path.parent) == []


@each_notebook
def test_size(path: Path) -> None:
    assert checks.too_large(path) == []


@each_notebook
def test_the_header_fits_the_course(path: Path) -> None:
    names = [other.name for other in NOTEBOOKS]
    assert checks.wrong_header(read(path), path.name, names) == []


@each_notebook
def test_length(path: Path) -> None:
    assert checks.words(read(path)) <= MOST_WORDS


@pytest.mark.parametrize("name", WITH_EXERCISES)
def test_the_header_adds_up_the_minutes(name: str) -> None:
    notebook, bank = read(ROOT / "notebooks" / f"{name}.ipynb"), problems(name).values()
    needed = sum(problem.minutes for problem in bank if not problem.optional)
    optional = sum(problem.minutes for problem in bank if problem.optional)
    optional += checks.optional_reading(notebook)
    stated = rf"\*\*Reading:\*\* (\d+) minutes, and {needed} for the exercises\."
    if optional:
        stated += rf" \*\*Optional:\*\* {optional} minutes more\."
    found = re.search(rf"{stated}$", notebook.cells[0].source, flags=re.MULTILINE)
    assert found, stated
    assert int(found[1]) + needed <= MOST_MINUTES


def test_the_list_of_exercises_is_complete() -> None:
    with_checks = [path.stem for path in NOTEBOOKS if asks(read(path))]
    assert with_checks == [*WITH_EXERCISES]


def test_readme_maps_the_course() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    by_hand = re.sub(rf"{checks.OPENING}.*?{checks.CLOSING}", "", text, flags=re.DOTALL)
    assert checks.missing_from_map([path.name for path in NOTEBOOKS], by_hand) == []


def test_the_first_notebook_maps_the_course() -> None:
    text = "\n".join(cell.source for cell in read(NOTEBOOKS[0]).cells)
    assert checks.missing_from_map([path.stem for path in NOTEBOOKS[1:]], text) == []
