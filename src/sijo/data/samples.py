"""From shards to clean batches: how a corpus is cut into inputs, which come when, and how they are laid out.

A cut depends on the corpus and the length alone; what is random (where a pair is split, which input is
shortened) and the order are functions of (seed, epoch, sample). A run's place in its data is
therefore one number. Nothing is corrupted here: that is the objectives' business.

Letters: B batch, L length.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from sijo.batching import padded_length
from sijo.data.shards import Corpus, Shard
from sijo.errors import SettingError
from sijo.random import permuted, rng
from sijo.tokenizers.tokenizer import Tokenizer

Segments = Literal["one", "two", "one_or_two"]
Piece = tuple[Sequence[int] | np.ndarray, int, bool]
"""Tokens that stand next to each other, their token type, and whether they are special."""


@dataclass(frozen=True, kw_only=True)
class SampleSettings:
    """How a corpus is cut into inputs of a network."""

    length: int = 128
    """Tokens of an input at most, special ones and control codes included."""
    cut: Literal["documents", "stream"] = "documents"
    """Whole sentences of one document (BERT, ALBERT, ELECTRA); or windows over documents joined without a sign
    between them (DeBERTa, CTRL), of which the last, if it is not full, is left out."""
    segments: Segments = "one"
    """Into how many segments an input is split at a sentence: one; always two (ALBERT), a lone sentence in its
    middle; or mostly two near its middle, one of ten in one (ELECTRA)."""
    short: float = 0.0
    """Share of inputs cut to a length drawn from all, so that short ones occur too; ALBERT 0.1, ELECTRA 0.05."""

    def __post_init__(self) -> None:
        if not 8 <= self.length <= 100_000:
            raise SettingError(f"data.length={self.length} tokens is no length for an input; give 8 to 100,000")
        if not 0 <= self.short <= 1:
            raise SettingError(f"data.short={self.short} is a share of the inputs; give a number from 0 to 1")
        if self.cut == "stream" and (self.segments != "one" or self.short):
            raise SettingError(
                'data.cut="stream" cuts windows without regard to sentences, so data.segments must be "one" and '
                'data.short 0; for segments use data.cut="documents"'
            )


@dataclass(frozen=True)
class Batch:
    """Inputs as the corpus has them, side by side."""

    input_ids: np.ndarray
    """(B, L) int64, padded on the right."""
    keep: np.ndarray
    """(B, L) bool, True at real tokens."""
    token_type_ids: np.ndarray
    """(B, L) int64: 0, and 1 from the second segment on; padding has 0."""
    special: np.ndarray
    """(B, L) bool, True at special tokens and control codes, which are never targets, and at padding."""
    parts: np.ndarray
    """(B, 2) int64: tokens of text in the first segment, and in the second."""
    next_ids: np.ndarray
    """(B,) int64: the token that follows the input in its document or stream, or -1."""
    numbers: np.ndarray
    """(B,) int64: which samples these are."""
    epochs: np.ndarray
    """(B,) int64: how often the corpus had been read before."""
    labels: np.ndarray | None = None
    """The gold labels of each input, a row for each; None for unlabelled text."""
    texts: tuple[str, ...] | None = None
    """The text of each input as it was written; None where the corpus does not keep it."""
    beside: "Batch | None" = None
    """Inputs that each of these is compared with, such as labels in words; None for none."""


class Samples:
    """A corpus cut into inputs.

    corpus     prepared with this very tokenizer
    tokenizer  knows the special tokens around a text
    settings   how it is cut
    """

    def __init__(self, corpus: Corpus, tokenizer: Tokenizer, settings: SampleSettings) -> None:
        if corpus.tokenizer != tokenizer.text_fingerprint:
            raise SettingError(
                f"{corpus.folder} was prepared with another tokenizer than the run's; prepare it again, or give "
                "the tokenizer it was prepared with"
            )
        self.corpus = corpus
        self.fingerprint = corpus.fingerprint
        """Of all that is read, equal for equal texts under one tokenizer."""
        self.settings = settings
        self.pad_id = tokenizer.pad_id
        cls, sep = (() if id is None else (id,) for id in (tokenizer.cls_id, tokenizer.sep_id))
        self.before: dict[int | None, tuple[int, ...]] = {n: code.ids for n, code in enumerate(corpus.codes)}
        self.before = self.before or {None: cls}
        self.after: tuple[int, ...] = () if corpus.codes else sep
        ends = len(self.after) * (1 if settings.segments == "one" else 2)
        self.room = settings.length - ends - max(map(len, self.before.values()))
        if self.room < 4:
            raise SettingError(
                f"data.length={settings.length} leaves {self.room} tokens for text beside special tokens and "
                "control codes; use a longer one"
            )
        cut = _whole_sentences if settings.cut == "documents" else _windows
        self._edges = [cut(shard, self.room) for shard in corpus.shards]
        self._first = np.cumsum([0, *(len(edges) - 1 for edges in self._edges)])

    def __len__(self) -> int:
        return int(self._first[-1])

    def batch(self, position: int, count: int, *, seed: int) -> Batch:
        """The inputs at places position, …, position + count - 1 of a run that reads the corpus again and again."""
        numbers, epochs = epoch_order(position, count, len(self), seed=seed)
        places = zip(numbers.tolist(), epochs.tolist(), strict=True)
        samples = [self._sample(number, epoch, seed) for number, epoch in places]
        rows = [[*self._row(code, segments)] for code, segments, _ in samples]
        lengths = [sum(len(ids) for ids, _, _ in row) for row in rows]
        shape = len(rows), min(padded_length(max(lengths)), self.settings.length)
        ids = np.full(shape, self.pad_id, dtype=np.int64)
        types = np.zeros(shape, dtype=np.int64)
        special = np.ones(shape, dtype=bool)
        for row, pieces in enumerate(rows):
            at = 0
            for piece, kind, is_special in pieces:
                here = slice(at, at + len(piece))
                ids[row, here], types[row, here], special[row, here] = piece, kind, is_special
                at += len(piece)
        return Batch(
            input_ids=ids,
            keep=np.arange(shape[1]) < np.array(lengths)[:, None],
            token_type_ids=types,
            special=special,
            parts=np.array([[*map(len, segments), 0][:2] for _, segments, _ in samples], dtype=np.int64),
            next_ids=np.array([following for _, _, following in samples], dtype=np.int64),
            numbers=numbers,
            epochs=epochs,
            texts=self._written(numbers, [sum(map(len, segments)) for _, segments, _ in samples]),
        )

    def _place(self, number: int) -> tuple[Shard, int, int]:
        """The shard of an input, and where in its tokens it begins and ends before it is shortened."""
        at = int(np.searchsorted(self._first, number, side="right")) - 1
        place = number - int(self._first[at])
        start, end = self._edges[at][place : place + 2].tolist()
        return self.corpus.shards[at], start, end

    def _written(self, numbers: np.ndarray, lengths: Sequence[int]) -> tuple[str, ...] | None:
        """The text of each of these inputs, of so many tokens from its start; None where it is not kept."""
        texts = []
        for number, length in zip(numbers.tolist(), lengths, strict=True):
            shard, start, _ = self._place(number)
            texts.append(shard.written(start, start + length))
        written = tuple(text for text in texts if text is not None)
        return written if len(written) == len(texts) else None

    def _row(self, code: int | None, segments: Sequence[np.ndarray]) -> Iterator[Piece]:
        """The pieces of an input, special tokens set around the text."""
        yield self.before[code], 0, True
        for kind, segment in enumerate(segments):
            yield segment, kind, False
            yield self.after, kind, True

    def _sample(self, number: int, epoch: int, seed: int) -> tuple[int | None, list[np.ndarray], int]:
        """The control code of an input, its segments, and the token that follows it, or -1."""
        shard, start, end = self._place(number)
        ids = shard.tokens[start:end].astype(np.int64)
        follows = self.settings.cut == "stream" and end < len(shard.tokens)
        following = int(shard.tokens[end]) if follows else -1
        if self.settings.segments == "one" and not self.settings.short:
            return shard.code, [ids], following
        low, high = np.searchsorted(shard.sentences, [start, end], side="left")
        inner = shard.sentences[low : high + 1].astype(np.int64) - start
        borders = [0, *(int(border) for border in inner if 0 < border < len(ids)), len(ids)]
        generator = rng(seed, "cut", epoch, number)
        if generator.random() < self.settings.short:
            target = 2 + int(generator.random() * (self.room - 1))
            borders = borders[: int(np.searchsorted(borders, target)) + 1]
            following, ids = -1, ids[: borders[-1]]
        if self.settings.segments == "one" or (self.settings.segments == "one_or_two" and generator.random() < 0.1):
            return shard.code, [ids], following
        border = (parted if self.settings.segments == "two" else parted_near_middle)(borders, generator, self.room)
        return shard.code, [ids[:border], ids[border:]] if border < len(ids) else [ids], following


def epoch_order(position: int, count: int, total: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of `total` inputs stand at places position, …, position + count - 1 of a run, and in which epochs.

    >>> numbers, epochs = epoch_order(2, 3, 3, seed=0)
    >>> sorted(numbers[1:].tolist()), epochs.tolist()
    ([0, 2], [0, 1, 1])
    """
    epochs, places = np.divmod(np.arange(position, position + count), total)
    numbers = [permuted(places[epochs == epoch], total, seed=seed, epoch=int(epoch)) for epoch in np.unique(epochs)]
    return np.concatenate(numbers), epochs


