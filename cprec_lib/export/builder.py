"""A builder of ONNX graphs in which each weight is stored once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

OPSET, IR_VERSION = 18, 10
"""Versions of the operators and of the file: all that is needed, so that old runtimes read it."""
Shape = Sequence[str | int]
Values = Mapping[str, tuple[type[np.generic], Shape]]


class Graph:
    """Nodes in their order, and the constants that they use."""

    def __init__(self) -> None:
        self._nodes: list[tuple[str, Sequence[str], Sequence[str], Mapping[str, Any]]] = []
        self._constants: dict[bytes, tuple[str, np.ndarray]] = {}

    def constant(self, values: Any) -> str:
        """The name of a constant; equal ones are stored once."""
        array = np.asarray(values, order="C")  # ascontiguousarray has no scalars
        key = b"%s %r " % (array.dtype.str.encode(), array.shape) + array.tobytes()
        if key not in self._constants:
            self._constants[key] = (f"constant_{len(self._constants)}", array)
        return self._constants[key][0]

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output, and return the output's name."""
        return self.add_several(operator, 1, *inputs, **attributes)[0]

    def add_several(
        self, operator: str, outputs: int, *inputs: str, **attributes: Any
    ) -> list[str]:
        """Add a node and return the names of its outputs."""
        names = [f"{operator.lower()}_{len(self._nodes)}_{output}" for output in range(outputs)]
        self._nodes.append((operator, inputs, names, attributes))
        return names

    def rename(self, name: str, output: str) -> None:
        """Give a value the name of an output of the graph."""
        self._nodes.append(("Identity", [name], [output], {}))

    def to_bytes(self, inputs: Values, outputs: Values) -> bytes:
        """The graph as an ONNX file, for inputs and outputs with their types and shapes."""
        import onnx
        from onnx import helper, numpy_helper

        def describe(name: str, kind: type[np.generic], shape: Shape) -> onnx.ValueInfoProto:
            number = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
            return helper.make_tensor_value_info(name, number, shape)

        graph = helper.make_graph(
            [helper.make_node(op, i, o, **options) for op, i, o, options in self._nodes],
            "middle",
            [describe(name, kind, shape) for name, (kind, shape) in inputs.items()],
            [describe(name, kind, shape) for name, (kind, shape) in outputs.items()],
            [numpy_helper.from_array(array, name) for name, array in self._constants.values()],
        )
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION)
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())
