"""Shared codes: an item is m bytes, each of which chooses a part of its vector among 256.

    e(x) = [C_1[code_1(x)]; ...; C_m[code_m(x)]]   with centroids C_j [256, d / m]

The score of an item is the sum over j of C_j[code_j(x)] h_j, so a search computes 256 products for
each j and looks up the rest. Petrov and Macdonald, "RecJPQ: Training Large-Catalogue Sequential
Recommenders", WSDM 2024. Byte j of an item is where it stands among all items in the j-th right
singular vector of the training interactions: items that occur together share centroids.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from cprec_lib.checks import check_choice, whole_number
from cprec_lib.compress.compressor import (
    Compressor,
    ItemTable,
    item_table,
    replace_modules,
    with_item_table,
)
from cprec_lib.data.sequences import SequenceData
from cprec_lib.model.cost import Component
from cprec_lib.model.embedding import FullEmbedding
from cprec_lib.model.recommender import SequentialRecommender

CENTROIDS = 256
"""Centroids of a split: as many as a byte has values."""
SOURCES = ("svd", "random")
"""Where the codes come from."""
OVERSAMPLING = 16
"""Singular vectors computed beyond those that are used, for the precision of the others."""


@dataclass(frozen=True)
class Codes(Compressor):
    """Codes of `splits` bytes instead of the item table; after `Tying`, of both tables.

    `source` is "svd" or, as a control, "random". The model is built with random codes; `prepare`
    sets those of the data. Raises ValueError for splits that do not divide the width and for a
    model with blocks at the input.
    """

    splits: int = 8
    source: str = "svd"
    kind: str = field(default="codes", init=False)
    trains = True

    def __post_init__(self) -> None:
        whole_number("splits", self.splits, least=1)
        check_choice("source of the codes", self.source, SOURCES)

    def count(self, entries: tuple[Component, ...]) -> tuple[Component, ...]:
        table = item_table(entries, self)
        _, rows, width = table.matrices
        if width % self.splits:
            raise ValueError(
                f"{self.splits} splits do not divide vectors of width {width}; choose a number "
                "that does"
            )
        size, shape = rows * self.splits, (CENTROIDS * self.splits, width // self.splits)
        parts = [
            Component("embedding", "codes", size, 0, saved=3 * size),
            Component("embedding", "centroids", CENTROIDS * width, 0, (1, *shape)),
        ]
        return with_item_table(entries, table, parts, CENTROIDS * width)

    def apply(self, model: SequentialRecommender) -> None:
        assert isinstance(model.embedding, FullEmbedding)  # `count` has refused other models
        replace_modules(model, {model.embedding: CodedTable(model.embedding, self.splits)})

    def prepare(self, model: SequentialRecommender, data: SequenceData, seed: int) -> None:
        """Set the codes of the training interactions. Raises ValueError as `svd_codes` does."""
        if self.source == "svd":
            codes = svd_codes(data, self.splits, seed)
            model.get_parameter("embedding.codes").data.copy_(codes)


class CodedTable(ItemTable):
    """A table [N, d] of codes [N, m] and centroids [256 m, d / m], those of a split together."""

    def __init__(self, layer: FullEmbedding, splits: int) -> None:
        super().__init__()
        self.n_items, width = layer.weight.shape
        # A parameter, though not trained, so that it is saved and moved as all weights are.
        draw = torch.randint(0, CENTROIDS, (self.n_items, splits), dtype=torch.uint8)
        self.codes = nn.Parameter(draw, requires_grad=False)
        self.centroids = nn.Embedding(CENTROIDS * splits, width // splits)
        nn.init.normal_(self.centroids.weight, std=width**-0.5)

    def rows(self, index: Tensor) -> Tensor:
        codes = self.codes[index].long()
        starts = torch.arange(codes.shape[-1], device=codes.device) * CENTROIDS
        rows: Tensor = self.centroids(codes + starts).flatten(-2)
        return rows

    @property
    def weight(self) -> Tensor:
        return self.rows(torch.arange(self.n_items, device=self.codes.device))

    def scores(self, hidden: Tensor, bias: Tensor | None = None) -> Tensor:
        splits = self.codes.shape[1]
        centroids = self.centroids.weight.unflatten(0, (splits, CENTROIDS))
        products = torch.einsum("...mp,mcp->...mc", hidden.unflatten(-1, (splits, -1)), centroids)
        found = hidden.new_zeros(self.n_items) if bias is None else bias
        for split in range(splits):
            found = found + products[..., split, :].index_select(-1, self.codes[:, split].int())
        return found


def svd_codes(data: SequenceData, splits: int, seed: int = 0) -> Tensor:
    """Codes [N, splits] of the items, uint8, from a truncated SVD of the training windows.

    Of the matrix [W, N] that is 1 where an item occurs in a window, the j-th right singular vector
    orders the items; this order is cut into 256 parts of equal size, whose number is the j-th code.
    `seed` draws the start of the SVD, which is Halko et al.'s randomised one (2011), and the order
    of items with equal values, such as those without interactions. Raises ValueError if there is
    nothing to train on, and for more splits than the matrix has rows or columns.
    """
    data.check_trainable()
    windows, n_items = data.train, data.n_items
    window = torch.arange(len(windows)).unsqueeze(1).expand_as(windows)
    pairs = torch.stack([window[windows > 0], windows[windows > 0] - 1]).unique(dim=1)
    matrix = torch.sparse_coo_tensor(
        pairs, torch.ones(pairs.shape[1]), (len(windows), n_items), check_invariants=False
    )
    if splits > (most := min(matrix.shape)):
        raise ValueError(
            f"{splits} splits take as many singular vectors, and {len(windows):,} windows of "
            f"{n_items:,} items have {most}; choose fewer splits or random codes"
        )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        _, _, vectors = torch.svd_lowrank(matrix, q=min(splits + OVERSAMPLING, most), niter=8)
        shuffled = torch.randperm(n_items)
    places = vectors[shuffled, :splits].argsort(dim=0, stable=True).argsort(dim=0)
    codes = torch.empty(n_items, splits, dtype=torch.uint8)
    codes[shuffled] = (places * CENTROIDS // n_items).to(torch.uint8)
    return codes
