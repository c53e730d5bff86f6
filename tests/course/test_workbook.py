"""The learner's copies of the notebooks: what is replaced, what is kept, what is solved there."""

import json
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from typer.testing import CliRunner

from cprec_lib.cli.app import app
from cprec_lib.course import workbook
from cprec_lib.course.exercises import NOTEBOOKS
from cprec_lib.course.workbook import RECORD, refresh
from tests.course.bank import BANK

FIRST, SECOND = "00_first.ipynb", "01_second.ipynb"


def put(path: Path, *sources: str) -> bytes:
    """A notebook: a text cell, and a code cell for each source."""
    cells = [new_markdown_cell("# A title"), *map(new_code_cell, sources)]
    nbformat.write(new_notebook(cells=cells), path)
    return path.read_bytes()


def edit(path: Path, source: str) -> bytes:
    """Write a source into the first code cell, as JupyterLab would."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].source = source
    nbformat.write(notebook, path)
    return path.read_bytes()


def states(out: Path, notebooks: Path) -> list[str]:
    return [copy.state for copy in refresh(out, notebooks)[0]]


def texts(out: Path, notebooks: Path) -> list[str]:
    return [copy.text for copy in refresh(out, notebooks)[0]]


@pytest.fixture
def notebooks(tmp_path: Path) -> Path:
    """The course: two notebooks, and a file that is none."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    put(folder / FIRST, "1 + 1")
    put(folder / SECOND, "2 + 2")
    (folder / "README.md").write_text("not a notebook")
    return folder


@pytest.fixture
def out(notebooks: Path, tmp_path: Path) -> Path:
    """A workbook with copies of both."""
    folder = tmp_path / "some" / "my_work"
    assert states(folder, notebooks) == ["copied", "copied"]
    return folder


# Copies


def test_copies_the_notebooks_byte_for_byte(notebooks: Path, out: Path) -> None:
    assert sorted(path.name for path in out.iterdir()) == [RECORD, FIRST, SECOND]
    for name in (FIRST, SECOND):
        assert (out / name).read_bytes() == (notebooks / name).read_bytes()


def test_a_second_run_changes_nothing(notebooks: Path, out: Path) -> None:
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.iterdir()}
    assert states(out, notebooks) == ["current", "current"]
    after = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.iterdir()}
    assert before == after


def test_a_copy_that_nobody_edited_gets_the_newer_version(notebooks: Path, out: Path) -> None:
    new = put(notebooks / FIRST, "1 + 2")
    assert states(out, notebooks) == ["updated", "current"]
    assert (out / FIRST).read_bytes() == new
    newer = put(notebooks / FIRST, "1 + 3")
    assert states(out, notebooks) == ["updated", "current"]
    assert (out / FIRST).read_bytes() == newer


def test_outputs_counts_metadata_and_blank_cells_are_no_edits(notebooks: Path, out: Path) -> None:
    ran = nbformat.read(out / FIRST, as_version=4)
    ran.cells[1].execution_count = 7
    ran.cells[1].outputs = [nbformat.v4.new_output("stream", text="2")]
    ran.cells[1].metadata["collapsed"] = True
    ran.metadata["kernelspec"] = {"name": "other", "display_name": "Other"}
    ran.cells.append(new_code_cell(""))  # what JupyterLab adds after the last cell
    nbformat.write(ran, out / FIRST)
    saved = (out / FIRST).read_bytes()
    assert states(out, notebooks) == ["current", "current"]
    assert (out / FIRST).read_bytes() == saved  # with its outputs
    new = put(notebooks / FIRST, "1 + 2")
    assert states(out, notebooks) == ["updated", "current"]
    assert (out / FIRST).read_bytes() == new


def test_an_edited_copy_is_kept_and_the_learner_is_told_how_to_get_the_new_one(
    notebooks: Path, out: Path
) -> None:
    mine = edit(out / FIRST, "my answer")
    assert states(out, notebooks) == ["kept", "current"]
    assert texts(out, notebooks)[0] == "edited by you"
    new = put(notebooks / FIRST, "1 + 2")
    (kept, _), _ = refresh(out, notebooks)
    assert kept.state == "kept"
    assert "the course has a newer one" in kept.text
    assert "rename yours to 00_first-mine.ipynb" in kept.text
    assert (out / FIRST).read_bytes() == mine
    (out / FIRST).rename(out / "00_first-mine.ipynb")
    assert states(out, notebooks) == ["copied", "current"]
    assert (out / FIRST).read_bytes() == new
    assert (out / "00_first-mine.ipynb").read_bytes() == mine


