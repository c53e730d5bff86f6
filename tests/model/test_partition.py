"""Cutoffs, widths and blocks: what they are, and which are refused."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cprec_lib import BlockPartition
from cprec_lib.model.partition import cutoffs_from_shares, decaying_widths
from tests.strategies import partitions


@pytest.mark.parametrize(
    ("n_items", "shares", "cutoffs"),
    [(100, (0.05, 0.2), (5, 20)), (26_744, (0.05, 0.2), (1337, 5349)), (3, (0.4, 0.6), (1, 2))],
)
def test_shares_are_rounded_to_the_nearest_count(n_items, shares, cutoffs):
    assert cutoffs_from_shares(n_items, shares) == cutoffs


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, float("nan")])
def test_a_share_outside_0_and_1_is_refused(share):
    with pytest.raises(ValueError, match=rf"share {share} is not between 0 and 1; give"):
        cutoffs_from_shares(100, (share,))


def test_shares_of_a_catalogue_too_small_for_them_are_refused():
    expected = r"5 items are too few .* shares 0\.05,0\.2 .* 0,1\): .* item counts, such as 1,2$"
    with pytest.raises(ValueError, match=expected):
        cutoffs_from_shares(5, (0.05, 0.2))
    with pytest.raises(ValueError, match=r"cutoffs \(1, 1\) do not increase.*5 items"):
        cutoffs_from_shares(5, (0.2, 0.25))


def test_widths_of_the_paper():
    assert decaying_widths(512, 4) == (512, 128, 32, 8)
    assert decaying_widths(64, 5) == (64, 16, 4, 1, 1)
    assert decaying_widths(7, 3, factor=2) == (7, 3, 1)


@given(
    width=st.integers(1, 600),
    n_blocks=st.integers(1, 6),
    factor=st.one_of(st.integers(1, 1000), st.sampled_from([1.5, 2.5, 1e200, float("inf")])),
)
def test_widths_follow_the_formula(width, n_blocks, factor):
    exact = Fraction(min(factor, 10**6))
    expected = tuple(max(1, floor(Fraction(width) / exact**j)) for j in range(n_blocks))
    assert decaying_widths(width, n_blocks, factor) == expected


@pytest.mark.parametrize("factor", [0, 0.99, -4, float("nan")])
def test_a_factor_below_1_is_refused(factor):
    with pytest.raises(ValueError, match=f"factor {factor} is below 1"):
        decaying_widths(64, 3, factor)


def test_a_width_below_1_is_refused():
    with pytest.raises(ValueError, match="width 0 is below 1"):
        decaying_widths(0, 3)


@given(partitions())
def test_blocks_hold_every_item_once_in_order(partition):
    items = [i for start, end in partition.bounds for i in range(start + 1, end + 1)]
    assert items == list(range(1, partition.n_items + 1))
    assert partition.sizes == tuple(end - start for start, end in partition.bounds)
    assert all(size >= 1 for size in partition.sizes)
    assert partition.n_blocks == len(partition.sizes) == len(partition.widths)
    assert tuple(end for _, end in partition.bounds[:-1]) == partition.cutoffs


def test_a_partition_by_hand():
    partition = BlockPartition(10, (2, 5), (8, 4, 1))
    assert partition.bounds == ((0, 2), (2, 5), (5, 10))
    assert partition.sizes == (2, 3, 5)
    assert partition.width == 8


def test_decaying_is_the_partition_with_those_widths():
    assert BlockPartition.decaying(100, [10, 30], 64) == BlockPartition(100, (10, 30), (64, 16, 4))
    assert BlockPartition.decaying(100, [10], 64, factor=2).widths == (64, 32)


def test_a_partition_is_frozen_and_can_be_a_key():
    partition = BlockPartition(10, [2, 5], [8, 4, 1])
    assert {partition: 1}[BlockPartition(10, (2, 5), (8, 4, 1))] == 1
    with pytest.raises(AttributeError):
        partition.n_items = 11


def test_numpy_integers_become_plain_ones():
    partition = BlockPartition(np.int64(10), np.array([2, 5]), np.array([8, 4, 1]))
    assert partition == BlockPartition(10, (2, 5), (8, 4, 1))
    assert all(type(n) is int for n in (partition.n_items, *partition.cutoffs, *partition.widths))


@pytest.mark.parametrize(
    ("cutoffs", "message"),
    [
        ((), "no cutoffs: give at least one"),
        ((0, 5), "first cutoff 0 is below 1"),
        ((-3, 5), "first cutoff -3 is below 1"),
        ((5, 5), r"cutoffs \(5, 5\) do not increase"),
        ((5, 3), r"cutoffs \(5, 3\) do not increase"),
        ((5, 10), "last cutoff 10 leaves no tail in a catalogue of 10 items; it must be at most 9"),
        ((5, 11), "last cutoff 11 leaves no tail"),
        ((2.5, 5), r"cutoff 2\.5 is not a whole number"),
        ((True, 5), "cutoff True is not a whole number"),
        ("25", "cutoff '2' is not a whole number"),
        ((float("nan"), 5), "cutoff nan is not a whole number"),
    ],
)
def test_cutoffs_that_make_no_blocks_are_refused(cutoffs, message):
    with pytest.raises(ValueError, match=message):
        BlockPartition(10, cutoffs, (4,) * (len(cutoffs) + 1))


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        ((4, 2), r"2 widths \(4, 2\) for 3 blocks; 2 cutoffs make 3 blocks"),
        ((4, 2, 1, 1), "4 widths"),
        ((), "0 widths"),
        ((4, 2, 0), "each must be at least 1"),
        ((4, 2, 0.5), r"width 0\.5 is not a whole number"),
    ],
)
def test_widths_that_do_not_match_are_refused(widths, message):
    with pytest.raises(ValueError, match=message):
        BlockPartition(10, (2, 5), widths)


def test_a_catalogue_that_is_no_whole_number_is_refused():
    with pytest.raises(ValueError, match=r"n_items 10\.5 is not a whole number"):
        BlockPartition(10.5, (2, 5), (4, 2, 1))
