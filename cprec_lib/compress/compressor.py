"""What all compressors have in common, and the configuration of a model that has some."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pkgutil import resolve_name
from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from cprec_lib.checks import check_choice
from cprec_lib.data.sequences import SequenceData
from cprec_lib.model.config import ModelConfig
from cprec_lib.model.cost import Component, count_parameters
from cprec_lib.model.embedding import check_ids, table_rows
from cprec_lib.model.middle import CausalConvolution, Taps
from cprec_lib.model.recommender import SequentialRecommender

KINDS = {
    "tying": "cprec_lib.compress.tying:Tying",
    "codes": "cprec_lib.compress.codes:Codes",
    "hashing": "cprec_lib.compress.hashing:Hashing",
    "rounding": "cprec_lib.compress.quantisation:Rounding",
    "pruning": "cprec_lib.compress.pruning:Pruning",
}
"""The class of each kind of compressor; a file names a kind, never a class."""


@dataclass(frozen=True)
class Compressor(ABC):
    """A change of a built model that makes it smaller, as data in its configuration.

    Subclasses are frozen dataclasses with an entry in `KINDS`; their fields are their options. A
    compressed model is built by building the uncompressed one and applying its compressors in turn.
    It is saved, loaded, evaluated and searched like every other model. `trains` says whether the
    model can be trained afterwards, `tunes` whether `finish` trains it.
    """

    kind: str = field(init=False)
    trains = False
    tunes = False

    @abstractmethod
    def apply(self, model: SequentialRecommender) -> None:
        """Change the modules of a model in place."""

    @abstractmethod
    def count(self, entries: tuple[Component, ...]) -> tuple[Component, ...]:
        """The cost of the changed model, from the cost of the model before."""

    def prepare(self, model: SequentialRecommender, data: SequenceData, seed: int) -> None:  # noqa: B027
        """Set what a compressed model takes from the data, before its training."""

    def finish(
        self, model: SequentialRecommender, train: Callable[[SequentialRecommender], object]
    ) -> SequentialRecommender:
        """A compressed copy of a trained model, which stays as it is.

        If the compressor tunes, `train` first trains the copy further, in place, with the weights
        of each layer as its `constraint` makes them.
        """
        if not self.tunes:
            return compress_with(model, self)
        tuned = copy.deepcopy(model)
        found = ((layer, self.constraint(layer)) for layer in [*tuned.modules()])
        constrained = {layer: made for layer, made in found if made}
        for layer, made in constrained.items():
            parametrize.register_parametrization(layer, "weight", made)
        train(tuned)
        for layer in constrained:
            parametrize.remove_parametrizations(layer, "weight")
        return compress_with(tuned, self)

    def constraint(self, layer: nn.Module) -> nn.Module | None:
        """What the weights of a layer have to pass through while it tunes; None for no change."""
        return None


@dataclass(frozen=True)
class CompressedConfig(ModelConfig):
    """The architecture of a model and the compressors that are applied to it.

    A compressor may also be given as the JSON object of its fields and its kind. Raises TypeError
    for an unknown option, and ValueError for an unknown kind, for compressors that do not fit the
    model, and if one follows another that leaves nothing to train.
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


class ItemTable(Table):
    """A table of the items 1..N, in the place of a `FullEmbedding`."""

    n_items: int

    def forward(self, ids: Tensor) -> Tensor:
        """Vectors [B, L, d] of ids [B, L]. Raises ValueError as `check_ids` does."""
        check_ids(ids, self.n_items)
        index, real = table_rows(ids, 0, self.n_items)
        return self.rows(index) * real


class TableConvolution(CausalConvolution):
    """A convolution whose table has a row for each output, with its weights tap after tap."""

    def __init__(self, layer: CausalConvolution, table: Callable[[Tensor], Table]) -> None:
        nn.Module.__init__(self)
        self.taps = layer.weight.shape[-1]
        self.table = table(layer.weight.transpose(1, 2).flatten(1))
        self.bias = layer.bias

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The weights [d, d, k], unpacked."""
        weight: Tensor = self.table.weight.unflatten(1, (self.taps, -1)).transpose(1, 2)
        return weight

    def forward(self, hidden: Tensor, dilation: int) -> Tensor:
        """As that of `CausalConvolution`."""
        taps: Tensor = Taps.apply(hidden, self.taps, dilation)  # type: ignore[no-untyped-call]
        return self.table.scores(taps, self.bias)


def linear(table: nn.Module, hidden: Tensor, bias: Tensor | None = None) -> Tensor:
    """Scores [..., N] of hidden [..., w] with the rows of a `Table` or of another layer."""
    if isinstance(table, Table):
        return table.scores(hidden, bias)
    return F.linear(hidden, cast(Tensor, table.weight), bias)


def item_table(entries: tuple[Component, ...], compressor: Compressor) -> Component:
    """The uncut table of the input in a ledger. Raises ValueError for a model without it."""
    found = [e for e in entries if (e.part, e.component) == ("embedding", "table")]
    if not found:
        raise ValueError(
            f"{compressor.kind} takes the place of one table for all items; leave the input uncut"
        )
    return found[0]


def with_item_table(
    entries: tuple[Component, ...], table: Component, parts: list[Component], multiply_adds: int
) -> tuple[Component, ...]:
    """A ledger with `parts` instead of the table; scores cost `multiply_adds` if it is tied."""
    rest = [
        replace(e, multiply_adds=multiply_adds)
        if (e.part, e.component, e.parameters) == ("softmax", "weights", 0)
        else e
        for e in entries
        if e is not table
    ]
    return (*parts, *rest)


def replace_modules(model: nn.Module, made: dict[nn.Module, nn.Module]) -> None:
    """Put other modules in the place of some; a module in several places is replaced in all."""
    for name, module in [*model.named_modules(remove_duplicate=False)]:
        if module in made:
            model.set_submodule(name, made[module])
