"""What no paper published: any `Architecture` with any heads, under `model_type: "sijo"`.

The config holds the values as they are, and tensors keep our own names.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import cache
from typing import Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from sijo.errors import RefusedError, SettingError
from sijo.models.family import STYLES, Config, Family, HeadName, Layout
from sijo.nn.architecture import Architecture
from sijo.nn.head_specs import ClassifierHeadSpec, HeadSpec, LMHeadSpec, OnePassHeadSpec


class MixConfig(Config):
    """A config.json of ours."""

    what = "sijo model"

    network: dict[str, Any]
    """The fields of an `Architecture`."""
    heads: dict[HeadName | Literal["pooler"], dict[str, Any]] = Field(default_factory=dict)
    """The fields of each head, by its name."""

    def architecture(self) -> Architecture:
        architecture: Architecture = _value(Architecture, self.network)
        return architecture

    @classmethod
    def fields(cls, architecture: Architecture, heads: Mapping[str, HeadSpec]) -> dict[str, object]:
        return {"network": asdict(architecture), "heads": {name: asdict(head) for name, head in heads.items()}}


def plainest(head: str, config: Config) -> Layout:
    """A head as BERT, ELECTRA, DeBERTa or CTRL has it, for a family that never had one."""
    labels, architecture = len(config.labels), config.architecture()
    activation, apart = architecture.activation, architecture.distances
    alike = architecture.embedding_size == architecture.hidden_size
    # where no token knows its place, the mask decoder tells it, as DeBERTa's does
    places = apart.length if apart and architecture.positions is None and alike else 0
    heads: dict[str, HeadSpec] = {
        "mlm": LMHeadSpec(activation=activation, places=places),
        "lm": LMHeadSpec(),
        "rtd": ClassifierHeadSpec(reads="each", dense=activation, answers="one"),
        "sop": ClassifierHeadSpec(labels=2, dense="tanh"),
        "sequence-classification": ClassifierHeadSpec(labels=labels, dense="tanh", dropout=0.1),
        "token-classification": ClassifierHeadSpec(labels=labels, reads="each", dropout=0.1),
        "question-answering": ClassifierHeadSpec(labels=2, reads="each"),
        "multiple-choice": ClassifierHeadSpec(dense="tanh", dropout=0.1),
        "one-pass": OnePassHeadSpec(  # by the last two tokens, until jobs/one_pass/setup.py gives it marks
            label_mark=architecture.vocab_size - 2,
            text_mark=architecture.vocab_size - 1,
            inner=architecture.hidden_size,
        ),
    }
    return _layout(head, heads[head])


def _layout(name: str, head: HeadSpec) -> Layout:
    return Layout(name, lambda config: head, {})


def _value(kind: Any, content: object) -> Any:
    """A value from its JSON; RefusedError names the first field that cannot be, or that nobody knows."""
    try:
        value = _adapter(kind).validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise RefusedError(f"the config's {field or 'architecture'} cannot be built: {first['msg']}") from None
    except SettingError as error:
        raise RefusedError(f"the config's architecture cannot be built: {error}") from None
    if strange := sorted(_strange(content, asdict(value))):
        raise RefusedError(f"the config has fields that this sijo does not know: {', '.join(strange)}; update sijo")
    return value


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """What reads values of a kind; made once, for it takes longer than all the rest of a small model."""
    return TypeAdapter(kind)


def _strange(content: Any, known: Any) -> Iterable[str]:
    """The fields of nested objects that are not known."""
    for name, value in content.items() if isinstance(content, dict) else ():
        if not isinstance(known, dict) or name not in known:
            yield name
        else:
            yield from _strange(value, known[name])


FAMILY = Family(
    model_type="sijo",
    stem="Sijo",
    config=MixConfig,
    prefix="",
    roots=(),
    names=lambda config: None,
    layouts=lambda config: tuple(_layout(name, _value(HeadSpec, head)) for name, head in config.heads.items()),
    left_behind=(),
    vocabularies={
        "vocab.txt": STYLES["bert"],
        "spm.model": STYLES["deberta-v2"],
        "spiece.model": STYLES["albert"],
        "vocab.json": STYLES["deberta"],
    },
)
