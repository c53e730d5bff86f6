"""The search in numpy against sorting, with ties and exclusions; which blocks it opens."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cprec_lib import BlockPartition, BlockSoftmax, FullSoftmax, LowRankSoftmax
from cprec_lib.export.tables import softmax_tables, stored
from cprec_lib.serve.search import Softmax
from tests.strategies import partitions

KINDS = {
    "full": lambda partition: FullSoftmax(partition.width, partition.n_items),
    "tree": BlockSoftmax,
    "flat": LowRankSoftmax,
}
seeds = st.integers(0, 2**32 - 1)


def serve(softmax: torch.nn.Module, width: int) -> Softmax:
    return Softmax(stored(softmax_tables(softmax))[0], softmax.ends, width)


@pytest.mark.parametrize("kind", KINDS)
@given(partition=partitions(), seed=seeds, draw=st.data())
def test_the_search_is_that_of_torch(kind, partition, seed, draw):
    """Weights of -1, 0 and 1 make many ties, without rounding."""
    torch.manual_seed(seed)
    softmax = KINDS[kind](partition)
    with torch.no_grad():
        for parameter in softmax.parameters():
            parameter.copy_(torch.randint(-1, 2, parameter.shape))
    hidden = torch.randint(-1, 2, (4, partition.width)).float()
    omitted = draw.draw(st.sets(st.integers(1, partition.n_items), max_size=partition.n_items - 1))
    k = draw.draw(st.integers(1, partition.n_items - len(omitted)))
    exclude = torch.tensor([sorted(omitted)] * 4, dtype=torch.long).view(4, -1)
    values, items = softmax.top_k(hidden, k, exclude)
    found, theirs = serve(softmax, partition.width).top_k(hidden.numpy(), k, list(exclude.numpy()))
    np.testing.assert_allclose(found, values.numpy(), atol=1e-5)
    # Equal logits of two blocks can round to values that differ in the last place.
    for row in range(4):
        apart = np.abs(np.diff(values[row].numpy(), append=np.inf)) > 1e-5
        if apart.all():
            assert theirs[row].tolist() == items[row].tolist()
        assert len({*theirs[row].tolist()}) == k


def test_of_items_that_are_alike_the_first_ones_win():
    softmax = BlockSoftmax(BlockPartition(20, (8, 14), (4, 2, 1)))
    for parameter in softmax.parameters():
        torch.nn.init.zeros_(parameter)
    _, items = serve(softmax, 4).top_k(np.ones((3, 4), np.float32), 7)
    assert items.tolist() == [[*range(1, 8)]] * 3


def test_a_block_that_cannot_matter_is_not_read():
    softmax = BlockSoftmax(BlockPartition(1000, (100,), (4, 2)))
    torch.nn.init.zeros_(softmax.root.weight)
    with torch.no_grad():
        softmax.root.weight[-1] = -10
    served = serve(softmax, 4)
    (tail,) = served.tails
    tail.block.table.weights[:] = np.nan  # would show in the values
    values, items = served.top_k(np.ones((1, 4), np.float32), 5)
    assert items.tolist() == [[1, 2, 3, 4, 5]]
    assert np.isfinite(values).all()
