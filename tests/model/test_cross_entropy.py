"""The lean cross-entropy against torch's own, in values, gradients and memory."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from cprec_lib.model.cross_entropy import chunk_rows, summed_cross_entropy


def problem(seed: int, rows: int = 7, width: int = 3, items: int = 11) -> list[Tensor]:
    """Hidden vectors, weights, bias and targets in float64."""
    draw = torch.Generator().manual_seed(seed)
    shapes = [(rows, width), (items, width), (items,)]
    values = [torch.randn(shape, dtype=torch.float64, generator=draw) for shape in shapes]
    return [*values, torch.randint(0, items, (rows,), generator=draw)]


def plain(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    return F.cross_entropy(F.linear(hidden, weight, bias), targets, reduction="sum")


@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(1, 30),
    width=st.integers(1, 5),
    items=st.integers(1, 40),
    chunk=st.integers(1, 40),
    biased=st.booleans(),
)
def test_value_and_gradients_are_those_of_torch(seed, rows, width, items, chunk, biased):
    hidden, weight, bias, targets = problem(seed, rows, width, items)
    leaves = [t.requires_grad_() for t in (hidden, weight, bias)][: 2 + biased]
    offset = bias if biased else None
    expected = plain(hidden, weight, offset, targets)
    found = summed_cross_entropy(hidden, weight, targets, offset, chunk)
    torch.testing.assert_close(found, expected)
    of_both = [torch.autograd.grad(5 * loss, leaves) for loss in (expected, found)]
    for one, other in zip(*of_both, strict=True):
        torch.testing.assert_close(other, one)


def test_without_gradients_the_value_is_the_same():
    hidden, weight, bias, targets = problem(0)
    weight.requires_grad_()
    with torch.no_grad():
        found = summed_cross_entropy(hidden, weight, targets, bias, 2)
    assert not found.requires_grad
    torch.testing.assert_close(found, plain(hidden, weight, bias, targets).detach())


def test_only_what_asks_for_a_gradient_gets_one():
    hidden, weight, _, targets = problem(0)
    hidden.requires_grad_()
    summed_cross_entropy(hidden, weight, targets).backward()
    assert hidden.grad is not None and weight.grad is None


def test_a_second_backward_is_refused():
    hidden, weight, _, targets = problem(0)
    loss = summed_cross_entropy(hidden.requires_grad_(), weight, targets)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="second backward"):
        loss.backward()


@pytest.mark.parametrize("rows", [0, -3])
def test_a_chunk_has_a_row_at_least(rows):
    hidden, weight, _, targets = problem(0)
    with pytest.raises(ValueError, match=f"rows {rows} is below 1"):
        summed_cross_entropy(hidden, weight, targets, rows=rows)


def test_large_logits_neither_overflow_nor_vanish():
    hidden, weight, _, targets = problem(0)
    hidden = (1000 * hidden).requires_grad_()
    loss = summed_cross_entropy(hidden, weight, targets, rows=2)
    loss.backward()
    torch.testing.assert_close(loss, plain(hidden, weight, None, targets))
    assert hidden.grad.isfinite().all()


def test_bfloat16_sums_in_float32():
    hidden, weight, bias, targets = (t.float() if t.is_floating_point() else t for t in problem(0))
    leaves = [t.requires_grad_() for t in (hidden, weight, bias)]
    with torch.autocast("cpu", torch.bfloat16):
        loss = summed_cross_entropy(hidden, weight, targets, bias, 2)
    assert loss.dtype == torch.float32
    loss.backward()
    expected = torch.autograd.grad(plain(hidden, weight, bias, targets), leaves)
    for leaf, gradient in zip(leaves, expected, strict=True):
        assert leaf.grad.dtype == torch.float32
        torch.testing.assert_close(leaf.grad, gradient, rtol=0.05, atol=0.05)


def test_no_rows_have_loss_0_and_no_gradient():
    hidden, weight, _, targets = problem(0, rows=0)
    loss = summed_cross_entropy(hidden, weight.requires_grad_(), targets)
    loss.backward()
    assert loss == 0 and not weight.grad.any()


def test_never_more_logits_than_a_chunk_has(monkeypatch):
    made = []
    product = torch.mm

    def counted(left, right, **out):
        made.append(len(left) * right.shape[1])
        return product(left, right, **out)

    monkeypatch.setattr(torch, "mm", counted)
    hidden, weight, _, targets = problem(0, rows=100, items=50)
    summed_cross_entropy(hidden.requires_grad_(), weight, targets, rows=8)
    width = hidden.shape[1]
    assert sum(made) == 100 * 50 + 100 * width  # the logits and the gradients of the hidden vectors
    assert max(made) == 8 * max(50, width)


def test_wide_layers_take_more_rows_and_huge_catalogues_fewer():
    cpu = torch.device("cpu")
    assert chunk_rows(4, 100_000, cpu) == 16
    assert chunk_rows(256, 10_000, cpu) == 256
    assert chunk_rows(64, 100, cpu) == 2**19 // 100
    assert chunk_rows(256, 1_000_000, cpu) == 256
    assert chunk_rows(64, 1_000_000, torch.device("meta")) == 2**28 // 1_000_000
