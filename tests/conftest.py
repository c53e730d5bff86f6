"""What several test modules share: Hypothesis's settings, small tables, and a run."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings

from cprec_lib import SequenceData
from cprec_lib.train import run_folder
from tests.cli import shell

# The same examples at every run, so that a red test stays red; `--hypothesis-profile=thorough`
# looks for new ones.
settings.register_profile("steady", deadline=None, max_examples=30, derandomize=True)
settings.register_profile("thorough", deadline=None, max_examples=1000)
settings.load_profile("steady")


@pytest.fixture(scope="session")
def table() -> pd.DataFrame:
    """40 users who mostly walk along a circle of 25 items, one step after the other."""
    draw = np.random.default_rng(0)
    rows = []
    for user in range(40):
        item = draw.integers(25)
        for time in range(draw.integers(5, 15)):
            item = (item + 1 if draw.random() < 0.8 else draw.integers(25)) % 25
            rows.append((user, 100 + int(item), time))
    return pd.DataFrame(rows, columns=["user", "item", "timestamp"])


@pytest.fixture(scope="session")
def data(table: pd.DataFrame) -> SequenceData:
    """The table's sequences in windows of 8 positions."""
    return SequenceData.from_interactions(table, max_len=8)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the command line's table."""
    path = tmp_path_factory.mktemp("data") / "tiny.csv"
    shell.table().to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def trained(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on that file."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    shell.succeed("train", "--dataset", tiny, "--model", "cprec", "--out", folder, *shell.LONGER)
    return folder


@pytest.fixture
def no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal must come before the data, which may take minutes to fetch."""

    def load(name: str, **reading: Any) -> None:
        raise AssertionError("the data was loaded")

    monkeypatch.setattr(run_folder, "load_sequences", load)
