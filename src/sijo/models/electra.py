"""ELECTRA (Clark et al. 2020, arXiv:2003.10555): an encoder that learns by spotting replaced tokens.

As a network it is BERT with a table that may be narrower than the blocks. What is new is the
objective: a generator, whose head is `mlm`, replaces tokens, and the discriminator's `rtd` spots them.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from sijo.models import bert
from sijo.models.family import DropoutShare, Layers, Size, published_family, read_facts
from sijo.nn.architecture import Activation, Architecture
from sijo.nn.head_specs import ClassifierHeadSpec, HeadSpec, LMHeadSpec


class ElectraConfig(bert.BertConfig):
    """What an ELECTRA's config.json says."""

    what = "ELECTRA"

    embedding_size: Size = 128
    hidden_size: Size = 256
    num_hidden_layers: Layers = 12
    num_attention_heads: Size = 4
    intermediate_size: Size = 1024
    summary_type: Literal["first"] = "first"
    summary_use_proj: Literal[True] = True
    summary_proj_to_labels: Literal[False] = False
    summary_activation: Activation | None = "gelu"
    summary_first_dropout: DropoutShare = 0.0
    summary_last_dropout: DropoutShare = 0.1

    def architecture(self) -> Architecture:
        return replace(
            super().architecture(),
            embedding_size=self.embedding_size,
            widening=None if self.embedding_size == self.hidden_size else "after_norm",
        )

    @classmethod
    def fields(cls, architecture: Architecture, heads: Mapping[str, HeadSpec]) -> dict[str, object]:
        return super().fields(architecture, heads) | {"embedding_size": architecture.embedding_size}


def classification(config: ElectraConfig) -> ClassifierHeadSpec:
    """The head as transformers trains it; the paper's own has no dense layer between (docs/electra.md)."""
    dropout = config.head_dropout
    return ClassifierHeadSpec(labels=len(config.labels), dense="gelu", dropout=dropout, dense_dropout=dropout)


def multiple_choice(config: ElectraConfig) -> ClassifierHeadSpec:
    """The head over transformers' "sequence summary"."""
    return ClassifierHeadSpec(
        dense=config.summary_activation or "linear",
        dropout=config.summary_last_dropout,
        dense_dropout=config.summary_first_dropout,
    )


FACTS = read_facts("electra", bert.FACTS)
MAKERS = bert.MAKERS | {
    "mlm": lambda config: LMHeadSpec(activation="gelu"),
    "rtd": lambda config: ClassifierHeadSpec(reads="each", dense=config.hidden_act, answers="one"),
    "sequence-classification": classification,
    "multiple-choice": multiple_choice,
}
FAMILY = published_family(ElectraConfig, FACTS, MAKERS)
