"""Which past items reach a prediction."""

import numpy as np
import pytest
import torch

from cprec_lib.course.explore.reach import STACKS, gradient_by_age
from cprec_lib.model.middle import receptive_field


@pytest.mark.parametrize(
    ("name", "blocks", "kernel_size"),
    [("1 and 4 in turn", 4, 3), ("doubled from block to block", 4, 5), ("1 in every block", 1, 2)],
)
def test_the_measured_reach_is_the_receptive_field(made, name, blocks, kernel_size):
    sizes = made["reach"].look_up(name, blocks, kernel_size).sizes
    field = receptive_field(STACKS[name][:blocks], kernel_size)
    assert np.flatnonzero(sizes).tolist() == list(range(field))


def test_dilations_of_4_alone_reach_each_fourth_item_only(made):
    sizes = made["reach"].look_up("4 in every block", 2, 3).sizes
    assert np.flatnonzero(sizes).tolist() == list(range(0, 49, 4))


def test_measuring_leaves_the_random_numbers_alone():
    before = torch.get_rng_state()
    gradient_by_age((1,), 2, length=10)
    assert torch.equal(torch.get_rng_state(), before)
