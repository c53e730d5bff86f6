"""Output layers over a whole catalogue: loss, log-probabilities, exact top-k.

Every softmax takes hidden vectors [T, d] and numbers items 1..N; column i - 1 of a matrix [T, N]
belongs to item i. Padding (id 0) has no column, so it is never predicted.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cprec_lib.checks import outside
from cprec_lib.model.cross_entropy import chunk_rows, summed_cross_entropy
from cprec_lib.model.partition import BlockPartition
from cprec_lib.model.search import Bound, Found, Ids, check_search, search

Sizes = Sequence[int] | None
"""Number of targets in each block (see `count_targets`); with it, no step waits for a GPU."""


class Softmax(nn.Module, ABC):
    """A softmax over items 1..N: a root, and tail blocks if there are any.

    `ends` are the last items of the blocks. The root has the items of the head, the first block,
    and a token for each tail block; without tail blocks it is a flat softmax over all items.
    """

    def __init__(self, ends: Sequence[int]) -> None:
        super().__init__()
        self.ends = tuple(ends)
        self.n_items = self.ends[-1]

    @abstractmethod
    def root_logits(self, hidden: Tensor) -> Tensor:
        """Unnormalised scores [T, k_1 + n - 1] of the head's items, then of the n - 1 tokens."""

    def tail_logits(self, tail: int, hidden: Tensor) -> Tensor:
        """Scores [T, k_j] inside tail block number `tail` (0 is the first block after the head)."""
        raise IndexError(f"no tail block {tail}: this softmax is flat")

    def check_tail(self, tail: int) -> None:
        """Raise ValueError if the tail block has weights that are not finite."""

    def nll(self, hidden: Tensor, targets: Tensor, sizes: Sizes = None) -> Tensor:
        """Negative log-likelihoods [T] of target items [T].

        Raises ValueError if, on a CPU, a target is outside 1..N, or if `sizes` do not fit.
        """
        self._check_targets(targets, sizes)
        return F.cross_entropy(self.root_logits(hidden), targets - 1, reduction="none")

    def mean_nll(self, hidden: Tensor, targets: Tensor, sizes: Sizes = None) -> Tensor:
        """The mean of `nll`, a scalar, computed from a few rows of logits at a time."""
        self._check_targets(targets, sizes)
        rows = chunk_rows(hidden.shape[1], self.n_items, hidden.device)
        chunks = zip(hidden.split(rows), targets.split(rows), strict=True)
        return torch.cat([self.nll(h, t) for h, t in chunks]).mean()

    def log_prob(self, hidden: Tensor) -> Tensor:
        """Log-probabilities [T, N] of every item."""
        root = self.root_logits(hidden).log_softmax(-1)
        parts = [root[:, : self.ends[0]]]
        for tail, token in enumerate(root[:, self.ends[0] :].T):
            parts.append(token.unsqueeze(1) + self.tail_logits(tail, hidden).log_softmax(-1))
        return torch.cat(parts, -1) if len(parts) > 1 else root

    def top_k(
        self, hidden: Tensor, k: int, exclude: Ids = None, bound: Bound | None = None
    ) -> tuple[Tensor, Tensor]:
        """The k most probable items of each row: (log-probabilities [T, k], items [T, k]).

        Exact, though it does not compute every tail block: see `search.search`. Of equal values the
        lower item comes first. `bound`, the `TailBounds` of this softmax, saves time on a large
        catalogue. Raises ValueError if fewer than k items remain, if `exclude` does not fit, for
        bounds of other weights, and for hidden vectors or weights that are not finite.
        """
        return self.search(hidden, k, exclude, bound)[:2]

    @torch.no_grad()
    def search(
        self, hidden: Tensor, k: int, exclude: Ids = None, bound: Bound | None = None
    ) -> Found:
        """The result of `top_k`, and how often it opened each tail block."""
        check_search(k, self.n_items, len(hidden), exclude)
        if bound is not None:
            bound.check(self)
        return search(self, hidden, self.root_logits(hidden), bound, k, exclude)

    def count_targets(self, windows: Tensor) -> Tensor:
        """Number of targets of each window [W, L + 1] in each block: [W, n].

        A target is an item that follows another; padding (0) is neither.
        """
        counts = []
        for some in windows.split(2**14):  # masks of all at once could fill the memory
            targets = some[:, 1:].masked_fill(some[:, :-1] == 0, 0)
            up_to = [(targets <= end).sum(1) for end in (0, *self.ends)]
            counts.append(torch.stack(up_to, 1).diff(dim=1))
        return torch.cat(counts)

    def _check_targets(self, targets: Tensor, sizes: Sizes) -> None:
        if (wrong := outside(targets, 1, self.n_items)) is not None:
            raise ValueError(
                f"target {wrong} is outside 1..{self.n_items}; padding (0) is never a target, mask "
                "it out"
            )
        if sizes is not None and (len(sizes), sum(sizes)) != (len(self.ends), len(targets)):
            raise ValueError(
                f"sizes {list(sizes)} do not count {len(targets)} targets in {len(self.ends)} "
                "blocks; take those of count_targets"
            )


