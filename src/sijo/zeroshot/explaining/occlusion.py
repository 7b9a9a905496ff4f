"""Which words carried a decision: each is left out, and the text is labelled again without it.

What a word added is the label's log-odds with it less those without it. Nothing of the model is looked into, so
every scorer can be explained; and every variant goes the way of the text itself, through the labeller, so what is
explained is the probability that is told.

A text of more words than may be left out one by one is opened from the top: its sentences, or runs of them, are
left out first, then the words of those that changed most, as far as the limit allows. A text that is cut is
explained as far as it was read.

Source: occlusion, Zeiler and Fergus 2014 (arXiv:1311.2901), of words Li et al. 2016 (arXiv:1612.08220).

Letters: n texts, L labels, P parts of a text.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from sijo.batching import groups
from sijo.errors import SettingError
from sijo.inference.outputs import NotFiniteError
from sijo.texts import texts_in, values_in
from sijo.zeroshot.explaining.evidence import Evidence, Explanation, TextPart
from sijo.zeroshot.explaining.words import Words
from sijo.zeroshot.hierarchy import hierarchy_of
from sijo.zeroshot.labeller import MOST_SCORES, Labeller, LabelPrediction, check_top_k
from sijo.zeroshot.labels import Labels, LabelSet
from sijo.zeroshot.scorers.pair_scorer import PairScorer

TOP_K = 3
"""Labels that are explained, unless told otherwise."""
LIMIT = 128
"""Variants of a text, unless told otherwise."""
MOST_WORDS = 2**15
"""Of all variants of a text together: of a longer one fewer are read, but `LEAST` at least."""
LEAST = 8
AT_ONCE = 64
"""Texts that are explained together; fewer where each has thousands of labels, whose scores take memory."""


@dataclass(eq=False)
class OpenedText:
    """A text on its way to be explained: what was left out of it so far, and what comes next."""

    number: int
    """Of the text, counted from 0."""
    row: LabelPrediction
    labels: LabelSet
    words: Words
    """Those that are read."""
    columns: list[int]
    """Of the candidates that are explained, the most probable first, and of the next."""
    limit: int
    """How many variants there may be, the text itself among them."""
    base_C: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """The log-odds of all candidates."""
    parts: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)
    """Runs of words that were left out, each with the log-odds (C,) of the rest."""
    variants: int = 1

    def runs(self) -> list[tuple[int, int]]:
        """The runs of words that are to be left out next; none where all is done, or the limit is reached."""
        rest = self.limit - self.variants
        count = len(self.words)
        if not self.parts:
            runs = self.words.parts(0, count, rest if count <= rest else rest // 2)
        else:
            runs = self._opened(rest)
        self.variants += len(runs)
        return runs

    def _opened(self, rest: int) -> list[tuple[int, int]]:
        """What the runs of several words that changed most are made of, at most so many."""
        long = [run for run in self.parts if run[1] - run[0] > 1]
        if sum(last - first for first, last in long) > rest:
            rest //= 2  # the other half is for what these are made of
        runs: list[tuple[int, int]] = []
        for run in sorted(long, key=lambda run: (-abs(self._change(run)), run)):
            if rest - len(runs) < 2:
                break
            runs += self.words.parts(*run, rest - len(runs))
            del self.parts[run]
        return runs

    def _change(self, run: tuple[int, int]) -> float:
        """What a run of words added to the most probable label."""
        return float(self.base_C[self.columns[0]] - self.parts[run][self.columns[0]])


def explain(
    labeller: Labeller,
    texts: Iterable[str],
    labels: Iterable[Labels] | None = None,
    *,
    top_k: int = TOP_K,
    limit: int = LIMIT,
) -> Iterator[Explanation]:
    """The answer for each text, and what each of its words added to it, for a stream of any length.

    labels  a label set for each text, in place of the labeller's own
    top_k   for how many of the most probable labels
    limit   how many variants of a text are read at most, the text itself among them; fewer of one of more than
            256 words, so that all have 32,768 words together, but 8 in any case. Those of many texts are read
            together

    Raises what `Labeller.stream` raises; SettingError for a scorer that reads few of the labels; NotFiniteError
    also names a text that has no scores without some words.
    """
    check_top_k(top_k)
    check_limit(limit)
    labeller.scorer.must_score_all("an explanation")
    sets = None if labels is None else values_in(labels, "labels")
    scores = limit * (1 if labeller.labels is None or sets is not None else len(labeller.labels.labels))
    number = 0
    for group in groups(texts_in(texts), rows=max(1, min(AT_ONCE, MOST_SCORES // scores))):
        own = None if sets is None else [LabelSet.of(names) for names in islice(sets, len(group))]
        try:
            rows = list(labeller.stream(group, own))  # as they are told without an explanation
        except NotFiniteError as error:
            raise error.after(number) from None
        suited = {label_set: labeller.suited(label_set) for label_set in own or ()}
        opened = []
        for place, (text, row) in enumerate(zip(group, rows, strict=True)):
            label_set = labeller.own if own is None else suited[own[place]]
            opened.append(_opened(labeller, number + place, text, row, label_set, top_k, limit))
        _leave_out(labeller, [text for text in opened if text.words.words])
        yield from (_explanation(text, whole, labeller, top_k) for text, whole in zip(opened, group, strict=True))
        number += len(group)
    if sets is not None and next(sets, None) is not None:
        raise SettingError("there are more label sets than texts; give one for each text")


def check_limit(limit: int) -> None:
    """Raise SettingError for a number of variants that tells nothing, or that nobody would wait for."""
    if not LEAST <= limit <= MOST_WORDS:
        raise SettingError(
            f"a limit of {limit} variants a text (--explain-limit) cannot be; give a number from {LEAST} to "
            f"{MOST_WORDS:,}"
        )


def _opened(
    labeller: Labeller, number: int, text: str, row: LabelPrediction, labels: LabelSet, top_k: int, limit: int
) -> OpenedText:
    """A text of which nothing is left out yet."""
    words = Words(text if row.tokens else "")
    if row.truncated and words.words:
        words = _words_read(labeller, words, labels)
    names = [*labels.names, *([] if labeller.choice.none_label is None else [labeller.choice.none_label])]
    columns = [names.index(name) for name in row.labels[: top_k + 1]]
    return OpenedText(number, row, labels, words, columns, max(LEAST, min(limit, MOST_WORDS // max(len(words), 1))))


def _words_read(labeller: Labeller, words: Words, labels: LabelSet) -> Words:
    """Those of a text that is cut that are read beside any label, and what is written together with the last."""
    scorer = labeller.scorer
    beside = [[label] for label in labels.labels] if isinstance(scorer, PairScorer) else [labels.labels]
    rooms = [scorer.room_beside(some, labeller.template) for some in beside]
    room = max((room for room in rooms if room is not None), default=0)

    def fills(count: int) -> bool:
        (ids,) = scorer.engine.model.tokenizer.ids([words.text[: words.span(0, count)[1]]])
        return len(ids) >= room

    last = bisect_left(range(1, len(words)), True, key=fills) + 1  # the fewest words that fill the room
    while last < len(words) and words.words[last].start == words.words[last - 1].end:
        last += 1  # what is written together becomes tokens together
    return Words(words.text[: words.span(0, last)[1]])


def _leave_out(labeller: Labeller, opened: Sequence[OpenedText]) -> None:
    """Label texts without parts of theirs, round after round, all texts together, until each is done."""
    whole = [(text, text.words.text) for text in opened]
    for text, odds_C in zip(opened, _log_odds(labeller, whole), strict=True):
        text.base_C = odds_C
    while asked := [(text, run) for text in opened for run in text.runs()]:
        variants = [(text, text.words.without(run)) for text, run in asked]
        for (text, run), odds_C in zip(asked, _log_odds(labeller, variants), strict=True):
            text.parts[run] = odds_C


def _log_odds(labeller: Labeller, variants: Sequence[tuple[OpenedText, str]]) -> list[np.ndarray]:
    """The log-odds (C,) of the candidates of each variant of a text."""
    by_labels: dict[int, list[int]] = {}  # texts of one label set share the object: thousands of names are no key
    for place, (text, _) in enumerate(variants):
        by_labels.setdefault(id(text.labels), []).append(place)
    odds = [np.zeros(0)] * len(variants)
    for places in by_labels.values():
        try:
            odds_nC = log_odds(labeller, [variants[i][1] for i in places], variants[places[0]][0].labels)
        except NotFiniteError as error:
            raise NotFiniteError(error.why, variants[places[error.place]][0].number) from None
        for place, odds_C in zip(places, odds_nC, strict=True):
            odds[place] = odds_C
    return odds


def log_odds(labeller: Labeller, texts: Sequence[str], labels: LabelSet | None = None) -> np.ndarray:
    """By how much each candidate leads all that could be instead, (n, C): the logarithms of its odds.

    labels  one set for all of the texts, as `Labeller.suited` gives it; None for the labeller's own

    Candidates are the labels in their order, and none of them last, where that may be the answer.

    Raises NotFiniteError for a text whose scores are NaN or infinite.
    """
    choice, calibration = labeller.choice, labeller.calibration
    scores = np.concatenate([scores for scores, _ in labeller.scored(texts, labels)])
    with np.errstate(over="ignore", invalid="ignore"):  # what becomes of it is looked at
        if choice.multi_label:
            odds = hierarchy_of((labels or labeller.own).labels).raised(calibration.log_odds_of_each(scores))
        elif choice.none_label is None:
            odds = calibration.log_odds(scores)
        else:
            odds = calibration.log_odds_with_none(scores)
    if not (finite := np.isfinite(odds).all(-1)).all():
        raise NotFiniteError(
            "some scores of the text, or of what is left of it without some of its words, are NaN or infinite at "
            f"temperature={calibration.temperature:g}; choose another model (--model), or leave the text out",
            int(finite.argmin()),
        )
    return odds


def _explanation(text: OpenedText, whole: str, labeller: Labeller, top_k: int) -> Explanation:
    """What came out for a text."""
    row, runs = text.row, sorted(text.parts)
    parts = []
    for first, last in runs:
        start, end = text.words.span(first, last)
        spoken = any(word.spoken for word in text.words.words[first:last])
        parts.append(TextPart(start, end, whole[start:end], last - first, spoken))
    odds_1PC = np.array([text.base_C, *(text.parts[run] for run in runs)])

    def evidence(number: int, lead_1P: np.ndarray, against: str | None = None) -> Evidence:
        """That for the label of such a number, from its lead in the text, and in the text without each part."""
        effects = tuple((lead_1P[0] - lead_1P[1:]).tolist())
        return Evidence(row.labels[number], against, row.scores[number], float(lead_1P[0]), effects)

    columns, contrast = text.columns if runs else [], None
    if len(columns) > 1 and not labeller.choice.multi_label:
        log_p_1P2 = -np.logaddexp(0.0, -odds_1PC[:, columns[:2]])
        contrast = evidence(0, log_p_1P2[:, 0] - log_p_1P2[:, 1], row.labels[1])
    return Explanation(
        **vars(row),
        text=whole,
        parts=tuple(parts),
        evidence=tuple(evidence(n, odds_1PC[:, column]) for n, column in enumerate(columns[:top_k])),
        contrast=contrast,
        variants=text.variants,
        read_until=len(text.words.text) if row.truncated else len(whole),
    )
