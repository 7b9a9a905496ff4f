"""Messages of an ONNX file, read field by field: protocol buffers by the schema of onnx.proto, strictly.

A file is a tree of messages, each a row of fields with a number, a kind and a length. What onnx.proto does not
know, what is said twice where once is all there can be, what runs beyond its end, and what is nested or repeated
beyond reason is a ValueError here, so that no two readers can take one file for two networks.

Source: onnx.proto of ONNX 1.19, IR version 12; protobuf.dev/programming-guides/encoding.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

MOST_FIELDS = 2_000_000
"""In all; a network of 48 layers written out by the most talkative exporter has a fifth."""
DEEPEST = 12
"""Messages within messages: a model, its graph, a node, an attribute, a tensor, what it refers to."""
LONGEST_TEXT = 20_000
"""Bytes of a name; documentation may be longer, and is not read."""


class Span(NamedTuple):
    """Where in the file something stands."""

    begin: int
    end: int


@dataclass(frozen=True)
class _Field:
    name: str
    kind: str
    """int, float, double, text, bytes, skip, or the name of a message."""
    many: bool = False


def _schema(rows: str) -> dict[int, _Field]:
    """From lines of number, name and kind, `*` behind what may be repeated."""
    fields = (row.split() for row in rows.strip().splitlines())
    return {int(number): _Field(name, kind.rstrip("*"), kind.endswith("*")) for number, name, kind in fields}


SCHEMAS: dict[str, dict[int, _Field]] = {
    "Model": _schema("""
        1 ir_version int
        2 producer_name text
        3 producer_version text
        4 domain text
        5 model_version int
        6 doc_string skip
        7 graph Graph
        8 opset_import OperatorSet*
        14 metadata_props Entry*
        20 training_info bytes*
        25 functions bytes*
        26 configuration bytes*
    """),
    "OperatorSet": _schema("""
        1 domain text
        2 version int
    """),
    "Entry": _schema("""
        1 key text
        2 value text
    """),
    "Graph": _schema("""
        1 node Node*
        2 name text
        5 initializer Tensor*
        10 doc_string skip
        11 input Value*
        12 output Value*
        13 value_info Value*
        14 quantization_annotation skip*
        15 sparse_initializer bytes*
        16 metadata_props Entry*
    """),
    "Node": _schema("""
        1 input text*
        2 output text*
        3 name text
        4 op_type text
        5 attribute Attribute*
        6 doc_string skip
        7 domain text
        8 overload text
        9 metadata_props skip*
        10 device_configurations bytes*
    """),
    "Attribute": _schema("""
        1 name text
        2 f float
        3 i int
        4 s bytes
        5 t Tensor
        6 g bytes
        7 floats float*
        8 ints int*
        9 strings bytes*
        10 tensors Tensor*
        11 graphs bytes*
        13 doc_string skip
        14 tp bytes
        15 type_protos bytes*
        20 type int
        21 ref_attr_name text
        22 sparse_tensor bytes
        23 sparse_tensors bytes*
    """),
    "Tensor": _schema("""
        1 dims int*
        2 data_type int
        3 segment bytes
        4 float_data float*
        5 int32_data int*
        6 string_data bytes*
        7 int64_data int*
        8 name text
        9 raw_data bytes
        10 double_data double*
        11 uint64_data int*
        12 doc_string skip
        13 external_data Entry*
        14 data_location int
        16 metadata_props skip*
    """),
    "Value": _schema("""
        1 name text
        2 type Type
        3 doc_string skip
        4 metadata_props skip*
    """),
    "Type": _schema("""
        1 tensor_type TensorType
        4 sequence_type bytes
        5 map_type bytes
        6 denotation text
        7 opaque_type bytes
        8 sparse_tensor_type bytes
        9 optional_type bytes
    """),
    "TensorType": _schema("""
        1 elem_type int
        2 shape Shape
    """),
    "Shape": _schema("""
        1 dim Dimension*
    """),
    "Dimension": _schema("""
        1 dim_value int
        2 dim_param text
        3 denotation text
    """),
}
"""Every message and its fields, by the number that each has in a file."""
ONE_OF = {
    "Type": ("tensor_type", "sequence_type", "map_type", "opaque_type", "sparse_tensor_type", "optional_type"),
    "Dimension": ("dim_value", "dim_param"),
}
"""Fields of which a message has one at most."""
FIXED = {"float": 4, "double": 8}
VARINT, DOUBLE, LENGTH, FLOAT = 0, 1, 2, 5
"""How a field is written: the low three bits before it."""


class WireReader:
    """The messages of one file.

    content  its bytes

    >>> WireReader(b"\\x0a\\x01x\\x10\\x07").message("OperatorSet", 0, 5)
    {'domain': 'x', 'version': 7}
    >>> WireReader(b"\\x0a\\x02x").message("OperatorSet", 0, 3)
    Traceback (most recent call last):
    ValueError: the domain of a OperatorSet runs beyond its end
    """

    def __init__(self, content: Any) -> None:
        self.content = content
        self._fields = 0

    def message(self, kind: str, begin: int, end: int, depth: int = 0) -> dict[str, Any]:
        """A message by the names of its fields; a list for each that may be repeated.

        kind        the name of its schema
        begin, end  where it stands

        Numbers that are packed, bytes and messages that are not read any further are a `Span`; each message within
        has under `field` the one of its own field, number and length included.
        Raises ValueError for what is no such message.
        """
        if depth > DEEPEST:
            raise ValueError("messages lie too deep within messages")
        schema, found = SCHEMAS[kind], dict[str, Any]()
        at = begin
        while at < end:
            start = at
            key, at = self._varint(at, end)
            field, wire = schema.get(key >> 3), key & 7
            if field is None:
                raise ValueError(f"field {key >> 3:,} of a {kind} is not known")
            self._fields += 1
            if self._fields > MOST_FIELDS:
                raise ValueError(f"more than {MOST_FIELDS:,} fields")
            value, at = self._value(kind, field, wire, at, end, depth)
            if field.kind in SCHEMAS:
                value["field"] = Span(start, at)
            if field.many:
                found.setdefault(field.name, []).append(value)
            elif field.name in found:
                raise ValueError(f"a {kind} has two fields {field.name}")
            else:
                found[field.name] = value
        if sum(name in found for name in ONE_OF.get(kind, ())) > 1:
            raise ValueError(f"a {kind} is of two kinds")
        return found

    def _value(self, kind: str, field: _Field, wire: int, at: int, end: int, depth: int) -> tuple[Any, int]:
        """What a field holds, and where it ends."""
        if wire == VARINT and field.kind == "int":
            return self._varint(at, end)
        if wire in (FLOAT, DOUBLE) and FIXED.get(field.kind) == (size := 4 if wire == FLOAT else 8):
            if at + size > end:
                raise ValueError(f"the {field.name} of a {kind} runs beyond its end")
            return Span(at, at + size), at + size
        packed = field.many and field.kind in ("int", *FIXED)
        if wire != LENGTH or (field.kind in ("int", *FIXED) and not packed):
            raise ValueError(f"the {field.name} of a {kind} is written as another kind of field")
        length, at = self._varint(at, end)
        last = at + length
        if last > end:
            raise ValueError(f"the {field.name} of a {kind} runs beyond its end")
        if field.kind in SCHEMAS:
            value: Any = self.message(field.kind, at, last, depth + 1)
            return value, last
        if field.kind == "text":
            if length > LONGEST_TEXT:
                raise ValueError(f"the {field.name} of a {kind} has {length:,} bytes")
            return str(self.content[at:last], "utf-8"), last
        return Span(at, last), last

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        """A number of 7 bits a byte, the lowest first, below 2^64; and where it ends."""
        value, shift, content = 0, 0, self.content
        while at < end:
            byte = content[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >= 1 << 64:
                    break
                return value, at
            shift += 7
            if shift >= 70:
                break
        raise ValueError("a number does not end, or is beyond 2^64")

    def numbers(self, places: Sequence[Any]) -> Iterator[int]:
        """The numbers of a repeated field, packed or not, as signed ones of 64 bits."""
        for place in places:
            if not isinstance(place, Span):
                yield place - (1 << 64) if place >= 1 << 63 else place
                continue
            at = place.begin
            while at < place.end:
                value, at = self._varint(at, place.end)
                self._fields += 1
                if self._fields > MOST_FIELDS:
                    raise ValueError(f"more than {MOST_FIELDS:,} fields")
                yield value - (1 << 64) if value >= 1 << 63 else value
