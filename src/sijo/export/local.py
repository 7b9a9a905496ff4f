"""Attention to near tokens alone in a graph, at the cost of L and not its square, as `nn/window.py` has it.

Queries stand in stretches; each stretch reads itself and what is within reach of it on either side. All sizes are
computed for the length at hand.

Letters: B batch, L length, N stretches, S tokens of a stretch, K keys that one reads, D width.
"""

from sijo.export.graph import GraphBuilder

TOGETHER = 128
"""Queries that look at one stretch of keys, at most."""


class LocalAttention:
    """Attention of the layers with one reach.

    keep    (B, L) int32, 1 at real tokens
    length  (1,) int64, L
    lowest  what is added to the score of padding; half of it to that of a far key, for padding may be far too
    """

    def __init__(
        self, graph: GraphBuilder, *, reach: int, keep: str, length: str, heads: int, scale: float, lowest: float
    ) -> None:
        g = self.graph = graph
        self.length, self.how = length, {"num_heads": heads, "scale": scale, "mask_filter_value": lowest}
        self.size = g.op("Min", length, g.integers(TOGETHER))
        count = g.op("Div", g.op("Sub", g.op("Add", length, self.size), g.integers(1)), self.size)
        self.padded = g.op("Mul", count, self.size)
        behind = g.op("Sub", self.padded, length)
        self.fill = g.op("Concat", g.integers(0, 0, 0, 0), behind, g.integers(0), axis=0)
        behind = g.op("Add", behind, g.integers(reach))
        self.edges = g.op("Concat", g.integers(0, reach, 0, 0), behind, g.integers(0), axis=0)
        self.keys = g.op("Add", self.size, g.integers(2 * reach))
        key, query = self._range(self.keys), self._range(self.size)
        starts = g.op("Mul", self._range(count), self.size)
        self.stretches = g.op("Add", g.op("Unsqueeze", starts, g.integers(1)), key)  # (N, K)
        behind_query = g.op("Sub", g.op("Sub", key, g.op("Unsqueeze", query, g.integers(1))), g.integers(reach))
        far = g.op("Greater", g.op("Abs", behind_query), g.integer(reach))
        bias = g.op("Where", far, g.floats(lowest / 2), g.floats(0.0))
        self.bias = g.op("Unsqueeze", bias, g.integers(0, 1))  # (1, 1, S, K)
        edges = g.op("Concat", g.integers(0, reach, 0), behind, axis=0)
        kept = g.op("Gather", g.op("Pad", keep, edges), self.stretches, axis=1)
        self.keep = g.op("Reshape", kept, g.op("Concat", g.integers(-1), self.keys, axis=0))  # (B N, K)

    def read(self, query: str, key: str, value: str, width: int) -> str:
        """What queries read of keys and values, all (B, L, D) with D = `width`."""
        g = self.graph
        queries = self._reshaped(g.op("Pad", query, self.fill), self.size, width)
        keys, values = (
            self._reshaped(g.op("Gather", g.op("Pad", part, self.edges), self.stretches, axis=1), self.keys, width)
            for part in (key, value)
        )
        read = g.op("MultiHeadAttention", queries, keys, values, "", self.keep, self.bias, **self.how)
        return g.slice(self._reshaped(read, self.padded, width), g.integers(0), self.length, 1)

    def _range(self, end: str) -> str:
        g = self.graph
        return g.op("Range", g.integer(0), g.op("Squeeze", end), g.integer(1))

    def _reshaped(self, states: str, rows: str, width: int) -> str:
        g = self.graph
        return g.op("Reshape", states, g.op("Concat", g.integers(-1), rows, g.integers(width), axis=0))
