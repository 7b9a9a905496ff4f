"""DeBERTa v1 (He et al. 2020, arXiv:2006.03654), v2, and v3 (He et al. 2021, arXiv:2111.09543).

No token has a place of its own: attention scores words and distances apart. v1 keeps every distance
and projects them by themselves; v2 and v3 share the words' projections and put distances in buckets
that widen; v2's largest have a convolution. v3 is v2 as a network, learned by spotting replaced
tokens. Absolute places come back in the masked LM head alone (`EnhancedLMHead`).

Where paper, first code and transformers differ: docs/deberta.md.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from sijo.errors import RefusedError
from sijo.models import bert
from sijo.models.family import DropoutShare, Eps, Size, judging, published_family, read_facts, tagging
from sijo.nn.architecture import Activation, Architecture, ConvolutionSpec, Disentangled, Learned, Term
from sijo.nn.head_specs import ClassifierHeadSpec, HeadSpec, LMHeadSpec


def _terms(value: object) -> object:
    """`"p2c|c2p"`, a list or nothing, as terms in our order; what is no term is left for the refusal."""
    terms = [term.strip().lower() for term in value.split("|")] if isinstance(value, str) else value
    return tuple(sorted(terms, key=str)) if isinstance(terms, list | tuple) else () if terms is None else terms


class DebertaConfig(bert.BertConfig):
    """What the config.json of a v1 says. Absent fields mean what they mean in transformers: no DeBERTa."""

    what = "DeBERTa"

    vocab_size: Size = 50_265
    type_vocab_size: int = Field(0, ge=0, le=1_000)
    layer_norm_eps: Eps = 1e-7
    embedding_size: Size | None = None
    relative_attention: Literal[True] = Field(False, validate_default=True)
    max_relative_positions: Annotated[int, Field(ge=-1, le=1_000_000)] = -1
    position_biased_input: bool = True
    pos_att_type: Annotated[tuple[Term, ...], BeforeValidator(_terms)] = ()
    pooler_dropout: DropoutShare = 0.0
    pooler_hidden_act: Activation = "gelu"
    pooler_hidden_size: Size | None = None
    cls_dropout: DropoutShare | None = None
    attention_head_size: Size | None = None
    talking_head: Literal[False] = False

    def architecture(self) -> Architecture:
        for name, value, must in (
            ("pooler_hidden_size", self.pooler_hidden_size, self.hidden_size),
            ("attention_head_size", self.attention_head_size, self.hidden_size // self.num_attention_heads),
        ):
            if value not in (None, must):
                raise RefusedError(f"the config's {name} is {value}; sijo builds a DeBERTa only with {must} here")
        embedding = self.embedding_size or self.hidden_size
        return replace(
            super().architecture(),
            embedding_size=embedding,
            widening=None if embedding == self.hidden_size else "before_norm",
            positions=Learned(count=self.max_position_embeddings) if self.position_biased_input else None,
            distances=self.distances(),
        )

    @property
    def span(self) -> int:
        """The furthest distance told apart."""
        return self.max_relative_positions if self.max_relative_positions > 0 else self.max_position_embeddings

    @property
    def longest(self) -> int | None:
        """The longest input in tokens, where that is longer than the span."""
        return self.max_position_embeddings if self.max_position_embeddings > self.span else None

    def distances(self) -> Disentangled:
        """v1's: every distance by itself, with projections of its own; and no key has a bias."""
        return Disentangled(
            span=self.span, longest=self.longest, terms=self.pos_att_type, projections="own", key_bias=False
        )

    @classmethod
    def fields(cls, architecture: Architecture, heads: Mapping[str, HeadSpec]) -> dict[str, object]:
        a = architecture
        span, terms = (a.distances.span, a.distances.terms) if a.distances else (512, ())
        longest = a.places or (a.distances.length if a.distances else span)
        return super().fields(a, heads) | {
            "embedding_size": a.embedding_size,
            "relative_attention": a.distances is not None,
            "max_position_embeddings": longest,
            "max_relative_positions": -1 if span == longest else span,
            "position_biased_input": a.positions is not None,
            "pos_att_type": list(terms),
        }

    @property
    def head_dropout(self) -> float:
        return self.hidden_dropout_prob if self.cls_dropout is None else self.cls_dropout

    @property
    def enhanced(self) -> bool:
        """Whether the places in a checkpoint can be the mask decoder's."""
        return not self.position_biased_input and self.embedding_size in (None, self.hidden_size)


class DebertaV2Config(DebertaConfig):
    """What the config.json of a v2 or v3 says."""

    vocab_size: Size = 128_100
    position_buckets: Annotated[int, Field(ge=-1, le=1_000_000)] = -1
    norm_rel_ebd: Literal["none", "layer_norm"] = "none"
    share_att_key: bool = False
    conv_kernel_size: Annotated[int, Field(ge=0, le=1_001)] = 0
    conv_act: Activation = "tanh"
    conv_groups: Size = 1

    def architecture(self) -> Architecture:
        if not self.conv_kernel_size:
            return super().architecture()
        convolution = ConvolutionSpec(
            kernel=self.conv_kernel_size, groups=self.conv_groups, activation=self.conv_act
        )
        return replace(super().architecture(), convolution=convolution)

    def distances(self) -> Disentangled:
        """v2's and v3's."""
        return Disentangled(
            span=self.span,
            longest=self.longest,
            buckets=max(self.position_buckets, 0),
            terms=self.pos_att_type,
            projections="shared" if self.share_att_key else "own",
            norm=self.norm_rel_ebd,
        )

    @classmethod
    def fields(cls, architecture: Architecture, heads: Mapping[str, HeadSpec]) -> dict[str, object]:
        fields = super().fields(architecture, heads)
        if architecture.distances is not None:
            fields |= {
                "position_buckets": architecture.distances.buckets or -1,
                "norm_rel_ebd": architecture.distances.norm,
                "share_att_key": architecture.distances.projections == "shared",
            }
        if architecture.convolution is not None:
            fields |= {
                "conv_kernel_size": architecture.convolution.kernel,
                "conv_act": architecture.convolution.activation,
                "conv_groups": architecture.convolution.groups,
            }
        return fields


def over_pooler(config: DebertaConfig, labels: int) -> ClassifierHeadSpec:
    """Labels over the "context pooler"."""
    return ClassifierHeadSpec(
        labels=labels,
        dense=config.pooler_hidden_act,
        dropout=config.head_dropout,
        dense_dropout=config.pooler_dropout,
    )


MAKERS = bert.MAKERS | {
    "enhanced": lambda config: LMHeadSpec(activation=config.hidden_act, places=config.max_position_embeddings),
    "rtd": lambda config: ClassifierHeadSpec(reads="each_with_first", dense=config.hidden_act, answers="one"),
    **judging(over_pooler),
    "token-classification": tagging("hidden_dropout_prob"),
}
V1 = read_facts("deberta")
V2 = V1 | read_facts("deberta_v2", {"names": bert.FACTS["names"]})
DEBERTA = published_family(DebertaConfig, V1, MAKERS)
DEBERTA_V2 = published_family(DebertaV2Config, V2, MAKERS)
