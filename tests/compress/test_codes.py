"""Shared codes: the codes of an SVD against numpy's, the scores, the bytes, what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cprec_lib import SequenceData, SequentialRecommender, TrainConfig, count_parameters, fit
from cprec_lib.compress.codes import CENTROIDS, Codes, svd_codes
from cprec_lib.compress.compressor import compressed_config
from cprec_lib.compress.quantisation import Rounding
from cprec_lib.compress.tying import Tying
from cprec_lib.logs.synthetic import Synthetic
from tests.compress.small import CONFIGS, contexts, saved_and_loaded

CODED = compressed_config(CONFIGS["full"], Tying(), Codes(4))


@pytest.fixture(scope="module")
def many() -> SequenceData:
    """A log with more items than centroids."""
    log = Synthetic.parse("synthetic:items=600,users=400,groups=12,zipf=0.9").interactions()
    return SequenceData.from_interactions(log, max_len=20)


def slow_codes(data: SequenceData, splits: int) -> np.ndarray:
    """Codes of numpy's full SVD, item by item."""
    matrix = np.zeros((len(data.train), data.n_items))
    for row, window in enumerate(data.train.tolist()):
        for item in window:
            if item:
                matrix[row, item - 1] = 1
    vectors = np.linalg.svd(matrix)[2]
    codes = np.zeros((data.n_items, splits), dtype=int)
    for split in range(splits):
        order = sorted(range(data.n_items), key=lambda item: vectors[split, item])
        for place, item in enumerate(order):
            codes[item, split] = place * CENTROIDS // data.n_items
    return codes


def test_svd_codes_are_those_of_a_slow_reference(many: SequenceData) -> None:
    """A singular vector has no sign of its own, so a split may count from the other end."""
    found, expected = svd_codes(many, 6).numpy().astype(int), slow_codes(many, 6)
    seen = many.catalogue.counts > 0  # the others tie, and chance orders them
    for ours, theirs in zip(found.T, expected.T, strict=True):
        either = (np.abs(ours - theirs), np.abs(CENTROIDS - 1 - ours - theirs))
        off = min(either, key=lambda gap: gap[seen].mean())[seen]
        assert np.mean(off <= 1) > 0.99


def test_every_centroid_has_as_many_items_as_the_others(many: SequenceData) -> None:
    codes = svd_codes(many, 3)
    assert codes.dtype == torch.uint8
    for split in codes.T:
        counts = split.long().bincount(minlength=CENTROIDS)
        assert counts.min() >= 600 // CENTROIDS and counts.max() <= 600 // CENTROIDS + 1
    assert torch.equal(codes, svd_codes(many, 3))


@pytest.mark.filterwarnings("ignore:.* users have fewer than 3 interactions")
def test_items_that_occur_together_share_more_codes() -> None:
    """Two groups of items that never meet: the second singular vector keeps them apart."""
    log = Synthetic.parse("synthetic:items=600,users=900,groups=2,zipf=0.5").interactions()
    log["item"] = log["item"].astype(int)
    log["user"] = 2 * log["user"].astype(int) + log["item"] % 2
    data = SequenceData.from_interactions(log, max_len=20)
    odd = data.catalogue.items % 2 == 1
    codes = svd_codes(data, 4).numpy()
    best = max(abs(codes[odd, j].mean() - codes[~odd, j].mean()) for j in range(4))
    assert best > 60


def test_scores_and_rows_are_those_of_the_unpacked_table() -> None:
    model = SequentialRecommender(CODED, 3).eval()
    table = model.embedding
    weight = np.concatenate(
        [
            table.centroids.weight.detach().numpy()[table.codes[:, j].int().numpy() + CENTROIDS * j]
            for j in range(4)
        ],
        axis=1,
    )
    np.testing.assert_allclose(table.weight.detach(), weight)
    ids = contexts()
    np.testing.assert_allclose(
        model.embedding(ids).detach(), weight[ids.numpy() - 1] * (ids > 0).numpy()[..., None]
    )
    hidden = torch.randn(2, 3, 16)
    bias = model.softmax.output.bias.detach()
    expected = hidden.numpy() @ weight.T + bias.numpy()
    np.testing.assert_allclose(model.softmax.root_logits(hidden).detach(), expected, atol=1e-5)
    np.testing.assert_allclose(table.scores(hidden).detach(), expected - bias.numpy(), atol=1e-5)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("rounding", [None, Rounding(8), Rounding(4, 16)], ids=str)
def test_bytes_are_the_closed_form(tied: bool, rounding: Rounding | None, tmp_path: Path) -> None:
    config = CODED if tied else compressed_config(CONFIGS["full"], Codes(4))
    model, _ = saved_and_loaded(config, rounding, tmp_path)
    if not rounding:
        total = count_parameters(config).total
        assert total == sum(p.numel() for p in model.parameters())


def test_training_leaves_the_codes_and_learns_the_centroids(many: SequenceData) -> None:
    config = replace(CODED, n_items=many.n_items)
    model = SequentialRecommender(config, 1)
    for compressor in config.compressors:
        compressor.prepare(model, many, 1)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    assert torch.equal(before["embedding.codes"], svd_codes(many, 4, 1))
    history = fit(model, many, TrainConfig(epochs=2, learning_rate=0.01), progress=False)
    assert history.epochs[1].loss < history.epochs[0].loss
    after = dict(model.named_parameters())
    assert torch.equal(before["embedding.codes"], after["embedding.codes"])
    moved = (after["embedding.centroids.weight"] - before["embedding.centroids.weight"]).abs()
    assert (moved.sum(1) > 0).all()


def test_random_codes_are_drawn_by_the_seed(many: SequenceData) -> None:
    config = compressed_config(
        replace(CONFIGS["full"], n_items=many.n_items), Codes(4, source="random")
    )
    codes = [SequentialRecommender(config, seed).embedding.codes for seed in (1, 1, 2)]
    assert torch.equal(codes[0], codes[1]) and not torch.equal(codes[0], codes[2])
    model = SequentialRecommender(config, 1)
    config.compressors[0].prepare(model, many, 1)
    assert torch.equal(model.embedding.codes, codes[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"splits": 0}, "splits 0 is below 1"),
        ({"splits": 2.5}, "splits 2.5 is not a whole number"),
        ({"source": "kmeans"}, "unknown source of the codes 'kmeans'; choose one of svd, random"),
        ({"splits": 5}, "5 splits do not divide vectors of width 16; choose a number that does"),
    ],
)
def test_codes_that_make_no_sense_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compressed_config(CONFIGS["full"], Codes(**options))


def test_a_model_with_blocks_at_the_input_is_refused() -> None:
    with pytest.raises(ValueError, match="codes takes the place of one table for all items"):
        compressed_config(CONFIGS["blocks"], Codes(4))


def test_codes_for_an_empty_training_part_are_refused(many: SequenceData) -> None:
    empty = replace(many, train=many.train[:0])
    with pytest.raises(ValueError, match="nothing to train on"):
        svd_codes(empty, 4)
    few = replace(many, train=many.train[:3])
    with pytest.raises(ValueError, match=r"4 splits take as many .* 3 windows .* choose fewer"):
        svd_codes(few, 4)
