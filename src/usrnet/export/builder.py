"""ONNX graphs written as formulas: a :class:`Term` is a tensor of the graph, its operators add nodes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

INT, FLOAT, DOUBLE = TensorProto.INT64, TensorProto.FLOAT, TensorProto.DOUBLE


class Builder:
    """The nodes and constants of a graph that is being written."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}

    def op(self, kind: str, *inputs: "Term", **attributes: Any) -> "Term":
        """A node with one output."""
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, [term.name for term in inputs], [name], name, **attributes))
        return Term(self, name)

    def constant(self, value: np.ndarray, name: str | None = None) -> "Term":
        """A tensor that is stored in the file, once however often it is asked for."""
        name = name or f"constant_{value.dtype}_{'x'.join(map(str, value.shape))}_{'_'.join(map(str, value.flat))}"
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.asarray(value, order="C"), name)
        return Term(self, name)

    def whole(self, *values: int) -> "Term":
        """Whole numbers in one dimension."""
        return self.constant(np.array(values, np.int64))

    def number(self, value: float, kind: int = FLOAT) -> "Term":
        """A single number of the type ``kind``."""
        return self.constant(np.array(value, helper.tensor_dtype_to_np_dtype(kind)))

    def integers(self, stop: "Term") -> "Term":
        """0, 1, …, stop − 1."""
        return self.op("Range", self.number(0, INT), stop, self.number(1, INT))

    def join(self, *terms: "Term", axis: int = 0) -> "Term":
        """Concatenated along an axis."""
        return self.op("Concat", *terms, axis=axis)

    def where(self, condition: "Term", yes: "Term", no: "Term") -> "Term":
        """``yes`` where the condition holds, else ``no``."""
        return self.op("Where", condition, yes, no)

    def model(
        self, inputs: Sequence[Any], outputs: dict[str, "Term"], shapes: Sequence[Any], opset: int
    ) -> ModelProto:
        """The finished model; ``shapes`` are the descriptions of the outputs."""
        for name, term in outputs.items():
            self.nodes.append(helper.make_node("Identity", [term.name], [name], name))
        graph = helper.make_graph(self.nodes, "usrnet", inputs, shapes, list(self.constants.values()))
        imports = [helper.make_opsetid("", opset)]
        return helper.make_model(
            graph, opset_imports=imports, ir_version=helper.find_min_ir_version_for(imports), producer_name="usrnet"
        )


@dataclass(frozen=True)
class Term:
    """A tensor of the graph."""

    builder: Builder
    name: str

    def op(self, kind: str, *others: "Term", **attributes: Any) -> "Term":
        return self.builder.op(kind, self, *others, **attributes)

    def __add__(self, other: "Term") -> "Term":
        return self.op("Add", other)

    def __sub__(self, other: "Term") -> "Term":
        return self.op("Sub", other)

    def __mul__(self, other: "Term") -> "Term":
        return self.op("Mul", other)

    def __truediv__(self, other: "Term") -> "Term":
        """Of whole numbers the quotient is cut toward zero."""
        return self.op("Div", other)

    def __matmul__(self, other: "Term") -> "Term":
        return self.op("MatMul", other)

    def __neg__(self) -> "Term":
        return self.op("Neg")

    def cast(self, kind: int) -> "Term":
        return self.op("Cast", to=kind)

    def reshape(self, shape: "Term") -> "Term":
        return self.op("Reshape", shape)

    def unsqueeze(self, *axes: int) -> "Term":
        return self.op("Unsqueeze", self.builder.whole(*axes))

    def sum(self, axis: int) -> "Term":
        return self.op("ReduceSum", self.builder.whole(axis), keepdims=0)

    def transpose(self, *axes: int) -> "Term":
        return self.op("Transpose", perm=axes)

    def size(self, axis: int) -> "Term":
        """The length of an axis, a single whole number."""
        return self.op("Shape").op("Gather", self.builder.number(axis, INT), axis=0)

    def part(self, start: int, stop: "Term", axis: int) -> "Term":
        """From ``start`` to ``stop`` along an axis."""
        whole = self.builder.whole
        return self.op("Slice", whole(start), stop.reshape(whole(1)), whole(axis))
