"""Each static check passes a sound notebook and finds what is wrong with a broken one."""

from collections.abc import Callable
from pathlib import Path

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tests.notebooks import notebook_checks as checks

PNG = "image/png"
MEASURED = "<!-- measured -->Measured on 2 CPU cores: 38 s, 0.9 GB.<!-- /measured -->"


def printed(text: str, name: str = "stdout") -> NotebookNode:
    return new_output("stream", name=name, text=text)


def shown(data: dict[str, str], **metadata: object) -> NotebookNode:
    return new_output("display_data", data=data, metadata=metadata)


def notebook(source: str = "x = 5 % 3", *outputs: NotebookNode, text: str = "") -> NotebookNode:
    """A sound notebook with this code and output, and this text, in its last cells."""
    heading = f"# The tail\n\nAn item in $N$.\n\n{MEASURED}\n\n![a curve](curve.png)"
    picture = shown({PNG: "abc/tmp/def="}, **{PNG: {"alt": "a curve"}})
    return new_notebook(
        cells=[
            new_markdown_cell(heading),
            new_code_cell("curve()", execution_count=1, outputs=[picture]),
            new_code_cell(""),
            new_markdown_cell(text),
            new_code_cell(source, execution_count=2, outputs=list(outputs)),
        ]
    )


@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.__name__)
def test_a_sound_notebook_passes(check: Callable[[NotebookNode], list[str]]) -> None:
    assert check(notebook()) == []


def test_invalid_format() -> None:
    broken = notebook()
    del broken.cells[1]["outputs"]
    (problem,) = checks.invalid_format(broken)
    assert "outputs" in problem


def test_errors() -> None:
    output = new_output("error", ename="ValueError", evalue="width 0", traceback=["..."])
    assert checks.errors(notebook("f(0)", output)) == ["Cell 4 ends in ValueError: width 0"]


def test_stderr() -> None:
    (problem,) = checks.stderr(notebook("f()", printed("FutureWarning", "stderr")))
    assert problem == "Cell 4 wrote to stderr: 'FutureWarning'"
    assert checks.stderr(notebook("f()", printed("fine"))) == []


def test_progress_bars() -> None:
    bar = "100%|██████████| 6/6 [00:14<00:00,  2.44s/epoch, loss 5.824]\n"
    (problem,) = checks.progress_bars(notebook("f()", printed(bar)))
    assert problem.startswith("Cell 4 shows a progress bar: '100%|")
    assert checks.progress_bars(notebook("f()", printed("20 % | 3 of 4"))) == []


@pytest.mark.parametrize("counts", [(2, 1), (1, 3), (None, None), (1, None), (0, 1)])
def test_counts_out_of_order(counts: tuple[int | None, int | None]) -> None:
    broken = notebook()
    broken.cells[1].execution_count, broken.cells[4].execution_count = counts
    assert len(checks.counts_out_of_order(broken)) == 1


UNIX_PATHS = ["home/ann/course", "root/x.py", "Users/ann/x", "tmp/a", "work/main", "var/folders/a"]
WINDOWS_PATHS = [r"C:\Users\ann", r"d:\\Users\\ann"]


@pytest.mark.parametrize("path", [*(f"/{path}" for path in UNIX_PATHS), *WINDOWS_PATHS])
def test_machine_paths(path: str) -> None:
    traceback = new_output("error", ename="E", evalue="", traceback=[f'File "{path}"'])
    for broken in (
        notebook(f"open('{path}')"),
        notebook(text=f"see {path}"),
        notebook("f()", printed(f"read {path}\n")),
        notebook("f()", shown({"text/html": f"<b>{path}</b>"})),
        notebook("f()", traceback),
    ):
        assert len(checks.machine_paths(broken)) == 1


@pytest.mark.parametrize(
    "text", ["https://example.org/tmp/a", "data/tmp/a", "../tmp/a", "homework", "/home"]
)
def test_other_paths_are_fine(text: str) -> None:
    assert checks.machine_paths(notebook(text=text)) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("%matplotlib inline", "the magic matplotlib"),
        ("%%time\nf()", "the magic time"),
        ("x = %who_ls", "the magic who_ls"),
        ("!ls", "the shell command ls"),
        ("if x:\n    !ls -l", "the shell command ls -l"),
        ("files = !ls", "the shell command ls"),
        ("print?", "the magic pinfo"),
        ("get_ipython().run_line_magic('who', '')", "the magic who"),
        ("get_ipython().system('ls')", "the shell command ls"),
    ],
)
def test_magics_and_shell_lines(source: str, found: str) -> None:
    assert checks.magics_and_shell_lines(notebook(source)) == [f"Cell 4 uses {found}"]


