"""From words to token ids, and a long text cut into windows a model can read.

The work is done by the `tokenizers` library; this module decides what is cut, and counts it.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import tokenizers

from sijo.errors import CheckpointError, RefusedError


class Tokenizer:
    """A `tokenizer.json` and the longest input its model reads.

    Any truncation or padding that the file asks for is switched off: sijo cuts into windows itself
    and says so, and pads each batch to its own length.
    """

    def __init__(self, inner: tokenizers.Tokenizer, *, max_length: int) -> None:
        inner.no_padding()
        inner.no_truncation()
        self._inner = inner
        self.max_length = max_length
        self.special_tokens = inner.num_special_tokens_to_add(is_pair=False)
        if max_length <= self.special_tokens:
            raise CheckpointError(
                f"max_length={max_length} leaves no room for text beside {self.special_tokens} special tokens; "
                f"use at least {self.special_tokens + 1}"
            )
        inner.enable_truncation(max_length)

    @classmethod
    def load(cls, path: Path, *, max_length: int) -> "Tokenizer":
        """Read a tokenizer.json.

        Raises CheckpointError when the file is damaged and RefusedError when it carries a regular
        expression: BERT's have none, and one can run for ever.
        """
        try:
            text = path.read_text(encoding="utf-8")
            settings = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"{path} is not a whole tokenizer.json: {error}. Copy it again.") from None
        pattern = next(_patterns(settings), None)
        if pattern is not None:
            raise RefusedError(
                f"{path} cuts text with the regular expression {pattern[:60]!r}, which sijo does not know "
                "and will not run, since it could run for ever; choose another model"
            )
        try:
            inner = tokenizers.Tokenizer.from_str(text)
        except Exception as error:  # the library raises plain Exception
            raise CheckpointError(f"{path} is not a whole tokenizer.json: {error}. Copy it again.") from None
        return cls(inner, max_length=max_length)

    @property
    def vocab_size(self) -> int:
        """How many token ids there are, added tokens included."""
        return int(self._inner.get_vocab_size())

    def windows(self, texts: Sequence[str]) -> list[list[list[int]]]:
        """The token ids of each text, in windows of at most `max_length`, special tokens in each.

        An empty text is one window of special tokens alone.
        """
        encodings = self._inner.encode_batch_fast(list(texts))
        return [[window.ids for window in (first, *first.overflowing)] for first in encodings]

    def count(self, windows: Sequence[Sequence[int]]) -> int:
        """How many tokens of text stand in these windows, special tokens not counted."""
        return sum(map(len, windows)) - self.special_tokens * len(windows)


def _patterns(settings: object) -> Iterator[str]:
    """Every regular expression in a tokenizer.json, wherever it stands outside the vocabulary."""
    if isinstance(settings, dict):
        for key, value in settings.items():
            if key == "Regex":
                yield str(value)
            elif key not in ("vocab", "merges"):
                yield from _patterns(value)
    elif isinstance(settings, list):
        for value in settings:
            yield from _patterns(value)
