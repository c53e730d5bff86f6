"""Configurations, presets, the whole model's loss and recommendations, saving and loading."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

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

SMALL = cprec(12, width=4, cutoffs=(3, 7), dilations=(1, 2))


@pytest.fixture
def model() -> SequentialRecommender:
    return SequentialRecommender(SMALL).double()


def windows(config: ModelConfig, seed: int, shape: tuple[int, int] = (4, 7)) -> Tensor:
    """Left-padded windows, one of them without padding."""
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, config.n_items + 1, shape, generator=draw)
    starts = torch.randint(0, shape[1] - 1, (shape[0], 1), generator=draw)
    starts[0] = 0
    return ids * (torch.arange(shape[1]) >= starts)


# --- configurations ------------------------------------------------------------------------------


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


@pytest.mark.parametrize("preset", [gru4rec, sasrec])
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
        ({"width": 2.5}, r"width 2\.5 is no whole number"),
        ({"width": "8"}, "width '8' is no whole number"),
        ({"kernel_size": 0}, "kernel_size 0 is below 1"),
        ({"dilations": (1, 0)}, "dilations 0 is below 1"),
        ({"dilations": (1.5,)}, r"dilations 1\.5 is no whole number"),
        ({"dropout": 1.0}, r"dropout 1\.0 is not in \[0, 1\)"),
        ({"dropout": -0.1}, "dropout -0.1"),
        ({"dropout": float("nan")}, "dropout nan"),
        ({"input_dropout": 1.0}, r"input_dropout 1\.0 is not in \[0, 1\)"),
        ({"sharing": "all"}, "unknown sharing scheme 'all'; choose one of none"),
        ({"cutoffs": ()}, "no cutoffs: give at least one"),
        ({"cutoffs": (30, 10)}, "do not increase"),
        ({"cutoffs": (10, 100)}, "last cutoff 100 leaves no tail"),
        ({"cutoffs": (0.05, 0.2)}, r"cutoffs 0\.05 is no whole number"),
        ({"factor": 0.5}, r"factor 0\.5 is below 1"),
        ({"widths": (8, 4)}, r"2 widths \(8, 4\) for 3 blocks"),
        ({"widths": (4, 2, 1)}, r"widths \(4, 2, 1\) must start with the model's width 8"),
        ({"widths": ()}, r"widths \(\) must start with"),
        ({"widths": (8, 2, 0)}, "widths 0 is below 1"),
        ({"block_input": "no"}, "block_input 'no' is neither True nor False"),
        ({"tree": None}, "tree None is neither"),
        ({"middle": "lstm"}, "unknown middle 'lstm'; choose one of cnn, gru, attention"),
        ({"middle": "attention", "layers": 0}, "layers 0 is below 1"),
        ({"middle": "gru", "layers": 1.5}, r"layers 1\.5 is no whole number"),
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


# --- the model -----------------------------------------------------------------------------------


@given(configs(), st.integers(0, 100))
def test_every_config_makes_a_model_that_predicts_trains_and_recommends(config, seed):
    model = SequentialRecommender(config, seed).double()
    ids = windows(config, seed)
    hidden = model(ids)
    assert hidden.shape == (*ids.shape, config.width)
    assert not hidden[ids == 0].any()
    probabilities = model.scores(ids).exp().sum(-1)
    torch.testing.assert_close(probabilities, torch.ones(4, dtype=torch.float64))
    loss = model.loss(ids)
    loss.backward()
    assert loss.shape == () and loss.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    values, items = model.recommend([[1], [config.n_items]], config.n_items)
    assert torch.equal(items.sort().values, torch.arange(1, config.n_items + 1).expand(2, -1))
    assert values.isfinite().all()


@given(configs(), st.integers(0, 100))
def test_no_prediction_depends_on_a_later_item(config, seed):
    model = SequentialRecommender(config, seed).double()
    ids = windows(config, seed)
    before = model(ids)
    for position in range(1, ids.shape[1]):
        changed = ids.clone()
        changed[:, position] = changed[:, position] % config.n_items + 1
        assert torch.equal(model(changed)[:, :position], before[:, :position])


@given(configs(), st.integers(0, 100))
def test_the_loss_is_the_mean_over_real_positions_with_real_targets(config, seed):
    model = SequentialRecommender(config, seed).double()
    ids = windows(config, seed)
    terms = []
    for row in ids:
        history = row[row > 0]
        for t in range(1, len(history)):
            log_prob = model.scores(history[None, :t])[0]
            terms.append(-log_prob[history[t] - 1])
    torch.testing.assert_close(model.loss(ids), torch.stack(terms).mean())


def test_padding_is_no_context_and_no_target(model):
    ids = torch.tensor([[0, 0, 5, 2, 0, 3, 0]])
    expected = -model.scores(ids[:, :3])[0, 2 - 1]
    torch.testing.assert_close(model.loss(ids), expected)


@pytest.mark.parametrize("ids", [[[0, 0, 3]], [[0, 0, 0]], [[3, 0, 2]], [[3]]])
def test_windows_without_two_items_in_a_row_are_refused(model, ids):
    with pytest.raises(ValueError, match=r"no window holds .*; give windows \[B, L \+ 1\]"):
        model.loss(torch.tensor(ids))


def test_the_seed_fixes_the_weights_and_leaves_torchs_generator_alone():
    state = torch.get_rng_state()
    first, again, other = (SequentialRecommender(SMALL, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    pairs = list(zip(first.parameters(), again.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(first.softmax.root.weight, other.softmax.root.weight)
    torch.manual_seed(5)
    later = SequentialRecommender(SMALL, 1)
    assert torch.equal(later.softmax.root.weight, first.softmax.root.weight)


def test_building_a_model_does_not_reseed_the_gpus(monkeypatch):
    seeded = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    torch.manual_seed(0)
    assert seeded == [0]
    SequentialRecommender(SMALL, seed=3)
    assert seeded == [0]


# --- recommending --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        nextitnet(12, 4),
        cprec(12, 4, cutoffs=(3, 7), tree=False),
        gru4rec(12, 4),
        sasrec(12, 4, max_positions=9),
    ],
)
def test_recommend_is_the_sorted_scores_of_each_history_alone(config):
    model = SequentialRecommender(config).double()
    histories = [[3], [1, 12, 5, 5], list(range(1, 13)) * 8]
    values, items = model.recommend(histories, 5)
    for row, history in enumerate(histories):
        scores = model.scores(torch.tensor([history]))[0]
        expected, columns = scores.sort(descending=True, stable=True)
        assert torch.equal(items[row], columns[:5] + 1)
        torch.testing.assert_close(values[row], expected[:5])


def test_attention_sees_the_last_of_a_long_history():
    model = SequentialRecommender(sasrec(12, 4, max_positions=5)).double()
    history = [3, 1, 4, 1, 5, 9, 2, 6]
    torch.testing.assert_close(model.recommend([history], 4), model.recommend([history[-5:]], 4))
    other, changed = [7, *history[1:]], [*history[:-5], 8, *history[-4:]]
    assert torch.equal(model.recommend([other], 4)[0], model.recommend([history], 4)[0])
    assert not torch.equal(model.recommend([changed], 4)[0], model.recommend([history], 4)[0])
    # What lies before its positions is still seen by the one who chose it.
    assert not {3, 1, 4} & {*model.recommend([history], 5, exclude_seen=True)[1][0].tolist()}
    with pytest.raises(ValueError, match="window of 8 positions, but this attention knows 5"):
        model.loss(torch.tensor([[*history, 1]]))


def test_recommend_may_leave_out_what_was_seen(model):
    histories = [[1, 2, 3, 4, 5, 6], [12, 12, 12], list(range(2, 9))]
    _, items = model.recommend(histories, 5, exclude_seen=True)
    _, everything = model.recommend(histories, 12)
    for history, found, ordered in zip(histories, items, everything, strict=True):
        assert found.tolist() == [i for i in ordered.tolist() if i not in history][:5]


def test_fewer_than_k_items_left_is_refused(model):
    with pytest.raises(ValueError, match=r"k 6 is more than the 5 items left"):
        model.recommend([[1], list(range(1, 8))], 6, exclude_seen=True)
    with pytest.raises(ValueError, match="k 13 is more than the 12 items"):
        model.recommend([[1]], 13)
    with pytest.raises(ValueError, match="k 0 is below 1"):
        model.recommend([[1]], 0)


@pytest.mark.parametrize(
    "histories",
    [
        [np.array([1, 2]), np.array([3], dtype=np.int32)],
        [torch.tensor([1, 2]), torch.tensor([3])],
        [(1, 2), [np.int64(3)]],
    ],
)
def test_histories_may_be_arrays_or_tensors(model, histories):
    expected = model.recommend([[1, 2], [3]], 4)
    found = model.recommend(histories, np.int64(4))
    assert torch.equal(found[1], expected[1]) and torch.equal(found[0], expected[0])
    grid = np.array([[1, 2], [3, 4]])
    for same in (grid, torch.from_numpy(grid)):
        assert torch.equal(model.recommend(same, 4)[1], model.recommend([[1, 2], [3, 4]], 4)[1])


@pytest.mark.parametrize(
    ("histories", "message"),
    [
        ([], "no histories: give a list of lists"),
        ([[1], []], "history 1 is empty; give at least one item"),
        ([[1], [2, 13]], r"history 1: item id 13 is outside 1\.\.12"),
        ([[0]], r"history 0: item id 0 is outside 1\.\.12"),
        ([[-1]], "history 0: item id -1 is outside"),
        ([1, 2], "history 0 is 1; each history is a list of item ids"),
        (["12"], "history 0 is '12'; each history is a list"),
        ([["Alien"]], r"history 0 is \['Alien'\]; each history"),
        ([[1.5, 2]], r"history 0 is \[1\.5, 2\]; each history"),
        ([[float("nan")]], r"history 0 is \[nan\]; each history"),
        ([[True]], r"history 0 is \[True\]; each history"),
        ([None], "history 0 is None; each history"),
        ([[[1, 2]]], "history 0 is .*; each history"),
    ],
)
def test_a_history_says_what_is_wrong_with_it(model, histories, message):
    with pytest.raises(ValueError, match=message):
        model.recommend(histories, 3)


@pytest.mark.parametrize("mode", [True, False])
def test_recommend_ignores_dropout_and_puts_the_mode_back(mode):
    config = nextitnet(12, 4, dilations=(1,), dropout=0.9, input_dropout=0.9)
    model = SequentialRecommender(config).train(mode)
    first, second = model.recommend([[1, 2]], 12), model.recommend([[1, 2]], 12)
    assert torch.equal(first[0], second[0])
    with pytest.raises(ValueError, match="k 13"):
        model.recommend([[1]], 13)
    assert model.training is mode and model.middle.blocks[0].dropout.training is mode
    assert not first[0].requires_grad


# --- saving and loading --------------------------------------------------------------------------


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


def test_weights_of_another_model_are_refused(saved):
    path = saved / "model.safetensors"
    save_file({"weight": torch.zeros(3)}, path)
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


# ---- Initial weights ----


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
