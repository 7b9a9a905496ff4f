"""BERT (Devlin et al. 2018, arXiv:1810.04805): the plain encoder that the others vary.

Sentence encoders such as all-MiniLM are this network with other weights.
"""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sijo.errors import RefusedError
from sijo.models.family import Family
from sijo.nn.architecture import Activation, Architecture, Learned


class Config(BaseModel):
    """The fields of a BERT config.json that sijo acts on; every other field is left unread.

    A field with one possible value is there to refuse the others by name.
    """

    model_config = ConfigDict(extra="ignore", strict=True)

    vocab_size: int = Field(gt=0, le=10_000_000)
    hidden_size: int = Field(gt=0, le=65_536)
    num_hidden_layers: int = Field(gt=0, le=1_000)
    num_attention_heads: int = Field(gt=0, le=1_024)
    intermediate_size: int = Field(gt=0, le=1_048_576)
    max_position_embeddings: int = Field(512, gt=0, le=1_048_576)
    type_vocab_size: int = Field(2, ge=0, le=1_024)
    hidden_act: Activation = "gelu"
    layer_norm_eps: float = Field(1e-12, gt=0, lt=1)
    hidden_dropout_prob: float = Field(0.1, ge=0, lt=1)
    attention_probs_dropout_prob: float = Field(0.1, ge=0, lt=1)
    position_embedding_type: Literal["absolute"] = "absolute"
    is_decoder: Literal[False] = False
    add_cross_attention: Literal[False] = False


def architecture(fields: Mapping[str, object]) -> Architecture:
    """The `Architecture` that a BERT config describes.

    >>> architecture({"vocab_size": 30522, "hidden_size": 384, "num_hidden_layers": 6,
    ...               "num_attention_heads": 12, "intermediate_size": 1536}).layers
    6
    """
    try:
        config = Config.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        given = f"is {first['input']!r}" if field in fields else "is missing"
        raise RefusedError(
            f"the config's {field} {given}, which sijo cannot build a BERT from: {first['msg']}"
        ) from None
    return Architecture(
        vocab_size=config.vocab_size,
        embedding_size=config.hidden_size,
        hidden_size=config.hidden_size,
        heads=config.num_attention_heads,
        intermediate_size=config.intermediate_size,
        schedule=tuple(range(config.num_hidden_layers)),
        positions=Learned(count=config.max_position_embeddings),
        token_types=config.type_vocab_size,
        activation=config.hidden_act,
        norm_eps=config.layer_norm_eps,
        dropout=config.hidden_dropout_prob,
        attention_dropout=config.attention_probs_dropout_prob,
    )


NAMES = (
    ("embeddings.tokens", "embeddings.word_embeddings"),
    ("embeddings.places", "embeddings.position_embeddings"),
    ("embeddings.segments", "embeddings.token_type_embeddings"),
    ("embeddings.norm", "embeddings.LayerNorm"),
    ("blocks.{n}.attention.query", "encoder.layer.{n}.attention.self.query"),
    ("blocks.{n}.attention.key", "encoder.layer.{n}.attention.self.key"),
    ("blocks.{n}.attention.value", "encoder.layer.{n}.attention.self.value"),
    ("blocks.{n}.attention.out", "encoder.layer.{n}.attention.output.dense"),
    ("blocks.{n}.attention_norm", "encoder.layer.{n}.attention.output.LayerNorm"),
    ("blocks.{n}.widen", "encoder.layer.{n}.intermediate.dense"),
    ("blocks.{n}.narrow", "encoder.layer.{n}.output.dense"),
    ("blocks.{n}.output_norm", "encoder.layer.{n}.output.LayerNorm"),
)

FAMILY = Family(
    architecture=architecture,
    prefix="bert.",
    names=NAMES,
    left_behind={"embeddings.position_ids": "counts 0, 1, 2, …; not learned"},
    heads={"mlm": "cls.predictions.", "sequence-classification": "classifier."},
)
