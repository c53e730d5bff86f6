"""One browser and one JupyterLab for all tests of this folder."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from cprec_lib.course.workbook import refresh
from tests.browser.chromium import find_chromium
from tests.browser.server import Server, serving

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
expect.set_options(timeout=30_000)  # milliseconds; a check of an exercise may take seconds


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium, without a window."""
    try:
        path = find_chromium()
    except FileNotFoundError as error:
        pytest.fail(str(error), pytrace=False)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """JupyterLab over a learner's copies of the notebooks, in a folder outside the checkout."""
    folder = tmp_path_factory.mktemp("my_work")
    refresh(folder)
    shutil.copy(HERE / "small_problems.py", folder)
    with serving(folder, tmp_path_factory.mktemp("jupyter")) as running:
        yield running


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """Where pictures of what the browser showed are kept."""
    folder = ROOT / "build" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