def test_a_cell_that_became_text_is_an_edit(notebooks: Path, out: Path) -> None:
    notebook = nbformat.read(out / FIRST, as_version=4)
    notebook.cells[1] = new_markdown_cell(notebook.cells[1].source)
    nbformat.write(notebook, out / FIRST)
    assert states(out, notebooks) == ["kept", "current"]


def test_an_edit_taken_back_is_none(notebooks: Path, out: Path) -> None:
    edit(out / FIRST, "my answer")
    assert states(out, notebooks) == ["kept", "current"]
    edit(out / FIRST, "1 + 1")
    put(notebooks / FIRST, "1 + 2")
    assert states(out, notebooks) == ["updated", "current"]


def test_copies_made_before_there_was_a_record_are_kept(notebooks: Path, out: Path) -> None:
    (out / RECORD).unlink()
    old = put(out / FIRST, "of an older course")
    assert states(out, notebooks) == ["kept", "current"]
    assert "rename yours" in texts(out, notebooks)[0]
    assert (out / FIRST).read_bytes() == old
    # The one that is as in the course is now known, and follows it.
    put(notebooks / SECOND, "2 + 3")
    assert states(out, notebooks) == ["kept", "updated"]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b"{}", b'{"notebooks": 3}'])
def test_a_damaged_record_is_put_aside_and_the_copies_are_kept(
    content: bytes, notebooks: Path, out: Path
) -> None:
    mine = edit(out / FIRST, "my answer")
    (out / RECORD).write_bytes(content)
    put(notebooks / SECOND, "2 + 3")
    copies, warning = refresh(out, notebooks)
    assert [copy.state for copy in copies] == ["kept", "kept"]
    assert ".course.json was damaged" in warning
    assert (out / f"{RECORD}.damaged").read_bytes() == content
    assert (out / FIRST).read_bytes() == mine
    assert refresh(out, notebooks)[1] == ""


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b'{"cells": [3]}', b"[" * 10**5])
def test_a_damaged_copy_is_kept(content: bytes, notebooks: Path, out: Path) -> None:
    (out / FIRST).write_bytes(content)
    put(notebooks / FIRST, "1 + 2")
    (kept, other), _ = refresh(out, notebooks)
    assert (kept.state, other.state) == ("kept", "current")
    assert "cannot be read" in kept.text and "rename yours" in kept.text
    assert (out / FIRST).read_bytes() == content


def test_a_damaged_notebook_of_the_course_stops_before_anything_is_written(
    notebooks: Path, out: Path
) -> None:
    put(notebooks / FIRST, "1 + 2")
    (notebooks / SECOND).write_text("<<<<<<< HEAD")
    before = (out / FIRST).read_bytes()
    with pytest.raises(ValueError, match=r"01_second\.ipynb is damaged.*git checkout notebooks/01"):
        refresh(out, notebooks)
    assert (out / FIRST).read_bytes() == before


def test_links_and_folders_are_kept(notebooks: Path, tmp_path: Path) -> None:
    out = tmp_path / "my_work"
    (out / SECOND).mkdir(parents=True)
    (out / FIRST).symlink_to(tmp_path / "on_a_drive_that_is_away.ipynb")
    assert states(out, notebooks) == ["kept", "kept"]
    assert (out / FIRST).is_symlink() and (out / SECOND).is_dir()


