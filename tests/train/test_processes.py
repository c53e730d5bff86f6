"""Several processes train as one does: the same losses, one folder, errors in all of them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cprec_lib import SequenceData, SequentialRecommender, TrainConfig, cprec, evaluate, fit
from cprec_lib.train.processes import Processes
from tests.train.launch import run_two

CONFIG = cprec(25, 8, cutoffs=(5, 24), dilations=(1, 2))
# With 55 windows the last batch holds one of them, so that one of two processes gets none.
TRAINING = TrainConfig(epochs=3, batch_size=6, learning_rate=0.01)

PROGRAM = """
    import json, sys
    from dataclasses import asdict, replace
    from pathlib import Path
    import pandas as pd
    from cprec_lib import SequenceData, SequentialRecommender, TrainConfig, cprec, evaluate, fit
    from cprec_lib.train.processes import Processes
    from cprec_lib.train.evaluation import evaluate_together

    folder, rank = Path(sys.argv[1]), sys.argv[2]
    data = SequenceData.from_interactions(pd.read_pickle(folder / "table"), max_len=8)
    config = cprec(25, 8, cutoffs=(5, 24), dilations=(1, 2))
    training = TrainConfig(epochs=3, batch_size=6, learning_rate=0.01)

    def train(**more):
        model = SequentialRecommender(config, seed=int(rank))  # all start with the main one's
        return model, fit(model, data, training, **more)

    model, whole = train()
    start = replace(training, epochs=1)
    fit(SequentialRecommender(config), data, start, folder / "run", progress=False)
    _, resumed = train(folder=folder / "run", resume=True, progress=False)
    try:
        train(folder=folder / "run")
        refused = ""
    except ValueError as error:
        refused = str(error)
    processes = Processes()
    ranks = evaluate_together(processes, model, data, "test").ranks
    record = {
        "losses": [epoch.loss for epoch in whole.epochs],
        "valid": [epoch.valid for epoch in whole.epochs],
        "resumed": [epoch.loss for epoch in resumed.epochs],
        "refused": refused,
        "ranks": ranks.tolist(),
        "weights": [p.double().sum().item() for p in model.parameters()],
        "count": processes.count,
        "main": processes.main,
    }
    (folder / f"record{rank}").write_text(json.dumps(record))
    processes.leave()
"""


@pytest.fixture(scope="module")
def two(table, tmp_path_factory) -> tuple[list[dict], list[str], Path]:
    """What two processes on the CPU found and printed, and the folder of their run."""
    folder = tmp_path_factory.mktemp("two")
    table.to_pickle(folder / "table")
    records, printed = run_two(PROGRAM, folder)
    return records, printed, folder / "run"


@pytest.fixture(scope="module")
def one(data) -> tuple[SequentialRecommender, list[float], list[dict[str, float]]]:
    """The same training by one process."""
    model = SequentialRecommender(CONFIG)
    history = fit(model, data, TRAINING, progress=False)
    losses = [epoch.loss for epoch in history.epochs]
    return model, losses, [epoch.valid for epoch in history.epochs]


def test_the_example_has_padding_an_empty_part_and_a_tail_block_without_targets(data):
    assert (data.train == 0).any()
    assert len(data.train) % TRAINING.batch_size == 1
    in_last_block = [(batch[:, 1:] > 24).sum() for batch in data.train.split(6)]
    assert 0 in in_last_block


def test_two_processes_have_the_losses_of_one(two, one):
    records, _, _ = two
    assert [record["count"] for record in records] == [2, 2]
    for record in records:
        assert record["losses"] == pytest.approx(one[1], rel=1e-6)
        for found, expected in zip(record["valid"], one[2], strict=True):
            assert found == pytest.approx(expected, abs=1e-3)


def test_two_processes_end_with_the_same_weights_as_one(two, one):
    records, _, _ = two
    expected = [parameter.double().sum().item() for parameter in one[0].parameters()]
    assert records[0]["weights"] == records[1]["weights"]
    assert records[0]["weights"] == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_two_processes_go_on_from_a_checkpoint(two):
    records, _, folder = two
    for record in records:
        assert record["resumed"] == record["losses"]
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoint.safetensors", "run.lock"]


def test_an_error_of_the_main_process_is_raised_in_all(two):
    assert all("already holds a run" in record["refused"] for record in two[0])


def test_the_main_process_alone_prints(two):
    records, printed, _ = two
    assert [record["main"] for record in records] == [True, False]
    assert "3/3 epochs" in printed[0] and printed[1] == ""


def test_two_processes_share_the_users_of_an_evaluation(two, one, data):
    expected = evaluate(one[0], data, "test").ranks
    for record in two[0]:
        assert len(record["ranks"]) == len(expected)
        assert sum(a == b for a, b in zip(record["ranks"], expected, strict=True)) >= 38


def test_a_process_alone_is_the_main_one_and_stays_on_its_device():
    processes = Processes()
    assert (processes.index, processes.count, processes.main) == (0, 1, True)
    assert processes.device(torch.device("meta")) == torch.device("meta")
    assert processes.gather([1, 2]) == [1, 2]
    assert processes.on_main(lambda: 5) == 5
    processes.leave()


def test_a_launcher_that_wants_another_precision_is_refused(data: SequenceData, monkeypatch):
    monkeypatch.setattr(Processes, "mixed_precision", "bf16")
    with pytest.raises(ValueError, match="launched with mixed precision bf16, but TrainConfig's"):
        fit(SequentialRecommender(CONFIG), data, TRAINING, progress=False)
    for precision in ("no", "bf16"):
        monkeypatch.setattr(Processes, "mixed_precision", precision)
        config = replace(TRAINING, epochs=1, precision="bfloat16")
        fit(SequentialRecommender(CONFIG), data, config, progress=False)
