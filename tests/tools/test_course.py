"""The commands `run` and `figures` of tools.course, on notebooks small enough to read here."""

import base64
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import psutil
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from cprec_lib.course import calibration
from tools import course, execution, measured, pages
from tools.execution import Measured, run_notebook
from tools.memory import PeakMemory, resident_bytes

ROOT = Path(__file__).resolve().parents[2]
# nbclient sometimes waits for a cell with a widget until its time is over (nbclient#312).
TIME = r"(?:\d+ s|\d+\.\d min)"
MARKERS = "<!-- measured --><!-- /measured -->"
# The smallest PNG: one transparent pixel.
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
    "AAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)

FOLDED = "<details><summary>Answer</summary>\n\n$M$ is **one**.\n\n</details>\n\nNext."

FIGURE_CELL = f"""
import base64, os, pathlib
from IPython.display import display
if "CPREC_FIGURES" in os.environ:
    pathlib.Path(os.environ["CPREC_FIGURES"] + "-curve.svg").write_text("<svg/>")
data = base64.b64decode("{PIXEL}")
picture = {{"alt": 'a "long" <tail>', "width": 7}}
display({{"image/png": data}}, raw=True, metadata={{"image/png": picture}})
"""

WIDGET_CELL = """
import ipywidgets
ipywidgets.interact(lambda x: print(x), x=(0, 5));
"""

PROGRESS_CELL = """
from tqdm import tqdm
total = sum(tqdm(range(3)))
"""


@dataclass(frozen=True)
class Trial:
    """A folder of notebooks, and what a command made of it."""

    folder: Path
    out: Path
    page: Path
    status: int
    printed: str


def good_notebook() -> nbformat.NotebookNode:
    text = (
        f"# The tail of $N$ items\n\nSee **why** it is long.\n\n{MARKERS}\n\n"
        "[next](01_broken.ipynb#why), [**tail**](../docs/glossary.md#tail)"
    )
    formulas = "$$\\begin{aligned} a &= b \\\\ c &= \\frac{1}{2} \\end{aligned}$$"
    return new_notebook(
        cells=[
            new_markdown_cell(text),
            new_markdown_cell(formulas),
            new_markdown_cell(FOLDED),
            new_code_cell(FIGURE_CELL),
            new_code_cell(WIDGET_CELL),
            new_code_cell(""),
            new_code_cell(PROGRESS_CELL),
            new_code_cell("print('CpRec  3.3 times smaller')", metadata={"tags": ["headline"]}),
        ]
    )


def broken_notebook() -> nbformat.NotebookNode:
    stale = new_output("stream", name="stdout", text="from an earlier run")
    return new_notebook(
        cells=[
            new_markdown_cell(
                f"# Broken\n\nIt fails.\n\n- See $\\foo < x$.\n\n{MARKERS}\n\n## Why"
            ),
            new_code_cell("width = 0"),
            new_code_cell("raise ValueError('width 0 is below 1')"),
            new_code_cell("'never reached'", outputs=[stale], execution_count=9),
        ]
    )


def last_notebook() -> nbformat.NotebookNode:
    return new_notebook(
        cells=[
            new_markdown_cell(f"# Last\n\nIt runs all the same.\n\n{MARKERS}"),
            new_code_cell("1 + 1", metadata={"tags": ["headline"]}),
        ]
    )


def write_folder(folder: Path, notebooks: dict[str, nbformat.NotebookNode]) -> Path:
    """Write notebooks/ and page.md to a folder; the path of notebooks/."""
    (folder / "notebooks").mkdir()
    for name, notebook in notebooks.items():
        nbformat.write(notebook, folder / "notebooks" / f"{name}.ipynb")
    (folder / "docs").mkdir()
    (folder / "docs" / "glossary.md").write_text("# Glossary\n\n## Tail\n\nRare items.\n")
    (folder / "page.md").write_text(f"# A course\n\n{MARKERS}\n\nThe end.\n", encoding="utf-8")
    return folder / "notebooks"


