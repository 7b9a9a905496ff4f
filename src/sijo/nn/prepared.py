"""A network made ready for reading alone: the same answers, sooner.

Its linear maps are laid out as the processor wants them; queries, keys and values are one product; activations and
additions are part of a product; padding is left out; and what does not depend on the text is computed once. The
network itself is not touched, and its weights stay where they are.

Letters: B batch, L length, T tokens packed, D width of the hidden states, E three times that, P rows of distances.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sijo.errors import SettingError
from sijo.nn.architecture import PARTS, Architecture
from sijo.nn.decoder import single_stack
from sijo.nn.encoder_decoder import stacks
from sijo.nn.head_specs import POOLER
from sijo.nn.heads import HeadInput, Network
from sijo.nn.packing import Packing, packing, pieces
from sijo.nn.prepared_attention import DistanceRows, LayerSight, PreparedAttention, distance_rows
from sijo.nn.prepared_linear import BytesLinear, PreparedLinear, multiplies_bytes
from sijo.nn.transformer import Block, Convolution, Output
from sijo.nn.window import turns

Precision = Literal["exact", "bf16", "int8"]


def may_prepare(architecture: Architecture) -> bool:
    """Whether `prepared` takes such a network: one stack that reads both sides, and by no distances near alone."""
    a = architecture
    by_distance = a.distances is not None or a.relative_bias is not None
    return a.reads == "both_sides" and len(stacks(a)) == 1 and not (a.window is not None and by_distance)


def prepared(network: Network, *, precision: Precision = "exact") -> "PreparedNetwork":
    """A network that reads both sides, ready for reading alone.

    network    as it was loaded; weights that change afterwards are not seen
    precision  of the products of its linear maps: "exact" for float32; "bf16" and "int8" round what is multiplied,
               and nothing else: sums, norms and attention stay float32

    Raises SettingError for a network that `may_prepare` does not take, and for a precision that is not at hand.

    >>> from sijo.nn.architecture import Learned
    >>> tiny = Architecture(vocab_size=99, embedding_size=16, hidden_size=16, heads=2, intermediate_size=32,
    ...                     schedule=(0, 0), positions=Learned(count=8))
    >>> network, ids = Network(tiny).eval(), torch.tensor([[5, 6, 7]])
    >>> gap = prepared(network)(ids).last_hidden_state - network(ids).last_hidden_state
    >>> bool(gap.abs().max() < 1e-5)
    True
    """
    if network.architecture.reads != "both_sides":
        raise SettingError("a network that reads to the left writes token by token; generate with it as it is")
    single_stack(network.transformer, "only one stack is made ready for the processor")
    if not may_prepare(network.architecture):
        raise SettingError(
            "distances, or a bias for them, beside a window are read by the network as it is; use that"
        )
    if precision not in MAPS:
        raise SettingError(f"no precision {precision!r} with torch; there are {', '.join(MAPS)}")
    if precision == "int8" and not multiplies_bytes(network.transformer.embeddings.tokens.weight.device):
        raise SettingError('precision="int8" needs torch on a processor with products of bytes; use "exact"')
    return PreparedNetwork(network, precision)


MAPS: dict[Precision, Callable[..., PreparedLinear | BytesLinear]] = {
    "exact": PreparedLinear,
    "bf16": partial(PreparedLinear, dtype=torch.bfloat16),
    "int8": BytesLinear,
}


class PreparedNetwork:
    """What `prepared` gives: called like the network, without what only training or inspection asks for.

    Between two calls it keeps nothing of what it read.
    """

    def __init__(self, network: Network, precision: Precision) -> None:
        a = network.architecture
        transformer = self.transformer = single_stack(network.transformer, "only one stack is made ready")
        self.network = network
        with torch.inference_mode():
            table_PD = None
            if transformer.distances is not None:
                norm = transformer.distances.norm
                table_PD = transformer.distances.rows.weight
                table_PD = (table_PD if norm is None else norm(table_PD)).float()
            self.blocks = []
            for block in transformer.blocks:
                assert isinstance(block, Block)
                self.blocks.append(PreparedBlock(block, a, table_PD, precision))
            mix = transformer.convolution
            self.convolution = None if mix is None else PreparedConvolution(mix)

    @torch.inference_mode()
    def __call__(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Output:
        """As `Network.forward`: the last hidden states, float32 and 0 at padding, and what the heads answer.

        input_ids       (B, L) int64
        attention_mask  (B, L), 1 or True at real tokens; None when there is no padding
        token_type_ids  (B, L) int64; None when all are 0

        A batch with an empty row, or with padding that is not on the right, goes through the network itself.
        """
        packed = self._packing(input_ids, attention_mask)
        if packed is None:
            plain: Output = self.network(input_ids, attention_mask, token_type_ids)
            return plain
        states_BLD, head_input = self._packed(packed, input_ids, attention_mask, token_type_ids)
        answers = {name: head(head_input).float() for name, head in self.network.head.items()}
        pooled = answers.pop(POOLER, None)
        logits = next(iter(answers.values())) if len(answers) == 1 else None
        return Output(states_BLD, None, logits, answers, pooled)

    @torch.inference_mode()
    def head_input(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> HeadInput:
        """As `Network.head_input`: what the network reads in a batch, before any head answers."""
        packed = self._packing(input_ids, attention_mask)
        if packed is None:
            return self.network.head_input(input_ids, attention_mask, token_type_ids)
        return self._packed(packed, input_ids, attention_mask, token_type_ids)[1]

    def _packing(self, input_ids: Tensor, attention_mask: Tensor | None) -> Packing | None:
        """How a batch is packed; None where the network itself reads it, as where it hides labels."""
        if self.network.hiding is not None:
            return None
        keep_BL = None if attention_mask is None else attention_mask.bool()
        return packing((input_ids.shape[0], input_ids.shape[1]), keep_BL, input_ids.device)

    def _packed(
        self, packed: Packing, input_ids: Tensor, attention_mask: Tensor | None, token_type_ids: Tensor | None
    ) -> tuple[Tensor, HeadInput]:
        """The last states (B, L, D) float32, and as heads read them, which are as they were loaded."""
        transformer = self.transformer
        transformer.must_fit(input_ids.shape[1])
        dtype = transformer.embeddings.tokens.weight.dtype
        before_TD, last_TD = self.read(packed, input_ids, token_type_ids)
        states_BLD, layers = packed.unpack(last_TD), None
        kept_BLD = states_BLD.to(dtype)
        if any(head.needs_layers for head in self.network.head.values()):
            layers = packed.unpack(before_TD).to(dtype), kept_BLD  # those that a head looks at
        keep_BL = None if attention_mask is None else attention_mask.bool()
        return states_BLD, HeadInput(Output(kept_BLD, layers), keep_BL, transformer, input_ids)

    def read(self, packed: Packing, input_ids: Tensor, token_type_ids: Tensor | None) -> tuple[Tensor, Tensor]:
        """The states of a packed batch before the last layer, and after it, both (T, D)."""
        a = self.network.architecture
        places_BL = self.transformer.embeddings.positions(input_ids)
        column_T = packed.place_T % packed.shape[1] if places_BL is None else packed.pack(places_BL)
        types_1T = None if token_type_ids is None else packed.pack(token_type_ids)[None]
        embeddings = self.transformer.embeddings
        embedded_TD = embeddings(packed.pack(input_ids)[None], types_1T, column_T[None], None)[0].float()
        rows: dict[int, DistanceRows] = {}
        if a.distances is not None:
            lengths = [group.length for group in packed.groups]
            rows = {length: distance_rows(a.distances, length, input_ids.device) for length in lengths}
        table, bias_HLL = self.transformer.relative_bias, None
        if table is not None:  # of the longest row; what a shorter one has is a part of it
            columns_1L = torch.arange(packed.groups[0].length, device=input_ids.device)[None]
            bias_HLL = table(columns_1L)[0].float()
        turn = turns(a, torch.arange(packed.shape[1], device=input_ids.device), torch.float32)
        before_TD = states_TD = embedded_TD
        for layer, block in enumerate(a.schedule):
            sight = "global" if a.window is None else a.window.sight(layer)
            reach = a.window.reach if a.window is not None and sight == "local" else None
            before_TD, states_TD = (
                states_TD,
                self.blocks[block](states_TD, packed, rows, LayerSight(turn.get(sight), reach, bias_HLL)),
            )
            if layer == 0 and self.convolution is not None:
                states_TD = self.convolution(embedded_TD, states_TD, packed)
        final = self.transformer.final_norm
        return before_TD, states_TD if final is None else Norm(final)(states_TD)


class Norm:
    """A LayerNorm in float32, whatever its weights are kept in."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        self.shape, self.eps = norm.normalized_shape, norm.eps
        self.weight = norm.weight.detach().float()
        self.bias = None if norm.bias is None else norm.bias.detach().float()

    def __call__(self, states: Tensor) -> Tensor:
        return F.layer_norm(states, self.shape, self.weight, self.bias, self.eps)


