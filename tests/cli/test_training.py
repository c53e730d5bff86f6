"""The verbs train, evaluate and recommend, on a table of 30 users."""

import csv
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

import cprec_lib
from cprec_lib import (
    SequentialRecommender,
    TrainConfig,
    cprec,
    evaluate,
    gru4rec,
    sasrec,
)
from cprec_lib.cli import training as verbs
from cprec_lib.cli.app import app
from cprec_lib.train import evaluation, run_folder
from tests.cli.shell import (
    LONGER,
    N_ITEMS,
    N_USERS,
    SMALL,
    cprec_command,
    fail,
    read_metrics,
    start,
    succeed,
    table,
)

ROOT = Path(__file__).resolve().parents[2]


def test_train_writes_the_run(trained: Path, tiny: Path) -> None:
    model = SequentialRecommender.load(trained)
    metrics = read_metrics(trained)
    assert asdict(model.config) == asdict(cprec(N_ITEMS, width=8, dilations=(1, 2)))
    assert metrics["dataset"] == str(tiny)
    assert metrics["model"] == "cprec"
    assert metrics["parameters"] == sum(p.numel() for p in model.parameters())
    assert (metrics["n_items"], metrics["n_users"]) == (N_ITEMS, N_USERS)
    assert (metrics["epochs"], metrics["seed"], metrics["device"]) == (4, 0, "cpu")
    assert metrics["threads"] == torch.get_num_threads()
    assert metrics["versions"]["torch"] == torch.__version__
    assert metrics["versions"]["cprec_lib"] == cprec_lib.__version__
    for part in ("valid", "test"):
        expected = evaluate(model, run_folder.Run.load(trained).data(), part).metrics()
        assert metrics[part] == expected


def test_train_writes_an_epoch_a_line(trained: Path) -> None:
    metrics = read_metrics(trained)
    epochs = [json.loads(line) for line in (trained / "history.jsonl").read_text().splitlines()]
    assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3, 4]
    assert metrics["seconds"] == sum(epoch["seconds"] for epoch in epochs)
    best = epochs[metrics["best_epoch"] - 1]
    assert (metrics["valid"], metrics["train_loss"]) == (best["valid"], best["loss"])


