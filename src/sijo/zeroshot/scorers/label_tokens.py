"""What a network sees of labels: whether it can read each, and tell it from the others.

Two labels whose sentences become the same token ids have the same score for every text, and the first of
them would always win. So it is with two emoji that are both unknown, with accents that a tokenizer strips, and with
descriptions that differ behind the last token that is read.
"""

import string
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sijo.errors import SettingError
from sijo.tokenizers.tokenizer import Tokenizer
from sijo.zeroshot.labels import Label, LabelProblem

MOST_KEPT = 2_000_000
"""Tokens of labels that are kept, some 80 MB with all that holds them; where each row brings its own, they have no
end."""
OF_A_LABEL = 25
"""What holds those of a label, in tokens."""
MOST_SHOWN = 12
"""Tokens, in an error."""
BLANK = f"{string.whitespace}▁Ġ"
"""What a space is, also in a vocabulary."""
REMEDY = "in words that the model knows, or choose a model for their language (--model)"


class _Seen(NamedTuple):
    """What is seen of a label."""

    name: tuple[int, ...]
    """The tokens of its name alone."""
    sentences: frozenset[tuple[int, ...]]
    """Those of the sentences that stand for it, as far as they are read."""
    unreadable: str | None
    """Its name or a description of which no token is known, if there is one."""


class LabelTokens:
    """The tokens of labels, each tokenized once.

    tokenizer  the model's
    most       how many tokens of a sentence are read; None for all
    lowercase  whether sentences are put in lower case first
    """

    def __init__(self, tokenizer: Tokenizer, *, most: int | None = None, lowercase: bool = False) -> None:
        self.tokenizer, self.most, self.lowercase = tokenizer, most, lowercase
        self._kept: dict[tuple[str, Label], _Seen] = {}
        self._size = 0

    def check(self, labels: Sequence[Label], template: str) -> None:
        """Raise SettingError for a label of which the network sees nothing, or nothing else than of another.

        >>> from sijo.checkpoints.locate import locate
        >>> english = Tokenizer.load(locate("all-minilm-l6-v2") / "tokenizer.json", max_length=256)
        >>> LabelTokens(english).check([Label("résumé"), Label("resume")], "About {}.")
        Traceback (most recent call last):
        sijo.errors.SettingError: the labels 'résumé' and 'resume' are one to this model, whose tokenizer makes \
'resume' of both, so the first would always win; name them apart in words that the model knows, or choose a model \
for their language (--model)
        """
        for problem in self.problems(labels, template):
            raise SettingError(problem.why)

    def problems(self, labels: Sequence[Label], template: str) -> Iterator[LabelProblem]:
        """Labels of which the network sees nothing, or nothing else than of another; `check` raises the first."""
        fresh = [label for label in labels if (template, label) not in self._kept]
        if fresh and self._size > MOST_KEPT:
            self._kept.clear()
            self._size, fresh = 0, list(labels)
        self._read(fresh, template)
        first: dict[frozenset[tuple[int, ...]], Label] = {}
        for label in labels:
            seen = self._kept[template, label]
            other = first.setdefault(seen.sentences, label)
            if other != label:
                makes = f"{self._shown(label.name)} of both"
                if seen.name != self._kept[template, other].name:
                    makes = f"the same of both in the {self.most} tokens of a sentence that are read"
                why = (
                    f"the labels {other.name!r} and {label.name!r} are one to this model, whose tokenizer makes "
                    f"{makes}, so the first would always win; name them apart {REMEDY}"
                )
                yield LabelProblem((other.name, label.name), why)
        for label in labels:
            unreadable = self._kept[template, label].unreadable
            if unreadable is not None:
                what = f"the label {label.name!r}"
                if unreadable != label.name:
                    what = f"the description {unreadable[:60]!r} of {what}"
                makes = f"makes {self._shown(unreadable)} of it"
                why = f"{what} says nothing to this model, whose tokenizer {makes}; say it {REMEDY}"
                yield LabelProblem((label.name,), why)

    def longest(self, labels: Sequence[Label], template: str) -> list[int]:
        """How many tokens the longest sentence of each label has, special ones not counted.

        >>> from sijo.checkpoints.locate import locate
        >>> english = Tokenizer.load(locate("all-minilm-l6-v2") / "tokenizer.json", max_length=256)
        >>> LabelTokens(english).longest([Label("sea", ("a body of salt water",))], "About {}.")
        [5]
        """
        phrases = [label.phrases(template) for label in labels]
        lengths = iter(map(len, self._ids([phrase for group in phrases for phrase in group])))
        return [max(next(lengths) for _ in group) for group in phrases]

    def _read(self, labels: Sequence[Label], template: str) -> None:
        """Tokenize labels that are new."""
        sentences = [[label.name, *label.phrases(template)] for label in labels]
        ids = iter(self._ids([sentence for group in sentences for sentence in group]))
        for label, group in zip(labels, sentences, strict=True):
            name, named, *described = tokens = [tuple(next(ids)) for _ in group]
            self._size += OF_A_LABEL + sum(map(len, tokens))
            own = [(label.name, name), *zip(label.descriptions, described, strict=True)]
            unreadable = next((text for text, read in own if not self._says_something(read)), None)
            seen = frozenset(read[: self.most] for read in (named, *described))
            self._kept[template, label] = _Seen(name, seen, unreadable)

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        return self.tokenizer.ids([text.lower() for text in texts] if self.lowercase else texts)

    def _says_something(self, ids: Sequence[int]) -> bool:
        """Whether any token is known, and more than the space before a word."""
        known = [number for number in ids if number != self.tokenizer.unk_id]
        return bool(known) and bool(self.tokenizer.decode(known).strip(BLANK))

    def _shown(self, text: str) -> str:
        """The tokens of a name, as the vocabulary spells them."""
        ids = self._ids([text])[0]
        tokens = " ".join(self.tokenizer.token(number) or "?" for number in ids[:MOST_SHOWN])
        return f"{tokens + (' …' if len(ids) > MOST_SHOWN else '')!r}" if ids else "no token"
