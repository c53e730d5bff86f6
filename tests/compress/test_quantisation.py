"""Rounded models against numpy: the values, the search, the bytes, what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.parametrize import register_parametrization

from cprec_lib import (
    SequenceData,
    SequentialRecommender,
    TailBounds,
    TrainConfig,
    count_parameters,
    evaluate,
    fit,
    nextitnet,
)
from cprec_lib.compress import quantisation
from cprec_lib.compress.compressor import compress_with, compressed_config
from cprec_lib.compress.quantisation import (
    ROUNDED,
    RoundedEmbedding,
    RoundedLinear,
    RoundedTable,
    Rounding,
    _Rounded,
)
from cprec_lib.compress.runs import stored_bytes
from tests.compress.small import CONFIGS, N_ITEMS, as_numpy, contexts, parameters
from tests.strategies import configs

ROUNDINGS = [Rounding(8), Rounding(4), Rounding(4, 4), Rounding(8, 4)]
each_rounding = pytest.mark.parametrize("rounding", ROUNDINGS, ids=str)
each_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


@given(
    rows=st.integers(1, 5),
    groups=st.integers(1, 4),
    group=st.integers(1, 9),
    bits=st.sampled_from([4, 8]),
    seed=st.integers(0, 99),
)
def test_values_are_the_nearest_codes_times_their_scales(rows, groups, group, bits, seed):
    """Against numpy: unpacking, and the distance from the weights, which is half a scale."""
    weight = torch.randn(rows, groups * group, generator=torch.Generator().manual_seed(seed))
    weight[0] *= 0  # a row without a scale
    table = RoundedTable(weight, Rounding(bits, group))
    found = table.weight.numpy()
    np.testing.assert_allclose(found, as_numpy(table, bits, groups * group), rtol=1e-6)
    scales = np.repeat(table.scales.float().numpy(), group, axis=1)
    assert (np.abs(found - weight.numpy()) <= 0.51 * scales).all()
    largest = weight.unflatten(1, (groups, group)).abs().amax(2).numpy()
    np.testing.assert_allclose(table.scales.float(), largest / (2 ** (bits - 1) - 1), rtol=2**-8)


def test_int4_by_hand():
    """A scale of 0.5; seven columns in four bytes, the second half of the columns above."""
    weight = torch.tensor([[3.5, -3.5, 1.0, 0.0, 0.5, -1.0, 2.0]])
    table = RoundedTable(weight, Rounding(4))
    assert table.scales.tolist() == [[0.5]]
    codes = [[15, 1, 10, 8], [9, 6, 12, 8]]  # 8 + weight / 0.5, padded with a zero
    expected = [low + 16 * high for low, high in zip(*codes, strict=True)]
    assert table.codes.tolist() == [expected]
    assert table.weight.tolist() == weight.tolist()


@each_rounding
@pytest.mark.parametrize("cells", [40, 2**19])
def test_scores_and_rows_are_those_of_the_values(rounding, cells, monkeypatch):
    monkeypatch.setattr(quantisation, "CELLS", cells)  # several chunks, the last one shorter
    layer = nn.Linear(12, 23)
    rounded = RoundedLinear(layer, rounding)
    hidden = torch.randn(2, 3, 12)
    values = as_numpy(rounded, rounding.bits, 12)
    expected = hidden.numpy() @ values.T + layer.bias.detach().numpy()
    with torch.no_grad():
        np.testing.assert_allclose(rounded(hidden).numpy(), expected, atol=1e-5)
    index = torch.tensor([[0, 22], [5, 5]])
    np.testing.assert_allclose(rounded.rows(index).numpy(), values[index.numpy()], rtol=1e-6)


def test_a_search_unpacks_a_bounded_part_of_the_table(monkeypatch):
    monkeypatch.setattr(quantisation, "CELLS", 64)
    monkeypatch.setattr(RoundedTable, "weight", property(lambda _: pytest.fail("all of it")))
    model = compress_with(SequentialRecommender(nextitnet(500, 8, dilations=())), Rounding(4))
    unpacked = []
    numbers = RoundedTable._unscaled

    def watch(self, codes):
        found = numbers(self, codes)
        unpacked.append(found.numel())
        return found

    monkeypatch.setattr(RoundedTable, "_unscaled", watch)
    model.recommend([[1, 2]], 5)
    # The two rows of the input, then 8 rows of 8 weights at a time, the last time 4.
    assert unpacked == [16, *[64] * 62, 32]


@each_config
@each_rounding
def test_a_rounded_model_ranks_as_a_model_with_the_unpacked_weights(config, rounding):
    """The same top 10 in numpy's values, put back into an uncompressed model."""
    model = SequentialRecommender(config, 1).eval()
    rounded = compress_with(model, rounding)
    reference = SequentialRecommender(config, 1).eval()
    with torch.no_grad():
        for name, module in rounded.named_modules():
            if isinstance(module, RoundedTable):
                values = torch.from_numpy(as_numpy(module, rounding.bits, module.columns))
                owner = reference.get_submodule(name.removesuffix(".table"))
                if name.endswith(".table"):  # a convolution, whose rows go tap after tap
                    values = values.unflatten(1, (-1, config.width)).transpose(1, 2)
                owner.weight.copy_(values)
    ids = contexts()
    torch.testing.assert_close(rounded.scores(ids), reference.scores(ids), atol=1e-4, rtol=1e-4)
    histories = [row[row > 0].tolist() for row in ids]
    assert torch.equal(rounded.recommend(histories, 10)[1], reference.recommend(histories, 10)[1])


