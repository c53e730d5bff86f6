"""The teacher's page: what it holds and where it goes."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cprec_lib.cli.app import app
from cprec_lib.course import workbook
from tests.course.bank import BANK


def test_the_page_holds_all_that_a_problem_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workbook, "bank", lambda: BANK)
    done = CliRunner().invoke(app, ["workbook", "--teacher", "--out", str(tmp_path / "new")])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "new" / "teacher.md").read_text(encoding="utf-8")
    for text in (
        "3 exercises, 29 minutes.",
        "| 00_first | 2 | 17 |",
        "## 00_first: 17 minutes",
        "## 01_second: 12 minutes",
        "### Twice a number\n\n`double`, 5 minutes, easy. To know how this works.",
        "**Task.** Write `double(number)`.\n\nIt returns twice the number.",
        "**Hint 1.** Two of them.",
        "**Hint 2.** Multiply.",
        "**Solution.**\n\n```python\ndef double(number):\n    return 2 * number\n```\n\nDoubling",
        "**Wrong answer 1.** That adds two.\n\n```python\nlambda number: number + 2\n```",
        "**Wrong answer 2.** That repeats.\n\n```python\nlambda number: (number,) * 2\n```",
        "**Wrong answer 3.** No sign.\n\n```python\n<built-in function abs>\n```",
        "**Solution.**\n\n```python\n42\n```",
        "**Wrong answer 1.** One more.\n\n```python\n41\n```",
        '```python\nclass Doubler:\n    """Doubles."""\n\n    def of(self, number):',
    ):
        assert text in page


def test_the_page_goes_to_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "bank", lambda: BANK)
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, ["workbook", "--teacher"]).exit_code == 0
    assert (tmp_path / "build" / "teacher.md").is_file()
    assert not (tmp_path / "my_work").exists()


def test_progress_and_page_are_asked_for_one_at_a_time() -> None:
    done = CliRunner().invoke(app, ["workbook", "--teacher", "--progress"])
    assert done.exit_code == 2
    assert "choose one" in done.stderr
