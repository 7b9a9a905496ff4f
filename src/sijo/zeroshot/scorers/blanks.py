"""A label's words in the blank of a sentence, behind the text: what is asked of heads that answer for tokens.

The input is one sequence of tokens, [CLS] text sentence [SEP]. It is put together from token ids, so that where the
label stands is known and never guessed from characters; and the text is cut, never the sentence.

Letters: P pairs of a text and a sentence.
"""

import json
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple

import numpy as np

from sijo.errors import SettingError, TextError
from sijo.inference.engine import AskedInput, Engine
from sijo.inference.outputs import ReadCounts
from sijo.inference.vector_cache import Entry
from sijo.tokenizers.tokenizer import Tokenizer
from sijo.zeroshot.labels import Label
from sijo.zeroshot.scorers.pair_scorer import PairScorer
from sijo.zeroshot.templates import template_of

MOST_KEPT = 100_000
"""Sentences whose tokens are kept."""


class FilledBlank(NamedTuple):
    """A sentence in tokens, and those of the words that fill its blank."""

    ids: tuple[int, ...]
    """Of the whole sentence, without special tokens."""
    start: int
    """The first token of the words, counted from 0."""
    end: int
    """The first behind them."""

    @classmethod
    def of(cls, tokenizer: Tokenizer, before: str, words: str, after: str) -> "FilledBlank":
        """Words between what stands before and after them.

        The tokens are those of the whole sentence, as it would be read anywhere. The words begin behind the tokens
        of what stands before them alone, and end where the sentence would if it stopped with them. Where either
        of these is not how the whole begins, since a token holds the end of the words and what follows ("U.S." in
        one), the words stand in the sentence as a mask token would: with its own tokens before and behind it.

        The sentence comes behind a text, so it begins with a space.

        >>> from sijo.checkpoints.locate import locate
        >>> english = Tokenizer.load(locate("all-minilm-l6-v2") / "tokenizer.json", max_length=256)
        >>> filled = FilledBlank.of(english, "It was ", "sport", ".")
        >>> [english.token(number) for number in filled.ids[filled.start : filled.end]], len(filled.ids)
        (['sport'], 4)
        """
        before = f" {before}"
        head, left, whole = tokenizer.ids([before.rstrip(), before + words, before + words + after])
        if left[: len(head)] == head and whole[: len(left)] == left and len(left) > len(head):
            return cls(tuple(whole), len(head), len(left))
        mask = "" if tokenizer.mask_id is None else tokenizer.token(tokenizer.mask_id)
        head, own, tail = tokenizer.ids([before.rstrip(), words, f"{mask}{after}"])
        tail = tail[1:] if mask else tail
        return cls((*head, *own, *tail), len(head), len(head) + len(own))


class BlankScorer(PairScorer):
    """A head that answers for tokens, asked of a label's words in a blank behind the text.

    Each description of a label is more words for the same blank, and the mean over all of its words counts, as PET
    has it (Schick & Schütze 2021, arXiv:2001.07676). So describe by words: `{"sport": ["football", "athletes"]}`.
    """

    several = "mean"
    calibrated_by = "batch"
    head: ClassVar[str]
    """The head that is asked."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._filled: dict[str, FilledBlank] = {}

    def sentences(self, label: Label, template: str) -> Sequence[str]:
        """The sentences of a label, each as JSON: what stands before its words, they, and what stands after."""
        own = template_of(label.template or template)
        parts = []
        for words in (label.name, *label.descriptions):
            before, after = own.around(words)
            parts.append(json.dumps((before, words, after)))
        return parts

    def judged(
        self, texts: Sequence[str], sentences: Sequence[str], *, absolute: bool
    ) -> tuple[np.ndarray, ReadCounts]:
        """The score (P,) float64 of each text with its sentence, and how much of each text was read."""
        tokens, windows, truncated, scores = self.engine.outputs(
            list(zip(texts, sentences, strict=True)), self._read, 1
        )
        return scores[:, 0].astype(np.float64), ReadCounts(tokens, windows, truncated)

    @abstractmethod
    def question(self, ids: tuple[int, ...], places: range) -> AskedInput:
        """What is asked of an input, in which the words stand at these places."""

    @abstractmethod
    def answer(self, scores: np.ndarray) -> float:
        """What is kept of the head's scores at the places of the words."""

    def room(self, sentence: str) -> int:
        """How many tokens of text the model reads beside a sentence."""
        tokenizer = self.engine.model.tokenizer
        return tokenizer.room(tokenizer.max_length, pair=False) - len(self.filled(sentence).ids)

    def filled(self, sentence: str) -> FilledBlank:
        """A sentence in tokens; each is tokenized once."""
        if sentence not in self._filled:
            if len(self._filled) > MOST_KEPT:
                self._filled.clear()
            filled = FilledBlank.of(self.engine.model.tokenizer, *json.loads(sentence))
            if filled.start == filled.end:
                words = json.loads(sentence)[1]
                raise SettingError(f"the words {words[:60]!r} are no token to the model's tokenizer; use others")
            self._filled[sentence] = filled
        return self._filled[sentence]

    def _read(self, pairs: Sequence[tuple[str, str]]) -> Iterator[Entry]:
        """Run the model over pairs; yields an entry for each."""
        tokenizer = self.engine.model.tokenizer
        texts = list(dict.fromkeys(text for text, _ in pairs))
        ids = dict(zip(texts, tokenizer.ids(texts), strict=True))
        asked, unread = [], []
        for text, sentence in pairs:
            filled, room = self.filled(sentence), self.room(sentence)
            if room < 1:
                raise TextError(f"a sentence of {len(filled.ids)} tokens leaves no room for a text")
            kept = ids[text][:room]
            framed = tokenizer.framed([*kept, *filled.ids])
            start = framed.starts[0] + len(kept)
            asked.append(self.question(tuple(framed.ids), range(start + filled.start, start + filled.end)))
            unread.append(len(kept) < len(ids[text]))
        for (text, _), scores, cut in zip(pairs, self.engine.scores_at(self.head, asked), unread, strict=True):
            yield Entry(np.array([self.answer(scores)], np.float32), len(ids[text]), 1, cut)
