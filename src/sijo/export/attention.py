"""Attention in a graph: of words alone, turned or among near ones, or with what their distances add.

With distances, the projected rows of the table of distances are constants of the file, for each bucket one, and
which of them are needed is computed for the length at hand: nothing that grows with the length is stored.

Letters: B batch, H heads, L length, P distances, R rows of the table, D width, C width of one head.
"""

import math
from collections.abc import Mapping

import numpy as np

from sijo.export.graph import GraphBuilder
from sijo.export.local import LocalAttention
from sijo.export.products import Products
from sijo.nn.architecture import Architecture, Disentangled, RelativeBias

LOWEST = float(np.finfo(np.float32).min)
"""What is added to the score of padding, as `nn/attention.py` does."""


class Attention:
    """The attention of every block.

    attention_mask  (B, L) int64, 1 at real tokens
    length          (1,) int64, L
    """

    def __init__(
        self,
        graph: GraphBuilder,
        architecture: Architecture,
        weights: Mapping[str, np.ndarray],
        products: Products,
        attention_mask: str,
        length: str,
    ) -> None:
        self.graph, self.a, self.weights, self.products = graph, architecture, weights, products
        self.length = length
        terms = architecture.distances.terms if architecture.distances else ()
        self.scale = 1 / math.sqrt(architecture.hidden_size // architecture.heads * (1 + len(terms)))
        self.keep = graph.op("Cast", attention_mask, to=6)  # int32
        self.distances = DistanceBias(graph, architecture, weights, length, self.scale) if terms else None
        relative = architecture.relative_bias
        self.bias = None if relative is None else relative_bias(graph, relative, weights, length)
        self.near, self.local = Near(graph, architecture, length), None
        window = architecture.window
        if window is not None and self.distances is None and self.bias is None:
            self.local = LocalAttention(
                graph,
                reach=window.reach,
                keep=self.keep,
                length=length,
                heads=architecture.heads,
                scale=self.scale,
                lowest=LOWEST,
            )

    def added(self, block: int, layer: int, states: str) -> tuple[str, str]:
        """What the attention of a layer adds to states (B, L, D), without the last bias; and that bias."""
        g, name = self.graph, f"blocks.{block}.attention"
        local = self.local if self.near.is_local(layer) else None
        added = self.near.far(layer) if local is None else ""
        if self.bias is not None:
            added = g.op("Add", self.bias, added) if added else self.bias
        if self.distances is None and self.a.rotary is None and local is None:
            return plain_attention(g, self.a, self.products, name, (states, states), self.keep, added)
        query, key, value = (self.products.whole(f"{name}.{part}", states) for part in ("query", "key", "value"))
        if self.distances is not None:
            apart = self.distances.scores(block, query, key)
            added = g.op("Add", apart, added) if added else apart
        query, key = (self.near.turned(product, layer) for product in (query, key))
        if local is not None:
            return self.products.apart(f"{name}.out", local.read(query, key, value, self.a.hidden_size))
        read = g.op(
            "MultiHeadAttention",
            *(query, key, value, "", self.keep, added)[: None if added else -1],
            num_heads=self.a.heads,
            scale=self.scale,
            mask_filter_value=LOWEST,
        )
        return self.products.apart(f"{name}.out", read)


def plain_attention(
    graph: GraphBuilder,
    a: Architecture,
    products: Products,
    name: str,
    states: tuple[str, str],
    keep: str,
    added: str = "",
) -> tuple[str, str]:
    """What attention of words alone adds to states (B, Q, D), without the last bias; and that bias.

    name    of its linear maps
    states  what queries are made of, (B, Q, D), and what keys and values are, (B, K, D)
    keep    (B, K) int32, 1 at what may be read
    added   to the scores; "" for nothing
    """
    rooms = zip(("query", "key", "value"), (states[0], states[1], states[1]), strict=True)
    made, biases = zip(*(products.apart(f"{name}.{part}", of) for part, of in rooms), strict=True)
    zeros = np.zeros(a.hidden_size, np.float32)  # for a map without a bias
    joined = np.concatenate([graph.constants[bias] if bias else zeros for bias in biases])
    read = graph.op(
        "MultiHeadAttention",
        *(*made, graph.constant(f"{name}.qkv.bias", joined), keep, added)[: None if added else -1],
        num_heads=a.heads,
        scale=1 / math.sqrt(a.hidden_size // a.heads),
        mask_filter_value=LOWEST,
    )
    return products.apart(f"{name}.out", read)


def relative_bias(graph: GraphBuilder, bias: RelativeBias, weights: Mapping[str, np.ndarray], length: str) -> str:
    """What is added to the scores of every layer, (1, H, L, L), as `nn/relative_bias.py` has it."""
    g, span = graph, bias.span
    table = g.constant("relative_bias.by_distance", weights["relative_bias.rows.weight"][list(bias.rows)].T)
    places = g.op("Range", g.integer(0), g.op("Squeeze", length), g.integer(1))
    distance = g.op("Sub", g.op("Unsqueeze", places, g.integers(1)), g.op("Unsqueeze", places, g.integers(0)))
    near = g.op("Add", g.op("Clip", distance, g.integer(-span), g.integer(span)), g.integer(span))
    return g.op("Unsqueeze", g.op("Gather", table, near, axis=1), g.integers(0))


class Near:
    """Queries and keys turned by where they stand, and far ones unread, as `nn/window.py` has it.

    Both are computed for the length at hand, once for all layers that see alike.
    """

    def __init__(self, graph: GraphBuilder, a: Architecture, length: str) -> None:
        self.graph, self.a, self.length = graph, a, length
        self.biases: dict[int, str] = {}
        self.turns: dict[float, tuple[str, str]] = {}

    def _places(self) -> str:
        g = self.graph
        return g.op("Range", g.integer(0), g.op("Squeeze", self.length), g.integer(1))

    def is_local(self, layer: int) -> bool:
        """Whether a layer reads near tokens alone."""
        return self.a.window is not None and self.a.window.sight(layer) == "local"

    def far(self, layer: int) -> str:
        """What is added to scores, (1, 1, L, L): 0, or half the lowest number where a key is far; "" for none."""
        g, window = self.graph, self.a.window
        if window is None or not self.is_local(layer):
            return ""
        if window.reach not in self.biases:
            place = self._places()
            rows, columns = (g.op("Unsqueeze", place, g.integers(axis)) for axis in (1, 0))
            distance = g.op("Abs", g.op("Sub", rows, columns))
            far = g.op("Greater", distance, g.integer(window.reach))
            bias = g.op("Where", far, g.floats(LOWEST / 2), g.floats(0.0))  # half: padding may be far too
            self.biases[window.reach] = g.op("Unsqueeze", bias, g.integers(0, 1))
        return self.biases[window.reach]

    def turned(self, states: str, layer: int) -> str:
        """Queries or keys (B, L, D), turned by where they stand."""
        g, rotary = self.graph, self.a.rotary
        if rotary is None:
            return states
        base = rotary.local_base if self.is_local(layer) and rotary.local_base is not None else rotary.base
        width = self.a.hidden_size // self.a.heads
        if base not in self.turns:
            frequency = 1 / np.float32(base) ** (np.arange(0, width, 2, dtype=np.float32) / np.float32(width))
            place = g.op("Cast", g.op("Unsqueeze", self._places(), g.integers(1)), to=1)
            angles = g.op("Mul", place, g.constant(f"rotary.{base}", frequency.astype(np.float32)))
            angles = g.op("Unsqueeze", angles, g.integers(1, 2))  # (L, 1, 1, C / 2)
            self.turns[base] = g.op("Cos", angles), g.op("Sin", angles)
        cosines, sines = self.turns[base]
        one, two = g.ops("Split", g.reshape(states, 0, 0, self.a.heads, 2, -1), count=2, axis=3, num_outputs=2)
        left = g.op("Sub", g.op("Mul", one, cosines), g.op("Mul", two, sines))
        right = g.op("Add", g.op("Mul", two, cosines), g.op("Mul", one, sines))
        return g.reshape(g.op("Concat", left, right, axis=3), 0, 0, -1)


class DistanceBias:
    """What the distance of a query and a key adds to their score, (B, H, L, L), as `nn/distances.py` has it."""

    def __init__(
        self, graph: GraphBuilder, a: Architecture, weights: Mapping[str, np.ndarray], length: str, scale: float
    ) -> None:
        assert a.distances is not None
        self.graph, self.a, self.apart, self.weights, self.scale = graph, a, a.distances, weights, scale
        self.heads, self.head_width = a.heads, a.hidden_size // a.heads
        g = graph
        one, zero = g.integers(1), g.integers(0)
        self.length = length
        self.last = g.op("Sub", length, one)  # L - 1
        self.distances = g.op("Mul", length, g.integers(2))  # P = 2 L
        self.skewed = g.op("Sub", self.distances, one)  # 2 L - 1
        size = g.op("Mul", length, self.skewed)
        self.flat_end = g.op("Add", self.last, size)
        batch_heads = g.integers(0, 0, -1)
        self.flat_shape = batch_heads
        self.skew_shape = g.op("Concat", g.integers(0, 0), length, self.skewed, axis=0)
        self.zero = zero
        self.rows = self._rows()
        self.tables: dict[str, str] = {}

    def _rows(self) -> dict[str, str]:
        """Which rows of the table the distances L - 1, …, -L have (c2p), and those that rise from 1 - L (p2c)."""
        g = self.graph
        known = distance_rows(self.apart)
        ends = len(known) // 2
        table = g.constant("distances.bucket", known)
        last, first = g.op("Squeeze", self.last), g.op("Neg", g.op("Squeeze", self.length))
        falling = g.op("Range", last, g.op("Sub", first, g.integer(1)), g.integer(-1))  # L - 1 … -L
        rising = g.op(
            "Range", g.op("Neg", last), g.op("Add", g.op("Squeeze", self.length), g.integer(1)), g.integer(1)
        )
        rows = {}
        for term, values in (("c2p", falling), ("p2c", rising)):
            near = g.op("Clip", values, g.integer(-ends), g.integer(ends))
            rows[term] = g.op("Gather", table, g.op("Add", near, g.integer(ends)))
        return rows

    def scores(self, block: int, q: str, k: str) -> str:
        """(B, H, L, L) from queries and keys (B, L, D)."""
        g, summed = self.graph, ""
        for term in self.apart.terms:
            states = g.op(
                "Transpose", g.reshape(q if term == "c2p" else k, 0, 0, self.heads, -1), perm=[0, 2, 1, 3]
            )
            by_distance = g.op("MatMul", states, self._table(block, term))
            by_place = self._skew(by_distance)
            if term == "p2c":
                by_place = g.op("Transpose", by_place, perm=[0, 1, 3, 2])
            summed = g.op("Add", summed, by_place) if summed else by_place
        return summed

    def _table(self, block: int, term: str) -> str:
        """(H, C, P): the projected rows of the distances of the length at hand."""
        g, key = self.graph, f"blocks.{block}.attention.distances.{term}"
        if key not in self.tables:
            projected_RD = projected_rows(self.weights, self.apart, self.a, block, term) * np.float32(self.scale)
            table = g.constant(key, projected_RD)
            needed = g.reshape(g.op("Gather", table, self.rows[term]), 0, self.heads, -1)
            self.tables[key] = g.op("Transpose", needed, perm=[1, 2, 0])
        return self.tables[key]

    def _skew(self, scores: str) -> str:
        """From scores by distance (B, H, L, 2 L) to scores by place (B, H, L, L): out[i, j] = scores[i, L-1-i+j].

        Row i of the result begins one score earlier than row i - 1 did, so in rows that are one score shorter, all
        begin in the same column.
        """
        g = self.graph
        flat = g.slice(g.reshape(scores, 0, 0, -1), self.last, self.flat_end, 2)
        rows = g.op("Reshape", flat, self.skew_shape)
        return g.slice(rows, self.zero, self.length, 3)


def distance_rows(apart: Disentangled) -> np.ndarray:
    """The row of the table for each distance from -span to span, (2 span + 1,) int64; further ones share the last.

    >>> distance_rows(Disentangled(span=3)).tolist()
    [1, 1, 2, 3, 4, 5, 5]
    """
    distance = np.arange(-apart.span, apart.span + 1)
    near = distance.clip(-apart.ahead, apart.span - 1)
    if apart.buckets:
        half = apart.buckets // 2
        far = np.maximum(np.abs(near), half).astype(np.float64)
        steps = np.log(far / half) / math.log((apart.span - 1) / half) * (half - 1)
        rounded = half + np.ceil(steps - 1e-9).astype(np.int64)
        near = np.where(np.abs(near) <= half, near, rounded * np.sign(near))
    return (near + apart.rows // 2).clip(0, apart.rows - 1).astype(np.int64)


def projected_rows(
    weights: Mapping[str, np.ndarray], apart: Disentangled, a: Architecture, block: int, term: str
) -> np.ndarray:
    """(R, D): the table of distances as the keys (c2p) or queries (p2c) of a block have it."""
    rows_RD = weights["distances.rows.weight"]
    if apart.norm == "layer_norm":
        wide = rows_RD.astype(np.float64)
        centred = wide - wide.mean(1, keepdims=True)
        wide = centred / np.sqrt((centred**2).mean(1, keepdims=True) + a.norm.eps)
        rows_RD = wide * weights["distances.norm.weight"] + weights.get("distances.norm.bias", 0)
    part = "key" if term == "c2p" else "query"
    name = f"blocks.{block}.attention." + (f"distances.{part}" if apart.projections == "own" else part)
    projected = rows_RD.astype(np.float64) @ weights[f"{name}.weight"].T.astype(np.float64)
    if f"{name}.bias" in weights:
        projected = projected + weights[f"{name}.bias"]
    return projected.astype(np.float32)
