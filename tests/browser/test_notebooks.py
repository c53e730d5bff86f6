"""Every notebook of the course in JupyterLab: all cells, explorables, an exercise."""

import re
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Browser, expect

from cprec_lib.course.exercises import NOTEBOOKS, Problem, problems
from cprec_lib.course.workbook import NOTEBOOKS as FOLDER
from tests.browser.lab import CONTROL, Lab, use_control
from tests.browser.server import Server

PICTURED = ("00_start_here", "06_cprec")  # also in the dark theme and in a narrow window
MAKES_CONTROLS = re.compile(r"(\w+ = )?explore\.\w+\(")
each_notebook = pytest.mark.parametrize("name", sorted(p.stem for p in FOLDER.glob("*.ipynb")))


@each_notebook
def test_notebook(name: str, browser: Browser, server: Server, screenshots: Path) -> None:
    with Lab(browser, server, f"{name}.ipynb") as lab:
        lab.run_all()
        check_file(lab.saved())
        assert lab.errors() == []
        for explorable in lab.explorables.all():
            for control in explorable.locator(CONTROL).all():
                use_control(control, explorable.locator("img"))
        expect(lab.explorables).to_have_count(explorables(lab.path))
        if name in NOTEBOOKS:
            solve_one_exercise(lab, name)
        take_pictures(lab, name, screenshots)
        assert lab.outside == []
        assert lab.complaints == []


def check_file(notebook: nbformat.NotebookNode) -> None:
    """Every code cell has run, and none left an error or a warning."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    assert [cell.execution_count for cell in code] == [*range(1, len(code) + 1)]
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output for output in outputs if output.get("name") == "stderr"]


def explorables(notebook: Path) -> int:
    """How many cells of a notebook make controls."""
    cells = nbformat.read(notebook, as_version=4).cells
    code = (cell.source for cell in cells if cell.cell_type == "code")
    return sum(bool(MAKES_CONTROLS.match(line)) for source in code for line in source.splitlines())


def solve_one_exercise(lab: Lab, name: str) -> None:
    """Answer the notebook's first exercise wrongly and rightly, then ask for a hint."""
    exercise, problem = next(iter(problems(name).items()))
    stub = place_of(lab, f"exercises.{exercise}.check(")
    expect(lab.cells.nth(stub)).to_contain_text("Not attempted.")
    slip = problem.slips[0]
    lab.write(stub, f"exercises.{exercise}.check(exercises.{exercise}.slips[0].answer)")
    expect(lab.run(stub)).to_contain_text("Incorrect.")
    assert words(slip.message)[:30] in words(lab.cells.nth(stub).inner_text())
    lab.write(stub, solution_of(exercise, problem))
    expect(lab.run(stub)).to_contain_text("Correct.")
    hint = place_of(lab, f"exercises.{exercise}.hint()")
    lab.uncomment(hint, f"exercises.{exercise}.hint()")
    expect(lab.run(hint)).to_contain_text("Hint 1")


def solution_of(exercise: str, problem: Problem) -> str:
    """A cell with the answer that `solution()` shows, and the check of it."""
    text = problem.answer_text()
    if callable(problem.answer):
        return f"{text}\n\nexercises.{exercise}.check({problem.answer.__name__})"
    return f"exercises.{exercise}.check({text})"


def place_of(lab: Lab, text: str) -> int:
    """The place of the only code cell that holds the text."""
    cells = nbformat.read(lab.path, as_version=4).cells
    [place] = [n for n, c in enumerate(cells) if c.cell_type == "code" and text in c.source]
    return place


def words(text: str) -> str:
    """A message without the signs that Markdown turns into something else."""
    return " ".join("".join(c for c in text if c.isalnum() or c.isspace()).split())


def take_pictures(lab: Lab, name: str, folder: Path) -> None:
    """The window as it is; the two themes in two widths for some notebooks."""
    lab.page.locator(".jp-Notebook img").first.scroll_into_view_if_needed()
    lab.page.screenshot(path=folder / f"lab-{name}.png")
    if name not in PICTURED:
        return
    shown = [*lab.explorables.all(), lab.page.locator(".jp-Notebook img").first][0]
    for width, label in ((1280, "wide"), (700, "narrow")):
        for dark in (False, True):
            theme = "dark" if dark else "light"
            file = folder / f"lab-{name}-{label}-{theme}.png"
            lab.look(width, 1000, dark=dark, shown=shown, file=file)
