"""What an ONNX file holds: its graph's inputs, outputs, operators and stored tensors, and where their bytes are.

Nothing is computed or copied: a tensor is known by its shape and by the place of its bytes, in the file itself or
in another beside it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from sijo.checkpoints.onnx.wire import Span, WireReader

LARGEST_DIMENSION = 2**40
MOST_NODES = 100_000
MOST_TENSORS = 100_000
MOST_RANK = 16
SHORT = 64
"""Numbers of a tensor up to which it may be a shape."""
FLOAT, INT32, INT64, STRING, FLOAT16, BFLOAT16 = 1, 6, 7, 8, 10, 16


class ElementType(NamedTuple):
    """One of onnx.proto's types of numbers."""

    name: str
    bits: int
    field: str
    """Where its numbers are where they are not raw bytes."""


ELEMENT_TYPES = {
    FLOAT: ElementType("float32", 32, "float_data"),
    2: ElementType("uint8", 8, "int32_data"),
    3: ElementType("int8", 8, "int32_data"),
    4: ElementType("uint16", 16, "int32_data"),
    5: ElementType("int16", 16, "int32_data"),
    INT32: ElementType("int32", 32, "int32_data"),
    INT64: ElementType("int64", 64, "int64_data"),
    9: ElementType("bool", 8, "int32_data"),
    FLOAT16: ElementType("float16", 16, "int32_data"),
    11: ElementType("float64", 64, "double_data"),
    12: ElementType("uint32", 32, "uint64_data"),
    13: ElementType("uint64", 64, "uint64_data"),
    BFLOAT16: ElementType("bfloat16", 16, "int32_data"),
    21: ElementType("uint4", 4, "int32_data"),
    22: ElementType("int4", 4, "int32_data"),
}
"""By their number. Texts, complex numbers and floats of 8 bits or fewer are in no encoder."""


@dataclass(frozen=True)
class ElsewherePlace:
    """Where a tensor's bytes are, in a file beside the model's."""

    location: str
    """What the file calls it."""
    begin: int
    length: int


@dataclass(frozen=True)
class StoredTensor:
    """A tensor that is stored with a graph."""

    name: str
    dims: tuple[int, ...]
    element: ElementType
    data_type: int
    """The number of its type."""
    raw: Span | None
    """Its bytes, in the file itself."""
    elsewhere: ElsewherePlace | None
    field: Span
    """Where the file tells of it."""
    numbers: tuple[int, ...] | None
    """What it holds, where it is short, of whole numbers and in the file itself, as a shape is."""

    @property
    def bytes(self) -> int:
        """How many it takes."""
        return (math.prod(self.dims) * self.element.bits + 7) // 8


@dataclass(frozen=True)
class GraphValue:
    """An input or an output."""

    name: str
    data_type: int
    """The number of its type; 0 where it is no tensor."""
    dims: tuple[int | None, ...] | None
    """Its shape, None for a dimension that varies; None where the file does not say."""


@dataclass(frozen=True)
class GraphNode:
    """A step of the graph: what is computed, of what."""

    operator: str
    domain: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    attributes: Mapping[str, Mapping[str, Any]]
    """By name, as the fields of their messages."""


@dataclass(frozen=True)
class OnnxModel:
    """A network in an ONNX file."""

    ir_version: int
    opsets: Mapping[str, int]
    """The version of each domain's operators."""
    metadata: Mapping[str, str]
    nodes: Sequence[GraphNode]
    stored: Mapping[str, StoredTensor]
    """The tensors beside the nodes, by name."""
    constants: Mapping[str, StoredTensor]
    """Those in nodes, by the name of what the node gives."""
    inputs: Mapping[str, GraphValue]
    """Those that must be given; stored tensors are none."""
    outputs: Mapping[str, GraphValue]
    graph: Span
    """Where the file tells of nodes and tensors."""
    unsupported: Sequence[str]
    """Parts that ONNX knows and a network for text has no need of."""

    @property
    def locations(self) -> list[str]:
        """The files beside it that hold tensors."""
        return list(dict.fromkeys(at.elsewhere.location for at in self.stored.values() if at.elsewhere))


