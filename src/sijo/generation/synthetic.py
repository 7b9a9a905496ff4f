"""Synthetic data for classes without examples: texts generated under each class's code, the likeliest kept.

SuperGen (Meng et al. 2022, arXiv:2202.04538) for single texts: sampling at a low temperature from the top tokens, a
penalty for repetition, and then a choice by the mean log-probability of a token at a temperature of 1, since a text
that the model itself finds unlikely is seldom of the intended class. Texts are filtered as they come; only the best
stay in memory, and a digest of 8 bytes for each.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Literal

import numpy as np

from sijo.data.corpus import Document, SeenDigests, document_digest
from sijo.errors import SettingError
from sijo.generation.generator import GeneratedText, Generator, Request
from sijo.generation.rules import RequestSettings, Sampling
from sijo.names import folded
from sijo.random import rng
from sijo.texts import check_text

SAMPLING = Sampling(temperature=0.2, top_k=10, penalty=1.2)
"""SuperGen's, for single texts."""
BAD = ('"', "“", "”", "http", "\n", "\ufffd")
"""What no text for a classifier should contain: speech, addresses, line ends, undecodable bytes."""
DRAFTS = 5
"""Texts that are generated for each that is kept; SuperGen's were 20,000 and more, for 2,000 or 3,000."""
MOST_DRAFTS = 10_000_000
"""Texts of a label."""
DIGITS = 4
"""To which log-probabilities are rounded: further ones depend on the other texts in a batch."""

Outcome = Literal["kept", "bad", "short", "repeated", "doubted", "written"]
Check = Callable[[Sequence[str]], Sequence[str]]
"""From texts to the label that something else than the writer gives each."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A class to generate texts of."""

    label: str
    """Its name."""
    control_code: str | None = None
    """The code of its texts; None for a network without codes."""
    beginnings: tuple[str, ...] = ("",)
    """How its texts may begin; the seed of a text draws one of them."""

    def __post_init__(self) -> None:
        if not folded(self.label):
            raise SettingError("a label without a name cannot be learned; name it")
        check_text(self.label, f"the label {self.label!r}")
        if not self.beginnings or (self.control_code is None and not all(map(str.strip, self.beginnings))):
            raise SettingError(
                f"nothing says what a text of {self.label!r} is to be: give the label a control code, or beginnings"
            )


