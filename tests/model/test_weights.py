"""Saving, loading, what is refused, and the initial weights."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from cprec_lib import (
    ModelConfig,
    SequentialRecommender,
    cprec,
    nextitnet,
)
from tests.model.test_recommender import SMALL, windows
from tests.strategies import configs


@pytest.fixture
def model() -> SequentialRecommender:
    return SequentialRecommender(SMALL).double()


@given(config=configs())
def test_a_saved_model_comes_back_with_the_same_scores(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    model = SequentialRecommender(config, seed=3)
    model.save(folder / "new" / "folder")
    loaded = SequentialRecommender.load(folder / "new" / "folder")
    assert loaded.config == config
    ids = windows(config, 0)
    assert torch.equal(loaded.scores(ids), model.scores(ids))
    # Shared convolutions are listed once, so this also holds the sharing.
    names = [[name for name, _ in m.named_parameters()] for m in (model, loaded)]
    assert names[0] == names[1]


def test_a_saved_model_is_json_and_safetensors_alone(model, tmp_path):
    model.save(str(tmp_path))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["config.json", "model.safetensors"]
    assert json.loads((tmp_path / "config.json").read_text()) == json.loads(
        json.dumps(asdict(SMALL))
    )
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert set(file.keys()) == {name for name, _ in model.named_parameters()}


def test_saving_again_replaces_the_earlier_model(model, tmp_path):
    model.save(tmp_path)
    other = SequentialRecommender(nextitnet(9, 3))
    other.save(tmp_path)
    assert SequentialRecommender.load(tmp_path).config == other.config


@pytest.fixture
def saved(model, tmp_path) -> Path:
    model.float().save(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(saved, name):
    (saved / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} is missing; a saved model is a folder"):
        SequentialRecommender.load(saved)
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing"):
        SequentialRecommender.load(saved / "nowhere")


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 100, 0.5, -1])
def test_a_file_cut_short_is_refused(saved, keep):
    path = saved / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(ValueError, match=r"model\.safetensors is corrupt, cut short or no safet"):
        SequentialRecommender.load(saved)


def test_a_pickle_is_refused_and_never_run(saved, tmp_path_factory):
    canary = tmp_path_factory.mktemp("canary") / "executed"

    class Payload:
        def __reduce__(self):
            return Path.touch, (canary,)

    torch.save({"weight": Payload()}, saved / "model.safetensors")
    with pytest.raises(ValueError, match="corrupt, cut short or no safetensors file"):
        SequentialRecommender.load(saved)
    assert not canary.exists()


@pytest.mark.parametrize(
    ("middle", "change"),
    [
        ("cnn", {"width": 20_000}),
        ("cnn", {"n_items": 10**10}),
        ("cnn", {"width": 10**12}),
        ("cnn", {"kernel_size": 10**9}),
        ("gru", {"layers": 10**9}),
        ("attention", {"layers": 10**9}),
        ("attention", {"max_positions": 10**10}),
    ],
)
def test_a_configuration_is_compared_with_the_weights_before_a_model_is_built(
    middle, change, tmp_path, monkeypatch
):
    """Else one changed number takes all memory, or all day."""
    SequentialRecommender(ModelConfig(25, 8, middle=middle)).save(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    monkeypatch.setattr(SequentialRecommender, "__init__", lambda *_: pytest.fail("it is built"))
    with pytest.raises(
        ValueError, match=r"another model: its weights are \d?\d,?\d+ numbers, the mod"
    ):
        SequentialRecommender.load(tmp_path)


def test_weights_of_another_model_are_refused(saved):
    path = saved / "model.safetensors"
    save_file({"weight": torch.zeros(3000)}, path)
    with pytest.raises(ValueError, match=r"its weights lack embedding.* with its own config\.json"):
        SequentialRecommender.load(saved)
    SequentialRecommender(nextitnet(12, 4, dilations=(1, 2))).save(saved)
    (saved / "config.json").write_text(json.dumps(asdict(nextitnet(12, 4, dilations=(1,)))))
    with pytest.raises(ValueError, match=r"the model lacks middle\.blocks\.1.*; load it with its"):
        SequentialRecommender.load(saved)
    SequentialRecommender(cprec(13, width=4, cutoffs=(3, 7), dilations=(1, 2))).save(saved)
    (saved / "config.json").write_text(json.dumps(asdict(SMALL)))
    with pytest.raises(ValueError, match=r"has shape \(6, 1\), the model's is \(5, 1\); load it"):
        SequentialRecommender.load(saved)


@pytest.mark.parametrize(
    "change",
    [
        {"colour": "red"},
        {"n_items": "12"},
        {"n_items": 12.0},
        {"n_items": None},
        {"n_items": True},
        {"n_items": -12},
        {"n_items": [12]},
        {"width": 1e300},
        {"dilations": 4},
        {"dilations": "14"},
        {"dilations": [1.0]},
        {"dilations": {"1": 2}},
        {"cutoffs": None},
        {"cutoffs": [7, 3]},
        {"factor": "four"},
        {"factor": 0},
        {"widths": "4"},
        {"widths": [9, 9]},
        {"block_input": "no"},
        {"block_softmax": 1},
        {"tree": "yes"},
        {"sharing": ["none"]},
        {"dropout": "0"},
        {"dropout": 2},
        {"dropout": float("nan")},
        {"middle": ["cnn"]},
        {"middle": None},
        {"middle": "gru"},  # with the dilations that the file has
        {"layers": "1"},
        {"heads": True},
        {"max_positions": 1.5},
    ],
)
def test_a_config_file_of_nonsense_is_refused(saved, change):
    path = saved / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=r"config\.json does not describe a model of this library"):
        SequentialRecommender.load(saved)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"{}", b"[]", b"5", b"null", b'"abc"', b"\x00\x01", b"\xff\xfe", b"[" * 100_000],
    ids=lambda content: repr(content[:5]),
)
def test_a_config_file_that_is_no_object_of_settings_is_refused(saved, content):
    (saved / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"config\.json does not describe a model of this library"):
        SequentialRecommender.load(saved)


def test_an_unknown_field_of_the_config_file_is_named(saved):
    path = saved / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "colour": 1, "age": 2}))
    with pytest.raises(ValueError, match=r"unknown fields \['age', 'colour'\]"):
        SequentialRecommender.load(saved)


def test_a_folder_that_cannot_be_made_is_named(model, tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match=r"cannot make the folder .*file.*; choose another one"):
            model.save(folder)


def test_the_authors_initial_weights() -> None:
    """Each kind of table has the spread that its distribution should have."""

    def spread(weight: Tensor) -> float:
        return float(weight.detach().std())

    full = SequentialRecommender(nextitnet(3000, 64, initial_weights="authors"))
    assert full.embedding.weight.abs().max() <= 3000**-0.5
    assert spread(full.embedding.weight) == pytest.approx((3 * 3000) ** -0.5, rel=0.02)
    assert spread(full.softmax.output.weight) == pytest.approx(0.01, rel=0.02)
    assert (full.softmax.output.bias == 0.1).all()
    weight = full.middle.blocks[0].conv1.weight
    assert weight.abs().max() <= 0.04 and spread(weight) == pytest.approx(0.0176, rel=0.03)
    assert (full.middle.blocks[0].conv1.bias == 0).all()

    small = SequentialRecommender(cprec(3000, 64, initial_weights="authors"))
    tables = [*small.embedding.tables, *small.softmax.tail_tables, small.softmax.root]
    for table in tables:
        rows, columns = table.weight.shape
        assert spread(table.weight) == pytest.approx((2 / (rows + columns)) ** 0.5, rel=0.05)


def test_initial_weights_are_saved_and_refused_by_name(tmp_path: Path) -> None:
    config = cprec(300, 8, initial_weights="authors")
    SequentialRecommender(config).save(tmp_path)
    assert SequentialRecommender.load(tmp_path).config == config
    assert not torch.equal(
        SequentialRecommender(config).softmax.root.weight,
        SequentialRecommender(replace(config, initial_weights="scaled")).softmax.root.weight,
    )
    with pytest.raises(ValueError, match="unknown initial weights 'zero'; choose one of scaled"):
        nextitnet(300, initial_weights="zero")
