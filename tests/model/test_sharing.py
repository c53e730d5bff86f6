"""The five sharing schemes: what is one convolution, and what its gradient is."""

import math
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from cprec_lib import SHARING, DilatedCNN
from cprec_lib.model.sharing import distinct_convolutions, sharing_table

# Whether convolution i of block b and convolution j of block c are one, from the paper's words.
SHARED = {
    "none": lambda b, i, c, j: (b, i) == (c, j),
    "cross-layer": lambda b, i, c, j: True,
    "cross-block": lambda b, i, c, j: i == j,
    "adjacent-layer": lambda b, i, c, j: b == c,
    "adjacent-block": lambda b, i, c, j: b // 2 == c // 2 and i == j,
}
DISTINCT = {
    "none": lambda n_blocks: 2 * n_blocks,
    "cross-layer": lambda n_blocks: 1,
    "cross-block": lambda n_blocks: 2,
    "adjacent-layer": lambda n_blocks: n_blocks,
    "adjacent-block": lambda n_blocks: 2 * math.ceil(n_blocks / 2),
}
SCHEMES = pytest.mark.parametrize("scheme", SHARING)


def convolutions(middle: DilatedCNN) -> list[tuple[nn.Module, nn.Module]]:
    return [(block.conv1, block.conv2) for block in middle.blocks]


def test_the_schemes_are_those_of_the_contract():
    names = ("none", "cross-layer", "cross-block", "adjacent-layer", "adjacent-block")
    assert names == SHARING


@SCHEMES
@pytest.mark.parametrize("n_blocks", range(1, 10))
def test_number_of_distinct_convolutions(scheme, n_blocks):
    assert distinct_convolutions(scheme, n_blocks) == DISTINCT[scheme](n_blocks)
    middle = DilatedCNN(2, dilations=(1,) * n_blocks, sharing=scheme)
    modules = {id(conv) for pair in convolutions(middle) for conv in pair}
    assert len(modules) == DISTINCT[scheme](n_blocks)


@SCHEMES
@pytest.mark.parametrize("n_blocks", [1, 2, 5, 6])
def test_which_convolutions_are_one(scheme, n_blocks):
    table = sharing_table(scheme, n_blocks)
    modules = convolutions(DilatedCNN(2, dilations=(1,) * n_blocks, sharing=scheme))
    for b, i, c, j in product(range(n_blocks), range(2), range(n_blocks), range(2)):
        shared = SHARED[scheme](b, i, c, j)
        assert (table[b][i] == table[c][j]) == shared
        assert (modules[b][i] is modules[c][j]) == shared
        assert (modules[b][i].weight is modules[c][j].weight) == shared
        assert (modules[b][i].bias is modules[c][j].bias) == shared


@SCHEMES
def test_layer_norms_are_never_shared(scheme):
    blocks = DilatedCNN(2, dilations=(1,) * 5, sharing=scheme).blocks
    norms = [norm for block in blocks for norm in (block.norm1, block.norm2)]
    assert len({id(norm) for norm in norms}) == 10
    assert len({id(norm.weight) for norm in norms} | {id(norm.bias) for norm in norms}) == 20


@SCHEMES
def test_no_blocks_have_no_convolutions(scheme):
    assert sharing_table(scheme, 0) == ()
    assert distinct_convolutions(scheme, 0) == 0


@SCHEMES
@given(seed=st.integers(0, 1000))
def test_gradient_of_a_shared_convolution_is_the_sum_over_its_uses(scheme, seed):
    torch.manual_seed(seed)
    dilations = (1, 2, 1)
    shared = DilatedCNN(3, dilations, kernel_size=2, sharing=scheme).double()
    apart = DilatedCNN(3, dilations, kernel_size=2, sharing="none").double()
    apart.load_state_dict(shared.state_dict())
    hidden, weights = torch.randn(2, 2, 6, 3, dtype=torch.float64)
    for middle in (shared, apart):
        (middle(hidden) * weights).sum().backward()

    pairs = list(zip(convolutions(shared), convolutions(apart), strict=True))
    for conv in {conv for pair in convolutions(shared) for conv in pair}:
        uses = [a[i] for s, a in pairs for i in range(2) if s[i] is conv]
        torch.testing.assert_close(conv.weight.grad, sum(use.weight.grad for use in uses))
        torch.testing.assert_close(conv.bias.grad, sum(use.bias.grad for use in uses))


@pytest.mark.parametrize("scheme", ["", "adjacent", "None", None, "cross_layer"])
def test_an_unknown_scheme_is_refused_with_the_known_ones(scheme):
    with pytest.raises(ValueError, match=f"unknown sharing scheme {scheme!r}; .*adjacent-block"):
        sharing_table(scheme, 4)
    with pytest.raises(ValueError, match="unknown sharing scheme"):
        DilatedCNN(4, sharing=scheme)
