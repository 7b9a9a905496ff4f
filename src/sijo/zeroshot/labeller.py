"""Texts in, rows out: the choice among labels, shared by the classifier and the command line.

Here, and not in `classifier.py`, because scikit-learn takes two seconds to import and only an
estimator needs it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from sijo.batching import groups
from sijo.errors import SettingError, warn
from sijo.inference.language import LanguageCheck
from sijo.inference.outputs import NotFiniteError, ReadCounts
from sijo.names import composed, folded
from sijo.texts import check_text, texts_in, values_in
from sijo.zeroshot.calibrating.conformal import LabelSets
from sijo.zeroshot.calibrating.label_free import Adjuster, Rivals
from sijo.zeroshot.calibration import Calibration, check_temperature
from sijo.zeroshot.hierarchy import hierarchy_of
from sijo.zeroshot.labels import Label, Labels, LabelSet
from sijo.zeroshot.scorers.scorer import Scorer, ScoreRequest, TrainedLabels
from sijo.zeroshot.templates import Template

LARGEST = 1e12
"""Of scores and temperatures."""
MOST_SCORES = 2**21
"""Of texts that are taken together; in answers of Python objects they take some 80 MB."""


@dataclass(frozen=True)
class LabelPrediction:
    """The answer for one text."""

    label: str | None
    """The label chosen; None where the text has no tokens (and there is no none label) or, with
    `multi_label`, where nothing fits."""
    score: float
    """Its probability; with no label, the highest there is."""
    margin: float
    """How far the most probable answer leads the next; its probability, where there is one candidate."""
    labels: tuple[str, ...]
    """All candidates, best first; or the best `top_k` of them."""
    scores: tuple[float, ...]
    """Their probabilities, in the same order."""
    fitting: tuple[str, ...]
    """The labels given to the text: at most one, or with `multi_label` all that reach the threshold; with a stated
    risk the label set, which may hold several or none."""
    fitting_scores: tuple[float, ...]
    """Their probabilities, in the same order."""
    tokens: int
    """Tokens in the text, special ones not counted."""
    windows: int
    """How many windows it was read in: more than 1 where it is longer than the model."""
    truncated: bool
    """Whether tokens were left unread."""
    scorer: str
    """What scored it, by its name in `SCORERS`."""
    abstained: bool = False
    """Whether there is no label because the label set, at the stated risk, is not one label alone."""
    path: tuple[str, ...] = ()
    """The names from the top of the tree of labels down to the one chosen, where it has a parent."""


@dataclass(frozen=True, kw_only=True)
class LabelChoice:
    """How a label is chosen by its scores; refused at birth when it makes no sense."""

    template: str | None = None
    """The sentence a label is put in, with {} for its name; None for the scorer's own."""
    multi_label: bool | None = None
    """Judge each label by itself, so that several or none may fit; None for what the model was trained to do,
    and one label a text where it was trained for neither."""
    threshold: float = 0.5
    """With `multi_label`, the probability from which a label is given."""
    none_label: str | None = None
    """A name for "none of these"; None leaves that answer out."""
    none_threshold: float | None = None
    """Raw score below which no label fits: a cosine for embeddings, for entailment its logit above the
    contradiction's; None for the scorer's own."""
    temperature: float | None = None
    """Softmax temperature; None for the scorer's own."""

    def __post_init__(self) -> None:
        if self.none_label is not None:
            if not folded(self.none_label):
                raise SettingError(f"the none label {self.none_label!r} is no name; give a word, or leave it out")
            check_text(self.none_label, "the none label")
            object.__setattr__(self, "none_label", composed(self.none_label))
            if self.multi_label:
                raise SettingError(
                    "a none label (--none-label) is one answer among labels that exclude each other; with "
                    "multi_label (--multi-label) a text that nothing fits simply gets no label. Leave one out"
                )
        if self.template is not None:
            Template(self.template)  # which refuses what is none
        if not 0 <= self.threshold <= 1:
            raise SettingError(f"threshold={self.threshold} is no probability; give a number from 0 to 1")
        if self.none_threshold is not None and not abs(self.none_threshold) <= LARGEST:
            raise SettingError(f"none_threshold={self.none_threshold} is no score; a cosine lies between -1 and 1")
        if self.temperature is not None:
            check_temperature(self.temperature)

    @property
    def absolute(self) -> bool:
        """Whether scores are held against the none score, not only against each other."""
        return bool(self.multi_label) or self.none_label is not None

    @property
    def rivals(self) -> Rivals:
        """What a label's probability is shared with."""
        if self.multi_label:
            return "none"
        return "labels" if self.none_label is None else "labels and none"

    def resolved_for(self, known: TrainedLabels | None) -> "LabelChoice":
        """The same with nothing left open, once it is sure that it suits the scorer.

        known  the labels the scorer was trained on, if it knows no others

        Raises SettingError for what a head that was trained on its labels cannot do.
        """
        if known is None:
            return replace(self, multi_label=bool(self.multi_label))
        if self.template is not None:
            raise SettingError(
                f"the template {self.template!r} (--hypothesis-template) puts a label in a sentence, and this "
                "model's head was trained on its labels and reads the text alone; leave the template out"
            )
        if self.multi_label is not None and self.multi_label != known.multi_label:
            raise SettingError(
                "multi_label=False asks for one label a text, and this model was trained to judge each of its "
                "labels by itself (problem_type multi_label_classification); leave it out"
                if known.multi_label
                else "multi_label (--multi-label) judges each label by itself, and this model was trained to "
                "choose one of its own: what it says of one means nothing without the others; leave it out"
            )
        if self.none_label is not None or (self.none_threshold is not None and not known.multi_label):
            setting = "none_label" if self.none_label is not None else "none_threshold"
            raise SettingError(
                f"{setting} (--{setting.replace('_', '-')}) needs a score for none of these, which this model's "
                "head, trained on its labels alone, does not have; leave it out"
                + ("; a text that no label fits gets none by itself" if known.multi_label else "")
            )
        return replace(self, multi_label=known.multi_label)

    def check(self, labels: LabelSet) -> None:
        """Raise SettingError when there is nothing to choose among these labels, as far as that is known."""
        if len(labels.labels) == 1 and self.multi_label is False and self.none_label is None:
            raise SettingError(
                f"with the one label {labels.names[0]!r} there is nothing to choose between; add a label, "
                "give none_label (--none-label), or judge it by itself with multi_label (--multi-label)"
            )
        if self.none_label is not None and folded(self.none_label) in map(folded, labels.names):
            raise SettingError(f"the none label {self.none_label!r} is also one of the labels; rename one")


