"""Times: every model has its turn in every round, and ratios are formed within a round."""

import numpy as np
import pandas as pd
import pytest
import torch

from cprec_lib import SequenceData, SequentialRecommender, TrainConfig, cprec, nextitnet
from cprec_lib.evidence.timing import latency, race, search_bytes

EXACT = {"exact_1", "exact_64"}
EARLY = {"early_stopping_1", "early_stopping_64"}


@pytest.fixture
def data() -> SequenceData:
    draw = np.random.default_rng(0)
    rows = [(u, i, t) for u in range(20) for t, i in enumerate(draw.permutation(30))]
    return SequenceData.from_interactions(pd.DataFrame(rows, columns=["user", "item", "timestamp"]))


def test_latency_has_early_stopping_where_the_softmax_has_it() -> None:
    contexts = torch.ones(70, 5, dtype=torch.long)
    assert {*latency(SequentialRecommender(nextitnet(30, 8)), contexts, repeats=1)} == EXACT
    tree = latency(SequentialRecommender(cprec(30, 8, (12, 20))), contexts, repeats=1)
    assert {*tree} == EXACT | EARLY
    assert all(value > 0 for value in tree.values())
    one = latency(SequentialRecommender(nextitnet(30, 8)), contexts, repeats=1, numbers=(1,))
    assert {*one} == {"exact_1"}


def test_every_round_times_every_model(data: SequenceData) -> None:
    models = {
        "full": SequentialRecommender(nextitnet(30, 8)),
        "tree": SequentialRecommender(cprec(30, 8, (12, 20))),
    }
    times = race(models, data, TrainConfig(batch_size=4), rounds=2, steps=1)
    assert {*times} == {"training_step", *EXACT, *EARLY}
    assert {*times["training_step"]} == {*times["exact_1"]} == {"full", "tree"}
    assert {*times["early_stopping_1"]} == {"tree"}
    numbers = [each for models in times.values() for each in models.values()]
    assert all(len(each) == 2 and min(each) > 0 for each in numbers)


def test_a_step_is_timed_in_the_precision_of_the_training(data: SequenceData, monkeypatch) -> None:
    model = SequentialRecommender(nextitnet(30, 8))
    enabled = []
    loss = model.loss
    monkeypatch.setattr(
        model,
        "loss",
        lambda *given: enabled.append(torch.is_autocast_enabled("cpu")) or loss(*given),
    )
    for precision in ("float32", "bfloat16"):
        config = TrainConfig(batch_size=4, precision=precision)
        race({"model": model}, data, config, rounds=1, steps=1)
    assert enabled == [False, False, True, True]


def test_a_search_holds_the_scores_of_all_items(capfd: pytest.CaptureFixture[str]) -> None:
    """4 N bytes of scores or more, for one user alone, without the weights."""
    contexts = torch.ones(3, 5, dtype=torch.long)
    models = {n: SequentialRecommender(nextitnet(n, 16)) for n in (2000, 4000)}
    held = {n: search_bytes(model, contexts) for n, model in models.items()}
    assert 4 * 4000 <= held[4000] < 4 * 4000 * 16  # a table has 16 numbers an item
    assert held[4000] - held[2000] >= 4 * 2000
    assert search_bytes(models[4000], contexts[:1]) == held[4000]  # of one user
    assert capfd.readouterr().err == ""
