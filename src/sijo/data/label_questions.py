"""Texts with labels to choose among: what a sentence encoder reads to learn to fit labels to texts.

A labelled set is recast: its labels become sentences, and a text is to be nearer to the sentence of its own label
than to those of others. Each batch is of one set, with a few of its labels or many, in words that are drawn anew,
so that what is learned is to match and not which labels there are. All draws of a batch are a function of (seed,
step), so a run's place in its data is one number.

Letters: B texts of a batch, K labels that they choose among, L length, N labels of a set.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sijo.batching import padded_length
from sijo.data.samples import Batch
from sijo.errors import SettingError
from sijo.random import rng
from sijo.tokenizers.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class QuestionSettings:
    """Which labels a batch chooses among, and in which words they stand."""

    fewest: int = 2
    """Labels to choose among, at least."""
    most: int = 24
    """Labels to choose among, at most; their number is drawn so that a few are as frequent as many."""
    near: float = 0.5
    """Share of the wrong labels that are those nearest to one of the right ones, by the encoder as it was at the
    start; the others are any of the set."""
    descriptions: float = 0.25
    """Of labels that have one, the share that stands by a description and not by a name."""
    length: int = 64
    """Tokens of a text or a label at most, special ones and the prompt included."""

    def __post_init__(self) -> None:
        if not 2 <= self.fewest <= self.most <= 10_000:
            raise SettingError(
                f"questions.fewest={self.fewest} and questions.most={self.most}: there must be two labels to "
                "choose among, or more, up to 10,000"
            )
        for name in ("near", "descriptions"):
            if not 0 <= (share := getattr(self, name)) <= 1:
                raise SettingError(f"questions.{name}={share} is no share; give a number from 0 to 1")
        if not 8 <= self.length <= 100_000:
            raise SettingError(
                f"questions.length={self.length} tokens is no length for an input; give 8 to 100,000"
            )


@dataclass(frozen=True)
class LabelWords:
    """One label in the words of one language."""

    sentences: tuple[tuple[str, ...], ...]
    """For each template, one for each of its names."""
    descriptions: tuple[str, ...] = ()
    """What may stand in their place."""


@dataclass(frozen=True)
class RecastSet:
    """Labelled texts, and their labels in words."""

    name: str
    """What it is called."""
    weight: float
    """How often a batch is of it, beside the weights of others."""
    texts: tuple[str, ...]
    """One or more."""
    labels: tuple[int, ...]
    """The number of each text's label, from 0 to N - 1."""
    words: Mapping[str, tuple[LabelWords, ...]]
    """By language, each of the N labels; in every language as many templates for each of them."""
    near: np.ndarray
    """(N, n) int64: of each label some others, the nearest first."""
    taught: "Taught | None" = None
    """What a teacher finds of texts and labels, to be learned in place of each text's own label."""


@dataclass(frozen=True)
class Taught:
    """How well each label fits each text, as a teacher has it: the product of two vectors."""

    texts: np.ndarray
    """(T, E) float32, of each text."""
    labels: np.ndarray
    """(N, E) float32, of each label: divided by the temperature, so that the softmax of products is the lesson."""
    teacher: str
    """What the teacher is known by, equal for equal weights."""


