"""A tokenizer.json, read after everything in it is known to be harmless."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers
from sijo.errors import warn
from sijo.tokenizers import bounds
from sijo.tokenizers.components import check_components, model_kind
from sijo.tokenizers.native import intact

SAMPLING = ("dropout", "alpha", "nbest_size")
"""Settings of a model by which a text is cut at random, as is of use in training alone."""


def read_tokenizer_json(content: bytes, source: Path) -> tokenizers.Tokenizer:
    """The tokenizer that a tokenizer.json describes, its randomness turned off.

    content  of the file
    source   its path, for errors to name

    Raises CheckpointError when it is damaged, and RefusedError for parts that sijo does not know, such as a
    regular expression that could run for ever, and for what goes beyond its bounds.
    """
    with intact(source):
        settings = bounds.json_object(content)
        check_components(settings)
        inner = tokenizers.Tokenizer.from_str(content.decode())
        _as_declared(inner, settings)
    for name in SAMPLING:
        value = settings["model"].get(name)
        if not value or not hasattr(inner.model, name):  # which an older library has not, and does not read
            continue
        setattr(inner.model, name, None)
        warn(f"the tokenizer's {name} {value}, which is for training, is turned off")
    return inner


def _as_declared(inner: tokenizers.Tokenizer, settings: Mapping[str, Any]) -> None:
    """Make sure that the library took the file for what it says; ValueError where it did not."""
    kind = model_kind(settings["model"])
    if type(inner.model).__name__ != kind:
        raise ValueError(f"its model is taken for {type(inner.model).__name__} and not for {kind}")
    for token in settings.get("added_tokens") or []:
        content, number = token["content"], token["id"]
        if inner.token_to_id(content) != number:
            raise ValueError(
                f"the token {content!r} is declared as id {number} but comes to {inner.token_to_id(content)}"
            )
        if inner.normalizer is not None and token.get("normalized") and not inner.normalizer.normalize_str(content):
            raise ValueError(f"of the added token {content!r} its normalizer leaves nothing")
