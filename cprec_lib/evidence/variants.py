"""Variants: the models that a setting compares, in groups, one per figure or table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from cprec_lib.evidence.settings import Setting
from cprec_lib.model.config import ModelConfig, cprec, gru4rec, nextitnet, sasrec
from cprec_lib.model.cost import count_parameters
from cprec_lib.model.sharing import SHARING

Family = Literal["nextitnet", "cprec", "part", "gru4rec", "sasrec", "baseline"]
Build = Callable[[int, Setting], ModelConfig | None]
T = TypeVar("T")


@dataclass(frozen=True)
class Variant:
    """One model of a comparison.

    `key` names it in files, in records and on the command line. `label` is for readers and may
    change freely. `family` is the model of which the variant is a version: a "part" is NextItNet
    with some of CpRec's parts, a "baseline" is not trained. `width` and `depth` (the number of
    residual blocks) are set if the variant fixes them. `build` makes the configuration for a number
    of items and a setting; it returns None if the setting does not allow the variant. A variant
    that is not trained has no `build`.
    """

    key: str
    label: str
    family: Family
    build: Build | None = None
    width: int | None = None
    depth: int | None = None


# ---- How configurations are built ----


def _layers(setting: Setting) -> dict[str, Any]:
    return {
        "dropout": setting.dropout,
        "input_dropout": setting.input_dropout,
        "dilations": setting.dilations,
        "initial_weights": setting.initial_weights,
    }


def _plain(**changes: Any) -> Build:
    """NextItNet with some fields changed; None if the only change is the setting's own width."""

    def build(n_items: int, setting: Setting) -> ModelConfig | None:
        full = nextitnet(n_items, setting.width, **_layers(setting))
        return None if changes == {"width": full.width} else replace(full, **changes)

    return build


def _part(**changes: Any) -> Build:
    """NextItNet with some of CpRec's parts, at CpRec's cutoffs."""

    def build(n_items: int, setting: Setting) -> ModelConfig:
        return nextitnet(n_items, setting.width, setting.cutoffs, **changes, **_layers(setting))

    return build


def _compressed(
    cut: Callable[[Setting], tuple[float, ...]] = lambda setting: setting.cutoffs, **changes: Any
) -> Build:
    """CpRec with other cutoffs or fields; None if its head would be empty."""

    def build(n_items: int, setting: Setting) -> ModelConfig | None:
        cutoffs = cut(setting)
        if cutoffs[0] * n_items < 1:
            return None
        return cprec(n_items, setting.width, cutoffs, **changes, **_layers(setting))

    return build


def _other_middle(preset: Callable[..., ModelConfig], compressed: bool = False) -> Build:
    """A model with two other middle layers, as it is or with CpRec's embedding and softmax.

    At the same width, the two layers have about half the parameters of NextItNet's four residual
    blocks.
    """

    def build(n_items: int, setting: Setting) -> ModelConfig:
        common = {**_layers(setting), "layers": 2}
        del common["dilations"]
        if preset is sasrec:
            common["max_positions"] = setting.max_len
        if compressed:
            common |= {"cutoffs": setting.cutoffs, "block_input": True, "block_softmax": True}
        return preset(n_items, setting.width, **common)

    return build


def _no_larger(build: Build, limit: Build, share: float = 1) -> Build:
    """The widest version of a model with at most `share` of the parameters of the model `limit`."""

    def narrower(n_items: int, setting: Setting) -> ModelConfig | None:
        config, other = build(n_items, setting), limit(n_items, setting)
        if config is None or other is None:
            return None
        most = int(share * count_parameters(other).total)
        versions = (replace(config, width=width) for width in range(config.width, 0, -1))
        return next((c for c in versions if count_parameters(c).total <= most), None)

    return narrower


# ---- The variants ----


def _shared(scheme: str) -> Variant:
    return Variant(f"sharing-{scheme}", f"sharing {scheme}", "part", _plain(sharing=scheme))


def _sized(words: str, key: str, share: float) -> tuple[Variant, Variant]:
    """CpRec and NextItNet with at most a share of NextItNet's parameters.

    CpRec has factor 2, which keeps more of the tail.
    """
    wide = _compressed(factor=2)
    small, plain = _no_larger(wide, _plain(), share), _no_larger(_plain(), _plain(), share)
    return (
        Variant(f"cprec-{key}", f"CpRec, {words}", "cprec", small),
        Variant(f"nextitnet-{key}", f"NextItNet, {words}", "nextitnet", plain),
    )


