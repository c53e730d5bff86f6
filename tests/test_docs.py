"""The pages name files, modules and headings that are there."""

import json
import re
from pathlib import Path

import pytest

from cprec_lib.course.exercises import NOTEBOOKS, problems

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / "cprec_lib"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "data" / "README.md",
    ROOT / "results" / "README.md",
]
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def prose(page: Path) -> str:
    """The text of a page without its blocks of code."""
    return re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@each_page
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@each_page
def test_the_files_that_a_page_names_are_there(page: Path) -> None:
    names = re.findall(r"`((?:\w+/)+[\w.]+\.(?:py|pyi|md|ipynb|json))`", prose(page))
    placeholders = {"notebooks/NN_name.ipynb", "bench/ROW.json", "race/DATASET.json"}
    assert [name for name in names if not (ROOT / name).exists()] == [
        name for name in names if name in placeholders
    ]


def rooms() -> dict[str, str]:
    """What the architecture's table says of each package of the library."""
    return dict(re.findall(r"^\| `(\w+)/` \| (.+) \|$", ARCHITECTURE, flags=re.MULTILINE))


def test_the_architecture_lists_every_package() -> None:
    assert {*rooms()} == {path.parent.name for path in LIBRARY.glob("*/__init__.py")}


@pytest.mark.parametrize("package", sorted({*rooms()} - {"cli"}))
def test_the_architecture_lists_every_module(package: str) -> None:
    folder = LIBRARY / package
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    modules |= {f"{path.parent.name}/" for path in folder.glob("*/__init__.py")}
    assert {*re.findall(r"`(\w+/?)`", rooms()[package])} == modules


def test_the_library_proper_is_as_short_as_the_architecture_says() -> None:
    found = re.search(r"`model`, `data` and `train` .*?, at most ([\d,]+) lines", ARCHITECTURE)
    assert found
    files = [file for room in ("model", "data", "train") for file in (LIBRARY / room).glob("*.py")]
    lines = sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)
    assert lines <= int(found[1].replace(",", ""))


def plan(heading: str) -> list[tuple[str, int, str]]:
    """The rows of a workshop's plan: start, minutes and what is done."""
    text = (ROOT / "docs" / "workshop.md").read_text(encoding="utf-8")
    section = text.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (\d\d:\d\d) \| (\d+) \| (.+?) \|", section, flags=re.MULTILINE)
    return [(start, int(minutes), what) for start, minutes, what in rows]


@pytest.mark.parametrize("heading", ["Half a day", "A day", "Two half days"])
def test_a_workshop_adds_up_and_gives_exercises_their_minutes(heading: str) -> None:
    rows = plan(heading)
    assert rows[-1][1] == 0
    minutes = [60 * int(start[:2]) + int(start[3:]) for start, _, _ in rows]
    for (start, length, what), begin, following in zip(rows, minutes, minutes[1:], strict=False):
        assert begin + length == following, start
        for name, number in re.findall(r"Exercise `(\w+)` of (\d\d)", what):
            [notebook] = [stem for stem in NOTEBOOKS if stem.startswith(number)]
            assert problems(notebook)[name].minutes <= length, name


def test_the_workshop_has_the_minutes_of_the_notebooks() -> None:
    text = (ROOT / "docs" / "workshop.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d\d) \| (\d+) \| (\d+) \| (\d*) ?\|$", text, flags=re.MULTILINE)
    assert [number for number, *_ in rows] == [f"{n:02d}" for n in range(7)]
    for number, *minutes in rows:
        [path] = (ROOT / "notebooks").glob(f"{number}_*.ipynb")
        head = json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"]
        stated = re.search(
            r"Reading:\*\* (\d+) minutes, and (\d+) for the exercises\."
            r"(?: \*\*Optional:\*\* (\d+) minutes)?",
            "".join(head),
        )
        assert stated and [*stated.groups(default="")] == minutes, number


def test_every_module_has_its_test_file() -> None:
    """As CONTRIBUTING.md says; tests/course/exercises/test_bank.py tests those of the notebooks."""
    modules = {file.relative_to(LIBRARY) for file in LIBRARY.rglob("*.py")}
    of_notebooks = {f"{notebook.stem[3:]}.py" for notebook in (ROOT / "notebooks").glob("*.ipynb")}
    lacking = [
        str(module)
        for module in sorted(modules)
        if not module.name.startswith("__")
        and not (module.parent.name == "exercises" and module.name in of_notebooks)
        and not (ROOT / "tests" / module.parent / f"test_{module.name}").exists()
    ]
    assert lacking == []
