"""ONNX files written by hand, byte by byte: a BERT's network, sound or spoiled, without onnx and without torch."""

import struct

import numpy as np

FLOAT, INT32, INT64 = 1, 6, 7
TYPES = {
    np.dtype("<f4"): FLOAT,
    np.dtype("<f2"): 10,
    np.dtype("<i8"): INT64,
    np.dtype("<i4"): INT32,
    np.dtype("u1"): 2,
}


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field, value):
    return varint(field << 3) + varint(value)


def text(field, content):
    content = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | 2) + varint(len(content)) + content


def entry(field, key, value):
    return text(field, text(1, key) + text(2, value))


def tensor(name, array, *, location=None, offset=0, length=None):
    """A TensorProto with raw bytes, or with a place in another file."""
    array = np.asarray(array)
    out = b"".join(number(1, size) for size in array.shape) + number(2, TYPES[array.dtype]) + text(8, name)
    if location is None:
        return out + text(9, array.tobytes())
    words = {"location": location, "offset": str(offset), "length": str(array.nbytes if length is None else length)}
    return out + b"".join(entry(13, *word) for word in words.items()) + number(14, 1)


def attribute(name, value):
    if isinstance(value, float):
        return text(1, name) + varint(2 << 3 | 5) + struct.pack("<f", value) + number(20, 1)
    if isinstance(value, bytes):
        return text(1, name) + text(5, value) + number(20, 4)
    if isinstance(value, str):
        return text(1, name) + text(4, value) + number(20, 3)
    if isinstance(value, int):
        return text(1, name) + number(3, value) + number(20, 2)
    return text(1, name) + b"".join(number(8, item) for item in value) + number(20, 7)


def node(operator, inputs, outputs, domain="", **attributes):
    out = b"".join(text(1, name) for name in inputs) + b"".join(text(2, name) for name in outputs)
    out += text(3, outputs[0]) + text(4, operator)
    out += b"".join(text(5, attribute(name, value)) for name, value in attributes.items())
    return out + (text(7, domain) if domain else b"")


def value(name, kind, *dims):
    """A ValueInfoProto; a number for a fixed dimension, a name for one that varies."""
    shape = b"".join(text(1, number(1, dim) if isinstance(dim, int) else text(2, dim)) for dim in dims)
    return text(1, name) + text(2, text(1, number(1, kind) + text(2, shape)))


OPSETS = (("", 17), ("com.microsoft", 1))


def model(nodes, tensors, inputs, outputs, *, opsets=OPSETS, ir=8, metadata=(), graph=b"", more=b""):
    """A ModelProto. `graph` and `more` are fields that stand behind the others, of the graph and of the model."""
    inner = b"".join(text(1, item) for item in nodes) + text(2, "network")
    inner += b"".join(text(5, item) for item in tensors)
    inner += b"".join(text(11, item) for item in inputs) + b"".join(text(12, item) for item in outputs) + graph
    out = number(1, ir) + text(7, inner)
    for domain, version in opsets:
        out += text(8, (text(1, domain) if domain else b"") + number(2, version))
    return out + b"".join(entry(14, *words) for words in metadata) + more


INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class Bert:
    """The network of a BERT as an exporter writes it, of the operators of opset 17 alone.

    weights  its tensors by their published names, (out, in) for matrices
    data     the name of the file that tensors are kept in; None to keep them in the model's
    """

    def __init__(self, weights, *, heads=2, eps=1e-12, data=None):
        self.weights, self.heads, self.eps, self.data = weights, heads, eps, data
        self.nodes, self.tensors, self.numbers = [], [], b""
        self.kept = set()
        self.layers = sum(name.endswith("intermediate.dense.weight") for name in weights)
        self.width = weights["embeddings.LayerNorm.weight"].size

    def constant(self, name, array):
        array = np.asarray(array, order="C")
        if name not in self.kept:
            self.kept.add(name)
            if self.data is None or array.nbytes < 256:
                self.tensors.append(tensor(name, array))
            else:
                self.tensors.append(tensor(name, array, location=self.data, offset=len(self.numbers)))
                self.numbers += array.tobytes()
        return name

    def add(self, operator, *inputs, domain="", **attributes):
        name = f"{operator}_{len(self.nodes)}"
        self.nodes.append(node(operator, inputs, [name], domain, **attributes))
        return name

    def linear(self, name, states):
        product = self.add("MatMul", states, self.constant(f"{name}.t", self.weights[f"{name}.weight"].T))
        return self.add("Add", product, self.constant(f"{name}.bias", self.weights[f"{name}.bias"]))

    def norm(self, name, states):
        vectors = [self.constant(f"{name}.{kind}", self.weights[f"{name}.{kind}"]) for kind in ("weight", "bias")]
        return self.add("LayerNormalization", states, *vectors, axis=-1, epsilon=self.eps)

    def whole(self, name, *numbers):
        return self.constant(name, np.array(numbers, np.int64))

    def embedded(self):
        tables = {name: f"embeddings.{name}_embeddings.weight" for name in ("word", "position", "token_type")}
        table = {name: self.constant(full, self.weights[full]) for name, full in tables.items()}
        words = self.add("Gather", table["word"], "input_ids")
        kinds = self.add("Gather", table["token_type"], "token_type_ids")
        length = self.add("Gather", self.add("Shape", "input_ids"), self.whole("one", 1))
        ends = self.whole("zero", 0), length, self.whole("axis", 0)
        places = self.add("Slice", table["position"], *ends)
        return self.norm("embeddings.LayerNorm", self.add("Add", self.add("Add", words, kinds), places))

    def attention(self, layer, states, mask):
        name, wide = f"encoder.layer.{layer}.attention", self.width // self.heads
        shape = self.whole("apart", 0, 0, self.heads, wide)
        parts = {}
        for part, order in (("query", (0, 2, 1, 3)), ("key", (0, 2, 3, 1)), ("value", (0, 2, 1, 3))):
            split = self.add("Reshape", self.linear(f"{name}.self.{part}", states), shape)
            parts[part] = self.add("Transpose", split, perm=order)
        root = self.constant("root", np.array(wide**0.5, np.float32))
        scores = self.add("Add", self.add("Div", self.add("MatMul", parts["query"], parts["key"]), root), mask)
        read = self.add("MatMul", self.add("Softmax", scores, axis=-1), parts["value"])
        back = self.add("Transpose", read, perm=(0, 2, 1, 3))
        joined = self.add("Reshape", back, self.whole("joined", 0, 0, self.width))
        added = self.add("Add", self.linear(f"{name}.output.dense", joined), states)
        return self.norm(f"{name}.output.LayerNorm", added)

    def inner(self, layer, states):
        name = f"encoder.layer.{layer}"
        wide = self.linear(f"{name}.intermediate.dense", states)
        one, half = (self.constant(str(size), np.array(size, np.float32)) for size in (1.0, 0.5))
        root = self.constant("root2", np.array(2**0.5, np.float32))
        share = self.add("Mul", half, self.add("Add", one, self.add("Erf", self.add("Div", wide, root))))
        return self.norm(
            f"{name}.output.LayerNorm",
            self.add("Add", self.linear(f"{name}.output.dense", self.add("Mul", wide, share)), states),
        )

    def states(self):
        """The name of the last layer's."""
        states = self.embedded()
        kept = self.add("Cast", "attention_mask", to=FLOAT)
        one, low = (self.constant(str(size), np.array(size, np.float32)) for size in (1.0, -10_000.0))
        wide = self.add("Unsqueeze", self.add("Mul", self.add("Sub", one, kept), low), self.whole("axes", 1, 2))
        for layer in range(self.layers):
            states = self.inner(layer, self.attention(layer, states, wide))
        return states

    def written(self, *, hidden="last_hidden_state", logits=None, tags=None, vector=None, **fields):
        """The bytes of the file, and those of the file of its tensors.

        hidden  what the output of states is called; None for none
        logits  the number of columns of a head over the pooler, whose weights are there
        tags    that of a head over each token
        vector  what the output of the mean of the states is called
        """
        states, outputs = self.states(), []
        if hidden is not None:
            self.nodes.append(node("Identity", [states], [hidden]))
            outputs.append(value(hidden, FLOAT, "batch", "length", self.width))
        if vector is not None:
            mask = self.add("Unsqueeze", self.add("Cast", "attention_mask", to=FLOAT), self.whole("last", -1))
            axis = self.whole("along", 1)
            total = self.add("ReduceSum", self.add("Mul", states, mask), axis, keepdims=0)
            count = self.add("ReduceSum", mask, axis, keepdims=0)
            self.nodes.append(node("Div", [total, count], [vector]))
            outputs.append(value(vector, FLOAT, "batch", self.width))
        if logits is not None:
            first = self.add("Gather", states, self.constant("first", np.array(0, np.int64)), axis=1)
            pooled = self.add("Tanh", self.linear("pooler.dense", first))
            self.nodes.append(node("Identity", [self.linear("classifier", pooled)], ["logits"]))
            outputs.append(value("logits", FLOAT, "batch", logits))
        if tags is not None:
            self.nodes.append(node("Identity", [self.linear("classifier", states)], ["logits"]))
            outputs.append(value("logits", FLOAT, "batch", "length", tags))
        inputs = [value(name, INT64, "batch", "length") for name in INPUTS]
        return model(self.nodes, self.tensors, inputs, outputs, **fields), self.numbers


def write_onnx(folder, weights, *, name="onnx/model.onnx", data=True, **fields):
    """Put the network of a BERT's weights into its folder."""
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    network = Bert(weights, data=f"{file.name}_data" if data else None)
    content, numbers = network.written(**fields)
    file.write_bytes(content)
    if data:
        file.with_name(f"{file.name}_data").write_bytes(numbers)
    return file
