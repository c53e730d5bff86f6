"""The two parts of the NLL that notebook 02 compares."""

import numpy as np
import pytest
import torch

from cprec_lib import ModelConfig, SequentialRecommender, evaluate
from cprec_lib.course.loss_parts import per_user

CUTOFFS = (5, 12)
TREE = {"cutoffs": CUTOFFS, "block_input": True, "block_softmax": True}


def model(data, seed=0, **options):
    config = ModelConfig(data.n_items, width=16, dilations=(), **options)
    return SequentialRecommender(config, seed=seed).eval()


@pytest.mark.parametrize("options", [{}, TREE, {**TREE, "tree": False}])
def test_the_parts_add_up_to_the_nll(data, options):
    one = model(data, **options)
    found = per_user([one], data, CUTOFFS)
    with torch.no_grad():
        nll = one.softmax.nll(one.last_hidden(data.test.contexts), data.test.targets)
    np.testing.assert_allclose(found["NLL"], nll, rtol=1e-4)
    parts = found["which block?"] + found["which item of the block?"]
    np.testing.assert_allclose(parts, found["NLL"])
    assert (found["NDCG@10"] == evaluate(one, data).values("ndcg@10")).all()


def test_the_token_decides_the_block_of_a_tail_item(data):
    tree = model(data, **TREE)
    with torch.no_grad():
        root = tree.softmax.root_logits(tree.last_hidden(data.test.contexts)).log_softmax(1)
    of_block = per_user([tree], data, CUTOFFS)["which block?"].to_numpy()
    block = torch.bucketize(data.test.targets, torch.tensor(CUTOFFS)).numpy()
    assert {*block} == {0, 1, 2}
    for tail in (1, 2):
        expected = -root[block == tail, CUTOFFS[0] + tail - 1]
        np.testing.assert_allclose(of_block[block == tail], expected, rtol=1e-4)


def test_models_are_averaged_user_by_user(data):
    models = [model(data, seed) for seed in (0, 1)]
    one, other = (per_user([each], data, CUTOFFS) for each in models)
    np.testing.assert_allclose(per_user(models, data, CUTOFFS), (one + other) / 2)
