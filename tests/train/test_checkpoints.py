"""Checkpoints: what they hold, what is refused, and the history of a training."""

import json
import math
import pickle
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from cprec_lib import History, SequenceData, TrainConfig, fit
from cprec_lib.train.checkpoints import CHECKPOINT, Checkpoint, Epoch
from tests.train.small import CONFIG, SHORT, assert_same, new_model, numbers, weights


def test_a_checkpoint_is_safetensors_with_a_description(data, tmp_path):
    fit(new_model(), data, replace(SHORT, epochs=2), tmp_path, progress=False)
    with safe_open(tmp_path / CHECKPOINT, "pt") as file:
        groups = {key.partition("/")[0] for key in file.keys()}  # noqa: SIM118 - no dictionary
        run = json.loads(file.metadata()["run"])
    assert groups == {"model", "best", "adamw"}
    assert [epoch["epoch"] for epoch in run["history"]] == [1, 2]
    assert run["training"]["learning_rate"] == 0.01


@pytest.fixture
def checkpoint(data, tmp_path) -> Path:
    fit(new_model(), data, replace(SHORT, epochs=1), tmp_path, progress=False)
    return tmp_path / CHECKPOINT


def rewrite(path: Path, drop: str = "", **metadata: str) -> None:
    """Write the checkpoint anew, without the first tensor of a group or with other metadata."""
    with safe_open(path, "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        metadata = {"run": file.metadata()["run"], **metadata}  # no seal
    if drop:
        del tensors[next(key for key in tensors if key.startswith(drop))]
    save_file(tensors, path, metadata)


def refuse(path: Path, data: SequenceData, message: str) -> None:
    """`fit` refuses the checkpoint, and neither it nor the model's weights change."""
    model, content = new_model(seed=4), path.read_bytes()
    before = weights(model)
    with pytest.raises(ValueError, match=message):
        fit(model, data, SHORT, path.parent, resume=True, progress=False)
    assert_same(weights(model), before)
    assert path.read_bytes() == content


@pytest.mark.parametrize("share", [0, 0.001, 0.02, 0.5, 0.999])
def test_a_checkpoint_cut_short_is_refused(checkpoint, data, share):
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[: int(share * len(content))])
    refuse(checkpoint, data, r"checkpoint\.safetensors is corrupt or no checkpoint.*delete it")


@pytest.mark.parametrize(
    "content", [b"hello", bytes(1000), pickle.dumps({"model": 1}), b"\xff" * 64]
)
def test_a_file_that_is_no_checkpoint_is_refused(checkpoint, data, content):
    checkpoint.write_bytes(content)
    refuse(checkpoint, data, "is corrupt or no checkpoint of this library")


def test_a_folder_in_its_place_is_named(tmp_path):
    with pytest.raises(ValueError, match=f"{tmp_path.name} is corrupt or no checkpoint"):
        Checkpoint.read(tmp_path)


def test_a_changed_checkpoint_is_refused_wherever_the_change_is(checkpoint, data):
    content = checkpoint.read_bytes()
    draw = random.Random(0)
    for place in [draw.randrange(8, len(content) - 32) for _ in range(40)]:
        changed = bytearray(content)
        changed[place : place + 32] = draw.randbytes(32)
        checkpoint.write_bytes(changed)
        with pytest.raises(ValueError, match="is corrupt or no checkpoint of this library"):
            fit(new_model(), data, SHORT, checkpoint.parent, resume=True, progress=False)


@pytest.mark.parametrize("metadata", [None, {"about": "x"}, {"run": "{"}])
def test_a_foreign_safetensors_file_is_refused(checkpoint, data, metadata):
    save_file({"weight": torch.zeros(3)}, checkpoint, metadata)
    refuse(checkpoint, data, "is corrupt or no checkpoint of this library")


@pytest.mark.parametrize("run", ["", "5", "[]", "null", "{}", '{"history": [{}]}', '"abc"'])
def test_a_description_of_nonsense_is_refused(checkpoint, data, run):
    rewrite(checkpoint, run=run)
    refuse(checkpoint, data, "is corrupt or no checkpoint of this library")


@pytest.mark.parametrize("group", ["model/", "best/"])
def test_a_checkpoint_without_all_weights_is_refused(checkpoint, data, group):
    rewrite(checkpoint, drop=group)
    refuse(checkpoint, data, "belongs to another model: its weights lack")


def change_tensor(path: Path, key: str, change) -> None:
    """Write the checkpoint anew with one tensor changed, or, where that gives none, left out."""
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = {"run": file.metadata()["run"]}  # no seal
    changed = change(tensors.pop(key))
    tensors |= {} if changed is None else {key: changed.contiguous()}
    save_file(tensors, path, metadata)


def with_number(value: float):
    def change(tensor: Tensor) -> Tensor:
        tensor = tensor.clone()
        tensor.view(-1)[-1] = value
        return tensor

    return change


