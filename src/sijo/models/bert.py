"""BERT (Devlin et al. 2018, arXiv:1810.04805): the plain encoder that the others vary.

Sentence encoders such as all-MiniLM are this network with other weights.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from sijo.models.family import (
    Config,
    DropoutShare,
    Eps,
    HeadMaker,
    Layers,
    Names,
    Size,
    judging,
    published_family,
    read_facts,
    tagging,
)
from sijo.nn.architecture import Activation, Architecture, DropoutRates, Learned, PostNorm
from sijo.nn.head_specs import POOLER, ClassifierHeadSpec, HeadSpec, LMHeadSpec

FACTS = read_facts("bert")


class BertConfig(Config):
    """What a BERT's config.json says."""

    what = "BERT"
    plain: ClassVar[Names] = FACTS["plain"]

    vocab_size: Size = 30_522
    hidden_size: Size
    num_hidden_layers: Layers
    num_attention_heads: Size
    intermediate_size: Size
    max_position_embeddings: Size = 512
    type_vocab_size: int = Field(2, gt=0, le=1_000)
    hidden_act: Activation = "gelu"
    layer_norm_eps: Eps = 1e-12
    hidden_dropout_prob: DropoutShare = 0.1
    attention_probs_dropout_prob: DropoutShare = 0.1
    classifier_dropout: DropoutShare | None = None
    position_embedding_type: Literal["absolute"] = "absolute"
    is_decoder: Literal[False] = False
    add_cross_attention: Literal[False] = False

    def architecture(self) -> Architecture:
        drop = self.hidden_dropout_prob
        return Architecture(
            **self.same(),
            positions=Learned(count=self.max_position_embeddings),
            norm=PostNorm(eps=self.layer_norm_eps),
            dropout=DropoutRates(
                embeddings=drop, attention=self.attention_probs_dropout_prob, attention_output=drop, hidden=drop
            ),
        )

    @classmethod
    def fields(cls, architecture: Architecture, heads: Mapping[str, HeadSpec]) -> dict[str, object]:
        return super().fields(architecture, heads) | {"max_position_embeddings": architecture.places or 512}

    @property
    def head_dropout(self) -> float:
        """What a classification head drops."""
        return self.hidden_dropout_prob if self.classifier_dropout is None else self.classifier_dropout


def over_pooler(config: "BertConfig", labels: int) -> ClassifierHeadSpec:
    """Labels over the pooler."""
    return ClassifierHeadSpec(labels=labels, dense="tanh", dropout=config.head_dropout)


MAKERS: dict[str, HeadMaker] = {
    "mlm": lambda config: LMHeadSpec(activation=config.hidden_act),
    **judging(over_pooler),
    "token-classification": tagging("head_dropout"),
    "question-answering": lambda config: ClassifierHeadSpec(labels=2, reads="each"),
    POOLER: lambda config: ClassifierHeadSpec(dense="tanh", answers="vector"),
}
"""The heads by name; others that have one alike take it from here."""
FAMILY = published_family(BertConfig, FACTS, MAKERS)
