"""Popularity and bigram: their scores by hand, and what they may know."""

import numpy as np
import pandas as pd
import pytest
import torch

from cprec_lib import Bigram, Popularity, SequenceData, evaluate


@pytest.fixture(scope="module")
def tiny() -> SequenceData:
    """Training parts a b a b c, a b and c a; then two held-out items each."""
    rows = [
        (user, item) for user, items in enumerate(["ababcda", "abcc", "cadb"]) for item in items
    ]
    table = pd.DataFrame(rows, columns=["user", "item"])
    return SequenceData.from_interactions(table.assign(timestamp=range(len(table))), max_len=3)


def test_the_catalogue_of_the_example(tiny):
    assert tiny.catalogue.items.tolist() == ["a", "b", "c", "d"]
    assert tiny.catalogue.counts.tolist() == [4, 3, 2, 0]


def test_popularity_scores_by_training_count_whatever_the_context(tiny):
    scores = Popularity(tiny).scores(torch.tensor([[0, 0, 1], [1, 2, 3]]))
    assert scores.tolist() == [[4, 3, 2, 0], [4, 3, 2, 0]]


def test_popularity_ranks_the_targets_by_their_place_in_the_catalogue(tiny):
    ranks = evaluate(Popularity(tiny), tiny, "test").ranks
    assert ranks.tolist() == tiny.test.targets.tolist()


def test_bigram_counts_what_followed_the_last_item(tiny):
    """Transitions: a b 3, b a 1, b c 1, c a 1; prior 10 x (4, 3, 2, 0) / 9."""
    prior = 10 * np.array([4, 3, 2, 0]) / 9
    followed = {1: [0, 3, 0, 0], 2: [1, 0, 1, 0], 3: [1, 0, 0, 0], 4: [0, 0, 0, 0]}
    for last, counts in followed.items():
        scores = Bigram(tiny).scores(torch.tensor([[3, 3, last]]))[0]
        expected = (np.array(counts) + prior) / (sum(counts) + 10)
        assert scores.numpy() == pytest.approx(expected)


def test_bigram_probabilities_sum_to_1(data):
    sums = Bigram(data, strength=2.5).scores(data.test.contexts).sum(1)
    torch.testing.assert_close(sums, torch.ones(len(sums)))


def test_a_weak_prior_leaves_the_counts_alone(tiny):
    scores = Bigram(tiny, strength=1e-6).scores(torch.tensor([[1, 1, 1]]))[0]
    assert scores.numpy() == pytest.approx([0, 1, 0, 0], abs=1e-5)


def test_windows_do_not_count_a_transition_twice(table):
    """Whatever the windows' length, the transitions of the training part are the same."""
    contexts = torch.arange(1, 26).unsqueeze(1)
    scores = [
        Bigram(SequenceData.from_interactions(table, max_len=length)).scores(contexts)
        for length in (1, 3, 50)
    ]
    torch.testing.assert_close(scores[0], scores[1])
    torch.testing.assert_close(scores[0], scores[2])


def test_on_a_circle_bigram_beats_popularity(data):
    bigram, popularity = (evaluate(model(data), data).metrics() for model in (Bigram, Popularity))
    assert bigram["hr@5"] > 0.7 > 0.4 > popularity["hr@5"]


@pytest.mark.parametrize("strength", [0, -1, float("nan")])
def test_a_prior_without_strength_is_refused(tiny, strength):
    with pytest.raises(ValueError, match=f"strength {strength} must be above 0"):
        Bigram(tiny, strength)
