"""The pages of `make course` in a browser, from their files and without a network."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from playwright.sync_api import Browser, Page, expect

from cprec_lib.course.workbook import NOTEBOOKS
from tools.execution import Measured, remove_machine_traces
from tools.pages import DOCS, write_course

NOTEBOOK_PAGES = [f"notebooks/{path.stem}" for path in sorted(NOTEBOOKS.glob("*.ipynb"))]
NAMES = ["index", *NOTEBOOK_PAGES, *(f"docs/{name}" for name in DOCS)]
WIDTHS = {"narrow": 400, "wide": 1280}
MISSING_PICTURES = """
() => [...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.alt || i.src)
"""
# Text that a reader sees outside code: formulas are elements of their own.
PROSE = """
() => {
  const copy = document.querySelector("article").cloneNode(true);
  copy.querySelectorAll("pre, code, math, style, script").forEach(e => e.remove());
  return copy.textContent;
}
"""
UNSHOWN_FORMULAS = """
() => [...document.querySelectorAll("math")]
  .filter(m => !m.getBoundingClientRect().width || !m.getBoundingClientRect().height)
  .map(m => m.textContent)
"""
# What sticks out of the window and is in no box that scrolls by itself.
TOO_WIDE = """
() => document.documentElement.scrollWidth <= document.documentElement.clientWidth ? []
  : [...document.body.querySelectorAll("*")]
      .filter(e => e.getBoundingClientRect().right > document.documentElement.clientWidth)
      .map(e => `${e.localName}.${e.className}: ${e.textContent.trim().slice(0, 60)}`)
"""
COLOURS = """
() => ["backgroundColor", "color"].map(name =>
  getComputedStyle(document.body)[name].match(/\\d+/g).slice(0, 3)
    .reduce((sum, part) => sum + Number(part), 0) / 3)
"""
RAW_FORMULA = re.compile(r"\\(frac|sum|text|mathbf|begin|cdot|left|log)|\$[^$\s][^$]*\$|\\\(|\\\[")

# In one of several processes, so that the pages are written once.
pytestmark = pytest.mark.xdist_group("pages")
light = pytest.mark.parametrize("window", ["light"], indirect=True)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pages of the notebooks as they are stored, with the outputs of their last run."""
    out = tmp_path_factory.mktemp("pages")
    runs = []
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        remove_machine_traces(notebook)
        runs.append(Measured(path.stem, notebook, 60.0, 600_000_000, None))
    write_course(runs, NOTEBOOKS, out, ["The result of the course"])
    return out


@pytest.fixture(params=["light", "dark"])
def window(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    """A window without a network, in a light or a dark colour scheme; it knows what it asked."""
    context = browser.new_context(color_scheme=request.param, offline=True)
    page = context.new_page()
    page.asked = []
    page.on("request", lambda request: page.asked.append(request.url))
    page.complaints = []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.scheme = request.param
    yield page
    context.close()


@pytest.mark.parametrize("name", NAMES)
def test_page(name: str, window: Page, pages: Path, screenshots: Path) -> None:
    window.goto((pages / f"{name}.html").as_uri())
    window.wait_for_load_state("load")
    assert window.evaluate(MISSING_PICTURES) == []
    assert RAW_FORMULA.search(window.evaluate(PROSE)) is None
    assert window.evaluate(UNSHOWN_FORMULAS) == []
    background, text = window.evaluate(COLOURS)
    assert (background > 200 and text < 60) == (window.scheme == "light")
    assert (background < 60 and text > 200) == (window.scheme == "dark")
    for label, width in WIDTHS.items():
        window.set_viewport_size({"width": width, "height": 1000})
        stem = name.replace("/", "-")
        file = screenshots / f"page-{stem}-{label}-{window.scheme}.png"
        window.screenshot(path=file, full_page=name == "index")
        assert window.evaluate(TOO_WIDE) == [], f"wider than {width} pixels"
    assert [url for url in window.asked if not url.startswith(("file:", "data:"))] == []
    assert window.complaints == []


@light
def test_search_finds_a_term(window: Page, pages: Path) -> None:
    window.goto((pages / "index.html").as_uri())
    window.locator("input[name=q]").fill("tap")
    window.keyboard.press("Enter")
    results = window.locator("ul.search li a")
    expect(results.filter(has_text="Glossary").first).to_be_visible()
    assert window.complaints == []


@light
def test_print_shows_the_text_alone(window: Page, pages: Path) -> None:
    window.goto((pages / "notebooks/02_block_decomposition.html").as_uri())
    window.emulate_media(media="print", color_scheme="dark")
    window.set_viewport_size({"width": 794, "height": 1123})  # A4
    for beside in (".sidebar-drawer", ".toc-drawer", ".mobile-header"):
        expect(window.locator(beside)).not_to_be_in_viewport()
    background, text = window.evaluate(COLOURS)
    assert background > 200 and text < 60


@light
def test_formulas_are_there(window: Page, pages: Path) -> None:
    counts = []
    for name in NOTEBOOK_PAGES:
        window.goto((pages / f"{name}.html").as_uri())
        counts.append(window.locator("math").count())
    assert sum(count > 0 for count in counts) >= 5, counts


@light
def test_links_lead_to_pages_that_are_there(window: Page, pages: Path) -> None:
    missing = []
    for name in NAMES:
        window.goto((pages / f"{name}.html").as_uri())
        for url in window.evaluate("() => [...document.links].map(link => link.href)"):
            parts = urlsplit(url)
            if parts.scheme == "file" and not Path(unquote(parts.path)).exists():
                missing.append((name, url))
    assert missing == []
