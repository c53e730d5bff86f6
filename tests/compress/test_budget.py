"""Budgets, the racers that keep them, and the race between them."""

import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from cprec_lib import (
    Ranks,
    SequenceData,
    SequentialRecommender,
    TrainConfig,
    count_parameters,
    cprec,
    evaluate,
    fit,
    nextitnet,
)
from cprec_lib.compress import budget as budgets
from cprec_lib.compress.budget import Race, Result, compress, parse_budget
from cprec_lib.compress.compressor import compress_with
from cprec_lib.compress.pruning import Pruning
from cprec_lib.compress.quantisation import Rounding
from cprec_lib.compress.racers import RACERS
from cprec_lib.compress.runs import stored_bytes
from cprec_lib.train.checkpoints import Epoch
from cprec_lib.train.training import Training

COUNTS = np.arange(400, 0, -1)
TRAINING = TrainConfig(epochs=1, batch_size=32, learning_rate=0.02)


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("2MB", 2_000_000),
        ("2 mb", 2_000_000),
        ("1.5MB", 1_500_000),
        ("500kB", 500_000),
        ("3KiB", 3072),
        ("1MiB", 2**20),
        ("2048", 2048),
        (2048, 2048),
        ("7B", 7),
        ("8x", 1_250_000),
        ("2.5X", 4_000_000),
    ],
)
def test_budgets(text: str | int, most: int) -> None:
    assert parse_budget(text, 10_000_000) == most


@pytest.mark.parametrize(
    "text", ["", "x", "MB", "-2MB", "0", "0x", "2TB", "2 3MB", "nan", 0, "9" * 400]
)
def test_a_budget_that_is_no_size_is_refused(text: str | int) -> None:
    with pytest.raises(ValueError, match=r"budget .* is not a size; give one such as 500kB, 2MB"):
        parse_budget(text, 10_000_000)


@pytest.mark.parametrize("text", ["1x", "0.5x"])
def test_a_share_that_is_the_whole_model_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="makes no model smaller; give one such as 8x"):
        parse_budget(text, 10_000_000)


@pytest.mark.parametrize("text", ["10MB", "1GB", 10_000_000])
def test_a_budget_larger_than_the_model_is_refused(text: str | int) -> None:
    message = (
        "the uncompressed model has 10,000,000 bytes, so it keeps the budget of [0-9,]+ already"
    )
    with pytest.raises(ValueError, match=message):
        parse_budget(text, 10_000_000)


@pytest.fixture(scope="module")
def model(data: SequenceData) -> SequentialRecommender:
    trained = SequentialRecommender(nextitnet(data.n_items, 16, dilations=(1,)))
    fit(trained, data, replace(TRAINING, epochs=4), progress=False)
    return trained


@pytest.fixture(scope="module")
def race(model: SequentialRecommender, data: SequenceData) -> Race:
    return compress(model, data, "3x", TRAINING)


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ("1GB", "keeps the budget of"),
        ("3 items", "is not a size"),
        (5, "no model keeps the budget"),
    ],
)
def test_a_budget_is_refused_before_the_users_are_ranked(
    budget: str | int, message: str, model, data, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budgets, "evaluate", lambda *_: pytest.fail("the users were ranked"))
    with pytest.raises(ValueError, match=message):
        compress(model, data, budget, TRAINING)


def test_every_model_of_a_race_keeps_the_budget_to_the_byte(race: Race, tmp_path: Path) -> None:
    assert race.budget == race.full.bytes // 3
    assert len(race.tried) > 15 and not race.untried
    for result in race.tried:
        result.model.save(tmp_path / result.label)
        assert stored_bytes(tmp_path / result.label / "model.safetensors") == result.bytes
        assert result.bytes <= race.budget


def test_a_race_says_how_accurate_each_model_is(race: Race, data: SequenceData) -> None:
    for result in (race.full, *race.tried):
        assert np.array_equal(result.valid.ranks, evaluate(result.model, data, "valid").ranks)
        assert result.ndcg == result.valid.metrics()["ndcg@10"]


def test_models_that_need_no_training_come_first(race: Race) -> None:
    trained = [result.seconds > 0 for result in race.tried]
    assert trained == sorted(trained) and not trained[0] and trained[-1]
    costs = [
        ("float32" in r.label, count_parameters(r.model.config).multiply_adds)
        for r in race.tried
        if r.history
    ]
    assert costs == sorted(costs)


def test_models_that_differ_in_rounding_alone_are_trained_once(race: Race) -> None:
    by_training: dict[int, set[int]] = {}
    for result in race.tried:
        by_training.setdefault(id(result.history), set()).add(result.model.config.width)
    assert any(len([r for r in race.tried if id(r.history) == key]) > 1 for key in by_training)
    assert all(len(widths) == 1 for widths in by_training.values())


def ranked(label: str, size: int, rank: int, model: SequentialRecommender) -> Result:
    return Result(label, model, size, Ranks(np.array([rank, rank])))


def test_the_best_and_the_front(model: SequentialRecommender) -> None:
    full = ranked("full", 100, 2, model)
    a, b, c, d = (
        ranked(label, size, rank, model)
        for label, size, rank in (("a", 10, 9), ("b", 20, 5), ("c", 15, 5), ("d", 30, 6))
    )
    race = Race(full, 50, (a, b, c, d), ())
    assert race.best is c  # as accurate as b, and smaller
    assert race.front == [a, c, full]
    better = ranked("better", 40, 1, model)
    assert Race(full, 50, (a, c, better), ()).front == [a, c, better]


