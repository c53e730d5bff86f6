"""Models of every kind, exported, for the tests of this package."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from cprec_lib import ModelConfig, SequentialRecommender, cprec, gru4rec, nextitnet, sasrec
from cprec_lib.compress.codes import Codes
from cprec_lib.compress.compressor import Compressor, compress_with, compressed_config
from cprec_lib.compress.hashing import Hashing
from cprec_lib.compress.pruning import Pruning
from cprec_lib.compress.quantisation import Rounding
from cprec_lib.compress.tying import Tying
from cprec_lib.export.folder import export_model
from cprec_lib.model.sharing import SHARING

N_ITEMS, WIDTH = 60, 8
BLOCKS: dict[str, Any] = {"cutoffs": (6, 20), "factor": 2}
SMALL: dict[str, Any] = {"width": WIDTH, "dilations": (1, 2)}
CONFIGS: dict[str, ModelConfig] = {
    "nextitnet": nextitnet(N_ITEMS, **SMALL),
    **{scheme: cprec(N_ITEMS, sharing=scheme, **SMALL, **BLOCKS) for scheme in SHARING},
    "flat": cprec(N_ITEMS, tree=False, **SMALL, **BLOCKS),
    "gru4rec": gru4rec(N_ITEMS, WIDTH, layers=2),
    "sasrec": sasrec(N_ITEMS, WIDTH, heads=2, max_positions=10),
    "gru4rec in blocks": gru4rec(N_ITEMS, WIDTH, block_input=True, block_softmax=True, **BLOCKS),
}
COMPRESSED: dict[str, tuple[str, tuple[Compressor, ...]]] = {
    "nextitnet int8": ("nextitnet", (Rounding(8),)),
    "nextitnet int4": ("nextitnet", (Rounding(4, group=4),)),
    "cross-block int8": ("cross-block", (Rounding(8),)),
    "cross-block int4": ("cross-block", (Rounding(4),)),
    "flat int4": ("flat", (Rounding(4),)),
    "gru4rec int8": ("gru4rec", (Rounding(8),)),
    "sasrec int4": ("sasrec", (Rounding(4, group=2),)),
    "tied": ("nextitnet", (Tying(),)),
    "tied int8": ("nextitnet", (Tying(), Rounding(8))),
    "tied gru4rec": ("gru4rec in blocks", (Tying(),)),
    "tied blocks int4": ("cross-block", (Tying(), Rounding(4))),
    "codes": ("nextitnet", (Codes(4),)),
    "tied codes": ("gru4rec", (Tying(), Codes(2))),
    "tied codes int8": ("nextitnet", (Tying(), Codes(2), Rounding(8))),
    "tied codes int4": ("nextitnet", (Tying(), Codes(2), Rounding(4, group=2))),
    "hashing": ("sasrec", (Hashing(7),)),
    "tied hashing": ("nextitnet", (Tying(), Hashing(4))),
    "tied hashing int8": ("nextitnet", (Tying(), Hashing(8), Rounding(8))),
    "tied hashing int4": ("gru4rec", (Tying(), Hashing(4), Rounding(4, group=4))),
    "pruned": ("nextitnet", (Pruning(0.2),)),
    "pruned sasrec": ("sasrec", (Pruning(0.4),)),
    "pruned blocks": ("cross-block", (Pruning(0.4),)),
    "tied and pruned": ("gru4rec in blocks", (Tying(), Pruning(0.3))),
}
"""Models that a compressor changed, and the name in `CONFIGS` of the one before."""
CONFIGS |= {name: compressed_config(CONFIGS[base], *c) for name, (base, c) in COMPRESSED.items()}
STREAMING = [name for name, config in CONFIGS.items() if config.middle != "attention"]
ORIGINALS = [str(1000 + item) for item in range(N_ITEMS)]
TITLES = [f"Item number {item}" for item in range(N_ITEMS)]


def build(config: ModelConfig, seed: int = 0) -> SequentialRecommender:
    """A model with new weights, wide apart so that items do not tie; rounded afterwards."""
    if config.compressors and not config.compressors[-1].trains:
        *before, rounding = config.compressors
        return compress_with(build(replace(config, compressors=tuple(before)), seed), rounding)
    model = SequentialRecommender(config, seed).eval()
    with torch.no_grad():
        for parameter in filter(torch.is_floating_point, model.parameters()):
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=_generator(seed)))
    return model


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def export(name: str, folder: Path, seed: int = 0) -> SequentialRecommender:
    """Export the model of that name into `folder`, and return it."""
    model = build(CONFIGS[name], seed)
    export_model(model, folder, ORIGINALS, TITLES, name)
    return model
