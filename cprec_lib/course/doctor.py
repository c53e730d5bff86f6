"""Find what keeps the course from running on this machine, and say what to do about it.

The findings name no path, user or host, so that they can be pasted into a bug report.
"""

from __future__ import annotations

import errno
import importlib.metadata
import json
import os
import platform
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import cprec_lib
from cprec_lib.course.calibration import Measurement, read_measurement, step_seconds
from cprec_lib.files import check_writable
from cprec_lib.machine import cpu_cores

CHECKOUT = Path(__file__).resolve().parents[2]
DATASET = "ml-100k"
NEEDED_GB = 2  # memory that a notebook may take
REINSTALL = "Run `pip install -r requirements.lock` in the course's environment."
LABEXTENSION = "@jupyter-widgets/jupyterlab-manager"
MODEL_NOT_FOUND = 'Widgets show "Error displaying widget: model not found" or stay blank.'
RESTART = "Then restart JupyterLab from this environment and reload its page."
SLOW = 3  # times slower than the machine on which the notebooks were measured


@dataclass(frozen=True)
class Finding:
    """The result of one check. A note is worth knowing, a fault stops the course."""

    level: Literal["ok", "note", "fault"]
    text: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.level:6}{self.text}" + (f" {self.advice}" if self.advice else "")


def examine(checkout: Path = CHECKOUT, calibrate: bool = True) -> list[Finding]:
    """Examine Python, packages, widgets, machine and data, and return the findings.

    Changes nothing. With `calibrate`, it trains for a second or two to estimate how long the
    notebooks take on this machine.
    """
    return [
        *_course(checkout),
        *_widgets(),
        Finding("ok", f"{cpu_cores()} CPU cores"),
        _memory(),
        _accelerator(),
        *_spinning(),
        *_data(),
        *(_run_times(checkout / "notebooks") if calibrate else ()),
    ]


def _course(checkout: Path) -> Iterator[Finding]:
    """Compare Python and the packages with what the course's own files require."""
    project, lock = checkout / "pyproject.toml", checkout / "requirements.lock"
    if not (project.is_file() and lock.is_file()):
        yield Finding("ok", _python())
        yield Finding(
            "note",
            "The course's files are not beside the package, so versions were not compared.",
            "The notebooks need a checkout of the project.",
        )
        return
    settings = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    yield check_python(settings["requires-python"], platform.python_version())
    yield from check_needed(_needed(settings))
    yield check_lock(lock.read_text(encoding="utf-8"))


def _python() -> str:
    python, system = platform.python_version(), f"{platform.system()} {platform.machine()}"
    return f"cprec_lib {cprec_lib.__version__}, Python {python}, {system}"


def check_python(supported: str, version: str) -> Finding:
    """Is the Python version in the range, such as ">=3.11,<3.14"?"""
    if SpecifierSet(supported).contains(version, prereleases=True):
        return Finding("ok", _python())
    return Finding(
        "fault",
        f"{_python()}: the course needs {supported}.",
        "Name another Python, as in `make PYTHON=python3.12 course`.",
    )


def _needed(settings: dict[str, Any]) -> list[Requirement]:
    """The packages that library and notebooks import: all dependencies, optional ones included."""
    texts = chain(settings["dependencies"], *settings["optional-dependencies"].values())
    return [need for need in map(Requirement, texts) if need.name != settings["name"]]


def check_needed(needed: list[Requirement]) -> list[Finding]:
    """A fault for each package that is missing or outside its range; one finding if none is."""
    faults = []
    versions = {need.name: _version(need.name) for need in needed}
    for need in needed:
        version = versions[need.name]
        if version is None:
            faults.append(Finding("fault", f"{need.name} is not installed.", REINSTALL))
        elif not need.specifier.contains(version, prereleases=True):
            text = f"{need.name} {version} is installed, the course needs {need.specifier}."
            faults.append(Finding("fault", text, REINSTALL))
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    return faults or [Finding("ok", f"Packages of the course: {listed}")]


def check_lock(lock: str) -> Finding:
    """Name the packages whose installed version differs from the one in the lock."""
    different = []
    pins = [Requirement(line.split("#")[0]) for line in lock.splitlines() if line[:1].isalnum()]
    for pin in pins:
        version = _version(pin.name)
        if pin.marker is not None and not pin.marker.evaluate():
            continue
        if version is None or not pin.specifier.contains(version, prereleases=True):
            different.append(f"{pin.name} {version or 'is missing'} ({pin.specifier})")
    if not different:
        return Finding("ok", "Versions are those of requirements.lock")
    text = f"Versions other than those of requirements.lock: {', '.join(different)}."
    return Finding("note", text, "Numbers may differ a little. " + REINSTALL)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _widgets() -> Iterator[Finding]:
    """Check that the kernel's widgets and JupyterLab's front end fit together."""
    try:
        from jupyter_core.paths import jupyter_config_path, jupyter_path
    except ImportError:  # jupyterlab is missing too, which has a finding of its own
        return
    if _version("ipywidgets") is None:
        return
    faults = [
        *check_front_end(importlib.metadata.requires("ipywidgets") or []),
        *check_labextension(
            [Path(folder) for folder in jupyter_path("labextensions")],
            [Path(folder) for folder in jupyter_config_path()],
        ),
    ]
    names = ("ipywidgets", "jupyterlab_widgets", "widgetsnbextension")
    listed = ", ".join(f"{name} {_version(name)}" for name in names)
    yield from faults or [Finding("ok", f"Widgets: {listed}, enabled in JupyterLab")]


