"""The offline kit, but for the wheels, which take gigabytes: CONTRIBUTING.md has that trial."""

import subprocess
import sys
from pathlib import Path

import pytest

from tools import offline_kit

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def kit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[str]]:
    """A kit whose pip is only asked, and what it was asked."""
    asked: list[str] = []
    monkeypatch.setattr(subprocess, "run", lambda command, check: asked.extend(map(str, command)))
    data = tmp_path / "data"
    data.mkdir()
    for name in ("ml-100k.inter", "ml-100k.item", "globo.parquet"):
        (data / name).touch()
    offline_kit.write_kit(ROOT, data, tmp_path / "kit")
    return tmp_path / "kit", asked


def test_it_holds_course_and_data(kit: tuple[Path, list[str]]) -> None:
    folder, _ = kit
    for name in (
        "Makefile",
        "requirements.lock",
        "notebooks/00_start_here.ipynb",
        "tools/course.py",
    ):
        assert (folder / name).read_bytes() == (ROOT / name).read_bytes()
    names = {path.name for path in (folder / "data").iterdir()}
    assert names == {"README.md", "ml-100k.inter", "ml-100k.item"}
    assert not list(folder.rglob("__pycache__"))
    assert not (folder / "tests").exists()  # they import benchmarks, which stays behind


def test_it_asks_pip_for_the_lock_and_what_builds_the_course(kit: tuple[Path, list[str]]) -> None:
    folder, asked = kit
    assert asked[1:5] == ["-m", "pip", "wheel", "--wheel-dir"]
    assert asked[5:] == [
        str(folder / "wheels"),
        "-r",
        str(ROOT / "requirements.lock"),
        "hatchling>=1.26",
        "editables",
    ]


def start(folder: Path, version: str) -> subprocess.CompletedProcess[str]:
    script = folder / "start.py"
    here = f'PYTHON = "{sys.version_info.major}.{sys.version_info.minor}"'
    text = script.read_text(encoding="utf-8")
    assert here in text
    script.write_text(text.replace(here, f'PYTHON = "{version}"'), encoding="utf-8")
    command = [sys.executable, script, "--no-lab"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_another_python_is_refused(
    kit: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    process = start(kit[0], "3.10")
    assert process.returncode == 1
    assert process.stderr.startswith("The wheels are for Python 3.10, and this is 3.")


def test_a_set_up_kit_is_not_set_up_again(
    kit: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    (kit[0] / ".venv").mkdir()
    (kit[0] / ".venv" / ".ready").touch()
    process = start(kit[0], f"{sys.version_info.major}.{sys.version_info.minor}")
    assert (process.returncode, process.stderr) == (0, "")


def test_missing_data_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="run `make data` first"):
        offline_kit.write_kit(ROOT, tmp_path, tmp_path / "kit")


def test_an_older_kit_is_kept(tmp_path: Path) -> None:
    (tmp_path / "kit").mkdir()
    (tmp_path / "ml-100k.inter").touch()
    with pytest.raises(FileExistsError):
        offline_kit.write_kit(ROOT, tmp_path, tmp_path / "kit")
