"""Exact top-k against sorting, which blocks it opens, and what it refuses."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from cprec_lib import BlockPartition, BlockSoftmax
from tests.model.test_softmax import KINDS, build, random_rows, seeds
from tests.strategies import partitions


def by_sorting(module: nn.Module, hidden: Tensor, k: int, exclude: Tensor | None = None):
    """The k best items by sorting all log-probabilities, ties to the lower id."""
    log_prob = module.log_prob(hidden).detach()
    if exclude is not None:
        for row, ids in enumerate(exclude.tolist()):
            for item in ids:
                if item > 0:
                    log_prob[row, item - 1] = -torch.inf
    values, columns = log_prob.sort(descending=True, stable=True)
    return values[:, :k], columns[:, :k] + 1


def assert_same_top(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
    assert torch.equal(found[1], expected[1])
    torch.testing.assert_close(found[0], expected[0], rtol=1e-12, atol=1e-12)


@KINDS
@given(partition=partitions(), n_rows=st.integers(1, 8), seed=seeds, draw=st.data())
def test_top_k_is_sorting(kind, partition, n_rows, seed, draw):
    module = build(kind, partition, seed)
    hidden, _ = random_rows(partition, n_rows, seed)
    k = draw.draw(st.integers(1, partition.n_items), label="k")
    assert_same_top(module.top_k(hidden, k), by_sorting(module, hidden, k))


@KINDS
@given(partition=partitions(), n_rows=st.integers(1, 6), seed=seeds, draw=st.data())
def test_top_k_with_exclusions_is_sorting_what_is_left(kind, partition, n_rows, seed, draw):
    module = build(kind, partition, seed)
    hidden, _ = random_rows(partition, n_rows, seed)
    n_excluded = draw.draw(st.integers(0, partition.n_items - 1), label="excluded")
    ids = st.lists(st.integers(0, partition.n_items), min_size=n_excluded, max_size=n_excluded)
    rows = draw.draw(st.lists(ids, min_size=n_rows, max_size=n_rows), label="exclude")
    exclude = torch.tensor(rows, dtype=torch.long).view(n_rows, n_excluded)
    k = draw.draw(st.integers(1, partition.n_items - n_excluded), label="k")
    assert_same_top(module.top_k(hidden, k, exclude), by_sorting(module, hidden, k, exclude))


@KINDS
@given(partition=partitions(), seed=seeds, draw=st.data())
def test_equal_values_go_to_the_lower_id(kind, partition, seed, draw):
    """Weights of -1, 0 and 1 make many equal logits, and these without rounding."""
    module = build(kind, partition, seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randint(-1, 2, parameter.shape))
    hidden = torch.randint(-1, 2, (5, partition.width)).double()
    k = draw.draw(st.integers(1, partition.n_items), label="k")
    values, items = module.top_k(hidden, k)
    expected = by_sorting(module, hidden, k)
    assert torch.equal(items, expected[1])
    assert torch.equal(values, expected[0])


@KINDS
def test_when_all_items_are_alike_the_first_ones_win(kind):
    module = build(kind, BlockPartition(20, (8, 14), (4, 2, 1)))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    _, items = module.top_k(torch.ones(3, 4, dtype=torch.float64), 7)
    assert torch.equal(items, torch.arange(1, 8).expand(3, -1))


def one_item_tail() -> BlockSoftmax:
    """Head items 1 and 2, and a tail of item 3 alone: its probability is that of its token."""
    block = build("block", BlockPartition(3, (2,), (1, 1)))
    with torch.no_grad():
        block.root.weight.copy_(torch.tensor([[0.0], [1.0], [1.0]]))
    return block


def test_a_tie_between_head_and_tail_goes_to_the_head():
    block, hidden = one_item_tail(), torch.ones(1, 1, dtype=torch.float64)
    values, items = block.top_k(hidden, 3)
    assert items.tolist() == [[2, 3, 1]]
    assert values[0, 0] == values[0, 1]
    assert block.top_k(hidden, 1)[1].tolist() == [[2]]
    assert block.top_k(hidden, 1, torch.tensor([[2]]))[1].tolist() == [[3]]


class Rows:
    """Counts the rows for which each tail block of a softmax is computed."""

    def __init__(self, block: BlockSoftmax, monkeypatch: pytest.MonkeyPatch) -> None:
        self.of_tail = [0] * len(block.tail_tables)
        self._compute = block.tail_logits
        monkeypatch.setattr(block, "tail_logits", self)

    def __call__(self, tail: int, hidden: Tensor) -> Tensor:
        self.of_tail[tail] += len(hidden)
        return self._compute(tail, hidden)


def three_block_example() -> tuple[BlockSoftmax, Tensor]:
    """Hidden unit vectors e_0 .. e_3: row i of `hidden` reads column i of the root's weights."""
    block = build("block", BlockPartition(12, (4, 8), (4, 4, 4)))
    with torch.no_grad():
        block.root.weight.zero_()
        # Row 0: the head leads by far. Row 1: the first token does. Row 2: the second. Row 3: both.
        block.root.weight[:4, 0] = 20.0
        block.root.weight[4, [1, 3]] = 20.0
        block.root.weight[5, [2, 3]] = 20.0
    return block, torch.eye(4, dtype=torch.float64)


