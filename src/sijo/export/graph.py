"""A graph of ONNX operators, written one node at a time.

Every weight is a constant by the name that it has in the network, stored once however many nodes read it. Operators
of onnxruntime's own (`com.microsoft`) stand beside those of ONNX: they do in one pass over memory what takes
several otherwise.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sijo.errors import SettingError

if TYPE_CHECKING:
    import onnx

OPSET = 21
"""Of ONNX's own operators; 21 brought integers of 4 bits and blocks of scales."""
IR_VERSION = 10
"""Of the file's format, as old as the operators allow, for runtimes that are older than the exporter."""
MICROSOFT = "com.microsoft"
OWN = frozenset(
    (
        *(
            "BiasGelu",
            "FastGelu",
            "GatherBlockQuantized",
            "Gelu",
            "MatMulIntegerToFloat",
            "MatMulNBits",
            "MultiHeadAttention",
        ),
        *("QuickGelu", "SkipLayerNormalization"),
    )
)
"""The operators of onnxruntime that are written here; what is none of them is ONNX's."""


def needs_onnx() -> None:
    """Raise SettingError where the package that writes the files is missing."""
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise SettingError(
            "to write ONNX files sijo needs onnx, which is not installed: pip install 'sijo[export]'"
        ) from None


class GraphBuilder:
    """Nodes in order, the constants that they read, and what goes in and comes out.

    >>> graph = GraphBuilder()
    >>> x = graph.input("x", np.int64, ["batch"])
    >>> graph.output("y", graph.op("Add", x, graph.constant("one", np.array([1]))), np.int64, ["batch"])
    >>> [(node.op_type, *node.input) for node in graph.model("adds").graph.node]
    [('Add', 'x', 'one'), ('Identity', 'Add_0')]
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self._counts: Counter[str] = Counter()

    def input(self, name: str, dtype: type[np.generic], dims: Sequence[str | int]) -> str:
        """An input of the whole; a dimension with a name may be of any size."""
        from onnx import helper

        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        self.inputs.append(helper.make_tensor_value_info(name, kind, dims))
        return name

    def output(self, name: str, value: str, dtype: type[np.generic], dims: Sequence[str | int]) -> None:
        """Let a value come out under a name."""
        from onnx import helper

        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        self.nodes.append(helper.make_node("Identity", [value], [name], name=f"{name}_out"))
        self.outputs.append(helper.make_tensor_value_info(name, kind, dims))

    def constant(self, name: str, array: np.ndarray) -> str:
        """A weight, or whatever else never changes, by its name; under one name there is one array."""
        self.constants.setdefault(name, np.asarray(array, order="C"))
        return name

    def floats(self, *values: float) -> str:
        """A float32 constant: one number as a scalar, several as a list."""
        array = np.array(values[0] if len(values) == 1 else values, np.float32)
        return self.constant(f"float_{'_'.join(map(repr, values))}", array)

    def integers(self, *values: int) -> str:
        """A list of int64, such as a shape."""
        return self.constant(f"int_{'_'.join(map(str, values))}", np.array(values, np.int64))

    def integer(self, value: int) -> str:
        """An int64 scalar."""
        return self.constant(f"scalar_{value}", np.array(value, np.int64))

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output; "" stands for an input that is left out. Returns the output's name."""
        return self.ops(kind, *inputs, count=1, **attributes)[0]

    def ops(self, kind: str, *inputs: str, count: int, **attributes: Any) -> list[str]:
        """Add a node with several outputs; returns their names."""
        from onnx import helper

        number = self._counts[kind]
        self._counts[kind] += 1
        names = [f"{kind}_{number}" if count == 1 else f"{kind}_{number}_{place}" for place in range(count)]
        domain = MICROSOFT if kind in OWN else ""
        node = helper.make_node(kind, inputs, names, name=f"{kind}_{number}", domain=domain, **attributes)
        self.nodes.append(node)
        return names

    def reshape(self, value: str, *dims: int) -> str:
        """The same numbers in another shape: 0 keeps a dimension, one -1 takes what is left."""
        return self.op("Reshape", value, self.integers(*dims))

    def slice(self, value: str, start: str, end: str, axis: int) -> str:
        """A part of one axis; start and end are lists of one integer."""
        return self.op("Slice", value, start, end, self.integers(axis))

    def model(self, name: str, metadata: dict[str, str] | None = None) -> "onnx.ModelProto":
        """All of it as onnx has it, with the constants inside."""
        from onnx import helper, numpy_helper

        constants = [numpy_helper.from_array(array, key) for key, array in self._used().items()]
        graph = helper.make_graph(self.nodes, _plain(name), self.inputs, self.outputs, constants)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(graph, producer_name="sijo", opset_imports=opsets, ir_version=IR_VERSION)
        helper.set_model_props(model, dict(sorted((metadata or {}).items())))
        return model

    def _used(self) -> dict[str, np.ndarray]:
        """The constants that a node reads."""
        read = {name for node in self.nodes for name in node.input}
        return {name: array for name, array in self.constants.items() if name in read}


def _plain(name: str) -> str:
    return re.sub(r"\W+", "_", name)
