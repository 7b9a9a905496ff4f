"""What comes out of the engine: vectors or logits, how much of each text was read, and an error where none can be.

Letters: n texts or pairs, D width of a vector, C columns of a head's logits.
"""

from dataclasses import dataclass

import numpy as np

from sijo.errors import SettingError


@dataclass(frozen=True)
class ReadCounts:
    """How much of each text was read."""

    tokens: np.ndarray
    """(n,) int64: how many tokens each text has, special ones not counted."""
    windows: np.ndarray
    """(n,) int64: in how many windows each text was read."""
    truncated: np.ndarray
    """(n,) bool: True where tokens were left unread: by `long_text="truncate"`, or in a pair."""

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True)
class Encoded(ReadCounts):
    """The vectors of texts, and how much of each was read."""

    vectors: np.ndarray
    """(n, D) float32, one row a text, of any length; all zeros for a text without tokens."""


@dataclass(frozen=True)
class Logits(ReadCounts):
    """A head's logits for texts or pairs, and how much was read: of a pair, of its first text."""

    logits: np.ndarray
    """(n, C) float32, one row a text or pair."""


class NotFiniteError(SettingError):
    """What came out for one of several texts is NaN or infinite: change the precision, or the model.

    why    what is the matter, and what would do
    place  which of the texts, counted from 0
    what   what such a text is called: a row, where it came out of a table
    """

    def __init__(self, why: str, place: int, what: str = "text") -> None:
        super().__init__(f"{what} {place + 1:,}: {why}")
        self.why, self.place, self.what = why, place, what

    def __reduce__(self) -> tuple[type["NotFiniteError"], tuple[str, int, str]]:
        """Sent from one process to another as it was made."""
        return NotFiniteError, (self.why, self.place, self.what)

    @classmethod
    def of_model(cls, why: str, place: int) -> "NotFiniteError":
        """For an output of a model, by what the model's precision or weights make of it."""
        return cls(f"what the model makes of it is NaN or infinite, for {why}", place)

    def after(self, before: int, what: str = "text") -> "NotFiniteError":
        """The same where so many texts, or rows, came before the first of them."""
        return NotFiniteError(self.why, before + self.place, what)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (n, D) scaled to length 1, so that a dot product is a cosine; zeros stay zeros."""
    with np.errstate(over="ignore"):
        lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    if not np.isfinite(lengths).all():  # of float32 from 1e19 on, though each number is finite
        return unit(vectors / np.abs(vectors).max(-1, keepdims=True, initial=1))
    scaled: np.ndarray = vectors / np.where(lengths > 0, lengths, 1)
    return scaled