@given(
    config=configs(),
    rounding=st.sampled_from([Rounding(8), Rounding(4), Rounding(8, 1), Rounding(4, 100)]),
)
def test_bytes_are_the_closed_form_and_those_of_the_file(config, rounding, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    rounded = compress_with(SequentialRecommender(config, 2).eval(), rounding)
    ledger = count_parameters(rounded.config)
    rounded.save(folder)
    assert ledger.bytes == stored_bytes(folder / "model.safetensors")
    assert ledger.bytes == sum(tensor.nbytes for tensor in rounded.parameters())
    assert ledger.total == count_parameters(config).total
    loaded = SequentialRecommender.load(folder).eval()
    assert loaded.config == rounded.config
    ids = torch.randint(1, config.n_items + 1, (3, 7))
    assert torch.equal(loaded.scores(ids), rounded.scores(ids))


def test_int8_is_nearly_a_quarter_and_int4_nearly_an_eighth():
    full = nextitnet(100_000, 64)
    roundings = (Rounding(8), Rounding(4, 16), Rounding(4))
    sizes = [count_parameters(compressed_config(full, rounding)).bytes for rounding in roundings]
    times = [count_parameters(full).bytes / size for size in sizes]
    assert times == pytest.approx([3.79, 6.12, 7.15], abs=0.05)


def test_the_model_that_is_rounded_stays_as_it_is(tmp_path):
    model = SequentialRecommender(CONFIGS["blocks"], 1).eval()
    before, scores = parameters(model), model.scores(contexts())
    rounded = compress_with(model, Rounding(4))
    assert all(torch.equal(before[name], p) for name, p in model.named_parameters())
    assert torch.equal(model.scores(contexts()), scores)
    assert not torch.equal(rounded.scores(contexts()), scores)
    convolutions = {id(block.conv1) for block in rounded.middle.blocks}
    assert len(convolutions) == 1  # still shared


def test_rounded_models_are_evaluated_and_bounded(data: SequenceData):
    config = CONFIGS["blocks"]
    model = SequentialRecommender(replace(config, n_items=data.n_items, cutoffs=(5, 12)), 1)
    rounded = compress_with(model, Rounding(8)).eval()
    ranks = evaluate(rounded, data, "test").ranks
    scores = rounded.scores(data.test.contexts)
    own = scores.gather(1, data.test.targets.unsqueeze(1) - 1)
    assert ranks.tolist() == (scores >= own).sum(1).tolist()
    bounds = TailBounds(rounded.softmax)
    histories = [row[row > 0].tolist() for row in data.test.contexts[:5]]
    with_bounds = rounded.recommend(histories, 6, bound=bounds)
    assert torch.equal(with_bounds[1], rounded.recommend(histories, 6)[1])
    assert rounded.loss(data.train[:4]).isfinite()


@pytest.mark.parametrize("bits", [1, 2, 3, 5, 7, 16, 32, 0, -8, True, "8", 8.5])
def test_bits_other_than_four_and_eight_are_refused(bits):
    with pytest.raises(ValueError, match=r"bits .* not supported; choose 8 or 4"):
        Rounding(bits)


@pytest.mark.parametrize(
    ("group", "message"),
    [
        (0, "group 0 is below 1"),
        (1.5, "group 1.5 is not a whole number"),
        (-4, "group -4 is below"),
    ],
)
def test_a_group_that_is_no_size_is_refused(group, message):
    with pytest.raises(ValueError, match=message):
        Rounding(8, group)


def test_a_group_that_does_not_divide_is_refused():
    model = SequentialRecommender(nextitnet(N_ITEMS, 24))
    message = "the group 16 does not divide rows of 24 weights; choose a group that does"
    with pytest.raises(ValueError, match=message):
        compress_with(model, Rounding(4, 16))
    assert compress_with(model, Rounding(4, 12)).config.compressors == (Rounding(4, 12),)


def test_weights_that_are_not_finite_are_refused():
    model = SequentialRecommender(CONFIGS["full"])
    with torch.no_grad():
        model.embedding.weight[3, 1] = torch.inf
    with pytest.raises(ValueError, match="the weights hold NaN or infinity"):
        compress_with(model, Rounding(8))


def test_ids_of_other_items_are_refused():
    rounded = compress_with(SequentialRecommender(CONFIGS["full"]), Rounding(8))
    assert isinstance(rounded.embedding, RoundedEmbedding)
    with pytest.raises(ValueError, match=rf"item id {N_ITEMS + 1} is outside 0\.\.{N_ITEMS}"):
        rounded(torch.tensor([[N_ITEMS + 1]]))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    compress_with(SequentialRecommender(CONFIGS["full"]), Rounding(4)).save(tmp_path)
    return tmp_path


def test_a_file_that_was_cut_short_is_refused(saved: Path):
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ValueError, match="corrupt, cut short or no safetensors file"):
        SequentialRecommender.load(saved)


