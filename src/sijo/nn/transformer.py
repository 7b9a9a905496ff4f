"""The one Transformer: embeddings, then blocks in the order of the schedule.

Letters: B batch, L length, D width of the hidden states, F width inside the feed-forward layer.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from sijo.errors import SettingError, TextError
from sijo.nn.architecture import PARTS, Activation, Architecture, ConvolutionSpec, PreNorm
from sijo.nn.attention import SelfAttention, View, behind, view
from sijo.nn.cache import Cache, Layer
from sijo.nn.distances import DistanceTable, pairs
from sijo.nn.dropout import Dropout
from sijo.nn.embeddings import Embeddings
from sijo.nn.feed_forward import between
from sijo.nn.linear import Linear
from sijo.nn.norm import attention_norm, layer_norm
from sijo.nn.relative_bias import RelativeBiasTable
from sijo.nn.window import by_layer

ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "gelu_pytorch_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
    "silu": F.silu,
    "swish": F.silu,
    "tanh": torch.tanh,
    "linear": lambda states: states,
}


@dataclass(frozen=True)
class Output:
    """What a forward pass gives back."""

    last_hidden_state: Tensor
    """(B, L, D) float, after the last layer and, with pre-norm, the final norm."""
    hidden_states: tuple[Tensor, ...] | None = None
    """Each (B, L, D): the embeddings, then the states after each layer; only on request."""
    logits: Tensor | None = None
    """What the loaded head answers; None without a head, and with several."""
    answers: Mapping[str, Tensor] = field(default_factory=dict)
    """What each loaded head answers, by its name."""
    pooler_output: Tensor | None = None
    """(B, D), where the encoder was published with a pooler and no head was loaded over it."""


def start(module: nn.Module, *, std: float) -> None:
    """Draw fresh weights in place: normal ones, biases 0, norms 1 and 0 (BERT's released code).

    Nothing is drawn on the meta device.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding | nn.Conv1d) and not part.weight.is_meta:
            nn.init.normal_(part.weight, std=std)
            if getattr(part, "bias", None) is not None:
                nn.init.zeros_(part.bias)  # type: ignore[arg-type]
    for part in module.modules():
        if isinstance(part, Embeddings) and not part.tokens.weight.is_meta:
            part.start()


def freeze_below(transformer: "Transformer", layers: int) -> None:
    """Freeze all of a network but its top layers and the norm behind them: the rest gets no gradient, and keeps
    nothing for one.

    layers  how many are trained, one or more

    Raises SettingError for more than there are, and where a block stands among both, as of a network that shares
    its layers.

    >>> from sijo.nn.architecture import Architecture, Learned
    >>> network = Transformer(Architecture(vocab_size=99, embedding_size=16, hidden_size=16, heads=2,
    ...     intermediate_size=32, schedule=(0, 1), positions=Learned(count=64)))
    >>> freeze_below(network, 1)
    >>> sorted({name[:8] for name, weight in network.named_parameters() if weight.requires_grad})
    ['blocks.1']
    """
    schedule = transformer.architecture.schedule
    if not 1 <= layers <= len(schedule):
        raise SettingError(f"{layers} top layers cannot be trained of a network of {len(schedule)}; give 1 to that")
    below, top = schedule[:-layers], schedule[-layers:]
    if shared := {*below} & {*top}:
        raise SettingError(
            f"the top {layers} of {len(schedule)} layers cannot be trained alone: this network shares its layers, "
            f"and block {min(shared)} stands below them too; train all"
        )
    transformer.requires_grad_(False)
    for block in top:
        transformer.blocks[block].requires_grad_(True)
    if transformer.final_norm is not None:
        transformer.final_norm.requires_grad_(True)


