"""The verb `data`; doctor and workbook are tested with what they call, in tests/course."""

from pathlib import Path

import pytest

from cprec_lib.logs import datasets
from tests.cli.shell import fail, succeed

ROOT = Path(__file__).resolve().parents[2]


def test_data_lists_the_registry(tmp_path: Path) -> None:
    lines = succeed("data", "--data-dir", tmp_path).splitlines()
    assert [line.split()[0] for line in lines] == list(datasets.DATASETS)
    assert all(line.endswith("not present") for line in lines)


def test_data_tells_what_is_present(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "is_present", lambda name, data_dir: name == "ml-1m")
    lines = succeed("data").splitlines()
    assert [line for line in lines if not line.endswith("not present")] == [
        "ml-1m           present"
    ]


def test_data_counts_what_a_table_holds(tiny: Path) -> None:
    assert succeed("data", tiny) == f"{tiny}: 360 rows, 30 users, 25 items\n"


def test_data_refuses_an_unknown_name() -> None:
    assert "ml-100k" in fail("data", "ml-99")
