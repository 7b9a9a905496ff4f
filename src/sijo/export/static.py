"""Weights and states of 8 bits with ranges that are known before: the quickest products of integers.

What a matrix is multiplied with is rounded by a scale that was measured on texts and is a constant of the file, so
no row's answer depends on the rows beside it. Channels of the states differ by far (in an encoder of sentences the
largest is fifteen times the median), so each is first divided by a part of its own range, and the matrix multiplied
by it (SmoothQuant, Xiao et al. 2023, arXiv:2211.10438, section 4). What follows gelu is never far below 0 but has
no bound above, and gets a scale for each row. The mean error of a product is taken off its bias.

A processor of Intel's kind without VNNI adds pairs of products in 16 bits, where they saturate: the file says what
it needs (`checkpoints/onnx/rules.py`).

Letters: D width of what goes in, N of what comes out.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sijo.export.graph import GraphBuilder
from sijo.export.quantize import QuantizedProducts

SMOOTHED = 0.7
"""The exponent of a channel's range by which it is divided; the rest stays with the states."""
MARGIN = 1.05
"""How far beyond what was measured states may go before they are cut off."""
BELOW_GELU = 0.17
"""gelu's lowest value, and the least that the tanh form of it has, are a little above -0.17."""
ZERO = 16
"""The integer that stands for 0 of what follows gelu."""


@dataclass(frozen=True)
class InputRange:
    """What was measured of the states that a matrix is multiplied with, over real tokens of many texts."""

    largest_D: np.ndarray
    """The largest size of each channel."""
    mean_D: np.ndarray
    """The mean of each channel."""


class StaticProducts(QuantizedProducts):
    """Products with matrices of 8 bits, a scale for each output, by states of 8 bits.

    ranges  of the inputs of each linear map, by its name
    """

    def __init__(
        self,
        graph: GraphBuilder,
        weights: Mapping[str, np.ndarray],
        ranges: Mapping[str, InputRange],
        *,
        gelu: bool,
    ) -> None:
        super().__init__(graph, weights)
        self.ranges, self.gelu = ranges, gelu
        self._rounded: dict[tuple[str, str], str] = {}

    def product(self, name: str, states: str) -> str:
        """The product alone."""
        g = self.graph
        if self.gelu and name.endswith(".narrow"):
            integers, scale_x, scale_row = self._rounded_rows(states)
            zero = ZERO
        else:
            integers, scale_x = self._rounded_by_range(name, states)
            scale_row, zero = "", 128
        numbers, scales = self._matrix(name)
        product = g.op(
            "MatMulIntegerToFloat",
            *(integers, numbers, scale_x, scales),
            *(
                g.constant(f"zero_{zero}", np.array(zero, np.uint8)),
                g.constant("zero_weight", np.array(0, np.int8)),
            ),
        )
        return g.op("Mul", product, scale_row) if scale_row else product

    def bias(self, name: str) -> str:
        """The bias, less the mean of what rounding the weights adds."""
        bias = self.weights.get(f"{name}.bias")
        if bias is None or name not in self.ranges:
            return super().bias(name)
        smooth_D, weight_ND = self._smooth(name), self.weights[f"{name}.weight"]
        numbers_ND, scales_N1 = rounded_outputs(weight_ND * smooth_D)
        error_ND = weight_ND - numbers_ND * scales_N1 / smooth_D
        return self.graph.constant(f"{name}.bias", bias + (error_ND @ self.ranges[name].mean_D).astype(np.float32))

    def _matrix(self, name: str) -> tuple[str, str]:
        """The integers (D, N) and scales (N,) of a matrix."""
        g, numbers, scales = self.graph, f"{name}.weight.numbers", f"{name}.weight.scales"
        if numbers not in g.constants:
            numbers_ND, scales_N1 = rounded_outputs(self.weights[f"{name}.weight"] * self._smooth(name))
            g.constant(numbers, numbers_ND.T)
            g.constant(scales, scales_N1[:, 0])
        return numbers, scales

    def _smooth(self, name: str) -> np.ndarray:
        """What each channel of the states is divided by, (D,); one for all maps that read the same states."""
        if self.gelu and name.endswith(".narrow"):
            return np.ones(self.weights[f"{name}.weight"].shape[1], np.float32)
        weight_D = np.max([np.abs(self.weights[f"{one}.weight"]).max(0) for one in alike(name)], axis=0)
        largest_D = np.maximum(self.ranges[name].largest_D, 1e-5)
        smooth_D: np.ndarray = largest_D**SMOOTHED / np.maximum(weight_D, 1e-5) ** (1 - SMOOTHED)
        return smooth_D.astype(np.float32)

    def _rounded_by_range(self, name: str, states: str) -> tuple[str, str]:
        """States as integers around 128 by what was measured, and their scale."""
        g, smooth_D = self.graph, self._smooth(name)
        group = f"{alike(name)[0]}.states"
        scale = np.float32(MARGIN * (self.ranges[name].largest_D / smooth_D).max() / 127)
        scale_x = g.constant(f"{group}.scale", np.array(max(scale, np.float32(1e-8)), np.float32))
        if (group, states) not in self._rounded:
            factors = g.constant(f"{group}.factors", (1 / (smooth_D * g.constants[scale_x])).astype(np.float32))
            one, zero = g.floats(1.0), g.constant("zero_128", np.array(128, np.uint8))
            self._rounded[group, states] = g.op("QuantizeLinear", g.op("Mul", states, factors), one, zero)
        return self._rounded[group, states], scale_x

    def _rounded_rows(self, states: str) -> tuple[str, str, str]:
        """States that are hardly below 0 as integers around `ZERO`, a scale of 1, and each row's own (B, L, 1)."""
        g = self.graph
        top = g.op("ReduceMax", states, g.integers(-1), keepdims=1)
        scale = g.op("Max", g.op("Mul", top, g.floats(1 / (255 - ZERO))), g.floats(BELOW_GELU / ZERO))
        one, zero = g.floats(1.0), g.constant(f"zero_{ZERO}", np.array(ZERO, np.uint8))
        return g.op("QuantizeLinear", g.op("Div", states, scale), one, zero), one, scale


def alike(name: str) -> list[str]:
    """The linear maps that read the same states as one does, itself among them.

    >>> alike("widen"), alike("attention.key"), alike("a.cross.query")
    (['widen'], ['attention.query', 'attention.key', 'attention.value'], ['a.cross.query'])
    """
    room, _, part = name.rpartition(".")
    together = ("key", "value") if room.endswith(".cross") else ("query", "key", "value")
    return [f"{room}.{other}" for other in together] if part in together else [name]


def rounded_outputs(weight_ND: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A matrix as integers from -127 to 127, (N, D) int8, and a scale for each output, (N, 1) float32.

    >>> numbers, scales = rounded_outputs(np.array([[1.27, -0.02]], np.float32))
    >>> numbers.tolist(), round(float(scales[0, 0]), 4)
    ([[127, -2]], 0.01)
    """
    scales_N1 = np.abs(weight_ND).max(1, keepdims=True).astype(np.float32) / np.float32(127)
    scales_N1[scales_N1 == 0] = 1
    return np.rint(weight_ND / scales_N1).astype(np.int8), scales_N1
