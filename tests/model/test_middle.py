"""The middles against their formulas, torch's layers, and what causality and padding demand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from cprec_lib import GRU, SHARING, DilatedCNN, SelfAttention
from cprec_lib.model.middle import (
    AttentionBlock,
    CausalConvolution,
    Dropout,
    ResidualBlock,
    receptive_field,
)

OTHERS = {
    "gru": lambda: GRU(4, layers=2),
    "attention": lambda: SelfAttention(4, layers=2, max_positions=20),
    "two heads": lambda: SelfAttention(4, layers=2, heads=2, max_positions=20),
}


def randomise(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """The module in float64 with random weights, biases and norms included."""
    torch.manual_seed(seed)
    module.double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module


def convolution_loop(conv: CausalConvolution, x: Tensor, dilation: int) -> Tensor:
    """y[t] = bias + sum over i of weight[:, :, i] x[t - (k - 1 - i) dilation],  x[t < 0] = 0."""
    k = conv.weight.shape[-1]
    y = torch.zeros_like(x)
    for b in range(x.shape[0]):
        for t in range(x.shape[1]):
            y[b, t] = conv.bias
            for i in range(k):
                source = t - (k - 1 - i) * dilation
                if source >= 0:
                    y[b, t] += conv.weight[:, :, i] @ x[b, source]
    return y


def block_by_torch(block: ResidualBlock, x: Tensor) -> Tensor:
    """x + ReLU(LN2(Conv_2l(ReLU(LN1(Conv_l(x)))))) of torch's own operators."""
    inner = x
    steps = ((block.conv1, block.norm1, 1), (block.conv2, block.norm2, 2))
    for conv, norm, times in steps:
        dilation = times * block.dilation
        padding = (conv.weight.shape[-1] - 1) * dilation
        columns = F.pad(inner.transpose(1, 2), (padding, 0))
        y = F.conv1d(columns, conv.weight, conv.bias, dilation=dilation).transpose(1, 2)
        inner = F.relu(F.layer_norm(y, y.shape[-1:], norm.weight, norm.bias, eps=1e-8))
    return x + inner


shapes = given(
    width=st.integers(1, 4),
    kernel_size=st.integers(1, 4),
    dilation=st.integers(1, 5),
    length=st.integers(1, 9),
    seed=st.integers(0, 1000),
)


@shapes
def test_convolution_is_the_loop_of_its_formula(width, kernel_size, dilation, length, seed):
    conv = randomise(CausalConvolution(width, kernel_size), seed)
    x = torch.randn(2, length, width, dtype=torch.float64)
    torch.testing.assert_close(conv(x, dilation), convolution_loop(conv, x, dilation))


@shapes
def test_gradients_of_the_convolution_are_those_of_its_loop(
    width, kernel_size, dilation, length, seed
):
    conv = randomise(CausalConvolution(width, kernel_size), seed)
    x, weights = torch.randn(2, 2, length, width, dtype=torch.float64)
    leaves = [x.requires_grad_(), conv.weight, conv.bias]
    outputs = conv(x, dilation), convolution_loop(conv, x, dilation)
    of_both = [torch.autograd.grad((y * weights).sum(), leaves) for y in outputs]
    torch.testing.assert_close(*of_both)


@shapes
def test_residual_block_is_its_formula_in_torchs_operators(
    width, kernel_size, dilation, length, seed
):
    convs = CausalConvolution(width, kernel_size), CausalConvolution(width, kernel_size)
    block = randomise(ResidualBlock(*convs, dilation, dropout=0.0), seed)
    x = torch.randn(2, length, width, dtype=torch.float64)
    ones = torch.ones(2, length, 1, dtype=torch.float64)
    torch.testing.assert_close(block(x, ones), block_by_torch(block, x))


