"""Linear maps of a network that only reads: their matrices laid out anew, once, as the processor wants them.

The layout is the library's own (oneDNN's, by operators that torch's compiler uses too), so it is asked for where
it is there, and everywhere else the plain product takes its place.

With eight bits, a row of states has a scale of its own, and so has a row of a matrix: what a text is answered never
depends on the texts beside it. States are unsigned bytes, as processors multiply them with signed ones.

Letters: T tokens, N rows of a matrix (its outputs), D its columns.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sijo.nn.architecture import Activation
from sijo.nn.transformer import ACTIVATIONS

FUSED: dict[Activation, tuple[str, str]] = {
    "linear": ("none", ""),
    "gelu": ("gelu", "none"),
    "gelu_new": ("gelu", "tanh"),
    "gelu_pytorch_tanh": ("gelu", "tanh"),
    "relu": ("relu", ""),
    "tanh": ("tanh", ""),
}
"""Activations that the library applies while it writes a product, by its names."""
ROWS = 1024
"""Rows of states for which a matrix is laid out; others take the same layout."""


def packs(device: torch.device, dtype: torch.dtype = torch.float32) -> bool:
    """Whether matrices can be laid out by oneDNN there; of bfloat16 not by every processor."""
    own = getattr(torch.ops, "mkldnn", None)
    return (
        device.type == "cpu"
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(own, "_reorder_linear_weight")
        and hasattr(own, "_linear_pointwise")
        and (dtype != torch.bfloat16 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()))
    )


class PreparedLinear:
    """A linear map and the activation after it, in float32 or bfloat16, from float32 states to float32 states.

    >>> linear = PreparedLinear(torch.eye(2), torch.tensor([1.0, -4.0]), "relu")
    >>> linear(torch.tensor([[2.0, 3.0]])).tolist()
    [[3.0, 0.0]]
    """

    def __init__(
        self,
        weight_ND: Tensor,
        bias_N: Tensor | None,
        activation: Activation = "linear",
        *,
        after: Activation = "linear",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Of matrices in bytes alone it matters which activation states come out of."""
        self.dtype = dtype
        self.weight = weight_ND.detach().to(dtype)
        self.bias = None if bias_N is None else bias_N.detach().to(dtype)
        self.after = ACTIVATIONS[activation]
        self.packed: Any = None
        if packs(weight_ND.device, dtype):
            self.packed = torch.ops.mkldnn._reorder_linear_weight(self.weight.contiguous(), ROWS)
            self.fused = FUSED.get(activation)
            del self.weight

    def __call__(self, states_TD: Tensor, added_TN: Tensor | None = None) -> Tensor:
        """The map of states (T, D), with another (T, N) added where there is one; (T, N) float32."""
        states_TD = states_TD.to(self.dtype)
        if self.packed is None:
            out_TN = self.after(F.linear(states_TD, self.weight, self.bias))
        elif added_TN is not None and self.fused == FUSED["linear"] and self.dtype == torch.float32:
            summed: Tensor = torch.ops.mkldnn._linear_pointwise.binary(
                states_TD, added_TN, self.packed, self.bias, "add"
            )
            return summed
        else:
            name, algorithm = self.fused or FUSED["linear"]
            out_TN = torch.ops.mkldnn._linear_pointwise(states_TD, self.packed, self.bias, name, [], algorithm)
            out_TN = out_TN if self.fused else self.after(out_TN)
        return out_TN.float() if added_TN is None else added_TN + out_TN


ROUND = 2.0**23
"""A float32 of this size has no digits behind the point: added, it rounds, and the lowest byte is the integer."""
MIDDLE = 128
"""The byte that stands for 0 where states lie on both sides of it alike."""
SMALL = 1e-20
"""The largest value of a row counts as this at least, so that a row of zeros has a scale."""


