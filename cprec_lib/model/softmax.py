"""Output layers over a whole catalogue: loss, log-probabilities, exact top-k.

Every softmax takes hidden vectors [T, d] and numbers items 1..N; column i - 1 of a matrix [T, N]
belongs to item i. Padding (id 0) has no column, so it is never predicted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cprec_lib.model.cross_entropy import chunk_rows, summed_cross_entropy
from cprec_lib.model.partition import BlockPartition
from cprec_lib.model.search import Found, check_search, search

Bound = Callable[[int, Tensor], Tensor]
"""Number of a tail block, hidden [T, d] -> upper bounds [T] of an item's log-probability inside."""


class _FlatSoftmax(nn.Module):
    """One softmax over the logits of all items; subclasses say how the logits are computed."""

    def __init__(self, n_items: int) -> None:
        super().__init__()
        self.n_items = n_items

    def logits(self, hidden: Tensor) -> Tensor:
        """Unnormalised scores [T, N] of hidden [T, d]."""
        raise NotImplementedError

    def nll(self, hidden: Tensor, targets: Tensor, sizes: Sequence[int] | None = None) -> Tensor:
        """Negative log-likelihoods [T] of target items [T], each in 1..N (else ValueError).

        `sizes` are not needed: there are no blocks.
        """
        _check_targets(targets, self.n_items)
        return F.cross_entropy(self.logits(hidden), targets - 1, reduction="none")

    def mean_nll(
        self, hidden: Tensor, targets: Tensor, sizes: Sequence[int] | None = None
    ) -> Tensor:
        """The mean of `nll`, a scalar to train on, from a few rows of logits at a time."""
        rows = chunk_rows(hidden.shape[1], self.n_items, hidden.device)
        chunks = zip(hidden.split(rows), targets.split(rows), strict=True)
        return torch.cat([self.nll(h, t) for h, t in chunks]).mean()

    def log_prob(self, hidden: Tensor) -> Tensor:
        """Log-probabilities [T, N] of every item."""
        return self.logits(hidden).log_softmax(-1)

    @torch.no_grad()
    def top_k(
        self, hidden: Tensor, k: int, exclude: Tensor | None = None, bound: Bound | None = None
    ) -> tuple[Tensor, Tensor]:
        """The k most probable items of each row: (log-probabilities [T, k], items [T, k]).

        Equal values go to the lower item id. `exclude` [T, E] holds ids to leave out, 0 for none.
        A `bound` is not needed: there are no blocks. Raises ValueError if fewer than k items remain
        or `exclude` does not fit.
        """
        check_search(k, self.n_items, len(hidden), exclude)
        root, ends = self.log_prob(hidden), (self.n_items,)
        found = search(root, ends, _no_block, _no_block, k, exclude)
        return found.values, found.items


class FullSoftmax(_FlatSoftmax):
    """The uncompressed softmax: logits = W h + b with W [N, d] and b [N]."""

    def __init__(self, width: int, n_items: int) -> None:
        super().__init__(n_items)
        self.output = nn.Linear(width, n_items)

    def logits(self, hidden: Tensor) -> Tensor:
        """Unnormalised scores [T, N] of hidden [T, d]."""
        scores: Tensor = self.output(hidden)
        return scores

    def mean_nll(
        self, hidden: Tensor, targets: Tensor, sizes: Sequence[int] | None = None
    ) -> Tensor:
        """The mean of `nll`, a scalar to train on, without its matrix: see `cross_entropy`."""
        _check_targets(targets, self.n_items)
        weight, bias = self.output.weight, self.output.bias
        return summed_cross_entropy(hidden, weight, targets - 1, bias) / len(targets)


class _Tails(nn.Module):
    """Low-rank logits of the tail blocks: block j maps d -> d_j -> k_j without biases."""

    def __init__(self, partition: BlockPartition) -> None:
        super().__init__()
        sizes, widths = partition.sizes[1:], partition.widths[1:]
        self.tail_projections = nn.ModuleList(
            nn.Linear(partition.width, width, bias=False) for width in widths
        )
        self.tail_tables = nn.ModuleList(
            nn.Linear(width, size, bias=False) for width, size in zip(widths, sizes, strict=True)
        )

    def tail_logits(self, tail: int, hidden: Tensor) -> Tensor:
        """Scores [T, k_j] inside tail block number `tail` (0 is the first block after the head)."""
        scores: Tensor = self.tail_tables[tail](self.tail_projections[tail](hidden))
        return scores


