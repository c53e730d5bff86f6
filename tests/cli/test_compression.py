"""The verb compress: on a small table, from the training to a run that other verbs take."""

import re
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from cprec_lib.compress import budget
from cprec_lib.compress.budget import Race, Trainer
from cprec_lib.compress.racers import RACERS, Racer
from cprec_lib.compress.runs import stored_bytes, train_uncompressed, write_best
from cprec_lib.serve.service import Service
from cprec_lib.train.config import TrainConfig
from cprec_lib.train.run_folder import Run
from tests.cli.shell import fail, no_work, read_metrics, succeed

SMALL = ["--width", "8", "--dilations", "1", "--epochs", "2", "--learning-rate", "0.02"]
SHORT = TrainConfig(epochs=1, learning_rate=0.02)


@pytest.fixture(scope="module")
def compressed(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder that the verb wrote, and what it printed."""
    folder = tmp_path_factory.mktemp("compressed")
    command = ["compress", "--dataset", tiny, "--budget", "3x", "--out", folder, *SMALL]
    return folder, succeed(*command)


@pytest.fixture(scope="module")
def base(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the uncompressed model."""
    folder = tmp_path_factory.mktemp("base") / "run"
    succeed("train", "--dataset", tiny, "--model", "nextitnet", "--out", folder, *SMALL)
    return folder


def test_it_writes_a_run_within_the_budget(compressed: tuple[Path, str]) -> None:
    folder, printed = compressed
    metrics, full = read_metrics(folder), read_metrics(folder / "uncompressed")
    assert metrics["budget"] == metrics["uncompressed_bytes"] // 3
    assert metrics["uncompressed_bytes"] == 4 * full["parameters"]
    path = folder / "model.safetensors"
    assert stored_bytes(path) == metrics["bytes"] <= metrics["budget"]
    header = path.stat().st_size - metrics["bytes"]
    said = f"{path}: {metrics['bytes']:,} bytes of tensors, and a header of {header:,} bytes"
    assert said in printed.splitlines()


def test_other_verbs_take_the_run(compressed: tuple[Path, str]) -> None:
    folder, printed = compressed
    evaluated = succeed("evaluate", "--model", folder)
    ndcg = re.search(r"ndcg@10 ?(0\.\d{4} \[.*\])", evaluated)
    assert ndcg and f"test NDCG@10 {ndcg[1]}" in printed
    assert len(succeed("recommend", "--model", folder, "103", "104").splitlines()) == 10


@pytest.fixture(scope="module")
def wide(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run of an uncompressed model whose width suits groups of 16 and eight splits."""
    architecture = {"width": 16, "dilations": (1,)}
    folder = tmp_path_factory.mktemp("wide")
    return train_uncompressed(
        folder, str(tiny), SHORT, architecture=architecture, progress=False, device="cpu"
    )


@pytest.fixture(scope="module")
def trainer(wide: Run) -> Trainer:
    return Trainer(wide.model.config, wide.data(), SHORT, torch.device("cpu"))


@pytest.mark.parametrize("racer", RACERS, ids=lambda racer: racer.label)
def test_a_run_of_every_racer_is_exported_and_served(
    racer: Racer, wide: Run, trainer: Trainer, tmp_path: Path
) -> None:
    """Without a budget: beside so few items, the centroids alone are larger than the model."""
    plan = next(racer.plans(wide.model.config, trainer.data.catalogue.counts))
    result = trainer.result(plan)
    assert result is not None
    write_best(tmp_path / "run", wide, trainer.data, Race(result, plan.bytes, (result,), ()))
    assert len(succeed("recommend", "--model", tmp_path / "run", "103", "104").splitlines()) == 10
    assert plan.label in succeed("export", "--model", tmp_path / "run", "--out", tmp_path / "out")
    service, run = Service(tmp_path / "out"), Run.load(tmp_path / "run")
    answer = service.recommend(["103", "104"], "id", 10, True, "first")
    history = [service.model.originals.find(original) for original in ("103", "104")]
    values, items = run.model.recommend([history], 10, exclude_seen=True)
    found = [item["log_probability"] for item in answer["items"]]
    np.testing.assert_allclose(found, values[0].numpy(), atol=1e-5)
    names = [service.model.originals[item - 1] for item in items[0].tolist()]
    assert [item["item"] for item in answer["items"]] == names
    service.observe("a user", "103", "id")
    service.observe("a user", "104", "id")
    followed = service.recommend_to("a user", 10, True)["items"]
    np.testing.assert_allclose([item["log_probability"] for item in followed], found, atol=1e-5)


def test_it_prints_the_front_with_intervals_and_what_the_test_says(
    compressed: tuple[Path, str],
) -> None:
    folder, printed = compressed
    metrics = read_metrics(folder)
    lines = printed.splitlines()
    start = lines.index("No other model is both smaller and better on validation than these:")
    rows = [line for line in lines[start + 2 :] if re.search(r" x  0\.\d{4} \[", line)]
    sizes = [int(re.search(r"([\d,]+) +[\d.]+ x", row)[1].replace(",", "")) for row in rows]
    assert sizes == sorted(sizes) and metrics["bytes"] in sizes
    chosen = f"The best that keeps the budget of {metrics['budget']:,} bytes: {metrics['model']}"
    assert chosen in lines
    assert f"test NDCG@10 {metrics['test']['ndcg@10']:.4f} [" in printed
    assert "Not tried" not in printed


def test_a_trained_run_is_compressed_in_no_time(base: Path, tmp_path: Path) -> None:
    out = tmp_path / "small"
    command = ["compress", "--model", base, "--budget", "2x", "--minutes", "0", "--out", out]
    printed = succeed(*command)
    assert re.search(r"Not tried for lack of time \(number of forms\): .*tied \(\d\)", printed)
    assert Run.load(out).model.config.compressors
    assert not (out / "uncompressed").exists()
    # A rounded run is not rounded again.
    assert "the model is compressed already; give the uncompressed one" in fail(
        "compress", "--model", out, "--budget", "2x", "--out", tmp_path / "again"
    )


def test_a_run_of_cprec_is_not_taken_for_an_uncompressed_one(trained: Path, tmp_path: Path) -> None:
    message = fail("compress", "--model", trained, "--budget", "2x", "--out", tmp_path)
    assert "the model has blocks, as CpRec does, so it is compressed already; give an" in message


def test_a_compressed_run_is_not_taken_for_an_uncompressed_one(base: Path, tmp_path: Path) -> None:
    """Even if it is a narrower NextItNet in float32, which has neither blocks nor rounding."""
    narrow, again = tmp_path / "narrow", tmp_path / "again"
    form = ["--budget", "2x", "--racer", "own tables, float32"]
    succeed("compress", "--model", base, "--out", narrow, *form)
    message = fail("compress", "--model", narrow, "--out", again, *form)
    assert f"{narrow} is a result of `cprec compress`, so the model is compressed" in message


def test_the_uncompressed_model_leaves_half_of_the_minutes(tiny: Path, tmp_path: Path) -> None:
    """No rounding of the model keeps this budget, so smaller ones have to be trained."""
    many = ["--epochs", "100000", "--patience", "100000"]
    command = ["compress", "--dataset", tiny, "--budget", "12x", "--out", tmp_path, *SMALL, *many]
    started = time.time()
    printed = succeed(*command, "--minutes", "0.1")
    assert time.time() - started < 30
    done = read_metrics(tmp_path / "uncompressed")["epochs"]
    said = f"The uncompressed model was cut short by the time limit after {done} of 100000 epochs"
    assert said in printed
    metrics = read_metrics(tmp_path)
    assert metrics["bytes"] <= metrics["budget"] and metrics["epochs"] <= done
    assert Run.load(tmp_path).model.config.width < 8


def test_only_the_named_racers_are_tried(base: Path, tmp_path: Path) -> None:
    command = ["compress", "--model", base, "--budget", "3x", "--out", tmp_path]
    printed = succeed(*command, "--racer", "tied, int8", "--racer", "pruned")
    found = re.findall(r"^(.*): [\d,]+ bytes, valid .*?((?:with 3 extra epochs)?)$", printed, re.M)
    labels = [label.partition(", width")[0].partition(" to ")[0] for label, _ in found]
    assert sorted(labels) == ["pruned", "tied, int8"]
    assert all(bool(extra) == label.startswith("pruned") for label, extra in found)
    metrics = read_metrics(tmp_path)
    assert metrics["tuning_epochs"] == 3 * metrics["model"].startswith("pruned")


def test_the_advice_for_a_changed_run_works(base: Path, tmp_path: Path) -> None:
    def compress(name: str) -> None:
        given = ["--budget", "3x", "--minutes", "0", "--out", tmp_path / name]
        succeed("compress", "--model", base, *given)

    compress("a")
    weights = tmp_path / "a" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    message = fail("evaluate", "--model", tmp_path / "a")
    assert "`cprec train` with --resume (resume=True), or `cprec compress` with another" in message
    compress("b")


def test_a_loss_that_is_allowed_ends_the_search(trained: Path, tiny: Path, tmp_path: Path) -> None:
    command = ["compress", "--dataset", tiny, "--budget", "3x", "--out", tmp_path, *SMALL]
    printed = succeed(*command, "--loss", "99%")
    assert len(re.findall(r"^.*: [\d,]+ bytes, valid", printed, flags=re.MULTILINE)) == 1
    assert "Not tried because --loss is reached (number of forms): " in printed
    assert read_metrics(tmp_path)["untried"] > 10


@pytest.mark.usefixtures("no_data")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--budget 2TB", "budget '2TB' is not a size; give one such as 500kB, 2MB or 8x"),
        ("--budget 1x", "budget '1x' makes no model smaller; give one such as 8x"),
        ("--budget 2x --width 0", "width 0 is below 1"),
        ("--budget 2x --racer int9", "unknown racer 'int9'; choose one of own tables; tied; low"),
        ("--budget 2x --epochs 0", "epochs 0 is below 1"),
        ("--budget 2x --sharing everything", "choose one of none, cross-layer"),
    ],
)
def test_faults_come_up_before_the_data(options: str, message: str, tmp_path: Path) -> None:
    start = ["compress", "--dataset", "ml-100k", "--out", tmp_path / "run"]
    assert message in fail(*start, *options.split())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--budget 2x", "name the data by --dataset, or a run by --model"),
        ("--budget 2x --model runs/a --width 8", "it is an option of the training, but the run"),
        ("--budget 2x --dataset a --loss much", "'much' is not a share; give one such as 1%"),
        ("--budget 2x --dataset a --loss 500%", "'500%' is not a share; give one such as 1%"),
        ("--budget 2x --dataset a --loss nan", "'nan' is not a share"),
        ("--budget 2x --dataset a --distillation 2", "'2' is not a share; give one such as 1%"),
        ("--budget 2x --dataset a --minutes nan", "'--minutes': 'nan' does not lie between 0 and"),
        ("--budget 2x --dataset a --minutes -1", "'--minutes': '-1' does not lie between 0 and"),
        ("--budget 2x --dataset a --cutoffs 0.1", "No such option: --cutoffs"),
        ("--dataset a", "Missing option '--budget'"),
    ],
)
def test_wrong_options_are_refused(options: str, message: str, tmp_path: Path) -> None:
    assert message in fail("compress", "--out", tmp_path / "run", *options.split(), status=2)


def test_budgets_out_of_reach_are_refused(base: Path, tmp_path: Path) -> None:
    command = ["compress", "--model", base, "--out", tmp_path / "run", "--budget"]
    assert "no model keeps the budget of 3 bytes; the smallest possible has" in fail(*command, "3")
    assert "so it keeps the budget of 9,000,000 already" in fail(*command, "9MB")
    assert "already holds a run" in fail(*command[:3], "--budget", "2x", "--out", base)


@pytest.mark.usefixtures("read_only")
def test_a_folder_that_cannot_be_written_is_refused_before_the_trainings(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "compress", no_work)
    command = ["compress", "--model", base, "--budget", "2x"]
    assert "cannot be written (Permission denied)" in fail(*command, "--out", tmp_path)


def test_an_exported_model_is_not_overwritten(trained: Path, tiny: Path, tmp_path: Path) -> None:
    succeed("export", "--model", trained, "--out", tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    command = ["compress", "--dataset", tiny, "--budget", "2x", "--out", tmp_path, *SMALL]
    assert "holds an exported model; choose another folder" in fail(*command)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_no_time_for_one_epoch_is_said(tiny: Path, tmp_path: Path) -> None:
    command = ["compress", "--dataset", tiny, "--budget", "3x", "--out", tmp_path, *SMALL]
    message = fail(*command, "--minutes", "0")
    assert "the time ends before the first epoch of the uncompressed model; give more" in message


def test_a_race_is_recorded_and_goes_on(tmp_path: Path, monkeypatch) -> None:
    from cprec_lib.evidence import race

    small = race.Setting(
        width=8, dilations=(1,), learning_rates=(0.02,), epochs=1, max_len=10, seeds=1
    )
    log = "synthetic:items=120,users=60,groups=6,zipf=0.8"
    monkeypatch.setitem(race.RACES, race.log_name(log), small)
    where = ["--results", tmp_path, "--work", tmp_path / "work", "--racer", "own tables, int8"]
    command = ["race", "--dataset", log, *where]
    printed = succeed(*command)
    assert "1/4, seed 0: own tables, int8, width" in printed and "New results in " in printed
    assert succeed(*command).strip().endswith(".json: 0")
    assert "unknown racer 'all'" in fail("race", "--dataset", log, "--racer", "all")


def test_the_racers_are_listed_without_a_log() -> None:
    listed = succeed("race", "--list").splitlines()
    assert {"shared codes, int8", "rounded full model, int8"} <= {*listed}
    assert "name the data by --dataset" in fail("race", status=2)
