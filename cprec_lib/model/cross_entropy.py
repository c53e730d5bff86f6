"""The cross-entropy of a linear layer without its matrix of logits [T, N]."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

CPU_CELLS = 2**19
"""Logits computed at once on a CPU: few enough for its cache."""
GPU_CELLS = 2**28
"""Logits computed at once on a GPU: enough to keep it busy, 1 GiB in float32."""
FEWEST_ROWS = 16
"""Least number of rows at once on a CPU: with fewer, rereading the weights dominates."""


def chunk_rows(width: int, n_items: int, device: torch.device) -> int:
    """Number of hidden vectors to pass at once through a linear layer from `width` to `n_items`."""
    if device.type != "cpu":
        return max(1, GPU_CELLS // n_items)
    # With `width` rows the logits take as much memory as the weights.
    return max(FEWEST_ROWS, width, CPU_CELLS // n_items)


def summed_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    bias: Tensor | None = None,
    rows: int | None = None,
) -> Tensor:
    """Sum over t of -log softmax(W h_t + b)[target_t], a scalar.

    For hidden [T, d], weight [N, d], targets [T] in 0..N-1 and bias [N]. The result is that of
    `F.cross_entropy(F.linear(hidden, weight, bias), targets, reduction="sum")`, but only `rows`
    (default: `chunk_rows`) rows of the logits exist at a time, and the forward pass computes the
    gradients from them. Memory grows with T d + N d instead of T N, and on a CPU the logits stay in
    the cache. It allows one backward pass and no second derivatives. Raises ValueError for `rows`
    below 1.
    """
    if rows is None:
        rows = chunk_rows(hidden.shape[1], len(weight), hidden.device)
    if rows < 1:
        raise ValueError(f"rows {rows} is below 1; a chunk needs at least one row")
    if torch.is_autocast_enabled(hidden.device.type):
        dtype = torch.get_autocast_dtype(hidden.device.type)
        hidden, weight = hidden.to(dtype), weight.to(dtype)
    if not torch.is_grad_enabled():
        return _sum_only(hidden, weight, targets, bias, rows)
    total: Tensor = _SummedCrossEntropy.apply(hidden, weight, targets, bias, rows)  # type: ignore[no-untyped-call]
    return total


def _sum_only(
    hidden: Tensor, weight: Tensor, targets: Tensor, bias: Tensor | None, rows: int
) -> Tensor:
    chunks = zip(hidden.split(rows), targets.split(rows), strict=True)
    losses = [F.cross_entropy(F.linear(h, weight, bias), t, reduction="sum") for h, t in chunks]
    return torch.stack(losses).sum()


def _linear(hidden: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor) -> Tensor:
    """`F.linear`, written to `out`, which may have another dtype."""
    if out.dtype != weight.dtype:
        return out.copy_(F.linear(hidden, weight, bias))
    if bias is None:
        return torch.mm(hidden, weight.T, out=out)
    return torch.addmm(bias, hidden, weight.T, out=out)


class _SummedCrossEntropy(torch.autograd.Function):
    """The gradient of -log softmax(z)[t] with respect to z is softmax(z), minus 1 at t.

    The forward pass computes all gradients while it has the logits; the backward pass scales them.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, bias: Tensor | None, rows: int
    ) -> Tensor:
        precise = torch.promote_types(weight.dtype, torch.float32)
        total = hidden.new_zeros((), dtype=precise)
        grad_hidden = torch.empty_like(hidden)
        grad_weight = torch.zeros_like(weight, dtype=precise)
        grad_bias = None if bias is None else torch.zeros_like(bias, dtype=precise)
        # One matrix for all chunks: allocating each took up to a fifth of the time on a CPU.
        room = hidden.new_empty(min(rows, len(hidden)), len(weight), dtype=precise)
        for first in range(0, len(hidden), rows):
            h, t = hidden[first : first + rows], targets[first : first + rows].unsqueeze(1)
            logits = _linear(h, weight, bias, room[: len(h)])
            logits -= logits.amax(1, keepdim=True)
            wanted = logits.gather(1, t)
            sums = logits.exp_().sum(1, keepdim=True)
            total += (sums.log() - wanted).sum()
            by_logits = logits.div_(sums).scatter_add_(1, t, logits.new_full(t.shape, -1))
            if grad_bias is not None:
                grad_bias += by_logits.sum(0)
            by_logits = by_logits.to(weight.dtype)
            torch.mm(by_logits, weight, out=grad_hidden[first : first + rows])
            if precise == weight.dtype:
                grad_weight.addmm_(by_logits.T, h)
            else:
                grad_weight += by_logits.T @ h
        ctx.gradients = (grad_hidden, grad_weight, grad_bias)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError("a second backward through this loss; compute the loss again")
        # In place, because a copy of the weights' gradient would be as large as the weights.
        for gradient in filter(torch.is_tensor, ctx.gradients):
            gradient.mul_(grad)
        (hidden, weight, bias), ctx.gradients = ctx.gradients, None
        return hidden, weight, None, bias, None
