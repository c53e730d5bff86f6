"""What `cprec doctor` says of a machine, whole or broken."""

import getpass
import hashlib
import importlib.metadata
import json
import platform
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from packaging.requirements import Requirement
from typer.testing import CliRunner

from cprec_lib.cli.app import app
from cprec_lib.course import doctor
from cprec_lib.course.calibration import Measurement, comment
from cprec_lib.course.doctor import Finding
from cprec_lib.logs import datasets

ROOT = Path(__file__).resolve().parents[2]


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
    data, *_ = data_findings()
    assert data.level == "fault"
    assert data.text == "ml-100k cannot be read (Permission denied)."


def test_whole_data_is_well(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "is_present", lambda name: name == "ml-100k")
    assert levels(data_findings()) == ["ok", "ok"]


@pytest.fixture
def published(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with a small ml-100k of two files, whole."""
    contents = {"ml-100k.inter": b"interactions", "ml-100k.item": b"titles"}
    files = []
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        files.append(datasets.DataFile(name, f"sha256:{hashlib.sha256(content).hexdigest()}"))
    wheel = replace(datasets.RECBOLE, files=tuple(files))
    archive = datasets.DATASETS["ml-100k"].sources[0]
    small = replace(datasets.DATASETS["ml-100k"], sources=(archive, wheel))
    monkeypatch.setitem(datasets.DATASETS, "ml-100k", small)
    return folder


def test_whole_is_what_has_the_published_checksums(published: Path) -> None:
    assert data_findings()[0] == Finding("ok", "ml-100k is present and complete")


@pytest.mark.parametrize("content", [b"", b"titleS", b"title"])
def test_the_damaged_file_is_named(content: bytes, published: Path) -> None:
    (published / "ml-100k.item").write_bytes(content)
    data, _ = data_findings()
    assert data.level == "fault"
    assert data.text.endswith("published checksums: ml-100k.item.")
    assert data.advice.startswith("Delete ml-100k.item in the data folder. Run `cprec data")


def test_a_data_set_without_one_of_its_files_is_noted(published: Path) -> None:
    (published / "ml-100k.item").unlink()
    data, _ = data_findings()
    assert (data.level, data.advice) == ("note", "Run `cprec data ml-100k`.")
    assert data.text == "ml-100k is not complete: only ml-100k.inter is there."


def test_of_the_other_data_sets_what_is_there_is_told(published: Path) -> None:
    (published / "ml-1m.zip").write_bytes(b"not what was published")
    _, other, _ = data_findings()
    assert other.level == "note"  # the course does without it
    assert "ml-1m is damaged" in other.text
    assert "cprec data ml-1m" in other.advice


@pytest.mark.parametrize(("present", "level"), [(False, "fault"), (True, "note")])
def test_a_folder_that_cannot_be_written_matters_if_data_is_missing(
    present: bool, level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CPREC_DATA", str(tmp_path / "file"))
    monkeypatch.setattr(datasets, "is_present", lambda name: present and name == "ml-100k")
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
    monkeypatch.setitem(sys.modules, "cprec_lib.logs.datasets", None)
    (finding,) = data_findings()
    assert finding.level == "note"
    assert "not checked" in finding.text


# Widgets

NEEDED = ["comm>=0.1.3", "widgetsnbextension~=4.0.16", "jupyterlab_widgets~=3.0.17"]
FITTING = {"ipywidgets": "8.1.9", "jupyterlab_widgets": "3.0.17", "widgetsnbextension": "4.0.16"}


def put_labextension(folder: Path, version: str) -> Path:
    """A folder of JupyterLab's extensions that holds the one of widgets."""
    package = folder / "labextensions" / doctor.LABEXTENSION / "package.json"
    package.parent.mkdir(parents=True)
    package.write_text(json.dumps({"name": doctor.LABEXTENSION, "version": version}))
    return folder / "labextensions"


def put_page_config(folder: Path, disabled: object) -> Path:
    """A folder of Jupyter's configuration that disables extensions of JupyterLab."""
    page = folder / "labconfig" / "page_config.json"
    page.parent.mkdir(parents=True)
    page.write_text(json.dumps({"disabledExtensions": disabled}))
    return folder


def install(monkeypatch: pytest.MonkeyPatch, versions: dict[str, str]) -> None:
    monkeypatch.setattr(doctor, "_version", versions.get)


def test_the_widgets_of_this_environment_are_named() -> None:
    (finding,) = doctor._widgets()
    assert finding.level == "ok"
    for name in ("ipywidgets", "jupyterlab_widgets", "widgetsnbextension"):
        assert f"{name} {importlib.metadata.version(name)}" in finding.text


def test_front_ends_that_fit_are_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, FITTING)
    assert list(doctor.check_front_end(NEEDED)) == []


