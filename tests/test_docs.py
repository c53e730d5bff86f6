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
    # What commands write to build/ is in no checkout.
    names = re.findall(r"`(?!build/)((?:\w+/)+[\w.]+\.(?:py|pyi|md|ipynb|json))`", prose(page))
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


def workshop(heading: str) -> str:
    """A section of the workshop."""
    text = (ROOT / "docs" / "workshop.md").read_text(encoding="utf-8")
    return text.split(f"## {heading}\n")[1].split("\n## ")[0]


def plan(heading: str) -> list[tuple[str, int, str, str]]:
    """The rows of a workshop's plan: start, minutes, what is done and how."""
    pattern = r"^\| (\d\d:\d\d) \| (\d+) \| (.+?) \| (.*?) ?\|$"
    rows = re.findall(pattern, workshop(heading), flags=re.MULTILINE)
    return [(start, int(minutes), what, how) for start, minutes, what, how in rows]


def prose_of(number: str) -> str:
    """The Markdown of a notebook."""
    [path] = (ROOT / "notebooks").glob(f"{number}_*.ipynb")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def span(text: str, heading: str) -> tuple[int, int]:
    """Where a section begins and ends, with its subsections. The heading must be the whole line."""
    found = re.search(rf"^(##+) {re.escape(heading)}$", text, flags=re.MULTILINE)
    assert found, heading
    following = re.compile(rf"^#{{2,{len(found[1])}}} ", re.MULTILINE).search(text, found.end())
    return found.start(), following.start() if following else len(text)


def minutes_of(name: str, number: str) -> int:
    """The minutes that an exercise of a notebook states."""
    [notebook] = [stem for stem in NOTEBOOKS if stem.startswith(number)]
    return problems(notebook)[name].minutes


PLANS = pytest.mark.parametrize("heading", ["Half a day", "A day", "Two half days"])


@PLANS
def test_a_workshop_names_sections_that_are_on_the_thread(heading: str) -> None:
    # The headings of the others end in "(optional, N minutes)".
    for _, _, what, how in plan(heading):
        if found := re.match(r"(\d\d): (.*)", what):
            text = prose_of(found[1])
            spans = [span(text, name) for name in re.findall(r"\*(.+?)\*", found[2])]
            assert spans and spans == sorted(spans), what
            question = "**Predict before you run.**" in text[spans[0][0] : spans[-1][1]]
            assert question or "room predicts" not in how, what


@PLANS
def test_a_workshop_gives_the_fast_an_exercise(heading: str) -> None:
    for _, _, what, how in plan(heading):
        own = re.match(r"Exercise `\w+` of (\d\d)", what)
        for name, other in re.findall(r"then `(\w+)`(?: of (\d\d))?", how):
            assert own and minutes_of(name, other or own[1])
    later = re.findall(r"`(\w+)` of (\d\d) \((\d+) minutes\)", workshop(heading))
    for name, number, minutes in later:
        assert minutes_of(name, number) == int(minutes), name


@PLANS
def test_a_workshop_adds_up_and_gives_exercises_their_minutes(heading: str) -> None:
    rows = plan(heading)
    assert rows[-1][1] == 0
    minutes = [60 * int(start[:2]) + int(start[3:]) for start, *_ in rows]
    for (start, length, what, _), begin, following in zip(rows, minutes, minutes[1:], strict=False):
        assert begin + length == following, start
        for name, number in re.findall(r"Exercise `(\w+)` of (\d\d)", what):
            assert minutes_of(name, number) <= length, name


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
