"""Runs of compressed models: written, read back, begun and continued."""

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from cprec_lib import TrainConfig, count_parameters, evaluate, export_run
from cprec_lib.compress.budget import compress
from cprec_lib.compress.runs import (
    check_free,
    header_bytes,
    stored_bytes,
    train_uncompressed,
    write_best,
)
from cprec_lib.train import run_folder
from cprec_lib.train.checkpoints import CHECKPOINT, Epoch
from cprec_lib.train.run_folder import METRICS, WEIGHTS, Run
from cprec_lib.train.training import Training

TRAINING = TrainConfig(epochs=2, learning_rate=0.02)
SMALL = {"architecture": {"width": 8, "dilations": (1,)}, "progress": False}


@pytest.fixture(scope="module")
def base(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("base")
    return train_uncompressed(folder, str(tiny), TRAINING, **SMALL)


def test_the_best_model_is_written_as_a_run(base: Run, tmp_path: Path) -> None:
    data = base.data()
    race = compress(base.model, data, "2x", TRAINING, deadline=time.time() - 1)
    test = write_best(tmp_path, base, data, race)
    run = Run.load(tmp_path)
    assert run.model.config == race.best.model.config
    assert np.array_equal(evaluate(run.model, run.data(), "test").ranks, test.ranks)
    metrics = json.loads((tmp_path / METRICS).read_text())
    assert metrics["test"] == test.metrics() and metrics["valid"] == race.best.valid.metrics()
    assert metrics["model"] == race.best.label
    assert metrics["bytes"] == race.best.bytes == stored_bytes(tmp_path / WEIGHTS)
    assert (metrics["budget"], metrics["uncompressed_bytes"]) == (race.budget, race.full.bytes)
    assert metrics["parameters"] == count_parameters(race.best.model.config).total
    # Rounding needs no training, so the history is that of the uncompressed model.
    assert metrics["epochs"] == 2 and metrics["data_sha256"] == base.record["data_sha256"]


def test_a_training_that_was_begun_goes_on(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(TimeoutError, match=r"before the first epoch .*; give more minutes"):
        train_uncompressed(tmp_path / "a", str(tiny), TRAINING, time.time() - 1, **SMALL)
    short = TrainConfig(epochs=1, learning_rate=0.02)
    train_uncompressed(tmp_path / "a", str(tiny), short, **SMALL)
    # No time for the second epoch: the run has what was done before.
    run = train_uncompressed(tmp_path / "a", str(tiny), TRAINING, time.time() - 1, **SMALL)
    assert run.record["epochs"] == 1
    run = train_uncompressed(tmp_path / "a", str(tiny), TRAINING, **SMALL)
    whole = train_uncompressed(tmp_path / "b", str(tiny), TRAINING, **SMALL)
    assert run.record["epochs"] == 2 and run.record["valid"] == whole.record["valid"]


def test_half_of_the_time_is_left_for_the_other_models(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time is enough for ten epochs; in the second run the data takes that of six."""
    now, done = time.time, []
    monkeypatch.setattr(time, "time", lambda: now() + 1000 * len(done))
    close, load = Training.close, run_folder.load_sequences

    def closed(self: Training, epoch: Epoch) -> None:
        done.append(epoch)
        close(self, replace(epoch, seconds=1000.0))

    monkeypatch.setattr(Training, "close", closed)
    long = TrainConfig(epochs=100, patience=100)
    deadline = time.time() + 10_500
    run = train_uncompressed(tmp_path / "a", str(tiny), long, deadline, **SMALL)
    assert run.record["epochs"] == run.record["train_config"]["epochs"] == 5

    def slow(*args, **options):
        done.extend([None] * 6)
        return load(*args, **options)

    monkeypatch.setattr(run_folder, "load_sequences", slow)
    deadline = time.time() + 10_500
    run = train_uncompressed(tmp_path / "b", str(tiny), long, deadline, **SMALL)
    assert run.record["epochs"] == 1


def test_a_folder_with_a_run_is_refused(base: Run, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="already holds a run; choose another folder"):
        check_free(base.folder)
    check_free(tmp_path)
    check_free(tmp_path / "new")


def test_a_folder_in_use_is_refused(base: Run, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="already holds a run; choose another folder"):
        check_free(base.folder)
    export_run(base.folder, tmp_path / "exported")
    with pytest.raises(ValueError, match="holds an exported model; choose another"):
        check_free(tmp_path / "exported")
    (tmp_path / CHECKPOINT).touch()
    with pytest.raises(ValueError, match="already holds a run; choose another"):
        check_free(tmp_path)
    check_free(tmp_path / "new")


def test_another_run_is_not_taken_for_the_uncompressed_one(
    base: Run, tiny: Path, tmp_path: Path
) -> None:
    """A compressed run has no checkpoint, so it could only be overwritten."""
    data = base.data()
    race = compress(base.model, data, "2x", TRAINING, deadline=time.time() - 1)
    write_best(tmp_path, base, data, race)
    with pytest.raises(ValueError, match="already holds a run; choose another folder"):
        train_uncompressed(tmp_path, str(tiny), TRAINING, **SMALL)
    assert Run.load(tmp_path).model.config == race.best.model.config


def test_stored_bytes_are_those_of_the_tensors(base: Run) -> None:
    with safe_open(base.folder / WEIGHTS, "pt") as file:
        expected = sum(file.get_tensor(name).nbytes for name in file.keys())  # noqa: SIM118
    path = base.folder / WEIGHTS
    assert stored_bytes(path) == expected
    assert stored_bytes(path) + header_bytes(path) == len(path.read_bytes())
