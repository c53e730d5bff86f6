"""A builder of ONNX graphs in which each weight is stored once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET, IR_VERSION = 18, 10
"""Versions of the operators and of the file: all that is needed, so that old runtimes read it."""
Shape = Sequence[str | int]


class Graph:
    """Nodes in their order, and the constants that they use."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[bytes, onnx.TensorProto] = {}

    def constant(self, values: Any) -> str:
        """The name of a constant; equal ones are stored once."""
        array = np.asarray(values, order="C")  # ascontiguousarray has no scalars
        key = b"%s %r " % (array.dtype.str.encode(), array.shape) + array.tobytes()
        if key not in self._constants:
            name = f"constant_{len(self._constants)}"
            self._constants[key] = numpy_helper.from_array(array, name)
        return str(self._constants[key].name)

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output, and return the output's name."""
        return self.add_several(operator, 1, *inputs, **attributes)[0]

    def add_several(
        self, operator: str, outputs: int, *inputs: str, **attributes: Any
    ) -> list[str]:
        """Add a node and return the names of its outputs."""
        names = [f"{operator.lower()}_{len(self._nodes)}_{output}" for output in range(outputs)]
        self._nodes.append(helper.make_node(operator, inputs, names, **attributes))
        return names

    def rename(self, name: str, output: str) -> None:
        """Give a value the name of an output of the graph."""
        self._nodes.append(helper.make_node("Identity", [name], [output]))

    def to_bytes(
        self, inputs: Mapping[str, tuple[type[np.generic], Shape]], outputs: Mapping[str, Shape]
    ) -> bytes:
        """The graph as an ONNX file: inputs with type and shape, outputs (float32) with shape."""
        taken = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(t)), shape)
            for name, (t, shape) in inputs.items()
        ]
        given = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in outputs.items()
        ]
        constants = list(self._constants.values())
        graph = helper.make_graph(self._nodes, "middle", taken, given, constants)
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION)
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())
