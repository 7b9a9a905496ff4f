"""A sibling of `Transformer`: an encoder, and a decoder that reads the text again beside the encoder's states.

Letters: B batch, L length, K places of the encoder, D width of the hidden states.
"""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sijo.nn.architecture import Architecture
from sijo.nn.attention import SelfAttention, View, view
from sijo.nn.dropout import Dropout
from sijo.nn.embeddings import Embeddings, table
from sijo.nn.encoder_decoder import EncoderDecoder, must_be_single
from sijo.nn.norm import layer_norm
from sijo.nn.transformer import Block, Output, Transformer, start


class DecoderBlock(Block):
    """Attention to the left, attention to the encoder's states, then a feed-forward layer; LayerNorm after each.

    Source: Vaswani et al. 2017, section 3.1.
    """

    def __init__(self, architecture: Architecture, number: int) -> None:
        super().__init__(architecture, number)
        self.cross = SelfAttention(architecture)
        self.cross_norm = layer_norm(architecture, architecture.hidden_size)

    def forward(  # type: ignore[override]  # a block of another stack: it is given more to read
        self, hidden_BLD: Tensor, seen: View, encoded_BKD: Tensor, encoded: View
    ) -> Tensor:
        """Returns (B, L, D).

        hidden_BLD   what the layer below gave
        seen         what of it may be read
        encoded_BKD  the encoder's last states
        encoded      what of them may be read
        """
        read_BLD = self.attention_dropout(self.attention(hidden_BLD, hidden_BLD, seen))
        hidden_BLD = self.attention_norm(hidden_BLD + read_BLD)
        read_BLD = self.attention_dropout(self.cross(hidden_BLD, encoded_BKD, encoded))
        hidden_BLD = self.cross_norm(hidden_BLD + read_BLD)
        out_BLD: Tensor = self.output_norm(hidden_BLD + self._feed(hidden_BLD))
        return out_BLD


class Decoder(nn.Module):
    """A stack of `DecoderBlock`s over places and a norm of its own, without a table of tokens."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = architecture
        assert a.places is not None
        self.schedule = a.schedule
        self.places = table(a.places, a.embedding_size)
        self.norm = layer_norm(a, a.embedding_size)
        self.dropout = Dropout(a.dropout.embeddings)
        self.blocks = nn.ModuleList(DecoderBlock(a, number) for number in range(a.blocks))
        start(self, std=a.initializer_range)


class EncoderDecoderTransformer(nn.Module):
    """An encoder and a decoder over the same text, built from an `EncoderDecoder`, with fresh weights.

    The decoder reads the text one place to the right: where the encoder has token i, it has token i - 1,
    and before the first one the start token. Its last states are the network's (BART, section 3.1).

    >>> from sijo.nn.architecture import Learned
    >>> from sijo.nn.encoder_decoder import DecoderSpec
    >>> tiny = EncoderDecoderTransformer(EncoderDecoder(vocab_size=99, embedding_size=16, hidden_size=16, heads=2,
    ...     intermediate_size=32, schedule=(0, 1), positions=Learned(count=64),
    ...     decoder=DecoderSpec(schedule=(0,), heads=4, intermediate_size=8, start=2, end=2)))
    >>> output = tiny(torch.tensor([[0, 5, 2]]), output_hidden_states=True)
    >>> output.last_hidden_state.shape, len(output.hidden_states)
    (torch.Size([1, 3, 16]), 5)
    """

    def __init__(self, architecture: EncoderDecoder) -> None:
        super().__init__()
        self.architecture = architecture
        self.encoder = Transformer(architecture)
        self.decoder = Decoder(architecture.second)

    @property
    def embeddings(self) -> Embeddings:
        """The encoder's, whose table of tokens the decoder and heads read with."""
        return self.encoder.embeddings

    @property
    def recompute(self) -> bool:
        """As `Transformer.recompute`, of both stacks."""
        return self.encoder.recompute

    @recompute.setter
    def recompute(self, value: bool) -> None:
        self.encoder.recompute = value

    def must_fit(self, length: int) -> None:
        """Raise TextError for inputs of more tokens than the architecture knows places."""
        self.encoder.must_fit(length)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        output_hidden_states: bool = False,
        position_ids: Tensor | None = None,
        wanted: Tensor | None = None,
    ) -> Output:
        """As `Transformer.forward`; hidden states are the encoder's, and behind them the decoder's.

        Padding is read by neither stack, wherever it stands. `wanted` changes nothing: every place is computed.
        """
        a, stack = self.architecture, self.decoder
        if position_ids is None:
            position_ids = torch.arange(input_ids.shape[1], device=input_ids.device)
        self.must_fit(input_ids.shape[1])
        places = position_ids + a.first_place
        read = self.encoder(input_ids, attention_mask, None, output_hidden_states, places)
        keep_BL = None if attention_mask is None else attention_mask.bool()
        tokens_BLD = self.embeddings.scaled(shifted(input_ids, keep_BL, a.decoder.start))
        hidden_BLD = stack.dropout(stack.norm(tokens_BLD + stack.places(places).to(tokens_BLD.dtype)))
        states = [*(read.hidden_states or ()), hidden_BLD]
        seen, encoded = view(a.second, keep_BL, hidden_BLD), view(a, keep_BL, hidden_BLD)
        for block in stack.schedule:
            given = (hidden_BLD, seen, read.last_hidden_state, encoded)
            if self.recompute and torch.is_grad_enabled():
                hidden_BLD = checkpoint(stack.blocks[block], *given, use_reentrant=False)
            else:
                hidden_BLD = stack.blocks[block](*given)
            if output_hidden_states:
                states.append(hidden_BLD)
        return Output(hidden_BLD, tuple(states) if output_hidden_states else None)


AnyTransformer = Transformer | EncoderDecoderTransformer
"""A network below its heads."""


def shifted(input_ids: Tensor, keep_BL: Tensor | None, first: int) -> Tensor:
    """The ids (B, L) one place to the right, with `first` before each row's first real token.

    >>> shifted(torch.tensor([[5, 6, 7], [1, 8, 9]]), torch.tensor([[1, 1, 1], [0, 1, 1]]).bool(), 2).tolist()
    [[2, 5, 6], [2, 2, 8]]
    """
    before_BL = input_ids if keep_BL is None else input_ids.masked_fill(~keep_BL, first)
    return torch.cat([torch.full_like(input_ids[:, :1], first), before_BL[:, :-1]], 1)


def build_transformer(architecture: Architecture) -> AnyTransformer:
    """The network that an architecture describes, with fresh weights."""
    if isinstance(architecture, EncoderDecoder):
        return EncoderDecoderTransformer(architecture)
    return Transformer(architecture)


def single_stack(transformer: AnyTransformer, what: str) -> Transformer:
    """The network itself; SettingError where it has a decoder, as of `must_be_single`."""
    must_be_single(transformer.architecture, what)
    assert isinstance(transformer, Transformer)
    return transformer
