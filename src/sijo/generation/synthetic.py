"""Data for classes without examples: texts written under the code of each class, of which the likeliest are kept.

SuperGen (Meng et al. 2022, arXiv:2202.04538) for single texts: a little chance among few tokens, a penalty for
repetition, and then a choice by the mean log-probability of a token at a temperature of 1, since what a model
itself finds odd is seldom of the class that was asked for. Texts are judged as they come; of those gone by 8 bytes
each are kept, and the best.
"""

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from sijo.data.corpus import Document, SeenDigests, document_digest
from sijo.errors import SettingError
from sijo.generation.generator import Generator, Request, Written
from sijo.generation.rules import Sampling
from sijo.random import rng

SAMPLING = Sampling(temperature=0.2, top_k=10, penalty=1.2)
"""SuperGen's, for single texts."""
BAD = ('"', "“", "”", "http", "\n", "\ufffd")
"""What no text for a classifier should hold: speech, addresses, more than a line, letters that are no letters."""
DRAFTS = 5
"""Texts that are written for each that is kept; SuperGen wrote 20,000 and more, and kept 2,000 or 3,000."""
DIGITS = 4
"""To which log-probabilities are rounded: more of them depend on who stands beside a text in a batch."""

Fate = Literal["kept", "bad", "short", "repeated", "written"]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A class to write texts of."""

    label: str
    """Its name."""
    control_code: str | None = None
    """The code that its texts are written under; None for a network without codes."""
    beginnings: tuple[str, ...] = ("",)
    """How they may begin; each text's is chosen by its seed."""

    def __post_init__(self) -> None:
        if not self.label.strip():
            raise SettingError("a label without a name cannot be learned; name it")
        if not self.beginnings or (self.control_code is None and not all(map(str.strip, self.beginnings))):
            raise SettingError(
                f"nothing says what a text of {self.label!r} is to be: give the label a control code, or beginnings"
            )


@dataclass(frozen=True, kw_only=True)
class SyntheticSettings:
    """How many texts, and which."""

    count: int = 100
    """Texts of each label that are kept at most; all labels have as many as the one that has fewest."""
    drafts: int | None = None
    """Texts of each label that are written; None for five times `count`."""
    max_new_tokens: int = 100
    """Tokens to write at most."""
    min_new_tokens: int = 5
    """A text of fewer tokens is dropped."""
    stop: tuple[str, ...] = ("\n",)
    """A text ends before the first of these."""
    banned: tuple[str, ...] = ()
    """Words that are not written."""
    bad: tuple[str, ...] = BAD
    """A text with one of these is dropped."""
    guidance: float | None = None
    """How strongly the code is obeyed, as for `Request`."""
    seed: int = 0
    """The n-th text, counted over all labels in turn, has this and n."""
    sampling: Sampling = SAMPLING
    """How each token is chosen."""

    def __post_init__(self) -> None:
        if self.count < 1:
            raise SettingError(f"count={self.count} keeps no text; give 1 or more")
        if self.written < self.count:
            raise SettingError(
                f"of drafts={self.drafts} texts not count={self.count} can be kept; write more, such as "
                f"{DRAFTS * self.count}"
            )
        if not 0 <= self.min_new_tokens <= self.max_new_tokens:
            raise SettingError(
                f"min_new_tokens={self.min_new_tokens} must be 0 or more, and at most "
                f"max_new_tokens={self.max_new_tokens}"
            )
        if self.sampling.temperature == 0:
            raise SettingError("a temperature of 0 would write the same text again and again; give one such as 0.2")

    @property
    def written(self) -> int:
        """How many texts of each label are written."""
        return DRAFTS * self.count if self.drafts is None else self.drafts


@dataclass(frozen=True, order=True)
class Made:
    """A text of a class."""

    mean_logprob: float
    """The mean log-probability of its tokens at a temperature of 1, rounded."""
    order: int
    """Less of two equally likely ones for the later."""
    text: str = field(compare=False)
    label: str = field(compare=False)
    seed: int = field(compare=False)
    """That it was written with."""