def test_a_write_that_fails_leaves_the_old_copy(
    notebooks: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (out / FIRST).read_bytes()
    put(notebooks / FIRST, "1 + 2")

    def no_room(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(Path, "replace", no_room)
        refresh(out, notebooks)
    assert (out / FIRST).read_bytes() == before
    assert sorted(path.name for path in out.iterdir()) == [RECORD, FIRST, SECOND]
    assert states(out, notebooks) == ["updated", "current"]


def test_a_run_that_was_cut_short_before_its_record_goes_on(notebooks: Path, out: Path) -> None:
    record = (out / RECORD).read_bytes()
    put(notebooks / FIRST, "1 + 2")
    assert states(out, notebooks) == ["updated", "current"]
    (out / RECORD).write_bytes(record)
    assert states(out, notebooks) == ["current", "current"]
    put(notebooks / FIRST, "1 + 3")
    assert states(out, notebooks) == ["updated", "current"]


def test_without_notebooks_says_where_they_are(notebooks: Path, tmp_path: Path) -> None:
    shutil.rmtree(notebooks)
    with pytest.raises(FileNotFoundError, match="checkout of the project"):
        refresh(tmp_path / "my_work", notebooks)
    assert not (tmp_path / "my_work").exists()


def test_the_courses_own_notebooks_can_be_copied(tmp_path: Path) -> None:
    copies, warning = refresh(tmp_path)
    assert {copy.state for copy in copies} == {"copied"}
    assert {copy.state for copy in refresh(tmp_path)[0]} == {"current"}
    assert warning == ""


def test_command_prints_the_folder_last(
    notebooks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workbook, "NOTEBOOKS", notebooks)
    monkeypatch.chdir(tmp_path)
    first = CliRunner().invoke(app, ["workbook"])
    assert first.stdout.splitlines() == [f"copied   {FIRST}", f"copied   {SECOND}", "my_work"]
    edit(tmp_path / "my_work" / FIRST, "mine")
    (tmp_path / "my_work" / RECORD).write_text("{")
    second = CliRunner().invoke(app, ["workbook"])
    assert [line.split()[0] for line in second.stdout.splitlines()] == [
        "kept",
        "current",
        "my_work",
    ]
    assert second.stderr.startswith("Warning: .course.json was damaged")
    other = CliRunner().invoke(app, ["workbook", "--out", str(notebooks / "README.md")])
    assert other.exit_code == 1
    assert "README.md" in other.stderr


# Progress


def check_cell(name: str, said: str | None = None, kind: str = "execute_result") -> Any:
    """A cell that checks an answer, with its saved output."""
    cell = new_code_cell(f"mine = 3\nexercises.{name}.check(mine)")
    if said is not None:
        more: dict[str, Any] = {"execution_count": 1} if kind == "execute_result" else {}
        cell.outputs = [nbformat.v4.new_output(kind, {"text/plain": said}, **more)]
    return cell


def save(path: Path, *cells: Any) -> None:
    nbformat.write(new_notebook(cells=[new_markdown_cell("# A title"), *cells]), path)


def solved(out: Path) -> list[str]:
    rows, unreadable = workbook.progress(out, BANK)
    assert unreadable == []
    return [row.status for row in rows]


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("Correct.", "correct"),
        ("Correct. Doubling is multiplying by two.", "correct"),
        ("Incorrect. Nearly.\nCorrect. is not what this says", "incorrect"),
        ("Not attempted. Write your answer.", "not attempted"),
        ("Cannot tell. The check was interrupted.", "cannot tell"),
        ("Correctly said", "not run"),
        (None, "not run"),
    ],
)
def test_the_saved_output_says_how_far_it_is(said: str | None, status: str, tmp_path: Path) -> None:
    save(tmp_path / FIRST, check_cell("double", said), check_cell("answer", "Correct."))
    assert solved(tmp_path) == [status, "correct", "no copy"]


def test_a_cell_that_raised_has_stopped(tmp_path: Path) -> None:
    cell = check_cell("double")
    cell.outputs = [nbformat.v4.new_output("error", ename="E", evalue="", traceback=[])]
    save(tmp_path / FIRST, cell)
    assert solved(tmp_path) == ["stopped", "not run", "no copy"]


def test_only_checks_in_code_count(tmp_path: Path) -> None:
    comment = check_cell("double", "Correct.")
    comment.source = "# exercises.double.check(mine)\nother.double.check(mine)"
    text = new_markdown_cell("exercises.double.check(mine)")
    save(tmp_path / FIRST, comment, text)
    assert solved(tmp_path) == ["not run", "not run", "no copy"]


def test_two_checks_in_a_cell_share_its_verdicts(tmp_path: Path) -> None:
    cell = check_cell("answer", "Correct.")
    cell.source = "exercises.double.check(1)\nexercises.answer.check(42)"
    save(tmp_path / FIRST, cell)
    assert solved(tmp_path) == ["not run", "correct", "no copy"]
    cell.source = "print(exercises.double.check(1))\nprint(exercises.answer.check(42))"
    printed = "Incorrect. It gives 1.\nCorrect.\n"
    cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=printed)]
    save(tmp_path / FIRST, cell)
    assert solved(tmp_path) == ["incorrect", "correct", "no copy"]


