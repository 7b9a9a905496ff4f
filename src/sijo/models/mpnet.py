"""MPNet (Song et al. 2020, arXiv:2004.09297): BERT's blocks, RoBERTa's places and head, T5's bias for distances.

Its objective, of permuted and masked tokens, is not built here. Sentence encoders such as all-mpnet-base-v2 are
this network with other weights.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Literal

from sijo.models.family import Names, Size, published_family, read_facts
from sijo.models.roberta import FACTS as ROBERTA
from sijo.models.roberta import MAKERS, RobertaConfig
from sijo.nn.architecture import Architecture, RelativeBias
from sijo.nn.head_specs import HeadSpec

FACTS = read_facts("mpnet", ROBERTA)


class MPNetConfig(RobertaConfig):
    """What an MPNet's config.json says."""

    what = "MPNet"
    plain: ClassVar[Names] = {name: ours for name, ours in ROBERTA["plain"].items() if ours != "token_types"}

    vocab_size: Size = 30_527
    relative_attention_num_buckets: Literal[32] = 32  # transformers asks for so many rows, and looks into 32

    def architecture(self) -> Architecture:
        return replace(super().architecture(), relative_bias=RelativeBias())

    @property
    def padding(self) -> int:
        """The row of padding in the table of places: the released code's, whatever `pad_token_id` is."""
        return 1

    @classmethod
    def fields(cls, architecture: Architecture, heads: Mapping[str, HeadSpec]) -> dict[str, object]:
        return super().fields(architecture, heads) | {"relative_attention_num_buckets": 32}

    @property
    def head_dropout(self) -> float:
        """What a classification head drops; the released heads have no share of their own."""
        return self.hidden_dropout_prob


FAMILY = published_family(MPNetConfig, FACTS, MAKERS)
