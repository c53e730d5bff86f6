"""The popularity curve: fits, concentration, and the table of a cut."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cprec_lib import BlockPartition, count_parameters, cprec
from cprec_lib.course.popularity import (
    block_table,
    fit_zipf,
    gini,
    log_spaced_ranks,
    lorenz_curve,
    sorted_counts,
    top_share,
)

count_lists = st.lists(st.integers(0, 1000), min_size=1, max_size=60).filter(any)


@given(count_lists)
def test_counts_are_put_in_falling_order(counts):
    assert sorted_counts(np.array(counts)).tolist() == sorted(counts, reverse=True)


@pytest.mark.parametrize("counts", [[], [0, 0], [3, -1], [3, np.nan], [np.inf, 2]])
@pytest.mark.parametrize("function", [sorted_counts, fit_zipf, lorenz_curve, gini])
def test_counts_that_make_no_curve_are_refused(function, counts):
    with pytest.raises(ValueError, match="counts must be finite, non-negative and not all zero"):
        function(np.array(counts))


@pytest.mark.parametrize(
    ("counts", "found"),
    [
        ([], "there are none"),
        ([3, -1], "they run from -1 to 3"),
        ([3, np.nan], "they run from 3.0 to nan"),
        ([0, 0], "they run from 0 to 0"),
    ],
)
def test_what_makes_no_curve_is_named(counts, found):
    with pytest.raises(ValueError, match=f"; {found}. Count the interactions of each item"):
        sorted_counts(np.array(counts))


@given(st.integers(1, 10_000), st.integers(2, 80))
def test_log_spaced_ranks_rise_from_the_first_to_the_last(n_items, points):
    ranks = log_spaced_ranks(n_items, points)
    assert ranks[0] == 1 and ranks[-1] == n_items and len(ranks) <= points
    assert (np.diff(ranks) > 0).all()


def test_log_spaced_ranks_by_hand():
    assert log_spaced_ranks(1000, 4).tolist() == [1, 10, 100, 1000]
    assert log_spaced_ranks(8, 50).tolist() == [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("exponent", [0.5, 1.0, 1.7])
def test_an_exact_power_law_is_found(exponent):
    ranks = np.arange(1, 501)
    fit = fit_zipf(np.random.default_rng(0).permutation(3000 * ranks**-exponent))
    assert fit.exponent == pytest.approx(exponent)
    assert fit.scale == pytest.approx(3000)
    assert fit.r_squared == pytest.approx(1)
    assert fit.counts([1, 100]) == pytest.approx([3000, 3000 * 100**-exponent])


def test_the_fit_is_least_squares_in_log_log_space_at_log_spaced_ranks():
    counts = np.array([50, 20, 9, 9, 4, 2, 2, 1, 1, 1, 0, 0])
    x, y = np.log(np.arange(1, 11)), np.log(counts[:10])
    slope = np.cov(x, y, bias=True)[0, 1] / x.var()
    fit = fit_zipf(counts)  # 50 log-spaced points hit every one of the 10 ranks
    assert fit.exponent == pytest.approx(-slope)
    assert np.log(fit.scale) == pytest.approx(y.mean() - slope * x.mean())
    assert fit.r_squared == pytest.approx(np.corrcoef(x, y)[0, 1] ** 2)


def test_the_far_tail_does_not_decide_alone():
    """A head that falls as 1 / rank before a long flat tail: the head keeps its weight."""
    counts = np.concatenate([10_000 / np.arange(1, 101), np.full(9_900, 100.0)])
    assert fit_zipf(counts).exponent > 0.4


@given(st.integers(1, 500), st.integers(3, 400))
def test_a_flat_curve_has_exponent_0_and_is_fitted_exactly(count, n_items):
    fit = fit_zipf(np.full(n_items, count))
    assert fit.exponent == pytest.approx(0, abs=1e-9)
    assert fit.scale == pytest.approx(count)
    assert fit.r_squared == 1


def test_too_few_items_to_fit_are_refused():
    with pytest.raises(ValueError, match="2 items with interactions are too few to fit a line"):
        fit_zipf(np.array([5, 1, 0, 0]))


def test_a_lorenz_curve_by_hand():
    items, interactions = lorenz_curve(np.array([6, 1, 3]))
    assert items == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert interactions == pytest.approx([0, 0.1, 0.4, 1])


@given(count_lists)
def test_gini_is_half_the_mean_difference_over_the_mean(counts):
    values = np.array(counts, dtype=float)
    difference = np.abs(values[:, None] - values).mean()
    assert gini(values) == pytest.approx(difference / (2 * values.mean()), abs=1e-12)


def test_gini_at_its_ends():
    assert gini(np.full(9, 4)) == pytest.approx(0)
    assert gini(np.array([7] + [0] * 99)) == pytest.approx(0.99)


def test_share_of_the_most_popular_items():
    counts = np.array([1, 60, 20, 5, 4, 3, 3, 2, 1, 1])
    assert top_share(counts, 0.1) == pytest.approx(0.60)
    assert top_share(counts, 0.2) == pytest.approx(0.80)
    assert top_share(counts, 1) == 1
    assert top_share(counts, 0.001) == pytest.approx(0.60)


@pytest.mark.parametrize("share", [0, -0.2, 1.01, float("nan")])
def test_a_share_outside_0_and_1_is_refused(share):
    with pytest.raises(ValueError, match=rf"share {share} is not in \(0, 1\]"):
        top_share(np.array([3, 1]), share)


def test_a_block_table_by_hand():
    counts = np.array([5, 10, 1, 2, 0, 0])
    table = block_table(counts, BlockPartition(6, (1, 3), (4, 2, 1)))
    assert table.index.tolist() == [1, 2, 3]
    assert table["items"].tolist() == [1, 2, 3]
    assert table["share_of_items"].tolist() == pytest.approx([1 / 6, 2 / 6, 3 / 6])
    assert table["interactions"].tolist() == [10, 7, 1]
    assert table["share_of_interactions"].tolist() == pytest.approx([10 / 18, 7 / 18, 1 / 18])
    assert table["width"].tolist() == [4, 2, 1]
    assert table["full"].tolist() == [4, 8, 12]
    assert table["decomposed"].tolist() == [4, 2 * 2 + 2 * 4, 3 * 1 + 1 * 4]
    assert table["full_per_interaction"].tolist() == pytest.approx([0.4, 8 / 7, 12])


def test_a_block_table_adds_up_to_the_ledgers_embedding(data):
    config = cprec(data.n_items, 8, cutoffs=(5, 12))
    table = block_table(data.catalogue.counts, config.partition)
    assert table["decomposed"].sum() == count_parameters(config).by_part()["embedding"]
    assert table["full"].sum() == data.n_items * 8
    assert table["interactions"].sum() == data.catalogue.counts.sum()


def test_a_block_without_interactions_spends_infinitely_many_parameters_on_each():
    table = block_table(np.array([3, 2, 0, 0]), BlockPartition(4, (2,), (4, 1)))
    assert table["full_per_interaction"].tolist() == [8 / 5, np.inf]


def test_counts_of_another_catalogue_are_refused():
    with pytest.raises(ValueError, match=r"3 counts for a partition of 6 items; .* n_items=3"):
        block_table(np.array([3, 2, 1]), BlockPartition(6, (1, 3), (4, 2, 1)))
