"""What a head is, as a value: `heads.py` builds the module. Known without torch.

Names and layouts in published checkpoints are the business of `models/`.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from sijo.nn.architecture import Activation

Reads = Literal["first", "last", "end", "mean", "each", "each_with_first"]
"""What a head looks at."""


@dataclass(frozen=True, kw_only=True)
class LMHeadSpec:
    """Which token stands here, or comes next? The table of tokens again, and a bias."""

    activation: Activation | None = None
    """The activation of a dense layer and a norm before it (BERT's masked LM head); None for neither (CTRL)."""
    places: int = 0
    """Rows of a table of places for DeBERTa's enhanced mask decoder; 0 for a head that reads the last layer."""
    dense_bias: bool = True
    """Whether the dense layer has a bias; ModernBERT's has none."""
    kind: Literal["vocabulary"] = "vocabulary"


@dataclass(frozen=True, kw_only=True)
class ClassifierHeadSpec:
    """What is this text, or each token of it? A linear layer over states, with a dense one before it or not.

    BERT's classifier is a dense layer with tanh over the first state; ELECTRA's replaced-token head
    one with gelu over each; a tagger has none. A span is two labels, start and end, for each token.
    """

    labels: int = 1
    """How many scores it gives."""
    reads: Reads = "first"
    """The state of the first token, of the last that is no padding, of the last that ends a text (BART), the mean
    of all that are no padding, each, or of each the norm of its sum with the first's (DeBERTa-v3's replaced-token
    head)."""
    dense: Activation | None = None
    """The activation of a dense layer before the scores; None for no such layer."""
    dense_bias: bool = True
    """Whether the dense layer has a bias."""
    dense_norm: Literal["none", "layer_norm"] = "none"
    """What follows the dense layer and its activation (ModernBERT)."""
    dense_dropout: float = 0.0
    """Share dropped before the dense layer."""
    dropout: float = 0.0
    """Share dropped before the scores."""
    bias: bool = True
    """Whether the scores have a bias; CTRL's have none."""
    answers: Literal["labels", "one", "vector"] = "labels"
    """A score for each label; one score, without a dimension for it; or what the dense layer gives (a pooler)."""
    kind: Literal["judgement"] = "judgement"


@dataclass(frozen=True, kw_only=True)
class OnePassHeadSpec:
    """Which of the labels that stand beside the text fit it? A score for each, all of one pass (GLiClass)."""

    label_mark: int
    """The id of the token in front of each label."""
    text_mark: int
    """The id of the token behind the last label."""
    inner: int
    """Width between the two dense layers that the vector of a label passes, and that of the text."""
    label: Literal["first", "average"] = "first"
    """The state of the label's mark, or the mean of it and of all up to the next."""
    text: Literal["first", "last", "avg", "max"] = "first"
    """How one vector is made of the text's states, padding left out."""
    starts: Literal["input", "mark"] = "input"
    """Whether the text is the whole input, labels included, or begins at its mark, where labels then end."""
    order: Literal["labels_first", "text_first"] = "labels_first"
    """How inputs are laid out; `tokenizers/label_prompt.py` does it."""
    activation: Activation = "gelu"
    """Between the two dense layers."""
    scorer: Literal["simple", "mlp"] = "simple"
    """What compares a label with the text; "simple" is the dot product."""
    vectors: Literal["plain", "unit"] = "plain"
    """Whether vectors are scaled to length 1, and scores then multiplied by a learned number."""
    scale: float = 2.6592
    """That number before anything is learned."""
    offset: float | None = None
    """What is added to scores, before anything is learned; None for nothing, which is what was published."""
    neighbours: Literal["seen", "hidden"] = "seen"
    """Whether labels read each other and the text reads them; hidden, the text reads itself and a label itself and
    the text, from the place behind it on, so that its score is of text and label alone."""
    dropout: float = 0.1
    """Share dropped between the dense layers, and of the text's vector."""
    kind: Literal["labels"] = "labels"


CLASSIFIER = "sequence-classification"
"""The name of the head that judges a whole text, or a pair of them."""
POOLER = "pooler"
"""The name of the head that is part of an encoder as published: its answer is no question's."""
OPEN_LABELS = "one-pass"
"""The name of the head that judges all labels that stand beside a text."""
HeadSpec = LMHeadSpec | ClassifierHeadSpec | OnePassHeadSpec

PoolingMode = Literal["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
"""A way to make one vector of a text's states; `pool` tells what each is."""
POOLING_MODES: tuple[PoolingMode, ...] = get_args(PoolingMode)
Pooling = PoolingMode | tuple[PoolingMode, ...]
"""One way, or several, whose vectors stand one after another."""


def pooling_modes(pooling: Pooling) -> tuple[PoolingMode, ...]:
    """The modes of a pooling, in the order of their vectors.

    >>> pooling_modes("mean"), pooling_modes(("max", "mean"))
    (('mean',), ('max', 'mean'))
    """
    return (pooling,) if isinstance(pooling, str) else pooling