@dataclass(frozen=True, kw_only=True)
class SyntheticSettings(RequestSettings):
    """How many texts are generated, how, and which of them are kept.

    The n-th text, counted over all labels in turn, has the seed `seed` + n.
    """

    count: int = 100
    """Texts of each label that are kept at most; all labels have as many as the one that has fewest."""
    drafts: int | None = None
    """Texts of each label that are written; None for five times `count`."""
    min_new_tokens: int = 5
    """A text of fewer tokens is dropped."""
    stop: tuple[str, ...] = ("\n",)
    """A text ends before the first of these."""
    bad: tuple[str, ...] = BAD
    """A text with one of these is dropped."""
    sampling: Sampling = SAMPLING
    """How each token is chosen."""

    def __post_init__(self) -> None:
        if not 1 <= self.count <= self.written <= MOST_DRAFTS:
            raise SettingError(
                f"of drafts={self.drafts} texts of a label not count={self.count} can be kept: keep 1 or more, and "
                f"write more, such as {DRAFTS * max(1, min(self.count, 200))}, up to {MOST_DRAFTS:,}"
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
class SyntheticText:
    """A text generated for a class; they compare by how likely they are."""

    mean_logprob: float
    """The mean log-probability of its tokens at a temperature of 1, rounded."""
    order: int
    """The seed, negated: of two equally likely texts the earlier is greater."""
    text: str = field(compare=False)
    label: str = field(compare=False)
    seed: int = field(compare=False)
    """It generates the text again."""


class Synthesis:
    """Generates texts for labels step by step, and keeps the best of each.

    writer    of a causal language model
    kinds     the labels, each once
    settings  how many texts, and which are kept
    at_once   texts that are generated side by side; it changes nothing else
    check     gives each text a label; one that is given another than it was written for is dropped

    Raises SettingError for a label given twice, and what `Generator.stream` raises for codes and beginnings.

    >>> import sijo
    >>> from dataclasses import replace
    >>> from sijo.models import published
    >>> from sijo.nn.architecture import Sinusoidal
    >>> ctrl, words = published("ctrl")[1].architecture(), sijo.load("all-minilm-l6-v2").tokenizer
    >>> tiny = replace(ctrl, vocab_size=30522, embedding_size=16, hidden_size=16, heads=2, schedule=(0,),
    ...                positions=Sinusoidal(count=64, layout="halves"))
    >>> untrained = Generator(sijo.create(tiny, "lm", tokenizer=words))
    >>> kinds = [Kind(label="wet", beginnings=("the sea",)), Kind(label="dry", beginnings=("the land",))]
    >>> writing = Synthesis(untrained, kinds, SyntheticSettings(count=2, drafts=4, max_new_tokens=9))
    >>> list(writing.write()), [text.label for text in writing.best()]
    ([8], ['wet', 'wet', 'dry', 'dry'])
    """

    def __init__(
        self,
        writer: Generator,
        kinds: Sequence[Kind],
        settings: SyntheticSettings | None = None,
        *,
        at_once: int = 32,
        check: Check | None = None,
    ) -> None:
        self.writer, self.kinds, self.settings = writer, list(kinds), settings or SyntheticSettings()
        self.at_once, self.check = at_once, check
        names = [kind.label for kind in kinds]
        if not names or len(set(map(folded, names))) < len(names):
            raise SettingError(f"labels are given once each, and here are {', '.join(names) or 'none'}")
        self.drafts = self.settings.written * len(self.kinds)
        """Texts that are written in all."""
        self.fates: dict[str, Counter[Outcome]] = {name: Counter() for name in names}
        """What became of the texts of each label."""
        self._best: dict[str, list[SyntheticText]] = {name: [] for name in names}
        self._seen = SeenDigests()
        writer.stream(  # which refuses them now
            [self._request(kind, beginning, 0) for kind in self.kinds for beginning in kind.beginnings]
        )

    def write(self) -> Iterator[int]:
        """Generate all drafts, batch by batch; yields how many are done."""
        for start in range(0, self.drafts, self.at_once):
            numbers = range(start, min(start + self.at_once, self.drafts))
            kinds = [self.kinds[number % len(self.kinds)] for number in numbers]
            requests = list(map(self._draft, kinds, numbers))
            self._keep(map(self._scored, kinds, requests, self.writer.write(requests)))
            yield numbers.stop

    def best(self) -> list[SyntheticText]:
        """The best of each label, equally many of each, label by label and best first.

        Raises SettingError when of a label nothing is left.
        """
        count = min(map(len, self._best.values()))
        for label, texts in self._best.items():
            if not texts:
                fates = self.fates[label]
                raise SettingError(
                    f"of {fates['written']:,} texts written for {label!r} none is left: {fates['short']:,} were "
                    f"too short, {fates['bad']:,} held quotes, addresses or line ends, {fates['repeated']:,} had "
                    f"been written before, {fates['doubted']:,} were given another label; write more, or "
                    "longer ones, or at a higher temperature"
                )
        return [text for texts in self._best.values() for text in sorted(texts, reverse=True)[:count]]

    def _draft(self, kind: Kind, number: int) -> Request:
        """The request for the n-th text, with a beginning that its seed draws."""
        place = rng(self.settings.seed + number, "beginning").integers(len(kind.beginnings))
        return self._request(kind, kind.beginnings[place], number)

    def _request(self, kind: Kind, beginning: str, number: int) -> Request:
        settings = {field.name: getattr(self.settings, field.name) for field in fields(RequestSettings)}
        settings["seed"] += number
        if kind.control_code is None:
            settings["guidance"] = None
        return Request(prompt=beginning, control_code=kind.control_code, **settings)

    def _scored(self, kind: Kind, request: Request, written: GeneratedText) -> tuple[SyntheticText, int]:
        """A text with its mean log-probability, and its tokens; those of the stop string are left out of both."""
        tokens, length = len(written.ids), len(written.text.rstrip())
        decode = self.writer.model.tokenizer.decode
        while written.stopped and tokens and len(decode(written.ids[: tokens - 1]).rstrip()) >= length:
            tokens -= 1
        mean = sum(written.logprobs[:tokens]) / max(tokens, 1)
        text = f"{request.prompt.strip()} {written.text.strip()}".strip()
        return SyntheticText(round(mean, DIGITS), -request.seed, text, kind.label, request.seed), tokens

    def _keep(self, texts: Iterable[tuple[SyntheticText, int]]) -> None:
        """Keep those that pass the filters and are among the best of their label."""
        settings, sound = self.settings, []
        for text, tokens in texts:
            fates = self.fates[text.label]
            fates["written"] += 1
            if tokens < settings.min_new_tokens:
                fates["short"] += 1
            elif any(bad in text.text for bad in settings.bad):
                fates["bad"] += 1
            else:
                sound.append(text)
        # the same words under two labels are one text: it can be no example of both
        digests = [int.from_bytes(document_digest(Document([text.text]))) for text in sound]
        news = self._seen.first_time(np.array(digests, np.uint64))
        fresh = [text for text, new in zip(sound, news, strict=True) if new]
        given = self.check([text.text for text in fresh]) if self.check and fresh else [one.label for one in fresh]
        doubted = {
            text.seed for text, label in zip(fresh, given, strict=True) if folded(label) != folded(text.label)
        }
        for text, new in zip(sound, news, strict=True):
            best = self._best[text.label]
            if not new:
                self.fates[text.label]["repeated"] += 1
            elif text.seed in doubted:
                self.fates[text.label]["doubted"] += 1
            elif len(best) < settings.count:
                heapq.heappush(best, text)
            else:
                heapq.heappushpop(best, text)


def synthesise(
    writer: Generator, kinds: Sequence[Kind], settings: SyntheticSettings | None = None
) -> list[SyntheticText]:
    """Texts for each label: all drafts generated, the best kept. `Synthesis` does it step by step."""
    writing = Synthesis(writer, kinds, settings)
    for _ in writing.write():
        pass
    return writing.best()