def read_model(content: Any) -> OnnxModel:
    """What is in the bytes of an ONNX file; ValueError where they are none, or are not whole."""
    reader = WireReader(content)
    model = reader.message("Model", 0, len(content))
    if "graph" not in model or not model.get("ir_version") or not model.get("opset_import"):
        raise ValueError("there is no graph, or no version of its format or operators")
    graph = model["graph"]
    nodes, tensors = graph.get("node", []), graph.get("initializer", [])
    if len(nodes) > MOST_NODES or len(tensors) > MOST_TENSORS:
        raise ValueError(f"it has {len(nodes):,} nodes and {len(tensors):,} tensors")
    stored: dict[str, StoredTensor] = {}
    for fields in tensors:
        tensor = _tensor(reader, fields)
        if not tensor.name or tensor.name in stored:
            raise ValueError(f"two tensors are called {tensor.name!r:.100}, or one has no name")
        stored[tensor.name] = tensor
    constants: dict[str, StoredTensor] = {}
    read = [_node(reader, fields, constants) for fields in nodes]
    return OnnxModel(
        ir_version=model["ir_version"],
        opsets={entry.get("domain", ""): entry.get("version", 0) for entry in model["opset_import"]},
        metadata={entry.get("key", ""): entry.get("value", "") for entry in model.get("metadata_props", [])},
        nodes=read,
        stored=stored,
        constants=constants,
        inputs={value.name: value for value in _values(graph.get("input", [])) if value.name not in stored},
        outputs={value.name: value for value in _values(graph.get("output", []))},
        graph=graph["field"],
        unsupported=_unsupported(model, graph, nodes),
    )


def _unsupported(
    model: Mapping[str, Any], graph: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]]
) -> list[str]:
    """What is there and must not be, in words."""
    found = [
        (model.get("functions"), "functions of its own"),
        (model.get("training_info"), "a part for training"),
        (model.get("configuration"), "a plan for several devices"),
        (graph.get("sparse_initializer"), "sparse tensors"),
    ]
    unread = ("g", "graphs", "sparse_tensor", "sparse_tensors", "tp", "type_protos", "ref_attr_name")
    inner = {name for node in nodes for fields in node.get("attribute", []) for name in unread if name in fields}
    found += [
        (inner & {"g", "graphs"}, "graphs within nodes (control flow)"),
        (inner - {"g", "graphs"}, "sparse tensors, types or references in nodes"),
        (any("device_configurations" in node for node in nodes), "a plan for several devices"),
    ]
    return list(dict.fromkeys(what for there, what in found if there))


def _node(reader: WireReader, fields: Mapping[str, Any], constants: dict[str, StoredTensor]) -> GraphNode:
    attributes: dict[str, Mapping[str, Any]] = {}
    outputs = fields.get("output", [])
    for attribute in fields.get("attribute", []):
        name = attribute.get("name", "")
        if name in attributes:
            raise ValueError(f"a node has two attributes {name!r:.100}")
        attributes[name] = attribute
        for tensor in (*([attribute["t"]] if "t" in attribute else ()), *attribute.get("tensors", [])):
            held = _tensor(reader, tensor)
            if held.elsewhere is not None:
                raise ValueError("a tensor within a node is kept in another file")
            if outputs:
                constants[outputs[0]] = held
    operator, domain = fields.get("op_type", ""), fields.get("domain", "")
    return GraphNode(operator, "" if domain == "ai.onnx" else domain, fields.get("input", []), outputs, attributes)


def _values(messages: Sequence[Mapping[str, Any]]) -> list[GraphValue]:
    values, names = [], set()
    for message in messages:
        name, tensor = message.get("name", ""), message.get("type", {}).get("tensor_type", {})
        if name in names:
            raise ValueError(f"two inputs, or two outputs, are called {name!r:.100}")
        names.add(name)
        shape = tensor.get("shape")
        dims = None
        if shape is not None:
            sizes = [dim.get("dim_value") for dim in shape.get("dim", [])]
            dims = tuple(size if size is not None and size < LARGEST_DIMENSION else None for size in sizes)
        values.append(GraphValue(name, tensor.get("elem_type", 0), dims))
    return values


