"""What is wrong with a set of labels before any text is read, and what to change.

Errors are what a labelling run would refuse. Warnings are labels that would be mixed up, or favoured, without
anybody noticing. Hints are worth a look. Every check takes time in proportion to the number of labels, but for the
comparison of label vectors, which is one product of matrices.

Letters: L labels, D width of a vector, T content-free texts.
"""

import math
import string
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Literal

import numpy as np

from sijo.errors import SettingError
from sijo.inference.language import MOST_UNREAD
from sijo.names import folded
from sijo.tokenizers.coverage import coverage
from sijo.zeroshot.label_files import NO_COMMENTS, LabelFile
from sijo.zeroshot.labels import Label, LabelProblem, LabelSet, label_problems
from sijo.zeroshot.scorers.embedding import EmbeddingScorer
from sijo.zeroshot.scorers.scorer import Scorer, ScoreRequest
from sijo.zeroshot.templates import Template, language_of

Severity = Literal["error", "warning", "hint"]
CONTENT_FREE = ("N/A", "…", "-", "no content", "내용 없음")
"""Texts that say nothing, as Zhao et al. 2021 (arXiv:2102.09690) take them, in two languages."""
FAVOURED = 5.0
"""Odds that a text which says nothing gives a label over the middle one, from which that is told."""
ALIKE = 1 / 3
"""Share of one label's probability that a text which says just that label would give another, from which that
is told."""
ENOUGH, NEARER = 4, 3
"""Labels from which their usual cosine, the median, says something; times nearer than that, as two must be."""
LONGER = 4
"""Times the median number of letters, from which a label's descriptions are long beside the others'."""
MOST_NAMED = 6
SHORTEST_ALIKE = 5
"""Letters of names in which one may be a slip; cat and car are two words."""
_ROWS = 1024
"""Label vectors that are compared with all others at a time."""


@dataclass(frozen=True)
class Finding:
    """Something about labels that should be changed, or looked at."""

    severity: Severity
    kind: str
    """What it is, in a word or two."""
    labels: tuple[str, ...]
    """The labels it is about; none where it is about the whole."""
    problem: str
    change: str
    """What would do."""

    @classmethod
    def of(cls, severity: Severity, kind: str, problem: LabelProblem) -> "Finding":
        """From a sentence that says what is wrong and, behind its last semicolon, what would do."""
        why, _, change = problem.why.rpartition("; ")
        return cls(severity, kind, problem.labels, why or change, change if why else "mend it")

    def to_dict(self) -> dict[str, object]:
        """As a record of JSON."""
        return asdict(self)


def check_labels(
    file: LabelFile, opens: Callable[[], Scorer] | None = None, template: str | None = None
) -> list[Finding]:
    """Everything that is found in a file of labels, errors first.

    file      what it says, whether or not it makes a set
    opens     gives the scorer that is to read the labels; asked only where they make a set
    template  the sentence that all labels are put in, where one is given

    >>> from pathlib import Path
    >>> file = LabelFile(Path("l.json"), (("sea", {"threshold": 2}), ("Sea", ()), ("sun", {"parent": "sky"})))
    >>> [(finding.kind, finding.labels) for finding in check_labels(file)]
    [('unusable', ('sea',)), ('parent', ('sun',))]
    """
    findings = list(_of_file(file, template))
    if not any(finding.severity == "error" for finding in findings):
        labels = file.label_set()
        for name in file.comments:
            why = f"{name!r} is read as a label: no line is a comment"
            findings.append(Finding("warning", "comment", (name,), why, NO_COMMENTS))
        findings += _of_names(labels.labels)
        findings += _of_shares(labels)
        if opens is not None:
            findings += _of_model(labels, opens(), template)
    ranks = {"error": 0, "warning": 1, "hint": 2}
    return sorted(findings, key=lambda finding: ranks[finding.severity])


