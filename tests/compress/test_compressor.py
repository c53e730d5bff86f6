"""Configurations with compressors: as JSON, what they refuse, and how modules are replaced."""

import json
from dataclasses import asdict, replace

import pytest
from torch import nn

from cprec_lib import ModelConfig, SequentialRecommender, nextitnet
from cprec_lib.compress.codes import Codes
from cprec_lib.compress.compressor import (
    KINDS,
    CompressedConfig,
    compress_with,
    compressed_config,
    replace_modules,
)
from cprec_lib.compress.hashing import Hashing
from cprec_lib.compress.pruning import Pruning
from cprec_lib.compress.quantisation import Rounding
from cprec_lib.compress.tying import Tying
from cprec_lib.model.config import config_from_json
from tests.compress.small import CONFIGS

STACK = compressed_config(CONFIGS["blocks"], Tying(), Rounding(4, 4))


def test_a_config_survives_json() -> None:
    text = json.dumps(asdict(STACK))
    assert json.loads(text)["compressors"] == [
        {"kind": "tying"},
        {"kind": "rounding", "bits": 4, "group": 4, "tunes": False},
    ]
    found = config_from_json(json.loads(text))
    assert found == STACK
    assert isinstance(found, CompressedConfig) and hash(found) == hash(STACK)


def test_an_uncompressed_config_stays_as_old_files_have_it() -> None:
    config = nextitnet(60, 16)
    assert "compressors" not in asdict(config)
    assert config.compressors == ()
    assert type(config_from_json(json.loads(json.dumps(asdict(config))))) is ModelConfig


def test_a_config_keeps_its_compressors_when_a_field_changes() -> None:
    assert replace(STACK, dropout=0.5).compressors == STACK.compressors
    assert replace(STACK, dropout=0.5).dropout == 0.5


def test_every_kind_is_found_by_its_name() -> None:
    every = (Tying(), Codes(), Hashing(), Rounding(), Pruning())
    made = {compressor.kind: type(compressor) for compressor in every}
    assert {kind: f"{cls.__module__}:{cls.__name__}" for kind, cls in made.items()} == KINDS


def test_an_unknown_kind_and_an_unknown_option_are_refused() -> None:
    whole = asdict(CONFIGS["full"])
    with pytest.raises(ValueError, match="kind of compressor"):
        CompressedConfig(**whole, compressors=({"kind": "zip"},))
    unknown = {"kind": "rounding", "depth": 3}
    with pytest.raises(TypeError, match="depth"):
        CompressedConfig(**whole, compressors=(unknown,))
    with pytest.raises(ValueError, match="this does not describe a model"):
        config_from_json({**whole, "compressors": [unknown]})


def test_nothing_follows_a_compressor_that_leaves_nothing_to_train() -> None:
    with pytest.raises(ValueError, match="a model after rounding cannot be compressed further"):
        compressed_config(CONFIGS["blocks"], Rounding(8), Tying())


def test_a_compressed_copy_is_the_model_built_with_the_compressor() -> None:
    model = SequentialRecommender(CONFIGS["full"], 1)
    small = compress_with(model, Rounding(8))
    again = SequentialRecommender(small.config, 1)
    for (name, ours), (other, theirs) in zip(
        small.named_parameters(), again.named_parameters(), strict=True
    ):
        assert name == other and ours.equal(theirs)
    assert model.config == CONFIGS["full"]


def test_a_module_in_several_places_is_replaced_in_all() -> None:
    shared = nn.Linear(2, 2)
    model = nn.ModuleDict({"a": shared, "b": nn.ModuleDict({"c": shared, "d": nn.Linear(2, 2)})})
    made = nn.Identity()
    replace_modules(model, {shared: made})
    assert model["a"] is made and model["b"]["c"] is made
    assert isinstance(model["b"]["d"], nn.Linear)
