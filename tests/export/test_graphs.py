"""ONNX graphs of every kind of middle layers: their results, their inputs, their size."""

import io
import warnings

import numpy as np
import onnx
import pytest
import torch
from onnxruntime import InferenceSession
from torch.export import Dim

from cprec_lib import GRU, DilatedCNN, SelfAttention
from cprec_lib.export.graphs import (
    lags,
    last_hidden_graph,
    next_position_graph,
    window,
)
from cprec_lib.model.sharing import SHARING, distinct_convolutions
from tests.serve.exported import CONFIGS, build

WIDTH = 8
MIDDLES = {
    **{scheme: DilatedCNN(WIDTH, (1, 2, 1), 3, scheme) for scheme in SHARING},
    "one tap": DilatedCNN(WIDTH, (1,), 1),
    "no blocks": DilatedCNN(WIDTH, ()),
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
