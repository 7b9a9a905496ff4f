"""ELECTRA (Clark et al. 2020, arXiv:2003.10555): an encoder that learns by spotting replaced tokens.

As a network it is BERT with a table that may be narrower than the blocks. What is new is the
objective: a generator, whose head is `mlm`, replaces tokens, and the discriminator's `rtd` spots them.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from sijo.models.bert import BLOCK, EMBEDDINGS, WORDPIECE, BertConfig, size
from sijo.models.family import DropoutShare, Family, Layers, Layout, Rate, Size, per_block, spans, tagging
from sijo.nn.architecture import Activation, Architecture
from sijo.nn.head_specs import ClassifierHeadSpec, HeadSpec, LMHeadSpec


class ElectraConfig(BertConfig):
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


FAMILY = Family(
    model_type="electra",
    stem="Electra",
    config=ElectraConfig,
    prefix="electra.",
    roots=("embeddings", "embeddings_project", "encoder"),
    names=lambda config: per_block(
        {**EMBEDDINGS, "embeddings.project": "embeddings_project", **BLOCK}, config.num_hidden_layers
    ),
    layouts=lambda config: (
        Layout(
            "mlm",
            lambda config: LMHeadSpec(activation="gelu"),
            {
                "dense": "generator_predictions.dense",
                "norm": "generator_predictions.LayerNorm",
                "bias": "generator_lm_head.bias",
            },
            copies={"generator_lm_head.weight": "electra.embeddings.word_embeddings.weight"},
        ),
        Layout(
            "rtd",
            lambda config: ClassifierHeadSpec(reads="each", dense=config.hidden_act, answers="one"),
            {"dense": "discriminator_predictions.dense", "out": "discriminator_predictions.dense_prediction"},
        ),
        Layout(
            "sequence-classification", classification, {"dense": "classifier.dense", "out": "classifier.out_proj"}
        ),
        tagging("head_dropout"),
        spans(),
        Layout("multiple-choice", multiple_choice, {"dense": "sequence_summary.summary", "out": "classifier"}),
    ),
    wrappers=("module.", "discriminator.", "generator."),
    sizes={
        "electra-small-discriminator": size(256, 12, embedding_size=128),
        "electra-small-generator": size(256, 12, embedding_size=128),
        "electra-base-discriminator": size(768, 12, embedding_size=768),
        "electra-base-generator": size(256, 12, embedding_size=768),
        "electra-large-discriminator": size(1024, 24, embedding_size=1024),
        "electra-large-generator": size(256, 24, embedding_size=1024),
    },
    tokenizers=(replace(WORDPIECE, name="electra"),),
    vocabularies={"vocab.txt": WORDPIECE},
    rates=(
        Rate(hidden_size=256, peak=3e-4, layer_decay=0.8, source="ELECTRA, table 7"),
        Rate(hidden_size=768, peak=1e-4, layer_decay=0.8, source="ELECTRA, table 7"),
        Rate(peak=5e-5, layer_decay=0.9, source="ELECTRA, table 7"),
    ),
)
