"""Bounds over tail blocks: never below the truth, and searches with them stay exact."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cprec_lib import (
    BlockPartition,
    BlockSoftmax,
    SequentialRecommender,
    TailBounds,
    cprec,
    nextitnet,
)
from tests.model.test_search import assert_same_top, by_sorting
from tests.model.test_softmax import build, random_rows, seeds
from tests.strategies import partitions


@given(partitions(), seeds, st.integers(1, 12), st.sampled_from([torch.float32, torch.float64]))
def test_no_item_is_above_the_bound(partition, seed, cell_size, dtype):
    block = build("block", partition, seed).to(dtype)
    hidden = random_rows(partition, 6, seed)[0].to(dtype)
    bounds = TailBounds(block, cell_size)
    for tail in range(len(block.tail_tables)):
        best = block.tail_logits(tail, hidden).log_softmax(-1).amax(1)
        assert (bounds(tail, hidden) >= best).all()


@given(partitions(), seeds)
def test_a_cell_for_each_row_makes_the_bound_tight(partition, seed):
    block = build("block", partition, seed)
    hidden, _ = random_rows(partition, 6, seed)
    for tail in range(len(block.tail_tables)):
        best = block.tail_logits(tail, hidden).log_softmax(-1).amax(1)
        torch.testing.assert_close(TailBounds(block, 1)(tail, hidden), best, atol=1e-9, rtol=0)


@given(partitions(), st.integers(1, 6), seeds, st.integers(1, 12), st.data())
def test_a_search_with_bounds_is_sorting(partition, n_rows, seed, cell_size, draw):
    block = build("block", partition, seed)
    hidden, _ = random_rows(partition, n_rows, seed)
    exclude = torch.randint(0, partition.n_items + 1, (n_rows, partition.n_items // 3))
    left = partition.n_items - partition.n_items // 3
    k = draw.draw(st.integers(1, left), label="k")
    found = block.top_k(hidden, k, exclude, TailBounds(block, cell_size))
    assert_same_top(found, by_sorting(block, hidden, k, exclude))


@given(partitions(), seeds)
def test_equal_values_still_go_to_the_lower_id(partition, seed):
    """Weights of -1, 0 and 1 make many equal logits, and these without rounding."""
    block = build("block", partition, seed)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.copy_(torch.randint(-1, 2, parameter.shape))
    hidden = torch.randint(-1, 2, (5, partition.width)).double()
    k = max(1, partition.n_items // 2)
    found = block.top_k(hidden, k, bound=TailBounds(block, 2))
    assert_same_top(found, block.top_k(hidden, k))


def _clusters() -> tuple[torch.nn.Module, torch.Tensor]:
    """A token above every item of the head, each item of its block far below: a bound can tell."""
    partition = BlockPartition(1020, (20,), (8, 2))
    block = build("block", partition)
    with torch.no_grad():
        block.root.weight.mul_(0.01)[-1] = 0.1
        block.tail_tables[0].weight.copy_(0.01 * torch.randn(1000, 2))
    return block, torch.ones(4, 8, dtype=torch.float64)


def test_a_bound_spares_a_block_that_its_token_does_not():
    block, hidden = _clusters()
    *plain, opened = block.search(hidden, 3)
    assert opened == (4,)
    *found, opened = block.search(hidden, 3, bound=TailBounds(block))
    assert_same_top(found, plain)
    assert opened == (0,), "the bound should have spared the block"


def _step(block: BlockSoftmax) -> None:
    """One step of the optimizer that `fit` uses."""
    optimizer = torch.optim.AdamW(block.parameters(), lr=0.1, fused=True)
    block.mean_nll(torch.ones(2, 8, dtype=torch.float64), torch.tensor([30, 900])).backward()
    optimizer.step()


def _write(block: BlockSoftmax) -> None:
    with torch.no_grad():
        block.tail_tables[0].weight[3] = 100.0


def _assign(block: BlockSoftmax) -> None:
    state = {name: 2 * tensor for name, tensor in block.state_dict().items()}
    block.load_state_dict(state, assign=True)


def _swap_rows(block: BlockSoftmax) -> None:
    weight = block.tail_tables[0].weight.data
    weight[[0, 1]] = weight[[1, 0]]


def _new_parameter(block: BlockSoftmax) -> None:
    table = block.tail_tables[0]
    table.weight = torch.nn.Parameter(2 * table.weight.detach())


CHANGES = [
    _step,
    _write,
    _assign,
    _swap_rows,
    _new_parameter,
    lambda block: block.tail_tables[0].weight.data.mul_(2),
    lambda block: block.tail_projections[0].weight.data.mul_(2),
    lambda block: block.tail_tables[0].weight.detach().numpy().__setitem__((999, 1), 7.0),
    lambda block: block.tail_tables[0].weight.data.fill_(torch.nan),
    lambda block: block.float(),
    lambda block: block.tail_tables.append(torch.nn.Linear(2, 3)),
]


@pytest.mark.parametrize("change", CHANGES)
def test_bounds_of_earlier_weights_are_refused_however_these_changed(change):
    block, hidden = _clusters()
    bounds = TailBounds(block)
    before = block.top_k(hidden, 3)
    assert_same_top(block.top_k(hidden, 3, bound=bounds), before)
    change(block)
    with pytest.raises(ValueError, match=r"bounds belong to other weights.*; make new bounds"):
        block.top_k(hidden.to(block.root.weight.dtype), 3, bound=bounds)
    assert_same_top(bounds.top_k(hidden, 3), before)  # the copy has not changed


@given(partitions(), seeds)
def test_bounds_of_another_softmax_are_refused(partition, seed):
    block, other = build("block", partition, seed), build("block", partition, seed + 1)
    hidden, _ = random_rows(partition, 2, seed)
    for kind in ("full", "low rank"):
        with pytest.raises(ValueError, match="bounds belong to other weights"):
            build(kind, partition, seed).top_k(hidden, 1, bound=TailBounds(block))
    with pytest.raises(ValueError, match="bounds belong to other weights"):
        other.top_k(hidden, 1, bound=TailBounds(block))


def test_bounds_hold_for_an_equal_softmax_and_whatever_its_root():
    block, hidden = _clusters()
    bounds, twin = TailBounds(block), copy.deepcopy(block)
    assert_same_top(twin.top_k(hidden, 3, bound=bounds), block.top_k(hidden, 3))
    block.root.weight.data.mul_(-3)
    assert_same_top(block.top_k(hidden, 3, bound=bounds), by_sorting(block, hidden, 3))


@given(partitions(), seeds, st.data())
def test_bounds_search_the_copy(partition, seed, draw):
    block = build("block", partition, seed)
    hidden, _ = random_rows(partition, 4, seed)
    exclude = torch.randint(0, partition.n_items + 1, (4, partition.n_items // 3))
    k = draw.draw(st.integers(1, partition.n_items - partition.n_items // 3), label="k")
    expected, bounds = block.top_k(hidden, k, exclude), TailBounds(block, 2)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.zero_()
    assert_same_top(bounds.top_k(hidden, k, exclude), expected)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("layer", ["tail_tables", "tail_projections"])
def test_bounds_are_not_made_of_weights_that_are_not_finite(layer, value):
    block, _ = _clusters()
    getattr(block, layer)[0].weight.data[0, 0] = value
    with pytest.raises(ValueError, match="weights of tail block 1 hold NaN or infinity"):
        TailBounds(block)


@pytest.mark.parametrize("cell_size", [0, -3])
def test_a_cell_holds_a_row(cell_size):
    with pytest.raises(ValueError, match=f"cell_size {cell_size} is below 1"):
        TailBounds(_clusters()[0], cell_size)


def test_bounds_are_of_a_block_softmax():
    with pytest.raises(TypeError, match="BlockSoftmax"):
        TailBounds(SequentialRecommender(nextitnet(30, 8)).softmax)


def test_recommend_takes_bounds():
    model = SequentialRecommender(cprec(300, 16))
    plain = model.recommend([[1, 2, 299], [5]], 7, exclude_seen=True)
    bound = TailBounds(model.softmax, 16)
    assert_same_top(model.recommend([[1, 2, 299], [5]], 7, exclude_seen=True, bound=bound), plain)
