"""How often a shortlist may lose an answer, from texts without labels: a statement that holds 95 times in 100.

A cascade answers otherwise than the verifier would of all labels **only where** a label that decides lies outside
the shortlist. So the verifier reads n texts with all labels, and of each text it is known how deep, in the
shortlister's order, the deepest label lies that decides: its depth d. A shortlist down to the depth t misses the
texts with d > t, and the more of them the smaller t is.

    allowed misses m     the most of n for which Clopper and Pearson's limit is still at most eps
    the shortlist        t = the (m + 1)-th largest of the n depths: the smallest at which m miss, at most

**Why one sample serves both for choosing t and for stating eps.** A smaller t misses more, never less. Take the
largest t whose true share of misses is above eps: at that one t, m misses or fewer come in at most a part
1 - confidence of all draws, by Clopper and Pearson. In all others it has more than m, so it is not chosen, and
nothing smaller is (Bates et al. 2021, arXiv:2101.02703, theorem 1). Halves, one to choose t and one to state a
limit, would be right too, and lose half of the texts.

Two kinds of depth are tried, each at half of what may go wrong, and the cheaper is taken: the gap by the
shortlister as it is, and, after a third of the texts have taught it, the reach by the others, or the gap where
labels are judged by themselves.

A reach goes by what the verifier said before, and the argument is the same: a smaller limit stops earlier, or where
a larger one does, so it reads fewer labels of each text and misses more.

**What is assumed**: the sample and the texts to come are drawn alike. A sample drawn at random from a file is, for
that file.

Letters: n texts.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sijo.errors import SettingError
from sijo.evaluation.intervals import share_at_most
from sijo.zeroshot.many_labels.shortlist import SLACK, Form, Shortlist
from sijo.zeroshot.many_labels.teaching import Lesson

CONFIDENCE = 0.95
"""That the stated share holds."""
EACH = 1 - (1 - CONFIDENCE) / 2
"""That of each of two kinds of depth, so that both hold together."""


def each_of(kinds: int) -> float:
    """The confidence of each of some kinds of depth with which all of them hold together.

    >>> each_of(2) == EACH
    True
    """
    return 1 - (1 - CONFIDENCE) / kinds


def misses_allowed(texts: int, share: float, confidence: float = CONFIDENCE) -> int | None:
    """How many of so many texts may miss for at most that share to be certain; None where none may, and it is not.

    >>> [misses_allowed(texts, 0.01) for texts in (298, 299, 473, 1000)]
    [None, 0, 1, 4]
    """
    if share_at_most(0, texts, confidence) > share:
        return None
    low, high = 0, texts  # the limit grows with the misses
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if share_at_most(middle, texts, confidence) <= share else (low, middle)
    return low


def texts_needed(share: float, confidence: float = CONFIDENCE) -> int:
    """How many texts without a miss make that share certain.

    >>> texts_needed(0.01), texts_needed(0.05)
    (299, 59)
    """
    return math.ceil(math.log(1 - confidence) / math.log(1 - share) - 1e-9)


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """A shortlist, and what is known of it."""

    asked: float
    """The share of texts, at most, whose answer may differ from that of the full run."""
    shortlist: Shortlist
    texts: int
    """Those that were read in full."""
    misses: int
    """Those of them whose answer the shortlist would lose."""
    labels: int
    """How many there are."""
    mean_labels: float
    """How many of them are verified, of the sample's texts."""
    kinds: int = 2
    """Of how many kinds of depth it is the cheapest."""
    lesson: Lesson | None = None
    """What the shortlister was taught by other texts; None for its own scores."""
    taught: int = 0
    """How many these are; the verifier read them with all labels too."""
    reread: int = 0
    """How many labels of each text it read once more, in shorter lists, since it reads them beside each other."""

    @property
    def held(self) -> bool:
        """Whether anything is left out."""
        return self.shortlist.form != "all"

    @property
    def why_all(self) -> str:
        """Why nothing is left out."""
        if not self.texts:
            return "the sample would be all of the texts"
        if self.texts < (needed := texts_needed(self.asked, each_of(self.kinds))):
            return (
                f"{self.texts:,} texts are too few to be certain of at most {self.asked:.3g}: that takes "
                f"{needed:,} without a miss"
            )
        return f"no shortlist of the {self.labels:,} labels loses at most {self.asked:.3g} for certain"

    def times_fewer(self, rows: int) -> float:
        """How many times fewer labels are verified for so many rows than in full, those of the sample counted.

        rows  of the file, those of the sample among them; they are verified once more, by shortlist

        >>> shown = Certificate(
        ...     asked=0.01, shortlist=Shortlist("rank", 5), texts=500, misses=0, labels=100, mean_labels=5.0
        ... )
        >>> round(shown.times_fewer(10_000), 2)
        10.0
        """
        sample = (self.labels + self.reread) * (self.texts + self.taught)
        return self.labels * rows / (self.mean_labels * rows + sample)

    @property
    def record(self) -> Mapping[str, object]:
        """For JSON: all that decides answers, and what it rests on."""
        return {
            "asked": self.asked,
            "confidence": CONFIDENCE,
            "form": self.shortlist.form,
            "limit": self.shortlist.limit,
            "texts": self.texts,
            "misses": self.misses,
            "taught": self.taught,
            **({} if self.lesson is None else {"lesson": self.lesson.digest}),
            "mean_labels": round(self.mean_labels, 3),
        }

    def __str__(self) -> str:
        if not self.held:
            return f"every label is verified: {self.why_all}"
        limit = share_at_most(self.misses, self.texts, each_of(self.kinds))
        lesson = "" if self.lesson is None else f", as {self.taught:,} other texts taught it,"
        return (
            f"at most {self.asked:.3g} of texts answered otherwise than in full (95 % certain; "
            f"{self.misses:,} of {self.texts:,} texts, limit {limit:.4f}): {self.shortlist}{lesson} are verified, "
            f"{self.mean_labels:.1f} of {self.labels:,} a text"
        )


