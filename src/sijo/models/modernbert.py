"""ModernBERT (Warner et al. 2024, arXiv:2412.13663): an encoder of parts that decoders had first.

No table of places: queries and keys are turned by where they stand. The norm comes first, nothing has a bias, the
feed-forward layer is gated, and of three layers two read near tokens alone. Where paper and released code differ:
docs/modernbert.md.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from sijo.errors import RefusedError
from sijo.models.family import (
    Config,
    DropoutShare,
    Eps,
    HeadMaker,
    Layers,
    Names,
    Size,
    judging,
    published_family,
    read_facts,
)
from sijo.nn.architecture import BIAS_PLACES, Activation, Architecture, DropoutRates, PreNorm, Rotary, Sight, Window
from sijo.nn.head_specs import ClassifierHeadSpec, HeadSpec, LMHeadSpec, Reads

FACTS = read_facts("modernbert")
Theta = Annotated[float, Field(gt=1, lt=1e30)]
LayerType = Literal["full_attention", "sliding_attention"]
TYPES: dict[Sight, LayerType] = {"global": "full_attention", "local": "sliding_attention"}
BIASED = dict(zip(("attention_bias", "mlp_bias", "norm_bias"), BIAS_PLACES, strict=True))


class RotaryParameters(BaseModel):
    """What turns queries and keys, as the newest transformers say it; what else they can say there is refused."""

    model_config = ConfigDict(extra="forbid", strict=True)
    rope_type: Literal["default"] = "default"
    rope_theta: Theta | None = None


class ModernBertConfig(Config):
    """What a ModernBERT's config.json says."""

    what = "ModernBERT"
    plain: ClassVar[Names] = FACTS["plain"]

    vocab_size: Size = 50_368
    hidden_size: Size = 768
    intermediate_size: Size = 1152
    num_hidden_layers: Layers = 22
    num_attention_heads: Size = 12
    hidden_activation: Activation = "gelu"
    max_position_embeddings: Size = 8192
    norm_eps: Eps = 1e-5
    norm_bias: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False
    decoder_bias: Literal[True] = True
    global_rope_theta: Theta = 160_000.0
    local_rope_theta: Theta = 10_000.0
    rope_parameters: dict[LayerType, RotaryParameters | None] | None = None
    rope_scaling: None = None
    rope_theta: None = None
    partial_rotary_factor: None = None
    head_dim: None = None
    global_attn_every_n_layers: Layers = 3
    layer_types: list[LayerType] | None = None
    local_attention: Annotated[int, Field(ge=2, le=1_000_000)] = 128
    embedding_dropout: DropoutShare = 0.0
    attention_dropout: DropoutShare = 0.0
    mlp_dropout: DropoutShare = 0.0
    classifier_dropout: DropoutShare = 0.0
    classifier_pooling: Literal["cls", "mean"] = "cls"
    classifier_bias: bool = False
    classifier_activation: Activation = "gelu"

    def architecture(self) -> Architecture:
        window, first, drop = self.window(), self.embedding_dropout, self.attention_dropout
        return Architecture(
            **self.same(),
            rotary=Rotary(
                count=self.max_position_embeddings,
                base=self.theta("global", self.global_rope_theta),
                local_base=None if window is None else self.theta("local", self.local_rope_theta),
            ),
            window=window,
            feed_forward="gated",
            biases=tuple(place for field, place in BIASED.items() if getattr(self, field)),
            norm=PreNorm(eps=self.norm_eps, final_eps=self.norm_eps, first="none"),
            dropout=DropoutRates(
                embeddings=first, attention=drop, attention_output=drop, hidden=0.0, inner=self.mlp_dropout
            ),
        )

    def theta(self, sight: Sight, otherwise: float) -> float:
        """The base of these layers, which the newest form says, or else the old one."""
        newest = (self.rope_parameters or {}).get(TYPES[sight])
        return otherwise if newest is None or newest.rope_theta is None else newest.rope_theta

    def window(self) -> Window | None:
        """Which layers read near tokens alone, in the shortest pattern that says it."""
        every = [TYPES["global"], *[TYPES["local"]] * (self.global_attn_every_n_layers - 1)]
        types = every if self.layer_types is None else self.layer_types
        count = len(types)
        if self.layer_types is not None and count != self.num_hidden_layers:
            raise RefusedError(
                f"the config's layer_types name {count} layers, and its num_hidden_layers is "
                f"{self.num_hidden_layers}; mend one of them"
            )
        size = next(n for n in range(1, count + 1) if types == [types[i % n] for i in range(count)])
        sights = {kind: sight for sight, kind in TYPES.items()}
        pattern = tuple(sights[kind] for kind in types[:size])
        return Window(reach=self.local_attention // 2, pattern=pattern) if "local" in pattern else None

    @classmethod
    def fields(cls, architecture: Architecture, heads: Mapping[str, HeadSpec]) -> dict[str, object]:
        a, window, rotary = architecture, architecture.window, architecture.rotary
        fields = super().fields(a, heads) | {field: place in a.biases for field, place in BIASED.items()}
        fields |= {"max_position_embeddings": a.places or 8192, "global_attn_every_n_layers": 1}
        for role in ("pad", "bos", "eos", "cls", "sep"):  # transformers' own may be beyond a smaller vocabulary
            fields[f"{role}_token_id"] = None
        if rotary is not None:  # as the first released code has it, which the newest reads too
            fields |= {"global_rope_theta": rotary.base, "local_rope_theta": rotary.local_base or rotary.base}
        if window is not None:
            fields |= {"local_attention": 2 * window.reach, "global_attn_every_n_layers": len(window.pattern)}
            if "global" in window.pattern[1:] or window.pattern[0] == "local":
                fields |= {"layer_types": [TYPES[window.sight(layer)] for layer in range(a.layers)]}
        return fields


def over_head(config: ModernBertConfig, labels: int, reads: Reads | None = None) -> ClassifierHeadSpec:
    """Labels over what the masked LM head has before the table of tokens; of a text as the config pools it."""
    return ClassifierHeadSpec(
        labels=labels,
        reads=reads or ("first" if config.classifier_pooling == "cls" else "mean"),
        dense=config.classifier_activation,
        dense_bias=config.classifier_bias,
        dense_norm="layer_norm",
        dropout=config.classifier_dropout,
    )


MAKERS: dict[str, HeadMaker] = {
    "mlm": lambda config: LMHeadSpec(activation=config.classifier_activation, dense_bias=config.classifier_bias),
    **judging(over_head),
    "token-classification": lambda config: over_head(config, len(config.labels), "each"),
    "question-answering": lambda config: over_head(config, 2, "each"),
}
FAMILY = published_family(ModernBertConfig, FACTS, MAKERS)
