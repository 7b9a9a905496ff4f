"""DistilBERT (Sanh et al. 2019, arXiv:1910.01108): half of BERT's layers, taught by BERT.

As a network it is BERT without segments and without a pooler; nothing is dropped of what attention
adds. What is new is the objective: distillation.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from sijo.models.bert import EMBEDDINGS, WORDPIECE
from sijo.models.family import (
    Config,
    DropoutShare,
    Family,
    Layers,
    Layout,
    Names,
    Size,
    judging,
    per_block,
    spans,
    tagging,
)
from sijo.nn.architecture import Activation, Architecture, DropoutRates, Learned, PostNorm, Sinusoidal
from sijo.nn.head_specs import ClassifierHeadSpec, HeadSpec, LMHeadSpec


class DistilBertConfig(Config):
    """What a DistilBERT's config.json says."""

    what = "DistilBERT"
    plain: ClassVar[Names] = {
        "vocab_size": "vocab_size",
        "n_layers": "layers",
        "n_heads": "heads",
        "dim": "hidden_size",
        "hidden_dim": "intermediate_size",
        "activation": "activation",
        "dropout": "dropout.hidden",
        "attention_dropout": "dropout.attention",
        "initializer_range": "initializer_range",
    }
    aliases: ClassVar[Names] = {
        "hidden_size": "dim",
        "num_attention_heads": "n_heads",
        "num_hidden_layers": "n_layers",
    }

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


NAMES: Names = {
    **EMBEDDINGS,
    "blocks.{n}.attention.query": "transformer.layer.{n}.attention.q_lin",
    "blocks.{n}.attention.key": "transformer.layer.{n}.attention.k_lin",
    "blocks.{n}.attention.value": "transformer.layer.{n}.attention.v_lin",
    "blocks.{n}.attention.out": "transformer.layer.{n}.attention.out_lin",
    "blocks.{n}.attention_norm": "transformer.layer.{n}.sa_layer_norm",
    "blocks.{n}.widen": "transformer.layer.{n}.ffn.lin1",
    "blocks.{n}.narrow": "transformer.layer.{n}.ffn.lin2",
    "blocks.{n}.output_norm": "transformer.layer.{n}.output_layer_norm",
}

UNTYPED = replace(WORDPIECE, name="distilbert", token_types=False)

FAMILY = Family(
    model_type="distilbert",
    stem="DistilBert",
    config=DistilBertConfig,
    prefix="distilbert.",
    roots=("embeddings", "transformer"),
    names=lambda config: per_block(NAMES, config.n_layers),
    layouts=lambda config: (
        Layout(
            "mlm",
            lambda config: LMHeadSpec(activation=config.activation),
            {"dense": "vocab_transform", "norm": "vocab_layer_norm", "bias": "vocab_projector.bias"},
            copies={"vocab_projector.weight": "distilbert.embeddings.word_embeddings.weight"},
        ),
        *judging(over_relu, {"dense": "pre_classifier", "out": "classifier"}),
        tagging("dropout"),
        spans("qa_dropout"),
    ),
    sizes={
        "distilbert-base-uncased": {"vocab_size": 30_522},
        "distilbert-base-cased": {"vocab_size": 28_996},
        "distilbert-base-multilingual-cased": {"vocab_size": 119_547},
        "distilbert-base-german-cased": {"vocab_size": 31_102, "sinusoidal_pos_embds": True},
    },
    tokenizers=(UNTYPED,),
    vocabularies={"vocab.txt": UNTYPED},
)