class Block(nn.Module):
    """Attention, then a feed-forward layer, each added to its input; LayerNorm after or before each."""

    def __init__(self, architecture: Architecture, number: int) -> None:
        super().__init__()
        a, biased = architecture, "feed_forward" in architecture.biases
        self.attention = SelfAttention(a)
        self.attention_norm = attention_norm(a, number)
        self.widen = Linear(a.hidden_size, PARTS[a.feed_forward] * a.intermediate_size, bias=biased)
        self.narrow = Linear(a.intermediate_size, a.hidden_size, bias=biased)
        self.output_norm = layer_norm(a, a.hidden_size)
        self.inner_dropout = Dropout(a.dropout.inner)
        self.attention_dropout = Dropout(a.dropout.attention_output)
        self.dropout = Dropout(a.dropout.hidden)
        self.activation = partial(between, a.feed_forward, ACTIVATIONS[a.activation])
        self.norm_first = isinstance(a.norm, PreNorm)

    def forward(
        self, hidden_BLD: Tensor, view: View, query_BLD: Tensor | None = None, kept: Layer | None = None
    ) -> Tensor:
        """Returns (B, L, D).

        hidden_BLD  what is read from
        view        what of it may be read
        query_BLD   makes the queries, and is added to; None for hidden_BLD itself
        kept        the cache's part of this layer: read too, and added to
        """
        query_BLD = hidden_BLD if query_BLD is None else query_BLD
        if self.norm_first:
            normed_BLD = self.attention_norm(query_BLD)
            query_BLD = query_BLD + self.attention_dropout(self.attention(normed_BLD, normed_BLD, view, kept))
            return query_BLD + self._feed(self.output_norm(query_BLD))
        read_BLD = self.attention_dropout(self.attention(query_BLD, hidden_BLD, view, kept))
        query_BLD = self.attention_norm(query_BLD + read_BLD)
        out_BLD: Tensor = self.output_norm(query_BLD + self._feed(query_BLD))
        return out_BLD

    def _feed(self, hidden_BLD: Tensor) -> Tensor:
        inner_BLF = self.inner_dropout(self.activation(self.widen(hidden_BLD)))
        fed_BLD: Tensor = self.dropout(self.narrow(inner_BLF))
        return fed_BLD


