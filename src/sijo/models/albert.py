"""ALBERT (Lan et al. 2019, arXiv:1909.11942): few weights, used again in every layer.

As a network it is BERT with a narrow table (section 3.1) and a schedule that repeats. What is new
otherwise is the objective of sentence order, whose head is `sop`.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from sijo.errors import RefusedError
from sijo.models import bert
from sijo.models.family import DropoutShare, Layers, Size, per_block, published_family, read_facts
from sijo.nn.architecture import MOST_LAYERS, Activation, Architecture
from sijo.nn.head_specs import ClassifierHeadSpec, HeadSpec


class AlbertConfig(bert.BertConfig):
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


FACTS = read_facts("albert", {"names": bert.FACTS["names"]})
SOP = ClassifierHeadSpec(labels=2, dense="tanh")  # as trained; transformers drops before it
FAMILY = published_family(
    AlbertConfig,
    FACTS,
    bert.MAKERS | {"sop": lambda config: SOP},
    names=lambda config: per_block(
        FACTS["names"], config.num_hidden_groups * config.inner_group_num, config.inner_group_num
    ),
)
