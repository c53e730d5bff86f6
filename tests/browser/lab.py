"""JupyterLab as its user sees it: open a notebook, run it, edit a cell, read what is shown."""

import re
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import nbformat
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Route, expect

from tests.browser.server import Server

SECONDS_A_NOTEBOOK = 1200  # two minutes on two quiet cores
DONE = re.compile(r"^\[\d+\]:$")
ERROR = '.jp-RenderedText[data-mime-type="application/vnd.jupyter.error"]'
STDERR = '.jp-RenderedText[data-mime-type="application/vnd.jupyter.stderr"]'
BROKEN_WIDGET = "text=Error displaying widget"
# An explorable's box carries a class of its own, such as explore-tail.
EXPLORABLE = ':is([class^="explore-"], [class*=" explore-"])'
CONTROL = ".noUi-handle, select, input[list]"


class Lab:
    """A browser window with one notebook open in JupyterLab.

    `complaints` are the errors of the page's console, `outside` the requests that would have left
    this machine; none is let through.
    """

    def __init__(self, browser: Browser, server: Server, name: str) -> None:
        self.server, self.name = server, name
        self.path = server.folder / name
        self.complaints: list[str] = []
        self.outside: list[str] = []
        self._context = browser.new_context(viewport={"width": 1280, "height": 1000})
        self._context.route(lambda url: not url.startswith(server.url), self._refuse)
        self.page: Page = self._context.new_page()
        self.page.on("console", self._listen)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def __enter__(self) -> Self:
        address = f"{self.server.url}/lab/tree/{self.name}?reset&token={self.server.token}"
        self.page.goto(address)
        self.wait_for_kernel()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._context.close()
        self.server.stop_kernels()

    @property
    def cells(self) -> Locator:
        """All cells, in their order."""
        return self.page.locator(".jp-Notebook .jp-Cell")

    @property
    def explorables(self) -> Locator:
        """The boxes of the explorables, without boxes inside them."""
        return self.page.locator(f".jp-Notebook {EXPLORABLE}:not({EXPLORABLE} *)")

    def choose(self, *labels: str) -> None:
        """Choose an entry of a menu, such as choose("Run", "Run All Cells")."""
        self.page.locator(
            "#jp-MainMenu .lm-MenuBar-itemLabel", has_text=_exactly(labels[0])
        ).click()
        for label in labels[1:]:
            entry = self.page.locator(".lm-Menu-itemLabel", has_text=_exactly(label))
            entry.last.click()

    def wait_for_kernel(self) -> None:
        """Wait until the kernel has started and has nothing to do."""
        # The sign beside the kernel's name shows an idle kernel before there is one.
        bar = self.page.locator("#jp-main-statusbar")
        expect(bar).to_contain_text("(ipykernel) | Idle", timeout=120_000)

    def run_all(self) -> None:
        """Run every cell by the menu; wait until the last one is done.

        Raises AssertionError with the error's text as soon as a cell shows one.
        """
        self.choose("Run", "Run All Cells")
        waiting = [self.cells.nth(place) for place in self._code_places()]
        expect(waiting[0].locator(".jp-InputPrompt")).not_to_have_text("[ ]:", timeout=20_000)
        end = time.monotonic() + SECONDS_A_NOTEBOOK
        while waiting and time.monotonic() < end:
            shown = self.errors()
            assert not shown, "\n".join(shown)
            if DONE.match(prompt(waiting[0])):
                del waiting[0]
            else:
                self.page.wait_for_timeout(1000)  # asking often slows the kernel
        assert not waiting, f"after {SECONDS_A_NOTEBOOK} s, {len(waiting)} cells were not done"
        self.wait_for_kernel()

    def run(self, place: int) -> Locator:
        """Run the cell at this place with the keyboard; its output when it is done."""
        cell = self.cells.nth(place)
        before = prompt(cell)
        cell.locator(".cm-content").press("Control+Enter")
        label = cell.locator(".jp-InputPrompt")
        expect(label).to_have_text(DONE, timeout=60_000)
        expect(label).not_to_have_text(before)
        self.wait_for_kernel()
        return cell.locator(".jp-Cell-outputArea")

    def write(self, place: int, text: str) -> None:
        """Replace the text of the cell at this place, as by select all and paste."""
        editor = self.cells.nth(place).locator(".cm-content")
        editor.click()
        editor.press("Control+a")
        self.page.keyboard.insert_text(text)
        assert editor.evaluate("e => e.cmTile?.view?.state.doc.toString() ?? e.innerText") == text

    def uncomment(self, place: int, text: str) -> None:
        """Take the comment sign off the line that holds `text`, with the keyboard."""
        line = self.cells.nth(place).locator(".cm-line", has_text=text)
        line.click()
        self.page.keyboard.press("Control+/")
        expect(line).not_to_contain_text("#")

    def errors(self) -> list[str]:
        """What the page shows of errors, warnings and widgets that do not appear."""
        shown = self.page.locator(".jp-Notebook")
        return [
            text
            for kind in (ERROR, STDERR, BROKEN_WIDGET)
            for text in shown.locator(kind).all_inner_texts()
        ]

    def saved(self) -> nbformat.NotebookNode:
        """The notebook's file after saving it with the keyboard."""
        before = self.path.stat().st_mtime_ns
        self.page.keyboard.press("Control+s")
        end = time.monotonic() + 30
        while self.path.stat().st_mtime_ns == before and time.monotonic() < end:
            self.page.wait_for_timeout(100)
        assert self.path.stat().st_mtime_ns != before, "the notebook was not saved"
        self.page.wait_for_timeout(500)
        return nbformat.read(self.path, as_version=4)

    def look(self, width: int, height: int, *, dark: bool, shown: Locator, file: Path) -> None:
        """Take a picture of what is shown in a window of this size, in one of the two themes."""
        self.page.set_viewport_size({"width": 1280, "height": height})  # every menu is there
        theme = "JupyterLab Dark" if dark else "JupyterLab Light"
        self.choose("Settings", "Theme", theme)
        expect(self.page.locator("body")).to_have_attribute("data-jp-theme-name", theme)
        self.page.set_viewport_size({"width": width, "height": height})
        shown.scroll_into_view_if_needed()
        self.page.wait_for_timeout(500)
        self.page.screenshot(path=file)

    def _code_places(self) -> list[int]:
        notebook = nbformat.read(self.path, as_version=4)
        return [
            place
            for place, cell in enumerate(notebook.cells)
            if cell.cell_type == "code" and cell.source.strip()
        ]

    def _refuse(self, route: Route) -> None:
        self.outside.append(route.request.url)
        route.abort()

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(message.text)


