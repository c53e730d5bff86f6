"""The tool that records the tails of data sets, and the record that is committed."""

import json
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cprec_lib.course.popularity import fit_zipf, gini
from cprec_lib.logs.datasets import title_of
from tools import record_longtail
from tools.record_longtail import DESCRIPTIONS, POINTS, main, parse_source, record, summarise

RECORD = Path(__file__).resolve().parents[2] / "results" / "longtail.json"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Item i of 1..30 occurs 60 // i times, each time for another of 7 users."""
    items = np.repeat(np.arange(1, 31), 60 // np.arange(1, 31))
    users = np.arange(len(items)) % 7
    path = tmp_path / "log.csv"
    table = pd.DataFrame({"user": users, "item": items, "timestamp": range(len(items))})
    table.sample(frac=1, random_state=0).to_csv(path, index=False)
    return path


def test_a_summary_counts_the_whole_log(log: Path):
    counts = 60 // np.arange(1, 31)
    summary = summarise(pd.read_csv(log))
    assert (summary["users"], summary["items"], summary["interactions"]) == (7, 30, counts.sum())
    assert summary["median_count"] == np.median(counts)
    assert summary["gini"] == pytest.approx(gini(counts), abs=1e-4)
    assert summary["exponent"] == pytest.approx(fit_zipf(counts).exponent, abs=1e-4)
    # 1 % of 30 items is rounded up to one item, 5 % are two (1.5), 20 % six.
    shares = [counts[:n].sum() / counts.sum() for n in (1, 2, 6)]
    assert list(summary["top_shares"].values()) == pytest.approx(shares, abs=1e-4)
    assert list(summary["top_shares"]) == ["0.01", "0.05", "0.2"]


def test_the_curve_runs_from_the_first_rank_to_the_last(log: Path):
    summary = summarise(pd.read_csv(log))
    counts = 60 // np.arange(1, 31)
    assert summary["ranks"][0] == 1 and summary["ranks"][-1] == 30
    assert summary["counts"] == [counts[rank - 1] for rank in summary["ranks"]]


def test_the_command_writes_a_record_without_paths(log: Path, tmp_path: Path, capsys):
    out = tmp_path / "new" / "longtail.json"
    main([f"ml-100k={log}", f"globo={log}", f"--out={out}"])
    text = out.read_text(encoding="utf-8")
    content = json.loads(text)
    assert str(tmp_path) not in text
    assert content["made"] == date.today().isoformat()
    assert content["made_by"] == "python -m tools.record_longtail ml-100k=... globo=..."
    assert list(content["data_sets"]) == ["ml-100k", "globo"]
    assert content["data_sets"]["globo"]["terms"] == DESCRIPTIONS["globo"].terms
    assert "globo: " in capsys.readouterr().out


def test_without_arguments_every_data_set_is_recorded(log: Path, tmp_path: Path, monkeypatch):
    loaded = []
    table = pd.read_csv(log)
    monkeypatch.setattr(record_longtail, "load_interactions", lambda x: loaded.append(x) or table)
    main([f"--out={tmp_path / 'longtail.json'}"])
    assert loaded == list(DESCRIPTIONS)


@pytest.mark.parametrize("text", ["ml-100k", "ml-100k=", "=somewhere.csv"])
def test_an_argument_without_a_part_is_refused(text: str):
    with pytest.raises(ValueError, match="is not NAME=PATH_OR_NAME"):
        parse_source(text)


def test_an_unknown_name_is_refused_before_anything_is_loaded(monkeypatch):
    monkeypatch.setattr(record_longtail, "load_interactions", lambda _: pytest.fail("loaded"))
    with pytest.raises(ValueError, match=r"'mine' has no description; use one of ml-100k"):
        record([("ml-100k", "ml-100k"), ("mine", "log.csv")], date(2026, 1, 1))


def test_a_file_that_is_not_there_ends_the_command_with_a_sentence(tmp_path: Path, capsys):
    with pytest.raises(SystemExit):
        main([f"globo={tmp_path / 'none.csv'}", f"--out={tmp_path / 'out.json'}"])
    assert "none.csv" in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()


def test_the_committed_record_is_whole_and_small():
    content = json.loads(RECORD.read_text(encoding="utf-8"))
    assert list(content["data_sets"]) == list(DESCRIPTIONS)
    date.fromisoformat(content["made"])
    assert RECORD.stat().st_size < 50_000
    for name, summary in content["data_sets"].items():
        assert summary["title"] == title_of(name)
        assert all(summary[key] for key in ("events", "terms", "source"))
        counts, ranks = summary["counts"], summary["ranks"]
        assert len(counts) == len(ranks) <= POINTS
        assert counts == sorted(counts, reverse=True) and ranks[-1] == summary["items"]
        assert list(summary["top_shares"].values()) == sorted(summary["top_shares"].values())