class LowRankSoftmax(_FlatSoftmax, _Tails):
    """Block-wise low-rank logits under one flat softmax: the comparator without a tree (claim C7).

    logits = [W_1 h; E_2 P_2 h; ...; E_n P_n h]  with W_1 [k_1, d], P_j [d_j, d] and E_j [k_j, d_j]:
    the parameters of `BlockSoftmax` without its block tokens. It is our reconstruction from the
    paper's text, because the authors' code lacks the module.
    """

    def __init__(self, partition: BlockPartition) -> None:
        _Tails.__init__(self, partition)
        self.n_items = partition.n_items
        self.head = nn.Linear(partition.width, partition.sizes[0], bias=False)

    def logits(self, hidden: Tensor) -> Tensor:
        """Unnormalised scores [T, N] of hidden [T, d]."""
        tails = [self.tail_logits(tail, hidden) for tail in range(len(self.tail_tables))]
        return torch.cat([self.head(hidden), *tails], -1)


class BlockSoftmax(_Tails):
    """CpRec's block-wise decomposed softmax, a tree of two levels (section 3.2).

    The root is a softmax over the k_1 head items and one token for each tail block. A tail item's
    probability is that of its block's token times its probability inside the block:
    p(x|h) = softmax_root(x) in the head, softmax_root(token_j) softmax_j(x) in tail block j.
    Without biases: `torch.nn.AdaptiveLogSoftmaxWithLoss(..., head_bias=False)` is the same function
    (Grave et al., 2017).
    """

    def __init__(self, partition: BlockPartition) -> None:
        super().__init__(partition)
        self.partition = partition
        self.n_items = partition.n_items
        self.head_size = partition.sizes[0]
        self.root = nn.Linear(partition.width, self.head_size + len(partition.cutoffs), bias=False)

    def nll(self, hidden: Tensor, targets: Tensor, sizes: Sequence[int] | None = None) -> Tensor:
        """Negative log-likelihoods [T] of target items [T], each in 1..N (else ValueError).

        A tail target costs the root's cross-entropy at its block's token plus the cross-entropy
        inside its block; only the rows that need a block pass through it. `sizes`, if the caller
        knows them, are the numbers of targets in each block; else a GPU is asked and waited for.
        """
        precise = torch.promote_types(hidden.dtype, torch.float32)
        nll = hidden.new_zeros(len(targets), dtype=precise)
        for rows, some, table, wanted in self._levels(hidden, targets, sizes):
            inside = F.cross_entropy(F.linear(some, table), wanted, reduction="none")
            nll = nll.index_add(0, rows, inside)
        return nll

    def mean_nll(
        self, hidden: Tensor, targets: Tensor, sizes: Sequence[int] | None = None
    ) -> Tensor:
        """The mean of `nll`, a scalar to train on, without its logits: see `cross_entropy`.

        Arguments and errors as for `nll`.
        """
        levels = self._levels(hidden, targets, sizes)
        sums = [summed_cross_entropy(some, table, wanted) for _, some, table, wanted in levels]
        return torch.stack(sums).sum() / len(targets)

    def _levels(
        self, hidden: Tensor, targets: Tensor, sizes: Sequence[int] | None
    ) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """The classifications that targets pass through: all the root's, some a tail block's.

        Each as (rows, their vectors, the table of classes, the class of each row from 0).
        """
        _check_targets(targets, self.n_items)
        # Not torch.bucketize: its tensor of cutoffs would have to be sent to a GPU in each step.
        block = torch.stack([targets > cutoff for cutoff in self.partition.cutoffs]).sum(0)
        classes = torch.where(block == 0, targets, self.head_size + block) - 1
        yield torch.arange(len(targets), device=targets.device), hidden, self.root.weight, classes
        for tail, (start, _) in enumerate(self.partition.bounds[1:]):
            rows = rows_where(block == tail + 1, sizes[tail + 1] if sizes else None)
            narrow = self.tail_projections[tail](hidden[rows])
            table = self.tail_tables[tail].get_parameter("weight")
            yield rows, narrow, table, targets[rows] - start - 1

    def log_prob(self, hidden: Tensor) -> Tensor:
        """Log-probabilities [T, N] of every item."""
        root = self.root(hidden).log_softmax(-1)
        parts = [root[:, : self.head_size]]
        for tail in range(len(self.tail_tables)):
            token = root[:, self.head_size + tail].unsqueeze(1)
            parts.append(token + self.tail_logits(tail, hidden).log_softmax(-1))
        return torch.cat(parts, -1)

    @torch.no_grad()
    def top_k(
        self, hidden: Tensor, k: int, exclude: Tensor | None = None, bound: Bound | None = None
    ) -> tuple[Tensor, Tensor]:
        """The k most probable items of each row: (log-probabilities [T, k], items [T, k]).

        Exact, yet a tail block is computed only for the rows where it can matter: no item of a
        block is more probable than the block's token, so a token at or below the k-th best value
        so far rules its block out. `bound`, a `bounds.TailBounds`, rules out more. Equal values go
        to the lower item id. `exclude` [T, E] holds ids to leave out, 0 for none. Raises ValueError
        if fewer than k items remain, `exclude` does not fit, or the bounds are of other weights.
        """
        values, items, _ = self.search(hidden, k, exclude, bound)
        return values, items

    def early_stopping_top_k(
        self, hidden: Tensor, k: int, exclude: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The rule of CpRec's authors: not exact. Arguments and result as for `top_k`.

        A tail block is computed only if its token is among the root's k most probable entries.
        Tokens take up places there, so the rule can open too few blocks and miss an item, and it
        opens blocks that cannot matter. Places that it cannot fill hold item 0 at -inf.
        """
        values, items, _ = self.early_stopping_search(hidden, k, exclude)
        return values, items

    @torch.no_grad()
    def search(
        self, hidden: Tensor, k: int, exclude: Tensor | None = None, bound: Bound | None = None
    ) -> Found:
        """What `top_k` finds, and how many tail blocks it opened."""
        check_search(k, self.n_items, len(hidden), exclude)
        at_most = bound or _at_most_one
        root = self.root(hidden)
        return self._search(hidden, root, k, exclude, lambda tail: at_most(tail, hidden))

    @torch.no_grad()
    def early_stopping_search(self, hidden: Tensor, k: int, exclude: Tensor | None = None) -> Found:
        """What `early_stopping_top_k` finds, and how many tail blocks it opened."""
        check_search(k, self.n_items, len(hidden), exclude)
        root = self.root(hidden)
        best = root.topk(min(k, root.shape[1])).indices
        tokens = torch.arange(self.head_size, root.shape[1], device=root.device)
        opened = (best.unsqueeze(2) == tokens).any(1)
        bounds = torch.where(opened, torch.inf, -torch.inf)  # opened in any case, or in none
        return self._search(hidden, root, k, exclude, lambda tail: bounds[:, tail])

    def _search(
        self,
        hidden: Tensor,
        root: Tensor,
        k: int,
        exclude: Tensor | None,
        bound: Callable[[int], Tensor],
    ) -> Found:
        def inside(tail: int, rows: Tensor) -> Tensor:
            return self.tail_logits(tail, hidden[rows]).log_softmax(-1)

        ends = (*self.partition.cutoffs, self.n_items)
        return search(root.log_softmax(-1), ends, inside, bound, k, exclude)


def _no_block(*_: object) -> Tensor:
    raise AssertionError("a flat softmax has no tail blocks")


def _at_most_one(tail: int, hidden: Tensor) -> Tensor:
    """The bound that always holds: no probability is above 1."""
    return hidden.new_zeros(())


def rows_where(mask: Tensor, count: int | None = None) -> Tensor:
    """Rows at which mask [T] is True: `count` of them, or, if that is not known, as many as a GPU
    says when it has come so far."""
    found = mask.nonzero() if count is None else torch.nonzero_static(mask, size=count)
    return found.squeeze(1)


def _check_targets(targets: Tensor, n_items: int) -> None:
    """Raise ValueError for a target outside 1..N; CPU only, as a GPU would have to wait for it."""
    if targets.device.type != "cpu" or targets.numel() == 0:
        return
    low, high = targets.aminmax()
    if low < 1 or high > n_items:
        wrong = int(low) if low < 1 else int(high)
        raise ValueError(
            f"target {wrong} is outside 1..{n_items}; padding (0) is never a target, mask it out"
        )
