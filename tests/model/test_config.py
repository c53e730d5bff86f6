"""Configurations: presets, what they refuse, old files."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import given

from cprec_lib import (
    GRU,
    BlockEmbedding,
    BlockPartition,
    BlockSoftmax,
    DilatedCNN,
    FullEmbedding,
    FullSoftmax,
    LowRankSoftmax,
    ModelConfig,
    SelfAttention,
    SequentialRecommender,
    cprec,
    gru4rec,
    nextitnet,
    sasrec,
)
from cprec_lib.model.config import OPTIONS, config_from_json, resolve_cutoffs
from tests.strategies import configs


def test_nextitnet_is_the_uncompressed_model():
    config = nextitnet(100, 16, dilations=(1, 2))
    assert config == ModelConfig(100, 16, dilations=(1, 2), sharing="none")
    assert not config.decomposed
    model = SequentialRecommender(config)
    assert isinstance(model.embedding, FullEmbedding)
    assert isinstance(model.middle, DilatedCNN)
    assert isinstance(model.softmax, FullSoftmax)


def test_cprec_is_decomposed_on_both_sides_and_shares_layers():
    config = cprec(100, 16)
    assert config.cutoffs == (5, 20)
    assert config.partition == BlockPartition(100, (5, 20), (16, 4, 1))
    assert config.sharing == "adjacent-block"
    model = SequentialRecommender(config)
    assert isinstance(model.embedding, BlockEmbedding)
    assert isinstance(model.softmax, BlockSoftmax)
    assert model.embedding.partition == model.softmax.partition == config.partition
    assert model.middle.blocks[0].conv1 is model.middle.blocks[1].conv1


def test_the_ablations_of_cprec():
    flat = SequentialRecommender(cprec(100, 16, tree=False))
    assert isinstance(flat.softmax, LowRankSoftmax)
    input_only = SequentialRecommender(cprec(100, 16, block_softmax=False))
    assert isinstance(input_only.embedding, BlockEmbedding)
    assert isinstance(input_only.softmax, FullSoftmax)
    softmax_only = SequentialRecommender(cprec(100, 16, block_input=False))
    assert isinstance(softmax_only.embedding, FullEmbedding)
    assert isinstance(softmax_only.softmax, BlockSoftmax)


def test_gru4rec_and_sasrec_are_other_fillings():
    recurrent = SequentialRecommender(gru4rec(100, 16, layers=3, dropout=0.25))
    assert isinstance(recurrent.middle, GRU)
    assert len(recurrent.middle.layers) == 3
    config = sasrec(100, 16, heads=4, max_positions=30, dropout=0.25)
    attentive = SequentialRecommender(config)
    assert isinstance(attentive.middle, SelfAttention)
    assert [block.heads for block in attentive.middle.blocks] == [4, 4]
    assert attentive.middle.positions.shape == (30, 16)
    for model in (recurrent, attentive):
        assert isinstance(model.embedding, FullEmbedding)
        assert isinstance(model.softmax, FullSoftmax)
        assert {m.p for m in model.middle.modules() if isinstance(m, torch.nn.Dropout)} == {0.25}


@pytest.mark.parametrize("preset", [nextitnet, gru4rec, sasrec])
@pytest.mark.parametrize("cutoffs", [(5, 20), (0.05, 0.2)])
def test_the_bread_of_cprec_fits_around_other_fillings(preset, cutoffs):
    config = preset(100, 16, cutoffs, block_input=True, block_softmax=True)
    assert config.partition == cprec(100, 16, cutoffs).partition
    model = SequentialRecommender(config)
    assert isinstance(model.embedding, BlockEmbedding)
    assert isinstance(model.softmax, BlockSoftmax)


@pytest.mark.parametrize("preset", [nextitnet, gru4rec, sasrec])
def test_a_config_has_the_defaults_of_its_own_kind_of_middle_and_no_others(preset):
    config = preset(12, 4)
    own = {
        "cnn": {"dilations": (1, 4, 1, 4), "kernel_size": 3, "sharing": "none"},
        "gru": {"layers": 1},
        "attention": {"layers": 2, "heads": 1, "max_positions": 50},
    }[config.middle]
    assert {name: getattr(config, name) for name in OPTIONS} == dict.fromkeys(OPTIONS) | own


@pytest.mark.parametrize(
    ("preset", "options", "message"),
    [
        (nextitnet, {"heads": 3}, "heads: no option of the middle 'cnn', which has dilations, k"),
        (cprec, {"layers": 1}, "layers: no option of the middle 'cnn'"),
        (gru4rec, {"sharing": "none"}, "sharing: no option of the middle 'gru', which has layers;"),
        (gru4rec, {"max_positions": 50}, "max_positions: no option of the middle 'gru'"),
        (sasrec, {"dilations": (1,)}, "dilations: no option of .*, which has layers, heads, max_p"),
        (sasrec, {"dilations": (), "kernel_size": 3}, "dilations, kernel_size: no option of the"),
    ],
)
def test_an_option_of_other_middle_layers_is_refused(preset, options, message):
    with pytest.raises(ValueError, match=message):
        preset(12, 4, **options)


def test_options_reach_the_layers():
    config = cprec(100, 8, cutoffs=(10, 30), widths=(8, 5, 2), kernel_size=2, dropout=0.25)
    model = SequentialRecommender(config)
    assert config.partition.widths == (8, 5, 2)
    assert model.middle.blocks[0].conv1.weight.shape == (8, 8, 2)
    assert model.middle.blocks[0].dropout.p == 0.25
    assert cprec(100, 8, cutoffs=(10, 30), factor=2).partition.widths == (8, 4, 2)


def test_input_dropout_falls_on_what_the_filling_sees(monkeypatch):
    seen = []
    model = SequentialRecommender(nextitnet(12, 64, input_dropout=0.75))
    monkeypatch.setattr(model.middle, "forward", lambda hidden, real: seen.append(hidden) or hidden)
    ids = torch.arange(12).view(2, 6) + 1
    vectors = model.embedding(ids)
    model(ids)
    kept = seen[0] != 0
    assert 0.15 < kept.float().mean() < 0.35
    assert torch.allclose(seen[0][kept], 4 * vectors[kept])
    model.eval()(ids)
    assert torch.equal(seen[1], vectors)


@pytest.mark.parametrize(
    ("cutoffs", "counts"),
    [
        ((0.05, 0.2), (5, 20)),
        ((5, 20), (5, 20)),
        ([5.0, 20.0], (5, 20)),
        (np.array([5, 20]), (5, 20)),
        (np.array([0.05, 0.2]), (5, 20)),
        ((), ()),
    ],
)
def test_cutoffs_are_shares_or_counts(cutoffs, counts):
    resolved = resolve_cutoffs(100, cutoffs)
    assert resolved == counts
    assert all(type(count) is int for count in resolved)


@pytest.mark.parametrize(
    "cutoffs", [(0.05, 20), (5, 20.5), (1.5,), (5, float("inf")), (float("nan"),)]
)
def test_cutoffs_that_mix_shares_and_counts_are_refused(cutoffs):
    with pytest.raises(ValueError, match="mix shares and counts; give either shares below 1"):
        cprec(100, 16, cutoffs=cutoffs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_items": 0}, "n_items 0 is below 1; give a whole number of at least 1"),
        ({"width": 0}, "width 0 is below 1; give a whole number of at least 1"),
        ({"width": -1}, "width -1 is below 1"),
        ({"width": 2.5}, r"width 2\.5 is not a whole number"),
        ({"width": "8"}, "width '8' is not a whole number"),
        ({"kernel_size": 0}, "kernel_size 0 is below 1"),
        ({"dilations": (1, 0)}, "dilations 0 is below 1"),
        ({"dilations": (1.5,)}, r"dilations 1\.5 is not a whole number"),
        ({"dropout": 1.0}, r"dropout 1\.0 is not in \[0, 1\)"),
        ({"dropout": -0.1}, "dropout -0.1"),
        ({"dropout": float("nan")}, "dropout nan"),
        ({"input_dropout": 1.0}, r"input_dropout 1\.0 is not in \[0, 1\)"),
        ({"sharing": "all"}, "unknown sharing scheme 'all'; choose one of none"),
        ({"cutoffs": ()}, "no cutoffs: give at least one"),
        ({"cutoffs": (30, 10)}, "do not increase"),
        ({"cutoffs": (10, 100)}, "last cutoff 100 leaves no tail"),
        ({"cutoffs": (0.05, 0.2)}, r"cutoffs 0\.05 is not a whole number"),
        ({"factor": 0.5}, r"factor 0\.5 is below 1"),
        ({"widths": (8, 4)}, r"2 widths \(8, 4\) for 3 blocks"),
        ({"widths": (4, 2, 1)}, r"widths \(4, 2, 1\) must start with the model's width 8"),
        ({"widths": ()}, r"widths \(\) must start with"),
        ({"widths": (8, 2, 0)}, "widths 0 is below 1"),
        ({"block_input": "no"}, "block_input 'no' is neither True nor False"),
        ({"tree": None}, "tree None is neither"),
        ({"middle": "lstm"}, "unknown middle 'lstm'; choose one of cnn, gru, attention"),
        ({"middle": "attention", "layers": 0}, "layers 0 is below 1"),
        ({"middle": "gru", "layers": 1.5}, r"layers 1\.5 is not a whole number"),
        ({"middle": "attention", "heads": 0}, "heads 0 is below 1"),
        ({"middle": "attention", "max_positions": 0}, "max_positions 0 is below 1"),
        ({"middle": "attention", "heads": 3}, "3 heads do not divide the width 8"),
        (
            {"middle": "gru", "sharing": "cross-block"},
            "sharing: no option of the middle 'gru', which has layers; leave it out",
        ),
    ],
)
def test_a_config_says_what_is_wrong_with_it(options, message):
    good = {"n_items": 100, "width": 8, "cutoffs": (10, 30), "block_input": True}
    ModelConfig(**good)
    with pytest.raises(ValueError, match=message):
        ModelConfig(**{**good, **options})


def test_the_fields_of_a_config_stand_in_the_order_of_the_contract():
    found = ModelConfig(1000, 64, (1, 4), 3, (50, 200), 4, True, True, "none")
    options = {"block_input": True, "block_softmax": True, "sharing": "none"}
    assert found == ModelConfig(1000, 64, (1, 4), cutoffs=(50, 200), factor=4, **options)


def test_cutoffs_are_checked_also_where_no_part_is_decomposed():
    assert not ModelConfig(100, 8, cutoffs=(10, 30)).decomposed
    with pytest.raises(ValueError, match="do not increase"):
        ModelConfig(100, 8, cutoffs=(30, 10))


def test_a_config_is_frozen_hashable_and_survives_json():
    config = cprec(np.int64(100), np.int64(8), dilations=np.array([1, 2]), cutoffs=[10, 30])
    assert hash(config) == hash(cprec(100, 8, dilations=(1, 2), cutoffs=(10, 30)))
    assert ModelConfig(**json.loads(json.dumps(asdict(config)))) == config
    with pytest.raises(AttributeError):
        config.width = 9


EVERY_OPTION = {
    "dilations": [1, 4, 1, 4],
    "kernel_size": 3,
    "sharing": "none",
    "layers": 2,
    "heads": 1,
    "max_positions": 9,
}


@pytest.mark.parametrize("middle", ["cnn", "gru", "attention"])
def test_a_file_from_when_every_model_had_every_option_is_read(middle):
    old = {"n_items": 12, "width": 4, "middle": middle, "tree": True, **EVERY_OPTION}
    preset, own = {
        "cnn": (nextitnet, {}),
        "gru": (gru4rec, {"layers": 2}),
        "attention": (sasrec, {"max_positions": 9}),
    }[middle]
    assert config_from_json(old) == preset(12, 4, **own)


def test_a_file_from_before_other_middle_layers_existed_is_read():
    old = {"n_items": 12, "width": 4, "dilations": [2], "kernel_size": 2, "sharing": "cross-layer"}
    expected = nextitnet(12, 4, dilations=(2,), kernel_size=2, sharing="cross-layer")
    assert config_from_json(old) == expected


@given(configs())
def test_a_config_comes_back_from_json(config):
    assert config_from_json(json.loads(json.dumps(asdict(config)))) == config
