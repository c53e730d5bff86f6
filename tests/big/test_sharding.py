"""Two processes that hold half of a model each train as one process does."""

import shutil
from pathlib import Path

import pytest

from cprec_lib import SequenceData, SequentialRecommender, TrainConfig, cprec, fit, gru4rec, sasrec
from cprec_lib.big import sharding
from cprec_lib.compress.compressor import compressed_config
from cprec_lib.compress.tying import Tying
from cprec_lib.logs.datasets import load_interactions
from tests.train.launch import run_two

LOG = "synthetic:items=900,users=150,length=12"
N = SequenceData.from_interactions(load_interactions(LOG), 8).n_items
CONFIG = cprec(N, 16, cutoffs=(45, 180), dilations=(1, 2))
OTHERS = [gru4rec(N, 8), sasrec(N, 8, max_positions=8)]
TRAINING = TrainConfig(epochs=3, batch_size=16, shard=True)

PROGRAM = """
    import json, sys
    from dataclasses import replace
    from pathlib import Path
    from cprec_lib import SequentialRecommender, fit
    from cprec_lib.big import sharding
    from cprec_lib.train.processes import Processes
    from tests.big.test_sharding import CONFIG, OTHERS, TRAINING, sequences

    folder, rank = Path(sys.argv[1]), sys.argv[2]
    data, processes = sequences(), Processes()
    held = {}


    split = sharding.split

    def watched(model, count):
        held["split"] = split(model, count)
        return held["split"]

    sharding.split = watched
    model = SequentialRecommender(CONFIG, seed=int(rank))  # all start with the main one's
    started = replace(TRAINING, epochs=2)
    fit(model, data, started, folder / "run", progress=False)
    local = sum(sharding.local(p).numel() for p in held["split"].parameters())
    resumed = SequentialRecommender(CONFIG)
    whole = fit(resumed, data, TRAINING, folder / "run", resume=True, progress=False)
    others = []
    for config in OTHERS:
        once = replace(TRAINING, epochs=1)
        other = fit(SequentialRecommender(config), data, once, progress=False)
        others.append(other.epochs[0].loss)
    record = {
        "losses": [epoch.loss for epoch in whole.epochs],
        "valid": [epoch.valid["ndcg@10"] for epoch in whole.epochs],
        "others": others,
        "local": local,
        "weights": [p.double().sum().item() for p in resumed.parameters()],
        "kind": type(next(resumed.parameters())).__name__,
    }
    (folder / f"record{rank}").write_text(json.dumps(record))
    processes.leave()
"""


def sequences() -> SequenceData:
    return SequenceData.from_interactions(load_interactions(LOG), 8)


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> tuple[list[dict], Path]:
    """What two processes found that trained, stopped, and went on; and the folder of their run."""
    folder = tmp_path_factory.mktemp("two")
    records, _ = run_two(PROGRAM, folder)
    return records, folder / "run"


@pytest.fixture(scope="module")
def one() -> tuple[SequentialRecommender, list[float], list[float]]:
    """The same training by one process, whose model is not split."""
    model = SequentialRecommender(CONFIG)
    epochs = fit(model, sequences(), TRAINING, progress=False).epochs
    return model, [e.loss for e in epochs], [e.valid["ndcg@10"] for e in epochs]


@pytest.fixture
def run(two, tmp_path: Path) -> Path:
    """A copy of the run, which a test may damage."""
    return Path(shutil.copytree(two[1], tmp_path / "run"))


def test_two_processes_have_the_losses_of_one(two, one) -> None:
    for record in two[0]:
        assert record["losses"] == pytest.approx(one[1], abs=1e-5)
        assert record["valid"] == pytest.approx(one[2], abs=5e-3)


def test_other_middle_layers_and_a_full_softmax_are_split_too(two) -> None:
    for number, config in enumerate(OTHERS):
        training = TrainConfig(epochs=1, batch_size=16)
        alone = fit(SequentialRecommender(config), sequences(), training, progress=False)
        for record in two[0]:
            assert record["others"][number] == pytest.approx(alone.epochs[0].loss, abs=1e-5)


def test_each_process_holds_half_of_the_parameters(two, one) -> None:
    total = sum(p.numel() for p in one[0].parameters())
    shares = [record["local"] / total for record in two[0]]
    assert sum(shares) == pytest.approx(1) and shares == pytest.approx([0.5, 0.5], abs=0.01)


def test_afterwards_every_process_has_the_whole_model(two, one) -> None:
    expected = [parameter.double().sum().item() for parameter in one[0].parameters()]
    for record in two[0]:
        assert record["kind"] == "Parameter"
        assert record["weights"] == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_the_last_checkpoint_alone_is_kept_as_safetensors(two) -> None:
    assert sorted(path.name for path in two[1].iterdir()) == ["checkpoint-3", "run.lock"]
    names = sorted(path.name for path in (two[1] / "checkpoint-3").iterdir())
    assert names[0] == "run.json" and len(names) == 3
    assert all(name.endswith(".safetensors") for name in names[1:])


def resume(folder: Path, epochs: int = 5) -> list[float]:
    training = TrainConfig(epochs=epochs, batch_size=16, shard=True)
    model = SequentialRecommender(CONFIG)
    history = fit(model, sequences(), training, folder, resume=True, progress=False)
    return [epoch.loss for epoch in history.epochs]


def test_one_process_goes_on_with_the_checkpoint_of_two(run: Path) -> None:
    model = SequentialRecommender(CONFIG)
    training = TrainConfig(epochs=5, batch_size=16, shard=True)
    straight = [e.loss for e in fit(model, sequences(), training, progress=False).epochs]
    assert resume(run) == pytest.approx(straight, abs=1e-5)
    assert (run / "checkpoint-5").is_dir() and not (run / "checkpoint-3").exists()


def test_a_checkpoint_that_was_not_finished_is_not_resumed(run: Path) -> None:
    shutil.copytree(run / "checkpoint-3", run / ".checkpoint.making")
    (run / ".checkpoint.making" / "run.json").unlink()
    assert len(resume(run, 4)) == 4
    assert not (run / ".checkpoint.making").exists()


def test_a_checkpoint_of_more_shards_than_files(run: Path) -> None:
    next((run / "checkpoint-3").glob("shard-00002*")).unlink()
    with pytest.raises(ValueError, match=r"checkpoint-3 is corrupt.*shard-00002.*delete it"):
        resume(run)


def test_a_changed_shard_and_a_changed_run_are_refused(run: Path) -> None:
    shard = next((run / "checkpoint-3").glob("shard-00001*"))
    content = shard.read_bytes()
    shard.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError, match=r"shard-00001.* was changed after it was"):
        resume(run)
    (run / "checkpoint-3" / "run.json").write_text("{}")
    with pytest.raises(ValueError, match="corrupt or no checkpoint"):
        resume(run)


def test_another_run_is_neither_resumed_nor_overwritten(run: Path) -> None:
    with pytest.raises(ValueError, match="already holds a run"):
        fit(SequentialRecommender(CONFIG), sequences(), TRAINING, run, progress=False)
    other = TrainConfig(epochs=4, batch_size=8, shard=True)
    with pytest.raises(ValueError, match="its batch_size is 16, this run's is 8"):
        fit(SequentialRecommender(CONFIG), sequences(), other, run, resume=True, progress=False)


def test_a_compressed_model_is_refused() -> None:
    config = compressed_config(CONFIG, Tying())
    with pytest.raises(ValueError, match=r"not split by row; train it without shard \(--shard\)"):
        sharding.split(SequentialRecommender(config), 1)