def test_the_file_of_another_model_is_refused(saved: Path, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    model = SequentialRecommender(CONFIGS["full"])
    for another in (model, compress_with(model, Rounding(8)), compress_with(model, Rounding(4, 4))):
        another.save(other)
        (saved / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
        with pytest.raises(ValueError, match="belongs to another model"):
            SequentialRecommender.load(saved)


@pytest.mark.parametrize(
    "compressors",
    [
        [{"kind": "shrinking"}],
        [{"bits": 8}],
        [{"kind": "rounding", "bits": 3}],
        [{"kind": "rounding", "depth": 3}],
        [{"kind": ["rounding"]}],
        [8],
        ["rounding"],
        None,
        8,
        [{"kind": "rounding", "bits": 8, "group": None}] * 2,
    ],
)
def test_a_config_file_of_nonsense_is_refused(saved: Path, compressors):
    path = saved / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "compressors": compressors}))
    with pytest.raises(ValueError, match=r"config\.json does not describe a model of this library"):
        SequentialRecommender.load(saved)


def test_a_rounded_model_is_not_rounded_again():
    rounded = compress_with(SequentialRecommender(CONFIGS["full"]), Rounding(8))
    with pytest.raises(ValueError, match="a model after rounding cannot be compressed further"):
        compress_with(rounded, Rounding(4))


@given(st.sampled_from(ROUNDINGS), st.integers(0, 999), st.floats(1e-3, 1e3))
def test_rounding_what_is_rounded_changes_nothing(rounding, seed, size):
    """So a model that was trained with rounded weights stays as it was."""
    weight = size * torch.randn(6, 16, generator=torch.Generator().manual_seed(seed))
    once = RoundedTable(weight, rounding)
    again = RoundedTable(once.weight, rounding)
    assert torch.equal(once.codes, again.codes) and torch.equal(once.scales, again.scales)


def test_tuning_lowers_the_loss_and_leaves_the_source_alone(
    data: SequenceData,
) -> None:
    model = SequentialRecommender(nextitnet(data.n_items, 8, dilations=(1,)), 1)
    training = TrainConfig(epochs=4, learning_rate=0.02)
    fit(model, data, training, progress=False)
    before = parameters(model)
    rounding = Rounding(4, 4, tunes=True)
    small = rounding.finish(model, lambda copy: fit(copy, data, training, progress=False))
    assert rounding.tunes and small.config == compressed_config(model.config, rounding)
    assert all(torch.equal(before[name], p) for name, p in model.named_parameters())
    untuned = compress_with(model, replace(rounding, tunes=False))
    losses = [float(m.loss(data.train).detach()) for m in (small, untuned)]
    assert losses[0] < losses[1]


@each_config
def test_the_constraint_of_a_training_gives_what_is_stored(config) -> None:
    model = SequentialRecommender(config, 3)
    rounded = compress_with(model, Rounding(4, 4))
    for layer in [module for module in model.modules() if type(module) in ROUNDED]:
        register_parametrization(layer, "weight", _Rounded(Rounding(4, 4)))
    ids = contexts()
    torch.testing.assert_close(model(ids), rounded(ids))
    model(ids).sum().backward()
    assert all(p.grad.any() for n, p in model.named_parameters() if "embedding" in n)
