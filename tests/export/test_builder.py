"""Small graphs, run."""

import numpy as np
import onnx
import pytest
from onnxruntime import InferenceSession

from cprec_lib.export.builder import Graph


def run(graph: Graph, x: np.ndarray) -> np.ndarray:
    content = graph.to_bytes({"x": (np.float32, ["B", 2])}, {"y": (np.float32, ["B", 2])})
    (y,) = InferenceSession(content).run(None, {"x": x})
    return y


def test_a_graph_computes_what_its_nodes_say():
    graph = Graph()
    first, second = graph.add_several("Split", 2, "x", axis=1, num_outputs=2)
    swapped = graph.add("Concat", second, first, axis=1)
    graph.rename(graph.add("Mul", swapped, graph.constant(np.float32(2))), "y")
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.testing.assert_array_equal(run(graph, x), 2 * x[:, ::-1])


def test_equal_constants_are_stored_once():
    graph = Graph()
    one = np.ones((1, 2), np.float32)
    assert (
        graph.constant(one) == graph.constant(one.copy()) == graph.constant(np.ones((2, 1), "f4").T)
    )
    others = [one.reshape(2), one.astype(np.float64), 2 * one, np.float32(1)]
    assert len({graph.constant(one), *map(graph.constant, others)}) == 5


def test_a_graph_without_its_output_is_refused():
    with pytest.raises(onnx.checker.ValidationError):
        run(Graph(), np.ones((1, 2), np.float32))
