"""What `cprec doctor` says of a machine, whole or broken."""

import getpass
import importlib.metadata
import platform
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from packaging.requirements import Requirement
from typer.testing import CliRunner

from cprec_lib import datasets, doctor
from cprec_lib.cli import app
from cprec_lib.doctor import Finding

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty data folder."""
    monkeypatch.setenv("CPREC_DATA", str(tmp_path))
    return tmp_path


def data_findings() -> list[Finding]:
    return list(doctor._data())


def levels(findings: list[Finding]) -> list[str]:
    return [finding.level for finding in findings]


def put_ml_100k(folder: Path) -> None:
    for file in datasets.DATASETS["ml-100k"].sources[0].files:
        (folder / file.name).write_bytes(b"not what was published")


# Python and packages


@pytest.mark.parametrize(
    ("version", "level"),
    [
        ("3.10.14", "fault"),
        ("3.11.0", "ok"),
        ("3.13.9", "ok"),
        ("3.13.0rc1", "ok"),
        ("3.14.0", "fault"),
    ],
)
def test_python_must_lie_in_the_range(version: str, level: str) -> None:
    assert doctor.check_python(">=3.11,<3.14", version).level == level


def test_a_fault_of_python_names_the_range_and_the_way_out() -> None:
    text = str(doctor.check_python(">=3.11,<3.14", "3.10.14"))
    assert ">=3.11" in text and "<3.14" in text
    assert "make PYTHON=" in text


def test_missing_and_old_packages_are_faults() -> None:
    needed = [Requirement(text) for text in ("numpy>=99", "no-such-package>=1", "pytest>=1")]
    old, missing = doctor.check_needed(needed)
    assert (old.level, missing.level) == ("fault", "fault")
    installed = importlib.metadata.version("numpy")
    assert old.text == f"numpy {installed} is installed, the course needs >=99."
    assert missing.text == "no-such-package is not installed."
    assert "pip install -r requirements.lock" in old.advice


def test_packages_that_fit_are_listed_with_their_versions() -> None:
    (finding,) = doctor.check_needed([Requirement("numpy>=2"), Requirement("torch>=2.11")])
    assert finding.level == "ok"
    assert f"numpy {importlib.metadata.version('numpy')}" in finding.text
    assert f"torch {importlib.metadata.version('torch')}" in finding.text


def test_what_is_needed_are_the_dependencies_and_the_extras() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {need.name for need in doctor._needed(settings)}
    assert {"torch", "typer", "matplotlib", "jupyterlab"} <= names
    assert not names & {"cprec-lib", "pytest"}


def test_the_lock_is_compared_with_what_is_installed() -> None:
    version = importlib.metadata.version("numpy")
    lock = f"""
# a comment
numpy=={version}          # via pandas
pytest==1.0               # via somebody
no-such-package==1.2
not-for-this-one==3 ; sys_platform == 'nowhere'  # via a marker
"""
    finding = doctor.check_lock(lock)
    assert finding.level == "note"
    assert f"pytest {importlib.metadata.version('pytest')} (==1.0)" in finding.text
    assert "no-such-package is missing (==1.2)" in finding.text
    assert "numpy" not in finding.text
    assert "not-for-this-one" not in finding.text
    assert doctor.check_lock(f"numpy=={version}\n").level == "ok"


def test_the_lock_pins_a_build_of_torch_by_its_public_version() -> None:
    public = importlib.metadata.version("torch").split("+")[0]
    assert doctor.check_lock(f"torch=={public}  # via cprec-lib\n").level == "ok"


def test_the_courses_own_lock_can_be_read() -> None:
    finding = doctor.check_lock((ROOT / "requirements.lock").read_text(encoding="utf-8"))
    assert finding.level in ("ok", "note")


def test_outside_a_checkout_versions_are_not_compared(tmp_path: Path, folder: Path) -> None:
    findings = doctor.examine(tmp_path)
    assert levels(findings)[:2] == ["ok", "note"]
    assert platform.python_version() in findings[0].text
    assert "checkout" in findings[1].advice


# Machine


@pytest.mark.parametrize(("free", "level"), [(1.9e9, "note"), (2e9, "ok")])
def test_little_memory_is_noted(free: float, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = SimpleNamespace(total=8e9, available=free)
    monkeypatch.setitem(sys.modules, "psutil", SimpleNamespace(virtual_memory=lambda: memory))
    finding = doctor._memory()
    assert finding.level == level
    assert f"Memory 8.0 GB, {free / 1e9:.1f} GB free" in finding.text


def test_memory_is_unknown_without_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert doctor._memory().level == "note"


def test_a_torch_that_does_not_load_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert doctor._accelerator().level == "fault"


def test_a_gpu_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Some GPU")
    assert "Some GPU" in doctor._accelerator().text


# Data


def test_data_that_is_not_there_is_noted(folder: Path) -> None:
    data, writable = data_findings()
    assert levels([data, writable]) == ["note", "ok"]
    assert "cprec data ml-100k" in data.advice
    assert list(folder.iterdir()) == []


def test_damaged_data_is_a_fault(folder: Path) -> None:
    put_ml_100k(folder)
    data, _ = data_findings()
    assert data.level == "fault"
    assert "damaged" in data.text
    assert "Delete" in data.advice


def test_data_that_cannot_be_read_is_a_fault(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> bool:
        raise PermissionError(13, "Permission denied", str(folder / "ml-100k.zip"))

    monkeypatch.setattr(datasets, "is_present", refuse)
    data, _ = data_findings()
    assert data.level == "fault"
    assert data.text == "ml-100k cannot be read (Permission denied)."


def test_whole_data_is_well(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "is_present", lambda name: True)
    assert levels(data_findings()) == ["ok", "ok"]


@pytest.mark.parametrize(("present", "level"), [(False, "fault"), (True, "note")])
def test_a_folder_that_cannot_be_written_matters_if_data_is_missing(
    present: bool, level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CPREC_DATA", str(tmp_path / "file"))
    monkeypatch.setattr(datasets, "is_present", lambda name: present)
    _, writable = data_findings()
    assert writable.level == level
    assert "CPREC_DATA" in writable.advice
    assert str(tmp_path) not in str(writable)


def test_a_folder_to_be_made_counts_as_writable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CPREC_DATA", str(tmp_path / "not" / "yet"))
    assert data_findings()[1].level == "ok"
    assert list(tmp_path.iterdir()) == []


def test_without_pandas_the_other_findings_remain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cprec_lib.datasets", None)
    assert data_findings() == []


# The verb


def test_the_report_can_be_pasted(folder: Path) -> None:
    put_ml_100k(folder)
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "fault ml-100k" in result.stdout
    assert result.stderr == ""
    for private in (str(ROOT), str(folder), str(Path.home()), platform.node(), sys.prefix):
        assert private not in result.stdout
    words = result.stdout.replace("/", " ").split()
    assert getpass.getuser() not in words


@pytest.mark.parametrize(("level", "status"), [("ok", 0), ("note", 0), ("fault", 1)])
def test_only_a_fault_fails(level: str, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    finding = Finding(level, "Something", "Do this.")
    monkeypatch.setattr(doctor, "examine", lambda: [finding])
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == status
    assert result.stdout == f"{level:6}Something Do this.\n"
