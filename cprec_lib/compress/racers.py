"""The racers: ways to make a model small, each as large as a number of bytes allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from cprec_lib.compress.codes import Codes
from cprec_lib.compress.compressor import Compressor, compressed_config
from cprec_lib.compress.hashing import Hashing
from cprec_lib.compress.pruning import Pruning
from cprec_lib.compress.quantisation import Rounding
from cprec_lib.compress.tying import Tying
from cprec_lib.compress.widths import power_law_widths
from cprec_lib.model.config import ModelConfig, resolve_cutoffs
from cprec_lib.model.cost import count_parameters

SHARES = (0.05, 0.2)
"""Where the racers with blocks cut the catalogue."""
GROUP = 16
"""Columns that share a scale, where a racer has groups."""
SPLITS, QUOTIENTS = 8, 4
"""Bytes of an item's codes, and items that share a row of a hashed table."""
Build = Callable[[ModelConfig, np.ndarray, int], ModelConfig]
"""From the uncompressed model, the counts of the items and a width to a model to be trained."""


def _narrower(full: ModelConfig, counts: np.ndarray, width: int) -> ModelConfig:
    return full if width == full.width else replace(full, width=width)


def _tied(full: ModelConfig, counts: np.ndarray, width: int) -> ModelConfig:
    return compressed_config(_narrower(full, counts, width), Tying())


def _coded(full: ModelConfig, counts: np.ndarray, width: int, source: str = "svd") -> ModelConfig:
    return compressed_config(_tied(full, counts, width), Codes(SPLITS, source))


def _hashed(full: ModelConfig, counts: np.ndarray, width: int) -> ModelConfig:
    return compressed_config(_tied(full, counts, width), Hashing(QUOTIENTS))


def _low_rank(full: ModelConfig, counts: np.ndarray, width: int) -> ModelConfig:
    """One projection for all items but the first, which stands for a head, in and out."""
    blocks: dict[str, Any] = {"cutoffs": (1,), "widths": (full.width, width), "tree": False}
    return replace(full, block_input=True, block_softmax=True, **blocks)


def _cprec(full: ModelConfig, counts: np.ndarray, width: int) -> ModelConfig:
    """CpRec with factor 4, and with its shared layers if the middle layers are convolutions."""
    blocks: dict[str, Any] = {"block_input": True, "block_softmax": True, "widths": None}
    if full.middle == "cnn":
        blocks["sharing"] = "adjacent-block"
    cutoffs = resolve_cutoffs(full.n_items, SHARES)
    return replace(full, width=width, cutoffs=cutoffs, factor=4, **blocks)


def _power_law(full: ModelConfig, counts: np.ndarray, width: int) -> ModelConfig:
    """CpRec's blocks with widths by popularity; above 16 multiples of it, as groups of 16 need."""
    config = _cprec(full, counts, width)
    head, *tails = power_law_widths(counts, config.cutoffs, width)
    return replace(config, widths=(head, *(w if w < GROUP else w - w % GROUP for w in tails)))


def _tied_blocks(full: ModelConfig, counts: np.ndarray, width: int) -> ModelConfig:
    return compressed_config(_power_law(full, counts, width), Tying())


@dataclass(frozen=True)
class Plan:
    """A model of a race: what is trained, and the compressor that finishes it, if any."""

    label: str
    config: ModelConfig
    last: Compressor | None
    bytes: int

    @classmethod
    def of(cls, label: str, config: ModelConfig, last: Compressor | None) -> Plan:
        """The plan with its bytes. Raises ValueError for a compressor that does not fit."""
        small = compressed_config(config, last) if last else config
        return cls(label, config, last, count_parameters(small).bytes)

    def trains(self, full: ModelConfig) -> bool:
        """Whether it takes more than finishing the uncompressed model."""
        return self.config != full or bool(self.last and self.last.tunes)