class PreparedBlock:
    """A block of weights: attention, then a feed-forward layer."""

    def __init__(
        self, block: Block, architecture: Architecture, table_PD: Tensor | None, precision: Precision
    ) -> None:
        """table_PD is what the network's rows of distances are before a block projects them, or None."""
        own = block.attention
        self.norm_first = block.norm_first
        first, self.output_norm = block.attention_norm, Norm(block.output_norm)
        self.attention_norm = Norm(first) if isinstance(first, nn.LayerNorm) else first
        self.attention = PreparedAttention(own, table_PD)
        weights = [part.weight.detach().float() for part in (own.query, own.key, own.value)]
        biases = [_bias(part) for part in (own.query, own.key, own.value)]
        weights[0], biases[0] = weights[0] * own.scale, biases[0] * own.scale  # of the queries
        linear = MAPS[precision]
        self.query_key_value = linear(torch.cat(weights), torch.cat(biases))
        self.out = linear(own.out.weight, own.out.bias)
        parts = PARTS[architecture.feed_forward]
        first_FD, *gate_FD = zip(block.widen.weight.chunk(parts), _bias(block.widen).chunk(parts), strict=True)
        self.widen = linear(*first_FD, architecture.activation)
        self.gate = linear(*gate_FD[0]) if gate_FD else None
        after = "linear" if gate_FD else architecture.activation  # what is gated lies on both sides of 0
        self.narrow = linear(block.narrow.weight, block.narrow.bias, after=after)

    def __call__(
        self, states_TD: Tensor, packed: Packing, rows: dict[int, DistanceRows], seen: LayerSight
    ) -> Tensor:
        """From packed states (T, D) to packed states; `rows` gives the distances of each length."""
        qkv_TE = states_TD.new_empty(len(states_TD), 3 * states_TD.shape[1])
        for piece in pieces(len(states_TD)):
            part_TD = states_TD[piece]
            qkv_TE[piece] = self.query_key_value(self.attention_norm(part_TD) if self.norm_first else part_TD)
        read_TD = torch.empty_like(states_TD)
        read_TD[packed.tokens :] = 0
        for group in packed.groups:
            self.attention(qkv_TE, group, rows.get(group.length), read_TD, seen)
        for piece in pieces(len(states_TD)):  # a piece is written where it was read
            read_TD[piece] = self._feed(read_TD[piece], states_TD[piece])
        return read_TD

    def _feed(self, read_TD: Tensor, states_TD: Tensor) -> Tensor:
        """What becomes of states and of what they read from others."""
        states_TD = self.out(read_TD, states_TD)
        if self.norm_first:
            return self.narrow(self._inner(self.output_norm(states_TD)), states_TD)
        states_TD = self.attention_norm(states_TD)
        return self.output_norm(self.narrow(self._inner(states_TD), states_TD))

    def _inner(self, states_TD: Tensor) -> Tensor:
        """What the feed-forward layer narrows again, (T, F)."""
        wide_TF = self.widen(states_TD)
        return wide_TF if self.gate is None else wide_TF.mul_(self.gate(states_TD))


class PreparedConvolution:
    """The convolution beside the first layer, over packed rows."""

    def __init__(self, convolution: Convolution) -> None:
        self.convolution, self.norm = convolution, Norm(convolution.norm)

    def __call__(self, embedded_TD: Tensor, layer_TD: Tensor, packed: Packing) -> Tensor:
        """From embeddings and the first layer's output, what takes the latter's place; all (T, D)."""
        mix = self.convolution.mix
        weight, bias = mix.weight.float(), None if mix.bias is None else mix.bias.float()
        out_TD = layer_TD.clone()
        for group in packed.groups:
            mixed_RDL = F.conv1d(group.of(embedded_TD).transpose(1, 2), weight, bias, 1, mix.padding, 1, mix.groups)
            mixed_RLD = self.convolution.activation(mixed_RDL.transpose(1, 2))
            group.of(out_TD).copy_(self.norm(group.of(layer_TD) + mixed_RLD))
        return out_TD


def _bias(linear: nn.Linear) -> Tensor:
    """Its bias in float32, or zeros."""
    zeros = linear.weight.new_zeros(len(linear.weight)) if linear.bias is None else linear.bias.detach()
    return zeros.float()
