"""Matrices in a graph as they are held in blocks in the folder's own file of weights, in float32 arithmetic."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from sijo.export.graph import GraphBuilder
from sijo.export.products import Products


class StoredBlocks(NamedTuple):
    """A matrix in blocks, as `checkpoints/blocks.py` has it."""

    bits: int
    blocks: np.ndarray
    """(N, K, S · bits / 8) uint8."""
    scales: np.ndarray
    """(N, K) float16 or float32."""

    @property
    def block_size(self) -> int:
        """Numbers of a block."""
        return int(self.blocks.shape[-1]) * 8 // self.bits


class StoredProducts(Products):
    """Products with matrices that are held in blocks; states and sums stay float32.

    stored  by the names of weights

    A matrix that is none of them is turned where it is read, so that the file of weights holds it once.
    """

    def __init__(
        self, graph: GraphBuilder, weights: Mapping[str, np.ndarray], stored: Mapping[str, StoredBlocks]
    ) -> None:
        super().__init__(graph, weights)
        self.stored = stored
        self._widened: dict[str, str] = {}
        """The scales that were stored in float16, in float32, by their names."""

    def product(self, name: str, states: str) -> str:
        """The product alone."""
        g, weight = self.graph, self.weights[f"{name}.weight"]
        held = self.stored.get(f"{name}.weight")
        if held is None:
            return super().product(name, states)
        return g.op(
            "MatMulNBits",
            *(states, g.constant(f"{name}.blocks", held.blocks), self._scales(name, held)),
            N=weight.shape[0],
            K=weight.shape[1],
            bits=held.bits,
            block_size=held.block_size,
            accuracy_level=1,  # float32
        )

    def turned(self, name: str) -> str:
        """A matrix (N, D) of the network as (D, N)."""
        return self.graph.op("Transpose", self.graph.constant(name, self.weights[name]), perm=[1, 0])

    def rows(self, name: str, table: np.ndarray, ids: str) -> str:
        """Rows of a table, float32."""
        held = self.stored.get(name)
        if held is None or table is not self.weights[name]:  # one that is scaled is another
            return super().rows(name, table, ids)
        g = self.graph
        return g.op(
            "GatherBlockQuantized",
            g.constant(f"{name}.blocks", held.blocks.reshape(len(held.blocks), -1)),
            ids,
            self._scales(name, held),
            bits=held.bits,
            block_size=held.block_size,
            gather_axis=0,
            quantize_axis=1,
        )

    def _scales(self, name: str, held: StoredBlocks) -> str:
        """The scales of a matrix in float32, as products of float32 states want them.

        onnxruntime computes this step once, when a session is made.
        """
        scales = self.graph.constant(f"{name}.scales", held.scales)
        if held.scales.dtype == np.float32:
            return scales
        if name not in self._widened:
            self._widened[name] = self.graph.op("Cast", scales, to=1)
        return self._widened[name]