def test_a_tail_block_that_cannot_matter_is_not_computed(monkeypatch):
    block, hidden = three_block_example()
    expected = by_sorting(block, hidden, 3)
    rows = Rows(block, monkeypatch)
    assert_same_top(block.top_k(hidden, 3), expected)
    assert rows.of_tail == [2, 2]
    block.top_k(hidden[:1], 4)
    assert rows.of_tail == [2, 2]
    block.top_k(hidden[:1], 5)
    assert rows.of_tail == [3, 3]


def test_a_tail_block_after_a_good_one_is_judged_by_what_that_one_gave(monkeypatch):
    block, _ = three_block_example()
    # With k = 3 the head's third best lies below the second token; the first block's does not.
    with torch.no_grad():
        block.root.weight[:, 0] = torch.tensor([-5.0, -5.0, -5.0, -5.0, 9.0, -4.0])
        block.tail_tables[0].weight.zero_()
    hidden = torch.eye(4, dtype=torch.float64)[:1]
    expected = by_sorting(block, hidden, 3)
    rows = Rows(block, monkeypatch)
    assert_same_top(block.top_k(hidden, 3), expected)
    assert rows.of_tail == [1, 0]


@given(partitions(), seeds, st.integers(1, 6))
def test_a_tail_row_is_computed_only_if_its_token_beats_the_kth_best_so_far(partition, seed, k):
    block = build("block", partition, seed)
    hidden, _ = random_rows(partition, 6, seed)
    k = min(k, partition.n_items)
    log_prob, root = block.log_prob(hidden), block.root(hidden).log_softmax(-1)
    expected = []
    for tail, (start, _) in enumerate(partition.bounds[1:]):
        so_far = log_prob[:, :start].topk(min(k, start)).values
        full = so_far.shape[1] == k
        kth = so_far[:, -1] if full else torch.full((6,), -torch.inf)
        expected.append(int((root[:, partition.sizes[0] + tail] > kth).sum()))
    with pytest.MonkeyPatch.context() as patch:
        rows = Rows(block, patch)
        block.top_k(hidden, k)
    assert rows.of_tail == expected


def test_early_stopping_misses_an_item_whose_token_is_crowded_out():
    """The best token's block holds three alike items, the second best's one certain item."""
    block = build("block", BlockPartition(7, (1, 4), (1, 1, 1)))
    with torch.no_grad():
        block.root.weight.copy_(torch.tensor([[-9.0], [2.0], [1.9]]))
        block.tail_tables[0].weight.zero_()
        block.tail_projections[1].weight.fill_(1.0)
        block.tail_tables[1].weight.copy_(torch.tensor([[0.0], [50.0], [0.0]]))
    hidden = torch.ones(1, 1, dtype=torch.float64)
    assert block.top_k(hidden, 1)[1].tolist() == [[6]]
    assert block.early_stopping_top_k(hidden, 1)[1].tolist() == [[2]]


def test_early_stopping_opens_blocks_that_cannot_matter(monkeypatch):
    block, hidden = three_block_example()
    with torch.no_grad():
        block.root.weight[:, 0] = torch.tensor([20.0, 20.0, -9.0, -9.0, 1.0, 0.0])
    rows = Rows(block, monkeypatch)
    block.early_stopping_top_k(hidden[:1], 3)
    assert rows.of_tail == [1, 0]


@pytest.mark.parametrize("search", ["top_k", "early_stopping_top_k"])
def test_the_root_is_computed_once(search, monkeypatch):
    block, hidden = three_block_example()
    calls = []
    root = block.root.forward
    monkeypatch.setattr(block.root, "forward", lambda rows: calls.append(len(rows)) or root(rows))
    getattr(block, search)(hidden, 3)
    assert calls == [4]


@given(partitions(), seeds, st.data())
def test_early_stopping_opens_the_blocks_whose_tokens_are_among_the_roots_best(
    partition, seed, draw
):
    block = build("block", partition, seed)
    hidden, _ = random_rows(partition, 4, seed)
    k = draw.draw(st.integers(1, partition.n_items), label="k")
    log_prob = block.log_prob(hidden).detach()
    best = block.root(hidden).sort(descending=True).indices[:, :k]
    for tail, (start, end) in enumerate(partition.bounds[1:]):
        opened = (best == partition.sizes[0] + tail).any(1)
        log_prob[~opened, start:end] = -torch.inf
    values, columns = log_prob.sort(descending=True, stable=True)
    values, items = values[:, :k], columns[:, :k] + 1
    found = block.early_stopping_top_k(hidden, k)
    assert_same_top(found, (values, items.masked_fill(values.isinf(), 0)))


