"""A data set with titles."""

import pandas as pd
import pytest

from cprec_lib.big import sequences
from cprec_lib.train import run_folder
from tests.cli.shell import N_ITEMS, table


@pytest.fixture
def with_titles(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a registered data set whose item 103 has no title and two others share one."""
    titles = pd.Series({100 + i: f"Film {i}\ra tale" for i in range(N_ITEMS) if i != 3})
    titles[104] = titles[105] = "Twins"
    titles[108] = "\x1b[31m本棚\u202e"
    titles[106] = 'Film "6", a\r\ntale'
    monkeypatch.setattr(run_folder, "DATASETS", {"tiny": None})
    monkeypatch.setattr(sequences, "load_interactions", lambda *args, **reading: table())
    monkeypatch.setattr(run_folder, "load_titles", lambda name: titles)
    return "tiny"
