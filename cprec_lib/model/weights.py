"""Draw the weights of a model, read them from files, and check that they fit."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from cprec_lib.model.config import ModelConfig, config_from_json
from cprec_lib.model.embedding import BlockEmbedding, FullEmbedding
from cprec_lib.model.middle import CausalConvolution
from cprec_lib.model.softmax import BlockSoftmax, FullSoftmax, LowRankSoftmax


@torch.no_grad()
def draw_as_the_authors(model: nn.Module) -> None:
    """Redraw the weights from the distributions of the CpRec authors' code.

    Block tables and projections, in the embedding and in the softmax: Glorot's uniform. The full
    embedding: U(-sqrt(1/N), sqrt(1/N)). The full softmax: N(0, 0.01^2), its bias 0.1. Convolutions:
    N(0, 0.02^2), cut off at two standard deviations. Other weights stay as they are.
    """
    for module in model.modules():
        if isinstance(module, FullEmbedding):
            bound = module.n_items**-0.5
            nn.init.uniform_(module.weight, -bound, bound)
        elif isinstance(module, FullSoftmax):
            nn.init.normal_(module.output.weight, std=0.01)
            nn.init.constant_(module.output.bias, 0.1)
        elif isinstance(module, BlockEmbedding | BlockSoftmax | LowRankSoftmax):
            for weight in module.parameters():
                nn.init.xavier_uniform_(weight)
        elif isinstance(module, CausalConvolution):
            nn.init.trunc_normal_(module.weight, std=0.02, a=-0.04, b=0.04)


def read_config(path: Path) -> ModelConfig:
    """Read config.json. Raises FileNotFoundError, or ValueError for anything but a model."""
    _check_file(path)
    try:
        return config_from_json(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} does not describe a model of this library: {error}") from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read named tensors. Raises FileNotFoundError, or ValueError if the file is corrupt."""
    _check_file(path)
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(
            f"{path} is corrupt, cut short or no safetensors file ({error}); save the model again"
        ) from error


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing; a saved model is a folder with config.json and model.safetensors"
        )


def copy_tensors(tensors: dict[str, Tensor], model: nn.Module, source: Path) -> None:
    """Copy named tensors into the model's parameters, all of them or, on an error, none.

    Raises ValueError naming `source` unless names and shapes are exactly the model's.
    """
    parameters = dict(model.named_parameters())
    ours = {name: tuple(parameter.shape) for name, parameter in parameters.items()}
    theirs = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for name in sorted(ours.keys() ^ theirs.keys()) or [n for n in ours if ours[n] != theirs[n]]:
        fault = f"{name} has shape {theirs.get(name)}, the model's is {ours.get(name)}"
        if name not in theirs:
            fault = f"its weights lack {name}"
        elif name not in ours:
            fault = f"the model lacks {name}"
        raise ValueError(
            f"{source} belongs to another model: {fault}; load it with its own config.json"
        )
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[name])
