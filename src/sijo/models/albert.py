"""ALBERT (Lan et al. 2019, arXiv:1909.11942): few weights, used again in every layer.

As a network it is BERT with a narrow table (section 3.1) and a schedule that repeats. What is new
otherwise is the objective of sentence order, whose head is `sop`.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from sijo.errors import RefusedError
from sijo.models.bert import EMBEDDINGS, POOLED, WORDPIECE, BertConfig, over_pooler, size
from sijo.models.family import (
    DropoutShare,
    Family,
    Layers,
    Layout,
    Names,
    Rate,
    Size,
    judging,
    spans,
    tagging,
)
from sijo.nn.architecture import MOST_LAYERS, Activation, Architecture
from sijo.nn.head_specs import POOLER, ClassifierHeadSpec, HeadSpec, LMHeadSpec
from sijo.tokenizers.style import BERT_TOKENS, TokenizerStyle


class AlbertConfig(BertConfig):
    """What an ALBERT's config.json says; its defaults are xxlarge-v2's."""

    what = "ALBERT"

    vocab_size: Size = 30_000
    embedding_size: Size = 128
    hidden_size: Size = 4096
    num_hidden_layers: Layers = 12
    num_hidden_groups: Layers = 1
    inner_group_num: Layers = 1
    num_attention_heads: Size = 64
    intermediate_size: Size = 16_384
    hidden_act: Activation = "gelu_new"
    hidden_dropout_prob: DropoutShare = 0.0
    attention_probs_dropout_prob: DropoutShare = 0.0
    classifier_dropout_prob: DropoutShare = 0.1
    ln_type: Literal["postln"] = "postln"

    def architecture(self) -> Architecture:
        layers, groups, inner = self.num_hidden_layers, self.num_hidden_groups, self.inner_group_num
        if layers * inner > MOST_LAYERS:
            raise RefusedError(
                f"the config's num_hidden_layers {layers} times inner_group_num {inner} is more than the "
                f"{MOST_LAYERS:,} layers that sijo builds"
            )
        if layers % groups:
            raise RefusedError(
                f"the config's num_hidden_layers {layers} cannot be shared out evenly among its num_hidden_groups "
                f"{groups}; public programs disagree about which layer uses which group then"
            )
        return replace(
            super().architecture(),
            embedding_size=self.embedding_size,
            schedule=schedule(layers, groups, inner),
            widening="after_norm",
        )

    @classmethod
    def fields(cls, architecture: Architecture, heads: Mapping[str, HeadSpec]) -> dict[str, object]:
        layers, blocks = architecture.layers, architecture.blocks
        inner = next(
            (
                k
                for k in range(1, blocks + 1)
                if layers % k == blocks % k == 0 and schedule(layers // k, blocks // k, k) == architecture.schedule
            ),
            1,
        )
        return super().fields(architecture, heads) | {
            "embedding_size": architecture.embedding_size,
            "num_hidden_layers": layers // inner,
            "num_hidden_groups": blocks // inner,
            "inner_group_num": inner,
        }

    @property
    def head_dropout(self) -> float:
        return self.classifier_dropout_prob


def schedule(layers: int, groups: int, inner: int) -> tuple[int, ...]:
    """Which block each layer uses: groups one after another, each for as many layers as the others.

    >>> schedule(layers=4, groups=2, inner=1), schedule(layers=2, groups=1, inner=2)
    ((0, 0, 1, 1), (0, 1, 0, 1))
    """
    return tuple(layer * groups // layers * inner + i for layer in range(layers) for i in range(inner))


BLOCK: Names = {
    "attention.query": "attention.query",
    "attention.key": "attention.key",
    "attention.value": "attention.value",
    "attention.out": "attention.dense",
    "attention_norm": "attention.LayerNorm",
    "widen": "ffn",
    "narrow": "ffn_output",
    "output_norm": "full_layer_layer_norm",
}


def names(config: AlbertConfig) -> Names:
    """Our modules and the published ones, which stand in groups."""
    inner = config.inner_group_num
    blocks = {
        f"blocks.{n}.{our}": f"encoder.albert_layer_groups.{n // inner}.albert_layers.{n % inner}.{theirs}"
        for n in range(config.num_hidden_groups * inner)
        for our, theirs in BLOCK.items()
    }
    return {**EMBEDDINGS, "embeddings.project": "encoder.embedding_hidden_mapping_in", **blocks}


def _size(version: int, hidden: int, layers: int, heads: int) -> dict[str, object]:
    dropout = 0.1 if version == 1 and hidden < 4096 else 0.0
    return size(
        hidden,
        layers,
        num_attention_heads=heads,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        hidden_act="gelu" if version == 1 else "gelu_new",  # v1 was trained with the latter all the same
    )


UNIGRAM = TokenizerStyle(
    name="albert",
    kind="unigram",
    special=BERT_TOKENS | {"unk_token": "<unk>", "pad_token": "<pad>"},
    first=("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"),
    folds=True,
    albert_steps=True,
    strips_mask=True,
)

FAMILY = Family(
    model_type="albert",
    stem="Albert",
    config=AlbertConfig,
    prefix="albert.",
    roots=("embeddings", "encoder", "pooler"),
    names=names,
    layouts=lambda config: (
        Layout(
            "mlm",
            lambda config: LMHeadSpec(activation=config.hidden_act),
            {"dense": "predictions.dense", "norm": "predictions.LayerNorm", "bias": "predictions.bias"},
            copies={
                "predictions.decoder.weight": "albert.embeddings.word_embeddings.weight",
                "predictions.decoder.bias": "predictions.bias",
            },
        ),
        Layout(
            "sop",
            lambda config: ClassifierHeadSpec(labels=2, dense="tanh"),  # as trained; transformers drops before it
            {"dense": "albert.pooler", "out": "sop_classifier.classifier"},
        ),
        *judging(over_pooler, {"dense": "albert.pooler", "out": "classifier"}),
        tagging("head_dropout"),
        spans(),
        Layout(POOLER, lambda config: POOLED, {"dense": "albert.pooler"}),
    ),
    sizes={
        f"albert-{name}-v{version}": _size(version, *sizes)
        for version in (1, 2)
        for name, *sizes in (
            ("base", 768, 12, 12),
            ("large", 1024, 24, 16),
            ("xlarge", 2048, 24, 16),
            ("xxlarge", 4096, 12, 64),
        )
    },
    tokenizers=(UNIGRAM,),
    vocabularies={"spiece.model": UNIGRAM, "vocab.txt": WORDPIECE},
    rates=(Rate(peak=2e-5, source="ALBERT, table 14: 1e-5 to 5e-5"),),
)
