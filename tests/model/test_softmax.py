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