def test_train_writes_the_catalogue(trained: Path, tiny: Path) -> None:
    with (trained / "items.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    held_in = table().groupby("user").head(10)
    counts = held_in["item"].value_counts().reindex(range(100, 125), fill_value=0)
    expected = counts.sort_index().sort_values(ascending=False, kind="stable")
    assert [int(row["item"]) for row in rows] == list(range(1, N_ITEMS + 1))
    assert [int(row["original"]) for row in rows] == list(expected.index)
    assert [int(row["count"]) for row in rows] == list(expected)


def test_train_leaves_defaults_to_the_library(tiny: Path, tmp_path: Path) -> None:
    succeed("train", "--dataset", tiny, "--model", "cprec", "--out", tmp_path)
    metrics = read_metrics(tmp_path)
    assert metrics["model_config"] == json.loads(json.dumps(asdict(cprec(N_ITEMS))))
    assert metrics["train_config"] == asdict(TrainConfig())
    assert (metrics["max_len"], metrics["split"]) == (50, "leave_one_out")


def test_train_hands_every_option_on(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = (
        "--width 6 --dilations 2 --kernel-size 2 --cutoffs 4,9 --factor 2 --sharing cross-layer "
        "--dropout 0.1 --input-dropout 0.2 --no-block-input --no-tree --max-len 5 --split by_user "
        "--epochs 1 --batch-size 7 --learning-rate 0.01 --weight-decay 0.2 --patience 9 --seed 3 "
        "--split-seed 4 --initial-weights authors "
        "--device cpu --precision bfloat16 --schedule linear --compile --shard"
    )
    monkeypatch.setattr(torch, "compile", lambda function: function)  # it takes half a minute
    succeed("train", "--dataset", tiny, "--model", "cprec", "--out", tmp_path, *options.split())
    metrics = read_metrics(tmp_path)
    assert metrics["model_config"] == {
        "n_items": N_ITEMS,
        "width": 6,
        "dilations": [2],
        "kernel_size": 2,
        "cutoffs": [4, 9],
        "factor": 2,
        "widths": None,
        "block_input": False,
        "block_softmax": True,
        "tree": False,
        "sharing": "cross-layer",
        "dropout": 0.1,
        "middle": "cnn",
        "layers": None,
        "heads": None,
        "max_positions": None,
        "input_dropout": 0.2,
        "initial_weights": "authors",
    }
    assert metrics["train_config"] == {
        "epochs": 1,
        "batch_size": 7,
        "learning_rate": 0.01,
        "weight_decay": 0.2,
        "patience": 9,
        "seed": 3,
        "precision": "bfloat16",
        "compile": True,
        "shard": True,
        "schedule": "linear",
    }
    assert (metrics["max_len"], metrics["split"], metrics["split_seed"]) == (5, "by_user", 4)
    assert len(succeed("evaluate", "--model", tmp_path).splitlines()) == 10


def test_train_decomposes_the_baseline_where_asked(tiny: Path, tmp_path: Path) -> None:
    options = ["--block-softmax", "--cutoffs", "0.2", "--dilations", "", "--epochs", "1"]
    succeed("train", "--dataset", tiny, "--model", "nextitnet", "--out", tmp_path, *options)
    config = read_metrics(tmp_path)["model_config"]
    assert (config["cutoffs"], config["dilations"]) == ([5], [])
    assert (config["block_input"], config["block_softmax"]) == (False, True)


@pytest.mark.parametrize("model", ["gru4rec", "sasrec"])
def test_train_knows_other_fillings(model: str, tiny: Path, tmp_path: Path) -> None:
    options = "--layers 3 --width 8 --max-len 60 --epochs 1 --block-input --cutoffs 0.2,0.5"
    heads = ["--heads", "2"] if model == "sasrec" else []
    command = ["train", "--dataset", tiny, "--model", model, "--out", tmp_path]
    succeed(*command, *options.split(), *heads)
    preset = {"gru4rec": gru4rec, "sasrec": sasrec}[model]
    own = {"heads": 2, "max_positions": 60} if model == "sasrec" else {}
    expected = preset(N_ITEMS, 8, (0.2, 0.5), layers=3, block_input=True, **own)
    assert SequentialRecommender.load(tmp_path).config == expected
    assert read_metrics(tmp_path)["model"] == model
    assert len(succeed("evaluate", "--model", tmp_path).splitlines()) == 10
    assert len(succeed("recommend", "--model", tmp_path, "103", "104").splitlines()) == 10


@pytest.mark.usefixtures("no_data")
@pytest.mark.parametrize(
    ("model", "option", "known"),
    [
        ("gru4rec", "--dilations 1,2", "which has layers"),
        ("sasrec", "--kernel-size 3", "which has layers, heads, max_positions"),
        ("sasrec", "--sharing none", "which has layers, heads, max_positions"),
        ("cprec", "--layers 2", "which has dilations, kernel_size, sharing"),
        ("nextitnet", "--heads 2", "which has dilations, kernel_size, sharing"),
        ("gru4rec", "--max-positions 2", "which has layers"),
    ],
)
def test_options_of_other_middle_layers_are_refused(
    model: str, option: str, known: str, tmp_path: Path
) -> None:
    command = ["train", "--dataset", "ml-100k", "--model", model, "--out", tmp_path / "run"]
    message = fail(*command, *option.split())
    name = option.split()[0].removeprefix("--").replace("-", "_")
    assert f"Error: {name}" in message and "no option of the middle" in message
    assert known in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("model", ["nextitnet", "gru4rec", "sasrec"])
@pytest.mark.parametrize(
    "option", [("--cutoffs", "0.2"), ("--factor", "2"), ("--no-tree",), ("--widths", "8,2")]
)
def test_options_of_blocks_need_blocks(
    model: str, option: tuple[str, ...], tiny: Path, tmp_path: Path
) -> None:
    command = ["train", "--dataset", tiny, "--model", model, "--out", tmp_path / "run"]
    message = fail(*command, *option, status=2)
    assert f"{model} is not cut into blocks; add --block-input or --block-softmax" in message
    assert not (tmp_path / "run").exists()


def test_same_seed_same_weights_and_another_seed_others(
    tiny: Path, trained: Path, tmp_path: Path
) -> None:
    weights = {}
    for seed in (0, 1):
        out = tmp_path / str(seed)
        command = ["train", "--dataset", tiny, "--model", "cprec", "--out", out, *LONGER]
        succeed(*command, "--seed", seed)
        weights[seed] = (out / "model.safetensors").read_bytes()
    assert weights[0] == (trained / "model.safetensors").read_bytes()
    assert weights[1] != weights[0]


def test_the_seed_draws_the_initial_weights(tiny: Path, tmp_path: Path) -> None:
    still = ["--epochs", "1", "--learning-rate", "1e-12", "--weight-decay", "0"]
    options = [*SMALL, *still, "--seed", "3"]
    succeed("train", "--dataset", tiny, "--model", "cprec", "--out", tmp_path, *options)
    trained = SequentialRecommender.load(tmp_path)
    initial = SequentialRecommender(trained.config, seed=3)
    for after, before in zip(trained.parameters(), initial.parameters(), strict=True):
        torch.testing.assert_close(after, before, atol=1e-9, rtol=1e-6)


def test_train_goes_on_for_more_epochs(tiny: Path, tmp_path: Path) -> None:
    command = ["train", "--dataset", tiny, "--model", "nextitnet", "--out", tmp_path, *SMALL]
    succeed(*command)
    first = (tmp_path / "history.jsonl").read_text()
    succeed(*command, "--resume", "--epochs", "4", "--patience", "3")
    assert (tmp_path / "history.jsonl").read_text().startswith(first)
    assert read_metrics(tmp_path)["epochs"] == 4


@pytest.mark.filterwarnings("default")
def test_train_tells_of_dropped_users(tmp_path: Path) -> None:
    short = pd.DataFrame({"user": [99], "item": [100], "timestamp": [0]})
    path, out = tmp_path / "short.csv", tmp_path / "run"
    pd.concat([table(), short]).to_csv(path, index=False)
    result = cprec_command(
        *("train", "--dataset", path, "--model", "nextitnet", "--out", out, *SMALL)
    )
    assert result.stderr.startswith("Warning: 1 of 31 users have fewer than 3 interactions")
    metrics = read_metrics(out)
    assert (metrics["n_users"], metrics["dropped_users"]) == (30, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--dataset nowhere", "none of the data sets ml-100k"),
        ("--cutoffs 0.5,0.2", "do not increase"),
        ("--cutoffs 5,30", "leaves no tail in a catalogue of 25 items"),
        ("--cutoffs 0.2,9", "mix shares and counts"),
        ("--sharing everything", "choose one of none, cross-layer"),
        ("--width 0", "width 0"),
        ("--epochs 0", "epochs 0"),
        ("--learning-rate 1e9", "try a learning rate of 3.3e+08"),
        ("--max-len 0", "max_len 0"),
        ("--dilations 1.5", "dilations 1.5 is not a whole number"),
        ("--cutoffs 0", "0 is below 1"),
    ],
)
def test_train_says_what_is_wrong(options: str, message: str, tiny: Path, tmp_path: Path) -> None:
    start = ["--dataset", tiny, "--model", "cprec", "--out", tmp_path]
    assert message in fail("train", *start, *SMALL, *options.split())
    assert not (tmp_path / "metrics.json").exists()


@pytest.mark.parametrize(
    "options",
    [
        "--model gru",
        "--split randomly",
        "--device tpu",
        "--dilations one,two",
        "--dilations 1,",
        "--cutoffs inf",
        "--cutoffs nan",
        "--seed -1",
        "--seed 4294967296",
        "--width 99999999999999999999",
        "--width 1.5",
        "--width ٣",
    ],
)
def test_train_refuses_wrong_options(options: str, tiny: Path, tmp_path: Path) -> None:
    start = ["--dataset", tiny, "--model", "cprec", "--out", tmp_path]
    assert options.split()[0] in fail("train", *start, *options.split(), status=2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_train_refuses_a_model_that_no_memory_holds(tiny: Path, tmp_path: Path) -> None:
    command = ["train", "--dataset", tiny, "--model", "cprec", "--out", tmp_path / "run"]
    message = fail(*command, "--width", "4000000000")
    assert re.search(r"need [0-9,]+\.[0-9] GB, and .* free; choose a narrower model", message)
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_train_refuses_a_device_that_is_not_there(tiny: Path, tmp_path: Path) -> None:
    start = ["--dataset", tiny, "--model", "cprec", "--out", tmp_path]
    assert "choose auto or cpu" in fail("train", *start, "--device", "cuda")


def test_train_writes_curves_for_tensorboard(tiny: Path, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    command = ["train", "--dataset", tiny, "--model", "cprec", "--out", tmp_path, *SMALL]
    succeed(*command, "--tensorboard")
    succeed(*command, "--tensorboard", "--resume", "--epochs", "3")
    curves = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    epochs = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    for name, values in (
        ("train/loss", [epoch["loss"] for epoch in epochs]),
        ("valid/ndcg@10", [epoch["valid"]["ndcg@10"] for epoch in epochs]),
    ):
        found = curves.Scalars(name)
        assert [scalar.step for scalar in found] == [1, 2, 3]
        assert [scalar.value for scalar in found] == pytest.approx(values)


def test_train_says_how_to_get_tensorboard(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verbs, "find_spec", lambda name: None)
    out = tmp_path / "run"
    command = ["train", "--dataset", tiny, "--model", "cprec", "--out", out, "--tensorboard"]
    assert "run `pip install tensorboard`" in fail(*command)
    assert not out.exists()


@pytest.mark.usefixtures("no_data")
def test_train_never_overwrites_a_run(trained: Path) -> None:
    before = {path.name: path.read_bytes() for path in trained.iterdir()}
    message = fail("train", "--dataset", "ml-100k", "--model", "cprec", "--out", trained)
    assert "already holds a run" in message
    assert "--resume" in message
    assert {path.name: path.read_bytes() for path in trained.iterdir()} == before


@pytest.mark.usefixtures("no_data")
def test_train_refuses_a_folder_that_cannot_be_made(tiny: Path) -> None:
    out = tiny / "below_a_file"
    message = fail("train", "--dataset", "ml-100k", "--model", "cprec", "--out", out)
    assert f"cannot make the folder {out}" in message


@pytest.mark.usefixtures("no_data", "read_only")
def test_train_refuses_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    message = fail("train", "--dataset", "ml-100k", "--model", "cprec", "--out", tmp_path)
    assert f"the folder {tmp_path} cannot be written (Permission denied)" in message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--width 16", "its width is 8"),
        ("--seed 1", "its seed is 0"),
        ("--max-len 4", "its max_len is 50"),
        ("--dataset OTHER", "its windows_sha256 is"),
    ],
)
def test_resume_refuses_another_run(
    options: str, message: str, trained: Path, tiny: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.csv"
    table(seed=1).to_csv(other, index=False)
    before = {path.name: path.read_bytes() for path in trained.iterdir()}
    start = ["train", "--dataset", tiny, "--model", "cprec", "--out", trained, "--resume"]
    assert message in fail(*start, *LONGER, *options.replace("OTHER", str(other)).split())
    assert {path.name: path.read_bytes() for path in trained.iterdir()} == before


# evaluate


def test_evaluate_prints_intervals_around_the_metrics(trained: Path) -> None:
    metrics = read_metrics(trained)
    for part in ("test", "valid"):
        heading, *lines = succeed("evaluate", "--model", trained, "--split-part", part).splitlines()
        assert heading == f"{part}, 30 users"
        assert len(lines) == 9
        for line in lines:
            name, estimate, low, high = line.replace("[", " ").replace(",", " ")[:-1].split()
            assert float(estimate) == pytest.approx(metrics[part][name], abs=5e-5)
            assert float(low) <= float(estimate) <= float(high)


def test_evaluate_takes_the_test_part_unless_told(trained: Path) -> None:
    expected = succeed("evaluate", "--model", trained, "--split-part", "test")
    assert succeed("evaluate", "--model", trained) == expected


def test_evaluate_refuses_another_catalogue(trained: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    for changed in (table(seed=1), table().query("item < 120")):
        changed.to_csv(other, index=False)
        message = fail("evaluate", "--model", trained, "--dataset", other)
        assert "is not the model's (25 items)" in message


def test_evaluate_needs_a_finished_run(trained: Path, tmp_path: Path) -> None:
    assert "holds no finished run: config.json is" in fail("evaluate", "--model", tmp_path)
    for path in trained.iterdir():
        if path.name != "metrics.json":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    assert "no finished run: metrics.json is missing" in fail("evaluate", "--model", tmp_path)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with data/log.csv and runs/small, trained from there with relative paths."""
    folder = tmp_path / "project"
    (folder / "data").mkdir(parents=True)
    table().to_csv(folder / "data" / "log.csv", index=False)
    monkeypatch.chdir(folder)
    command = ["train", "--dataset", "data/log.csv", "--model", "cprec", "--out", "runs/small"]
    succeed(*command, *SMALL)
    return folder


def test_evaluate_finds_the_data_from_elsewhere(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = succeed("evaluate", "--model", "runs/small")
    monkeypatch.chdir(tmp_path)
    assert succeed("evaluate", "--model", "project/runs/small") == here
    (project / "data" / "log.csv").rename(tmp_path / "moved.csv")
    message = fail("evaluate", "--model", project / "runs" / "small")
    assert "data/log.csv, is neither here nor in a folder above" in message
    assert "--dataset" in message
    command = ["evaluate", "--model", "project/runs/small", "--dataset", "moved.csv"]
    assert succeed(*command) == here


@pytest.mark.filterwarnings("default")
def test_evaluate_says_that_the_data_has_changed(project: Path) -> None:
    unchanged = cprec_command("evaluate", "--model", "runs/small")
    assert (unchanged.exit_code, unchanged.stderr) == (0, "")
    later = table().assign(timestamp=lambda rows: rows["timestamp"] + 1)
    later.to_csv("data/log.csv", index=False)
    changed = cprec_command("evaluate", "--model", "runs/small")
    assert changed.exit_code == 0
    assert "Warning: the data of 'data/log.csv' is not that of the training" in changed.stderr


def test_columns_and_separator_are_recorded(tmp_path: Path) -> None:
    log, out = tmp_path / "log.csv", tmp_path / "run"
    names = {"user": "who", "item": "what", "timestamp": "when"}
    table().rename(columns=names).to_csv(log, index=False, sep="\t")
    reading = ["--user-column", "who", "--item-column", "what", "--time-column", "when"]
    reading += ["--separator", r"\t"]
    assert "30 users" in succeed("data", log, *reading)
    succeed("train", "--dataset", log, "--model", "cprec", "--out", out, *SMALL, *reading)
    assert read_metrics(out)["reading"] == {
        "user_column": "who",
        "item_column": "what",
        "time_column": "when",
        "separator": "\t",
    }
    assert succeed("evaluate", "--model", out) == succeed("evaluate", "--model", out, *reading)


# recommend


def test_recommend_prints_what_the_model_says(trained: Path) -> None:
    run = run_folder.Run.load(trained)
    printed = succeed("recommend", "--model", trained, "--k", "4", "107", "100")
    history = [run.items.index[run.items["original"] == name][0] for name in ("107", "100")]
    log_prob, items = run.model.recommend([history], 4, exclude_seen=True)
    expected = [
        [str(rank), run.items["original"][int(item)], f"{value.exp():.4f}"]
        for rank, (item, value) in enumerate(zip(items[0], log_prob[0], strict=True), start=1)
    ]
    assert [line.split() for line in printed.splitlines()] == expected


def test_recommend_leaves_out_what_was_seen_unless_told(trained: Path) -> None:
    def names(*options: str) -> set[str]:
        printed = succeed("recommend", "--model", trained, *options, "100", "101")
        return {line.split()[1] for line in printed.splitlines()}

    assert names("--k", "23").isdisjoint({"100", "101"})
    assert names("--k", "25", "--include-seen") == {str(i) for i in range(100, 125)}
    assert len(names()) == 10


def test_recommend_by_title(with_titles: str, tmp_path: Path) -> None:
    succeed("train", "--dataset", with_titles, "--model", "cprec", "--out", tmp_path, *SMALL)
    run = run_folder.Run.load(tmp_path)
    assert run.items["title"][run.items["original"] == "107"].item() == "Film 7\ra tale"
    assert run.find(['film "6", A\r\ntale']) == list(run.items.index[run.items.original == "106"])
    assert run.items["title"][run.items["original"] == "103"].item() == "103"
    assert run.find(["Twins"]) == [run.items.index[run.items["title"] == "Twins"].min()]
    assert "Twins" in succeed("recommend", "--model", tmp_path, "--k", "24", "103")
    assert "Twins" in fail("recommend", "--model", tmp_path, "Twinz")


def test_titles_neither_steer_the_terminal_nor_need_its_characters(
    with_titles: str, tmp_path: Path
) -> None:
    succeed("train", "--dataset", with_titles, "--model", "cprec", "--out", tmp_path, *SMALL)
    command = ["recommend", "--model", str(tmp_path), "--k", "24", "103"]
    assert r"\x1b[31m本棚\u202e" in succeed(*command)
    result = CliRunner(charset="cp1252").invoke(app, command)
    assert result.exit_code == 0
    assert r"\x1b[31m??\u202e" in result.stdout
    assert len(result.stdout.splitlines()) == 24  # line ends in titles are no lines


def test_recommend_says_how_to_give_an_id_with_a_dash(trained: Path) -> None:
    message = fail("recommend", "--model", trained, "-5", status=2)
    assert "No such option: -5. Write -- before the first argument" in message
    message = fail("recommend", "--model", trained, "--", "-5")
    assert "item '-5' is not in the catalogue. The model has no titles: give ids of its" in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["1007"], "the nearest are 107"),
        ([""], "not in the catalogue"),
        (["--k", "25", "100"], "ask for fewer"),
    ],
)
def test_recommend_says_what_is_wrong(arguments: list[str], message: str, trained: Path) -> None:
    assert message in fail("recommend", "--model", trained, *arguments)


def test_recommend_refuses_wrong_options(trained: Path) -> None:
    assert "ITEM" in fail("recommend", "--model", trained, status=2)
    assert "--k" in fail("recommend", "--model", trained, "--k", "0", "100", status=2)


@pytest.mark.usefixtures("no_data")
@pytest.mark.parametrize("text", ["", " "])
def test_an_empty_path_is_refused(text: str) -> None:
    """An unset variable would write into the current folder."""
    train = ["train", "--dataset", "ml-100k", "--model", "cprec", "--out", text]
    for command in (train, ["evaluate", "--model", text], ["recommend", "--model", text, "1"]):
        assert "the path is empty" in fail(*command, status=2)
    for use in (
        lambda: run_folder.train(text, "ml-100k", "cprec"),
        lambda: run_folder.Run.load(text),
    ):
        with pytest.raises(ValueError, match="the path is empty"):
            use()


def test_ctrl_c_ends_with_130_and_names_resume(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = ["train", "--dataset", tiny, "--model", "nextitnet", "--out", tmp_path, *SMALL]
    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "evaluate", interrupt_at_second_call(evaluation.evaluate))
        result = cprec_command(*start)
    assert result.exit_code == 130
    assert "Repeat the command with --resume" in result.stderr
    assert "Traceback" not in result.output
    assert "already holds a run" in fail(*start)
    assert "2 epochs" in succeed(*start, "--resume")


def interrupt_at_second_call(function: Callable[..., Any]) -> Callable[..., Any]:
    calls = []

    def interrupted(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return function(*arguments)

    return interrupted


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL on Windows")
@pytest.mark.parametrize("sign", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_a_killed_run_resumes_bit_for_bit(tiny: Path, tmp_path: Path, sign: str) -> None:
    length = ["--epochs", "40", "--patience", "40"]
    model = ["--model", "cprec", "--width", "8", "--dropout", "0.2"]
    command = ["train", "--dataset", tiny, *model, *length, "--out"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    succeed(*command, whole)
    program = start(*command, killed, folder=tmp_path)
    end_after_first_epoch(program, killed, signal.Signals[sign])
    assert "40 epochs" in succeed(*command, killed, "--resume")
    name = "model.safetensors"
    assert (killed / name).read_bytes() == (whole / name).read_bytes()
    # The weights of the last epoch and the optimizer's state, of which the best model says nothing.
    ends = [load_file(folder / "checkpoint.safetensors") for folder in (whole, killed)]
    assert ends[0].keys() == ends[1].keys()
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])
    assert read_metrics(whole)["test"] == read_metrics(killed)["test"]


def end_after_first_epoch(
    program: "subprocess.Popen[str]", out: Path, sign: signal.Signals
) -> None:
    deadline = time.monotonic() + 60
    while not (out / "checkpoint.safetensors").exists():
        assert program.poll() is None, program.communicate()
        assert time.monotonic() < deadline, "no checkpoint within a minute"
        time.sleep(0.002)
    program.send_signal(sign)
    _, errors = program.communicate()
    if sign == signal.SIGINT:
        assert "Repeat the command with --resume to continue." in errors
        assert program.returncode == 130
    else:
        assert program.returncode == -sign
    assert not (out / "metrics.json").exists(), "the run ended before it could be killed"