def _of_file(file: LabelFile, template: str | None) -> Iterator[Finding]:
    """What makes its labels no set."""
    labels = []
    for number, (name, value) in enumerate(file.entries, start=1):
        try:
            labels.append(Label.of(name, value))
        except SettingError as error:
            shown = name if isinstance(name, str) and folded(name) else f"number {number}"
            yield Finding.of("error", "unusable", LabelProblem((shown,), str(error)))
    if not file.entries:
        yield Finding("error", "empty", (), "the file holds no label", "name two or more")
    for problem in label_problems(labels):
        yield Finding.of("error", "parent" if "parent" in problem.why else "duplicate", problem)
    sound = []
    for pair in (*file.templates, *(() if template is None else ((None, template),))):
        try:
            Template(pair[1])
            sound += [] if pair[0] is None else [pair]
        except SettingError as error:
            yield Finding.of("error", "template", LabelProblem((), str(error)))
    try:
        LabelSet((Label("a"),), tuple(sound), file.language)
    except SettingError as error:
        if len(sound) == len(file.templates) or "template" not in str(error):  # else it lacks what is no template
            yield Finding.of("error", "language", LabelProblem((), str(error)))


def _of_names(labels: Sequence[Label]) -> Iterator[Finding]:
    """Names that look like others, or hold others."""
    by_letters: dict[str, str] = {}
    variants: dict[str, str] = {}
    names = {folded(label.name): label for label in labels}
    for label in labels:
        letters = _letters(label.name)
        if letters and letters in by_letters:
            other = by_letters[letters]
            why = f"{label.name!r} and {other!r} differ in marks, accents or blanks alone"
            yield Finding(
                "warning", "near-duplicate", (other, label.name), why, "keep one, or name them apart in words"
            )
            continue
        by_letters.setdefault(letters, label.name)
        if (slip := _one_letter_off(letters, label.name, variants)) is not None:
            why = f"{label.name!r} and {slip!r} differ in one letter"
            yield Finding(
                "warning", "near-duplicate", (slip, label.name), why, "keep one, or name them apart in words"
            )
    for label in labels:
        for part in _parts(folded(label.name)):
            held = names.get(part)
            related = folded(label.parent or "") == part
            if held is not None and not related and _letters(held.name) != _letters(label.name):
                yield Finding(
                    "hint",
                    "contained",
                    (held.name, label.name),
                    f"{held.name!r} stands in {label.name!r}, so what is the second may be called the first too",
                    f"describe both, or make {held.name!r} the parent of {label.name!r}",
                )
                break


def _letters(name: str) -> str:
    """A name without accents, marks and blanks; without letters the name itself."""
    apart = unicodedata.normalize("NFD", folded(name))
    kept = "".join(letter for letter in apart if letter.isalnum() or letter in "+#")
    return unicodedata.normalize("NFC", kept) or name


def _one_letter_off(letters: str, name: str, variants: dict[str, str]) -> str | None:
    """An earlier name that is another by one letter left out, added or changed; numbered names are no slips.

    variants  names by what is left of them where a letter is left out; this name's are added
    """
    if len(letters) < SHORTEST_ALIKE:
        return None
    left = {letters[:place] + letters[place + 1 :]: place for place in range(len(letters))}
    found = None
    for variant in (letters, *left):
        other = variants.get(variant)
        if other is not None and found is None:
            theirs = _letters(other)
            changed = {*letters} ^ {*theirs} or {*letters} & {*theirs}
            if (
                abs(len(theirs) - len(letters)) <= 1
                and not changed & {*string.digits}
                and _one_edit(letters, theirs)
            ):
                found = other
    for variant in (letters, *left):
        variants.setdefault(variant, name)
    return found


def _one_edit(one: str, other: str) -> bool:
    """Whether one letter left out, added or changed makes one of the other."""
    one, other = sorted((one, other), key=len)
    place = next((i for i, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), len(one))
    return one[place + (len(one) == len(other)) :] == other[place + 1 :]


def _parts(name: str) -> Iterator[str]:
    """The runs of words in a name, and of one word in Hangul its beginnings and ends, of two letters at least."""
    words = name.split()[:12]
    for length in range(len(words) - 1, 0, -1):
        for start in range(len(words) - length + 1):
            yield " ".join(words[start : start + length])
    if len(words) == 1 and language_of(name):
        for length in range(len(name) - 1, 1, -1):
            yield name[:length]
            yield name[-length:]


