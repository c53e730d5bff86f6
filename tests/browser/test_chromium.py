"""What is said when there is no Chromium."""

import sys

import pytest

from tests.browser.chromium import VARIABLE, find_chromium


def test_the_variable_names_the_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, sys.executable)
    assert find_chromium() == sys.executable


@pytest.mark.parametrize("named", ["", "/nowhere/chrome"])
def test_a_missing_browser_is_told_how_to_install(
    named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, named)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FileNotFoundError, match="apt-get install chromium"):
        find_chromium()
