"""What stands between this machine and the course, and what to do about it.

The findings name no path, user or host, so that they can be pasted into a bug report.
"""

from __future__ import annotations

import errno
import importlib.metadata
import os
import platform
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import cprec_lib

CHECKOUT = Path(__file__).resolve().parent.parent
DATASET = "ml-100k"
NEEDED_GB = 2  # what a notebook may take
REINSTALL = "Run `pip install -r requirements.lock` in the course's environment."


@dataclass(frozen=True)
class Finding:
    """One thing looked at. A note is worth knowing, a fault stops the course; `advice` helps."""

    level: Literal["ok", "note", "fault"]
    text: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.level:6}{self.text}" + (f" {self.advice}" if self.advice else "")


def examine(checkout: Path = CHECKOUT) -> list[Finding]:
    """Examine Python, packages, machine and data, and tell what was found. Changes nothing."""
    return [
        *_course(checkout),
        Finding("ok", f"{cpu_cores()} CPU cores"),
        _memory(),
        _accelerator(),
        *_data(),
    ]


def _course(checkout: Path) -> Iterator[Finding]:
    """Python and the packages against what the course's own files ask for."""
    project, lock = checkout / "pyproject.toml", checkout / "requirements.lock"
    if not (project.is_file() and lock.is_file()):
        yield Finding("ok", _python())
        yield Finding(
            "note",
            "The course's files are not beside the package: versions were not compared.",
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
        "Name another one, as in `make PYTHON=python3.12 course`.",
    )


def _needed(settings: dict[str, Any]) -> list[Requirement]:
    """What the library and the notebooks import: the dependencies, optional ones included."""
    texts = chain(settings["dependencies"], *settings["optional-dependencies"].values())
    return [need for need in map(Requirement, texts) if need.name != settings["name"]]


def check_needed(needed: list[Requirement]) -> list[Finding]:
    """A fault for each package that is missing or outside its range, else one finding for all."""
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
    """Name the packages whose installed version is not the one that the lock pins."""
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


def cpu_cores() -> int:
    """The cores that this process may use: a container may grant less than the machine has."""
    if hasattr(os, "sched_getaffinity"):  # Linux; elsewhere a process may use all
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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


def _data() -> Iterator[Finding]:
    """Is the data set of the course there and whole, and can others be put beside it?"""
    try:
        from cprec_lib.datasets import data_folder
    except ImportError:  # the missing package has a finding of its own
        return
    folder = data_folder()
    dataset = _dataset(folder)
    yield dataset
    problem = _why_not_writable(folder)
    if problem is None:
        yield Finding("ok", "The data folder can be written")
    else:
        yield Finding(
            "note" if dataset.level == "ok" else "fault",
            f"The data folder cannot be written ({problem}).",
            "Set CPREC_DATA to a folder that can be.",
        )


def _dataset(folder: Path) -> Finding:
    from cprec_lib.datasets import DATASETS, is_present

    fetch = f"Run `cprec data {DATASET}`."
    try:
        if is_present(DATASET):
            return Finding("ok", f"{DATASET} is there and whole")
    except OSError as error:
        text = f"{DATASET} cannot be read ({error.strerror})."
        return Finding("fault", text, "Set CPREC_DATA to a folder of your own.")
    sources = DATASETS[DATASET].sources
    if any(all((folder / file.name).is_file() for file in s.files) for s in sources):
        advice = f"Delete its files in the data folder, then: {fetch}"
        return Finding("fault", f"{DATASET} is there but damaged.", advice)
    return Finding("note", f"{DATASET} is not there yet.", fetch)


def _why_not_writable(folder: Path) -> str | None:
    """The system's reason why nothing can be put into the folder, or into the one to hold it."""
    from cprec_lib.files import check_writable

    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        check_writable(nearest)
    except OSError as error:
        return os.strerror(error.errno or errno.EIO)  # without the path, which the error names
    return None
