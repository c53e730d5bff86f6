"""Hashing: two small tables for many items, whose rows an item multiplies.

    e(x) = Q[s(x) // R] * R_[s(x) mod R]   component by component

with the quotient table Q [n, d] and the remainder table R_ [R, d], R = ceil(N / n). Every pair of
rows belongs to one item, so no two items have the same vector. s is a permutation of the items, so
that those who share a row differ in popularity. Shi et al., "Compositional Embeddings Using
Complementary Partitions for Memory-Efficient Recommendation Systems", KDD 2020.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import gcd

import torch
from torch import Tensor, nn

from cprec_lib.checks import whole_number
from cprec_lib.compress.compressor import (
    Compressor,
    ItemTable,
    item_table,
    linear,
    replace_modules,
    with_item_table,
)
from cprec_lib.model.cost import Component
from cprec_lib.model.embedding import FullEmbedding
from cprec_lib.model.recommender import SequentialRecommender


@dataclass(frozen=True)
class Hashing(Compressor):
    """`quotients` items share a row of the remainder table; after `Tying`, on both sides.

    Raises ValueError for fewer than one quotient or more than items, and for a model with blocks at
    the input.
    """

    quotients: int = 4
    kind: str = field(default="hashing", init=False)
    trains = True

    def __post_init__(self) -> None:
        whole_number("quotients", self.quotients, least=1)

    def count(self, entries: tuple[Component, ...]) -> tuple[Component, ...]:
        table = item_table(entries, self)
        _, rows, width = table.matrices
        if self.quotients > rows:
            raise ValueError(f"{self.quotients} quotients are more than {rows} items; give fewer")
        parts = [
            Component("embedding", name, n * width, 0, (1, n, width))
            for name, n in (
                ("remainders", -(-rows // self.quotients)),
                ("quotients", self.quotients),
            )
        ]
        return with_item_table(entries, table, parts, rows * width)

    def apply(self, model: SequentialRecommender) -> None:
        assert isinstance(model.embedding, FullEmbedding)  # `count` has refused other models
        replace_modules(model, {model.embedding: HashedTable(model.embedding, self.quotients)})


class HashedTable(ItemTable):
    """A table [N, d] of products of quotients [n, d] and remainders [ceil(N / n), d]."""

    def __init__(self, layer: FullEmbedding, quotients: int) -> None:
        super().__init__()
        self.n_items, width = layer.weight.shape
        self.n_remainders, self.step = -(-self.n_items // quotients), scattering(self.n_items)
        self.remainders = nn.Embedding(self.n_remainders, width)
        self.quotients = nn.Embedding(quotients, width)
        nn.init.normal_(self.remainders.weight, std=width**-0.5)

    def rows(self, index: Tensor) -> Tensor:
        slots = self._slots(index)
        quotients = self.quotients(slots // self.n_remainders)
        products: Tensor = quotients * self.remainders(slots % self.n_remainders)
        return products

    @property
    def weight(self) -> Tensor:
        return self.rows(torch.arange(self.n_items, device=self._device))

    def scores(self, hidden: Tensor, bias: Tensor | None = None) -> Tensor:
        """h (q * r) = (h * q) r: each quotient scores all remainders."""
        every = self.quotients(torch.arange(self._n_quotients, device=self._device))
        found = linear(self.remainders, hidden.unsqueeze(-2) * every).flatten(-2)
        items = torch.arange(self.n_items, device=self._device)
        scores = found.index_select(-1, self._slots(items))
        return scores if bias is None else scores + bias

    def _slots(self, index: Tensor) -> Tensor:
        """The place of each item after the permutation."""
        return index * self.step % self.n_items

    @property
    def _n_quotients(self) -> int:
        return -(-self.n_items // self.n_remainders)

    @property
    def _device(self) -> torch.device:
        return next(self.parameters()).device


def scattering(n_items: int) -> int:
    """A step such that i -> i step mod N is a permutation that takes neighbours far apart.

    The number without a common divisor with N that is nearest above N times the golden ratio.
    """
    step = int(n_items * 0.618) + 1
    while gcd(step, n_items) > 1:
        step += 1
    return step