def test_a_race_ends_at_the_first_model_that_loses_little(model, data) -> None:
    race = compress(model, data, "3x", TRAINING, loss=0.99)
    assert len(race.tried) == 1 and race.tried[0].history is None
    found: list[Result] = []
    whole = compress(model, data, "3x", TRAINING, 0.0, time.time() - 1, found.append)
    assert found == list(whole.tried) and len(found) > 1


def test_models_that_differ_for_no_user_show_no_small_loss(model, data) -> None:
    """Few users agree by chance, so an interval without width shows nothing."""
    full = ranked("full", 100, 3, model)
    assert not budgets._loses_at_most(0.01, ranked("same", 10, 3, model), full)


def test_an_exhausted_time_leaves_what_needs_no_training(model, data) -> None:
    race = compress(model, data, "3x", TRAINING, deadline=time.time() - 1)
    assert race.tried and all(result.history is None for result in race.tried)
    assert len(race.untried) > 10 and "tied, int8, width 16" in race.untried
    with pytest.raises(ValueError, match="the time ended before a model that keeps the budget of"):
        compress(model, data, "20x", TRAINING, deadline=time.time() - 1)


def test_a_training_ends_at_the_deadline_with_its_best_epoch(model, data, monkeypatch) -> None:
    """The clock jumps over the deadline after two epochs of the first training."""
    epochs: list[object] = []
    close, now = Training.close, time.time

    def watched(self: Training, epoch: Epoch) -> None:
        epochs.append(epoch)
        close(self, epoch)

    monkeypatch.setattr(Training, "close", watched)
    monkeypatch.setattr(time, "time", lambda: now() + 2000 * (len(epochs) > 1))
    long = replace(TRAINING, epochs=50, patience=50)
    race = compress(model, data, "3x", long, deadline=now() + 1000)
    trained = [result for result in race.tried if result.history]
    assert trained and all(result.history.epochs == epochs for result in trained)
    assert len(epochs) == 2 and race.untried
    assert all(result.cut_short == (result.history is not None) for result in race.tried)
    epochs.clear()  # the second model only rounds what the first one has trained
    both = ["tied, int8", "tied, int4"]
    race = compress(model, data, "3x", long, None, now() + 1000, racers=both)
    assert len(race.tried) == 2 and len(epochs) == 2


def test_a_budget_that_nothing_keeps_names_the_smallest(model, data) -> None:
    with pytest.raises(ValueError, match="no model keeps the budget of 10 bytes; the smalle") as no:
        compress(model, data, 10, TRAINING)
    smallest = int(str(no.value).split(" has ")[1].split(" ")[0].replace(",", ""))
    with pytest.raises(ValueError, match=f"the smallest possible has {smallest:,}"):
        compress(model, data, smallest - 1, TRAINING)
    race = compress(model, data, smallest, TRAINING)
    assert [result.bytes for result in race.tried] == [smallest] * len(race.tried)


def test_a_compressed_model_is_refused(model, data) -> None:
    rounded = compress_with(model, Rounding(8))
    with pytest.raises(ValueError, match="the model is compressed already; give the uncompressed"):
        compress(rounded, data, "2x")


def test_a_model_with_blocks_is_refused(data) -> None:
    with pytest.raises(ValueError, match="has blocks, as CpRec does, so it is compressed already"):
        compress(SequentialRecommender(cprec(data.n_items, 16)), data, "2x")


def test_only_some_racers_are_tried(model, data) -> None:
    late = time.time() - 1
    race = compress(model, data, "3x", TRAINING, deadline=late, racers=["own tables", "tied, int8"])
    labels = *race.untried, *(result.label for result in race.tried)
    found = {label.partition(", width")[0] for label in labels}
    assert found == {*(r.label for r in RACERS if r.label.startswith("own ")), "tied, int8"}
    with pytest.raises(ValueError, match="unknown racer 'tie'; choose one of own tables; tied; "):
        compress(model, data, "3x", racers=["tie"])


def test_extra_epochs_are_counted(race: Race) -> None:
    for result in race.tried:
        tunes = result.label.startswith("pruned") or "tuned" in result.label
        assert tunes == (result.tuning is not None)
        assert not tunes or (result.seconds > 0 and len(result.tuning.epochs) == 3)


def test_a_tuning_without_time_is_no_result_and_a_shorter_one_is_cut_short(
    model, data, monkeypatch
) -> None:
    now, done = time.time, []
    close = Training.close
    monkeypatch.setattr(time, "time", lambda: now() + 2000 * len(done))
    monkeypatch.setattr(Training, "close", lambda *given: (done.append(0), close(*given)))
    race = compress(model, data, "3x", TRAINING, None, now() + 1000, racers=["pruned"])
    [pruned] = race.tried
    assert pruned.cut_short and len(pruned.tuning.epochs) == 1
    monkeypatch.setattr(Pruning, "finish", lambda _, model, train: done.append(0) or train(model))
    with pytest.raises(ValueError, match="the time ended before a model that keeps the budget"):
        compress(model, data, "3x", TRAINING, None, time.time() + 1000, racers=["pruned"])


def test_another_catalogue_and_a_loss_that_is_no_share_are_refused(model, data) -> None:
    with pytest.raises(ValueError, match="the model scores 30 items, the data has 25"):
        compress(SequentialRecommender(nextitnet(30, 16)), data, "2x")
    for loss in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match="is not a share of at least 0 and below 1"):
            compress(model, data, "2x", loss=loss)


def test_fronts_rise(race: Race) -> None:
    for smaller, larger in pairwise(race.front):
        assert smaller.bytes < larger.bytes and smaller.ndcg < larger.ndcg