def _of_shares(labels: LabelSet) -> Iterator[Finding]:
    """What some labels have and others lack."""
    for field, why in (
        ("descriptions", "a label with more sentences than others is drawn otherwise"),
        ("examples", "a prototype draws the labels that have one"),
    ):
        without = [label.name for label in labels.labels if not getattr(label, field)]
        if without and len(without) < len(labels.labels):
            problem = f"{len(without):,} of {len(labels.labels):,} labels have no {field}, and {why}"
            change = f"give {field} to {_few(without)}, or to none"
            yield Finding("warning", "lopsided", tuple(without[:MOST_NAMED]), problem, change)
    sizes = {label.name: sum(map(len, label.descriptions)) for label in labels.labels if label.descriptions}
    middle = median(sizes.values()) if sizes else 0
    for name, size in sizes.items():
        if len(sizes) > 2 and size > LONGER * middle:
            problem = f"the descriptions of {name!r} have {size:,} letters, where the median is {middle:,.0f}"
            yield Finding("warning", "lopsided", (name,), problem, "make them as long as the others'")
    counts = {label.name: len(label.examples) for label in labels.labels if label.examples}
    if counts and max(counts.values()) > LONGER * min(counts.values()):
        few, many = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
        problem = f"{few!r} has {counts[few]} examples and {many!r} {counts[many]}"
        yield Finding("hint", "lopsided", (few, many), problem, "give all labels about as many")
    korean = [label.name for label in labels.labels if language_of(label.name) == "ko"]
    if labels.language is None and korean and len(korean) < len(labels.labels):
        others = [label.name for label in labels.labels if language_of(label.name) != "ko"]
        problem = (
            f"{len(korean):,} names are in Hangul and {len(others):,} are not, so they are put in two templates"
        )
        change = 'say language = "ko" (or "en") in a .toml or .json, which then holds for all'
        yield Finding("warning", "two scripts", tuple(others[:MOST_NAMED]), problem, change)


def _of_model(labels: LabelSet, scorer: Scorer, template: str | None) -> Iterator[Finding]:
    """What a model makes of the labels, each by itself and beside the others."""
    if scorer.known is not None:
        try:
            scorer.known.places(labels.labels)
        except SettingError as error:
            yield Finding.of("error", "unknown", LabelProblem((), str(error)))
        return
    own = labels.labels if template is not None else labels.worded(scorer.templates).labels
    sentence = template or scorer.template
    if scorer.label_tokens is None:
        return
    same = list(scorer.label_tokens.problems(own, sentence))
    for problem in same:
        yield Finding.of("error", "identical" if len(problem.labels) > 1 else "untokenizable", problem)
    told = {name for problem in same for name in problem.labels}
    yield from _of_tokens(own, sentence, scorer, told)
    if any(finding.severity == "error" for finding in _too_long(own, sentence, scorer)):
        return
    if isinstance(scorer, EmbeddingScorer):
        yield from _of_vectors(own, scorer.vectors(own, sentence), scorer, told)
    scores, _ = scorer.score(ScoreRequest(CONTENT_FREE, own, sentence))
    yield from _of_content_free(own, scores, scorer.calibration.temperature)


def _of_tokens(labels: Sequence[Label], template: str, scorer: Scorer, told: set[str]) -> Iterator[Finding]:
    tokenizer = scorer.engine.model.tokenizer
    unread = [
        label.name
        for label in labels
        if label.name not in told and coverage(tokenizer, [label.name]).share >= MOST_UNREAD
    ]
    if unread:
        problem = f"half or more of the words in {_few(unread)} are unknown to the tokenizer, or spelled out"
        change = "name it in words that the model knows, or choose a model for its language (--model)"
        yield Finding("warning", "untokenizable", tuple(unread), problem, change)
    yield from _too_long(labels, template, scorer)