class Convolution(nn.Module):
    """Near tokens seen at once, added to the first layer's output (released DeBERTa-v2 code)."""

    def __init__(self, architecture: Architecture, spec: ConvolutionSpec) -> None:
        super().__init__()
        width = architecture.hidden_size
        self.mix = nn.Conv1d(width, width, spec.kernel, padding=spec.kernel // 2, groups=spec.groups)
        self.norm = layer_norm(architecture, width)
        self.dropout = Dropout(architecture.dropout.hidden)
        self.activation = ACTIVATIONS[spec.activation]

    def forward(self, embedded_BLD: Tensor, layer_BLD: Tensor, keep_BL: Tensor | None) -> Tensor:
        """From the embeddings and the first layer's output, both (B, L, D), what takes the latter's place."""
        keep = 1 if keep_BL is None else keep_BL[..., None].to(embedded_BLD.dtype)
        mixed_BLD = self.mix((embedded_BLD * keep).transpose(1, 2)).transpose(1, 2) * keep
        out_BLD: Tensor = self.norm(layer_BLD + self.activation(self.dropout(mixed_BLD))) * keep
        return out_BLD


class Transformer(nn.Module):
    """A stack of blocks over embeddings, built from an `Architecture`, with fresh weights.

    >>> from sijo.nn.architecture import Architecture, Learned
    >>> tiny = Transformer(Architecture(vocab_size=99, embedding_size=16, hidden_size=16, heads=2,
    ...     intermediate_size=32, schedule=(0, 1), positions=Learned(count=64)))
    >>> tiny(torch.tensor([[5, 6, 7]])).last_hidden_state.shape
    torch.Size([1, 3, 16])
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = self.architecture = architecture
        self.embeddings = Embeddings(a)
        self.distances = None if a.distances is None else DistanceTable(a, a.distances)
        self.relative_bias = None if a.relative_bias is None else RelativeBiasTable(a, a.relative_bias)
        self.blocks = nn.ModuleList(Block(a, number) for number in range(a.blocks))
        self.convolution = None if a.convolution is None else Convolution(a, a.convolution)
        self.final_norm = layer_norm(a, a.hidden_size, a.norm.final_eps) if isinstance(a.norm, PreNorm) else None
        self.recompute = False
        """In training, forget what is inside a block after the forward pass and compute it again for the
        gradient: less memory for a third more work."""
        start(self, std=a.initializer_range)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        output_hidden_states: bool = False,
        position_ids: Tensor | None = None,
        wanted: Tensor | None = None,
        parts: Tensor | None = None,
    ) -> Output:
        """Read a batch of token ids.

        input_ids             (B, L) int64
        attention_mask        (B, L), 1 or True at real tokens; None when there is no padding
        token_type_ids        (B, L) int64; None when all are 0; a network of fewer than two does not read them
        output_hidden_states  keep the states after every layer too
        position_ids          (B, L) int64; None for 0, 1, 2, …, or as `Embeddings.positions` counts
        wanted                (B, L) bool, True where the last states will be looked at; None for everywhere. The
                              others may be zeros, for the last layer is then computed at these places alone
        parts                 (B, L) int64, as of `attention.view`, beside `position_ids`, by which all that goes by
                              distance then counts; None for one part, in which columns are counted

        Raises TextError when L exceeds the places the architecture knows.
        """
        self.must_fit(input_ids.shape[1])
        keep_BL = None if attention_mask is None else attention_mask.bool()
        embedded_BLD = hidden_BLD = self.embeddings(input_ids, token_type_ids, position_ids, keep_BL)
        views = self.views(keep_BL, embedded_BLD, position_ids, parts)
        states = [embedded_BLD]
        few = None if wanted is None or output_hidden_states else self._few(wanted)
        for layer, (block, seen) in enumerate(zip(self.architecture.schedule, views, strict=True)):
            if few is not None and layer == self.architecture.layers - 1:
                hidden_BLD = self._at(few, self.blocks[block], hidden_BLD, seen)
            elif self.recompute and torch.is_grad_enabled():
                hidden_BLD = checkpoint(self.blocks[block], hidden_BLD, seen, use_reentrant=False)
            else:
                hidden_BLD = self.blocks[block](hidden_BLD, seen)
            if layer == 0 and self.convolution is not None:
                hidden_BLD = self.convolution(embedded_BLD, hidden_BLD, keep_BL)
            if output_hidden_states:
                states.append(hidden_BLD)
        if self.final_norm is not None:
            hidden_BLD = self.final_norm(hidden_BLD)
            states[-1] = hidden_BLD
        return Output(hidden_BLD, tuple(states) if output_hidden_states else None)

    def _few(self, wanted_BL: Tensor) -> tuple[Tensor, Tensor] | None:
        """The places that are wanted of each row, the first ones first, and which of them are real, both (B, Q).

        None where most are, or where a layer cannot be computed at some alone: by distances, turned or near, all
        are compared at once, and where the norm comes first, or a convolution last, other places are needed too.
        """
        a = self.architecture
        if any(part is not None for part in (a.distances, a.relative_bias, a.rotary, a.window, a.convolution)):
            return None
        if isinstance(a.norm, PreNorm) or a.reads == "left":
            return None
        most = int(wanted_BL.sum(1).max())
        if 2 * most > wanted_BL.shape[1]:
            return None
        real_BQ, place_BQ = wanted_BL.to(torch.uint8).sort(stable=True, dim=1, descending=True)
        return place_BQ[:, :most], real_BQ[:, :most].bool()

    def _at(self, few: tuple[Tensor, Tensor], block: nn.Module, hidden_BLD: Tensor, seen: View) -> Tensor:
        """What a block makes of the states at some places, (B, L, D) with zeros elsewhere."""
        place_BQ, real_BQ = few
        query_BQD = hidden_BLD.gather(1, place_BQ[..., None].expand(-1, -1, hidden_BLD.shape[-1]))
        if self.recompute and torch.is_grad_enabled():
            out_BQD = checkpoint(block, hidden_BLD, seen, query_BQD, use_reentrant=False)
        else:
            out_BQD = block(hidden_BLD, seen, query_BQD)
        row_BQ = torch.arange(len(place_BQ), device=place_BQ.device)[:, None].expand_as(place_BQ)
        whole_BLD = torch.zeros_like(hidden_BLD, dtype=out_BQD.dtype)
        return whole_BLD.index_put((row_BQ[real_BQ], place_BQ[real_BQ]), out_BQD[real_BQ])

    def step(self, input_ids: Tensor, cache: Cache, keep_BL: Tensor | None = None) -> Tensor:
        """Read prompts into an empty cache, or after that one token more of each row.

        input_ids  (B, L) int64, each row from its first token on, padded on the right; or (B, 1)
        cache      is added to; with room for all
        keep_BL    True at real tokens of prompts; None when there is no padding

        Returns the last states of what was read, (B, L, D), as `forward` of the whole text gives them.
        Only for a network that reads to the left, with places by column, with turned queries and keys or without
        either: one of distances, a bias for them or a convolution keeps too little, and `Generator` refuses it.
        """
        new = input_ids.shape[1]
        kept = cache.open(new)
        first, at = kept[0].width == new, kept[0].new
        if isinstance(at, slice):  # rows that stand at one place read all there is
            places = torch.arange(at.start, at.stop, device=input_ids.device)[None]
            hidden_BLD = self.embeddings(input_ids, None, None if first else places, keep_BL)
            seen = view(self.architecture, keep_BL, hidden_BLD) if first else View()
        else:
            places = at[1][:, None]
            hidden_BLD = self.embeddings(input_ids, None, places, keep_BL)
            seen = behind(at[1], kept[0].width, hidden_BLD)
        keys_1K = torch.arange(kept[0].width, device=input_ids.device)[None]
        views = by_layer(self.architecture, seen, hidden_BLD, places, keys_1K, places)
        for block, seen, layer in zip(self.architecture.schedule, views, kept, strict=True):
            hidden_BLD = self.blocks[block](hidden_BLD, seen, None, layer)
        cache.read(keep_BL, new)
        out_BLD: Tensor = hidden_BLD if self.final_norm is None else self.final_norm(hidden_BLD)
        return out_BLD

    def must_fit(self, length: int) -> None:
        """Raise TextError for inputs of more tokens than the architecture knows places."""
        limit = self.architecture.places
        if limit is not None and length > limit:
            raise TextError(
                f"an input of {length} tokens is longer than the {limit} places this "
                "model knows; cut it into windows, as sijo.encode does"
            )

    def views(
        self,
        keep_BL: Tensor | None,
        like: Tensor,
        position_ids: Tensor | None = None,
        parts_BL: Tensor | None = None,
    ) -> list[View]:
        """The view of each layer, for hidden states (B, L, D) that stand at `position_ids` (B, L), or 0, 1, 2, …"""
        length, seen = like.shape[1], view(self.architecture, keep_BL, like, parts_BL)
        columns_1L = torch.arange(length, device=like.device)[None]
        places_BL = columns_1L if position_ids is None else position_ids
        apart_BL = columns_1L if parts_BL is None else places_BL
        if self.relative_bias is not None:
            bias = self.relative_bias(apart_BL).to(like.dtype)
            lowest = torch.finfo(bias.dtype).min
            seen = replace(seen, bias=bias if seen.unseen is None else bias.masked_fill(seen.unseen, lowest))
        if self.distances is not None:
            own = None if parts_BL is None else pairs(apart_BL)
            seen = replace(seen, distances=self.distances(length), pairs=own)
        return by_layer(self.architecture, seen, like, apart_BL, apart_BL, places_BL)