def check_front_end(required: list[str]) -> Iterator[Finding]:
    """A fault for each front end that ipywidgets requires and that is missing or too old.

    `required` are the requirements that ipywidgets states.
    """
    for need in map(Requirement, required):
        name, version = need.name.replace("-", "_"), _version(need.name)
        if name not in ("jupyterlab_widgets", "widgetsnbextension"):
            continue
        if version is None or not need.specifier.contains(version, prereleases=True):
            found = f"is {version}" if version else "is not installed"
            text = f"{name} {found}; ipywidgets {_version('ipywidgets')} needs {need.specifier}."
            yield Finding("fault", f"{text} {MODEL_NOT_FOUND}", f"{REINSTALL} {RESTART}")


def check_labextension(folders: list[Path], configs: list[Path]) -> Iterator[Finding]:
    """A fault if JupyterLab finds no widget extension, finds another version, or has it disabled.

    JupyterLab searches `folders` and `configs`; the first of each has the highest priority.
    """
    package = _version("jupyterlab_widgets")
    if package is None:  # check_front_end reports it
        return
    found = next(filter(None, map(_labextension_version, folders)), None)
    own = _own_labextension_version()
    again = f"Run `pip install --force-reinstall jupyterlab_widgets=={package}`. {RESTART}"
    if found is None:
        text = f"jupyterlab_widgets {package} is installed, its JupyterLab extension is missing."
        yield Finding("fault", f"{text} {MODEL_NOT_FOUND}", again)
    elif own is not None and found != own:
        text = f"JupyterLab loads {LABEXTENSION} {found}; jupyterlab_widgets {package} has {own}."
        advice = "Run `jupyter labextension list`, and remove a copy that lies elsewhere. " + again
        yield Finding("fault", f"{text} {MODEL_NOT_FOUND}", advice)
    if _is_disabled(configs):
        advice = f"Run `jupyter labextension enable {LABEXTENSION}`. {RESTART}"
        text = f"{LABEXTENSION} is disabled in JupyterLab."
        yield Finding("fault", f"{text} {MODEL_NOT_FOUND}", advice)


def _labextension_version(folder: Path) -> str | None:
    """The version of the widget extension in a folder of extensions."""
    version = _json(folder / LABEXTENSION / "package.json").get("version")
    return version if isinstance(version, str) else None


def _own_labextension_version() -> str | None:
    """The version that the installed jupyterlab_widgets contains; None if it lists no files."""
    ends = f"labextensions/{LABEXTENSION}/package.json"
    files = importlib.metadata.files("jupyterlab_widgets") or []
    own = [Path(str(f.locate())) for f in files if f.as_posix().endswith(ends)]
    return _labextension_version(own[0].parents[2]) if own else None


def _is_disabled(configs: list[Path]) -> bool:
    disabled = False
    for folder in reversed(configs):  # the folder of highest priority decides
        names = _json(folder / "labconfig" / "page_config.json").get("disabledExtensions", {})
        for name, value in names.items() if isinstance(names, dict) else ():
            if name == LABEXTENSION or name.startswith(f"{LABEXTENSION}:"):
                disabled = bool(value)
    return disabled


