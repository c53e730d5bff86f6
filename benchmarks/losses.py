"""Forward and backward of an output layer: blocks beside torch's own and the whole catalogue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.linear_cross_entropy_options import LinearCrossEntropyOptions

from benchmarks.child import Work, require
from benchmarks.contest import Side, case
from cprec_lib import BlockPartition, BlockSoftmax, FullSoftmax

TITLE = "Loss and gradients over a whole catalogue, width 256"
WIDTH, SHARES = 256, (0.01, 0.1)
# Items, rows of hidden vectors, and whether the rivals without blocks run beside: they would take
# minutes a call where they do not.
SIZES = (
    (50_000, 1024, True),
    (50_000, 8192, False),
    (300_000, 1024, True),
    (1_000_000, 1024, True),
    (1_000_000, 8192, False),
)
QUICK = ((50_000, 1024, True), (300_000, 1024, False))
CHUNK, SAMPLES = 512, 1024
Loss = Callable[[Tensor, Tensor], Tensor]


def row(quick: bool) -> dict[str, Any]:
    """Times and memory of each layer at each size."""
    cases = []
    for n_items, tokens, all_rivals in QUICK if quick else SIZES:
        # A call at the larger sizes takes so long that a warm-up would not show.
        calls = 3 if n_items * tokens < 1e9 else 1
        sides = _sides(n_items, tokens, calls)
        name = f"{n_items:,} items, {tokens:,} predictions"
        cases.append(case(name, sides if all_rivals else sides[:2], rounds=2, tolerance=1e-3))
    return {"title": TITLE, "width": WIDTH, "cases": cases}


def _sides(n_items: int, tokens: int, calls: int) -> list[Side]:
    def side(name: str, layer: str, group: str) -> Side:
        options = {"layer": layer, "n_items": n_items, "tokens": tokens}
        return Side(name, "benchmarks.losses:both_ways", options, group, calls)

    return [
        side("BlockSoftmax", "blocks", "blocks"),
        side("torch AdaptiveLogSoftmaxWithLoss", "adaptive", "blocks"),
        side("plain cross-entropy", "plain", "full"),
        side(f"torch linear_cross_entropy, chunks of {CHUNK}", "linear", "full"),
        side("FullSoftmax", "full", "full"),
        side(f"sampled softmax, {SAMPLES} negatives", "sampled", "an estimate"),
    ]


def both_ways(layer: str, n_items: int, tokens: int) -> Work:
    """The loss of one batch and its gradients: [loss, norm of the gradient by hidden]."""
    # Logits, their log-softmax and the gradient of one of them; only `plain` holds them whole.
    held = {"plain": 3 * tokens * n_items, "adaptive": tokens * n_items // 3}.get(layer, 0)
    require(4 * (held + 3 * WIDTH * n_items))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    draw = torch.Generator().manual_seed(0)
    hidden = torch.randn(tokens, WIDTH, generator=draw).to(device).requires_grad_()
    # The share u of a Zipf law's mass, exponent 1, lies before rank N^u.
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
    cutoffs = [round(share * n_items) for share in SHARES]
    return BlockSoftmax(BlockPartition.decaying(n_items, cutoffs, WIDTH))


def blocks(n_items: int) -> tuple[Loss, nn.Module]:
    """Ours, with blocks."""
    layer = _blocks(n_items)
    return layer.mean_nll, layer


def adaptive(n_items: int) -> tuple[Loss, nn.Module]:
    """torch's adaptive softmax with the weights of `blocks`."""
    layer = stock_twin(_blocks(n_items))
    return lambda hidden, targets: layer(hidden, targets - 1).loss, layer


def full(n_items: int) -> tuple[Loss, nn.Module]:
    """Ours, without blocks."""
    layer = FullSoftmax(WIDTH, n_items)
    return layer.mean_nll, layer


def plain(n_items: int) -> tuple[Loss, nn.Module]:
    """As most would write it."""
    layer = FullSoftmax(WIDTH, n_items).output
    return lambda hidden, targets: F.cross_entropy(layer(hidden), targets - 1), layer


def linear(n_items: int) -> tuple[Loss, nn.Module]:
    """torch's chunked loss; a chunk of 512 rows was the fastest of 64 to 1,024 at 50,000 items."""
    layer = FullSoftmax(WIDTH, n_items).output
    options = LinearCrossEntropyOptions(batch_chunk_size=CHUNK, chunking_method=None)

    def loss(hidden: Tensor, targets: Tensor) -> Tensor:
        return F.linear_cross_entropy(
            hidden, layer.weight, targets - 1, linear_bias=layer.bias, options=options
        )

    return loss, layer


def sampled(n_items: int) -> tuple[Loss, nn.Module]:
    """Sampled softmax with logQ correction: the target against negatives that all rows share.

    Negatives are drawn by popularity, and each logit is lessened by the log of how probable its
    item was to be drawn. The loss is an estimate: it is not the likelihood.
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


LAYERS = {
    "blocks": blocks,
    "adaptive": adaptive,
    "full": full,
    "plain": plain,
    "linear": linear,
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
