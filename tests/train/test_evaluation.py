"""Ranks with ties, and metrics against torchmetrics."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torchmetrics.retrieval import RetrievalHitRate, RetrievalMRR, RetrievalNormalizedDCG

from cprec_lib import (
    Ranks,
    SequenceData,
    SequentialRecommender,
    evaluate,
    nextitnet,
)
from cprec_lib.data.sequences import HeldOut
from cprec_lib.train import evaluation

NAN = float("nan")

CPU = torch.device("cpu")


class Fixed:
    """Gives prepared scores [U, N], a row a user, whatever the contexts."""

    def __init__(self, scores: Tensor) -> None:
        self._scores = scores
        self.chunks: list[int] = []

    def scores(self, contexts: Tensor) -> Tensor:
        done = sum(self.chunks)
        self.chunks.append(len(contexts))
        return self._scores[done : done + len(contexts)]


def with_targets(data: SequenceData, targets: list[int]) -> SequenceData:
    contexts = torch.ones(len(targets), 3, dtype=torch.long)
    held_out = replace(data.test, contexts=contexts, targets=torch.tensor(targets))
    catalogue = replace(data.catalogue, items=data.catalogue.items[:4])
    return replace(data, catalogue=catalogue, test=held_out)


# --- ranks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scores", "target", "rank"),
    [
        ([0.1, 0.4, 0.3, 0.2], 2, 1),
        ([0.1, 0.4, 0.3, 0.2], 1, 4),
        ([0.1, 0.4, 0.3, 0.2], 4, 3),
        ([0.4, 0.4, 0.3, 0.2], 1, 2),
        ([0.4, 0.4, 0.3, 0.2], 2, 2),
        ([0.0, 0.0, 0.0, 0.0], 1, 4),
        ([-np.inf, -np.inf, 0.0, 1.0], 1, 4),
        ([np.inf, 1.0, 0.0, 1.0], 1, 1),
        ([NAN, 0.4, 0.3, 0.2], 1, 4),
        ([0.9, NAN, 0.3, 0.2], 1, 2),
        ([NAN, NAN, NAN, NAN], 3, 4),
    ],
)
def test_ties_and_what_is_no_number_count_against_the_model(data, scores, target, rank):
    ranks = evaluate(Fixed(torch.tensor([scores])), with_targets(data, [target]))
    assert ranks.ranks.tolist() == [rank]


@given(seed=st.integers(0, 10_000), levels=st.integers(1, 6))
def test_ranks_are_counts_of_items_that_score_no_lower(data, seed, levels):
    draw = np.random.default_rng(seed)
    scores = draw.integers(levels, size=(7, 4)).astype(float)
    targets = draw.integers(1, 5, size=7)
    ranks = evaluate(Fixed(torch.from_numpy(scores)), with_targets(data, targets.tolist()))
    own = [row[target - 1] for row, target in zip(scores, targets, strict=True)]
    assert ranks.ranks.tolist() == [(row >= o).sum() for row, o in zip(scores, own, strict=True)]


def test_valid_and_test_are_their_own_contexts_and_targets(data):
    class Next:
        """Scores the item after the context's last one best."""

        def scores(self, contexts: Tensor) -> Tensor:
            return -(torch.arange(1, data.n_items + 1) - contexts[:, -1:] - 1).abs().float()

    for part, held_out in (("valid", data.valid), ("test", data.test)):
        ranks = evaluate(Next(), data, part).ranks
        exact = held_out.targets == held_out.contexts[:, -1] + 1
        assert exact.any() and (ranks[exact.numpy()] == 1).all()
        assert (ranks[~exact.numpy()] > 1).all()
    assert evaluate(Next(), data).ranks.tolist() == ranks.tolist()


def test_users_in_chunks_have_the_same_ranks(data, monkeypatch):
    draw = torch.Generator().manual_seed(0)
    scores = torch.rand(len(data.test.targets), data.n_items, generator=draw)
    at_once = Fixed(scores)
    expected = evaluate(at_once, data).ranks
    in_chunks = Fixed(scores)
    contexts, targets = data.test.contexts, data.test.targets
    monkeypatch.setattr(evaluation, "CPU_CELLS", 100)
    found = evaluation._ranks(
        in_chunks, data.n_items, HeldOut(contexts, targets), torch.device("cpu")
    )
    assert len(at_once.chunks) == 1 and in_chunks.chunks == [4] * 10
    assert found.tolist() == expected.tolist()
    few_users = Fixed(scores)
    monkeypatch.setattr(evaluation, "CPU_CELLS", 10**6)
    monkeypatch.setattr(evaluation, "USERS", 15)
    found = evaluation._ranks(
        few_users, data.n_items, HeldOut(contexts, targets), torch.device("cpu")
    )
    assert few_users.chunks == [15, 15, 10]
    assert found.tolist() == expected.tolist()