class FullSoftmax(Softmax):
    """The uncompressed softmax: logits = W h + b with W [N, d] and b [N]."""

    def __init__(self, width: int, n_items: int) -> None:
        super().__init__([n_items])
        self.output = nn.Linear(width, n_items)

    def root_logits(self, hidden: Tensor) -> Tensor:
        scores: Tensor = self.output(hidden)
        return scores

    def mean_nll(self, hidden: Tensor, targets: Tensor, sizes: Sizes = None) -> Tensor:
        self._check_targets(targets, sizes)
        weight, bias = self.output.weight, self.output.bias
        return summed_cross_entropy(hidden, weight, targets - 1, bias) / len(targets)


class LowRankSoftmax(Softmax):
    """Block-wise low-rank logits under one flat softmax: `BlockSoftmax` without a tree (claim C7).

    logits = [W_1 h; E_2 P_2 h; ...; E_n P_n h]  with W_1 [k_1, d], P_j [d_j, d] and E_j [k_j, d_j].
    Reconstructed from the paper's text, because the authors' code lacks it.
    """

    def __init__(self, partition: BlockPartition) -> None:
        super().__init__([partition.n_items])
        self.tail_projections, self.tail_tables = _tail_layers(partition)
        self.head = nn.Linear(partition.width, partition.sizes[0], bias=False)

    def root_logits(self, hidden: Tensor) -> Tensor:
        pairs = zip(self.tail_projections, self.tail_tables, strict=True)
        tails = [table(project(hidden)) for project, table in pairs]
        return torch.cat([self.head(hidden), *tails], -1)