class Synthesis:
    """The writing of texts for labels, and those that are kept.

    writer    of a network that writes
    kinds     the labels, each once
    settings  how many, and which
    at_once   texts that are written side by side; it changes nothing else

    Raises SettingError for a label given twice, and what `Generator.stream` raises for codes and beginnings.

    >>> import sijo
    >>> from dataclasses import replace
    >>> from sijo.models import published
    >>> from sijo.nn.architecture import Sinusoidal
    >>> ctrl, words = published("ctrl")[1].architecture(), sijo.load().tokenizer
    >>> tiny = replace(ctrl, vocab_size=30522, embedding_size=16, hidden_size=16, heads=2, schedule=(0,),
    ...                positions=Sinusoidal(count=64, layout="halves"))
    >>> untrained = Generator(sijo.create(tiny, "lm", tokenizer=words))
    >>> kinds = [Kind(label="wet", beginnings=("the sea",)), Kind(label="dry", beginnings=("the land",))]
    >>> writing = Synthesis(untrained, kinds, SyntheticSettings(count=2, drafts=4, max_new_tokens=9))
    >>> list(writing.write()), [one.label for one in writing.best()]
    ([8], ['wet', 'wet', 'dry', 'dry'])
    """

    def __init__(
        self,
        writer: Generator,
        kinds: Sequence[Kind],
        settings: SyntheticSettings | None = None,
        *,
        at_once: int = 32,
    ) -> None:
        self.writer, self.kinds, self.settings = writer, list(kinds), settings or SyntheticSettings()
        self.at_once = at_once
        names = [kind.label for kind in kinds]
        if not names or len(set(names)) < len(names):
            raise SettingError(f"labels are given once each, and here are {', '.join(names) or 'none'}")
        self.drafts = self.settings.written * len(self.kinds)
        """Texts that are written in all."""
        self.fates: dict[str, Counter[Fate]] = {name: Counter() for name in names}
        """What became of the texts of each label."""
        self._best: dict[str, list[Made]] = {name: [] for name in names}
        self._seen = SeenDigests()
        every = [(kind, beginning) for kind in self.kinds for beginning in kind.beginnings]
        writer.stream([self._request(kind, beginning, 0) for kind, beginning in every])  # to refuse them now

    def write(self) -> Iterator[int]:
        """Write all drafts, batch by batch; yields how many are done."""
        for start in range(0, self.drafts, self.at_once):
            numbers = range(start, min(start + self.at_once, self.drafts))
            kinds = [self.kinds[number % len(self.kinds)] for number in numbers]
            begun = [self._beginning(kind, number) for kind, number in zip(kinds, numbers, strict=True)]
            requests = [
                self._request(kind, beginning, number)
                for kind, beginning, number in zip(kinds, begun, numbers, strict=True)
            ]
            made = [
                self._made(kind, request, written)
                for kind, request, written in zip(kinds, requests, self.writer.write(requests), strict=True)
            ]
            self._judge(made)
            yield numbers.stop

    def best(self) -> list[Made]:
        """The best of each label, as many of each, label by label and best first.

        Raises SettingError when of a label nothing is left.
        """
        count = min(map(len, self._best.values()))
        for label, some in self._best.items():
            if not some:
                fates = self.fates[label]
                raise SettingError(
                    f"of {fates['written']:,} texts written for {label!r} none is left: {fates['short']:,} were "
                    f"too short, {fates['bad']:,} held quotes, addresses or line ends, {fates['repeated']:,} had "
                    "been written before; write more, or longer ones, or at a higher temperature"
                )
        return [one for some in self._best.values() for one in sorted(some, reverse=True)[:count]]

    def _beginning(self, kind: Kind, number: int) -> str:
        dice = rng(self.settings.seed + number, "beginning")
        return kind.beginnings[int(dice.integers(len(kind.beginnings)))]

    def _request(self, kind: Kind, beginning: str, number: int) -> Request:
        settings = self.settings
        return Request(
            prompt=beginning,
            control_code=kind.control_code,
            guidance=None if kind.control_code is None else settings.guidance,
            max_new_tokens=settings.max_new_tokens,
            stop=settings.stop,
            banned=settings.banned,
            seed=settings.seed + number,
            sampling=settings.sampling,
        )

    def _made(self, kind: Kind, request: Request, written: Written) -> tuple[Made, int]:
        """A text, and how many tokens it has; the mean leaves those of the stop string out."""
        tokens = self._tokens(written)
        mean = sum(written.logprobs[:tokens]) / max(tokens, 1)
        text = f"{request.prompt.strip()} {written.text.strip()}".strip()
        return Made(round(mean, DIGITS), -request.seed, text, kind.label, request.seed), tokens

    def _tokens(self, written: Written) -> int:
        """How many of its tokens make a text, and not the stop string after it."""
        count, length = len(written.ids), len(written.text.rstrip())
        decode = self.writer.model.tokenizer.decode
        while written.stopped and count and len(decode(written.ids[: count - 1]).rstrip()) >= length:
            count -= 1
        return count

    def _judge(self, made: Sequence[tuple[Made, int]]) -> None:
        """Keep of some texts those that are among the best of their label."""
        settings, sound = self.settings, []
        for one, tokens in made:
            fates = self.fates[one.label]
            fates["written"] += 1
            if tokens < settings.min_new_tokens:
                fates["short"] += 1
            elif any(bad in one.text for bad in settings.bad):
                fates["bad"] += 1
            else:
                sound.append(one)
        # the same words under two labels are one text: it can be no example of both
        digests = [int.from_bytes(document_digest(Document([one.text]))) for one in sound]
        for one, new in zip(sound, self._seen.first_time(np.array(digests, np.uint64)), strict=True):
            if not new:
                self.fates[one.label]["repeated"] += 1
            elif len(best := self._best[one.label]) < settings.count:
                heapq.heappush(best, one)
            else:
                heapq.heappushpop(best, one)


def synthesise(writer: Generator, kinds: Sequence[Kind], settings: SyntheticSettings | None = None) -> list[Made]:
    """Texts for each label: all drafts written, the best kept. `Synthesis` does it step by step."""
    writing = Synthesis(writer, kinds, settings)
    for _ in writing.write():
        pass
    return writing.best()
