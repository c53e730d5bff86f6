"""The query of docs/big.md makes the windows of the library."""

import re
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from cprec_lib import SequenceData

PAGE = Path(__file__).parents[2] / "docs" / "big.md"


def test_the_query_for_duckdb_makes_our_windows() -> None:
    draw = np.random.default_rng(0)
    rows = 400
    table = pd.DataFrame(
        {
            "user": draw.integers(0, 40, rows),
            "item": draw.integers(0, 30, rows) ** 2 % 31 + 100,
            "timestamp": draw.integers(0, 9, rows),
        }
    )
    table = table[(table["user"] > 3) | (table["timestamp"] < 1)].reset_index(drop=True)
    lengths = table["user"].value_counts()
    assert (lengths < 3).any() and (lengths > 12).any()
    log = table.assign(place=np.arange(len(table)))  # noqa: F841  # DuckDB finds it by its name
    query = re.search(r"### DuckDB\n\n```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    found = duckdb.sql(query[1]).fetchall()
    padded = [[0] * (6 - len(ids)) + ids for _, _, ids in found]

    with pytest.warns(UserWarning, match="too few to split"):
        data = SequenceData.from_interactions(table, 5)
    assert padded == data.train.tolist()
