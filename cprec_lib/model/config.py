"""What fixes a model's architecture, and the presets of the models that the course compares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cprec_lib.checks import whole_number, whole_numbers
from cprec_lib.model.middle import check_heads
from cprec_lib.model.partition import (
    BlockPartition,
    cutoffs_from_shares,
    decaying_widths,
)
from cprec_lib.model.sharing import sharing_table

MIDDLES = ("cnn", "gru", "attention")
"""Names of the fillings: `DilatedCNN`, `GRU` and `SelfAttention`."""

INITIAL_WEIGHTS = ("scaled", "authors")
"""How a model's weights are drawn before training: see `ModelConfig`."""

_WHOLE = ("n_items", "width", "kernel_size", "layers", "heads", "max_positions")


@dataclass(frozen=True)
class ModelConfig:
    """Everything that fixes a model's architecture; checks itself and says what is wrong.

    `middle` is one of `MIDDLES`. Of a "cnn", `dilations` has one entry l a residual block, whose
    two convolutions of `kernel_size` taps have the dilations l and 2 l, and `sharing` is one of
    `SHARING`. The others have `layers`; "attention" has `heads`, and sees the last `max_positions`
    items. What a filling does not have is not looked at. `dropout` is the share of units dropped
    from what a block adds, or from what a layer puts out; `input_dropout` that of the components
    dropped from each item's vector before the filling sees it (attention drops from it as well).

    `block_input` and `block_softmax` choose the decomposed embedding and softmax, which both cut
    the catalogue at `cutoffs` (item counts). `tree=False` replaces the two-level softmax by flat
    low-rank logits. Tail widths fall by `factor` unless `widths`, one a block, are given.

    `initial_weights` is one of `INITIAL_WEIGHTS`. "scaled" gives the vectors of all items, head or
    tail, components of variance 1/d, which makes the narrow tail tables start with variance 1.
    "authors" is the rule of the CpRec authors' code: see `draw_as_the_authors`.

    Raises ValueError for a number below its range or not whole, cutoffs or widths that make no
    `BlockPartition`, decomposition without cutoffs, an unknown middle or sharing scheme, sharing in
    a middle that has no convolutions, and heads that do not divide the width.
    """

    n_items: int
    width: int = 64
    dilations: tuple[int, ...] = (1, 4, 1, 4)
    kernel_size: int = 3
    cutoffs: tuple[int, ...] = ()
    factor: float = 4
    block_input: bool = False
    block_softmax: bool = False
    sharing: str = "none"
    widths: tuple[int, ...] | None = None
    tree: bool = True
    dropout: float = 0.0
    middle: str = "cnn"
    layers: int = 1
    heads: int = 1
    max_positions: int = 50
    input_dropout: float = 0.0
    initial_weights: str = "scaled"

    def __post_init__(self) -> None:
        self._normalise()
        for name in _WHOLE:
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name} {getattr(self, name)} is below 1; give a whole number of at least 1"
                )
        if any(dilation < 1 for dilation in self.dilations):
            raise ValueError(f"dilations {self.dilations}: each must be at least 1")
        for name in ("dropout", "input_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} is not in [0, 1)")
        if self.widths is not None and self.widths[:1] != (self.width,):
            raise ValueError(f"widths {self.widths} must start with the model's width {self.width}")
        self._check_middle()
        if self.decomposed or self.cutoffs:
            self.partition  # noqa: B018 - building it checks cutoffs and widths

        if self.initial_weights not in INITIAL_WEIGHTS:
            raise ValueError(
                f"unknown initial weights {self.initial_weights!r}; choose one of "
                f"{', '.join(INITIAL_WEIGHTS)}"
            )

    def _check_middle(self) -> None:
        if self.middle not in MIDDLES:
            raise ValueError(f"unknown middle {self.middle!r}; choose one of {', '.join(MIDDLES)}")
        sharing_table(self.sharing, len(self.dilations))
        if self.middle != "cnn" and self.sharing != "none":
            raise ValueError(
                f"sharing {self.sharing!r} is for convolutions, and the middle {self.middle!r} has "
                "none; leave sharing at 'none', or choose the middle 'cnn'"
            )
        if self.middle == "attention":
            check_heads(self.width, self.heads)

    def _normalise(self) -> None:
        """Make the numbers plain ints and the sequences tuples, as JSON and equality need them."""
        for name in _WHOLE:
            object.__setattr__(self, name, whole_number(name, getattr(self, name)))
        for name in ("dilations", "cutoffs", "widths"):
            if name != "widths" or self.widths is not None:
                object.__setattr__(self, name, whole_numbers(name, getattr(self, name)))
        for name in ("block_input", "block_softmax", "tree"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} {getattr(self, name)!r} is neither True nor False")

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


def nextitnet(n_items: int, width: int = 64, **options: Any) -> ModelConfig:
    """The uncompressed baseline NextItNet; `options` are further fields of `ModelConfig`.

    Yuan et al., "A Simple Convolutional Generative Network for Next Item Recommendation", WSDM
    2019. Raises ValueError as `ModelConfig` does, TypeError for an unknown field.
    """
    return ModelConfig(n_items, width, **options)


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
    Raises ValueError as `resolve_cutoffs` and `ModelConfig` do, TypeError for an unknown field.
    """
    counts = resolve_cutoffs(n_items, cutoffs)
    options = {"block_input": True, "block_softmax": True, **options}
    return ModelConfig(n_items, width, cutoffs=counts, sharing=sharing, **options)


def gru4rec(
    n_items: int, width: int = 64, cutoffs: Sequence[float] = (), **options: Any
) -> ModelConfig:
    """GRU4Rec: a recurrent filling; with `block_input` and `block_softmax` in CpRec's bread.

    Hidasi et al., "Session-based Recommendations with Recurrent Neural Networks", ICLR 2016, who
    rank against a few sampled items; here every model has the same loss. `cutoffs` and `options` as
    in `cprec`. Raises ValueError as `resolve_cutoffs` and `ModelConfig` do, TypeError for an
    unknown field.
    """
    counts = resolve_cutoffs(n_items, cutoffs)
    return ModelConfig(n_items, width, cutoffs=counts, **{"middle": "gru", **options})


def sasrec(
    n_items: int, width: int = 64, cutoffs: Sequence[float] = (), **options: Any
) -> ModelConfig:
    """SASRec: a filling of self-attention; with `block_input` and `block_softmax` in CpRec's bread.

    Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018, who train against one
    sampled item and score by the table of the input; here every model has the same loss and a
    softmax of its own. `cutoffs` and `options` as in `cprec`; `max_positions` must not be below the
    windows' length. Raises ValueError as `resolve_cutoffs` and `ModelConfig` do, TypeError for an
    unknown field.
    """
    counts = resolve_cutoffs(n_items, cutoffs)
    options = {"middle": "attention", "layers": 2, **options}
    return ModelConfig(n_items, width, cutoffs=counts, **options)


def resolve_cutoffs(n_items: int, cutoffs: Sequence[float]) -> tuple[int, ...]:
    """Cutoffs as item counts, given as counts or, if all lie in (0, 1), as shares.

    Raises ValueError if some are shares and some counts.
    """
    if len(cutoffs) > 0 and all(0 < cutoff < 1 for cutoff in cutoffs):
        return cutoffs_from_shares(n_items, cutoffs)
    if any(cutoff % 1 != 0 for cutoff in cutoffs):
        raise ValueError(
            f"cutoffs {tuple(cutoffs)} mix shares and counts; give either shares below 1 "
            "such as 0.05, 0.2 or whole item counts such as 100, 400"
        )
    return tuple(int(cutoff) for cutoff in cutoffs)
