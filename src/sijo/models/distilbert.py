"""DistilBERT (Sanh et al. 2019, arXiv:1910.01108): half of BERT's layers, taught by BERT.

As a network it is BERT without segments and without a pooler; nothing is dropped of what attention
adds. What is new is the objective: distillation.
"""

from collections.abc import Mapping
from typing import ClassVar

from sijo.models import bert
from sijo.models.family import (
    Config,
    DropoutShare,
    HeadMaker,
    Layers,
    Names,
    Size,
    judging,
    published_family,
    read_facts,
    tagging,
)
from sijo.nn.architecture import Activation, Architecture, DropoutRates, Learned, PostNorm, Sinusoidal
from sijo.nn.head_specs import ClassifierHeadSpec, HeadSpec, LMHeadSpec

FACTS = read_facts("distilbert", {"names": bert.FACTS["names"]})


class DistilBertConfig(Config):
    """What a DistilBERT's config.json says."""

    what = "DistilBERT"
    plain: ClassVar[Names] = FACTS["plain"]
    aliases: ClassVar[Names] = FACTS["aliases"]

    vocab_size: Size = 30_522
    max_position_embeddings: Size = 512
    sinusoidal_pos_embds: bool = False
    n_layers: Layers = 6
    n_heads: Size = 12
    dim: Size = 768
    hidden_dim: Size = 3072
    dropout: DropoutShare = 0.1
    attention_dropout: DropoutShare = 0.1
    activation: Activation = "gelu"
    qa_dropout: DropoutShare = 0.1
    seq_classif_dropout: DropoutShare = 0.2

    def architecture(self) -> Architecture:
        positions = Sinusoidal if self.sinusoidal_pos_embds else Learned
        drop = self.dropout
        return Architecture(
            **self.same(),
            positions=positions(count=self.max_position_embeddings),
            norm=PostNorm(eps=1e-12),
            dropout=DropoutRates(
                embeddings=drop, attention=self.attention_dropout, attention_output=0.0, hidden=drop
            ),
        )

    @classmethod
    def fields(cls, architecture: Architecture, heads: Mapping[str, HeadSpec]) -> dict[str, object]:
        return super().fields(architecture, heads) | {
            "max_position_embeddings": architecture.places or 512,
            "sinusoidal_pos_embds": isinstance(architecture.positions, Sinusoidal),
        }


def over_relu(config: DistilBertConfig, labels: int) -> ClassifierHeadSpec:
    """A dense layer and a ReLU before the labels, in place of BERT's pooler."""
    return ClassifierHeadSpec(labels=labels, dense="relu", dropout=config.seq_classif_dropout)


MAKERS: dict[str, HeadMaker] = {
    "mlm": lambda config: LMHeadSpec(activation=config.activation),
    **judging(over_relu),
    "token-classification": tagging("dropout"),
    "question-answering": lambda config: ClassifierHeadSpec(labels=2, reads="each", dropout=config.qa_dropout),
}
FAMILY = published_family(DistilBertConfig, FACTS, MAKERS)
