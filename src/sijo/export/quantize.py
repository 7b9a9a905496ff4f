"""Weights of few bits: each matrix in blocks, with a scale a block, and products of integers.

The states that a matrix is multiplied with are rounded to 8 bits as they come, in blocks of a row of their own, so
that no row's answer depends on the rows beside it. (One scale for the whole tensor of states is what onnxruntime's
DynamicQuantizeMatMul takes, and is quicker; a row would then change with its neighbours.)

Letters: D width of what goes in, N of what comes out, K blocks of a row, S numbers of a block.
"""

from collections.abc import Mapping

import numpy as np

from sijo.checkpoints.blocks import quantized_blocks
from sijo.export.graph import GraphBuilder
from sijo.export.products import Products

KEPT = (".attention.value", ".cross.value")
"""The ends of names whose matrices stay in float32 beside others of 8 bits: a twelfth of the work, and in a
sentence encoder half of the error (docs/log.md)."""
BITS = {"int8": 8, "int4": 4}


def quantized_rows(table_ND: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A table as integers from -127 to 127, (N, D) int8, and a scale for each row, (N, 1) float32.

    >>> numbers, scales = quantized_rows(np.array([[1.27, -0.02], [0.0, 0.0]], np.float32))
    >>> numbers.tolist(), round(float(scales[0, 0]), 4)
    ([[127, -2], [0, 0]], 0.01)
    """
    scales = np.abs(table_ND).max(1, keepdims=True) / np.float32(127)
    scales[scales == 0] = 1
    return np.rint(table_ND / scales).astype(np.int8), scales


class QuantizedProducts(Products):
    """Products with matrices of few bits, over a table of tokens of 8 bits."""

    def rows(self, name: str, table: np.ndarray, ids: str) -> str:
        """Rows of a table, float32."""
        g, numbers, scales = self.graph, f"{name}.numbers", f"{name}.scales"
        for key, array in zip((numbers, scales), quantized_rows(table), strict=True):
            g.constant(key, array)
        return g.op("Mul", g.op("Cast", g.op("Gather", numbers, ids), to=1), g.op("Gather", scales, ids))


class BlockProducts(QuantizedProducts):
    """Products with matrices of 8 or 4 bits, in blocks.

    bits   of a weight
    block  numbers that share a scale: of a row of the matrix, and of a row of states
    """

    def __init__(
        self, graph: GraphBuilder, weights: Mapping[str, np.ndarray], *, bits: int, block: int = 32
    ) -> None:
        super().__init__(graph, weights)
        self.bits, self.block = bits, block

    def product(self, name: str, states: str) -> str:
        """The product alone."""
        if self.bits == 8 and name.endswith(KEPT):
            return super().product(name, states)
        g, weight = self.graph, self.weights[f"{name}.weight"]
        numbers, scales = f"{name}.weight.numbers", f"{name}.weight.scales"
        if numbers not in g.constants:
            for key, array in zip(
                (numbers, scales), quantized_blocks(weight, bits=self.bits, block=self.block), strict=True
            ):
                g.constant(key, array)
        return g.op(
            "MatMulNBits",
            *(states, numbers, scales),
            N=weight.shape[0],
            K=weight.shape[1],
            bits=self.bits,
            block_size=self.block,
            accuracy_level=4,  # states in 8 bits, sums in 32
        )
