"""Tied models against untied ones with equal weights, and what they cost."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from cprec_lib import SequentialRecommender, TailBounds, count_parameters, nextitnet
from cprec_lib.compress.compressor import compress_with, compressed_config
from cprec_lib.compress.quantisation import Rounding
from cprec_lib.compress.tying import Tying, WithOutputLayer
from tests.compress.small import CONFIGS, contexts, saved_and_loaded

TIED = {name: CONFIGS[name] for name in ("full", "blocks", "attention")}
each_config = pytest.mark.parametrize("config", TIED.values(), ids=TIED)


def pair(config) -> tuple[SequentialRecommender, SequentialRecommender]:
    """A tied model, and an untied one with equal weights and the linear layer, in float64."""
    tied = SequentialRecommender(compressed_config(config, Tying()), 3).double()
    untied = SequentialRecommender(config, 4).double()
    untied.middle = WithOutputLayer(untied.middle, config.width).double()
    tensors = dict(tied.named_parameters())
    with torch.no_grad():
        for name, parameter in untied.named_parameters():
            parameter.copy_(tensors[name] if name in tensors else _tied_tensor(tied, name))
    return tied, untied


def _tied_tensor(tied: SequentialRecommender, name: str) -> torch.Tensor:
    return tied.get_submodule(name.removesuffix(".weight")).weight


def _table_names(name: str) -> tuple[str, ...]:
    """Where an untied model has the tables that the tied one shares under this name."""
    if name == "embedding.weight":
        return name, "softmax.output.weight"
    if name.startswith("embedding.tables.") and not name.startswith("embedding.tables.0"):
        tail = int(name.split(".")[2]) - 1
        return name, f"softmax.tail_tables.{tail}.weight"
    return (name,)


@each_config
def test_loss_and_gradients_are_those_of_equal_untied_weights(config):
    tied, untied = pair(config)
    windows = contexts(6, 9)
    losses = [model.loss(windows) for model in (tied, untied)]
    torch.testing.assert_close(*losses)
    for loss in losses:
        loss.backward()
    found = {name: p.grad for name, p in tied.named_parameters()}
    theirs = {name: p.grad for name, p in untied.named_parameters()}
    if "softmax.root.weight" in theirs:
        size = config.partition.sizes[0]
        head, tokens = theirs.pop("softmax.root.weight").split([size, len(config.cutoffs)])
        theirs["embedding.tables.0.weight"] += head
        theirs["softmax.root.tokens.weight"] = tokens
    for name, gradient in found.items():
        # A shared table receives the gradients of both of its uses.
        expected = sum(theirs[used] for used in _table_names(name))
        torch.testing.assert_close(gradient, expected)


@each_config
def test_scores_and_search_are_those_of_equal_untied_weights(config):
    tied, untied = (model.eval() for model in pair(config))
    torch.testing.assert_close(tied.scores(contexts()), untied.scores(contexts()))
    assert torch.equal(tied.recommend([[1, 2]], 9)[1], untied.recommend([[1, 2]], 9)[1])
    if config.block_softmax:
        found = tied.recommend([[1, 2]], 9, bound=TailBounds(tied.softmax))
        assert torch.equal(found[1], untied.recommend([[1, 2]], 9)[1])


@each_config
@pytest.mark.parametrize("rounding", [None, Rounding(8), Rounding(4, 4)], ids=str)
def test_bytes_are_the_closed_form_and_a_saved_model_comes_back(config, rounding, tmp_path: Path):
    model, loaded = saved_and_loaded(compressed_config(config, Tying()), rounding, tmp_path)
    # Still shared: training would change both uses.
    names = [[name for name, _ in m.named_parameters()] for m in (model, loaded)]
    assert names[0] == names[1]
    ledger = count_parameters(model.config)
    assert ledger.multiply_adds == count_parameters(config).multiply_adds + config.width**2


def test_tying_nearly_halves_a_model_of_many_items():
    config = nextitnet(100_000, 64)
    tied = compressed_config(config, Tying())
    assert count_parameters(config).bytes / count_parameters(tied).bytes == pytest.approx(2, 0.02)


def test_input_vectors_start_as_those_of_the_untied_model():
    config = CONFIGS["blocks"]
    tied = SequentialRecommender(compressed_config(config, Tying()), 5)
    untied = SequentialRecommender(config, 5)
    torch.testing.assert_close(tied.embedding(contexts()), untied.embedding(contexts()))
    logits = tied.softmax.tail_logits(0, torch.randn(200, 16))
    assert logits.std() < 2


def test_padding_stays_zero_behind_the_output_layer():
    tied = SequentialRecommender(compressed_config(CONFIGS["full"], Tying()), 5)
    ids = contexts()
    assert not tied(ids)[ids == 0].any()
    assert isinstance(tied.middle.output, nn.Linear)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"block_softmax": False}, "cut both into blocks, or neither"),
        ({"block_input": False}, "cut both into blocks, or neither"),
        ({"tree": False}, "or between blocks with a tree"),
    ],
)
def test_models_whose_sides_differ_are_refused(options, message):
    config = replace(CONFIGS["blocks"], **options)
    with pytest.raises(ValueError, match=message):
        SequentialRecommender(compressed_config(config, Tying()))


def test_a_rounded_model_is_not_tied():
    rounded = compress_with(SequentialRecommender(CONFIGS["full"]), Rounding(8))
    with pytest.raises(ValueError, match="a model after rounding cannot be compressed further"):
        compressed_config(rounded.config, Tying())
