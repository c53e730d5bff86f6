"""Models of every kind, exported, for the tests of this package."""

from pathlib import Path
from typing import Any

import torch

from cprec_lib import ModelConfig, SequentialRecommender, cprec, gru4rec, nextitnet, sasrec
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
STREAMING = [name for name, config in CONFIGS.items() if config.middle != "attention"]
ORIGINALS = [str(1000 + item) for item in range(N_ITEMS)]
TITLES = [f"Item number {item}" for item in range(N_ITEMS)]


def build(config: ModelConfig, seed: int = 0) -> SequentialRecommender:
    """A model with new weights, wide apart so that items do not tie."""
    model = SequentialRecommender(config, seed).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=_generator(seed)))
    return model


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def export(name: str, folder: Path, seed: int = 0) -> SequentialRecommender:
    """Export the model of that name into `folder`, and return it."""
    model = build(CONFIGS[name], seed)
    export_model(model, folder, ORIGINALS, TITLES, name)
    return model