@dataclass(frozen=True)
class Racer:
    """A way to make a model small: an architecture, as wide as a budget allows, then rounding."""

    label: str
    build: Build
    rounding: Rounding | None = None

    def widest(self, full: ModelConfig, counts: np.ndarray, most: int) -> Plan | None:
        """The largest version with at most `most` bytes; None if there is none."""
        return next((plan for plan in self.plans(full, counts) if plan.bytes <= most), None)

    def plans(self, full: ModelConfig, counts: np.ndarray) -> Iterator[Plan]:
        """All versions, the largest first."""
        for width in range(full.width, 0, -1):
            with suppress(ValueError):  # heads, a group or codes that do not divide this width
                config = self.build(full, counts, width)
                yield Plan.of(f"{self.label}, width {width}", config, self.rounding)


@dataclass(frozen=True)
class Pruner(Racer):
    """The uncompressed model with as many weights as a budget allows."""

    def plans(self, full: ModelConfig, counts: np.ndarray) -> Iterator[Plan]:
        """All versions, the densest first."""
        for percent in range(50, 0, -1):
            label = f"{self.label} to {percent} %"
            yield Plan.of(label, full, Pruning(percent / 100))


ARCHITECTURES: dict[str, Build] = {
    "own tables": _narrower,
    "tied": _tied,
    "low rank": _low_rank,
    "CpRec": _cprec,
    "CpRec by popularity": _power_law,
    "tied blocks by popularity": _tied_blocks,
    "shared codes": _coded,
    "hashing": _hashed,
}
ROUNDINGS: dict[str, Rounding | None] = {
    "int8": Rounding(8),
    f"int4 in groups of {GROUP}": Rounding(4, GROUP),
    "int4": Rounding(4),
    f"int4 in groups of {GROUP}, tuned": Rounding(4, GROUP, tunes=True),
    "float32": None,
}
RACERS = (
    *(
        Racer(f"{name}, {stored}", build, rounding)
        for name, build in ARCHITECTURES.items()
        for stored, rounding in ROUNDINGS.items()
    ),
    Pruner("pruned", _narrower),
)
LABELS = [racer.label for racer in RACERS]
CONTROL = Racer("random codes, int8", partial(_coded, source="random"), Rounding(8))
"""Shows what the codes of the interactions are worth; no model to choose."""


def way(racer: str) -> str:
    """The way in a racer's label, without the form in which its weights are stored."""
    return racer.partition(",")[0]


def named(names: Sequence[str], labels: Sequence[str] = LABELS) -> list[str]:
    """Of the labels those that are named, or whose way is, such as "tied"; all without names.

    Raises ValueError, with a list of the names, for an unknown one.
    """
    known = [*dict.fromkeys(map(way, labels)), *labels]
    for name in names:
        if name not in known:
            ways = "; ".join(dict.fromkeys(map(way, labels)))
            raise ValueError(
                f"unknown racer {name!r}; choose one of {ways}, or a form such as 'tied, int8'"
            )
    return [label for label in labels if not names or {label, way(label)} & {*names}]


def plans(
    full: ModelConfig, counts: np.ndarray, most: int, racers: Sequence[Racer] = RACERS
) -> list[Plan]:
    """The plans that keep a budget of `most` bytes, those with the least training first.

    Of those that are trained, the models in float32 come last: none won a budget of the recorded
    races, because a rounded model of as many bytes is wider.

    `counts` [N] are the training counts of the items. Raises ValueError, naming the smallest
    possible model, if there is none.
    """
    widest = (racer.widest(full, counts, most) for racer in racers)
    found = [plan for plan in widest if plan]
    if not found:
        every = chain.from_iterable(racer.plans(full, counts) for racer in racers)
        smallest = min(every, key=lambda plan: plan.bytes)
        raise ValueError(
            f"no model keeps the budget of {most:,} bytes; the smallest possible has "
            f"{smallest.bytes:,} ({smallest.label})"
        )
    costs = {plan: count_parameters(plan.config).multiply_adds for plan in found}
    return sorted(found, key=lambda plan: (plan.trains(full), plan.last is None, costs[plan]))
