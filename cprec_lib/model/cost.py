"""The cost of a model in closed form: parameters, bytes and multiply-adds, part by part."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from cprec_lib.model.config import ModelConfig


@dataclass(frozen=True)
class Component:
    """A component: its part of the model, its parameters, its multiply-adds for one position.

    The multiply-adds are those of scoring the whole catalogue after one more item. The results of
    earlier items (a GRU's state, an attention's keys and values) are kept, not recomputed. For
    attention the item is the last of `max_positions`, the most expensive. The head is block 1.
    """

    part: str
    component: str
    parameters: int
    multiply_adds: int


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
        """Bytes of the parameters in float32."""
        return 4 * self.total

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
        return frame


def count_parameters(config: ModelConfig) -> Ledger:
    """Ledger of the model that `config` describes, without building it."""
    middle = (Component("middle", *cost) for cost in config.middle_layers.cost())
    return Ledger((*_embedding(config), *middle, *_softmax(config)))


def _embedding(config: ModelConfig) -> list[Component]:
    if not config.block_input:
        return [Component("embedding", "table", config.n_items * config.width, 0)]
    return _blocks("embedding", config)


def _softmax(config: ModelConfig) -> list[Component]:
    n_items, width = config.n_items, config.width
    if not config.block_softmax:
        weights = Component("softmax", "weights", n_items * width, n_items * width)
        return [weights, Component("softmax", "bias", n_items, 0)]
    entries = _blocks("softmax", config)
    if config.tree:
        tokens = len(config.cutoffs) * width
        entries.insert(1, Component("softmax", "block tokens", tokens, tokens))
    return entries


def _blocks(part: str, config: ModelConfig) -> list[Component]:
    """The head's table, then each tail block's narrow table and its projection."""
    head, *tails = zip(config.partition.sizes, config.partition.widths, strict=True)
    scored = part == "softmax"
    entries = [Component(part, "head", head[0] * config.width, scored * head[0] * config.width)]
    for number, (size, width) in enumerate(tails, start=2):
        table, projection = size * width, width * config.width
        entries += [
            Component(part, f"block {number} table", table, scored * table),
            Component(part, f"block {number} projection", projection, projection),
        ]
    return entries
