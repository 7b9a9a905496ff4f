"""What a network of two stacks is, as a value: an encoder, and a decoder that reads what it made of the text.

Known without torch; `decoder.py` builds the network.
"""

from dataclasses import dataclass

from sijo.errors import SettingError, TextError
from sijo.nn.architecture import Architecture, Learned, PostNorm


@dataclass(frozen=True, kw_only=True)
class DecoderSpec:
    """The second stack: each layer attends to the left, then to the encoder's last states (Vaswani et al. 2017).

    It reads the text again, one place to the right, with the encoder's table of tokens (BART, section 2).
    """

    schedule: tuple[int, ...]
    """Which block of weights each layer uses, in order."""
    heads: int
    """Attention heads a layer."""
    intermediate_size: int
    """Width inside the feed-forward layer."""
    start: int
    """The id of the token that stands before the text."""
    end: int
    """The id of the token that ends a text: heads that judge a whole text read the state at its last place."""


@dataclass(frozen=True, kw_only=True)
class EncoderDecoder(Architecture):
    """An encoder, which the fields of `Architecture` describe, with a decoder behind it.

    >>> bart = EncoderDecoder(vocab_size=99, embedding_size=16, hidden_size=16, heads=2, intermediate_size=32,
    ...     schedule=(0, 1), positions=Learned(count=66), first_place=2,
    ...     decoder=DecoderSpec(schedule=(0,), heads=4, intermediate_size=8, start=2, end=2))
    >>> [(stack.layers, stack.heads, stack.reads, stack.places) for stack in stacks(bart)]
    [(2, 2, 'both_sides', 64), (1, 4, 'left', 66)]
    """

    decoder: DecoderSpec
    """The second stack."""
    first_place: int = 0
    """The row of the tables of places that belongs to the first token; BART leaves two rows unused."""

    def __post_init__(self) -> None:
        super().__post_init__()
        apart = (self.distances, self.relative_bias, self.rotary, self.window, self.convolution, self.widening)
        if any(apart) or (self.reads, self.token_types) != ("both_sides", 0) or not isinstance(self.norm, PostNorm):
            raise SettingError(
                "a decoder stands behind an encoder that reads both sides, with LayerNorm after each addition, and "
                "with places alone: no distances, rotary, window, convolution, segments, narrow table; drop them"
            )
        if not isinstance(self.positions, Learned) or self.positions.padding is not None or self.entry == "scale":
            raise SettingError(
                "a decoder knows learned positions alone, none of them padding's, and a norm over the sum of tables"
            )
        if not 0 <= self.first_place < self.positions.count:
            raise SettingError(f"first_place={self.first_place} is no row of {self.positions.count} places")
        for name in ("start", "end"):
            if not 0 <= (number := getattr(self.decoder, name)) < self.vocab_size:
                raise SettingError(f"decoder.{name}={number} is the id of none of the {self.vocab_size} tokens")
        _ = self.second  # refused now, and not once it is built

    @property
    def places(self) -> int | None:
        """The longest input in tokens."""
        return None if self.positions is None else self.positions.count - self.first_place

    @property
    def second(self) -> Architecture:
        """The decoder's stack by itself."""
        same = {name: getattr(self, name) for name in Architecture.__dataclass_fields__}
        own = {name: getattr(self.decoder, name) for name in ("schedule", "heads", "intermediate_size")}
        return Architecture(**same | own | {"reads": "left"})


def stacks(architecture: Architecture) -> tuple[Architecture, ...]:
    """The stacks of layers that a network is made of: one, or an encoder and a decoder."""
    return (architecture, architecture.second) if isinstance(architecture, EncoderDecoder) else (architecture,)


def without_end(row: int, end: int) -> TextError:
    """What is raised for a text that a head cannot judge, for none of its tokens is the one that ends a text.

    row  its number in a batch
    """
    return TextError(
        f"input {row} of a batch has no token {end}, at whose last place this head judges a text; let the "
        "tokenizer put one behind it, or set eos_token_id to the one that it puts"
    )


def in_stack(name: str) -> str:
    """The name of a tensor as of an encoder by itself; one of a decoder behind it keeps its own.

    >>> in_stack("encoder.blocks.0.widen.weight"), in_stack("decoder.norm.bias"), in_stack("blocks.0.widen.bias")
    ('blocks.0.widen.weight', 'decoder.norm.bias', 'blocks.0.widen.bias')
    """
    return name.removeprefix("encoder.")


def must_be_single(architecture: Architecture, what: str) -> None:
    """Raise SettingError for a network of two stacks; `what` says what cannot be done with it, or why not."""
    if len(stacks(architecture)) > 1:
        raise SettingError(
            f"this network has an encoder and a decoder, as BART's, and {what}; use it as it is, or take an "
            "encoder such as BERT or DeBERTa"
        )
