"""Products with the matrices of a network, in float32 or in integers.

Letters: D width of what goes in, N of what comes out.
"""

from collections.abc import Mapping

import numpy as np

from sijo.export.graph import GraphBuilder


class Products:
    """The products with a network's matrices, in float32; their biases are handed on, for what follows to add.

    weights  by name, each matrix (N, D)
    """

    def __init__(self, graph: GraphBuilder, weights: Mapping[str, np.ndarray]) -> None:
        self.graph = graph
        self.weights = weights

    def apart(self, name: str, states: str) -> tuple[str, str]:
        """The product (…, N) of states (…, D) with the matrix of a linear map, and the map's bias; "" for none."""
        return self.product(name, states), self.bias(name)

    def whole(self, name: str, states: str) -> str:
        """What a linear map makes of states."""
        product, bias = self.apart(name, states)
        return self.graph.op("Add", product, bias) if bias else product

    def product(self, name: str, states: str) -> str:
        """The product alone."""
        return self.graph.op("MatMul", states, self.turned(f"{name}.weight"))

    def turned(self, name: str) -> str:
        """A matrix (N, D) of the network as (D, N)."""
        return self.graph.constant(f"{name}.T", self.weights[name].T)

    def bias(self, name: str) -> str:
        """The constant of a linear map's bias; "" where it has none."""
        key = f"{name}.bias"
        return self.graph.constant(key, self.weights[key]) if key in self.weights else ""

    def rows(self, name: str, table: np.ndarray, ids: str) -> str:
        """Rows of a large table, (…, D) from ids (…)."""
        return self.graph.op("Gather", self.graph.constant(name, table), ids)