def prompt(cell: Locator) -> str:
    """What stands beside a code cell, such as "[3]:"; "[*]:" while it runs."""
    return cell.locator(".jp-InputPrompt").inner_text()


def use_control(control: Locator, picture: Locator) -> None:
    """Change a slider, a dropdown or a text field with the keyboard; the picture has to change."""
    before = picture.get_attribute("src")
    control.focus()
    for keys in _ways(control):
        for key in keys:
            control.press(key)
        try:
            expect(picture).not_to_have_attribute("src", before or "", timeout=30_000)
            return
        except AssertionError:
            continue
    raise AssertionError("A control was changed, and its picture stayed as it was.")


def _ways(control: Locator) -> list[list[str]]:
    """Keys that change a control; a text field is filled in already.

    At an end of a slider or a list, the first way does nothing.
    """
    kind = control.evaluate("element => element.localName")
    if kind == "select":  # JupyterLab takes the arrows, unless the list is open
        return [["Space", arrow, "Enter"] for arrow in ("ArrowDown", "ArrowUp")]
    if kind == "input":
        options = "element => [...element.list.options].map(option => option.value)"
        now = control.input_value()
        control.fill(next(option for option in control.evaluate(options) if option != now))
        return [["Enter"]]
    return [["ArrowRight"], ["ArrowLeft"]]


def _exactly(label: str) -> re.Pattern[str]:
    return re.compile(f"^{re.escape(label)}$")
