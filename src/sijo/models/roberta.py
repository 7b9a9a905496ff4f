"""RoBERTa (Liu et al. 2019, arXiv:1907.11692), XLM-RoBERTa (Conneau et al. 2019, arXiv:1911.02116) and CamemBERT
(Martin et al. 2020, arXiv:1911.03894): BERT trained for longer, on one sentence after another, by masking alone.

As a network it is BERT whose places are counted from the row after padding's on. What differs else are heads and
tokenizers. Korean checkpoints such as klue/roberta have BERT's tokenizer with it.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from sijo.models import bert
from sijo.models.family import Size, published_family, read_facts
from sijo.nn.architecture import LARGEST, Architecture, Learned
from sijo.nn.head_specs import ClassifierHeadSpec, HeadSpec, LMHeadSpec


class RobertaConfig(bert.BertConfig):
    """What a RoBERTa's config.json says."""

    what = "RoBERTa"

    vocab_size: Size = 50_265
    pad_token_id: Annotated[int, Field(ge=0, lt=LARGEST)] = 1

    def architecture(self) -> Architecture:
        return replace(
            super().architecture(),
            positions=Learned(count=self.max_position_embeddings, padding=self.padding),
        )

    @property
    def padding(self) -> int:
        """The row of padding in the table of places."""
        return self.pad_token_id

    @classmethod
    def fields(cls, architecture: Architecture, heads: Mapping[str, HeadSpec]) -> dict[str, object]:
        fields, positions = super().fields(architecture, heads), architecture.positions
        if not isinstance(positions, Learned) or positions.padding is None:
            return fields
        return fields | {"max_position_embeddings": positions.count, "pad_token_id": positions.padding}


def over_first(config: RobertaConfig) -> ClassifierHeadSpec:
    """The released head over the first token: a dense layer of its own and no pooler, dropout before each."""
    dropout = config.head_dropout
    return ClassifierHeadSpec(labels=len(config.labels), dense="tanh", dropout=dropout, dense_dropout=dropout)


def over_own_pooler(config: RobertaConfig) -> ClassifierHeadSpec:
    """A score for each choice, over the pooler; its dropout is the config's `hidden_dropout_prob` whatever else."""
    return ClassifierHeadSpec(dense="tanh", dropout=config.hidden_dropout_prob)


MAKERS = bert.MAKERS | {
    "mlm": lambda config: LMHeadSpec(activation="gelu"),
    "sequence-classification": over_first,
    "multiple-choice": over_own_pooler,
}
FACTS = read_facts("roberta", bert.FACTS)
ROBERTA = published_family(RobertaConfig, FACTS, MAKERS)
XLM_ROBERTA = published_family(RobertaConfig, read_facts("xlm_roberta", FACTS), MAKERS)
CAMEMBERT = published_family(RobertaConfig, read_facts("camembert", FACTS), MAKERS)
