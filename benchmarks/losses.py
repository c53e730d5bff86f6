"""Forward and backward pass of an output layer: blocks, torch's layers and the whole catalogue.

`python -m benchmarks.losses` measures the chunk sizes behind the choice of CHUNKS.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from math import inf
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.child import Skipped, Work, chosen_device, require
from benchmarks.contest import Side, case, contest
from cprec_lib import BlockPartition, BlockSoftmax, FullSoftmax
from cprec_lib.model.partition import cutoffs_from_shares

TITLE = "Loss and gradients over a whole catalogue, width 256"
WIDTH, SHARES = 256, (0.01, 0.1)
# Items, rows of hidden vectors, and whether rivals without blocks run: False where one call takes
# minutes.
SIZES = (
    (50_000, 1024, True),
    (50_000, 8192, False),
    (300_000, 1024, True),
    (300_000, 8192, False),
    (1_000_000, 1024, True),
    (1_000_000, 8192, False),
)
QUICK = ((50_000, 1024, True), (300_000, 1024, False))
# Rows in a chunk of torch's chunked loss, by items: the fastest of TRIED on a CPU core. 512 took up
# to a tenth longer, 1024 up to 1.8 times as long.
CHUNKS = {50_000: 128, 300_000: 256, 1_000_000: 256}
TRIED = (64, 128, 256, 512, 1024)
SAMPLES = 1024
Loss = Callable[[Tensor, Tensor], Tensor]


def row(quick: bool) -> dict[str, Any]:
    """Times and memory of each layer at each size."""
    cases = []
    for n_items, tokens, all_rivals in QUICK if quick else SIZES:
        sides = _sides(n_items, tokens)
        name = f"{n_items:,} items, {tokens:,} predictions"
        cases.append(case(name, sides if all_rivals else sides[:2], rounds=2, tolerance=1e-3))
    return {"title": TITLE, "width": WIDTH, "cases": cases}


def _sides(n_items: int, tokens: int) -> list[Side]:
    def side(name: str, layer: str, group: str) -> Side:
        return _side(name, layer, group, n_items, tokens)

    chunk = CHUNKS[n_items]
    return [
        side("BlockSoftmax", "blocks", "blocks"),
        side("torch AdaptiveLogSoftmaxWithLoss", "adaptive", "blocks"),
        side("plain cross-entropy", "plain", "full"),
        side(f"torch linear_cross_entropy, chunks of {chunk}", f"linear {chunk}", "full"),
        side("FullSoftmax", "full", "full"),
        side(f"sampled softmax, {SAMPLES} negatives", "sampled", "an estimate"),
    ]


def _side(name: str, layer: str, group: str, n_items: int, tokens: int) -> Side:
    options = {"layer": layer, "n_items": n_items, "tokens": tokens}
    # One call if a call takes seconds; scoring the whole catalogue takes ten times as long.
    few = n_items * tokens > (1e8 if group == "full" else 1e9)
    return Side(name, "benchmarks.losses:both_ways", options, group, calls=1 if few else 3)


def both_ways(layer: str, n_items: int, tokens: int) -> Work:
    """The loss of one batch and its gradients: [loss, norm of the gradient with respect to hidden].

    It runs once with few items first, because a side may time a single call and the first use of
    torch's chunked loss spends a second on imports.
    """
    require(needed(layer, n_items, tokens))
    _both_ways(layer, 1000, 64)()
    return _both_ways(layer, n_items, tokens)


def needed(layer: str, n_items: int, tokens: int) -> int:
    """Bytes of a layer's weights, gradients and logits."""
    kind, _, chunk = layer.partition(" ")
    # Blocks of widths 256, 64 and 16 hold 23 numbers per item. In addition to weights and their
    # gradient there are as many logits (`full`) or scattered gradients (`sampled`).
    weights = 3 * (23 if kind in ("blocks", "adaptive") else WIDTH)
    # Logits, their log-softmax and one gradient; only `plain` holds all of them at once. A sixth of
    # the targets lies in the tail block with nearly all items, the largest block of `adaptive`.
    logits = {"plain": 3 * tokens, "adaptive": tokens // 2, "linear": int(chunk or 0)}
    return 4 * n_items * (weights + logits.get(kind, 0))


def _both_ways(layer: str, n_items: int, tokens: int) -> Work:
    device = chosen_device()
    draw = torch.Generator().manual_seed(0)
    hidden = torch.randn(tokens, WIDTH, generator=draw).to(device).requires_grad_()
    # In a Zipf law with exponent 1, a share u of the mass lies before rank N^u.
    targets = (n_items ** torch.rand(tokens, generator=draw)).long().clamp(1, n_items).to(device)
    torch.manual_seed(0)
    loss, weights = LAYERS[layer](n_items)
    for weight in weights.parameters():
        weight.data = weight.data.to(device)

    def work() -> list[float]:
        hidden.grad = None
        weights.zero_grad(set_to_none=True)
        mean = loss(hidden, targets)
        mean.backward()
        assert hidden.grad is not None
        return [float(mean.detach()), float(hidden.grad.norm())]

    return work


def _blocks(n_items: int) -> BlockSoftmax:
    cutoffs = cutoffs_from_shares(n_items, SHARES)
    return BlockSoftmax(BlockPartition.decaying(n_items, cutoffs, WIDTH))


def blocks(n_items: int) -> tuple[Loss, nn.Module]:
    """Our softmax with blocks."""
    layer = _blocks(n_items)
    return layer.mean_nll, layer


def adaptive(n_items: int) -> tuple[Loss, nn.Module]:
    """torch's adaptive softmax with the weights of `blocks`."""
    layer = stock_twin(_blocks(n_items))
    return lambda hidden, targets: layer(hidden, targets - 1).loss, layer


def full(n_items: int) -> tuple[Loss, nn.Module]:
    """Our softmax without blocks."""
    layer = FullSoftmax(WIDTH, n_items)
    return layer.mean_nll, layer


def plain(n_items: int) -> tuple[Loss, nn.Module]:
    """Cross-entropy over all logits, as most people would write it."""
    layer = FullSoftmax(WIDTH, n_items).output
    return lambda hidden, targets: F.cross_entropy(layer(hidden), targets - 1), layer


def linear(n_items: int, chunk: int) -> tuple[Loss, nn.Module]:
    """torch's chunked loss, `chunk` rows at once. Raises Skipped if this torch lacks it."""
    try:
        from torch.nn.modules.linear_cross_entropy_options import LinearCrossEntropyOptions
    except ImportError as error:
        install = f"{sys.executable} -m pip install -r requirements.lock"
        raise Skipped(f"torch {torch.__version__} lacks it; to install it: {install}") from error
    layer = FullSoftmax(WIDTH, n_items).output
    options = LinearCrossEntropyOptions(batch_chunk_size=chunk, chunking_method=None)

    def loss(hidden: Tensor, targets: Tensor) -> Tensor:
        return F.linear_cross_entropy(
            hidden, layer.weight, targets - 1, linear_bias=layer.bias, options=options
        )

    return loss, layer


def sampled(n_items: int) -> tuple[Loss, nn.Module]:
    """Sampled softmax with logQ correction: the target against negatives that all rows share.

    Negatives are drawn by popularity, and the log of each item's probability of being drawn is
    subtracted from its logit. The loss is an estimate and not the likelihood.
    """
    layer = FullSoftmax(WIDTH, n_items).output
    log_popularity = -torch.arange(1, n_items + 1).log() - torch.tensor(n_items).log().log()

    def loss(hidden: Tensor, targets: Tensor) -> Tensor:
        popular = log_popularity.to(hidden.device)
        drawn = (n_items ** torch.rand(SAMPLES, device=hidden.device)).long().clamp(1, n_items) - 1
        some = F.linear(hidden, layer.weight[drawn], layer.bias[drawn]) - popular[drawn]
        some = some.masked_fill(drawn == targets.unsqueeze(1) - 1, -torch.inf)
        own = (hidden * layer.weight[targets - 1]).sum(1) + layer.bias[targets - 1]
        scores = torch.cat([(own - popular[targets - 1]).unsqueeze(1), some], 1)
        return F.cross_entropy(scores, torch.zeros_like(targets))

    return loss, layer


LAYERS: dict[str, Callable[[int], tuple[Loss, nn.Module]]] = {
    "blocks": blocks,
    "adaptive": adaptive,
    "full": full,
    "plain": plain,
    **{f"linear {chunk}": partial(linear, chunk=chunk) for chunk in TRIED},
    "sampled": sampled,
}


def stock_twin(block: BlockSoftmax) -> nn.AdaptiveLogSoftmaxWithLoss:
    """torch's adaptive softmax with the same weights; widths must fall by 4 from block to block."""
    partition = block.partition
    twin = nn.AdaptiveLogSoftmaxWithLoss(
        partition.width, partition.n_items, list(partition.cutoffs), 4.0, head_bias=False
    )
    tails = zip(block.tail_projections, block.tail_tables, strict=True)
    pairs = [part.get_parameter("weight") for pair in tails for part in pair]
    with torch.no_grad():
        for theirs, own in zip(twin.parameters(), [block.root.weight, *pairs], strict=True):
            theirs.copy_(own)
    return twin


def chunk_seconds(n_items: int, tokens: int = 1024, rounds: int = 2) -> dict[str, float]:
    """Seconds of torch's chunked loss by layer, one for each of TRIED."""
    names = [f"linear {chunk}" for chunk in TRIED]
    found = contest([_side(name, name, "full", n_items, tokens) for name in names], rounds, 1e-3)
    return {name: median(found[name].get("seconds", [inf])) for name in names}


if __name__ == "__main__":
    for n_items in CHUNKS:
        print(f"{n_items:,} items: {chunk_seconds(n_items)}", flush=True)