@pytest.mark.parametrize(
    "key", ["model/softmax.root.weight", "best/softmax.root.weight", "adamw/0/exp_avg"]
)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: None, "belongs to another model: its weights lack KEY"),
        (lambda t: t[1:], r"belongs to another model: KEY is \("),
        (lambda t: t.flatten(), r"belongs to another model: KEY is \("),
        (lambda t: t[:0], r"belongs to another model: KEY is \(0, "),
        (lambda t: t.double(), "KEY is .* of torch.float64, the model's is .* of torch.float32"),
        (lambda t: t.to(torch.int8), "KEY is .* of torch.int8"),
        (lambda t: t.view(torch.int32), "KEY is .* of torch.int32"),
        (with_number(math.nan), "is corrupt: KEY has numbers that no training produces"),
        (with_number(-math.inf), "is corrupt: KEY has numbers that no training produces"),
    ],
)
def test_a_tensor_that_does_not_fit_is_refused_before_torch_gets_it(
    checkpoint, data, key, change, message
):
    """Torch takes any state of AdamW, and its fused step then writes beyond the end of it."""
    change_tensor(checkpoint, key, change)
    refuse(checkpoint, data, message.replace("KEY", key))


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        (
            "adamw/0/step",
            lambda t: t.view(1),
            r"is \(1,\) of torch.float32, the model's is \(\) of",
        ),
        ("adamw/0/step", lambda t: t.long(), "of torch.int64, the model's is"),
        ("adamw/0/step", with_number(0), "step has numbers that no training produces"),
        ("adamw/0/exp_avg_sq", with_number(-1e-9), "exp_avg_sq has numbers that no training"),
        ("adamw/0/step", lambda t: None, "its weights lack adamw/0/step"),
    ],
)
def test_a_state_of_adamw_that_no_training_makes_is_refused(checkpoint, data, key, change, message):
    change_tensor(checkpoint, key, change)
    refuse(checkpoint, data, message)