def _tensor(reader: WireReader, fields: Mapping[str, Any]) -> StoredTensor:
    """A stored tensor, once it is sure that it takes just the bytes that it has."""
    name, number = fields.get("name", ""), fields.get("data_type", 0)
    told = f"the tensor {name!r:.100}"
    element = ELEMENT_TYPES.get(number)
    if element is None or "segment" in fields:
        raise ValueError(f"{told} is of type {number}, or one part of several, which no network for text has")
    dims = tuple(reader.numbers(fields.get("dims", [])))
    if len(dims) > MOST_RANK or not all(0 <= size < LARGEST_DIMENSION for size in dims):
        raise ValueError(f"{told} has the shape {[*dims[:MOST_RANK]]}")
    needed = (math.prod(dims) * element.bits + 7) // 8
    if fields.get("data_location", 0) not in (0, 1):
        raise ValueError(f"{told} is kept nowhere that is known")
    elsewhere, raw = None, fields.get("raw_data")
    typed = {kind.field for kind in ELEMENT_TYPES.values()} & fields.keys()
    if fields.get("data_location") == 1:
        if raw is not None or typed:
            raise ValueError(f"{told} is kept both here and in another file")
        elsewhere = _elsewhere(told, fields.get("external_data", []), needed)
    elif raw is not None:
        if typed or raw.end - raw.begin != needed:
            raise ValueError(
                f"{told} of shape {[*dims]} in {element.name} does not take {raw.end - raw.begin:,} bytes"
            )
    elif typed - {element.field}:
        raise ValueError(f"{told} is of {element.name} and has numbers of another type")
    else:
        wanted = math.prod(dims) if element.bits >= 8 else needed
        if (count := _count(reader, element, fields.get(element.field, []))) != wanted:
            raise ValueError(f"{told} of shape {[*dims]} has {count:,} numbers")
    numbers = None
    if number in (INT32, INT64) and elsewhere is None and math.prod(dims) <= SHORT:
        numbers = _whole_numbers(reader, element, raw, fields.get(element.field, []))
    return StoredTensor(name, dims, element, number, raw, elsewhere, fields["field"], numbers)


def _whole_numbers(
    reader: WireReader, element: ElementType, raw: Span | None, places: Sequence[Any]
) -> tuple[int, ...]:
    if raw is None:
        return tuple(reader.numbers(places))
    return tuple(np.frombuffer(bytes(reader.content[raw.begin : raw.end]), f"<i{element.bits // 8}").tolist())


def _count(reader: WireReader, element: ElementType, places: Sequence[Any]) -> int:
    """How many numbers a tensor has that are not raw bytes."""
    size = {"float_data": 4, "double_data": 8}.get(element.field)
    count = 0
    for place in places:
        if not isinstance(place, Span):
            count += 1
        elif size is not None:
            if (place.end - place.begin) % size:
                raise ValueError(f"its {element.field} end in the middle of a number")
            count += (place.end - place.begin) // size
        else:
            packed = np.frombuffer(reader.content, np.uint8, place.end - place.begin, place.begin)
            count += int((packed < 0x80).sum())
    return count


def _elsewhere(told: str, entries: Sequence[Mapping[str, Any]], needed: int) -> ElsewherePlace:
    """The place that is told by names and words: location, offset, length."""
    words = {entry.get("key", ""): entry.get("value", "") for entry in entries}
    if len(words) < len(entries) or words.keys() - {"location", "offset", "length", "checksum"}:
        raise ValueError(f"{told} is in another file, at a place that is told by {sorted(words)[:6]}")
    offset, length = words.get("offset", "0"), words.get("length", str(needed))
    if not words.get("location") or not all(
        word.isascii() and word.isdigit() and len(word) < 19 for word in (offset, length)
    ):
        raise ValueError(f"{told} is in another file, and it is not said where")
    if int(length) != needed:
        raise ValueError(f"{told} needs {needed:,} bytes, and has {length} in another file")
    return ElsewherePlace(words["location"], int(offset), needed)
