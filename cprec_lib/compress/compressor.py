"""What all compressors have in common, and the configuration of a model that has some."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pkgutil import resolve_name
from typing import Any

from torch import Tensor, nn

from cprec_lib.checks import check_choice
from cprec_lib.model.config import ModelConfig
from cprec_lib.model.cost import Component, count_parameters
from cprec_lib.model.recommender import SequentialRecommender

KINDS = {
    "tying": "cprec_lib.compress.tying:Tying",
    "rounding": "cprec_lib.compress.quantisation:Rounding",
}
"""The class of each kind of compressor; a file names a kind, never a class."""


@dataclass(frozen=True)
class Compressor(ABC):
    """A change of a built model that makes it smaller, as data in its configuration.

    Subclasses are frozen dataclasses with an entry in `KINDS`; their fields are their options. A
    compressed model is built by building the uncompressed one and applying its compressors in turn.
    It is saved, loaded, evaluated and searched like every other model. `trains` says whether the
    model can be trained afterwards.
    """

    kind: str = field(init=False)
    trains = False

    @abstractmethod
    def apply(self, model: SequentialRecommender) -> None:
        """Change the modules of a model in place."""

    @abstractmethod
    def count(self, entries: tuple[Component, ...]) -> tuple[Component, ...]:
        """The cost of the changed model, from the cost of the model before."""


@dataclass(frozen=True)
class CompressedConfig(ModelConfig):
    """The architecture of a model and the compressors that are applied to it.

    A compressor may also be given as the JSON object of its fields and its kind. Raises ValueError
    for an unknown kind or option, for compressors that do not fit the model, and if one follows
    another that leaves nothing to train.
    """

    compressors: tuple[Compressor, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        made = tuple(c if isinstance(c, Compressor) else _from_json(c) for c in self.compressors)
        object.__setattr__(self, "compressors", made)
        for compressor in made[:-1]:
            if not compressor.trains:
                raise ValueError(
                    f"a model after {compressor.kind} cannot be compressed further; compress the "
                    "model that it was made from"
                )
        count_parameters(self)  # an option that does not fit the tables is refused here


def _from_json(values: Mapping[str, Any]) -> Compressor:
    options = dict(values)
    check_choice("kind of compressor", kind := options.pop("kind", None), KINDS)
    compressor: Compressor = resolve_name(KINDS[str(kind)])(**options)
    return compressor


def compressed_config(config: ModelConfig, *compressors: Compressor) -> CompressedConfig:
    """The configuration with further compressors. Raises ValueError as `CompressedConfig` does."""
    values = {each.name: getattr(config, each.name) for each in fields(config)}
    return CompressedConfig(**{**values, "compressors": (*config.compressors, *compressors)})


def compress_with(model: SequentialRecommender, compressor: Compressor) -> SequentialRecommender:
    """A compressed copy of a trained model; the model stays as it is.

    Raises ValueError for a compressor that does not fit, and as the compressor does.
    """
    config = compressed_config(model.config, compressor)
    small = copy.deepcopy(model)
    compressor.apply(small)
    small.config = config
    return small


class Table(nn.Module, ABC):
    """A matrix [N, w] that is stored in another way than in float32."""

    @abstractmethod
    def rows(self, index: Tensor) -> Tensor:
        """Rows [..., w] of an index [...]; only these are unpacked."""

    @abstractmethod
    def scores(self, hidden: Tensor, bias: Tensor | None = None) -> Tensor:
        """hidden [..., w] times the transposed matrix: [..., N], without unpacking all of it."""

    @property
    @abstractmethod
    def weight(self) -> Tensor:
        """The whole matrix [N, w], unpacked: for a loss, not for a search."""


def replace_modules(model: nn.Module, made: dict[nn.Module, nn.Module]) -> None:
    """Put other modules in the place of some; a module in several places is replaced in all."""
    for name, module in [*model.named_modules(remove_duplicate=False)]:
        if module in made:
            model.set_submodule(name, made[module])