@pytest.mark.parametrize("key", ["adamw/99/step", "adamw/x/step", "adamw/0/more", "best/more"])
def test_a_tensor_that_the_model_lacks_is_refused(checkpoint, data, key):
    with safe_open(checkpoint, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = {"run": file.metadata()["run"]}  # no seal
    save_file({**tensors, key: torch.tensor(1.0)}, checkpoint, metadata)
    refuse(checkpoint, data, f"belongs to another model: the model lacks {key}")


@pytest.mark.parametrize(
    "history",
    [
        [],
        [{"epoch": 2, "loss": 1.0, "seconds": 1.0, "valid": {"ndcg@10": 0.5}}],
        [{"epoch": 1, "loss": "1", "seconds": 1.0, "valid": {"ndcg@10": 0.5}}],
        [{"epoch": 1, "loss": math.nan, "seconds": 1.0, "valid": {"ndcg@10": 0.5}}],
        [{"epoch": 1, "loss": 1.0, "seconds": None, "valid": {"ndcg@10": 0.5}}],
        [{"epoch": 1, "loss": 1.0, "seconds": 1.0, "valid": {"ndcg@10": []}}],
        [{"epoch": 1, "loss": 1.0, "seconds": 1.0, "valid": {}}],
        [{"epoch": 1, "loss": 1.0, "seconds": 1.0, "valid": 5}],
        [5],
        {"epoch": 1},
    ],
)
def test_a_history_that_no_training_writes_is_refused(checkpoint, data, history):
    with safe_open(checkpoint, "pt") as file:
        run = json.loads(file.metadata()["run"])
    rewrite(checkpoint, run=json.dumps({**run, "history": history}))
    refuse(checkpoint, data, "is corrupt or no checkpoint of this library")


def test_a_checkpoint_from_before_its_keys_were_renamed_goes_on(checkpoint, data, whole):
    with safe_open(checkpoint, "pt") as file:
        run = json.loads(file.metadata()["run"])
    old = {"max_len": 8, "split": "leave_one_out", "data's sha256": run["data"]["windows_sha256"]}
    rewrite(checkpoint, run=json.dumps({**run, "data": old}))
    model = new_model(seed=5)
    other = replace(data, train=data.train[1:])
    refuse(checkpoint, other, "its windows_sha256 is .*; use the same data and settings, or")
    history = fit(model, data, SHORT, checkpoint.parent, resume=True, progress=False)
    assert numbers(history) == numbers(whole[0])
    assert_same(weights(model), whole[1])


@pytest.mark.parametrize("part", ["model", "training", "data"])
def test_a_checkpoint_of_a_newer_library_or_without_a_part_is_refused(checkpoint, data, part):
    with safe_open(checkpoint, "pt") as file:
        run = json.loads(file.metadata()["run"])
    newer = {**run, part: {**run[part], "invention": 1}}
    rewrite(checkpoint, run=json.dumps(newer))
    refuse(checkpoint, data, "invention")
    del newer[part]
    rewrite(checkpoint, run=json.dumps(newer))
    refuse(checkpoint, data, f"is corrupt or no checkpoint of this library .*{part}")


def test_a_parameter_that_no_batch_has_used_has_no_state_and_goes_on(data, tmp_path):
    """In blocks without targets the softmax may leave a table without a gradient."""
    options = {"epochs": 1, "batch_size": 16}
    fit(new_model(), data, TrainConfig(**options), tmp_path, progress=False)
    path = tmp_path / CHECKPOINT
    for entry in ("step", "exp_avg", "exp_avg_sq"):
        change_tensor(path, f"adamw/0/{entry}", lambda tensor: None)
    config = TrainConfig(**{**options, "epochs": 2})
    assert len(fit(new_model(), data, config, tmp_path, True, progress=False).epochs) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"learning_rate": 0.02},
            r"of another run: its learning_rate is 0\.01, this run's is 0\.02",
        ),
        ({"batch_size": 8}, "its batch_size is 16, this run's is 8"),
        ({"seed": 1}, "its seed is 0, this run's is 1; use the same data and settings"),
        ({"weight_decay": 0.0}, "its weight_decay is"),
        ({"patience": 2}, "its patience is"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(checkpoint, data, change, message):
    config = replace(SHORT, **change)
    with pytest.raises(ValueError, match=message):
        fit(new_model(), data, config, checkpoint.parent, resume=True, progress=False)


def test_a_field_that_an_older_checkpoint_lacks_had_its_default(checkpoint, data):
    with safe_open(checkpoint, "pt") as file:
        run = json.loads(file.metadata()["run"])
    for name in ("middle", "layers", "heads", "max_positions"):
        del run["model"][name]
    rewrite(checkpoint, run=json.dumps(run))
    history = fit(new_model(), data, SHORT, checkpoint.parent, resume=True, progress=False)
    assert len(history.epochs) == SHORT.epochs
    run["model"]["dilations"] = [2, 2]
    rewrite(checkpoint, run=json.dumps(run))
    refuse(checkpoint, data, r"of another run: its dilations is \[2, 2\]")


def test_a_checkpoint_from_before_a_setting_existed_had_its_default(checkpoint, data):
    with safe_open(checkpoint, "pt") as file:
        run = json.loads(file.metadata()["run"])
    del run["training"]["precision"], run["training"]["compile"]
    rewrite(checkpoint, run=json.dumps(run))
    refuse_other = pytest.raises(ValueError, match="its precision is float32, this run's is bfloat")
    with refuse_other:
        other = replace(SHORT, precision="bfloat16")
        fit(new_model(), data, other, checkpoint.parent, resume=True, progress=False)
    history = fit(new_model(), data, SHORT, checkpoint.parent, resume=True, progress=False)
    assert len(history.epochs) == 4


def test_a_checkpoint_of_another_model_or_other_data_is_refused(checkpoint, data, table):
    other = replace(CONFIG, sharing="none")
    with pytest.raises(ValueError, match="its sharing is adjacent-block, this run's is none"):
        fit(new_model(other), data, SHORT, checkpoint.parent, resume=True, progress=False)
    longer = SequenceData.from_interactions(table, max_len=9)
    refuse_data = pytest.raises(ValueError, match="its max_len is 8, this run's is 9")
    with refuse_data:
        fit(new_model(), longer, SHORT, checkpoint.parent, resume=True, progress=False)
    fewer = replace(data, train=data.train[1:])
    with pytest.raises(ValueError, match="of another run: its windows_sha256"):
        fit(new_model(), fewer, SHORT, checkpoint.parent, resume=True, progress=False)


@pytest.mark.parametrize("part", ["contexts", "targets"])
def test_a_checkpoint_is_refused_if_the_validation_part_differs(checkpoint, data, part):
    """It chooses the best epoch, so a run that went on with another would be a mixture of two."""
    changed = getattr(data.valid, part).clone()
    changed.view(-1)[-1] = changed.view(-1)[-1] % 25 + 1
    other = replace(data, valid=replace(data.valid, **{part: changed}))
    refuse(checkpoint, other, "of another run: its windows_sha256")


def test_a_checkpoint_goes_on_if_the_test_part_alone_differs(checkpoint, data):
    other = replace(data, test=data.valid)
    history = fit(new_model(), other, SHORT, checkpoint.parent, resume=True, progress=False)
    assert len(history.epochs) == 4


def test_a_history_as_a_frame():
    epochs = [
        Epoch(n, 1 / n, n**2, {"hr@10": 0.1, "ndcg@10": v})
        for n, v in ((1, 0.2), (2, 0.2), (3, 0.1))
    ]
    history = History(epochs)
    frame = history.to_frame()
    assert frame.index.tolist() == [1, 2, 3]
    assert frame.columns.tolist() == ["loss", "seconds", "hr@10", "ndcg@10"]
    assert frame["ndcg@10"].tolist() == [0.2, 0.2, 0.1]
    assert history.best is epochs[0]
    assert history.seconds_per_epoch == 4


@pytest.mark.parametrize(
    "use", [lambda h: h.best, lambda h: h.seconds_per_epoch, lambda h: h.to_frame()]
)
def test_a_history_without_epochs_says_so(use):
    with pytest.raises(ValueError, match="this history has no epochs; take the one that fit retur"):
        use(History())


def test_the_seconds_of_an_even_number_of_epochs_lie_between_the_middle_two():
    history = History([Epoch(n, 1.0, s, {}) for n, s in enumerate((5.0, 1.0, 2.0, 9.0), start=1)])
    assert history.seconds_per_epoch == 3.5
