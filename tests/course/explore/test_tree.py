"""Where a two-level softmax puts probability."""

import numpy as np
import pytest
import torch

from cprec_lib import BlockPartition
from cprec_lib.course import explore
from cprec_lib.course.explore.tree import block_chances


def test_the_flow_of_each_user_is_a_probability_and_finds_the_block(made):
    for user, block in enumerate([0, 0, 1, 1, 2, 2]):
        flow = made["tree"].look_up(user)
        assert sum(mass for mass, _ in flow.blocks.values()) == pytest.approx(1, abs=1e-5)
        assert all(0 < best <= mass for mass, best in flow.blocks.values())
        assert flow.true_block == block


@pytest.mark.parametrize(("users", "items", "titles"), [(0, 9, 0), (3, 8, 3), (3, 9, 1)])
def test_a_tree_needs_users_and_shapes_that_fit(users: int, items: int, titles: int):
    partition = BlockPartition(9, (2, 5), (4, 2, 1))
    targets = torch.ones(users, dtype=torch.long)
    with pytest.raises(ValueError, match="do not fit"):
        explore.tree(torch.zeros(users, items), partition, targets, ["A"] * titles, {1: "B"})


def test_a_block_has_its_own_chances_and_those_of_its_best_items():
    chances = np.array([[0.3, 0.1, 0.2, 0.15, 0.25], [0.0, 0.5, 0.1, 0.4, 0.0]])
    found = block_chances(chances, BlockPartition(5, (1,), (2, 1)), k=2)
    np.testing.assert_allclose(found, [[[0.3, 0.3], [0.7, 0.45]], [[0.0, 0.0], [1.0, 0.9]]])
