"""BERT (Devlin et al. 2018, arXiv:1810.04805): the plain encoder that the others vary.

Sentence encoders such as all-MiniLM are this network with other weights.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from sijo.models.family import (
    Config,
    DropoutShare,
    Eps,
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
from sijo.nn.architecture import Activation, Architecture, DropoutRates, Learned, PostNorm
from sijo.nn.head_specs import POOLER, ClassifierHeadSpec, HeadSpec, LMHeadSpec
from sijo.tokenizers.style import BERT_TOKENS, TokenizerStyle


class BertConfig(Config):
    """What a BERT's config.json says."""

    what = "BERT"
    plain: ClassVar[Names] = {
        "vocab_size": "vocab_size",
        "hidden_size": "hidden_size",
        "num_hidden_layers": "layers",
        "num_attention_heads": "heads",
        "intermediate_size": "intermediate_size",
        "type_vocab_size": "token_types",
        "hidden_act": "activation",
        "layer_norm_eps": "norm.eps",
        "hidden_dropout_prob": "dropout.hidden",
        "attention_probs_dropout_prob": "dropout.attention",
        "initializer_range": "initializer_range",
    }

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


BLOCK: Names = {
    "blocks.{n}.attention.query": "encoder.layer.{n}.attention.self.query",
    "blocks.{n}.attention.key": "encoder.layer.{n}.attention.self.key",
    "blocks.{n}.attention.value": "encoder.layer.{n}.attention.self.value",
    "blocks.{n}.attention.out": "encoder.layer.{n}.attention.output.dense",
    "blocks.{n}.attention_norm": "encoder.layer.{n}.attention.output.LayerNorm",
    "blocks.{n}.widen": "encoder.layer.{n}.intermediate.dense",
    "blocks.{n}.narrow": "encoder.layer.{n}.output.dense",
    "blocks.{n}.output_norm": "encoder.layer.{n}.output.LayerNorm",
}
EMBEDDINGS: Names = {
    "embeddings.tokens": "embeddings.word_embeddings",
    "embeddings.places": "embeddings.position_embeddings",
    "embeddings.segments": "embeddings.token_type_embeddings",
    "embeddings.norm": "embeddings.LayerNorm",
}


def masked_lm(tokens: str, **says: Any) -> Layout:
    """The masked LM head as BERT released it; `tokens` is the table of tokens."""
    return Layout(
        "mlm",
        lambda config: LMHeadSpec(activation=config.hidden_act),
        {
            "dense": "cls.predictions.transform.dense",
            "norm": "cls.predictions.transform.LayerNorm",
            "bias": "cls.predictions.bias",
        },
        copies={"cls.predictions.decoder.weight": tokens, "cls.predictions.decoder.bias": "cls.predictions.bias"},
        says=says,
    )


def over_pooler(config: "BertConfig", labels: int) -> ClassifierHeadSpec:
    """Labels over the pooler."""
    return ClassifierHeadSpec(labels=labels, dense="tanh", dropout=config.head_dropout)


POOLED = ClassifierHeadSpec(dense="tanh", answers="vector")
WORDPIECE = TokenizerStyle(
    name="bert",
    kind="wordpiece",
    special=BERT_TOKENS,
    first=("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    folds=True,
)


def size(hidden: int, layers: int, **more: object) -> dict[str, object]:
    """Config fields of a published size whose heads are 64 wide and whose inner layer is four times as wide."""
    heads, inner = hidden // 64, 4 * hidden
    layered = {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads}
    return {**layered, "intermediate_size": inner, **more}


FAMILY = Family(
    model_type="bert",
    stem="Bert",
    config=BertConfig,
    prefix="bert.",
    roots=("embeddings", "encoder", "pooler"),
    names=lambda config: per_block({**EMBEDDINGS, **BLOCK}, config.num_hidden_layers),
    layouts=lambda config: (
        masked_lm("bert.embeddings.word_embeddings.weight"),
        *judging(over_pooler, {"dense": "bert.pooler.dense", "out": "classifier"}),
        tagging("head_dropout"),
        spans(),
        Layout(POOLER, lambda config: POOLED, {"dense": "bert.pooler.dense"}),
    ),
    sizes={
        "bert-base-uncased": size(768, 12),
        "bert-large-uncased": size(1024, 24),
        "bert-base-cased": size(768, 12, vocab_size=28_996),
        "bert-large-cased": size(1024, 24, vocab_size=28_996),
        "bert-base-multilingual-cased": size(768, 12, vocab_size=119_547),
    },
    tokenizers=(WORDPIECE,),
    vocabularies={"vocab.txt": WORDPIECE},
)
