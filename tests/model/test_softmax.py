"""The softmaxes against torch's adaptive one and their formulas; top-k against sorting."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from cprec_lib import BlockPartition, BlockSoftmax, FullSoftmax, LowRankSoftmax
from tests.strategies import partitions

KINDS = pytest.mark.parametrize("kind", ["full", "block", "low rank"])
seeds = st.integers(0, 10_000)


def build(kind: str, partition: BlockPartition, seed: int = 0) -> nn.Module:
    """A softmax in float64 with random weights of unit variance."""
    torch.manual_seed(seed)
    if kind == "full":
        module = FullSoftmax(partition.width, partition.n_items)
    else:
        module = {"block": BlockSoftmax, "low rank": LowRankSoftmax}[kind](partition)
    for parameter in module.double().parameters():
        nn.init.normal_(parameter)
    return module


def random_rows(partition: BlockPartition, n_rows: int, seed: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    hidden = torch.randn(n_rows, partition.width, dtype=torch.float64, generator=draw)
    return hidden, torch.randint(1, partition.n_items + 1, (n_rows,), generator=draw)


def torch_twin(block: BlockSoftmax) -> nn.AdaptiveLogSoftmaxWithLoss:
    """torch's adaptive softmax with the same weights, its tails made as wide as ours."""
    partition = block.partition
    twin = nn.AdaptiveLogSoftmaxWithLoss(
        partition.width, partition.n_items, list(partition.cutoffs), div_value=1.0, head_bias=False
    ).double()
    for tail, (size, width) in enumerate(
        zip(partition.sizes[1:], partition.widths[1:], strict=True)
    ):
        projection = nn.Linear(partition.width, width, bias=False)
        twin.tail[tail] = nn.Sequential(projection, nn.Linear(width, size, bias=False)).double()
    with torch.no_grad():
        for ours, theirs in zip(weights(block), twin.parameters(), strict=True):
            theirs.copy_(ours)
    return twin


def weights(block: BlockSoftmax) -> list[nn.Parameter]:
    """Our weights in the order of the parameters of torch's adaptive softmax."""
    pairs = zip(block.tail_projections, block.tail_tables, strict=True)
    return [block.root.weight, *(part.weight for pair in pairs for part in pair)]


# --- against torch.nn.AdaptiveLogSoftmaxWithLoss -------------------------------------------------


@given(partitions(), st.integers(1, 12), seeds)
def test_block_softmax_is_torchs_adaptive_softmax(partition, n_rows, seed):
    ours = build("block", partition, seed)
    theirs = torch_twin(ours)
    hidden, targets = random_rows(partition, n_rows, seed)
    torch.testing.assert_close(ours.log_prob(hidden), theirs.log_prob(hidden))
    found = theirs(hidden, targets - 1)
    torch.testing.assert_close(ours.nll(hidden, targets), -found.output)
    torch.testing.assert_close(ours.nll(hidden, targets).mean(), found.loss)


@given(partitions(), st.integers(1, 12), seeds)
def test_gradients_are_those_of_torchs_adaptive_softmax(partition, n_rows, seed):
    ours = build("block", partition, seed)
    theirs = torch_twin(ours)
    hidden, targets = random_rows(partition, n_rows, seed)
    inputs = [hidden.clone().requires_grad_() for _ in range(2)]
    importance = torch.rand(n_rows, dtype=torch.float64)
    (ours.nll(inputs[0], targets) * importance).sum().backward()
    (-theirs(inputs[1], targets - 1).output * importance).sum().backward()

    torch.testing.assert_close(inputs[0].grad, inputs[1].grad)
    for our, their in zip(weights(ours), theirs.parameters(), strict=True):
        expected = torch.zeros_like(their) if their.grad is None else their.grad
        torch.testing.assert_close(our.grad, expected)


def test_decaying_widths_are_those_of_torchs_div_value():
    ours = build("block", BlockPartition.decaying(40, (5, 12, 20), 64, factor=4))
    theirs = nn.AdaptiveLogSoftmaxWithLoss(64, 40, [5, 12, 20], div_value=4.0, head_bias=False)
    assert [p.shape for p in weights(ours)] == [p.shape for p in theirs.parameters()]


# --- against formulas ----------------------------------------------------------------------------


@given(partitions(), seeds)
def test_the_root_holds_the_head_then_one_token_a_tail_block(partition, seed):
    block = build("block", partition, seed)
    n_entries = partition.sizes[0] + partition.n_blocks - 1
    assert tuple(block.root.weight.shape) == (n_entries, partition.width)
    for tail, (size, width) in enumerate(
        zip(partition.sizes[1:], partition.widths[1:], strict=True)
    ):
        assert tuple(block.tail_projections[tail].weight.shape) == (width, partition.width)
        assert tuple(block.tail_tables[tail].weight.shape) == (size, width)
    assert not any("bias" in name for name, _ in block.named_parameters())

    hidden, _ = random_rows(partition, 4, seed)
    root = (hidden @ block.root.weight.T).softmax(-1)
    found = block.log_prob(hidden).exp()
    torch.testing.assert_close(found[:, : partition.sizes[0]], root[:, : partition.sizes[0]])
    for tail, (start, end) in enumerate(partition.bounds[1:]):
        token = root[:, partition.sizes[0] + tail]
        torch.testing.assert_close(found[:, start:end].sum(-1), token)


