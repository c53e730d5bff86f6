"""The cost of a model in closed form: parameters, bytes and multiply-adds, part by part."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from cprec_lib.model.config import ModelConfig
from cprec_lib.model.middle import Matrices


@dataclass(frozen=True)
class Component:
    """A component: its part of the model, its parameters, its multiply-adds for one position.

    The multiply-adds are those of scoring the whole catalogue after one more item. The results of
    earlier items (a GRU's state, an attention's keys and values) are kept, not recomputed. For
    attention the item is the last of `max_positions`, the most expensive. The head is block 1.
    `matrices` are the number, rows and columns of its equal matrices that compressors may store in
    another way, and `saved` the bytes by which that is less than float32.
    """

    part: str
    component: str
    parameters: int
    multiply_adds: int
    matrices: Matrices = (0, 0, 0)
    saved: int = 0


@dataclass(frozen=True)
class Ledger:
    """The cost of a model, component by component."""

    entries: tuple[Component, ...]

    @property
    def total(self) -> int:
        """Number of parameters of the whole model."""
        return sum(entry.parameters for entry in self.entries)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of scoring the whole catalogue after one more item.

        A look-up costs none. The embedding counts every block's projection, because
        `BlockEmbedding` computes all of them at each position.
        """
        return sum(entry.multiply_adds for entry in self.entries)

    @property
    def bytes(self) -> int:
        """Bytes in memory, and in model.safetensors without its header."""
        return sum(4 * entry.parameters - entry.saved for entry in self.entries)

    def by_part(self) -> dict[str, int]:
        """Parameters of the embedding, the middle and the softmax."""
        parts = {"embedding": 0, "middle": 0, "softmax": 0}
        for entry in self.entries:
            parts[entry.part] += entry.parameters
        return parts

    def to_frame(self) -> pd.DataFrame:
        """One row per component, with its share of the parameters."""
        frame = pd.DataFrame(self.entries).set_index(["part", "component"])
        frame["share"] = frame["parameters"] / self.total
        return frame.drop(columns=["matrices", "saved"])


def count_parameters(config: ModelConfig) -> Ledger:
    """Ledger of the model that `config` describes, without building it."""
    middle = (Component("middle", *cost) for cost in config.middle_layers.cost())
    entries = (*_embedding(config), *middle, *_softmax(config))
    for compressor in config.compressors:
        entries = compressor.count(entries)
    return Ledger(entries)


def _embedding(config: ModelConfig) -> list[Component]:
    if config.block_input:
        return _blocks("embedding", config)
    return [_matrix("embedding", "table", config.n_items, config.width, used=False)]


def _softmax(config: ModelConfig) -> list[Component]:
    if not config.block_softmax:
        weights = _matrix("softmax", "weights", config.n_items, config.width)
        return [weights, Component("softmax", "bias", config.n_items, 0)]
    entries = _blocks("softmax", config)
    if config.tree:
        entries.insert(1, _matrix("softmax", "block tokens", len(config.cutoffs), config.width))
    return entries


def _blocks(part: str, config: ModelConfig) -> list[Component]:
    """The head's table, then each tail block's narrow table and its projection."""
    head, *tails = zip(config.partition.sizes, config.partition.widths, strict=True)
    scored = part == "softmax"
    entries = [_matrix(part, "head", *head, used=scored)]
    for number, (size, width) in enumerate(tails, start=2):
        shape = (width, config.width) if scored else (config.width, width)
        entries += [
            _matrix(part, f"block {number} table", size, width, used=scored),
            _matrix(part, f"block {number} projection", *shape),
        ]
    return entries


def _matrix(part: str, component: str, rows: int, columns: int, used: bool = True) -> Component:
    """A matrix; each number of it takes part in a multiply-add if it is `used` as a whole."""
    size = rows * columns
    return Component(part, component, size, used * size, (1, rows, columns))
