"""What several test modules share: Hypothesis's settings, and one small table with its data."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings

from cprec_lib import SequenceData

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
