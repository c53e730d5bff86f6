"""pyproject.toml, requirements.lock, environment.yml and the Makefile say the same."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tools import set_up

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")


def direct_dependencies() -> list[Requirement]:
    """Every requirement that pyproject.toml names, but for the project's own extras."""
    project = PROJECT["project"]
    extras, groups = project["optional-dependencies"], PROJECT["dependency-groups"]
    lists = [project["dependencies"], *extras.values(), *groups.values()]
    requirements = [Requirement(line) for line in chain.from_iterable(lists)]
    return [r for r in requirements if r.name != project["name"]]


def lock_lines() -> list[str]:
    """The lines of the lock without comments."""
    lines = [line.split(" #")[0].strip() for line in LOCK.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def pinned_versions() -> dict[str, str]:
    """Canonical name -> version, for every line of the lock."""
    pins = [Requirement(line) for line in lock_lines()]
    return {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}


@pytest.mark.parametrize("requirement", direct_dependencies(), ids=str)
def test_lock_pins_each_direct_dependency_within_its_range(requirement: Requirement) -> None:
    version = pinned_versions().get(canonicalize_name(requirement.name))
    assert version is not None, f"{requirement.name} is not in requirements.lock"
    assert requirement.specifier.contains(version)


@pytest.mark.parametrize("line", lock_lines())
def test_lock_lines_are_exact_pins(line: str) -> None:
    requirement = Requirement(line)
    assert requirement.url is None
    assert re.fullmatch(r"==[0-9a-z.]+", str(requirement.specifier))


def test_a_machine_that_only_serves_needs_the_extra_and_what_it_shares_with_training() -> None:
    """requirements-serve.txt installs the extra `serve` without torch and pandas."""
    lines = (ROOT / "requirements-serve.txt").read_text(encoding="utf-8").splitlines()
    named = {Requirement(line) for line in lines if not line.startswith("#")}
    extra = {*map(Requirement, PROJECT["project"]["optional-dependencies"]["serve"])}
    shared = named - extra
    assert extra < named
    assert shared < {*map(Requirement, PROJECT["project"]["dependencies"])}
    assert {requirement.name for requirement in shared} == {
        "numpy",
        "filelock",
        "typer",
        "lazy-loader",
    }


def test_lock_names_each_package_once() -> None:
    assert len(pinned_versions()) == len(lock_lines())


def test_lock_pins_torch_for_every_build_of_it() -> None:
    pinned = f"torch=={pinned_versions()['torch']}"
    assert PROJECT["tool"]["uv"]["constraint-dependencies"] == [pinned]


@pytest.mark.parametrize("prefix", ["nvidia", "cuda", "triton"])
def test_lock_leaves_the_packages_of_cuda_to_torch(prefix: str) -> None:
    assert [name for name in pinned_versions() if name.startswith(prefix)] == []


def test_lock_serves_every_system() -> None:
    for line in lock_lines():
        marker = Requirement(line).marker
        assert marker is None or "platform_machine" not in str(marker)


def test_python_range_is_the_same_everywhere() -> None:
    wanted = PROJECT["project"]["requires-python"]
    assert f"python {wanted}" in ENVIRONMENT["dependencies"]
    minors = [minor for minor in range(6, 20) if SpecifierSet(wanted).contains(f"3.{minor}.0")]
    assert [(3, minors[0]), (3, minors[-1])] == [set_up.OLDEST, set_up.NEWEST]
    classifiers = PROJECT["project"]["classifiers"]
    named = [c for c in classifiers if re.search(r"Python :: 3\.\d+$", c)]
    assert named == [f"Programming Language :: Python :: 3.{minor}" for minor in minors]
    assert PROJECT["tool"]["mypy"]["python_version"] == f"3.{minors[0]}"
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py3{minors[0]}"


@pytest.mark.parametrize("version", [(2, 7), (3, 10), (3, 14), (4, 0)])
def test_set_up_refuses_another_python_and_says_which_it_needs(version: tuple[int, int]) -> None:
    message = set_up.complaint(version)
    assert message is not None
    assert ".".join(map(str, version)) in message
    assert "3.11 to 3.13" in message
    assert "make PYTHON=" in message


@pytest.mark.parametrize("version", [(3, 11), (3, 12), (3, 13)])
def test_set_up_accepts_the_pythons_of_the_range(version: tuple[int, int]) -> None:
    assert set_up.complaint(version) is None


def test_set_up_names_the_way_to_a_missing_venv(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set_up.missing_module() is None
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    message = set_up.missing_module()
    assert message is not None
    assert "python3-venv" in message


def test_set_up_can_be_read_by_an_old_python() -> None:
    source = (ROOT / "tools" / "set_up.py").read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 6))


def test_every_target_is_phony_and_says_what_it_does() -> None:
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, flags=re.MULTILINE)
    described = re.findall(r"^([a-z-]+):.*  ## .+\.$", MAKEFILE, flags=re.MULTILINE)
    targets = re.findall(r"^([a-z-]+):", MAKEFILE, flags=re.MULTILINE)
    assert sorted(phony.split()) == sorted(described) == sorted(targets)


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize("command", [["make"], ["make", "help"]], ids=" ".join)
def test_make_lists_the_targets(command: list[str]) -> None:
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for target in ("course", "lab", "figures", "test", "test-browser", "lint", "help"):
        assert f"make {target} " in printed


def test_the_lab_opens_the_first_notebook_on_this_machine_only() -> None:
    (command,) = [line for line in MAKEFILE.splitlines() if "jupyterlab" in line]
    first = min((ROOT / "notebooks").glob("*.ipynb"))
    assert command.endswith(f" my_work/{first.name}")
    assert "--ip=127.0.0.1" in command


def test_citation_names_the_version_of_the_package() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(citation["version"]) == PROJECT["project"]["version"]
    assert citation["license"] == PROJECT["project"]["license"]