def test_a_gpu_takes_more_users_of_a_large_catalogue_at_once():
    at_once = [
        evaluation._users_at_once(n, device) for n in (10**5, 10) for device in ("cpu", "cuda")
    ]
    assert at_once == [41, 671, 1024, 1024]


def test_a_small_catalogue_does_not_let_all_users_in_at_once():
    model, contexts = Fixed(torch.zeros(3000, 2)), torch.ones(3000, 5, dtype=torch.long)
    evaluation._ranks(
        model, 2, HeldOut(contexts, torch.ones(3000, dtype=torch.long)), torch.device("cpu")
    )
    assert model.chunks == [1024, 1024, 952]


@pytest.mark.parametrize("mode", [True, False])
def test_a_model_is_ranked_without_dropout_and_gets_its_mode_back(data, mode):
    model = SequentialRecommender(nextitnet(data.n_items, 4, dilations=(1,), dropout=0.9))
    model.train(mode)
    first, second = evaluate(model, data), evaluate(model, data)
    assert first.ranks.tolist() == second.ranks.tolist()
    assert model.training is mode


def test_the_mode_comes_back_also_after_an_error(data):
    class Failing(nn.Linear):
        def scores(self, contexts: Tensor) -> Tensor:
            assert not self.training
            raise RuntimeError("no scores")

    model = Failing(1, 1).train()
    with pytest.raises(RuntimeError, match="no scores"):
        evaluate(model, data)
    assert model.training


def test_a_model_of_another_catalogue_is_refused(data):
    model = SequentialRecommender(nextitnet(data.n_items + 3, 4))
    with pytest.raises(ValueError, match="the model scores 28 items, the data has 25; evaluate a"):
        evaluate(model, data)


@pytest.mark.parametrize("part", ["train", "", None])
def test_an_unknown_part_is_refused(data, part):
    with pytest.raises(ValueError, match=f"unknown part {part!r}; choose one of valid, test"):
        evaluate(Fixed(torch.zeros(1, 4)), data, part)


# --- metrics -------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 3, 10, 40])
@given(seed=st.integers(0, 10_000))
def test_metrics_are_those_of_torchmetrics(k, seed):
    draw = torch.Generator().manual_seed(seed)
    n_users, n_items = 6, 40
    scores = torch.rand(n_users, n_items, generator=draw)
    targets = torch.randint(n_items, (n_users, 1), generator=draw)
    relevant = torch.zeros(n_users, n_items, dtype=torch.bool).scatter(1, targets, True)
    users = torch.arange(n_users).unsqueeze(1).expand(-1, n_items)
    ranks = Ranks((scores >= scores.gather(1, targets)).sum(1).numpy())
    found = ranks.metrics((k,))
    peers = {"hr": RetrievalHitRate, "mrr": RetrievalMRR, "ndcg": RetrievalNormalizedDCG}
    for name, peer in peers.items():
        expected = peer(top_k=k)(scores.flatten(), relevant.flatten(), users.flatten())
        assert found[f"{name}@{k}"] == pytest.approx(expected.item(), abs=1e-6)


def test_metrics_by_hand():
    ranks = Ranks(np.array([1, 2, 3, 11]))
    assert ranks.values("hr@2").tolist() == [1, 1, 0, 0]
    assert ranks.values("mrr@10").tolist() == pytest.approx([1, 1 / 2, 1 / 3, 0])
    assert ranks.values("ndcg@11").tolist() == pytest.approx(
        [1, 1 / np.log2(3), 1 / 2, 1 / np.log2(12)]
    )
    means = ranks.metrics()
    assert list(means) == [f"{m}@{k}" for k in (5, 10, 20) for m in ("hr", "mrr", "ndcg")]
    assert means["hr@10"] == 0.75 and means["hr@20"] == 1
    assert all(type(value) is float for value in means.values())
    assert set(ranks.metrics(k=(1,))) == {"hr@1", "mrr@1", "ndcg@1"}


@pytest.mark.parametrize("metric", ["ndcg", "ndcg@", "ndcg@0", "ndcg@-1", "map@5", "hr@1.5", ""])
def test_an_unknown_metric_is_refused(metric):
    with pytest.raises(ValueError, match=f"unknown metric '{metric}'; use hr@k, mrr@k or ndcg@k"):
        Ranks(np.array([1])).values(metric)