def test_allowed_magics_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "ALLOWED_MAGICS", frozenset({"timeit"}))
    assert checks.magics_and_shell_lines(notebook("%timeit f()")) == []
    assert checks.magics_and_shell_lines(notebook("%time f()")) != []


@pytest.mark.parametrize(
    "source", ["x % 3", "'''\n%time\n!ls\n'''", "not x", "f'{x}!'", "a.system(1)"]
)
def test_python_that_looks_like_a_magic_is_fine(source: str) -> None:
    assert checks.magics_and_shell_lines(notebook(source)) == []


@pytest.mark.parametrize(
    "output",
    [
        shown({PNG: "abc"}),
        shown({PNG: "abc"}, **{PNG: {"alt": " "}}),
        shown({"image/svg+xml": "<svg/>"}),
        shown({"text/html": "<img src='x.png'>"}),
        shown({"text/html": "<img alt='' src='x.png'>"}),
    ],
    ids=str,
)
def test_pictures_without_alt_in_outputs(output: NotebookNode) -> None:
    assert len(checks.pictures_without_alt(notebook("f()", output))) == 1


def test_pictures_without_alt_in_text() -> None:
    assert len(checks.pictures_without_alt(notebook(text="![](x.png)"))) == 1
    assert len(checks.pictures_without_alt(notebook(text='<img src="x.png">'))) == 1
    assert checks.pictures_without_alt(notebook(text='<img src="x.png" alt="a curve">')) == []


def test_unreadable_formulas() -> None:
    (problem,) = checks.unreadable_formulas(notebook(text=r"So $x$ and $\foo y$."))
    assert problem.startswith("Cell 3 ")
    assert r": \foo y (" in problem


@pytest.mark.parametrize("between", ["", "Measured some day.", "\n"])
def test_missing_measurements(between: str) -> None:
    broken = notebook()
    broken.cells[0].source = f"# The tail\n\n<!-- measured -->{between}<!-- /measured -->"
    assert len(checks.missing_measurements(broken)) == 1


COURSE = ["00_a.ipynb", "01_b.ipynb"]


def header(text: str) -> NotebookNode:
    broken = notebook()
    broken.cells[0].source = text
    return broken


def test_right_header() -> None:
    right = header("# 1. Bee\n\n[00 A](00_a.ipynb) · **01 B** (you are here)")
    assert checks.wrong_header(right, "01_b.ipynb", COURSE) == []


@pytest.mark.parametrize(
    "places",
    [
        "**01 B** (you are here)",
        "[00 A](00_a.ipynb) · [01 B](01_b.ipynb)",
        "**00 A** (you are here) · [01 B](01_b.ipynb)",
        "[01 A](00_a.ipynb) · **01 B** (you are here)",
        "[00 A](00_c.ipynb) · **01 B** (you are here)",
        "[00 A](00_a.ipynb) · **01 B** (you are here) · [02 C](02_c.ipynb)",
    ],
)
def test_wrong_map(places: str) -> None:
    (problem,) = checks.wrong_header(header(f"# 1. Bee\n\n{places}"), "01_b.ipynb", COURSE)
    assert "map" in problem


def test_wrong_number() -> None:
    wrong = header("# 2. Bee\n\n[00 A](00_a.ipynb) · **01 B** (you are here)")
    assert checks.wrong_header(wrong, "01_b.ipynb", COURSE) == ["The title has another number"]


def test_leftovers() -> None:
    broken = notebook("f()", shown({checks.WIDGET_VIEW: "{}"}))
    broken.metadata["widgets"] = {}
    broken.cells[1].metadata["execution"] = {}
    assert checks.leftovers(broken) == [
        "The notebook stores widget states",
        "Cell 1 stores when it ran",
        "Cell 4 shows a widget that no page can show",
    ]


def test_dead_links(tmp_path: Path) -> None:
    (tmp_path / "there.ipynb").touch()
    (tmp_path / "curve.png").touch()
    text = "[a](there.ipynb#part) [b](gone.ipynb) [c](https://example.org) [d](#here)"
    (problem,) = checks.dead_links(notebook(text=text), tmp_path)
    assert problem == "Cell 3 links to gone.ipynb, which is not there"


def test_too_large(tmp_path: Path) -> None:
    path = tmp_path / "00_large.ipynb"
    path.write_bytes(bytes(checks.LARGEST_BYTES))
    assert checks.too_large(path) == []
    path.write_bytes(bytes(checks.LARGEST_BYTES + 1))
    assert len(checks.too_large(path)) == 1


def test_missing_from_map() -> None:
    problems = checks.missing_from_map(["00_a.ipynb", "01_b.ipynb"], "[a](notebooks/00_a.ipynb)")
    assert problems == ["The map does not name 01_b.ipynb"]


def test_words() -> None:
    assert checks.words(notebook(text="three more words")) == checks.words(notebook()) + 3