def _too_long(labels: Sequence[Label], template: str, scorer: Scorer) -> Iterator[Finding]:
    """Sentences that do not fit the model, or leave a text little room beside them."""
    tokenizer = scorer.engine.model.tokenizer
    assert scorer.label_tokens is not None
    room = tokenizer.room(tokenizer.max_length, pair=scorer.reads_pairs)
    for label, length in zip(labels, scorer.label_tokens.longest(labels, template), strict=True):
        if scorer.reads_pairs and length >= room:
            problem = f"a sentence of {label.name!r} has {length} tokens and leaves none of {room} for a text"
            yield Finding("error", "too long", (label.name,), problem, "shorten it")
        elif scorer.reads_pairs and length > room // 2:
            problem = (
                f"a sentence of {label.name!r} has {length} of the {room} tokens that it shares with each text"
            )
            yield Finding("warning", "too long", (label.name,), problem, "shorten it")
        elif length > room:
            how = "cut" if scorer.label_tokens.most is not None else "read in windows"
            problem = f"a sentence of {label.name!r} has {length} tokens and is {how} at {room}"
            yield Finding("warning", "too long", (label.name,), problem, "shorten it, or part it into descriptions")


def _of_vectors(labels: Sequence[Label], vectors: np.ndarray, scorer: Scorer, told: set[str]) -> Iterator[Finding]:
    """Labels whose vectors (L, D) lie so near to each other that a text of the one is half of the other.

    The encoder's temperature may be another's; so where there are labels enough, they must also be three times as
    near as labels usually are. A label and its parent may be near.
    """
    temperature, seen = scorer.calibration.temperature, set[tuple[int, int]]()
    vectors, usual = vectors.astype(np.float32), 0.0
    for start in range(0, len(labels) if len(labels) > 1 else 0, _ROWS):
        cosines = vectors[start : start + _ROWS] @ vectors.T
        if start == 0 and len(labels) >= ENOUGH:
            usual = float(np.median(cosines))
        cosines[np.arange(len(cosines)), np.arange(start, start + len(cosines))] = -np.inf
        for row, near in enumerate(cosines.argmax(-1).tolist(), start=start):
            cosine, pair = float(cosines[row - start, near]), (min(row, near), max(row, near))
            share = math.exp((cosine - 1) / temperature)
            if share < ALIKE or 1 - cosine > (1 - usual) / NEARER or pair in seen:
                continue
            one, other = (labels[place] for place in pair)
            seen.add(pair)
            above = {folded(label.parent or "") for label in (one, other)}
            if {one.name, other.name} <= told or above & {folded(one.name), folded(other.name)}:
                continue
            problem = (
                f"{one.name!r} and {other.name!r} are near to one for this model: a text that says just the one "
                f"would give the other {share:.0%} of its probability"
            )
            change = "merge them, or add descriptions that tell what the other is not"
            yield Finding("warning", "near-duplicate", (one.name, other.name), problem, change)


def _of_content_free(labels: Sequence[Label], scores: np.ndarray, temperature: float) -> Iterator[Finding]:
    """Labels that texts which say nothing favour, by their scores (T, L)."""
    if len(labels) < 3 or not np.isfinite(scores).all():
        return
    means = scores.mean(0)
    with np.errstate(over="ignore"):
        odds = np.exp((means - np.median(means)) / temperature)
    for place in np.flatnonzero(odds >= FAVOURED).tolist():
        problem = (
            f"texts that say nothing, such as {CONTENT_FREE[0]!r}, give {labels[place].name!r} {odds[place]:.1f} "
            "times the odds of the middle label"
        )
        change = "say it in more definite words, or calibrate on texts of your own"
        yield Finding("warning", "favoured", (labels[place].name,), problem, change)


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
    return ", ".join(map(repr, names[:MOST_NAMED])) + more


def summed(findings: Iterable[Finding]) -> dict[Severity, int]:
    """How many findings of each severity there are.

    >>> summed([Finding("hint", "contained", ("sea", "sea air"), "", "")])
    {'error': 0, 'warning': 0, 'hint': 1}
    """
    counts: dict[Severity, int] = {"error": 0, "warning": 0, "hint": 0}
    for finding in findings:
        counts[finding.severity] += 1
    return counts
