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


CLASSIFIER = "sequence-classification"
"""The name of the head that judges a whole text, or a pair of them."""
POOLER = "pooler"
"""The name of the head that is part of an encoder as published: its answer is no question's."""
HeadSpec = LMHeadSpec | ClassifierHeadSpec

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
