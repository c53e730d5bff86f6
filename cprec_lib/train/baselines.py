"""Two baselines that only count: popularity and bigram."""

from __future__ import annotations

import torch
from torch import Tensor

from cprec_lib.data.sequences import SequenceData


class Popularity:
    """Scores every item by its count in the training part, whatever the context."""

    def __init__(self, data: SequenceData) -> None:
        self._scores = torch.from_numpy(data.catalogue.counts).float()

    def scores(self, contexts: Tensor) -> Tensor:
        """Training counts, the same for each of the contexts [U, L]: [U, N]."""
        return self._scores.expand(len(contexts), -1)


class Bigram:
    """Scores an item by how often it followed the context's last item in the training part.

    p(x | y) = (count(y, x) + strength p(x)) / (count(y) + strength), with p(x) the item's share of
    the training interactions, so that unseen pairs fall back on popularity (Dirichlet smoothing).
    """

    def __init__(self, data: SequenceData, strength: float = 10.0) -> None:
        if not strength > 0:
            raise ValueError(f"strength {strength} must be above 0, or unseen pairs score nothing")
        first, second = data.train[:, :-1], data.train[:, 1:]
        real = (first > 0) & (second > 0)
        pairs = torch.stack([first[real] - 1, second[real] - 1])
        size = (data.n_items, data.n_items)
        self._pairs = torch.sparse_coo_tensor(
            pairs, torch.ones(pairs.shape[1]), size, check_invariants=False
        ).coalesce()
        counts = torch.from_numpy(data.catalogue.counts).float()
        self._prior = strength * counts / counts.sum()
        self._strength = strength

    def scores(self, contexts: Tensor) -> Tensor:
        """Smoothed transition probabilities [U, N] from the last items of contexts [U, L]."""
        followed = self._pairs.index_select(0, contexts[:, -1] - 1).to_dense()
        return (followed + self._prior) / (followed.sum(1, keepdim=True) + self._strength)
