"""Many texts through an encoder, fast, in order, and in constant memory.

Texts are taken in bounded groups; each group is tokenized at once, cut into windows where a text is
longer than the model, sorted by length, and run in batches of about equal numbers of tokens.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from sijo.checkpoints.load import Model, load
from sijo.errors import SettingError
from sijo.inference.store import Entry, VectorStore
from sijo.nn.pooling import pool
from sijo.text.batches import by_length, groups, padded_length

LongText = Literal["windows", "truncate"]

TOKEN_BUDGET = 4096


@dataclass(frozen=True)
class Encoded:
    """The vectors of some texts, and how much of each was read."""

    vectors: np.ndarray
    """(n, D) float32, one row a text, of any length; all zeros for a text without tokens."""
    tokens: np.ndarray
    """(n,) int64: how many tokens each text has, special ones not counted."""
    windows: np.ndarray
    """(n,) int64: in how many windows each text was read."""
    truncated: np.ndarray
    """(n,) bool: True where tokens were left unread, which only `long_text="truncate"` does."""

    def __len__(self) -> int:
        return len(self.vectors)

    def only(self, row: int) -> "Encoded":
        """One of the texts, as an `Encoded` of length 1."""
        at = slice(row, row + 1)
        return Encoded(self.vectors[at], self.tokens[at], self.windows[at], self.truncated[at])


class Engine:
    """An encoder with a plan: texts in, one vector each out.

    model         what `sijo.load` gives
    token_budget  tokens of a batch, padding included; more needs more memory
    long_text     "windows" reads the whole of a text longer than the model, in windows whose vectors
                  are averaged by their tokens; "truncate" reads its first window and says so
    store         where vectors are kept between runs

    >>> engine = Engine(load())
    >>> engine.encode(["a cat", "", "a dog"]).tokens.tolist()
    [2, 0, 2]
    """

    def __init__(
        self,
        model: Model,
        *,
        token_budget: int = TOKEN_BUDGET,
        long_text: LongText = "windows",
        store: VectorStore | None = None,
    ) -> None:
        if long_text not in ("windows", "truncate"):
            raise SettingError(f"long_text={long_text!r} is neither 'windows' nor 'truncate'")
        if token_budget < 1:
            raise SettingError(
                f"token_budget={token_budget} leaves no room for a token; the default is {TOKEN_BUDGET}"
            )
        self.model = model
        self.token_budget = token_budget
        self.long_text = long_text
        self.store = store

    def stream(self, texts: Iterable[str]) -> Iterator[Encoded]:
        """Encode a stream of any length, one bounded group of texts after another, in order."""
        for group in groups(texts):
            yield self.encode(group)

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Encode texts that fit in memory together; `stream` takes more.

        Equal texts are encoded once. With a store, only texts that it has not seen are encoded.
        """
        unique = list(dict.fromkeys(texts))
        entries = {} if self.store is None else self.store.get(unique)
        fresh = [text for text in unique if text not in entries]
        if fresh:
            encoded = dict(zip(fresh, self._read(fresh), strict=True))
            if self.store is not None:
                self.store.put(encoded)
            entries |= encoded
        rows = [entries[text] for text in texts]
        width = self.model.architecture.hidden_size
        return Encoded(
            np.array([row.vector for row in rows], np.float32).reshape(len(rows), width),
            np.array([row.tokens for row in rows], np.int64),
            np.array([row.windows for row in rows], np.int64),
            np.array([row.truncated for row in rows], bool),
        )

    def _read(self, texts: Sequence[str]) -> Iterator[Entry]:
        """Run the model over texts; yields an entry for each."""
        tokenizer = self.model.tokenizer
        whole = tokenizer.windows([text.lower() for text in texts] if self.model.sentence.lowercase else texts)
        tokens = [tokenizer.count(windows) for windows in whole]
        read = [windows[:1] if self.long_text == "truncate" else windows for windows in whole]
        owners = [i for i, windows in enumerate(read) if tokens[i] for _ in windows]
        sequences = [ids for i, windows in enumerate(read) if tokens[i] for ids in windows]

        totals = np.zeros((len(texts), self.model.architecture.hidden_size), np.float64)
        weights = np.zeros((len(texts), 1))
        for batch in by_length([len(ids) for ids in sequences], token_budget=self.token_budget):
            lengths = np.array([[len(sequences[i])] for i in batch])
            rows = [owners[i] for i in batch]
            np.add.at(totals, rows, self._vectors([sequences[i] for i in batch]) * lengths)
            np.add.at(weights, rows, lengths)
        vectors = (totals / np.maximum(weights, 1)).astype(np.float32)
        for i in range(len(texts)):
            yield Entry(vectors[i], tokens[i], len(read[i]), len(read[i]) < len(whole[i]))

    @torch.inference_mode()
    def _vectors(self, sequences: Sequence[Sequence[int]]) -> np.ndarray:
        """One pooled vector for each token sequence, (n, D) float32."""
        lengths_B1 = torch.tensor([[len(ids)] for ids in sequences])
        width = min(padded_length(int(lengths_B1.max())), self.model.tokenizer.max_length)
        ids_BL = torch.tensor([[*ids, *[0] * (width - len(ids))] for ids in sequences])
        keep_BL = torch.arange(width) < lengths_B1 if int(lengths_B1.min()) < width else None
        hidden_BLD = self.model(ids_BL, keep_BL).last_hidden_state
        vectors: np.ndarray = pool(hidden_BLD, keep_BL, self.model.sentence.pooling).float().numpy()
        return vectors


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (n, D) scaled to length 1, so that a dot product is a cosine; zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: np.ndarray = vectors / np.where(lengths > 0, lengths, 1)
    return scaled


def encode(model: str | Path | Model | None, texts: Iterable[str], normalize: bool = True) -> np.ndarray:
    """One vector for each text, in order.

    model      a folder, an `org/name`, an opened model, or None for the built-in one
    texts      any number of them; a text longer than the model is read in windows
    normalize  scale each vector to length 1, so that a dot product is a cosine

    Returns (n, D) float32. A text without tokens gives zeros.

    >>> cat, kitten, tax = encode(None, ["a cat", "a kitten", "income tax"])
    >>> bool(cat @ kitten > cat @ tax)
    True
    """
    opened = model if isinstance(model, Model) else load(model)
    vectors = [group.vectors for group in Engine(opened).stream(texts)]
    width = opened.architecture.hidden_size
    stacked = np.concatenate(vectors) if vectors else np.zeros((0, width), np.float32)
    return unit(stacked) if normalize else stacked