def certified(
    asked: float, decisive: Mapping[Form, np.ndarray], labels: int, gaps: np.ndarray | None = None, kinds: int = 2
) -> Certificate:
    """The cheapest shortlist that loses at most that share of answers for certain.

    decisive  by form, (n,) how deep the deepest label lies that decides a text's answer; 0 where none does
    labels    how many there are
    gaps      (n, L) how deep every label lies by gap or reach, where that is one of the forms
    kinds     of how many kinds of depth the cheapest will be taken, these among them

    Raises SettingError for a share that is none.

    >>> shown = certified(0.25, {"rank": np.array([1, 1, 1, 2, 2, 3, 3, 4, 6, 9] * 50)}, labels=10)
    >>> shown.shortlist.limit, shown.misses
    (4.0, 100)
    """
    texts = len(next(iter(decisive.values())))
    full = in_full(asked, labels, texts)
    allowed = misses_allowed(texts, asked, each_of(kinds))
    if allowed is None:
        return full
    held = [full]
    for form, deepest in decisive.items():
        limit = float(np.sort(deepest)[::-1][allowed])
        limit = max(limit, 1.0) if form == "rank" else limit + SLACK  # at least one label of each text
        mean = limit if form == "rank" or gaps is None else float((gaps <= limit).sum(1).mean())
        held.append(
            Certificate(
                asked=asked,
                shortlist=Shortlist(form, limit),
                texts=texts,
                misses=int((deepest > limit).sum()),
                labels=labels,
                mean_labels=mean,
                kinds=kinds,
            )
        )
    return min(held, key=lambda one: one.mean_labels)


def in_full(asked: float, labels: int, texts: int = 0) -> Certificate:
    """That every label is verified; SettingError for a share that is none."""
    check_disagreement(asked)
    return Certificate(
        asked=asked, shortlist=Shortlist("all"), texts=texts, misses=0, labels=labels, mean_labels=float(labels)
    )


def usual_sample(share: float) -> int:
    """How many texts to read in full for that share, unless told: a few of them may then miss.

    >>> usual_sample(0.01), usual_sample(0.05)
    (1000, 200)
    """
    check_disagreement(share)
    return math.ceil(10 / share - 1e-9)


def check_disagreement(share: float) -> None:
    """Raise SettingError for a share of texts that is none, or that asks for the full run.

    >>> check_disagreement(0)
    Traceback (most recent call last):
    sijo.errors.SettingError: disagreement=0 (--disagreement) is no share of texts above 0 and below 1, such as \
0.01; where no answer may differ, leave cascade= (--cascade) out
    """
    if not 0 < share < 1:
        raise SettingError(
            f"disagreement={share:g} (--disagreement) is no share of texts above 0 and below 1, such as 0.01; "
            "where no answer may differ, leave cascade= (--cascade) out"
        )
