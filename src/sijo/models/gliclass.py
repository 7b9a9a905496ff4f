"""GLiClass (Stepanov et al. 2025, arXiv:2508.07662): labels and a text in one pass of an encoder of another family.

Its config holds the encoder's, and its tensors are the encoder's behind a prefix. What no checkpoint is known to
have is refused by name: docs/gliclass.md.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from sijo.errors import RefusedError, SettingError
from sijo.models.family import Config, DropoutShare, Family, Layout, Names, Size, read_facts
from sijo.nn.architecture import LARGEST, Activation, Architecture
from sijo.nn.head_specs import OPEN_LABELS, HeadSpec, OnePassHeadSpec

Id = Annotated[int, Field(ge=-1, lt=LARGEST)]
FACTS = read_facts("gliclass")
CHOICES = {
    "prompt_first": ("order", "text_first", "labels_first"),
    "extract_text_features": ("starts", "input", "mark"),
    "normalize_features": ("vectors", "plain", "unit"),
}
"""What we have for each switch, and its values where that is off and on."""


class GliclassConfig(Config):
    """What the config.json of a uni-encoder says."""

    what = "GLiClass"
    plain = FACTS["plain"]  # of the head, and not of an `Architecture`
    encoders: ClassVar[Mapping[str, Family]] = {}
    """The families that its encoder may be of."""

    encoder_config: dict[str, Any]
    architecture_type: Literal["uni-encoder"] = "uni-encoder"
    class_token_index: Id = -1
    text_token_index: Id = -1
    vocab_size: Size | None = None
    hidden_size: Size | None = None
    projector_hidden_act: Activation = "gelu"
    scorer_type: Literal["simple", "mlp"] = "simple"
    pooling_strategy: Literal["first", "last", "avg", "max"] = "first"
    class_token_pooling: Literal["first", "average"] = Field("first")
    embed_class_token: Literal[True] = True
    extract_text_features: bool = False
    normalize_features: bool = False
    logit_scale_init_value: float = 2.6592
    prompt_first: bool = False
    dropout: DropoutShare = 0.1
    label_model_name: None = None
    encoder_layer_id: Literal[-1] = -1
    squeeze_layers: Literal[False] = False
    use_lstm: Literal[False] = False
    use_segment_embeddings: Literal[False] = False
    use_calibrator: Literal[False] = False
    multimodal: Literal[False] = False

    @classmethod
    def read(cls, fields: Mapping[str, object]) -> Any:
        if strange := sorted(fields.keys() - cls.model_fields.keys() - {*FACTS["unread"]}):
            raise RefusedError(f"the config has {', '.join(strange)}, which no GLiClass of sijo's can have")
        config = super().read(fields)
        if config.extract_text_features and config.pooling_strategy != "first":
            raise RefusedError(
                f"the config says extract_text_features with the pooling_strategy {config.pooling_strategy!r}, by "
                'which gliclass pools rows of zeros too; sijo reads such a text by "first" alone'
            )
        width = config.architecture().hidden_size
        if config.scorer_type != "simple" and config.hidden_size not in (None, width):
            raise RefusedError(f"the config's hidden_size is {config.hidden_size}; its scorer needs {width}")
        return config

    @property
    def family(self) -> Family:
        """The encoder's."""
        name = str(self.encoder_config.get("model_type", "deberta-v2"))
        if name not in self.encoders:
            known = ", ".join(self.encoders)
            raise RefusedError(f"the config's encoder_config is of {name!r}; sijo opens a GLiClass over {known}")
        return self.encoders[name]

    def encoder(self) -> Any:
        """The encoder's config, with the rows that its table has by now."""
        rows = {} if self.vocab_size is None else {"vocab_size": self.vocab_size}
        return self.family.config.read(self.encoder_config | rows)

    def architecture(self) -> Architecture:
        architecture: Architecture = self.encoder().architecture()
        return architecture

    def head(self) -> OnePassHeadSpec:
        """What its head is."""
        a, plain = self.architecture(), {ours: getattr(self, theirs) for theirs, ours in self.plain.items()}
        chosen = {ours: values[getattr(self, theirs)] for theirs, (ours, *values) in CHOICES.items()}
        plain["inner"] = self.hidden_size or a.hidden_size
        for place, mark in enumerate(("label_mark", "text_mark")):
            plain[mark] = a.vocab_size + place if plain[mark] < 0 else plain[mark]
        return OnePassHeadSpec(**plain, **chosen)

    @classmethod
    def fields(cls, architecture: Architecture, heads: Mapping[str, HeadSpec]) -> dict[str, object]:
        head = heads.get(OPEN_LABELS)
        for name, family in cls.encoders.items() if len(heads) == 1 and isinstance(head, OnePassHeadSpec) else ():
            with suppress(SettingError, RefusedError):
                encoder = {"model_type": name, **family.fields(architecture)}
                plain = {theirs: getattr(head, ours) for theirs, ours in cls.plain.items()}
                chosen = {theirs: getattr(head, ours) == on for theirs, (ours, _, on) in CHOICES.items()}
                own = {"encoder_config": encoder, "encoder_model_name": name}  # a name, which gliclass insists on
                fields = own | {"vocab_size": architecture.vocab_size} | plain | chosen
                if cls.read(fields).head() == head:  # which may have what no GLiClass has
                    return fields
        raise SettingError("a GLiClass is an encoder of a family with the head one-pass, and no other")


def _layouts(config: GliclassConfig) -> tuple[Layout, ...]:
    names: Names = {**FACTS["projectors"], **FACTS["scorers"].get(config.scorer_type, {})}
    return (Layout(OPEN_LABELS, lambda config: config.head(), names),)


def over(encoders: Mapping[str, Family]) -> Family:
    """GLiClass over an encoder of any of these families."""
    config: Any = type("GliclassConfigOver", (GliclassConfig,), {"encoders": encoders, "__module__": __name__})
    sizes = {name: dict(row) for name, row in FACTS["sizes"].items()}
    for row in sizes.values():
        encoder = row.pop("encoder")
        model_type, family = next(item for item in encoders.items() if encoder in item[1].sizes)
        row["encoder_config"] = {"model_type": model_type, **family.sizes[encoder]}
    return Family(
        **FACTS["family"],
        config=config,
        names=lambda config: config.family.names(config.encoder()),
        layouts=_layouts,
        fusing=lambda config: config.family,
        needs=OPEN_LABELS,
        sizes=sizes,
        vocabularies={file: style for family in encoders.values() for file, style in family.vocabularies.items()},
    )
