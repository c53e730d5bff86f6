"""Pruned models against numpy: which weights stay, the scores, the bytes, what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from cprec_lib import (
    SequenceData,
    SequentialRecommender,
    TrainConfig,
    count_parameters,
    fit,
    nextitnet,
)
from cprec_lib.compress import pruning
from cprec_lib.compress.compressor import compress_with, compressed_config
from cprec_lib.compress.pruning import PrunedLinear, PrunedTable, Pruning
from cprec_lib.compress.quantisation import Rounding
from cprec_lib.compress.runs import stored_bytes
from tests.compress.small import CONFIGS, contexts, parameters
from tests.strategies import configs


@given(
    rows=st.integers(1, 6),
    columns=st.sampled_from([1, 5, 256, 257, 300]),
    density=st.floats(0.01, 1),
    seed=st.integers(0, 99),
)
def test_the_largest_weights_stay(rows: int, columns: int, density: float, seed: int) -> None:
    weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    table = PrunedTable(weight, Pruning(density))
    kept = rows * max(1, round(density * columns))
    expected = weight.half().float().numpy().copy()
    expected.flat[np.abs(weight.numpy()).ravel().argsort()[: rows * columns - kept]] = 0
    np.testing.assert_array_equal(table.weight.numpy(), expected)
    index = torch.tensor([[rows - 1, 0], [0, 0]])
    np.testing.assert_array_equal(table.rows(index).numpy(), expected[index.numpy()])


@pytest.mark.parametrize("cells", [30, 2**19])
def test_scores_are_those_of_the_unpacked_table(cells: int, monkeypatch) -> None:
    monkeypatch.setattr(pruning, "CELLS", cells)  # several chunks, the last one shorter
    layer = nn.Linear(12, 23)
    pruned, hidden = PrunedLinear(layer, Pruning(0.2)), torch.randn(2, 3, 12)
    with torch.no_grad():
        torch.testing.assert_close(pruned(hidden), hidden @ pruned.weight.T + layer.bias)


@given(config=configs(), density=st.sampled_from([0.01, 0.2, 1.0]))
def test_bytes_are_the_closed_form_and_those_of_the_file(config, density, tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("model")
    pruned = compress_with(SequentialRecommender(config, 2).eval(), Pruning(density))
    ledger = count_parameters(pruned.config)
    pruned.save(folder)
    assert ledger.bytes == stored_bytes(folder / "model.safetensors")
    assert ledger.total == sum(tensor.numel() for tensor in pruned.parameters())
    loaded = SequentialRecommender.load(folder).eval()
    ids = torch.randint(1, config.n_items + 1, (3, 7))
    assert torch.equal(loaded.scores(ids), pruned.scores(ids))


def test_a_tenth_of_the_weights_is_a_twelfth_of_the_bytes() -> None:
    """A kept weight has three bytes, the end of each row four, and so has a bias."""
    config = nextitnet(100_000, 256)
    small = compressed_config(config, Pruning(0.1))
    times = count_parameters(config).bytes / count_parameters(small).bytes
    assert times == pytest.approx((8 * 256 + 4) / (2 * (3 * 26 + 4) + 4), rel=0.02)


def test_what_was_removed_stays_away_during_the_tuning(data: SequenceData) -> None:
    model = SequentialRecommender(nextitnet(data.n_items, 8, dilations=(1,)), 1)
    training = TrainConfig(epochs=4, learning_rate=0.02)
    fit(model, data, training, progress=False)
    before = parameters(model)
    pruned = Pruning(0.3).finish(model, lambda copy: fit(copy, data, training, progress=False))
    assert all(torch.equal(before[name], p) for name, p in model.named_parameters())
    untuned = compress_with(model, Pruning(0.3))
    for ours, theirs in ((pruned.embedding, untuned.embedding), (pruned.middle, untuned.middle)):
        table, same = (
            m if isinstance(m, PrunedTable) else m.blocks[0].conv1.table for m in (ours, theirs)
        )
        assert torch.equal(table.places, same.places) and torch.equal(table.ends, same.ends)
        assert not torch.equal(table.values, same.values)
    losses = [float(m.loss(data.train).detach()) for m in (pruned, untuned)]
    assert losses[0] < losses[1]


@pytest.mark.parametrize("density", [0, -0.1, 1.01, float("nan"), True])
def test_a_density_that_is_no_share_is_refused(density: float) -> None:
    with pytest.raises(ValueError, match=r"density .* is not a share above 0 and up to 1"):
        Pruning(density)


def test_a_pruned_model_is_not_compressed_further() -> None:
    pruned = compress_with(SequentialRecommender(CONFIGS["blocks"]), Pruning(0.5)).eval()
    assert pruned.scores(contexts()).isfinite().all()
    with pytest.raises(ValueError, match="a model after pruning cannot be compressed further"):
        compress_with(pruned, Rounding(8))


def test_a_file_cut_short_and_that_of_another_model_are_refused(tmp_path: Path) -> None:
    compress_with(SequentialRecommender(CONFIGS["full"]), Pruning(0.2)).save(tmp_path)
    path, other = tmp_path / "model.safetensors", tmp_path / "other"
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    with pytest.raises(ValueError, match="corrupt, cut short or no safetensors file"):
        SequentialRecommender.load(tmp_path)
    compress_with(SequentialRecommender(CONFIGS["full"]), Pruning(0.3)).save(other)
    path.write_bytes((other / "model.safetensors").read_bytes())
    with pytest.raises(ValueError, match="belongs to another model"):
        SequentialRecommender.load(tmp_path)