class BlockSoftmax(Softmax):
    """CpRec's block-wise decomposed softmax, a tree of two levels (section 3.2).

    p(x|h) = softmax_root(x) in the head, softmax_root(token_j) softmax_j(x) in tail block j, which
    maps d -> d_j -> k_j. `torch.nn.AdaptiveLogSoftmaxWithLoss(..., head_bias=False)` is the same
    function (Grave et al., 2017).
    """

    def __init__(self, partition: BlockPartition) -> None:
        super().__init__([*partition.cutoffs, partition.n_items])
        self.partition = partition
        self.tail_projections, self.tail_tables = _tail_layers(partition)
        tokens = len(partition.cutoffs)
        self.root = nn.Linear(partition.width, partition.sizes[0] + tokens, bias=False)

    def root_logits(self, hidden: Tensor) -> Tensor:
        scores: Tensor = self.root(hidden)
        return scores

    def tail_logits(self, tail: int, hidden: Tensor) -> Tensor:
        scores: Tensor = self.tail_tables[tail](self.tail_projections[tail](hidden))
        return scores

    def nll(self, hidden: Tensor, targets: Tensor, sizes: Sizes = None) -> Tensor:
        nll = hidden.new_zeros(len(targets), dtype=torch.promote_types(hidden.dtype, torch.float32))
        for rows, some, table, wanted in self._levels(hidden, targets, sizes):
            inside = F.cross_entropy(F.linear(some, table), wanted, reduction="none")
            nll = nll.index_add(0, rows, inside)
        return nll

    def mean_nll(self, hidden: Tensor, targets: Tensor, sizes: Sizes = None) -> Tensor:
        levels = self._levels(hidden, targets, sizes)
        sums = [summed_cross_entropy(some, table, wanted) for _, some, table, wanted in levels]
        return torch.stack(sums).sum() / len(targets)

    def _levels(
        self, hidden: Tensor, targets: Tensor, sizes: Sizes
    ) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """The classifications of the targets: all in the root, then those of each tail block.

        Each is (rows, their vectors, the table of classes, the class of each row from 0).
        """
        self._check_targets(targets, sizes)
        # torch.bucketize would need a tensor of cutoffs, sent to the GPU in each step.
        block = torch.stack([targets > end for end in self.ends[:-1]]).sum(0)
        classes = torch.where(block == 0, targets, self.ends[0] + block) - 1
        yield torch.arange(len(targets), device=targets.device), hidden, self.root.weight, classes
        for tail, start in enumerate(self.ends[:-1]):
            rows = rows_where(block == tail + 1, sizes[tail + 1] if sizes else None)
            narrow = self.tail_projections[tail](hidden[rows])
            table = cast(Tensor, self.tail_tables[tail].weight)
            yield rows, narrow, table, targets[rows] - start - 1

    def check_tail(self, tail: int) -> None:
        layers = nn.ModuleList([self.tail_projections[tail], self.tail_tables[tail]])
        for weight in layers.parameters():
            # A sum is finite only if all weights are, and takes a tenth of the time.
            if not weight.sum().isfinite() and not weight.isfinite().all():
                raise ValueError(f"the weights of tail block {tail + 1} hold NaN or infinity")

    @torch.no_grad()
    def early_stopping_search(self, hidden: Tensor, k: int, exclude: Ids = None) -> Found:
        """The result of `early_stopping_top_k`, and how often it opened each tail block."""
        check_search(k, self.n_items, len(hidden), exclude)
        root = self.root_logits(hidden)
        best = root.topk(min(k, root.shape[1])).indices
        tokens = torch.arange(self.ends[0], root.shape[1], device=root.device)
        opened = (best.unsqueeze(2) == tokens).any(1)
        bounds = torch.where(opened, torch.inf, -torch.inf)  # opened always, or never
        return search(self, hidden, root, lambda tail, _: bounds[:, tail], k, exclude)

    def early_stopping_top_k(
        self, hidden: Tensor, k: int, exclude: Ids = None
    ) -> tuple[Tensor, Tensor]:
        """The rule of CpRec's authors, which is not exact. Arguments and result as for `top_k`.

        It opens a tail block only if the block's token is among the k most probable entries of the
        root. It can therefore open too few blocks and miss an item, and open blocks that cannot
        matter. Places left over hold item 0 at -inf.
        """
        return self.early_stopping_search(hidden, k, exclude)[:2]


def _tail_layers(partition: BlockPartition) -> tuple[nn.ModuleList, nn.ModuleList]:
    """Projections and tables of the tail blocks: block j maps d -> d_j -> k_j without biases."""
    shapes = [*zip(partition.widths[1:], partition.sizes[1:], strict=True)]
    projections = [nn.Linear(partition.width, width, bias=False) for width, _ in shapes]
    return nn.ModuleList(projections), nn.ModuleList(nn.Linear(*s, bias=False) for s in shapes)


def rows_where(mask: Tensor, count: int | None = None) -> Tensor:
    """Rows at which mask [T] is True; given their `count`, nothing waits for a GPU."""
    found = mask.nonzero() if count is None else torch.nonzero_static(mask, size=count)
    return found.squeeze(1)