@given(partitions(), seeds)
def test_early_stopping_is_exact_once_every_block_is_open(partition, seed):
    block = build("block", partition, seed)
    hidden, _ = random_rows(partition, 4, seed)
    k = min(partition.n_items, block.root.out_features)
    assert_same_top(block.early_stopping_top_k(hidden, k), block.top_k(hidden, k))


def test_early_stopping_leaves_places_empty_rather_than_name_an_excluded_item():
    block = build("block", BlockPartition(7, (3,), (1, 1)))
    with torch.no_grad():
        block.root.weight.copy_(torch.tensor([[3.0], [2.0], [1.0], [0.0]]))
    hidden = torch.ones(1, 1, dtype=torch.float64)
    values, items = block.early_stopping_top_k(hidden, 3, torch.tensor([[1, 3]]))
    assert items.tolist() == [[2, 0, 0]]
    assert values[0, 1:].tolist() == [-torch.inf, -torch.inf]


@KINDS
def test_top_k_needs_no_gradient(kind):
    module = build(kind, BlockPartition(20, (3, 9), (4, 2, 1)))
    hidden = torch.ones(2, 4, dtype=torch.float64, requires_grad=True)
    assert not module.top_k(hidden, 5)[0].requires_grad


# --- what top_k refuses --------------------------------------------------------------------------


def top_functions() -> list:
    partition = BlockPartition(6, (2, 4), (4, 2, 1))
    block = build("block", partition)
    others = [build(kind, partition).top_k for kind in ("full", "low rank")]
    return [block.top_k, block.early_stopping_top_k, *others]


TOPS = pytest.mark.parametrize("top", top_functions())
HIDDEN = torch.ones(2, 4, dtype=torch.float64)


@TOPS
@pytest.mark.parametrize(
    ("k", "message"), [(0, "is below 1"), (-3, "is below 1"), (3.0, "is not a whole number")]
)
def test_k_is_a_whole_number_of_at_least_1(top, k, message):
    with pytest.raises(ValueError, match=f"k {k} {message}"):
        top(HIDDEN, k)


@TOPS
def test_k_above_the_catalogue_is_refused(top):
    with pytest.raises(ValueError, match=r"k 7 is more than the 6 items left.*ask for fewer"):
        top(HIDDEN, 7)


@TOPS
def test_k_above_what_the_exclusions_leave_is_refused(top):
    exclude = torch.tensor([[0, 0, 0, 1], [2, 2, 5, 0]])
    assert top(HIDDEN, 4, exclude)[1].shape == (2, 4)
    with pytest.raises(ValueError, match=r"k 5 is more than the 4 items left.*up to 2 excluded"):
        top(HIDDEN, 5, exclude)


@TOPS
@pytest.mark.parametrize(
    ("exclude", "message"),
    [
        (torch.tensor([1, 2]), r"exclude has shape \(2,\); it needs two dimensions"),
        (torch.tensor([[1, 2]]), r"exclude has shape \(1, 2\).*each of the 2 hidden vectors"),
        (torch.tensor([[1], [7]]), r"item id 7 is outside 0\.\.6"),
        (torch.tensor([[1], [-1]]), r"item id -1 is outside 0\.\.6"),
        (torch.tensor([[1.0], [2.0]]), r"item ids have the type torch\.float32"),
    ],
)
def test_exclusions_that_do_not_fit_are_refused(top, exclude, message):
    with pytest.raises(ValueError, match=message):
        top(HIDDEN, 1, exclude)


@KINDS
def test_a_row_of_nan_is_refused_although_its_head_is_excluded(kind):
    module = build(kind, BlockPartition(20, (3, 9), (4, 2, 1)))
    hidden = HIDDEN.clone()
    hidden[1, 2] = torch.nan
    with pytest.raises(ValueError, match="scores of row 1 are not numbers"):
        module.top_k(hidden, 3, torch.tensor([[1, 2, 3], [1, 2, 3]]))


@KINDS
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_hidden_vectors_that_are_not_finite_are_refused(kind, value):
    module = build(kind, BlockPartition(20, (3, 9), (4, 2, 1)))
    hidden = HIDDEN.clone()
    hidden[1, 2] = value
    with pytest.raises(ValueError, match="scores of row 1 are not numbers: its hidden vector or"):
        module.top_k(hidden, 5)


@KINDS
def test_weights_of_nan_are_refused(kind):
    partition = BlockPartition(20, (3, 9), (4, 2, 1))
    for number, (name, _) in enumerate(build(kind, partition).named_parameters()):
        module = build(kind, partition)
        [*module.parameters()][number].data.view(-1)[-1] = torch.nan
        with pytest.raises(ValueError, match="hold NaN or infinity"):
            module.top_k(HIDDEN, 5)
            pytest.fail(name)


def test_weights_that_are_not_finite_are_refused_also_in_a_block_that_is_not_opened():
    block, hidden = three_block_example()
    assert block.search(hidden[:1], 3).opened == (0, 0)
    block.tail_tables[1].weight.data[2, 1] = torch.nan
    with pytest.raises(ValueError, match="weights of tail block 2 hold NaN or infinity"):
        block.top_k(hidden[:1], 3)
