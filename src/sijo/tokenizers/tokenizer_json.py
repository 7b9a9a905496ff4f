"""A tokenizer.json, read after everything in it is known to be harmless."""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tokenizers
from sijo.errors import CheckpointError, RefusedError
from sijo.tokenizers import pipelines
from sijo.tokenizers.sentencepiece import check_charsmap

PATTERNS = {
    # GPT-2's words, in the two spellings that are about
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    # spaces put together, by transformers 4 and 5 for ALBERT, DeBERTa and their like
    r"\s{2,}|[\n\r\t]",
    r"[\n\r\t]",
    r"\n",
    r"\s+",
    pipelines.SPACES,
    pipelines.WHITESPACE,
    pipelines.EDGES,
    pipelines.CTRL_WORD,
    pipelines.BEFORE_MARK,
    pipelines.FENCED,
}
"""The regular expressions a tokenizer.json may carry: each needs time in proportion to the text."""
CODES = re.compile(r"\[(\\x\{[0-9a-f]+\}-?)+\]")
"""A bare class of characters is as quick, whatever is in it; ALBERT's accents are one."""


def read_tokenizer_json(content: bytes, source: Path) -> tokenizers.Tokenizer:
    """The tokenizer in a tokenizer.json.

    content  all of the file
    source   where it was, for a sentence about it

    Raises CheckpointError when the file is damaged, and RefusedError when it carries a regular expression that is
    not among the known ones: one can run for ever.
    """
    try:
        text = content.decode()
        settings = json.loads(text)
        for part in _parts(settings):
            pattern = part.get("Regex")
            if pattern is not None and str(pattern) not in PATTERNS and not CODES.fullmatch(str(pattern)):
                raise RefusedError(
                    f"{source} cuts text with the regular expression {str(pattern)[:60]!r}, which sijo does not "
                    "know and will not run, since it could run for ever; choose another model"
                )
            if part.get("type") == "Precompiled":
                check_charsmap(base64.b64decode(str(part.get("precompiled_charsmap") or "")))
        return tokenizers.Tokenizer.from_str(text)
    except RefusedError:
        raise
    except Exception as error:  # the library raises plain Exception
        raise CheckpointError(f"{source} is not a whole tokenizer.json: {error}. Copy it again.") from None


def _parts(settings: object) -> Iterator[Mapping[str, Any]]:
    """Every object in a tokenizer.json, wherever it stands outside the vocabulary."""
    if isinstance(settings, dict):
        yield settings
        for key, value in settings.items():
            if key not in ("vocab", "merges"):
                yield from _parts(value)
    elif isinstance(settings, list):
        for value in settings:
            yield from _parts(value)