@pytest.mark.parametrize("scheme", SHARING)
def test_the_stack_is_its_blocks_one_after_the_other(scheme):
    middle = randomise(DilatedCNN(4, (1, 4, 2), sharing=scheme))
    x = torch.randn(2, 12, 4, dtype=torch.float64)
    expected = x
    for block, dilation in zip(middle.blocks, (1, 4, 2), strict=True):
        assert block.dilation == dilation
        expected = block_by_torch(block, expected)
    torch.testing.assert_close(middle(x), expected)


def test_defaults_and_shapes_of_the_contract():
    middle = DilatedCNN(8)
    assert [block.dilation for block in middle.blocks] == [1, 4, 1, 4]
    for block in middle.blocks:
        for conv in (block.conv1, block.conv2):
            assert tuple(conv.weight.shape) == (8, 8, 3)
            assert tuple(conv.bias.shape) == (8,)
        assert block.norm1.eps == block.norm2.eps == 1e-8
        assert block.norm1.normalized_shape == block.norm2.normalized_shape == (8,)
    assert len({id(c) for b in middle.blocks for c in (b.conv1, b.conv2)}) == 8
    assert middle(torch.randn(2, 5, 8)).shape == (2, 5, 8)


@pytest.mark.parametrize("scheme", SHARING)
def test_no_position_sees_a_later_one(scheme):
    middle = randomise(DilatedCNN(4, (1, 2, 1), sharing=scheme))
    x = torch.randn(2, 15, 4, dtype=torch.float64)
    before = middle(x)
    for position in range(15):
        changed = x.clone()
        changed[:, position] += torch.randn(4, dtype=torch.float64)
        after = middle(changed)
        assert torch.equal(after[:, :position], before[:, :position])
        assert not torch.equal(after[:, position], before[:, position])


@pytest.mark.parametrize(
    ("dilations", "kernel_size"), [((1, 4, 1, 4), 3), ((1,), 3), ((2, 1), 2), ((3, 1), 4), ((), 3)]
)
def test_receptive_field_is_how_far_back_a_gradient_reaches(dilations, kernel_size):
    middle = randomise(DilatedCNN(16, dilations, kernel_size))
    field = receptive_field(dilations, kernel_size)
    x = torch.randn(1, field + 4, 16, dtype=torch.float64, requires_grad=True)
    middle(x)[0, -1].sum().backward()
    reached = x.grad[0].abs().sum(-1).nonzero().squeeze(1)
    assert field + 4 - int(reached.min()) == field


def test_receptive_field_by_hand():
    assert receptive_field((1, 4, 1, 4)) == 61
    assert receptive_field((1,), kernel_size=2) == 4
    assert receptive_field(()) == 1


@pytest.mark.parametrize("padding", [1, 3, 10])
def test_a_left_padded_sequence_is_the_same_sequence_alone(padding):
    middle = randomise(DilatedCNN(4, (1, 2, 1)))
    x = torch.randn(2, 6, 4, dtype=torch.float64)
    padded = F.pad(x, (0, 0, padding, 0))
    real = torch.arange(6 + padding).expand(2, -1) >= padding
    hidden = middle(padded, real)
    torch.testing.assert_close(hidden[:, padding:], middle(x), rtol=1e-12, atol=1e-12)
    assert not hidden[:, :padding].any()


def test_padding_stays_zero_wherever_it_lies():
    middle = randomise(DilatedCNN(4, (1, 2)))
    real = torch.tensor([[False, True, True, False, True, False]])
    x = torch.randn(1, 6, 4, dtype=torch.float64) * real.unsqueeze(-1)
    hidden = middle(x, real)
    assert not hidden[~real].any()
    assert hidden[real].any(-1).all()


@pytest.mark.parametrize("dilations", [(), (1, 2)])
def test_what_stands_at_padding_does_not_matter(dilations):
    middle = randomise(DilatedCNN(4, dilations))
    real = torch.tensor([[False, False, True, False, True, True]])
    x = torch.randn(1, 6, 4, dtype=torch.float64)
    hidden = middle(x, real)
    assert not hidden[~real].any()
    torch.testing.assert_close(hidden, middle(x * real.unsqueeze(-1), real), rtol=0, atol=0)


