"""Variants: the models that a setting compares, in groups, one a figure or table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from cprec_lib.evidence.settings import Setting
from cprec_lib.model.cost import count_parameters
from cprec_lib.model.recommender import ModelConfig, cprec, gru4rec, nextitnet, sasrec
from cprec_lib.model.sharing import SHARING
from cprec_lib.train.baselines import Bigram, Popularity

BASELINE, COMPRESSED, NARROW = "NextItNet", "CpRec", "narrower NextItNet"
COUNTING = {"popularity": Popularity, "bigram": Bigram}
WIDER_TAIL = "CpRec, factor 2"
# Models whose size is given: at most this share of NextItNet's parameters.
SHARES = {"a quarter": 1 / 4, "an eighth": 1 / 8}
SHORTER_HEAD = ("CpRec, cut 5 / 20 %", "CpRec, cut 2 / 10 %")
SHORT_AND_SHARED = "CpRec, cut 5 / 20 %, cross-block"
SMALLER = tuple(f"{family}, {share}" for share in SHARES for family in (COMPRESSED, BASELINE))
# Other fillings, and the same in CpRec's bread.
IN_BREAD = {name: f"{name}, compressed bread" for name in ("GRU4Rec", "SASRec")}

GROUPS: dict[str, tuple[str, ...]] = {
    "overall": (
        BASELINE,
        COMPRESSED,
        "CpRec, cross-block",
        "CpRec, adjacent-layer",
        *IN_BREAD,
        *COUNTING,
    ),
    "decomposition": (
        BASELINE,
        "input only",
        "softmax only",
        "flat low-rank softmax",
        "input and softmax",
    ),
    "sharing": (BASELINE, *(f"sharing {scheme}" for scheme in SHARING if scheme != "none")),
    "rival": (BASELINE, COMPRESSED, WIDER_TAIL, NARROW, "narrower NextItNet, factor 2"),
    "sizes": (BASELINE, *SMALLER, *SHORTER_HEAD, SHORT_AND_SHARED),
    "blocks": (COMPRESSED, "CpRec, 2 blocks", "CpRec, 4 blocks", *SHORTER_HEAD),
    "generic": tuple(name for pair in IN_BREAD.items() for name in pair),
    "width": (BASELINE, *(f"NextItNet, width {width}" for width in (16, 32, 64, 128, 256, 512))),
    "depth": (BASELINE, *(f"NextItNet, {depth} blocks" for depth in (0, 2, 8, 16))),
}
"""What each figure or table compares, by name; the model names are those of `models`."""


def models(n_items: int, setting: Setting) -> dict[str, ModelConfig]:
    """Every trained model by name; most differ from NextItNet or from CpRec in one respect.

    A "narrower NextItNet" is the plain rival: the widest uncompressed model that is no larger than
    CpRec. Those called "a quarter" or "an eighth" are as wide as that share of NextItNet's
    parameters lets them be; CpRec then has factor 2, which keeps more of the tail. The other
    fillings have two layers, which at the same width have about half the parameters of NextItNet's
    four blocks. Left out is what a setting cannot have: a second name for NextItNet's own width,
    and a size below that of width 1.
    """
    layers: dict[str, Any] = {
        "dropout": setting.dropout,
        "input_dropout": setting.input_dropout,
        "dilations": setting.dilations,
        "initial_weights": setting.initial_weights,
    }
    full = nextitnet(n_items, setting.width, **layers)
    whole = cprec(n_items, setting.width, setting.cutoffs, **layers)
    wider_tail = replace(whole, factor=2)
    parts = replace(full, cutoffs=whole.cutoffs)
    first, second = setting.cutoffs
    cuts = {
        "CpRec, 2 blocks": (first,),
        "CpRec, 4 blocks": (first / 2, first, second),
        "CpRec, cut 5 / 20 %": (0.05, 0.2),
        "CpRec, cut 2 / 10 %": (0.02, 0.1),
    }
    found: dict[str, ModelConfig | None] = {
        BASELINE: full,
        COMPRESSED: whole,
        WIDER_TAIL: wider_tail,
        "CpRec, cross-block": replace(whole, sharing="cross-block"),
        "CpRec, adjacent-layer": replace(whole, sharing="adjacent-layer"),
        NARROW: _no_larger(full, count_parameters(whole).total),
        "narrower NextItNet, factor 2": _no_larger(full, count_parameters(wider_tail).total),
        "input only": replace(parts, block_input=True),
        "softmax only": replace(parts, block_softmax=True),
        "flat low-rank softmax": replace(parts, block_softmax=True, tree=False),
        "input and softmax": replace(parts, block_input=True, block_softmax=True),
    }
    found |= {f"sharing {s}": replace(full, sharing=s) for s in SHARING if s != "none"}
    for name, cut in cuts.items():
        fits = cut[0] * n_items >= 1  # else its head would be empty
        found[name] = cprec(n_items, setting.width, cut, **layers) if fits else None
    short = found[SHORTER_HEAD[0]]
    found[SHORT_AND_SHARED] = short and replace(short, sharing="cross-block")
    for name, share in SHARES.items():
        limit = int(share * count_parameters(full).total)
        found[f"{COMPRESSED}, {name}"] = _no_larger(wider_tail, limit)
        found[f"{BASELINE}, {name}"] = _no_larger(full, limit)
    found |= _other_fillings(n_items, setting, whole.cutoffs)
    for name in GROUPS["width"][1:]:
        width = int(name.split()[-1])
        found[name] = replace(full, width=width) if width != full.width else None
    for name in GROUPS["depth"][1:]:
        found[name] = replace(full, dilations=((1, 4) * 8)[: int(name.split()[1])])
    return {name: config for name, config in found.items() if config}


def _other_fillings(
    n_items: int, setting: Setting, cutoffs: tuple[int, ...]
) -> dict[str, ModelConfig]:
    """GRU4Rec and SASRec, whole and in CpRec's bread."""
    common: dict[str, Any] = {
        "initial_weights": setting.initial_weights,
        "layers": 2,
        "dropout": setting.dropout,
        "input_dropout": setting.input_dropout,
    }
    fillings = {
        "GRU4Rec": gru4rec(n_items, setting.width, **common),
        "SASRec": sasrec(n_items, setting.width, max_positions=setting.max_len, **common),
    }
    bread: dict[str, Any] = {"cutoffs": cutoffs, "block_input": True, "block_softmax": True}
    return fillings | {IN_BREAD[name]: replace(fillings[name], **bread) for name in fillings}


def _no_larger(config: ModelConfig, parameters: int) -> ModelConfig | None:
    """The widest version of `config` with at most so many parameters, if there is one."""
    narrower = (replace(config, width=width) for width in range(config.width, 0, -1))
    return next((c for c in narrower if count_parameters(c).total <= parameters), None)


def choose(groups: Sequence[str], names: Sequence[str] = ()) -> list[str]:
    """Names of the models to run, without repetition: `names`, or all of some groups, or all.

    Raises ValueError, which lists the choices, for an unknown group or name.
    """
    for group in groups:
        if group not in GROUPS:
            raise ValueError(f"unknown group {group!r}; choose from {', '.join(GROUPS)} and time")
    known = [name for group in GROUPS.values() for name in group]
    for name in names:
        if name not in known:
            raise ValueError(
                f"unknown model {name!r}; choose from {'; '.join(dict.fromkeys(known))}"
            )
    chosen = names or [name for group in groups or GROUPS for name in GROUPS[group]]
    return list(dict.fromkeys(chosen))