def run_command(command: str, folder: Path, *options: str) -> Trial:
    """Run `python -m tools.course COMMAND` on a folder that `write_folder` made."""
    out = folder / "out"
    program = [sys.executable, "-m", "tools.course", "--notebooks", str(folder / "notebooks")]
    process = subprocess.run(
        [*program, command, "--out", str(out), *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        timeout=600,
    )
    page = folder / "page.md"
    return Trial(folder / "notebooks", out, page, process.returncode, process.stdout)


@pytest.fixture(scope="module")
def with_failure(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    """`run` on three notebooks, the second of which fails."""
    folder = tmp_path_factory.mktemp("run")
    notebooks = {"00_good": good_notebook(), "01_broken": broken_notebook()}
    write_folder(folder, {**notebooks, "02_last": last_notebook()})
    return run_command("run", folder)


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    """`figures` on two notebooks that pass, and a figure left by an earlier run."""
    folder = tmp_path_factory.mktemp("figures")
    write_folder(folder, {"00_good": good_notebook(), "02_last": last_notebook()})
    (folder / "out").mkdir()
    (folder / "out" / "00_good-renamed.png").touch()
    return run_command("figures", folder, "--page", str(folder / "page.md"))


def page(trial: Trial, name: str) -> BeautifulSoup:
    return BeautifulSoup((trial.out / name).read_text(encoding="utf-8"), "html.parser")


def executed(trial: Trial, name: str) -> nbformat.NotebookNode:
    return nbformat.read(trial.out / f"{name}.ipynb", as_version=4)


def test_a_failing_notebook_fails_the_command_after_the_others_have_run(
    with_failure: Trial,
) -> None:
    assert with_failure.status == 1
    assert [
        cell.execution_count for _, cell in execution.code_cells(executed(with_failure, "02_last"))
    ] == [1]


def test_the_error_is_shown_when_it_happens_and_again_at_the_end(with_failure: Trial) -> None:
    printed = with_failure.printed
    assert printed.count("01_broken failed in code cell 2:") == 2
    assert printed.count("    raise ValueError('width 0 is below 1')\n") >= 2
    assert printed.rstrip().endswith("ValueError: width 0 is below 1")
    assert "\x1b" not in printed.split("notebook ")[-1]


def test_progress_names_the_notebook_and_counts_its_cells(with_failure: Trial) -> None:
    assert re.search(r"00_good .*cell 4 of 4, 00:\d\d", with_failure.printed)
    assert re.search(r"01_broken .*cell 1 of 3, 00:\d\d", with_failure.printed)


def test_the_run_closes_with_a_table(with_failure: Trial) -> None:
    lines = with_failure.printed.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("notebook "))
    rows = [re.split(r"  +", line.strip()) for line in lines[start : start + 5]]
    assert rows[0] == ["notebook", "seconds", "peak memory", "status"]
    assert [(row[0], row[3]) for row in rows[1:]] == [
        ("00_good", "ok"),
        ("01_broken", "failed in code cell 2"),
        ("02_last", "ok"),
        ("all", "1 failed"),
    ]
    seconds = [float(row[1]) for row in rows[1:]]
    assert seconds[3] == pytest.approx(sum(seconds[:3]), abs=0.2)
    assert all(re.fullmatch(r"\d+\.\d GB", row[2]) for row in rows[1:])


def test_headlines_follow_the_table_as_they_are(with_failure: Trial) -> None:
    below_table = with_failure.printed.split("1 failed\n")[1]
    assert below_table.startswith("\nCpRec  3.3 times smaller\n\n2\n")


def test_a_failed_notebook_keeps_no_output_of_an_earlier_run(with_failure: Trial) -> None:
    last = executed(with_failure, "01_broken").cells[-1]
    assert last.outputs == []
    assert last.execution_count is None


def test_executed_notebooks_are_valid_and_hold_nothing_of_the_machine(with_failure: Trial) -> None:
    notebook = executed(with_failure, "00_good")
    nbformat.validate(notebook)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.language_info == {"name": "python", "pygments_lexer": "ipython3"}
    cells = execution.code_cells(notebook)
    assert [cell.execution_count for _, cell in cells] == [1, 2, 3, 4]
    assert all("execution" not in cell.metadata for _, cell in cells)


def test_widgets_and_progress_bars_leave_no_output(with_failure: Trial) -> None:
    outputs = [cell.outputs for _, cell in execution.code_cells(executed(with_failure, "00_good"))]
    assert [len(listed) for listed in outputs] == [1, 0, 0, 1]


def test_the_notebooks_themselves_stay_as_they_were(with_failure: Trial) -> None:
    stored = nbformat.read(with_failure.folder / "00_good.ipynb", as_version=4)
    assert all(cell.execution_count is None for _, cell in execution.code_cells(stored))


PAGES = [
    "index.html",
    "search.html",
    "docs/glossary.html",
    *(f"notebooks/{name}.html" for name in ("00_good", "01_broken", "02_last")),
]


@pytest.mark.parametrize("name", PAGES)
def test_pages_need_no_network(with_failure: Trial, name: str) -> None:
    soup = page(with_failure, name)
    sources = [element["src"] for element in soup.find_all(src=True)]
    sources += [element["href"] for element in soup.find_all("link", href=True)]
    assert sources
    for source in sources:
        assert not urlsplit(source).netloc, source


def test_only_the_unreadable_formula_is_warned_of(with_failure: Trial) -> None:
    warnings = [line for line in with_failure.printed.splitlines() if "WARNING" in line]
    assert len(warnings) == 2  # the index repeats what one learns
    assert all(r"The formula '\\foo < x' cannot be shown" in line for line in warnings)
    assert page(with_failure, "notebooks/01_broken.html").article.code.get_text() == r"\foo < x"


def test_formulas_are_mathml(with_failure: Trial) -> None:
    article = page(with_failure, "notebooks/00_good.html").article
    assert [element.get("display") for element in article.find_all("math")] == [
        None,
        "block",
        None,
    ]
    assert article.find("mfrac") is not None
    assert "$" not in article.get_text()


def test_a_folded_answer_stays_folded(with_failure: Trial) -> None:
    details = page(with_failure, "notebooks/00_good.html").details
    assert details.strong.get_text() == "one"
    assert details.math.mi.get_text() == "M"
    assert "Next." not in details.get_text()


def test_pictures_keep_their_alt_text_and_width(with_failure: Trial) -> None:
    (picture,) = page(with_failure, "notebooks/00_good.html").article.find_all("img")
    assert picture["alt"] == 'a "long" <tail>'
    assert picture["width"] == "7"
    data = (with_failure.out / "notebooks" / picture["src"]).read_bytes()
    assert data == base64.b64decode(PIXEL)


def test_links_lead_to_notebooks_and_terms(with_failure: Trial) -> None:
    article = page(with_failure, "notebooks/00_good.html").article
    links = {a.get_text(): a["href"] for a in article.find_all("a")}
    assert links["next"] == "01_broken.html#why"
    assert links["tail"] == "../docs/glossary.html#tail"


@pytest.mark.parametrize("name", PAGES)
def test_each_page_has_the_contents_of_the_course_and_a_search(
    with_failure: Trial, name: str
) -> None:
    sidebar = page(with_failure, name).find(class_="sidebar-drawer")
    titles = [" ".join(a.get_text().split()) for a in sidebar.find_all("a", class_="reference")]
    assert titles == ["The tail of N items", "Broken", "Last", "Glossary"]
    assert sidebar.find("input", attrs={"name": "q"}) is not None


def test_a_failed_notebooks_page_says_so_and_shows_the_error(with_failure: Trial) -> None:
    text = page(with_failure, "notebooks/01_broken.html").article.get_text()
    assert "This notebook failed in code cell 2" in text
    assert "ValueError: width 0 is below 1" in text


def test_the_index_has_a_card_of_each_notebook(with_failure: Trial) -> None:
    soup = page(with_failure, "index.html")
    cards = soup.find_all(class_="sd-card")
    links = [card.find("a", class_="sd-stretched-link")["href"] for card in cards]
    assert links == [f"notebooks/{name}.html" for name in ("00_good", "01_broken", "02_last")]
    assert cards[0].find("strong").get_text() == "why"
    assert [card.img is not None for card in cards] == [True, False, False]
    assert re.search(rf"Ran in {TIME}, \d\.\d GB\.", cards[0].get_text())
    assert "It failed in code cell 2." in cards[1].get_text()
    assert "It failed" not in cards[2].get_text()
    assert "CpRec  3.3 times smaller" in soup.get_text()


def test_figures_are_written_by_notebook_and_name(figures: Trial) -> None:
    assert figures.status == 0, figures.printed
    assert [path.name for path in figures.out.iterdir()] == ["00_good-curve.svg"]


def test_figures_run_the_notebooks_in_place(figures: Trial) -> None:
    stored = nbformat.read(figures.folder / "00_good.ipynb", as_version=4)
    assert [cell.execution_count for _, cell in execution.code_cells(stored)] == [1, 2, 3, 4]
    assert not any(
        o.output_type == "stream" and o.name == "stderr"
        for _, c in execution.code_cells(stored)
        for o in c.outputs
    )


def test_measurements_are_written_into_notebooks_and_page(figures: Trial) -> None:
    stored = nbformat.read(figures.folder / "00_good.ipynb", as_version=4)
    written = (
        rf"<!-- measured -->Measured on \d+ CPU cores: {TIME}, \d\.\d GB\."
        r"<!-- loss and gradient of a batch took \d+\.\d\d ms --><!-- /measured -->"
    )
    assert re.search(written, stored.cells[0].source)
    text = figures.page.read_text(encoding="utf-8")
    assert text.startswith("# A course\n\n<!-- measured -->\n")
    assert text.endswith("\n<!-- /measured -->\n\nThe end.\n")
    assert re.search(
        rf"\| \[02_last\]\(\.\./notebooks/02_last.ipynb\) \| {TIME} \| \d\.\d GB \|\n", text
    )
    assert re.search(rf"\| All \| {TIME} \| \d\.\d GB \|\n", text)


def test_what_is_written_into_a_header_can_be_read_for_an_estimate(tmp_path: Path) -> None:
    notebook = last_notebook()
    for seconds, read in ((86.2, 86), (210.0, 210)):
        run = Measured("02_last", notebook, seconds, 600_000_000, None)
        measured.write_header(notebook, run, step_seconds=0.04567)
        nbformat.write(notebook, tmp_path / "02_last.ipynb")
        found = calibration.read_measurement(tmp_path / "02_last.ipynb")
        assert found == calibration.Measurement(seconds=read, step_seconds=0.04567)


def test_a_notebook_that_fails_in_place_keeps_its_file(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {"01_broken": broken_notebook(), "02_last": last_notebook()})
    before = (folder / "01_broken.ipynb").read_bytes()
    page = tmp_path / "page.md"
    page_before = page.read_bytes()
    runs = course.run_figures(folder, tmp_path / "out", page)
    assert [run.status for run in runs] == ["failed in code cell 2", "ok"]
    assert (folder / "01_broken.ipynb").read_bytes() == before
    assert page.read_bytes() == page_before
    last = nbformat.read(folder / "02_last.ipynb", as_version=4)
    assert last.cells[1].execution_count == 1


def test_missing_markers_are_refused_before_anything_runs(tmp_path: Path) -> None:
    notebook = last_notebook()
    notebook.cells[0].source = "# No markers"
    folder = write_folder(tmp_path, {"00_unmarked": notebook})
    with pytest.raises(ValueError, match=r"text cell of 00_unmarked\.ipynb has 0 places"):
        course.run_figures(folder, tmp_path / "out", tmp_path / "page.md")
    assert not (tmp_path / "out").exists()


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no notebook"):
        course.run_course(tmp_path, tmp_path / "out")


def test_what_cannot_be_run_is_said_in_a_sentence(tmp_path: Path) -> None:
    write_folder(tmp_path, {})
    trial = run_command("run", tmp_path)
    assert (trial.status, trial.printed) == (
        1,
        f"The folder {trial.folder} holds no notebook (*.ipynb) to run.\n",
    )


def run_cell(folder: Path, source: str) -> Measured:
    path = folder / "one.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell(source)]), path)
    return run_notebook(path, {"COLOUR": "blue"})


def test_a_dying_kernel_is_a_failure_like_another(tmp_path: Path) -> None:
    failure = run_cell(tmp_path, "import os; os._exit(1)").failure
    assert failure is not None
    assert failure.cell_number == 1
    assert failure.source == "import os; os._exit(1)"
    assert failure.reason == "DeadKernelError: Kernel died"


def test_a_cell_that_takes_too_long_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "SECONDS_A_CELL", 1)
    run = run_cell(tmp_path, "import time; time.sleep(600)")
    assert run.failure is not None
    assert "timed out" in run.failure.reason
    assert run.seconds < 500