def test_without_blocks_the_middle_passes_everything_through():
    x = torch.randn(2, 5, 4)
    assert torch.equal(DilatedCNN(4, ())(x), x)
    assert list(DilatedCNN(4, ()).parameters()) == []


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("share", [0.001, 0.3, 0.5, 0.999])
def test_dropout_scales_what_it_keeps_by_the_share_kept(share, kind):
    torch.manual_seed(0)
    ones = torch.ones(3, 100_001, dtype=kind, requires_grad=True)
    dropped = Dropout(share)(ones)
    kept = dropped != 0
    expected = torch.full_like(dropped[kept], 1 / (1 - share))
    torch.testing.assert_close(dropped[kept], expected, rtol=0.01, atol=0)
    spread = (share * (1 - share) / ones.numel()) ** 0.5
    assert kept.double().mean().item() == pytest.approx(1 - share, abs=5 * spread + 2**-17)
    (gradient,) = torch.autograd.grad(dropped.sum(), ones)
    assert torch.equal(gradient, dropped)


def test_dropout_drops_each_unit_by_itself():
    """Units that share a number of 64 bits, and neighbours in time, are dropped independently."""
    torch.manual_seed(0)
    dropped = Dropout(0.5)(torch.ones(400_000)) == 0
    for apart in (1, 2, 3, 4, 8):
        both = (dropped[:-apart] & dropped[apart:]).double().mean().item()
        assert both == pytest.approx(0.25, abs=0.004)


def test_dropout_of_none_and_in_evaluation_leaves_everything():
    x = torch.randn(5)
    assert torch.equal(Dropout(0.0)(x), x)
    assert torch.equal(Dropout(0.9).eval()(x), x)
    assert Dropout(0.5)(torch.empty(0, 3)).shape == (0, 3)


def test_dropout_falls_on_what_a_block_adds():
    middle = randomise(DilatedCNN(8, (1,), dropout=0.25))
    x = torch.randn(4, 20, 8, dtype=torch.float64)
    added = middle.eval()(x) - x
    dropped = middle.train()(x) - x
    kept = dropped.abs() > 1e-9
    torch.testing.assert_close(dropped[kept], added[kept] / 0.75)
    assert (kept.sum() / (added > 1e-9).sum()).item() == pytest.approx(0.75, abs=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "width 0 is below 1"),
        ({"width": -2}, "width -2 is below 1"),
        ({"kernel_size": 0}, "kernel_size 0 is below 1"),
        ({"dilations": (1, 0)}, "dilations 0 is below 1"),
        ({"dilations": (-4,)}, "dilations -4 is below 1"),
        ({"sharing": "all"}, "unknown sharing scheme 'all'"),
    ],
)
def test_sizes_below_1_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        DilatedCNN(**{"width": 4, **options})


def test_width_1_and_a_sequence_of_one_position():
    middle = DilatedCNN(1)
    assert middle(torch.ones(1, 1, 1)).isfinite().all()


# --- the GRU and the attention -------------------------------------------------------------------


def layer_norm(x: Tensor, norm: torch.nn.LayerNorm) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], norm.weight, norm.bias, eps=1e-8)


def attention_loop(block: AttentionBlock, x: Tensor) -> Tensor:
    """One sequence x [L, d] through a block, position by position and head by head."""
    length, width = x.shape
    part = width // block.heads
    w_q, w_k, w_v = block.projection.weight.split(width)
    normed = layer_norm(x, block.norm1)
    rows = []
    for t in range(length):
        mixed = []
        for columns in (slice(h * part, (h + 1) * part) for h in range(block.heads)):
            query = (w_q @ normed[t])[columns]
            keys = torch.stack([(w_k @ normed[s])[columns] for s in range(t + 1)])
            values = torch.stack([(w_v @ normed[s])[columns] for s in range(t + 1)])
            mixed.append((keys @ query / part**0.5).softmax(0) @ values)
        row = x[t] + torch.cat(mixed)
        first, _, second = block.feed_forward
        inner = F.relu(first.weight @ layer_norm(row, block.norm2) + first.bias)
        rows.append(row + second.weight @ inner + second.bias)
    return torch.stack(rows)


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 7), st.integers(0, 1000))
def test_attention_is_the_loop_of_its_formula(heads, part, length, seed):
    middle = randomise(SelfAttention(heads * part, 2, heads, max_positions=8), seed)
    x = torch.randn(2, length, heads * part, dtype=torch.float64)
    expected = x * (heads * part) ** 0.5 + middle.positions[:length]
    for block in middle.blocks:
        expected = torch.stack([attention_loop(block, sequence) for sequence in expected])
    torch.testing.assert_close(middle(x), layer_norm(expected, middle.norm))


