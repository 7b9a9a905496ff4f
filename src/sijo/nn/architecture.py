"""What a network is, as a value: its sizes, and a choice among a few mechanisms.

A field is a dimension or a choice of part, never a switch inside a part. What papers brought as
models are values here: ALBERT is a `schedule` that repeats and a narrow `embedding_size`, DeBERTa a
choice of `distances`, CTRL a Transformer that reads to the left. BERT is the plain case.
"""

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

from sijo.errors import SettingError

LARGEST = 10_000_000
"""Of any size: a greater number is a mistake, and would ask for terabytes."""
MOST_LAYERS = 1_000

Activation = Literal["gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "swish", "tanh", "linear"]
Term = Literal["c2p", "p2c"]
Sight = Literal["global", "local"]
BiasPlace = Literal["attention", "feed_forward", "norm"]
BIAS_PLACES: tuple[BiasPlace, ...] = get_args(BiasPlace)
FeedForward = Literal["plain", "gated"]
PARTS: dict[FeedForward, int] = {"plain": 1, "gated": 2}
"""How many times `intermediate_size` the first map of a feed-forward layer gives."""


def _sizes(**sizes: int) -> None:
    """Refuse a size that nothing can be built of."""
    for name, size in sizes.items():
        if not 1 <= size <= LARGEST:
            raise SettingError(f"{name}={size} is no size; give a number from 1 to {LARGEST:,}")


def _eps(**sums: float) -> None:
    for name, eps in sums.items():
        if not 0 < eps < 1:
            raise SettingError(f"{name}={eps} must lie between 0 and 1, such as 1e-12")


@dataclass(frozen=True, kw_only=True)
class Learned:
    """A learned vector for each place, added to the token's own (BERT, section 3.2)."""

    count: int
    """Rows of the table: the longest input in tokens, where no row is padding's."""
    padding: int | None = None
    """The row, and the token's id, of padding, whose table begins behind it: the first token that is no padding is
    at the row after (RoBERTa's released code, of fairseq); None where padding has none, and tokens are counted
    from 0."""
    kind: Literal["learned"] = "learned"

    def __post_init__(self) -> None:
        _sizes(count=self.count)
        if self.padding is not None and not 0 <= self.padding < self.count - 1:
            raise SettingError(
                f"positions.padding={self.padding} leaves no place in a table of positions.count={self.count} "
                "rows: places begin at the row after it; give more rows"
            )

    @property
    def first(self) -> int:
        """The row of the first place."""
        return 0 if self.padding is None else self.padding + 1


@dataclass(frozen=True, kw_only=True)
class Sinusoidal:
    """A wave for each place, added to the token's own vector (Vaswani et al. 2017, section 3.5)."""

    count: int
    """How many places there are: the longest input in tokens."""
    layout: Literal["interleaved", "halves"] = "interleaved"
    """Sine and cosine by turns, in a table that is kept with the weights but not trained, as DistilBERT's (whose
    published tables hold learned values under that name); or all sines before all cosines, computed, as CTRL's."""
    kind: Literal["sinusoidal"] = "sinusoidal"

    def __post_init__(self) -> None:
        _sizes(count=self.count)


@dataclass(frozen=True, kw_only=True)
class Disentangled:
    """Attention that scores words and distances apart (DeBERTa, section 3.1)."""

    span: int
    """The furthest distance with a row of its own, in tokens; beyond it all are alike."""
    buckets: int = 0
    """Rows on each side of zero into which distances fall, coarser further off; 0 keeps each apart (v1)."""
    terms: tuple[Term, ...] = ("c2p", "p2c")
    """Which products are added to word on word: c2p, word on distance; p2c, distance on word."""
    projections: Literal["shared", "own"] = "shared"
    """Whether distances pass through the words' query and key projections (v2, v3) or through their own (v1)."""
    norm: Literal["none", "layer_norm"] = "none"
    """What the table of distances passes through before the first layer."""
    key_bias: bool = True
    """Whether keys have a bias; v1's have none."""
    longest: int | None = None
    """The longest input it is trained on, in tokens, where that is longer than `span`; None for `span`."""

    def __post_init__(self) -> None:
        _sizes(span=self.span, buckets=self.buckets or 1, longest=1 if self.longest is None else self.longest)
        if self.buckets == 1:
            raise SettingError(
                "buckets=1 cannot tell left from right; use 0 to keep every distance apart, or 2 and more"
            )
        if self.buckets and self.span <= self.buckets // 2 + 1:
            raise SettingError(
                f"span={self.span} tokens must exceed buckets/2 + 1 = {self.buckets // 2 + 1}; "
                "use buckets=0 to keep every distance apart"
            )
        if len(set(self.terms)) != len(self.terms) or not set(self.terms) <= {"c2p", "p2c"}:
            raise SettingError(f"terms={self.terms} must name c2p and p2c at most once each; there are no others")

    @property
    def rows(self) -> int:
        """Rows of the table of distances."""
        return 2 * (self.buckets or self.span)

    @property
    def length(self) -> int:
        """The longest input it is trained on, in tokens."""
        return self.span if self.longest is None else self.longest

    @property
    def ahead(self) -> int:
        """The furthest distance to the right with a row of its own, in tokens.

        Where inputs are longer than the span and every distance is kept apart, the released code limits the row and
        not the distance: keys `span` tokens ahead and more are on row 0, and trained there. In inputs that are not
        longer, nothing reaches row 0. Buckets limit the distance.
        """
        return self.span - (self.buckets > 0 or self.length <= self.span)


@dataclass(frozen=True, kw_only=True)
class RelativeBias:
    """A learned number for each head and bucket of distances, added to scores in all layers (T5, section 2.1)."""

    buckets: int = 32
    """Rows of the table: one half for keys at the query or before it, the other for keys behind it."""
    span: int = 128
    """Distances from here on are alike, in tokens."""

    def __post_init__(self) -> None:
        _sizes(buckets=self.buckets, span=self.span)
        if self.buckets < 4 or self.buckets % 2 or self.span <= self.buckets // 4:
            raise SettingError(
                f"relative_bias of buckets={self.buckets} and span={self.span}: buckets must be even, 4 or more, "
                "and the span more than a quarter of them; T5 has 32 and 128"
            )

    @property
    def rows(self) -> tuple[int, ...]:
        """The row of each distance from key to query (i - j), from -span to span.

        On each side the first half of its rows are a distance each, and the others wider the further off.
        Source: T5's released code, `_relative_position_bucket`; MPNet's has the same.

        >>> RelativeBias(buckets=8, span=6).rows
        (7, 7, 7, 6, 6, 5, 0, 1, 2, 2, 3, 3, 3)
        """
        half, near = self.buckets // 2, self.buckets // 4
        scale = (half - near) / math.log(self.span / near)
        far = (near + int(math.log(max(n, near) / near) * scale + 1e-9) for n in range(self.span + 1))
        one_side = [min(row if n >= near else n, half - 1) for n, row in enumerate(far)]
        return (*(half + row for row in one_side[:0:-1]), *one_side)


@dataclass(frozen=True, kw_only=True)
class Rotary:
    """Queries and keys turned by where they stand, so that scores know how far apart they are (RoFormer, 3.2)."""

    count: int
    """The longest input in tokens."""
    base: float = 10_000.0
    """How slowly the slowest channels turn: nearly once in 2 π times so many tokens."""
    local_base: float | None = None
    """The same in layers that read near tokens alone; None for `base`."""

    def __post_init__(self) -> None:
        _sizes(count=self.count)
        for base in (self.base, self.base if self.local_base is None else self.local_base):
            if not 1 < base < math.inf:
                raise SettingError(f"a rotary base of {base} turns nothing; give one above 1, such as 10000")


@dataclass(frozen=True, kw_only=True)
class Window:
    """Layers that read near tokens alone, among others that read all (ModernBERT, section 2.1)."""

    reach: int
    """The furthest token that they read, on either side."""
    pattern: tuple[Sight, ...] = ("global", "local", "local")
    """Which layers they are, from the first on; it is repeated."""

    def __post_init__(self) -> None:
        _sizes(reach=self.reach)
        if "local" not in self.pattern or not set(self.pattern) <= {"global", "local"}:
            raise SettingError(
                f"window.pattern={self.pattern} must name a local layer, beside global ones; or window=None"
            )

    def sight(self, layer: int) -> Sight:
        """What a layer reads, counted from 0."""
        return self.pattern[layer % len(self.pattern)]


@dataclass(frozen=True, kw_only=True)
class ConvolutionSpec:
    """A convolution over the embeddings, added to the first layer (released DeBERTa-v2 xlarge and xxlarge)."""

    kernel: int = 3
    """Tokens it sees at once; odd, so that its middle is a token."""
    groups: int = 1
    """Into how many groups of channels it is split."""
    activation: Activation = "tanh"
    """What follows it."""

    def __post_init__(self) -> None:
        _sizes(kernel=self.kernel, groups=self.groups)
        if self.kernel % 2 == 0:
            raise SettingError(f"kernel={self.kernel} has no middle token; use an odd number such as 3")


@dataclass(frozen=True, kw_only=True)
class PostNorm:
    """LayerNorm after each addition (BERT)."""

    eps: float = 1e-12
    """Added to the variance."""
    kind: Literal["post"] = "post"

    def __post_init__(self) -> None:
        _eps(eps=self.eps)


@dataclass(frozen=True, kw_only=True)
class PreNorm:
    """LayerNorm before each part, and once more at the end (CTRL)."""

    eps: float = 1e-6
    """Added to the variance."""
    final_eps: float = 1e-6
    """Added to the variance in the last one."""
    first: Literal["norm", "none"] = "norm"
    """What stands before the attention of block 0; nothing where the entry's norm just was (ModernBERT)."""
    kind: Literal["pre"] = "pre"

    def __post_init__(self) -> None:
        _eps(eps=self.eps, final_eps=self.final_eps)


@dataclass(frozen=True, kw_only=True)
class DropoutRates:
    """Which share of values is dropped in training, by place."""

    embeddings: float = 0.1
    """Of the sum of tables."""
    attention: float = 0.1
    """Of the attention weights."""
    attention_output: float = 0.1
    """Of what attention adds; DistilBERT drops none there."""
    hidden: float = 0.1
    """Of what the feed-forward layer adds, of the table of distances and of the convolution."""
    inner: float = 0.0
    """Of what is inside the feed-forward layer, behind its activation; BERT drops none there."""

    def __post_init__(self) -> None:
        for name, share in vars(self).items():
            if not 0 <= share < 1:
                raise SettingError(f"dropout {name}={share} is no share to drop; give a number from 0 to below 1")


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """The sizes of a Transformer and the mechanisms it is made of.

    >>> tiny = Architecture(vocab_size=99, embedding_size=8, hidden_size=16, heads=2, intermediate_size=32,
    ...                     schedule=(0, 0, 0), positions=Learned(count=64), widening="after_norm")
    >>> tiny.layers, tiny.blocks        # three layers that share one block's weights, as ALBERT
    (3, 1)
    """

    vocab_size: int
    """Rows of the token table."""
    embedding_size: int
    """Width of the embedding tables."""
    hidden_size: int
    """Width of the hidden states."""
    heads: int
    """Attention heads a layer."""
    intermediate_size: int
    """Width inside the feed-forward layer."""
    schedule: tuple[int, ...]
    """Which block of weights each layer uses, in order: (0, 1, 2) shares nothing, (0, 0, 0) all."""
    positions: Learned | Sinusoidal | None = None
    """What tells a token where it stands, added to its vector; None for nothing."""
    distances: Disentangled | None = None
    """What attention makes of how far apart two tokens stand; None for nothing."""
    relative_bias: RelativeBias | None = None
    """What is added to scores for how far apart two tokens stand, whatever they are; None for nothing."""
    rotary: Rotary | None = None
    """What turns queries and keys by where they stand; None for nothing."""
    window: Window | None = None
    """Which layers read near tokens alone; None for none."""
    token_types: int = 0
    """Rows of the segment table; 0 for none."""
    reads: Literal["both_sides", "left"] = "both_sides"
    """Which tokens a token attends to: all, or itself and those before it."""
    entry: Literal["norm", "scale", "scale_norm"] = "norm"
    """What becomes of the sum of tables: LayerNorm; or nothing, but tokens are multiplied by the root of the
    width first (CTRL); or both (BART's `scale_embedding`)."""
    widening: Literal["after_norm", "before_norm"] | None = None
    """Where a linear map leads from `embedding_size` to `hidden_size`: after the entry's norm, with a bias
    (ALBERT, ELECTRA), or before it, without (DeBERTa)."""
    convolution: ConvolutionSpec | None = None
    """A convolution beside the first layer."""
    activation: Activation = "gelu"
    """Of the feed-forward layer; `gelu_new` is the tanh approximation."""
    feed_forward: FeedForward = "plain"
    """What the feed-forward layer narrows again: all it widened, or half of that times the other half (GeGLU)."""
    biases: tuple[BiasPlace, ...] = BIAS_PLACES
    """Which parts have biases: the maps of attention, those of the feed-forward layer, and every LayerNorm."""
    norm: PostNorm | PreNorm = PostNorm()
    """Where LayerNorm stands in a layer."""
    dropout: DropoutRates = field(default_factory=DropoutRates)
    """What is dropped in training."""
    initializer_range: float = 0.02
    """Standard deviation of fresh weights."""

    def __post_init__(self) -> None:
        names = ("vocab_size", "embedding_size", "hidden_size", "heads", "intermediate_size")
        _sizes(**{name: getattr(self, name) for name in names}, token_types=self.token_types or 1)
        if not 0 <= self.initializer_range <= 10:
            raise SettingError(f"initializer_range={self.initializer_range} is no deviation of weights; try 0.02")
        if self.layers > MOST_LAYERS:
            raise SettingError(f"schedule has {self.layers:,} layers; sijo builds at most {MOST_LAYERS:,}")
        if self.hidden_size % self.heads:
            raise SettingError(
                f"hidden_size={self.hidden_size} cannot be split into heads={self.heads} equal heads; "
                f"choose a number of heads that divides it"
            )
        if not self.schedule or sorted(set(self.schedule)) != list(range(self.blocks)):
            raise SettingError(
                f"schedule={self.schedule} must name blocks 0, 1, 2, … without a gap; "
                "(0, 1, 2) gives each of three layers its own weights"
            )
        if self.embedding_size != self.hidden_size and self.widening is None:
            raise SettingError(
                f"embedding_size={self.embedding_size} and hidden_size={self.hidden_size} differ, so something "
                'must lead from one to the other: widening="after_norm" (ALBERT) or "before_norm" (DeBERTa)'
            )
        if self.distances is not None and self.relative_bias is not None:
            raise SettingError(
                "distances and relative_bias both tell how far apart tokens stand; choose one of them"
            )
        if self.convolution is not None and self.hidden_size % self.convolution.groups:
            raise SettingError(
                f"convolution.groups={self.convolution.groups} must divide hidden_size={self.hidden_size}"
            )

        if self.biases != tuple(place for place in BIAS_PLACES if place in self.biases):
            raise SettingError(f"biases={self.biases} must be some of {', '.join(BIAS_PLACES)}, in this order")
        head = self.hidden_size // self.heads
        if self.rotary is not None and (self.distances is not None or head % 2):
            raise SettingError(
                f"rotary turns pairs of a head's {head} channels, in place of distances; use an even width, or none"
            )
        if isinstance(self.norm, PreNorm) and self.norm.first == "none" and 0 in self.schedule[1:]:
            raise SettingError(
                f'norm.first="none" leaves block 0 bare, but schedule={self.schedule} has it further up; use "norm"'
            )

    @property
    def layers(self) -> int:
        """How many layers a token passes through."""
        return len(self.schedule)

    @property
    def blocks(self) -> int:
        """How many layers have weights of their own."""
        return max(self.schedule, default=-1) + 1

    @property
    def places(self) -> int | None:
        """The longest input in tokens; None when the network itself sets no limit."""
        first = self.positions.first if isinstance(self.positions, Learned) else 0
        limits = [] if self.positions is None else [self.positions.count - first]
        return min(limits if self.rotary is None else [*limits, self.rotary.count], default=None)
