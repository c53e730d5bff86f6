"""Bootstrap intervals hold the truth as often as they say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cprec_lib import Interval, Ranks, compare
from cprec_lib.evidence.bootstrap import interval


def random_ranks(seed: int, n_users: int = 50) -> Ranks:
    return Ranks(np.random.default_rng(seed).integers(1, 30, size=n_users))


def test_an_interval_holds_the_true_mean_as_often_as_it_says():
    draw = np.random.default_rng(0)
    hits = 0
    for number in range(200):
        found = interval(draw.exponential(size=60), resamples=100, confidence=0.8, seed=number)
        assert found.low <= found.estimate <= found.high
        hits += found.low <= 1 <= found.high
    # 200 trials at 80 % have a standard error of 2.8 %; the bootstrap is a little too narrow.
    assert 0.7 <= hits / 200 <= 0.88


def test_a_paired_difference_holds_the_truth_as_often_as_it_says():
    """Ranks b are ranks a, made worse for a random 30 % of the users."""
    draw, hits = np.random.default_rng(1), 0
    for number in range(200):
        a = draw.integers(1, 21, size=80)
        b = np.where(draw.random(80) < 0.3, 21, a)
        found = compare(Ranks(a), Ranks(b), "hr@10", resamples=100, confidence=0.8, seed=number)
        hits += found.low <= 0.5 * 0.3 <= found.high
    assert 0.7 <= hits / 200 <= 0.88


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(2).exponential(size=400),
        np.random.default_rng(2).choice([0.0, 0.5, 1.0], p=[0.7, 0.2, 0.1], size=5000),
    ],
    ids=["each its own", "many users a value"],
)
def test_the_interval_is_the_percentile_bootstrap_over_users(values):
    found = interval(values, resamples=4000, confidence=0.9)
    error = values.std() / np.sqrt(len(values))
    assert found.estimate == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - 1.645 * error, abs=0.15 * error)
    assert found.high == pytest.approx(values.mean() + 1.645 * error, abs=0.15 * error)


def test_pairing_narrows_the_interval():
    """Two models that agree on each user up to a little: their difference is well known."""
    a = random_ranks(3, 200)
    b = Ranks(a.ranks + (np.arange(200) % 10 == 0))
    paired = compare(a, b, "mrr@20")
    alone = interval(a.values("mrr@20"))
    assert paired.high - paired.low < 0.25 * (alone.high - alone.low)
    assert 0 < paired.low < paired.estimate


@given(seed=st.integers(0, 1000))
def test_swapping_the_models_turns_the_interval_around(seed):
    a, b = random_ranks(seed), random_ranks(seed + 1)
    one, other = compare(a, b, resamples=100), compare(b, a, resamples=100)
    assert one.estimate == pytest.approx(-other.estimate)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
    expected = a.values("ndcg@10").mean() - b.values("ndcg@10").mean()
    assert one.estimate == pytest.approx(expected)


def test_a_model_does_not_differ_from_itself():
    ranks = random_ranks(0)
    assert compare(ranks, ranks) == Interval(0.0, 0.0, 0.0)


def test_the_seed_and_the_confidence_fix_the_interval():
    a, b = random_ranks(0), random_ranks(1)
    assert compare(a, b) == compare(a, b)
    assert compare(a, b, seed=1) != compare(a, b)
    wide, narrow = compare(a, b, confidence=0.99), compare(a, b, confidence=0.5)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_an_interval_prints_as_estimate_and_bounds():
    assert str(Interval(0.12347, -0.1, 0.3)) == "0.1235 [-0.1000, 0.3000]"


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="50 users against 49; a paired comparison needs the same"):
        compare(random_ranks(0), random_ranks(0, 49))
    with pytest.raises(ValueError, match="unknown metric 'map@10'"):
        compare(random_ranks(0), random_ranks(1), "map@10")
    with pytest.raises(ValueError, match="no values: an interval needs at least one user"):
        interval(np.array([]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resamples": 0}, "resamples 0 is below 1"),
        ({"confidence": 95}, "confidence 95 is not between 0 and 1"),
        ({"confidence": 0}, "confidence 0 is not"),
        ({"confidence": float("nan")}, "confidence nan is not"),
    ],
)
def test_intervals_without_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        compare(random_ranks(0), random_ranks(1), **options)
