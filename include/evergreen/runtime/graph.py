"""An ONNX graph in double precision, written node by node."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, TensorProto, checker, helper, numpy_helper

from evergreen.runtime.encoding import ABOUT, INPUT, OUTPUT

_IR = 10  # of the format; what onnxruntime has read since 1.20
_TREES = "ai.onnx.ml"
_OPSETS = {"": 21, _TREES: 5}
_FIRST, _END = 1, np.iinfo(np.int64).max


class Graph:
    """Nodes that follow one another, from rows of numbers to answers.

    A node's output is named by the method that adds it, so that a graph is written as the formulas are.
    """

    def __init__(self, width: int) -> None:
        """Args: width: how many numbers a row has."""
        self._width = width
        self._nodes: list[NodeProto] = []
        self._constants: list[TensorProto] = []

    def constant(self, values: npt.ArrayLike, kind: npt.DTypeLike = np.float64) -> str:
        """The name of numbers that are the same for each row."""
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """The name of an operator's output."""
        return self._node(operator, inputs, "", attributes)

    def trees(self, operator: str, rows: str, **attributes: Any) -> str:
        """The same of an operator of ONNX's machine learning part."""
        return self._node(operator, (rows,), _TREES, attributes)

    def _node(self, operator: str, inputs: Sequence[str], domain: str, attributes: Mapping[str, Any]) -> str:
        name = f"n{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, [*inputs], [name], domain=domain, **attributes))
        return name

    def columns(self, start: int, end: int | None = None) -> str:
        """Some of the input's columns, side by side."""
        bounds = [[start], [_END if end is None else end], [_FIRST]]
        return self.node("Slice", INPUT, *(self.constant(each, np.int64) for each in bounds))

    def taken(self, rows: str, places: npt.ArrayLike) -> str:
        """Columns of rows, by their places."""
        return self.node("Gather", rows, self.constant(places, np.int64), axis=1)

    def double(self, values: str) -> str:
        """Values in double precision."""
        return self.node("Cast", values, to=TensorProto.DOUBLE)

    def to_bytes(self, answers: str, about: Mapping[str, Any], *, several: bool) -> bytes:
        """The whole, checked.

        Args:
            answers: the node that is a number per row, or numbers per row.
            about: what its columns are, as JSON beside it.
            several: whether there are numbers per row.
        """
        self._nodes.append(helper.make_node("Identity", [answers], [OUTPUT]))
        graph = helper.make_graph(
            self._nodes,
            "answers",
            [helper.make_tensor_value_info(INPUT, TensorProto.DOUBLE, [None, self._width])],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.DOUBLE, [None, None] if several else [None])],
            self._constants,
        )
        opsets = [helper.make_opsetid(domain, version) for domain, version in _OPSETS.items()]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR, producer_name="evergreen")
        helper.set_model_props(model, {ABOUT: json.dumps(about, ensure_ascii=False)})
        checker.check_model(model)
        content: bytes = model.SerializeToString()
        return content