def test_a_run_measures_memory_and_works_in_the_notebooks_folder(tmp_path: Path) -> None:
    source = "import os; held = b'x' * 300_000_000; print(os.getcwd(), os.environ['COLOUR'])"
    run = run_cell(tmp_path, source)
    assert run.failure is None
    assert run.notebook.cells[0].outputs[0].text == f"{tmp_path.resolve()} blue\n"
    assert 300e6 < run.peak_bytes < 1000e6


def test_peak_memory_counts_child_processes() -> None:
    child = "held = b'x' * 200_000_000; input()"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE) as process:
        samples = []
        with PeakMemory(process.pid, on_sample=lambda: samples.append(1)) as memory:
            while memory.bytes < 200e6 and len(samples) < 100:
                time.sleep(0.05)
        process.communicate(b"\n", timeout=30)
    assert 200e6 < memory.bytes < 500e6


def test_a_child_that_ends_while_it_is_measured_hides_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = psutil.Process()
    monkeypatch.setattr(gone, "memory_info", lambda: (_ for _ in ()).throw(psutil.NoSuchProcess(1)))
    monkeypatch.setattr(psutil.Process, "children", lambda process, recursive: [gone])
    assert resident_bytes(os.getpid()) > 10e6


def test_a_process_that_is_gone_holds_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert resident_bytes(process.pid) == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# Title\n\nPromise\nin two lines.\n\nMore.", ("Title", "Promise\nin two lines.")),
        ("# Title\nPromise.", ("Title", "Promise.")),
        ("# Title", ("Title", "")),
        ("No heading.\n\nText.", ("", "")),
        ("", ("", "")),
    ],
)
def test_title_and_promise(text: str, expected: tuple[str, str]) -> None:
    assert pages.title_and_promise(text) == expected


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (38.2, "38 s"), (99.4, "99 s"), (210, "3.5 min")]
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert measured.duration(seconds) == words


def test_markers_must_be_there_once() -> None:
    once = f"a {MARKERS} b"
    assert measured.write_between_markers(once, measured.MARK, r"\1", "X") == (
        r"a <!-- measured -->\1<!-- /measured --> b"
    )
    for text in ("none", once + once):
        with pytest.raises(ValueError, match=r"X has [02] places"):
            measured.write_between_markers(text, measured.MARK, "new", "X")