def _json(path: Path) -> dict[str, Any]:
    """The content of a JSON file; empty if the file is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _memory() -> Finding:
    try:
        import psutil  # type: ignore[import-untyped]
    except ImportError:
        return Finding("note", "Memory unknown: psutil is not installed.")
    memory = psutil.virtual_memory()
    text = f"Memory {memory.total / 1e9:.1f} GB, {memory.available / 1e9:.1f} GB free"
    if memory.available >= NEEDED_GB * 1e9:
        return Finding("ok", text)
    return Finding("note", f"{text}: a notebook may need {NEEDED_GB} GB.", "Close other programs.")


def _accelerator() -> Finding:
    try:
        import torch
    except (ImportError, OSError) as error:  # a missing system library is an OSError
        return Finding("fault", f"torch does not load ({type(error).__name__}).", REINSTALL)
    if torch.cuda.is_available():
        return Finding("ok", f"Accelerator {torch.cuda.get_device_name()} (CUDA)")
    if torch.backends.mps.is_available():
        return Finding("ok", "Accelerator Apple GPU (MPS)")
    return Finding("ok", "No accelerator; the course runs on the CPU")


def _spinning() -> Iterator[Finding]:
    """A note if torch was loaded before `cprec_lib` could bound how long its threads spin."""
    if sys.platform == "linux" and not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & {*os.environ}:
        yield Finding(
            "note",
            "torch's waiting threads spin without a bound here: while another program keeps a core "
            "busy, training can take many times as long.",
            "Import cprec_lib before torch, or start Python with GOMP_SPINCOUNT=1000.",
        )


def _data() -> Iterator[Finding]:
    """Check that the data sets are present and complete, and that the folder can be written."""
    try:
        from cprec_lib.logs.datasets import DATASETS, data_folder
    except (ImportError, OSError):  # the package that does not load has a finding of its own
        yield Finding("note", "The data were not checked: a package that reads them is broken.")
        return
    folder = data_folder()
    findings = {name: _dataset(name, folder) for name in DATASETS}
    yield findings[DATASET]
    for name, finding in findings.items():
        if name != DATASET and finding.level != "note":  # the course does not need the others
            yield replace(finding, level="ok" if finding.level == "ok" else "note")
    problem = _why_not_writable(folder)
    if problem is None:
        yield Finding("ok", "The data folder can be written")
    else:
        yield Finding(
            "note" if findings[DATASET].level == "ok" else "fault",
            f"The data folder cannot be written ({problem}).",
            "Set CPREC_DATA to a folder that can be written.",
        )


def _dataset(name: str, folder: Path) -> Finding:
    """Check that a data set is present and every file has its published checksum."""
    from cprec_lib.logs.datasets import DATASETS, damaged_files, is_present

    fetch = f"Run `cprec data {name}`."
    try:
        if is_present(name):
            return Finding("ok", f"{name} is present and complete")
        damaged = damaged_files(name)
    except OSError as error:
        text = f"{name} cannot be read ({error.strerror})."
        return Finding("fault", text, "Set CPREC_DATA to a folder of your own.")
    if damaged:
        listed = " and ".join(damaged)
        text = f"{name} is damaged; these files do not have their published checksums: {listed}."
        return Finding("fault", text, f"Delete {listed} in the data folder. {fetch}")
    files = [file.name for source in DATASETS[name].sources for file in source.files]
    there = [file for file in files if (folder / file).is_file()]
    if there:
        return Finding("note", f"{name} is not complete: only {', '.join(there)} is there.", fetch)
    return Finding("note", f"{name} is not downloaded yet.", fetch)


def _why_not_writable(folder: Path) -> str | None:
    """The system's reason why the folder, or the one that will contain it, cannot be written."""
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        check_writable(nearest)
    except OSError as error:
        return os.strerror(error.errno or errno.EIO)  # the error itself names the path
    return None


def _run_times(notebooks: Path) -> Iterator[Finding]:
    """How long each notebook takes here, from the ratio of a step here to one where it was run.

    Yields nothing without the course's files.
    """
    recorded = {path.stem: read_measurement(path) for path in sorted(notebooks.glob("*.ipynb"))}
    if not recorded:
        return
    known = {name: record for name, record in recorded.items() if record is not None}
    if not known:
        text = "How long the notebooks take here is unknown: they record no step to compare with."
        yield Finding("note", text, "The first lines of each say how long it took elsewhere.")
        return
    try:
        here = step_seconds()
    except (ImportError, OSError, RuntimeError) as error:
        reason = f"training does not work here ({type(error).__name__})"
        yield Finding("note", f"How long the notebooks take here is unknown: {reason}.")
        return
    yield estimate(known, here)


def estimate(recorded: dict[str, Measurement], here: float) -> Finding:
    """Rough run times of the notebooks on a machine where a step takes `here` seconds."""
    seconds = {name: r.seconds * here / r.step_seconds for name, r in recorded.items()}
    each = ", ".join(f"{name} {_about(value)}" for name, value in seconds.items())
    total, elsewhere = sum(seconds.values()), sum(r.seconds for r in recorded.values())
    text = f"Run times here, estimated by a short training: {each}; together {_about(total)}"
    if total <= SLOW * elsewhere:
        return Finding("ok", text)
    text += f". That is {total / elsewhere:.0f} times as long as where they were measured."
    advice = "Close other programs, plug in a laptop, and try again."
    return Finding("note", text, advice)


def _about(seconds: float) -> str:
    """Seconds as an estimate for a person: `about 2 minutes`."""
    if seconds < 45:
        return "under a minute"
    minutes = round(seconds / 60)
    return f"about {minutes} minute{'s' if minutes > 1 else ''}"
