"""A data set with titles, and folders that cannot be written."""

from pathlib import Path

import pandas as pd
import pytest

from cprec_lib import files
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


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """No folder can be written."""

    def refuse(dir: Path) -> None:
        raise PermissionError(13, "Permission denied", str(dir / "probe"))

    monkeypatch.setattr(files.tempfile, "TemporaryFile", refuse)
