"""The whole model: its loss, its hidden vectors and its recommendations."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cprec_lib import (
    ModelConfig,
    SequentialRecommender,
    cprec,
    gru4rec,
    nextitnet,
    sasrec,
)
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