@pytest.mark.parametrize("name", ["jupyterlab_widgets", "widgetsnbextension"])
@pytest.mark.parametrize("version", [None, "1.1.11"])
def test_a_front_end_that_does_not_fit_is_a_fault(
    name: str, version: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = {k: v for k, v in FITTING.items() if k != name}
    install(monkeypatch, {**others, name: version} if version else others)
    (finding,) = doctor.check_front_end(NEEDED)
    assert finding.level == "fault"
    assert finding.text.startswith(
        f"{name} is {version or 'not installed'}; ipywidgets 8.1.9 needs"
    )
    assert "model not found" in finding.text
    assert "pip install -r requirements.lock" in finding.advice
    assert "restart JupyterLab" in finding.advice


def test_a_missing_labextension_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, FITTING)
    (finding,) = doctor.check_labextension([tmp_path], [])
    assert finding.level == "fault"
    assert "is missing" in finding.text and "model not found" in finding.text
    assert "--force-reinstall jupyterlab_widgets==3.0.17" in finding.advice


def test_the_labextension_that_is_loaded_is_that_of_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, FITTING)
    monkeypatch.setattr(doctor, "_own_labextension_version", lambda: "5.0.16")
    old, own = put_labextension(tmp_path / "user", "3.1.0"), put_labextension(tmp_path, "5.0.16")
    assert list(doctor.check_labextension([own, old], [])) == []
    (finding,) = doctor.check_labextension([old, own], [])
    assert finding.level == "fault"
    assert f"{doctor.LABEXTENSION} 3.1.0; jupyterlab_widgets 3.0.17 has 5.0.16" in finding.text
    assert "jupyter labextension list" in finding.advice
    assert str(tmp_path) not in str(finding)


def test_the_version_of_the_packages_own_labextension_is_known() -> None:
    assert doctor._own_labextension_version() is not None


@pytest.mark.parametrize(
    ("user", "environment", "faults"),
    [
        ({}, {}, 0),
        ([], "nonsense", 0),
        ({}, {doctor.LABEXTENSION: True}, 1),
        ({doctor.LABEXTENSION: False}, {doctor.LABEXTENSION: True}, 0),
        ({f"{doctor.LABEXTENSION}:plugin": True}, {}, 1),
        ({"@jupyterlab/other": True}, {}, 0),
    ],
)
def test_a_disabled_labextension_is_a_fault(
    user: object, environment: object, faults: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, FITTING)
    monkeypatch.setattr(doctor, "_own_labextension_version", lambda: None)
    configs = [put_page_config(tmp_path / "a", user), put_page_config(tmp_path / "b", environment)]
    findings = list(doctor.check_labextension([put_labextension(tmp_path, "5.0.16")], configs))
    assert levels(findings) == ["fault"] * faults
    if findings:
        assert "jupyter labextension enable" in findings[0].advice


def test_without_ipywidgets_only_its_absence_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, {})
    assert list(doctor._widgets()) == []


# Run times


def put_notebook(folder: Path, name: str, header: str) -> None:
    folder.mkdir(exist_ok=True)
    cells = [
        {"cell_type": "code", "source": "1", "outputs": []},
        {"cell_type": "markdown", "source": ["# A title\n", header]},
    ]
    (folder / f"{name}.ipynb").write_text(json.dumps({"cells": cells}))


def header(took: str, step: float | None) -> str:
    said = f"Measured on 2 CPU cores: {took}, 0.6 GB."
    return f"<!-- measured -->{said}{comment(step) if step else ''}<!-- /measured -->"


