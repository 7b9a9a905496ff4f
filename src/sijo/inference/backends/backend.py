"""What every backend is: a batch of token ids in, vectors or logits out, pooled and headed inside.

Known without torch.

Letters: B batch, L length, D width of a vector, C columns of a head's logits.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from sijo.batching import padded_length
from sijo.errors import SettingError
from sijo.nn.head_specs import CLASSIFIER

BATCH_TOKENS = 2048
"""Tokens of a batch that a processor is quickest with: more leave its caches, fewer leave it idle."""
Precision = Literal["exact", "bf16", "fp16", "int8", "int4"]
"""What a backend computes in: exact is float32."""


@dataclass(frozen=True)
class IdBatch:
    """Token ids of several inputs, of one width."""

    input_ids: np.ndarray
    """(B, L) int64."""
    keep: np.ndarray | None = None
    """(B, L) bool, True at real tokens, which come first; None without padding."""
    token_type_ids: np.ndarray | None = None
    """(B, L) int64; None when all are 0."""

    @classmethod
    def of(
        cls,
        rows: Sequence[Sequence[int]],
        types: Sequence[Sequence[int]] | None = None,
        *,
        pad: int = 0,
        limit: int | None = None,
    ) -> "IdBatch":
        """Rows of ids as one batch.

        types  token type ids of the same lengths; None when all are 0
        pad    the id that fills a row up; a network that is given `keep` ignores it
        limit  pad to a round width (`padded_length`), but not beyond this; None for the longest row's

        >>> batch = IdBatch.of([[5, 6, 7], [8]])
        >>> batch.input_ids.tolist(), batch.keep.tolist()
        ([[5, 6, 7], [8, 0, 0]], [[True, True, True], [True, False, False]])
        """
        lengths = [len(row) for row in rows]
        width = max(lengths) if limit is None else min(padded_length(max(lengths)), limit)
        keep = np.arange(width) < np.array(lengths)[:, None]
        ids = np.full((len(rows), width), pad, np.int64)
        ids[keep] = np.fromiter((token for row in rows for token in row), np.int64, sum(lengths))
        if types is None:
            kinds = None
        else:
            kinds = np.zeros_like(ids)
            kinds[keep] = np.fromiter((kind for row in types for kind in row), np.int64, sum(lengths))
        return cls(ids, None if min(lengths) == width else keep, kinds)


@dataclass(frozen=True)
class TokenPlaces:
    """Where in a batch a head that answers for tokens is asked: N places, some of them perhaps the same."""

    rows: np.ndarray
    """(N,) int64: which input of the batch."""
    columns: np.ndarray
    """(N,) int64: which of its tokens."""
    tokens: np.ndarray | None = None
    """(N,) int64: of a head whose answer is a token, whose log-probability is asked for; None for other heads."""


class Backend(ABC):
    """A network on a device, ready to read.

    It answers the same for a row whatever rows stand beside it, and the same bytes each time on the same machine
    with the same number of threads.
    """

    name: ClassVar[str]
    """What it is called in `BACKENDS`."""
    call_cost: ClassVar[int]
    """What a call costs beside its tokens, in tokens: a constant and no measurement, so that batches, and with them
    the last bits of an answer, never depend on a clock."""
    precision: Precision
    """What it computes in."""
    device: str
    """Where: cpu, cuda:0, mps."""
    batch_tokens: int = BATCH_TOKENS
    """Tokens of a batch that its device is quickest with, padding included."""
    heads: frozenset[str]
    """The heads that it answers by."""
    fingerprint: str
    """A digest of all that decides its answers: weights, settings, tokenizer, precision."""

    @abstractmethod
    def vectors(self, batch: IdBatch, skips: Sequence[int] = ()) -> np.ndarray:
        """A pooled vector for each input, (B, D) float32, as the model's sentence settings say, before their steps.

        skips  tokens at the start of each input that are not pooled; nothing where all are
        """

    @abstractmethod
    def logits(self, batch: IdBatch, head: str = CLASSIFIER) -> np.ndarray:
        """The logits of a head, float32: (B, C) of one that judges whole texts, (B, L, C) of one for tokens."""

    def scores_at(self, batch: IdBatch, head: str, at: TokenPlaces) -> np.ndarray:
        """What a head that answers for tokens says at some places alone, (N,) float32.

        It is the log-probability of a token there, of a head whose answer is a token; else the one score there.
        Raises SettingError where the backend runs no such head, as only torch does.
        """
        raise SettingError(
            f"the {self.name} backend runs no head that answers for tokens, and {head} is one; leave backend= "
            "(--backend) out, or say torch"
        )

    @abstractmethod
    def why_not_finite(self) -> str:
        """What is the matter where an output is NaN or infinite, and what would do: the end of a sentence."""
