"""Copies of the notebooks for the learner."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cprec_lib import workbook
from cprec_lib.cli import app


@pytest.fixture
def notebooks(tmp_path: Path) -> Path:
    folder = tmp_path / "notebooks"
    folder.mkdir()
    for name in ("00_first.ipynb", "01_second.ipynb", "README.md"):
        (folder / name).write_text(f"ours: {name}\r\n")
    return folder


def test_copies_the_notebooks_byte_for_byte(notebooks: Path, tmp_path: Path) -> None:
    out = tmp_path / "some" / "my_work"
    copied, kept = workbook.copy_notebooks(out, notebooks)
    assert copied == [out / "00_first.ipynb", out / "01_second.ipynb"]
    assert kept == []
    assert sorted(out.iterdir()) == copied
    for path in copied:
        assert path.read_bytes() == (notebooks / path.name).read_bytes()


def test_never_overwrites_what_is_there(notebooks: Path, tmp_path: Path) -> None:
    out = tmp_path / "my_work"
    workbook.copy_notebooks(out, notebooks)
    (out / "00_first.ipynb").write_text("the learner's")
    (notebooks / "02_third.ipynb").write_text("new")
    copied, kept = workbook.copy_notebooks(out, notebooks)
    assert copied == [out / "02_third.ipynb"]
    assert kept == [out / "00_first.ipynb", out / "01_second.ipynb"]
    assert (out / "00_first.ipynb").read_text() == "the learner's"


def test_keeps_links_too(notebooks: Path, tmp_path: Path) -> None:
    out = tmp_path / "my_work"
    out.mkdir()
    (out / "00_first.ipynb").symlink_to(tmp_path / "on_a_drive_that_is_away.ipynb")
    _, kept = workbook.copy_notebooks(out, notebooks)
    assert kept == [out / "00_first.ipynb"]
    assert kept[0].is_symlink()


def test_without_notebooks_says_where_they_are(notebooks: Path, tmp_path: Path) -> None:
    shutil.rmtree(notebooks)
    with pytest.raises(FileNotFoundError, match="checkout of the project"):
        workbook.copy_notebooks(tmp_path / "my_work", notebooks)
    assert not (tmp_path / "my_work").exists()


def test_command_prints_the_folder_last(
    notebooks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workbook, "NOTEBOOKS", notebooks)
    monkeypatch.chdir(tmp_path)
    first, second = (CliRunner().invoke(app, ["workbook"]) for _ in range(2))
    assert first.stdout.splitlines() == [
        "copied  00_first.ipynb",
        "copied  01_second.ipynb",
        "my_work",
    ]
    assert [line.split()[0] for line in second.stdout.splitlines()] == ["kept", "kept", "my_work"]
    other = CliRunner().invoke(app, ["workbook", "--out", str(notebooks / "README.md")])
    assert other.exit_code == 1
    assert "README.md" in other.stderr
