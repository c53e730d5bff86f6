"""The configuration of a model, and presets for the models that the course compares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pkgutil import resolve_name
from typing import Annotated, Any

from cprec_lib.checks import check_choice, check_fields, check_share
from cprec_lib.model.middle import MIDDLES, Middle
from cprec_lib.model.partition import BlockPartition, cutoffs_from_shares, decaying_widths
from cprec_lib.model.sharing import SHARING

INITIAL_WEIGHTS = ("scaled", "authors")
"""How the initial weights are drawn: see `ModelConfig`."""

OPTIONS = tuple(dict.fromkeys(name for kind in MIDDLES.values() for name in kind.options()))
"""Fields of `ModelConfig` that only some kinds of middle layers have."""

COMPRESSED = "cprec_lib.compress.compressor:CompressedConfig"
"""The class of configurations with compressors, by its name because it is on a higher floor."""


@dataclass(frozen=True)
class ModelConfig:
    """The architecture of a model.

    `middle` is one of `MIDDLES`, each with its own options: "cnn" has `dilations`, `kernel_size`
    and `sharing` (see `DilatedCNN`), "gru" has `layers`, "attention" has `layers`, `heads` and
    `max_positions`, the number of items that it sees. An option left at None takes the default of
    the chosen kind; options of other kinds stay None. `dropout` is the share of units dropped from
    what a residual block adds or a layer puts out; `input_dropout` that of the components dropped
    from each item's vector before the middle layers (attention applies `dropout` there as well).

    `block_input` and `block_softmax` choose the decomposed embedding and softmax, which both cut
    the catalogue at `cutoffs` (item counts). `tree=False` replaces the two-level softmax by flat
    low-rank logits. Tail widths fall by `factor` unless `widths`, one per block, are given.

    `initial_weights` is one of `INITIAL_WEIGHTS`. With "scaled", the vectors of all items, head or
    tail, have components of variance 1/d; "authors": see `draw_as_the_authors`.

    Raises ValueError for a number out of range or not whole, cutoffs or widths that make no
    `BlockPartition`, decomposition without cutoffs, an unknown name, and an option that the middle
    layers do not have.
    """

    n_items: int
    width: Annotated[int, "Components of an item's vector, d."] = 64
    dilations: Annotated[tuple[int, ...] | None, "Dilation of each residual block."] = None
    kernel_size: Annotated[int | None, "Taps of a convolution."] = None
    cutoffs: Annotated[tuple[int, ...], "Ends of the blocks: shares of the items, or counts."] = ()
    factor: Annotated[float, "Factor by which the width falls from block to block."] = 4
    block_input: Annotated[bool, "Cut the embedding into blocks of falling width."] = False
    block_softmax: Annotated[bool, "Cut the softmax into blocks of falling width."] = False
    sharing: Annotated[str | None, f"Layers that share weights: {', '.join(SHARING)}."] = None
    widths: Annotated[tuple[int, ...] | None, "Width of each block, instead of a factor."] = None
    tree: Annotated[bool, "Predict a block first, then an item, in two levels."] = True
    dropout: Annotated[float, "Share of units to drop in the middle layers."] = 0.0
    middle: str = "cnn"
    layers: Annotated[int | None, "Layers of a GRU or of self-attention."] = None
    heads: Annotated[int | None, "Heads of self-attention."] = None
    max_positions: Annotated[int | None, "Positions that self-attention sees."] = None
    input_dropout: Annotated[float, "Share to drop of the components of an item's vector."] = 0.0
    initial_weights: Annotated[str, f"Initial weights: {' or '.join(INITIAL_WEIGHTS)}."] = "scaled"

    def __post_init__(self) -> None:
        check_fields(self)
        check_share("input_dropout", self.input_dropout)
        check_choice("middle", self.middle, MIDDLES)
        check_choice("initial weights", self.initial_weights, INITIAL_WEIGHTS)
        if self.widths is not None and self.widths[:1] != (self.width,):
            raise ValueError(f"widths {self.widths} must start with the model's width {self.width}")
        if self.decomposed or self.cutoffs:
            self.partition  # noqa: B018 - building it checks cutoffs and widths
        layers = self.middle_layers
        for name in layers.options():
            object.__setattr__(self, name, getattr(layers, name))

    @property
    def middle_layers(self) -> Middle:
        """The middle layers as data. Raises ValueError for an option that they do not have."""
        kind = MIDDLES[self.middle]
        given = {name: value for name in OPTIONS if (value := getattr(self, name)) is not None}
        if others := [name for name in given if name not in kind.options()]:
            raise ValueError(
                f"{', '.join(others)}: no option of the middle {self.middle!r}, which has "
                f"{', '.join(kind.options())}; leave it out"
            )
        return kind(self.width, self.dropout, **given)

    @property
    def compressors(self) -> tuple[Any, ...]:
        """What makes the built model smaller, in turn; only a `CompressedConfig` has some."""
        return ()

    @property
    def decomposed(self) -> bool:
        """Whether the embedding or the softmax works in blocks."""
        return self.block_input or self.block_softmax

    @property
    def partition(self) -> BlockPartition:
        """The blocks of the embedding and the softmax. Raises ValueError without cutoffs."""
        n_blocks = len(self.cutoffs) + 1
        widths = self.widths or decaying_widths(self.width, n_blocks, self.factor)
        return BlockPartition(self.n_items, self.cutoffs, widths)


def nextitnet(
    n_items: int, width: int = 64, cutoffs: Sequence[float] = (), **options: Any
) -> ModelConfig:
    """The uncompressed baseline NextItNet. `cutoffs`, `options` and errors as for `cprec`.

    Yuan et al., "A Simple Convolutional Generative Network for Next Item Recommendation", WSDM
    2019.
    """
    return ModelConfig(n_items, width, cutoffs=resolve_cutoffs(n_items, cutoffs), **options)


def cprec(
    n_items: int,
    width: int = 64,
    cutoffs: Sequence[float] = (0.05, 0.2),
    sharing: str = "adjacent-block",
    **options: Any,
) -> ModelConfig:
    """CpRec: input and softmax decomposed, layers shared. `options`: fields of `ModelConfig`.

    `cutoffs` are item counts, or cumulative shares of the catalogue if all lie below 1. Sun et
    al., "A Generic Network Compression Framework for Sequential Recommender Systems", SIGIR 2020.
    Errors as for `resolve_cutoffs` and `ModelConfig`.
    """
    cutoffs = resolve_cutoffs(n_items, cutoffs)
    options = {"block_input": True, "block_softmax": True, **options}
    return ModelConfig(n_items, width, cutoffs=cutoffs, sharing=sharing, **options)


def gru4rec(
    n_items: int, width: int = 64, cutoffs: Sequence[float] = (), **options: Any
) -> ModelConfig:
    """GRU4Rec: recurrent middle layers. `cutoffs`, `options` and errors as for `cprec`.

    Hidasi et al., "Session-based Recommendations with Recurrent Neural Networks", ICLR 2016. They
    train against a few sampled items; here every model has the same loss.
    """
    cutoffs = resolve_cutoffs(n_items, cutoffs)
    return ModelConfig(n_items, width, cutoffs=cutoffs, middle="gru", **options)


def sasrec(
    n_items: int, width: int = 64, cutoffs: Sequence[float] = (), **options: Any
) -> ModelConfig:
    """SASRec: two layers of self-attention. `cutoffs`, `options` and errors as for `cprec`.

    Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018. They train against one
    sampled item and score with the input table; here every model has the same loss and a softmax of
    its own. `max_positions` must be at least the length of the windows.
    """
    cutoffs = resolve_cutoffs(n_items, cutoffs)
    return ModelConfig(n_items, width, cutoffs=cutoffs, middle="attention", **options)


def resolve_cutoffs(n_items: int, cutoffs: Sequence[float]) -> tuple[int, ...]:
    """Cutoffs as item counts, from counts or, if all lie in (0, 1), from cumulative shares.

    Raises ValueError for a mixture of both.
    """
    if len(cutoffs) > 0 and all(0 < cutoff < 1 for cutoff in cutoffs):
        return cutoffs_from_shares(n_items, cutoffs)
    if any(cutoff % 1 != 0 for cutoff in cutoffs):
        raise ValueError(
            f"cutoffs {tuple(cutoffs)} mix shares and counts; give either shares below 1 "
            "such as 0.05, 0.2 or whole item counts such as 100, 400"
        )
    return tuple(int(cutoff) for cutoff in cutoffs)


def config_from_json(values: Mapping[str, Any]) -> ModelConfig:
    """The configuration in a file that holds its `asdict`, written by this version or an older one.

    A field that the file lacks takes its default. Old files hold the options of all kinds of middle
    layers; those of other kinds than the model's are ignored. Raises ValueError for anything else.
    """
    try:
        kind = resolve_name(COMPRESSED) if "compressors" in values else ModelConfig
        if unknown := set(values) - {field.name for field in fields(kind)}:
            raise ValueError(f"unknown fields {sorted(unknown)}")
        if all(values.get(name) is not None for name in OPTIONS):
            own = MIDDLES[values["middle"]].options()
            values = {k: v for k, v in values.items() if k in own or k not in OPTIONS}
        config: ModelConfig = kind(**values)
        return config
    except (TypeError, AttributeError, KeyError) as error:
        raise ValueError(f"this does not describe a model: {error}") from error
