"""The page of `cprec serve`: used by keyboard, narrow and wide, light and dark."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.serve.exported import export
from tests.serve.running import serving

# In one of several processes, so that the server starts once.
pytestmark = pytest.mark.xdist_group("serving")
WIDTHS = {"narrow": 400, "wide": 1280}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with two models."""
    folder = tmp_path_factory.mktemp("models")
    models = {name: folder / name for name in ("cross-block", "nextitnet")}
    for name, path in models.items():
        export(name, path)
    with serving(models["cross-block"], "--compare", models["nextitnet"]) as (_, port):
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture(params=["light", "dark"])
def page(request: pytest.FixtureRequest, browser: Browser, address: str) -> Iterator[Page]:
    """The page in a light or a dark colour scheme; it asks only this server and never complains."""
    context = browser.new_context(color_scheme=request.param)
    page, asked, complaints = context.new_page(), [], []
    page.on("request", lambda sent: asked.append(sent.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.scheme = request.param
    page.goto(address)
    yield page
    assert complaints == []
    assert [url for url in asked if not url.startswith((address, "data:"))] == []
    context.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_lists_change_with_each_item_chosen_by_keyboard(page: Page, width: str, screenshots: Path):
    page.set_viewport_size({"width": WIDTHS[width], "height": 900})
    query, lists = page.get_by_label("Type a part of a title"), page.locator("#lists section")
    query.focus()
    page.keyboard.type("number 1")
    expect(page.get_by_role("button", name="Item number 10", exact=True)).to_be_visible()
    page.keyboard.press("Enter")  # the first found
    expect(page.get_by_role("button", name="Remove Item number 1", exact=True)).to_be_visible()
    expect(lists).to_have_count(2)
    expect(lists.first.get_by_role("heading")).to_have_text("cross-block")
    expect(lists.first.locator("li")).to_have_count(10)
    expect(query).to_be_focused()
    page.keyboard.type("number 2")
    expect(page.get_by_role("button", name="Item number 24", exact=True)).to_be_visible()
    before = lists.first.locator("ol").text_content()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")  # the second found
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Remove Item number 20", exact=True)).to_be_visible()
    expect(lists.first.locator("ol")).not_to_have_text(before or "")
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS[width]
    page.screenshot(path=screenshots / f"serving-{width}-{page.scheme}.png")
    for _ in range(2):
        page.get_by_role("button", name="Remove").first.press("Enter")
    expect(lists).to_have_count(0)


def test_the_documentation_names_every_route(page: Page, address: str):
    page.get_by_role("link", name="The server's interface").click()
    expect(page.get_by_role("heading", name="POST /recommend")).to_be_visible()
    page.get_by_text("Answer 422").first.click()
    expect(page.locator("details[open] pre")).to_contain_text('"message"')