class LabelQuestions:
    """Labelled sets as batches of texts, with labels to choose among beside them: what the loop reads.

    sets       one or more, of two labels or more
    tokenizer  of the network
    settings   what is drawn
    written    what becomes of a text or a sentence before it is tokenized, such as a prompt before it
    """

    def __init__(
        self,
        sets: Sequence[RecastSet],
        tokenizer: Tokenizer,
        settings: QuestionSettings,
        written: Callable[[str], str] = str,
    ) -> None:
        self.sets, self.settings = tuple(sets), settings
        self._tokenizer, self._written = tokenizer, written
        self._shares = np.cumsum([one.weight for one in sets]) / sum(one.weight for one in sets)
        self._first = np.cumsum([0, *(len(one.texts) for one in sets)])
        """The number of each set's first text among all."""
        self._texts = [ids for one in sets for ids in self._ids(one.texts)]
        room = self._room
        self.truncated = sum(len(ids) > room for ids in self._texts)
        """Texts of which the end is not read."""
        self._rows = [_by_label(np.array(one.labels)) for one in sets]
        """Of each set, the texts of each label that has any."""

    def __len__(self) -> int:
        return len(self._texts)

    @property
    def _room(self) -> int:
        return self._tokenizer.room(self.settings.length, pair=False)

    @cached_property
    def fingerprint(self) -> str:
        """Of all that is read, equal for equal sets under one tokenizer."""
        digest = hashlib.blake2b(self._tokenizer.text_fingerprint.encode(), digest_size=16)
        for one in self.sets:
            words = {
                language: [(label.sentences, label.descriptions) for label in labels]
                for language, labels in one.words.items()
            }
            content = [one.name, one.weight, [*map(self._written, one.texts)], one.labels, words, self._written("")]
            digest.update(json.dumps(content, ensure_ascii=False).encode())
            if one.taught is not None:
                digest.update(one.taught.teacher.encode())
        return digest.hexdigest()

    def batch(self, position: int, count: int, *, seed: int) -> Batch:
        """The texts of step position / count, one or more of each right label; beside them the K labels.

        `labels` (count,) int64 is the place among these of each text's own, or of a set with a teacher (count, K)
        float32, its scores, whose softmax is to be learned; `epochs` is the step. Of as many texts as there are
        labels or more, every label that has texts is the right one of some, all about equally often.
        """
        step = position // count
        random = rng(seed, "question", step)
        number = int(np.searchsorted(self._shares[:-1], random.random(), side="right"))  # the last share is all
        chosen = self.chosen_labels(number, random)
        rows = self._rows[number]
        right = np.resize(random.permutation([place for place, label in enumerate(chosen) if label in rows]), count)
        texts = np.empty(count, np.int64)
        for place in np.unique(right):
            mine, there = np.flatnonzero(right == place), rows[chosen[place]]
            texts[mine] = random.choice(there, len(mine), replace=len(mine) > len(there))
        numbers = texts + self._first[number]
        sentences = self.sentences(number, chosen, random)
        asked = self._side_by_side([self._texts[text] for text in numbers], numbers, step)
        labels = self._side_by_side(self._ids(sentences), np.array(chosen), step)
        taught = self.sets[number].taught
        lesson = right if taught is None else taught.texts[texts] @ taught.labels[chosen].T
        return Batch(**{**vars(asked), "labels": lesson, "beside": labels})

    def chosen_labels(self, number: int, random: np.random.Generator) -> list[int]:
        """Labels of a set to choose among: one that has texts, some that are near it, and any others."""
        asked, rows, one = self.settings, self._rows[number], self.sets[number]
        labels = len(next(iter(one.words.values())))
        fewest, most = min(asked.fewest, labels), min(asked.most, labels)
        count = int(fewest * math.exp(random.random() * math.log((most + 1) / fewest)))
        first = int(random.choice([*rows]))
        near = int(asked.near * (count - 1) + random.random())  # rounded up as often as it should be
        chosen = dict.fromkeys([first, *one.near[first, :near].tolist()])
        others = (label for label in random.permutation(labels).tolist() if label not in chosen)
        return [*chosen, *others][:count]

    def sentences(self, number: int, labels: Sequence[int], random: np.random.Generator) -> list[str]:
        """Labels of a set in words: all in one language and one template, by a name each or a description."""
        languages = [*self.sets[number].words.values()]
        words = languages[int(random.random() * len(languages))]
        template = int(random.random() * len(words[0].sentences))
        sentences = []
        for label in labels:
            of_label = words[label]
            described = random.random() < self.settings.descriptions and bool(of_label.descriptions)
            among = of_label.descriptions if described else of_label.sentences[template]
            sentences.append(among[int(random.random() * len(among))])
        return sentences

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        return self._tokenizer.ids([self._written(text) for text in texts])

    def _side_by_side(self, texts: Sequence[Sequence[int]], numbers: np.ndarray, step: int) -> Batch:
        """Token ids as inputs, cut to the length and padded on the right."""
        inputs = [self._tokenizer.framed(ids[: self._room]).ids for ids in texts]
        shape = (len(inputs), min(padded_length(max(map(len, inputs))), self.settings.length))
        ids, keep = np.full(shape, self._tokenizer.pad_id, dtype=np.int64), np.zeros(shape, dtype=bool)
        for row, own in enumerate(inputs):
            ids[row, : len(own)], keep[row, : len(own)] = own, True
        return Batch(
            input_ids=ids,
            keep=keep,
            token_type_ids=np.zeros(shape, dtype=np.int64),
            special=~keep | np.isin(ids, self._tokenizer.special_ids),
            parts=np.zeros((len(inputs), 2), dtype=np.int64),
            next_ids=np.full(len(inputs), -1, dtype=np.int64),
            numbers=numbers.astype(np.int64),
            epochs=np.full(len(inputs), step, dtype=np.int64),
        )


def _by_label(labels_T: np.ndarray) -> dict[int, np.ndarray]:
    """The places at which each label stands, for those that do."""
    order, (names, starts) = labels_T.argsort(kind="stable"), np.unique(np.sort(labels_T), return_index=True)
    return dict(zip(names.tolist(), np.split(order, starts[1:]), strict=True))
