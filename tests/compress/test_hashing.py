"""Hashed tables: every item has a vector of its own; the scores, the bytes, what is refused."""

from dataclasses import replace
from math import gcd
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cprec_lib import SequenceData, SequentialRecommender, TrainConfig, fit
from cprec_lib.compress.compressor import compress_with, compressed_config
from cprec_lib.compress.hashing import Hashing, scattering
from cprec_lib.compress.quantisation import Rounding
from cprec_lib.compress.tying import Tying
from tests.compress.small import CONFIGS, N_ITEMS, saved_and_loaded

HASHED = compressed_config(CONFIGS["full"], Tying(), Hashing(7))


@given(n_items=st.integers(1, 3000))
def test_the_permutation_reaches_every_place(n_items: int) -> None:
    assert gcd(scattering(n_items), n_items) == 1


def test_items_that_share_a_row_differ_in_popularity() -> None:
    places = np.arange(1000) * scattering(1000) % 1000
    first = np.flatnonzero(places % 250 == places[0] % 250)
    assert len(first) == 4 and np.diff(np.sort(first)).min() > 50


def test_every_item_has_a_pair_of_rows_of_its_own_and_their_product() -> None:
    table = SequentialRecommender(HASHED, 3).embedding
    places = np.arange(N_ITEMS) * scattering(N_ITEMS) % N_ITEMS
    pairs = [divmod(int(place), 9) for place in places]  # 9 = ceil(60 / 7)
    assert len({*pairs}) == N_ITEMS and max(pairs)[0] == 6
    quotients, remainders = (
        layer.weight.detach().numpy() for layer in (table.quotients, table.remainders)
    )
    expected = np.stack([quotients[q] * remainders[r] for q, r in pairs])
    np.testing.assert_allclose(table.weight.detach(), expected)
    assert len(np.unique(expected, axis=0)) == N_ITEMS


@pytest.mark.parametrize("rounding", [None, Rounding(8), Rounding(4, 4)], ids=str)
def test_scores_are_those_of_the_unpacked_table(rounding: Rounding | None) -> None:
    model = SequentialRecommender(HASHED, 3).eval()
    if rounding:
        model = compress_with(model, rounding)
    hidden, bias = torch.randn(2, 3, 16), model.softmax.output.bias
    with torch.no_grad():
        expected = hidden @ model.embedding.weight.T + bias
        torch.testing.assert_close(model.softmax.root_logits(hidden), expected)
        torch.testing.assert_close(model.embedding.scores(hidden), expected - bias)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("rounding", [None, Rounding(8), Rounding(4, 4)], ids=str)
def test_bytes_are_the_closed_form(tied: bool, rounding: Rounding | None, tmp_path: Path) -> None:
    config = HASHED if tied else compressed_config(CONFIGS["full"], Hashing(7))
    saved_and_loaded(config, rounding, tmp_path)


def test_a_hashed_model_learns(data: SequenceData) -> None:
    model = SequentialRecommender(replace(HASHED, n_items=data.n_items), 1)
    history = fit(model, data, TrainConfig(epochs=5, learning_rate=0.02), progress=False)
    assert history.epochs[-1].loss < history.epochs[0].loss - 0.1


@pytest.mark.parametrize(
    ("quotients", "message"),
    [
        (0, "quotients 0 is below 1"),
        (1.5, "quotients 1.5 is not a whole number"),
        (61, "61 quotients are more than 60 items; give fewer"),
    ],
)
def test_quotients_that_make_no_sense_are_refused(quotients: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compressed_config(CONFIGS["full"], Hashing(quotients))


def test_a_model_with_blocks_at_the_input_is_refused() -> None:
    with pytest.raises(ValueError, match="hashing takes the place of one table for all items"):
        compressed_config(CONFIGS["blocks"], Hashing(4))
