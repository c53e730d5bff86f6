"""The slides of `make slides` in a browser, from their files and without a network."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from cprec_lib.course.workbook import NOTEBOOKS
from tools.slides import write_slides

# In one of several processes, so that the slides are written once.
pytestmark = pytest.mark.xdist_group("slides")
NAMES = [path.stem for path in sorted(NOTEBOOKS.glob("*.ipynb"))]


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The slides of the notebooks as they are stored."""
    out = tmp_path_factory.mktemp("slides")
    write_slides(NOTEBOOKS, out)
    return out


@pytest.mark.parametrize("name", NAMES)
def test_slides(name: str, browser: Browser, slides: Path, screenshots: Path) -> None:
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 800})
    page = context.new_page()
    complaints, asked = [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto((slides / "notebooks" / f"{name}.html").as_uri())
    page.wait_for_function("() => window.Reveal && Reveal.isReady()")
    assert page.evaluate("() => Reveal.getTotalSlides()") > 20
    for number in range(3):
        page.keyboard.press("Space")
        page.wait_for_timeout(100)  # a picture of the slide, not of the change to it
        page.screenshot(path=screenshots / f"slides-{name}-{number}.png")
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert complaints == []
    context.close()
