"""The rules of the search, on blocks whose answer is known by hand."""

import pytest
import torch

from cprec_lib import BlockPartition, BlockSoftmax
from cprec_lib.evidence.search_rules import compare_rules


def test_rules_are_compared_by_what_they_look_into():
    # Two head items and two blocks of two. The first history's best items are in the head, the
    # second's in the last block, whose token comes first in the root.
    block = BlockSoftmax(BlockPartition(6, (2, 4), (2, 1, 1)))
    with torch.no_grad():
        block.root.weight.copy_(torch.tensor([[9.0, 0], [8, 0], [0, 0], [0, 9]]))
        for tail in range(2):
            block.tail_projections[tail].get_parameter("weight").fill_(0.0)
    found = compare_rules(block, torch.tensor([[1.0, 0], [0, 1.0]]), k=1)
    # The tokens' rule opens the last block for the second history, and no other: 3 of 4 spared.
    assert found["spared_by_tokens"] == found["spared_by_bounds"] == 0.75
    assert found["spared_by_early_stopping"] == 0.75
    assert found["missed_by_early_stopping"] == 0.0


def test_a_token_that_takes_the_place_of_a_better_item_is_a_miss():
    # The first block's token is above the second's, but shares its mass between two items.
    block = BlockSoftmax(BlockPartition(6, (2, 4), (2, 1, 1)))
    with torch.no_grad():
        block.root.weight.copy_(torch.tensor([[0.0, 0], [0, 0], [5, 0], [4.9, 0]]))
        block.tail_projections[0].get_parameter("weight").fill_(0.0)
        block.tail_projections[1].get_parameter("weight").copy_(torch.tensor([[1.0, 0]]))
        block.tail_tables[1].get_parameter("weight").copy_(torch.tensor([[50.0], [0.0]]))
    found = compare_rules(block, torch.tensor([[1.0, 0]]), k=1)
    assert found["missed_by_early_stopping"] == 1.0
    assert found["spared_by_early_stopping"] == 0.5


def test_rules_are_not_compared_on_nothing():
    block = BlockSoftmax(BlockPartition(6, (2, 4), (2, 1, 1)))
    with pytest.raises(ValueError, match="no hidden vectors"):
        compare_rules(block, torch.zeros(0, 2))
