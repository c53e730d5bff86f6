"""The queries of docs/big.md make the windows of the library."""

import re
import shutil
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from cprec_lib import SequenceData

PAGE = (Path(__file__).parents[2] / "docs" / "big.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """A log with equal times, users of fewer than three rows and users of several windows."""
    draw = np.random.default_rng(0)
    rows = 400
    made = pd.DataFrame(
        {
            "user": draw.integers(0, 40, rows),
            "item": draw.integers(0, 30, rows) ** 2 % 31 + 100,
            "timestamp": draw.integers(0, 9, rows),
        }
    )
    made = made[(made["user"] > 3) | (made["timestamp"] < 1)].reset_index(drop=True)
    lengths = made["user"].value_counts()
    assert (lengths < 3).any() and (lengths > 12).any()
    return made


@pytest.fixture(scope="module")
def windows(table: pd.DataFrame) -> list[list[int]]:
    """Our training windows of that log, without the padding."""
    with pytest.warns(UserWarning, match="too few to split"):
        data = SequenceData.from_interactions(table, 5)
    return [[item for item in window if item] for window in data.train.tolist()]


def query(heading: str) -> str:
    """The first query under a heading of the page."""
    return re.search(rf"### {heading}\n.*?```sql\n(.*?)```", PAGE, re.DOTALL)[1]


def test_the_query_for_duckdb(table: pd.DataFrame, windows: list[list[int]]) -> None:
    log = table.assign(place=np.arange(len(table)))  # noqa: F841  # DuckDB finds it by its name
    found = duckdb.sql(query("DuckDB")).fetchall()
    assert [ids for _, _, ids in found] == windows


@pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java")
def test_the_query_for_spark(table: pd.DataFrame, windows: list[list[int]]) -> None:
    sql = pytest.importorskip("pyspark.sql")
    begin, _, _ = query("DuckDB").rpartition("SELECT")  # Spark's query differs in its end
    settings = {"spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1"}
    settings |= {"spark.sql.shuffle.partitions": "2", "spark.driver.bindAddress": "127.0.0.1"}
    session = sql.SparkSession.builder.master("local[1]").config(map=settings).getOrCreate()
    try:
        rows = table.assign(place=np.arange(len(table)))
        log = session.createDataFrame(rows.to_numpy().tolist(), [*rows])
        log.createOrReplaceTempView("log")
        found = session.sql(begin + query("Spark SQL")).collect()
    finally:
        session.stop()
    assert [row["ids"] for row in found] == windows
