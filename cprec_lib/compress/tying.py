"""Tying: the input and the softmax share their tables.

Then the score of an item is high where the hidden vector resembles the item's input vector. The
residual connections carry the input of the last item to the hidden vector, so without a further
layer a tied model would predict the last item again. A linear layer d x d after the middle layers
turns the hidden vector away from it: the projection of Press and Wolf, "Using the Output Embedding
to Improve Language Models", EACL 2017.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import cast

import torch
from torch import Tensor, nn

from cprec_lib.compress.compressor import Compressor, linear
from cprec_lib.model.cost import Component
from cprec_lib.model.embedding import BlockEmbedding, FullEmbedding
from cprec_lib.model.middle import CausalLayers
from cprec_lib.model.recommender import SequentialRecommender
from cprec_lib.model.softmax import BlockSoftmax, FullSoftmax


@dataclass(frozen=True)
class Tying(Compressor):
    """Share the tables of the input with the softmax, and put a linear layer before it.

    For full tables on both sides, or for blocks on both sides with the tree. The biases, the tokens
    and the projections of the softmax stay its own. Raises ValueError for other models.
    """

    kind: str = field(default="tying", init=False)
    trains = True

    def count(self, entries: tuple[Component, ...]) -> tuple[Component, ...]:
        tables = {entry.matrices[1:] for entry in entries if _is_table(entry, "embedding")}
        wanted = {entry.matrices[1:] for entry in entries if _is_table(entry, "softmax")}
        if tables != wanted:
            raise ValueError(
                "tables cannot be tied: input and softmax have other shapes; cut both into blocks, "
                "or neither"
            )
        width = max(columns for _, columns in tables)
        layer = Component("middle", "output layer", width**2, width**2, (1, width, width))
        shared = [
            replace(e, parameters=0, matrices=(0, 0, 0)) if _is_table(e, "softmax") else e
            for e in entries
        ]
        return (*shared, layer)

    def apply(self, model: SequentialRecommender) -> None:
        embedding, softmax = model.embedding, model.softmax
        model.middle = WithOutputLayer(model.middle, model.config.width)
        if isinstance(embedding, FullEmbedding) and isinstance(softmax, FullSoftmax):
            softmax.add_module("output", Shared(embedding, softmax.output.bias))
        elif isinstance(embedding, BlockEmbedding) and isinstance(softmax, BlockSoftmax):
            _tie_blocks(embedding, softmax)
        else:
            raise ValueError("tables are tied between full tables, or between blocks with a tree")


def _is_table(entry: Component, part: str) -> bool:
    tables = ("table", "weights", "head")
    return entry.part == part and entry.component.split()[-1] in tables


@torch.no_grad()
def _tie_blocks(embedding: BlockEmbedding, softmax: BlockSoftmax) -> None:
    head, *tails = embedding.tables
    size = softmax.partition.sizes[0]
    softmax.add_module("root", SharedRoot(head, softmax.root.weight[size:]))
    softmax.tail_tables = nn.ModuleList(Shared(table) for table in tails)
    # Tail tables start with variance 1, at which the first logits would be as large as d_j. So they
    # give a factor to their projections, which leaves the vectors of the input as they are.
    for table, project in zip(tails, embedding.projections[1:], strict=True):
        factor = table.get_parameter("weight").shape[1] ** 0.5
        table.get_parameter("weight").div_(factor)
        project.get_parameter("weight").mul_(factor)


class WithOutputLayer(CausalLayers):
    """Middle layers and a linear layer without bias after them."""

    def __init__(self, layers: CausalLayers, width: int) -> None:
        super().__init__()
        self.layers = layers
        self.output = nn.Linear(width, width, bias=False)

    def apply_layers(self, hidden: Tensor, mask: Tensor) -> Tensor:
        outputs: Tensor = self.output(self.layers.apply_layers(hidden, mask))
        return outputs


class Shared(nn.Module):
    """A linear layer [..., w] to [..., k] with the rows [k, w] of a table as its weights."""

    def __init__(self, table: nn.Module, bias: nn.Parameter | None = None) -> None:
        super().__init__()
        self.table, self.bias = table, bias

    @property
    def weight(self) -> Tensor:
        """The table as a matrix [k, w]."""
        return cast(Tensor, self.table.weight)

    def forward(self, hidden: Tensor) -> Tensor:
        """Scores [..., k] of hidden [..., w]."""
        return linear(self.table, hidden, self.bias)


class SharedRoot(nn.Module):
    """The root of a tree: the shared table of the head, then tokens of its own."""

    def __init__(self, head: nn.Module, tokens: Tensor) -> None:
        super().__init__()
        self.head, self.tokens = Shared(head), nn.Linear(tokens.shape[1], len(tokens), bias=False)
        self.tokens.weight = nn.Parameter(tokens.detach().clone())

    @property
    def weight(self) -> Tensor:
        """The head's table and the tokens as one matrix [k_1 + n - 1, d]."""
        return torch.cat([self.head.weight, self.tokens.weight])

    def forward(self, hidden: Tensor) -> Tensor:
        """Scores [T, k_1 + n - 1] of hidden [T, d]."""
        return torch.cat([self.head(hidden), self.tokens(hidden)], -1)
