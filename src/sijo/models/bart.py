"""BART (Lewis et al. 2019, arXiv:1910.13461): an encoder as BERT's, and a decoder that reads the text again.

`facebook/bart-large-mnli`, the usual model of zero-shot classification by entailment, is one with a head over the
state of the decoder at the last `</s>`.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from sijo.errors import SettingError
from sijo.models.family import (
    Config,
    DropoutShare,
    HeadMaker,
    Layers,
    Names,
    Size,
    per_block,
    published_family,
    read_facts,
)
from sijo.models.labels import column_names
from sijo.nn.architecture import Activation, Architecture, DropoutRates, Learned, PostNorm
from sijo.nn.encoder_decoder import DecoderSpec, EncoderDecoder
from sijo.nn.head_specs import ClassifierHeadSpec, HeadSpec

FACTS = read_facts("bart")
UNUSED = 2
"""Rows at the start of a table of places that no token has, in the released code."""
Nothing = Annotated[float, Field(ge=0, le=0)]
TokenId = Annotated[int, Field(ge=0)]


class BartConfig(Config):
    """What a BART's config.json says."""

    what = "BART"
    plain: ClassVar[Names] = FACTS["plain"]
    aliases: ClassVar[Names] = FACTS["aliases"]

    vocab_size: Size = 50_265
    d_model: Size = 1024
    encoder_layers: Layers = 12
    decoder_layers: Layers = 12
    encoder_attention_heads: Size = 16
    decoder_attention_heads: Size = 16
    encoder_ffn_dim: Size = 4096
    decoder_ffn_dim: Size = 4096
    max_position_embeddings: Size = 1024
    activation_function: Activation = "gelu"
    dropout: DropoutShare = 0.1
    attention_dropout: DropoutShare = 0.0
    activation_dropout: DropoutShare = 0.0
    classifier_dropout: DropoutShare = 0.0
    init_std: Annotated[float, Field(ge=0, le=10)] = 0.02
    scale_embedding: bool = False
    decoder_start_token_id: TokenId = 2
    eos_token_id: TokenId = 2
    is_encoder_decoder: Literal[True] = True
    is_decoder: Literal[False] = False
    encoder_layerdrop: Nothing = 0.0
    decoder_layerdrop: Nothing = 0.0
    # of configs from before transformers 4: another place for the norms, and other tables of places
    normalize_before: Literal[False] = False
    normalize_embedding: Literal[True] = True
    add_final_layer_norm: Literal[False] = False
    static_position_embeddings: Literal[False] = False
    extra_pos_embeddings: Literal[2] = 2

    def architecture(self) -> Architecture:
        drop = self.dropout
        return EncoderDecoder(
            **self.same(),
            positions=Learned(count=self.max_position_embeddings + UNUSED),
            first_place=UNUSED,
            entry="scale_norm" if self.scale_embedding else "norm",
            norm=PostNorm(eps=1e-5),
            dropout=DropoutRates(
                embeddings=drop,
                attention=self.attention_dropout,
                attention_output=drop,
                hidden=drop,
                inner=self.activation_dropout,
            ),
            decoder=DecoderSpec(
                schedule=tuple(range(self.decoder_layers)),
                heads=self.decoder_attention_heads,
                intermediate_size=self.decoder_ffn_dim,
                start=self.decoder_start_token_id,
                end=self.eos_token_id,
            ),
        )

    @classmethod
    def fields(cls, architecture: Architecture, heads: Mapping[str, HeadSpec]) -> dict[str, object]:
        if not isinstance(architecture, EncoderDecoder):
            raise SettingError("a BART has a decoder, and this network has none")
        decoder = architecture.decoder
        return super().fields(architecture, heads) | {
            "max_position_embeddings": architecture.places,
            "scale_embedding": architecture.entry == "scale_norm",
            "decoder_layers": len(decoder.schedule),
            "decoder_attention_heads": decoder.heads,
            "decoder_ffn_dim": decoder.intermediate_size,
            "decoder_start_token_id": decoder.start,
            "eos_token_id": decoder.end,
            "is_encoder_decoder": True,
        }

    @property
    def labels(self) -> tuple[str, ...]:
        """As of all configs, but three where nothing says how many, as in transformers."""
        silent = not (self.id2label or self.label2id)
        return column_names(self.id2label, self.label2id, 3 if silent and not self.num_labels else self.num_labels)


def names(config: BartConfig) -> Names:
    """Our modules and the published ones; the table of tokens is that of both stacks."""
    found = {"encoder.embeddings.tokens": "shared"}
    for stack, layers in (("encoder", config.encoder_layers), ("decoder", config.decoder_layers)):
        rules = per_block(FACTS["names"] | FACTS[f"names_of_{stack}"], layers)
        found |= {f"{stack}.{ours}": f"{stack}.{theirs}" for ours, theirs in rules.items()}
    return found


MAKERS: dict[str, HeadMaker] = {
    "sequence-classification": lambda config: ClassifierHeadSpec(
        labels=len(config.labels),
        reads="end",
        dense="tanh",
        dense_dropout=config.classifier_dropout,
        dropout=config.classifier_dropout,
    ),
    "question-answering": lambda config: ClassifierHeadSpec(labels=2, reads="each"),
}
FAMILY = published_family(BartConfig, FACTS, MAKERS, names=names)
