"""What the tests of figures and of explorables share."""

from typing import Any

import IPython.display
import pytest


@pytest.fixture
def shown(monkeypatch) -> list[Any]:
    """What was displayed."""
    things: list[Any] = []
    monkeypatch.delenv("CPREC_FIGURES", raising=False)
    monkeypatch.setattr(IPython.display, "display", lambda *each, **_: things.extend(each))
    return things