def test_a_slower_machine_takes_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_notebook(tmp_path, "00_short", header("10 s", 0.04))
    put_notebook(tmp_path, "01_long", header("2.0 min", 0.02))
    put_notebook(tmp_path, "02_unknown", header("2.0 min", None))
    monkeypatch.setattr(doctor, "step_seconds", lambda: 0.04)
    (finding,) = doctor._run_times(tmp_path)
    assert finding.level == "ok"
    assert "00_short under a minute, 01_long about 4 minutes; together" in finding.text
    assert "estimated" in finding.text and "02_unknown" not in finding.text


def test_a_much_slower_machine_is_noted() -> None:
    recorded = {"00_one": Measurement(60, 0.02)}
    assert doctor.estimate(recorded, 0.06).level == "ok"
    finding = doctor.estimate(recorded, 0.08)
    assert finding.level == "note"
    assert "4 times" in finding.text and "Close other programs" in finding.advice


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1, "under a minute"),
        (44, "under a minute"),
        (46, "about 1 minute"),
        (130, "about 2 minutes"),
        (7200, "about 120 minutes"),
    ],
)
def test_estimates_are_rough(seconds: float, words: str) -> None:
    assert doctor._about(seconds) == words


def test_without_a_recorded_step_the_minutes_are_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "step_seconds", lambda: pytest.fail("trained for nothing"))
    put_notebook(tmp_path, "00_old", header("10 s", None))
    (tmp_path / "01_damaged.ipynb").write_text("{")
    (finding,) = doctor._run_times(tmp_path)
    assert finding.level == "note"
    assert "unknown" in finding.text
    assert list(doctor._run_times(tmp_path / "nowhere")) == []


def test_training_that_fails_leaves_the_minutes_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> float:
        raise OSError(2, "No such file", str(tmp_path / "libtorch.so"))

    monkeypatch.setattr(doctor, "step_seconds", fail)
    put_notebook(tmp_path, "00_one", header("10 s", 0.04))
    (finding,) = doctor._run_times(tmp_path)
    assert finding.level == "note"
    assert "unknown" in finding.text and str(tmp_path) not in str(finding)


def test_the_calibration_can_be_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "step_seconds", lambda: pytest.fail("trained"))
    put_notebook(tmp_path / "notebooks", "00_one", header("10 s", 0.04))
    assert not any("Run times" in f.text for f in doctor.examine(tmp_path, calibrate=False))


# The verb


def paste(folder: Path) -> str:
    """The report; no path, user or host may be in it."""
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert result.stderr == ""
    for private in (ROOT, folder, Path.home(), platform.node(), sys.prefix, sys.base_prefix):
        assert str(private) not in result.stdout
    assert getpass.getuser() not in result.stdout.replace("/", " ").split()
    return result.stdout


def test_the_report_can_be_pasted(folder: Path) -> None:
    put_ml_100k(folder)
    assert "fault ml-100k" in paste(folder)


def test_the_report_of_a_machine_with_many_faults_can_be_pasted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_ml_100k(folder)
    put_notebook(folder, "00_one", header("10 s", 0.04))
    labextensions = put_labextension(folder, "0.0.1")
    monkeypatch.setenv("JUPYTER_PATH", str(labextensions.parent))
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", str(folder / "config"))
    put_page_config(folder / "config", {doctor.LABEXTENSION: True})

    def fail() -> float:
        raise RuntimeError(f"in {folder}")

    monkeypatch.setattr(doctor, "step_seconds", fail)
    monkeypatch.setattr(doctor, "read_measurement", lambda path: Measurement(10, 0.04))
    report = paste(folder)
    for fault in ("ml-100k is damaged", "0.0.1", "is disabled", "here is unknown: training does"):
        assert fault in report


@pytest.mark.parametrize(("level", "status"), [("ok", 0), ("note", 0), ("fault", 1)])
def test_only_a_fault_fails(level: str, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    finding = Finding(level, "Something", "Do this.")
    monkeypatch.setattr(doctor, "examine", lambda: [finding])
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == status
    assert result.stdout == f"{level:6}Something Do this.\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only libgomp is told")
def test_threads_that_spin_without_a_bound_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    (note,) = doctor._spinning()
    assert note.level == "note" and "GOMP_SPINCOUNT=1000" in note.advice
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        with monkeypatch.context() as patch:
            patch.setenv(name, "PASSIVE")
            assert [*doctor._spinning()] == []