class Labeller:
    """A scorer and a choice: gives each text its row.

    scorer  says how well a label fits a text
    choice  what is made of that
    labels  the labels of every text that brings none of its own; None for those the scorer was trained on,
            if it was
    fitted  replaces the scorer's own calibration
    adjuster  makes labels comparable, before scores become probabilities
    sets    abstains where a text's label set is not one label alone

    Raises SettingError for labels that the scorer does not know or its network cannot tell apart, and for a choice
    it cannot make. Warns, once, of texts and labels in a language that the model's tokenizer does not know.
    """

    def __init__(
        self,
        scorer: Scorer,
        choice: LabelChoice,
        labels: LabelSet | None,
        fitted: Calibration | None = None,
        *,
        adjuster: Adjuster | None = None,
        sets: LabelSets | None = None,
    ) -> None:
        known = scorer.known
        if adjuster is not None or sets is not None:
            scorer.must_score_all("a calibration")
        self.scorer = scorer
        self.choice = choice.resolved_for(known)
        self.adjuster, self.sets = adjuster, sets
        self._language = LanguageCheck(scorer.engine.model)
        self.labels = LabelSet.of(known.names) if labels is None and known is not None else labels
        """Those that there are to choose from, each with its template settled."""
        if self.labels is not None:
            self.labels = self.suited(self.labels)
            if adjuster is not None:
                adjuster.adjustment(self.labels.labels, self.template)  # refused before any text is read
        chosen = {"temperature": choice.temperature, "none_score": choice.none_threshold}
        changes: dict[str, Any] = {name: number for name, number in chosen.items() if number is not None}
        self.calibration = fitted or scorer.calibration
        """The temperature and none score in use, and where they came from."""
        if changes:
            self.calibration = replace(self.calibration, **changes, origin="as given")

    def suited(self, labels: LabelSet) -> LabelSet:
        """What there is to choose from among these labels, each with its template settled; SettingError when the
        scorer does not know them, or its network cannot tell two of them apart, or there is nothing to choose."""
        if not self.choice.multi_label:
            labels = labels.leaves()
        if self.choice.template is None and self.scorer.known is None:
            labels = labels.worded(self.scorer.templates)
        if self.scorer.known is not None:
            self.scorer.known.places(labels.labels)
            if len(labels.labels) == 1 and not self.choice.multi_label:
                raise SettingError(
                    f"with the one label {labels.names[0]!r} there is nothing to choose between; name more of the "
                    f"model's labels, or none for all {len(self.scorer.known.names)} of them"
                )
        self.choice.check(labels)
        if self.scorer.label_tokens is not None:
            self.scorer.label_tokens.check(labels.labels, self.template)
        self._warn_of_unread(labels)
        return labels

    def _warn_of_unread(self, labels: LabelSet) -> None:
        """Warn of what labels say and nobody reads."""
        if not self.scorer.reads_examples and any(label.examples for label in labels.labels):
            warn(
                f"the {self.scorer.name} scorer reads no examples of labels, so those that are given change "
                "nothing; a sentence encoder does (--scorer embedding)"
            )
        if not self.choice.multi_label and any(label.threshold is not None for label in labels.labels):
            warn(
                "the labels' own thresholds change nothing where one label is chosen; they count where each is "
                "judged by itself (--multi-label)"
            )

    @property
    def rows(self) -> int:
        """Texts it is best given at a time: fewer where each has thousands of labels, whose scores take memory."""
        return max(1, min(self.scorer.rows, MOST_SCORES // (1 if self.labels is None else len(self.labels.labels))))

    @property
    def room(self) -> int | None:
        """How many tokens of a text are read at most; None where all of them are."""
        return self.scorer.room_beside(() if self.labels is None else self.labels.labels, self.template)

    @property
    def template(self) -> str:
        """The sentence a label is put in, with {} for its name."""
        return self.choice.template or self.scorer.template

    def stream(
        self, texts: Iterable[str], labels: Iterable[Labels] | None = None, *, top_k: int | None = None
    ) -> Iterator[LabelPrediction]:
        """A row for each text, for a stream of any length, in constant memory.

        texts   in whatever `texts_in` reads
        labels  a label set for each text, in place of the labeller's own
        top_k   how many of a text's candidates its row keeps, the best; None for all

        Raises SettingError for a `top_k` below 1, and NotFiniteError for a text whose scores are no numbers, or
        become none: it gets no label.
        """
        check_top_k(top_k)
        before = 0
        if labels is None:
            for scores, reading in self.scored(texts):
                yield from self._rows(scores, self.own.labels, reading, before=before, top_k=top_k)
                before += len(scores)
            return
        label_sets = values_in(labels, "labels")
        for group in groups(texts_in(texts), rows=min(self.scorer.rows, 256)):  # scored against all its labels
            sets = [self.suited(LabelSet.of(names)) for names in islice(label_sets, len(group))]
            if len(sets) < len(group):
                raise SettingError("there are fewer label sets than texts; give one for each text")
            place: dict[Label, int] = {}  # every label's column, in order of first sight
            columns = [[place.setdefault(label, len(place)) for label in own.labels] for own in sets]
            scores, reading = self._score(group, list(place), columns, before=before)
            for row, (label_set, own) in enumerate(zip(sets, columns, strict=True)):
                own_scores = self._adjusted(scores[row : row + 1, own], label_set.labels)
                at = {"first": row, "before": before + row}
                yield from self._rows(own_scores, label_set.labels, reading, **at, top_k=top_k)
            before += len(group)
        if next(label_sets, None) is not None:
            raise SettingError("there are more label sets than texts; give one for each text")

    def judged(self, texts: Iterable[str]) -> Iterator[tuple[np.ndarray, ReadCounts]]:
        """Probabilities of bounded groups of texts, and how much of each text was read.

        They are (n, L) float64 in the order of the labels, or (n, L + 1) with none of these last.
        """
        before = 0
        for scores, reading in self.scored(texts):
            yield self._probabilities(scores, self.own.labels, before), reading
            before += len(scores)

    def scored(
        self, texts: Iterable[str], labels: LabelSet | None = None
    ) -> Iterator[tuple[np.ndarray, ReadCounts]]:
        """Scores (n, L) of bounded groups of texts, adjusted if labels are, and how much of each text was read; of
        its own labels, or of `labels` as `suited` gives them."""
        before, own = 0, (labels or self.own).labels
        for group in groups(texts_in(texts), rows=self.rows):
            scores, reading = self._score(group, own, before=before)
            yield self._adjusted(scores, own), reading
            before += len(group)

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """Probabilities (n, L) of raw scores of the labeller's own labels, or (n, L + 1) with none of these last.

        The scores are those of all texts, from a labeller that is not calibrated: so one reading serves several
        calibrations.
        """
        return self._probabilities(self._adjusted(scores, self.own.labels), self.own.labels, 0)

    def _adjusted(self, scores: np.ndarray, labels: Sequence[Label]) -> np.ndarray:
        if self.adjuster is None:
            return scores
        return self.adjuster.adjustment(labels, self.template).apply(scores)

    def _score(
        self,
        texts: Sequence[str],
        labels: Sequence[Label],
        lists: Sequence[Sequence[int]] | None = None,
        *,
        before: int,
    ) -> tuple[np.ndarray, ReadCounts]:
        """The scores of texts that come after so many others."""
        self.look(texts, labels)
        try:
            return self.scorer.score(ScoreRequest(texts, labels, self.template, self.choice.absolute, lists))
        except NotFiniteError as error:
            raise error.after(before) from None

    def look(self, texts: Sequence[str], labels: Sequence[Label] | None = None) -> None:
        """Warn, once, of a language in them that the model's tokenizer does not know; its own labels by default."""
        read = self.own.labels if labels is None else labels
        if self.scorer.label_tokens is None:
            read = []
        self._language.look(texts, labels=[text for label in read for text in (label.name, *label.descriptions)])

    @property
    def own(self) -> LabelSet:
        """The labels of every text that brings none; SettingError where there are none."""
        if self.labels is None:
            raise SettingError("there are no labels: pass labels= to the classifier, or y to fit")
        return self.labels

    def fits(self, probabilities: np.ndarray, labels: tuple[Label, ...] | None = None) -> np.ndarray:
        """Which labels are given, each judged by itself, (n, L) bool: from its own threshold on, or that for all.

        probabilities  (n, L), as `judged` gives them
        labels         those of the columns; None for the labeller's own
        """
        labels = self.own.labels if labels is None else labels
        own = (self.choice.threshold if label.threshold is None else label.threshold for label in labels)
        return hierarchy_of(labels).given(probabilities >= np.fromiter(own, float))

    def _probabilities(self, scores: np.ndarray, labels: tuple[Label, ...], before: int) -> np.ndarray:
        """What is chosen by; NotFiniteError for a row that is not finite, since any label could be its best."""
        if self.choice.multi_label:
            probabilities = hierarchy_of(labels).raised(self.calibration.each(scores))
        elif self.choice.none_label is not None:
            probabilities = self.calibration.with_none(scores)
        else:
            probabilities = self.calibration.softmax(scores)
        if not (finite := np.isfinite(probabilities).all(-1)).all():
            raise NotFiniteError(
                f"some scores of the {self.scorer.name} scorer are NaN or infinite, and make no probabilities at "
                f"temperature={self.calibration.temperature:g} and none_threshold={self.calibration.none_score:g}; "
                "choose another model (--model), or leave the text out",
                before + int(finite.argmin()),
            )
        return probabilities

    def _rows(
        self,
        scores: np.ndarray,
        own: tuple[Label, ...],
        reading: ReadCounts,
        *,
        first: int = 0,
        before: int,
        top_k: int | None,
    ) -> Iterator[LabelPrediction]:
        """The answers for scores (n, L) of texts that share their labels, begin at row `first` of `reading`, and
        come after `before` others."""
        choice, names = self.choice, [label.name for label in own]
        probabilities = self._probabilities(scores, own, before)
        fits = self.fits(probabilities, own) if choice.multi_label else None
        within = {label.name: label.within for label in own if label.within}
        if choice.none_label is not None:
            names.append(choice.none_label)
            none = np.full((len(scores), 1), self.calibration.none_score)
            scores = np.concatenate([scores, none], axis=-1)
        order, by_place = ranking(scores, probabilities), np.array(names, dtype=object)
        for i, (chances, best) in enumerate(zip(probabilities, order, strict=True), start=first):
            labels = tuple(by_place[best].tolist())
            ranked = tuple(chances[best].tolist())
            given: Sequence[int] = (0,)  # of the ranked ones
            if reading.tokens[i] == 0:
                given = () if choice.none_label is None else (labels.index(choice.none_label),)
            elif fits is not None:
                given = np.flatnonzero(fits[i - first, best]).tolist()
            elif self.sets is not None:
                given = range(int(self.sets.holds(chances).sum()))
            fitting = tuple(labels[place] for place in given)
            abstained = self.sets is not None and len(fitting) != 1 and reading.tokens[i] > 0
            label = fitting[0] if fitting and not abstained else None
            yield LabelPrediction(
                label=label,
                score=ranked[labels.index(label)] if label in labels else ranked[0],
                margin=ranked[0] - ranked[1] if len(ranked) > 1 else ranked[0],
                labels=labels[:top_k],
                scores=ranked[:top_k],
                fitting=fitting,
                fitting_scores=tuple(ranked[place] for place in given),
                tokens=int(reading.tokens[i]),
                windows=int(reading.windows[i]),
                truncated=bool(reading.truncated[i]),
                scorer=self.scorer.name,
                abstained=bool(abstained),
                path=(*within[label], label) if label in within else (),
            )


def check_top_k(top_k: int | None) -> None:
    """Raise SettingError for a number of labels that no row can have."""
    if top_k is not None and top_k < 1:
        raise SettingError(f"top_k={top_k} (--top-k) leaves no label; give how many of the best to tell, from 1 on")


def ranking(scores: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """The columns of each row (n, L) from the most probable on.

    Where probabilities are rounded to equals, scores still tell; where these are equals, the order given.

    >>> ranking(np.array([[1.0, 3.0, 2.0], [0.0, 0.0, 1.0]]), np.array([[0.0, 0.5, 0.5], [0.2, 0.2, 0.6]])).tolist()
    [[1, 2, 0], [2, 0, 1]]
    """
    order = np.argsort(-scores, axis=-1)  # fast, and in no order where scores are equals
    told = (np.diff(np.take_along_axis(scores, order, -1)) < 0).all(-1)
    told &= (np.diff(np.take_along_axis(probabilities, order, -1)) <= 0).all(-1)
    others = np.flatnonzero(~told)
    order[others] = np.lexsort((-scores[others], -probabilities[others]), axis=-1)
    return order
