"""The row beside RecBole, as far as it works without RecBole."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks import recbole
from cprec_lib import SequenceData, evaluate
from cprec_lib.logs.tables import in_order


@pytest.fixture
def table() -> pd.DataFrame:
    """Twelve users with ties in time, in the order in which the library hands tables out."""
    draw = np.random.default_rng(0)
    rows = [(u, 10 * i, t // 3) for u in range(5, 17) for t, i in enumerate(draw.permutation(9))]
    return in_order(pd.DataFrame(rows, columns=["user", "item", "timestamp"]), ["user"])


@pytest.fixture
def data(table: pd.DataFrame) -> SequenceData:
    return SequenceData.from_interactions(table, max_len=50)


def test_the_atomic_file_keeps_the_order_and_has_no_ties(
    table: pd.DataFrame, tmp_path: Path
) -> None:
    recbole.write_atomic(table, tmp_path / "log.inter")
    back = pd.read_csv(tmp_path / "log.inter", sep="\t")
    assert [*back] == ["user_id:token", "item_id:token", "timestamp:float"]
    assert back["user_id:token"].tolist() == table["user"].tolist()
    assert back["item_id:token"].tolist() == table["item"].tolist()
    places = back["timestamp:float"].astype(np.float32)
    assert places.is_monotonic_increasing and places.is_unique


def _dumped(data: SequenceData, table: pd.DataFrame) -> dict[str, np.ndarray]:
    """What RecBole would leave: ids by first appearance, contexts filled up on the right."""
    items, users = pd.unique(table["item"]), pd.unique(table["user"])
    theirs = {int(item): place for place, item in enumerate(items, start=1)}
    to_theirs = np.array([0, *(theirs[int(item)] for item in data.catalogue.items)])
    contexts = np.zeros((len(users), 50), dtype=np.int64)
    for row, own in zip(contexts, data.valid.contexts.numpy(), strict=True):
        row[: (own > 0).sum()] = to_theirs[own[own > 0]]
    scores = np.random.default_rng(1).normal(size=(len(users), len(items) + 1))
    return {
        "users": np.arange(1, len(users) + 1),
        "contexts": contexts,
        "targets": to_theirs[data.valid.targets.numpy()],
        "scores": scores.astype(np.float32),
        "user_tokens": np.array(["[PAD]", *map(str, users)]),
        "item_tokens": np.array(["[PAD]", *map(str, items)]),
    }


def _metrics(dumped: dict[str, np.ndarray]) -> dict[str, float]:
    """NDCG, hit rate and MRR at 10, by sorting RecBole's items; the padding ranks nowhere."""
    order = np.argsort(-dumped["scores"][:, 1:], axis=1) + 1
    ranks = 1 + np.argmax(order == dumped["targets"][:, None], axis=1)
    hit = ranks <= 10
    values = {"ndcg@10": hit / np.log2(ranks + 1), "hit@10": hit, "mrr@10": hit / ranks}
    return {name: float(value.mean()) for name, value in values.items()}


def test_the_same_validation_passes(data: SequenceData, table: pd.DataFrame) -> None:
    dumped = _dumped(data, table)
    recbole.check_same(data, table, dumped, _metrics(dumped))


@pytest.mark.parametrize("part", ["users", "targets", "contexts"])
def test_another_validation_is_refused(data: SequenceData, table: pd.DataFrame, part: str) -> None:
    dumped = _dumped(data, table)
    metrics = _metrics(dumped)
    dumped[part] = dumped[part][::-1]
    with pytest.raises(ArithmeticError, match=f"the {part} of RecBole's validation"):
        recbole.check_same(data, table, dumped, metrics)


def test_another_evaluation_is_refused(data: SequenceData, table: pd.DataFrame) -> None:
    dumped = _dumped(data, table)
    metrics = _metrics(dumped)
    with pytest.raises(ArithmeticError, match="mrr@10 of the same scores"):
        recbole.check_same(data, table, dumped, {**metrics, "mrr@10": metrics["mrr@10"] + 0.001})


def test_fixed_scores_are_handed_out_in_order(data: SequenceData) -> None:
    scores = np.zeros((len(data.valid.targets), data.n_items), dtype=np.float32)
    scores[np.arange(len(scores)), data.valid.targets.numpy() - 1] = 1
    assert (
        evaluate(recbole._Fixed(recbole.torch.from_numpy(scores)), data, "valid").ranks == 1
    ).all()


def _run(*ndcg: float, seconds: float) -> dict[str, Any]:
    epochs = enumerate(ndcg, start=1)
    return {"curve": [{"epoch": n, "seconds": seconds * n, "ndcg@10": v} for n, v in epochs]}


def test_the_target_is_the_best_and_the_seconds_those_of_its_first_time() -> None:
    theirs = _run(0.01, 0.03, 0.02, seconds=100)
    found = recbole.race(theirs, [_run(0.01, 0.03, seconds=4), _run(0.02, 0.02, 0.04, seconds=5)])
    assert found["target"] == 0.03
    assert found["sides"][recbole.PEER]["seconds"] == [200]
    assert found["sides"][recbole.OURS]["seconds"] == [8, 15]
    low = pytest.approx(200 / 15)
    assert found["times_as_fast"][recbole.PEER] == (pytest.approx((25 + 200 / 15) / 2), low, 25)
    assert not found["lower_bound"]
    assert found["seconds_per_epoch"] == {recbole.OURS: 4.5, recbole.PEER: 100}


def test_a_first_epoch_that_is_good_enough_gives_a_bound(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = recbole.race(_run(0.03, seconds=100), [_run(0.05, seconds=4)])
    assert found["times_as_fast"][recbole.PEER][0] == 25 and found["lower_bound"]
    assert "at least 25 times as fast" in capsys.readouterr().out


def test_a_seed_that_never_gets_there_leaves_no_ratio(capsys: pytest.CaptureFixture[str]) -> None:
    runs = [_run(0.05, seconds=4), _run(0.01, 0.02, seconds=4)]
    found = recbole.race(_run(0.03, seconds=100), runs)
    assert found["sides"][recbole.OURS]["seconds"] == [4, None] and not found["times_as_fast"]
    assert "not reached by ours with every seed" in capsys.readouterr().out


def test_a_quick_run_says_what_it_leaves_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert "minutes" in recbole.row(quick=True)["skipped"]
    assert "skipped" in capsys.readouterr().out


def test_where_pip_fails_the_row_is_skipped_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "peer"
    monkeypatch.setattr(recbole, "ENVIRONMENT", folder)
    monkeypatch.setattr(recbole, "REQUIREMENTS", ("--no-index", "numpy<2"))  # none to be found
    said = recbole.row(quick=False)["skipped"]
    assert "No matching distribution found for numpy<2" in said
    assert "-m pip --disable-pip-version-check install --no-compile --no-index 'numpy<2'" in said
    assert f"-m venv --clear {folder}" in said
    assert said in capsys.readouterr().out
    assert not (folder / "installed.txt").exists()


def test_an_environment_that_is_whole_is_used_again(tmp_path: Path) -> None:
    (tmp_path / "installed.txt").write_text("numpy<2\nrecbole==1.2.1", encoding="utf-8")
    python = recbole.peer(tmp_path, ("numpy<2", "recbole==1.2.1"))
    assert python == recbole.environment_python(tmp_path)
