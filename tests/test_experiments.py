"""Recorded experiments: what is run, what is written, what is read back."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cprec_lib import SequenceData, SequentialRecommender, TrainConfig, count_parameters, evaluate
from cprec_lib.evaluation import Ranks
from cprec_lib.experiments import (
    ablation,
    by_popularity,
    read_results,
    reproduce_ablation,
    values,
)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A file of 40 users who each meet 12 of 30 items."""
    draw = np.random.default_rng(0)
    rows = [
        (user, item, time)
        for user in range(40)
        for time, item in enumerate(draw.choice(30, size=12, replace=False))
    ]
    path = tmp_path / "toy.csv"
    pd.DataFrame(rows, columns=["user", "item", "timestamp"]).to_csv(path, index=False)
    return path


def test_ablation_changes_one_part_at_a_time() -> None:
    models = ablation(1000, width=32)
    full, whole = models["NextItNet"], models["CpRec"]
    assert not full.decomposed and full.sharing == "none"
    assert whole.block_input and whole.block_softmax and whole.tree
    for name, config in models.items():
        differs = {
            "input": config.block_input,
            "softmax": config.block_softmax,
            "sharing": config.sharing != "none",
        }
        if name.endswith("only") or name.startswith(("flat", "sharing")):
            assert sum(differs.values()) == 1, name
    assert not models["flat low-rank softmax"].tree


def test_the_narrow_rival_is_as_large_as_it_may_be() -> None:
    models = ablation(1000, width=32)
    limit = count_parameters(models["CpRec"]).total
    rival = models["narrower NextItNet"]
    wider = type(rival)(**{**rival.__dict__, "width": rival.width + 1})
    assert count_parameters(rival).total <= limit < count_parameters(wider).total


def test_results_are_recorded_once_and_read_back(table: Path, tmp_path: Path) -> None:
    def run(names: list[str]) -> Path:
        return reproduce_ablation(
            str(table), tmp_path / "results", tmp_path / "work", width=8, dropout=0.0, seeds=2,
            training=TrainConfig(epochs=1), names=names,
        )  # fmt: skip

    folder = run(["CpRec"])
    first = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert folder.name == "toy-w8-d0" and set(first) == {"cprec-s0.json", "cprec-s1.json"}
    run(["NextItNet", "CpRec"])
    assert all((folder / name).stat().st_mtime_ns == time for name, time in first.items())

    results = read_results(folder)
    assert list(results) == ["NextItNet", "CpRec"]
    run_0 = results["CpRec"][0]
    assert run_0["dataset"] == "toy" and str(tmp_path) not in str(run_0)
    assert values([run_0]).mean() == pytest.approx(run_0["test"]["ndcg@10"])
    both = values(results["CpRec"])
    singles = [values([one]) for one in results["CpRec"]]
    np.testing.assert_allclose(both, np.mean(singles, axis=0))


def test_unknown_model_and_missing_results_are_named(table: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown model 'CpReq'; choose from NextItNet"):
        reproduce_ablation(str(table), tmp_path, tmp_path, names=["CpReq"])
    with pytest.raises(FileNotFoundError, match="no results in nothing"):
        read_results(tmp_path / "nothing")


def test_by_popularity_splits_the_users(table: Path) -> None:
    data = SequenceData.from_interactions(pd.read_csv(table))
    ranks = evaluate(SequentialRecommender(ablation(data.n_items, 8)["CpRec"]), data)
    parts = by_popularity(ranks, data)
    assert [part["end"] for part in parts] == [0.1, 0.33, 1.0]
    assert sum(part["users"] for part in parts) == len(ranks.ranks)
    mean = sum(part["users"] * part["ndcg@10"] for part in parts) / len(ranks.ranks)
    assert mean == pytest.approx(ranks.metrics()["ndcg@10"])


def test_by_popularity_puts_each_target_into_its_part() -> None:
    rows = [
        (u, i, t) for u in range(12) for t, i in enumerate([u % 10, (u + 1) % 10, (u + 2) % 10])
    ]
    data = SequenceData.from_interactions(pd.DataFrame(rows, columns=["user", "item", "timestamp"]))
    ranks = Ranks(np.where(data.test.targets.numpy() <= 1, 1, 99))
    head, middle, tail = by_popularity(ranks, data)
    assert head["ndcg@10"] == 1 and middle["ndcg@10"] == 0 and tail["ndcg@10"] == 0
