"""int8 against onnxruntime's dynamic quantisation of the same weights."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from cprec_lib import (
    Rounding,
    SequenceData,
    SequentialRecommender,
    TrainConfig,
    fit,
    load_interactions,
    nextitnet,
)
from cprec_lib.compress.quantisation import RoundedLinear


@pytest.fixture(scope="module")
def trained() -> tuple[SequentialRecommender, torch.Tensor]:
    """A trained model, and the hidden vectors of its test users."""
    log = load_interactions("synthetic:items=600,users=400,groups=12,zipf=0.9")
    data = SequenceData.from_interactions(log, max_len=20)
    model = SequentialRecommender(nextitnet(data.n_items, 32, dilations=(1, 2)))
    fit(model, data, TrainConfig(epochs=4, learning_rate=0.02), progress=False)
    with torch.no_grad():
        return model.eval(), model.last_hidden(data.test.contexts)


def quantised(layer: torch.nn.Linear, folder: Path) -> Path:
    """A linear layer as an ONNX model, quantised with a symmetric scale a row."""
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    shapes = [("h", weight.shape[1]), ("s", weight.shape[0])]
    inputs, outputs = (
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, size])]
        for name, size in shapes
    )
    nodes = [
        helper.make_node("MatMul", ["h", "w"], ["p"]),
        helper.make_node("Add", ["p", "b"], ["s"]),
    ]
    tensors = [
        numpy_helper.from_array(weight.T.copy(), "w"),
        numpy_helper.from_array(bias, "b"),
    ]
    graph = helper.make_graph(nodes, "scores", inputs, outputs, tensors)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset), folder / "float.onnx")
    quantize_dynamic(
        folder / "float.onnx",
        folder / "int8.onnx",
        weight_type=QuantType.QInt8,
        per_channel=True,
        extra_options={"WeightSymmetric": True},
    )
    return folder / "int8.onnx"


def test_int8_ranks_as_onnxruntime_does(trained, tmp_path: Path) -> None:
    """99 % of the items on the lists are the same, and all codes but for one step.

    onnxruntime rounds the hidden vectors as well, and its scales are float32.
    """
    model, hidden = trained
    path = quantised(model.softmax.output, tmp_path)
    theirs = onnxruntime.InferenceSession(path).run(None, {"h": hidden.numpy()})[0]
    rounded = RoundedLinear(model.softmax.output, Rounding(8))
    with torch.no_grad():
        ours = rounded(hidden).numpy()
    lists = [np.argsort(-scores, axis=1)[:, :10] for scores in (ours, theirs)]
    common = [len({*a} & {*b}) for a, b in zip(*lists, strict=True)]
    assert np.mean(common) / 10 > 0.99
    assert np.mean(np.array(common) == 10) > 0.9
    stored = {each.name: numpy_helper.to_array(each) for each in onnx.load(path).graph.initializer}
    steps = rounded.codes.numpy().T.astype(int) - stored["w_quantized"]
    assert np.abs(steps).max() <= 1 and np.mean(steps != 0) < 0.1