@given(partitions(), seeds)
def test_low_rank_softmax_is_one_softmax_over_all_low_rank_logits(partition, seed):
    flat = build("low rank", partition, seed)
    hidden, _ = random_rows(partition, 4, seed)
    logits = [hidden @ flat.head.weight.T]
    for projection, table in zip(flat.tail_projections, flat.tail_tables, strict=True):
        logits.append(hidden @ projection.weight.T @ table.weight.T)
    torch.testing.assert_close(flat.log_prob(hidden), torch.cat(logits, -1).log_softmax(-1))
    assert not any("bias" in name for name, _ in flat.named_parameters())


@given(partitions(), seeds)
def test_full_softmax_is_a_softmax_with_bias(partition, seed):
    full = build("full", partition, seed)
    hidden, _ = random_rows(partition, 4, seed)
    assert tuple(full.output.weight.shape) == (partition.n_items, partition.width)
    logits = hidden @ full.output.weight.T + full.output.bias
    torch.testing.assert_close(full.log_prob(hidden), logits.log_softmax(-1))


@KINDS
@given(partition=partitions(), seed=seeds)
def test_probabilities_sum_to_1_and_the_loss_is_minus_their_logarithm(kind, partition, seed):
    module = build(kind, partition, seed)
    hidden, targets = random_rows(partition, 6, seed)
    log_prob = module.log_prob(hidden)
    assert log_prob.shape == (6, partition.n_items)
    torch.testing.assert_close(log_prob.exp().sum(-1), torch.ones(6, dtype=torch.float64))
    expected = -log_prob.gather(1, targets[:, None] - 1).squeeze(1)
    torch.testing.assert_close(module.nll(hidden, targets), expected)


@KINDS
@given(partition=partitions(), seed=seeds, n_rows=st.integers(1, 40))
def test_the_mean_and_its_gradients_are_those_of_the_plain_loss(kind, partition, seed, n_rows):
    module = build(kind, partition, seed)
    hidden, targets = random_rows(partition, n_rows, seed)
    inputs = [hidden.clone().requires_grad_() for _ in range(2)]
    found = []
    for loss, start in (
        (module.nll(inputs[0], targets).mean(), inputs[0]),
        (module.mean_nll(inputs[1], targets), inputs[1]),
    ):
        gradients = torch.autograd.grad(3 * loss, [start, *module.parameters()])
        found.append([loss, *gradients])
    for plain, lean in zip(*found, strict=True):
        torch.testing.assert_close(lean, plain)


@KINDS
def test_no_rows_have_no_loss_and_no_items(kind):
    module = build(kind, BlockPartition(20, (3, 9), (4, 2, 1)))
    hidden, targets = torch.zeros(0, 4, dtype=torch.float64), torch.zeros(0, dtype=torch.long)
    assert module.nll(hidden, targets).shape == (0,)
    assert module.log_prob(hidden).shape == (0, 20)
    values, items = module.top_k(hidden, 3, torch.zeros(0, 2, dtype=torch.long))
    assert values.shape == items.shape == (0, 3)


@KINDS
@pytest.mark.parametrize("target", [0, -1, 21])
def test_a_target_outside_the_catalogue_is_refused(kind, target):
    module = build(kind, BlockPartition(20, (3, 9), (4, 2, 1)))
    hidden = torch.ones(2, 4, dtype=torch.float64)
    with pytest.raises(ValueError, match=rf"target {target} is outside 1\.\.20; padding"):
        module.nll(hidden, torch.tensor([3, target]))


@KINDS
@pytest.mark.parametrize("loss", ["nll", "mean_nll"])
def test_sizes_that_count_other_targets_are_refused(kind, loss):
    module = build(kind, BlockPartition(20, (3, 9), (4, 2, 1)))
    hidden, targets = torch.ones(2, 4, dtype=torch.float64), torch.tensor([3, 20])
    right = [1, 0, 1] if kind == "block" else [2]
    getattr(module, loss)(hidden, targets, right)
    for sizes in ([*right, 0], [*right[:-1], 5]):
        with pytest.raises(ValueError, match=r"do not count 2 targets in . blocks; take those of"):
            getattr(module, loss)(hidden, targets, sizes)


# --- top-k ---------------------------------------------------------------------------------------


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
@pytest.mark.parametrize("k", [0, -3])
def test_k_below_1_is_refused(top, k):
    with pytest.raises(ValueError, match=f"k {k} is below 1; ask for at least one item"):
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
