"""The course's means on one small notebook: run all, an explorable, an exercise, an error."""

import inspect

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from playwright.sync_api import Browser, expect

from cprec_lib.course.exercises import Problem
from tests.browser import small_problems
from tests.browser.lab import CONTROL, Lab, use_control
from tests.browser.server import Server

# In one of several processes, so that the notebook runs once.
pytestmark = pytest.mark.xdist_group("small_notebook")
EXPLORABLE_CELL = """
import ipywidgets

picture = ipywidgets.HTML()
size = ipywidgets.IntSlider(value=9, min=1, max=9, description="size")
colour = ipywidgets.Dropdown(options=["navy", "teal"], description="colour")
title = ipywidgets.Combobox(value="a", options=["a", "b"], continuous_update=False)
still = ipywidgets.HTML('<img alt="nothing" src="data:image/gif;base64,">')

def draw(change=None):
    drawing = f"<svg xmlns='http://www.w3.org/2000/svg' width='{20 * size.value}' height='20'>"
    drawing += f"<rect width='100%' height='20' fill='{colour.value}'/>{title.value}</svg>"
    picture.value = f'<img alt="a bar" src="data:image/svg+xml,{drawing}">'

for control in (size, colour, title):
    control.observe(draw, "value")
draw()
inner = ipywidgets.Box([picture]).add_class("explore-inner")
display(still.add_class("still"))
ipywidgets.VBox([size, colour, title, inner]).add_class("explore-bar")
"""

STUB = """
def receptive_field(kernel_size, dilations):
    ...

exercises.field.check(receptive_field)
"""

CELLS = (
    new_markdown_cell("# A small notebook"),
    new_code_cell("import small_problems as exercises"),
    new_code_cell(EXPLORABLE_CELL.strip()),
    new_code_cell(""),
    new_code_cell(STUB.strip()),
    new_code_cell("# exercises.field.hint()\n# exercises.field.solution()"),
    *(new_markdown_cell(f"Paragraph {number}.\n\n" * 30) for number in range(9)),
    new_code_cell("print('the end')"),
)
STUB_PLACE, HINT_PLACE = 4, 5
# Without it, JupyterLab asks which kernel to take.
METADATA = {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)"}}


def write(server: Server, name: str, cells: list[nbformat.NotebookNode]) -> str:
    nbformat.write(new_notebook(cells=cells, metadata=METADATA), server.folder / name)
    return name


def text_of(problem: Problem, answer: object) -> str:
    """A cell with an answer and its check."""
    return f"{inspect.getsource(answer)}\nexercises.field.check({answer.__name__})"


@pytest.fixture(scope="module")
def lab(browser: Browser, server: Server) -> Lab:
    with Lab(browser, server, write(server, "small.ipynb", list(CELLS))) as lab:
        lab.run_all()
        yield lab


def test_every_cell_ran_and_the_file_says_so(lab: Lab) -> None:
    counts = [cell.get("execution_count") for cell in lab.saved().cells if cell.source]
    assert [count for count in counts if count] == [1, 2, 3, 4, 5]
    assert lab.errors() == []
    expect(lab.cells.last).to_contain_text("the end")


def test_nothing_is_asked_of_the_network(lab: Lab) -> None:
    assert lab.outside == []
    assert lab.complaints == []


def test_controls_change_the_picture(lab: Lab) -> None:
    expect(lab.explorables).to_have_count(1)
    controls = lab.explorables.locator(CONTROL)
    expect(controls).to_have_count(3)
    for control in controls.all():
        use_control(control, lab.explorables.locator("img"))


def test_a_control_without_effect_is_noticed(lab: Lab) -> None:
    control = lab.explorables.locator("select")
    with pytest.raises(AssertionError, match="stayed as it was"):
        use_control(control, lab.page.locator(".still img"))


def test_an_exercise_is_solved(lab: Lab) -> None:
    expect(lab.cells.nth(STUB_PLACE)).to_contain_text("Not attempted.")
    lab.write(STUB_PLACE, text_of(small_problems.field, small_problems.without_itself))
    expect(lab.run(STUB_PLACE)).to_contain_text("Incorrect. The position itself is missing.")
    lab.write(STUB_PLACE, text_of(small_problems.field, small_problems.receptive_field))
    expect(lab.run(STUB_PLACE)).to_contain_text("Correct.")


def test_a_hint_is_shown(lab: Lab) -> None:
    lab.uncomment(HINT_PLACE, ".hint()")
    expect(lab.run(HINT_PLACE)).to_contain_text("Hint 1 of 2. Start at 1.")


def test_an_error_and_a_warning_are_noticed(browser: Browser, server: Server) -> None:
    for source, said in (
        ("raise ValueError('width 0')", "ValueError: width 0"),
        ("import sys; print('careful', file=sys.stderr)", "careful"),
    ):
        name = write(server, "broken.ipynb", [new_code_cell(source), new_code_cell("1")])
        with Lab(browser, server, name) as lab, pytest.raises(AssertionError, match=said):
            lab.run_all()