def multiplies_bytes(device: torch.device) -> bool:
    """Whether there is a product of unsigned and signed bytes there."""
    own = getattr(torch.ops, "onednn", None)
    return packs(device) and hasattr(own, "qlinear_prepack") and hasattr(own, "qlinear_pointwise")


def largest_byte() -> int:
    """The largest of a matrix's bytes that this processor adds up without a loss.

    Processors without VNNI add two products of bytes in sixteen bits first: 2 · 255 · 63 just fits.
    """
    told = getattr(torch.cpu, "_is_vnni_supported", None)
    return 127 if told is not None and told() else 63


class BytesLinear:
    """A linear map of bytes, and the activation after it, from float32 states to float32 states.

    >>> linear = BytesLinear(torch.eye(64), torch.ones(64))
    >>> states = torch.linspace(-1, 1, 64)[None]
    >>> bool((linear(states) - states - 1).abs().max() < 0.01)
    True
    """

    def __init__(
        self,
        weight_ND: Tensor,
        bias_N: Tensor | None,
        activation: Activation = "linear",
        *,
        after: Activation = "linear",
    ) -> None:
        """A map of states that come out of the activation `after`, and do not lie on both sides of 0 alike then."""
        weight_ND, most = weight_ND.detach().float(), largest_byte()
        self.scale_N = (weight_ND.abs().amax(1) / most).clamp_min(SMALL)
        bytes_ND = (weight_ND / self.scale_N[:, None]).round().clamp(-most, most)
        self.sum_N = self.scale_N * bytes_ND.sum(1)
        self.bias_N = torch.zeros(len(weight_ND)) if bias_N is None else bias_N.detach().float()
        self.alike, width = after == "linear", weight_ND.shape[1]
        self.shift_D = torch.full((width,), ROUND + MIDDLE)
        self.start_N = -MIDDLE * self.sum_N if self.alike else torch.zeros(len(weight_ND))
        self.zeros_N = torch.zeros(len(weight_ND), dtype=torch.int64)
        self.packed = torch.ops.onednn.qlinear_prepack(bytes_ND.to(torch.int8), None)
        self.linear, self.activation = activation == "linear", ACTIVATIONS[activation]

    def __call__(self, states_TD: Tensor, added_TN: Tensor | None = None) -> Tensor:
        """The map of states (T, D), with another (T, N) added where there is one; (T, N) float32."""
        highest_T1, lowest_T1 = states_TD.amax(1, keepdim=True), states_TD.amin(1, keepdim=True)
        base_TN = self.bias_N
        if self.alike:
            steps_T1 = (255 - MIDDLE) / torch.maximum(highest_T1, -lowest_T1).clamp_min_(SMALL)
            size_T1 = 1 / steps_T1
            bytes_TD = self._bytes(torch.addcmul(self.shift_D, states_TD, steps_T1))
        else:  # a step less than there are, as 0 is rounded up to a byte of its own
            steps_T1 = 254 / (highest_T1.clamp_min_(0) - lowest_T1.clamp_max_(0)).clamp_min_(SMALL)
            zero_T1 = (-lowest_T1 * steps_T1).ceil_()
            size_T1 = 1 / steps_T1
            bytes_TD = self._bytes((states_TD * steps_T1).add_(zero_T1 + ROUND))
            base_TN = torch.addcmul(self.bias_N, self.sum_N, zero_T1 * size_T1, value=-1)
        product_TN: Tensor = torch.ops.onednn.qlinear_pointwise(
            bytes_TD, 1.0, 0, self.packed, self.scale_N, self.zeros_N, self.start_N, 1.0, 0, torch.float32,
            "none", [], "",
        )  # fmt: skip
        out_TN = torch.addcmul(base_TN, product_TN, size_T1)
        if not self.linear:
            out_TN = self.activation(out_TN)
        return out_TN if added_TN is None else out_TN.add_(added_TN)

    @staticmethod
    def _bytes(shifted_TD: Tensor) -> Tensor:
        """The lowest byte of each number."""
        return shifted_TD.view(torch.int32).to(torch.uint8)
