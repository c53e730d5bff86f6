"""What the tests of training share: a small model, its training, and what must repeat itself."""

import torch
from torch import Tensor

from cprec_lib import History, ModelConfig, SequentialRecommender, TrainConfig, cprec

CONFIG = cprec(25, 8, cutoffs=(5, 12), dilations=(1, 2), dropout=0.2)
SHORT = TrainConfig(epochs=4, batch_size=16, learning_rate=0.01, patience=9)


def new_model(config: ModelConfig = CONFIG, seed: int = 0) -> SequentialRecommender:
    return SequentialRecommender(config, seed)


def weights(model: SequentialRecommender) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def numbers(history: History) -> list[tuple]:
    """What must repeat itself of a history: everything but the seconds."""
    return [(epoch.epoch, epoch.loss, epoch.valid) for epoch in history.epochs]