BASELINE = Variant("nextitnet", "NextItNet", "nextitnet", _plain())
COMPRESSED = Variant("cprec", "CpRec", "cprec", _compressed())
NARROW = Variant("narrower", "narrower NextItNet", "nextitnet", _no_larger(_plain(), _compressed()))
_FACTOR_2 = Variant("cprec-factor-2", "CpRec, factor 2", "cprec", _compressed(factor=2))
_NARROW_2 = Variant(
    "narrower-factor-2",
    "narrower NextItNet, factor 2",
    "nextitnet",
    _no_larger(_plain(), _compressed(factor=2)),
)
TREE = Variant("softmax-only", "softmax only", "part", _part(block_softmax=True))
FLAT = Variant(
    "flat-softmax", "flat low-rank softmax", "part", _part(block_softmax=True, tree=False)
)
SHARED = {scheme: _shared(scheme) for scheme in SHARING if scheme != "none"}
_SHORT_HEADS = (
    Variant("cprec-cut-5-20", "CpRec, cut 5 / 20 %", "cprec", _compressed(lambda _: (0.05, 0.2))),
    Variant("cprec-cut-2-10", "CpRec, cut 2 / 10 %", "cprec", _compressed(lambda _: (0.02, 0.1))),
)
OTHER_MIDDLES = (
    (
        Variant("gru4rec", "GRU4Rec", "gru4rec", _other_middle(gru4rec)),
        Variant(
            "gru4rec-compressed",
            "GRU4Rec, compressed",
            "gru4rec",
            _other_middle(gru4rec, compressed=True),
        ),
    ),
    (
        Variant("sasrec", "SASRec", "sasrec", _other_middle(sasrec)),
        Variant(
            "sasrec-compressed",
            "SASRec, compressed",
            "sasrec",
            _other_middle(sasrec, compressed=True),
        ),
    ),
)
"""Models with other middle layers: each as it is, and with CpRec's embedding and softmax."""

GROUPS: dict[str, tuple[Variant, ...]] = {
    "overall": (
        BASELINE,
        COMPRESSED,
        Variant(
            "cprec-cross-block", "CpRec, cross-block", "cprec", _compressed(sharing="cross-block")
        ),
        Variant(
            "cprec-adjacent-layer",
            "CpRec, adjacent-layer",
            "cprec",
            _compressed(sharing="adjacent-layer"),
        ),
        *(whole for whole, _ in OTHER_MIDDLES),
        Variant("popularity", "popularity", "baseline"),
        Variant("bigram", "bigram", "baseline"),
    ),
    "decomposition": (
        BASELINE,
        Variant("input-only", "input only", "part", _part(block_input=True)),
        TREE,
        FLAT,
        Variant(
            "input-and-softmax",
            "input and softmax",
            "part",
            _part(block_input=True, block_softmax=True),
        ),
    ),
    "sharing": (BASELINE, *SHARED.values()),
    "rival": (BASELINE, COMPRESSED, _FACTOR_2, NARROW, _NARROW_2),
    "sizes": (
        BASELINE,
        *_sized("a quarter", "quarter", 1 / 4),
        *_sized("an eighth", "eighth", 1 / 8),
        *_SHORT_HEADS,
        Variant(
            "cprec-cut-5-20-cross-block",
            "CpRec, cut 5 / 20 %, cross-block",
            "cprec",
            _compressed(lambda _: (0.05, 0.2), sharing="cross-block"),
        ),
    ),
    "blocks": (
        COMPRESSED,
        Variant("cprec-2-blocks", "CpRec, 2 blocks", "cprec", _compressed(lambda s: s.cutoffs[:1])),
        Variant(
            "cprec-4-blocks",
            "CpRec, 4 blocks",
            "cprec",
            _compressed(lambda s: (s.cutoffs[0] / 2, *s.cutoffs)),
        ),
        *_SHORT_HEADS,
    ),
    "generic": tuple(variant for pair in OTHER_MIDDLES for variant in pair),
    "width": (
        BASELINE,
        *(
            Variant(
                f"nextitnet-w{w}", f"NextItNet, width {w}", "nextitnet", _plain(width=w), width=w
            )
            for w in (16, 32, 64, 128, 256, 512)
        ),
    ),
    "depth": (
        BASELINE,
        *(
            Variant(
                f"nextitnet-depth-{depth}",
                f"NextItNet, {depth} blocks",
                "nextitnet",
                _plain(dilations=((1, 4) * 8)[:depth]),
                depth=depth,
            )
            for depth in (0, 2, 8, 16)
        ),
    ),
}
"""The variants that each figure or table compares, by its name."""

VARIANTS = {variant.key: variant for group in GROUPS.values() for variant in group}
"""Every variant by its key."""


def models(n_items: int, setting: Setting) -> dict[str, ModelConfig]:
    """The configuration of every trained variant, by key.

    Most variants differ from NextItNet or from CpRec in one respect. A "narrower NextItNet" is the
    simple rival: the widest uncompressed model that is no larger than CpRec. Variants that a
    setting does not allow are omitted: a second name for NextItNet's own width, a head without
    items, and a size below that of width 1.
    """
    built = {key: v.build(n_items, setting) for key, v in VARIANTS.items() if v.build}
    return {key: config for key, config in built.items() if config}


def choose(groups: Sequence[str], keys: Sequence[str] = ()) -> list[str]:
    """Keys of the variants to run, each once: `keys`, or all of some groups, or all.

    Raises ValueError, which lists the choices, for an unknown group or key.
    """
    for group in groups:
        if group not in GROUPS:
            raise ValueError(f"unknown group {group!r}; choose from {', '.join(GROUPS)} and time")
    for key in keys:
        if key not in VARIANTS:
            raise ValueError(f"unknown model {key!r}; choose from {', '.join(VARIANTS)}")
    of_groups = (variant.key for group in groups or GROUPS for variant in GROUPS[group])
    return list(dict.fromkeys(keys or of_groups))


def label(key: str) -> str:
    """The label of a variant, by its key. Raises KeyError for an unknown key."""
    return VARIANTS[key].label


def labelled(by_key: Mapping[str, T]) -> dict[str, T]:
    """A mapping by variants' keys as one by their labels, for tables and figures."""
    return {label(key): value for key, value in by_key.items()}