def parted(borders: Sequence[int], generator: np.random.Generator, room: int) -> int:
    """Where ALBERT parts an input in two: at any sentence alike; a lone sentence in its middle.

    borders  0, the ends of sentences in tokens, the last at the end of the input

    The released script pairs a lone sentence with one from elsewhere and calls that "swapped", which
    biases the labels (docs/albert.md); split in the middle, both orders stay equally likely.

    >>> parted([0, 5, 9], np.random.default_rng(0), 126), parted([0, 9], np.random.default_rng(0), 126)
    (5, 4)
    """
    inner = borders[1:-1]
    return inner[int(generator.random() * len(inner))] if inner else max(1, borders[-1] // 2)


def parted_near_middle(borders: Sequence[int], generator: np.random.Generator, room: int) -> int:
    """Where ELECTRA parts an input in two: sentences fill the first half, then all go to the second.

    A sentence that would cross the middle goes to the first half with probability 1/2. Source: the released
    `build_pretraining_dataset.py`.

    >>> parted_near_middle([0, 40, 80, 120], np.random.default_rng(0), 126)
    40
    """
    middle, first = room // 2, 0
    for start, end in pairwise(borders):
        length = end - start
        if first and first + length >= middle and not (first < middle and generator.random() < 0.5):
            break
        first = end
    return first


def _windows(shard: Shard, room: int) -> np.ndarray:
    """Edges of windows of `room` tokens; what is left at the end only where there is no whole one."""
    tokens = len(shard.tokens)
    whole = np.arange(0, tokens + 1, room, dtype=np.uint32)
    return whole if len(whole) > 1 else np.array([0, tokens], dtype=np.uint32)


def _whole_sentences(shard: Shard, room: int) -> np.ndarray:
    """Edges of inputs of at most `room` tokens: as many sentences of a document as fit, a longer one in pieces."""
    sentences = np.asarray(shard.sentences)
    documents = sentences[shard.documents]
    lengths = np.diff(documents)
    edges = [documents[:-1]]
    for number in np.flatnonzero(lengths > room):
        place, end = int(documents[number]), int(documents[number + 1])
        inside = sentences[shard.documents[number] : int(shard.documents[number + 1]) + 1].astype(np.int64)
        more = []
        while end - place > room:
            last = int(inside[np.searchsorted(inside, place + room, side="right") - 1])
            place = last if last > place else place + room
            more.append(place)
        edges.append(np.array(more, dtype=np.uint32))
    edges.append(documents[-1:])
    return np.sort(np.concatenate(edges))