def test_a_copy_that_was_renamed_counts_too(tmp_path: Path) -> None:
    save(tmp_path / FIRST, check_cell("double", "Not attempted."), check_cell("answer", "Correct."))
    save(tmp_path / "00_first-mine.ipynb", check_cell("double", "Correct."))
    save(tmp_path / SECOND, check_cell("answer"))
    assert solved(tmp_path) == ["correct", "correct", "not run"]


def test_a_copy_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / FIRST).write_text("{")
    save(tmp_path / SECOND, check_cell("answer", "Correct."))
    rows, unreadable = workbook.progress(tmp_path, BANK)
    assert unreadable == [FIRST]
    assert [row.status for row in rows] == ["not run", "not run", "correct"]


@pytest.mark.parametrize(
    "outputs",
    [
        [{}],
        [3],
        [{"data": 3}],
        [{"data": {"text/plain": 3}}],
        [{"data": {"text/plain": [3, "Wrong"]}}],
        [{"output_type": "stream", "text": None}],
    ],
)
def test_strange_outputs_say_nothing(outputs: list[Any], tmp_path: Path) -> None:
    cell = {"cell_type": "code", "source": "exercises.double.check(3)", "outputs": outputs}
    (tmp_path / FIRST).write_text(json.dumps({"cells": [cell]}))
    assert solved(tmp_path) == ["not run", "not run", "no copy"]


def test_nothing_that_a_notebook_holds_is_executed(tmp_path: Path) -> None:
    trap = f"open({str(tmp_path / 'trap')!r}, 'w'); exercises.double.check(__import__('os'))"
    cell = new_code_cell(trap)
    cell.outputs = check_cell("double", trap).outputs
    save(tmp_path / FIRST, cell)
    assert solved(tmp_path)[0] == "not run"
    assert not (tmp_path / "trap").exists()


def test_what_a_kernel_saves_is_understood(tmp_path: Path) -> None:
    problem = (
        "from cprec_lib.course.exercises import NOTEBOOKS, Problem, Slip\n"
        "class exercises:\n"
        "    double = Problem('T', 't', 1, 'easy', 'why', lambda n: 2 * n, ('h',), cases=[(3,)])\n"
        "    answer = Problem('T', 'task', 1, 'easy', 'why', 42, ('h',))"
    )
    checks = ("exercises.double.check(lambda n: n + n)", "exercises.answer.check(...)")
    notebook = new_notebook(cells=[new_code_cell(source) for source in (problem, *checks)])
    NotebookClient(notebook, kernel_name="python3").execute()
    nbformat.write(notebook, tmp_path / FIRST)
    assert solved(tmp_path) == ["correct", "not attempted", "no copy"]


def test_the_table_has_totals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "bank", lambda: BANK)
    save(tmp_path / FIRST, check_cell("double", "Correct."), check_cell("answer", "Incorrect."))
    (tmp_path / SECOND).write_text("{")
    done = CliRunner().invoke(app, ["workbook", "--progress", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    words = [line.split() for line in done.stdout.splitlines()]
    assert words[:7] == [
        ["notebook", "exercise", "status", "minutes"],
        ["00_first", "Twice", "a", "number", "correct", "5"],
        ["00_first", "The", "answer", "incorrect", "12"],
        ["00_first", "all", "1", "of", "2", "correct", "17"],
        ["01_second", "The", "answer", "not", "run", "12"],
        ["01_second", "all", "0", "of", "1", "correct", "12"],
        ["all", "1", "of", "3", "correct", "29"],
    ]
    assert f"Warning: {SECOND} cannot be read" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [FIRST, SECOND]


def test_progress_without_copies_says_how_to_make_them(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["workbook", "--progress", "--out", str(tmp_path / "nowhere")])
    assert done.exit_code == 1
    assert "`cprec workbook` makes it" in done.stderr


def test_the_bank_is_that_of_every_notebook() -> None:
    assert [*workbook.bank()] == [*NOTEBOOKS]