@given(st.integers(1, 5), st.integers(1, 3), st.integers(1, 9), st.integers(0, 1000))
def test_gru_is_torchs_gru_whose_biases_are_zero(width, layers, length, seed):
    middle = randomise(GRU(width, layers), seed)
    reference = torch.nn.GRU(width, width, layers, batch_first=True).double()
    with torch.no_grad():
        for name, parameter in reference.named_parameters():
            kind, _, layer = name.rpartition("_l")
            ours = getattr(middle.layers[int(layer)], f"{kind}_l0", None)
            parameter.copy_(torch.zeros_like(parameter) if ours is None else ours)
    x = torch.randn(2, length, width, dtype=torch.float64)
    torch.testing.assert_close(middle(x), reference(x)[0])


def test_one_step_of_the_gru_by_its_formula():
    middle = randomise(GRU(3))
    weights = middle.layers[0].weight_ih_l0, middle.layers[0].weight_hh_l0
    (w_r, w_z, w_n), (u_r, u_z, u_n) = (weight.split(3) for weight in weights)
    x = torch.randn(1, 2, 3, dtype=torch.float64)
    h = torch.zeros(3, dtype=torch.float64)
    for t in range(2):
        r = torch.sigmoid(w_r @ x[0, t] + u_r @ h)
        z = torch.sigmoid(w_z @ x[0, t] + u_z @ h)
        n = torch.tanh(w_n @ x[0, t] + r * (u_n @ h))
        h = (1 - z) * n + z * h
        torch.testing.assert_close(middle(x)[0, t], h)


@pytest.mark.parametrize("name", OTHERS)
def test_no_position_of_the_others_sees_a_later_one(name):
    middle = randomise(OTHERS[name]())
    x = torch.randn(2, 15, 4, dtype=torch.float64)
    real = torch.arange(15).expand(2, -1) >= torch.tensor([[0], [4]])
    before = middle(x, real)
    assert before.shape == x.shape
    for position in range(15):
        changed = x.clone()
        changed[:, position] += torch.randn(4, dtype=torch.float64)
        after = middle(changed, real)
        assert torch.equal(after[:, :position], before[:, :position])
        same = (after[:, position] == before[:, position]).all(-1)
        assert torch.equal(same, ~real[:, position])


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("padding", [1, 3, 10])
def test_padding_before_a_sequence_changes_nothing(name, padding):
    middle = randomise(OTHERS[name]())
    x = torch.randn(2, 6 + padding, 4, dtype=torch.float64)  # what stands at padding is no matter
    real = torch.arange(6 + padding).expand(2, -1) >= padding
    hidden = middle(x, real)
    torch.testing.assert_close(hidden[:, padding:], middle(x[:, padding:]), rtol=1e-12, atol=1e-12)
    assert not hidden[:, :padding].any()


@pytest.mark.parametrize("name", OTHERS)
def test_a_history_alone_is_as_at_the_start_of_a_longer_one(name):
    middle = randomise(OTHERS[name]())
    x = torch.randn(2, 9, 4, dtype=torch.float64)
    torch.testing.assert_close(middle(x[:, :5]), middle(x)[:, :5], rtol=1e-12, atol=1e-12)


