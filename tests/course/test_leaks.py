"""The leak of notebook 04 that is made on purpose."""

import pandas as pd
import pytest

from cprec_lib import Bigram, Popularity, SequenceData
from cprec_lib.course.leaks import count_test_part


def log(sequences: list[list[int]]) -> SequenceData:
    """Data of users with these items, in this order."""
    rows = [
        (user, item, time)
        for user, items in enumerate(sequences)
        for time, item in enumerate(items)
    ]
    table = pd.DataFrame(rows, columns=["user", "item", "timestamp"])
    return SequenceData.from_interactions(table, max_len=4)


@pytest.mark.parametrize("kind", [Popularity, Bigram])
def test_a_counted_test_part_raises_the_test_items(kind):
    data = log([[1, 1, 2, 3, 4], [1, 2, 3, 4, 5]])
    leaking = count_test_part(data)
    for user, target in enumerate(data.test.targets.tolist()):
        context = data.test.contexts[[user]]
        own = [kind(d).scores(context)[0, target - 1].item() for d in (data, leaking)]
        assert own[1] > own[0]


def test_a_counted_test_part_leaves_the_data_as_they_were():
    data = log([[1, 1, 2, 3, 4], [1, 2, 3, 4, 5]])
    before = data.catalogue.counts.copy(), len(data.train)
    leaking = count_test_part(data)
    assert (data.catalogue.counts == before[0]).all() and len(data.train) == before[1]
    assert len(leaking.train) == before[1] + 2
    assert leaking.catalogue.counts.sum() == before[0].sum() + 2
    assert leaking.train.shape[1] == data.train.shape[1]
