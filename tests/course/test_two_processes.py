"""Two processes that train together report what one of them holds."""

import torch

from cprec_lib import SequenceData, TrainConfig, load_interactions, nextitnet
from cprec_lib.course.two_processes import held_bytes, train_in_two

LOG = "synthetic:items=2000,users=40,length=10"


def test_numbers_are_counted_once_however_many_tensors_show_them():
    before = held_bytes()
    numbers = torch.zeros(1000)
    views = [numbers[:10], numbers.view(10, 100)]
    assert held_bytes() - before == 4 * len(numbers)
    del numbers
    assert held_bytes() - before == 4 * 1000
    del views
    assert held_bytes() == before


def test_two_processes_hold_half_each_if_tables_are_split():
    data = SequenceData.from_interactions(load_interactions(LOG))
    model = nextitnet(data.n_items, 16, dilations=(1,))
    plans = [TrainConfig(epochs=1, shard=shard) for shard in (False, True)]
    whole, split = [train_in_two(LOG, model, plan) for plan in plans]
    assert abs(whole.loss - split.loss) < 1e-4
    assert 0.4 < split.held_bytes / whole.held_bytes < 0.6