def test_attention_passes_over_padding_inside_a_sequence():
    middle = randomise(SelfAttention(4))
    real = torch.tensor([[False, True, False, True, True, False]])
    x = torch.randn(1, 6, 4, dtype=torch.float64)
    torch.testing.assert_close(middle(x, real)[real], middle(x[real][None])[0])
    assert not middle(x, real)[~real].any()


def test_attention_tells_positions_apart():
    middle = randomise(SelfAttention(4))
    same = torch.ones(1, 3, 4, dtype=torch.float64)
    first, second, third = middle(same)[0]
    assert not torch.allclose(first, second) and not torch.allclose(second, third)


def test_windows_longer_than_the_attentions_positions_are_refused():
    middle = SelfAttention(4, max_positions=6)
    assert middle(torch.ones(1, 6, 4)).shape == (1, 6, 4)
    with pytest.raises(ValueError, match="window of 7 positions, but this attention knows 6; cut"):
        middle(torch.ones(1, 7, 4))


@pytest.mark.parametrize("name", OTHERS)
def test_gradients_are_numbers_also_where_there_is_padding(name):
    middle = OTHERS[name]()
    x = torch.randn(2, 6, 4, requires_grad=True)
    real = torch.tensor([[False, False, True, True, True, True], [False] * 6])
    middle(x, real).square().sum().backward()
    assert all(p.grad.isfinite().all() for p in (x, *middle.parameters()))
    assert not x.grad[~real].any() and x.grad[real].any()


def test_dropout_falls_on_the_output_of_each_layer_of_a_gru():
    middle = randomise(GRU(8, dropout=0.25))
    x = torch.randn(4, 20, 8, dtype=torch.float64)
    whole, dropped = middle.eval()(x), middle.train()(x)
    kept = dropped != 0
    torch.testing.assert_close(dropped[kept], whole[kept] / 0.75)
    assert kept.double().mean().item() == pytest.approx(0.75, abs=0.1)


def test_dropout_falls_on_both_halves_of_a_block_of_attention():
    """Without values attention adds nothing, without W_2 and its bias the network does."""
    x = torch.randn(4, 20, 8, dtype=torch.float64)
    seen = torch.ones(20, 20, dtype=torch.bool).tril()
    for half in ("attention", "network"):
        block = randomise(AttentionBlock(8, 2, dropout=0.25))
        with torch.no_grad():
            if half == "network":
                block.projection.weight[16:] = 0
            else:
                block.feed_forward[2].weight.zero_()
                block.feed_forward[2].bias.zero_()
        added = block.eval()(x, seen) - x
        dropped = block.train()(x, seen) - x
        kept = dropped.abs() > 1e-9
        torch.testing.assert_close(dropped[kept], added[kept] / 0.75)
        assert kept.double().mean().item() == pytest.approx(0.75, abs=0.1)


def test_dropout_falls_on_the_input_of_attention():
    middle = randomise(SelfAttention(8, 1, dropout=0.25))
    middle.blocks, middle.norm = torch.nn.ModuleList(), torch.nn.Identity()
    x = torch.randn(4, 20, 8, dtype=torch.float64)
    whole, dropped = middle.eval()(x), middle.train()(x)
    kept = dropped != 0
    torch.testing.assert_close(dropped[kept], whole[kept] / 0.75)
    assert kept.double().mean().item() == pytest.approx(0.75, abs=0.1)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: GRU(0), "width 0 is below 1"),
        (lambda: GRU(4, layers=0), "layers 0 is below 1"),
        (lambda: SelfAttention(0), "width 0 is below 1"),
        (lambda: SelfAttention(4, layers=0), "layers 0 is below 1"),
        (lambda: SelfAttention(4, heads=0), "heads 0 is below 1"),
        (lambda: SelfAttention(4, heads=3), "3 heads do not divide the width 4"),
        (lambda: SelfAttention(4, max_positions=0), "max_positions 0 is below 1"),
    ],
)
def test_sizes_of_the_others_that_make_no_layer_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("middle", [GRU(1), SelfAttention(1)])
def test_the_others_at_width_1_and_one_position(middle):
    assert middle(torch.ones(1, 1, 1)).isfinite().all()
