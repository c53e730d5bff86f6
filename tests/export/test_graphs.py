"""ONNX graphs of every kind of middle layers: their results, their inputs, their size."""

import io
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnxruntime import InferenceSession, SessionOptions
from torch.export import Dim

from cprec_lib import GRU, DilatedCNN, SelfAttention, SequentialRecommender, nextitnet
from cprec_lib.compress.compressor import compress_with
from cprec_lib.compress.pruning import Pruning
from cprec_lib.export.graphs import (
    lags,
    last_hidden_graph,
    next_position_graph,
    window,
)
from cprec_lib.model.sharing import SHARING, distinct_convolutions
from tests.serve.exported import CONFIGS, build

WIDTH = 8
SMALL = SequentialRecommender(nextitnet(9, WIDTH, dilations=(1, 2)))
MIDDLES = {
    **{scheme: DilatedCNN(WIDTH, (1, 2, 1), 3, scheme) for scheme in SHARING},
    "one tap": DilatedCNN(WIDTH, (1,), 1),
    "no blocks": DilatedCNN(WIDTH, ()),
    "pruned": compress_with(SMALL, Pruning(0.3)).middle,
    "gru": GRU(WIDTH, 2),
    "attention": SelfAttention(WIDTH, heads=2, max_positions=9),
}


@pytest.mark.parametrize("name", MIDDLES)
def test_a_graph_takes_any_number_of_histories_of_any_length(name):
    middle = MIDDLES[name].eval()
    session = InferenceSession(last_hidden_graph(middle, WIDTH))
    draw = np.random.default_rng(0)
    for batch, length in ((1, 1), (3, 9), (5, 4)):
        vectors = draw.normal(size=(batch, length, WIDTH)).astype(np.float32)
        real = np.arange(length) >= draw.integers(0, length, (batch, 1))
        (found,) = session.run(None, {"vectors": vectors, "real": real})
        with torch.no_grad():
            expected = middle(torch.from_numpy(vectors), torch.from_numpy(real))[:, -1]
        np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("scheme", SHARING)
def test_a_shared_convolution_is_stored_once(scheme):
    width, blocks = 64, 4
    middle = DilatedCNN(width, (1, 2, 1, 2), 3, scheme)
    weights = 4 * distinct_convolutions(scheme, blocks) * 3 * width**2
    for graph in (last_hidden_graph(middle, width), next_position_graph(middle, width)):
        assert weights < len(graph) < weights + 20_000


def test_pruned_weights_stay_packed_and_become_matrices_once(tmp_path: Path):
    model = SequentialRecommender(nextitnet(50, 64, dilations=(1, 2)))
    middle = compress_with(model, Pruning(0.1)).middle
    convolutions = 4 * 3 * 64**2
    bytes_kept = convolutions * 0.1 * (2 + 1)  # a value and its column
    for graph in (last_hidden_graph(middle, 64), next_position_graph(middle, 64)):
        assert bytes_kept < len(graph) < bytes_kept + 25_000 < convolutions
        options = SessionOptions()
        options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
        InferenceSession(graph, options)
        nodes = onnx.load(options.optimized_model_filepath).graph.node
        assert not {"ScatterElements", "CumSum", "Expand"} & {node.op_type for node in nodes}


def test_the_graph_needs_no_operators_of_its_own():
    model = onnx.load(io.BytesIO(last_hidden_graph(MIDDLES["none"], WIDTH)))
    onnx.checker.check_model(model)
    assert {each.domain for each in model.opset_import} <= {"", "ai.onnx"}


@pytest.mark.parametrize("name", ["one tap", "no blocks", "attention"])
def test_some_middle_layers_have_no_next_position(name):
    assert lags(MIDDLES[name]) is None
    with pytest.raises(TypeError, match="cannot go on"):
        next_position_graph(MIDDLES[name], WIDTH)


def test_the_window_is_what_a_prediction_depends_on():
    assert window(MIDDLES["gru"]) is None
    assert window(MIDDLES["attention"]) == 9
    assert window(MIDDLES["none"]) == 1 + 2 * 3 * 4
    assert window(MIDDLES["no blocks"]) == 1


@pytest.mark.parametrize("name", ["nextitnet", "cross-block", "flat", "gru4rec", "sasrec"])
def test_torch_can_trace_the_whole_model(name):
    """The ids are checked where a user calls the model, not in its graph."""
    model = build(CONFIGS[name])
    ids = torch.ones(2, 5, dtype=torch.long)
    with warnings.catch_warnings(action="ignore"):
        program = torch.export.export(model, (ids,), dynamic_shapes=({0: Dim.DYNAMIC},))
    ids = torch.randint(0, 61, (3, 5))
    with torch.no_grad():
        torch.testing.assert_close(program.module()(ids), model(ids), atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match=r"is outside 0\.\.60"):
        model(ids + 61)
