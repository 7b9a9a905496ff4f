"""What there is to choose from: names, what each name means, and how labels belong together.

A label set is a value. Adding, removing or renaming a label gives another set; its `digest` tells two sets apart,
and what a run was made with. Files of labels are read and written in `label_files.py`.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property
from hashlib import blake2b
from typing import NamedTuple

from sijo.errors import SettingError, TextError, nearest, warn
from sijo.names import DOTS, STRONG_MARKS, apart, composed, folded, parts_of
from sijo.texts import check_text, plain, values_in
from sijo.zeroshot.templates import BUILT_IN, Template, language_of, template_of

LONGEST_EXAMPLE = 20_000
"""Characters: an article. What is longer shows more than one label."""
MOST_HINTS = 5
"""Parents that are no label for which the nearest one is looked up, which takes time among thousands."""
FIELDS = ("description", "descriptions", "example", "examples", "parent", "threshold")
"""What a file, or a mapping, may say of a label besides its name."""
WIDE_MARKS = {",": "，", ";": "；"}
"""The mark of full width that a Korean or Chinese keyboard writes for one between labels."""
LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")


@dataclass(frozen=True)
class Label:
    """One class, by name and optionally in other words.

    name          what it is called; in Unicode's form NFC, whatever it was given in
    descriptions  what it means, each in a sentence or a few words
    examples      texts that have it, from which a sentence encoder takes a prototype
    parent        the name of the label that it is a part of
    threshold     with labels judged each by itself, the probability from which it is given, in place of the one for
                  all
    template      the sentence that it is put in, in place of the one for all: `LabelSet.worded` settles it
    within        the names above it, from the top down, where those are not to choose from: see `LabelSet.leaves`

    Raises SettingError for a name, description or example that is no text, for an example of more than
    20,000 characters, and for a threshold that is no probability.

    >>> Label("sea", ("salt water",), threshold=0.7).phrases("This is about {}.")
    ('This is about sea.', 'salt water')
    """

    name: str
    descriptions: tuple[str, ...] = ()
    _: KW_ONLY
    examples: tuple[str, ...] = ()
    parent: str | None = None
    threshold: float | None = None
    template: str | None = None
    within: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not folded(self.name):
            raise SettingError(f"the name of a label is {self.name!r}; a label is a word or a phrase")
        check_text(self.name, f"the label {self.name!r}")
        object.__setattr__(self, "name", composed(self.name))
        object.__setattr__(self, "descriptions", _texts(self.name, "description", self.descriptions))
        object.__setattr__(self, "examples", _texts(self.name, "example", self.examples))
        for example in self.examples:
            if len(example) > LONGEST_EXAMPLE:
                raise SettingError(
                    f"an example of {self.name!r} has {len(example):,} characters; give the part that shows the "
                    f"label, in {LONGEST_EXAMPLE:,} at most"
                )
        if self.parent is not None and not (isinstance(self.parent, str) and folded(self.parent)):
            raise SettingError(f"the parent of {self.name!r} is {self.parent!r}; give the name of another label")
        if self.parent is not None:
            object.__setattr__(self, "parent", composed(self.parent))
        number = isinstance(self.threshold, int | float) and not isinstance(self.threshold, bool)
        if self.threshold is not None and not (number and 0 <= self.threshold <= 1):
            raise SettingError(
                f"the threshold of {self.name!r} is {self.threshold!r}, which is no probability; give a number "
                "from 0 to 1"
            )

    @classmethod
    def of(cls, name: object, value: object = ()) -> "Label":
        """From a name and what is said of it: a description, several, or a mapping of `FIELDS`.

        Raises SettingError for a field that is none.

        >>> Label.of("sea", {"description": "salt water", "threshold": 0.7}).descriptions
        ('salt water',)
        """
        if not isinstance(value, Mapping):
            return cls(plain(name), value)  # type: ignore[arg-type] # which refuses what is no text
        fields: dict[str, object] = {}
        for field, content in value.items():
            if field not in FIELDS:
                raise SettingError(
                    f"the label {name!r} has {field!r}{nearest(str(field), FIELDS)}; of a label there may be "
                    "descriptions, examples, a parent and a threshold"
                )
            own = f"{field.removesuffix('s')}s" if field[0] in "de" else field
            if own in fields:
                raise SettingError(f"the label {name!r} has both {own[:-1]!r} and {own!r}; give one of them")
            fields[own] = content
        parent = fields.pop("parent", None)
        return cls(plain(name), **fields, parent=parent or None)  # type: ignore[arg-type]

    def phrases(self, template: str) -> tuple[str, ...]:
        """The sentences that stand for the label: the template with its name, then its descriptions.

        template  the sentence for all; the label's own goes before
        """
        return (template_of(self.template or template).fill(self.name), *self.descriptions)

    def around(self, template: str) -> tuple[str, str]:
        """What stands before and behind the name, in the label's own template or that for all.

        >>> Label("sea").around("About {}.")
        ('About ', '.')
        """
        return template_of(self.template or template).around(self.name)

    def wording(self, template: str) -> tuple[str, ...]:
        """All that a scorer may read of it: its sentences, then its examples, each told by a mark.

        >>> Label("sea", examples=("The tide came in.",)).wording("About {}.")
        ('About sea.', 'e.g. The tide came in.')
        """
        return (*self.phrases(template), *(f"e.g. {example}" for example in self.examples))

    @property
    def record(self) -> dict[str, object]:
        """What is said of it, as JSON can say it, without its name; nothing that was not given."""
        said = {
            "descriptions": list(self.descriptions),
            "examples": list(self.examples),
            "parent": self.parent,
            "threshold": self.threshold,
            "within": list(self.within),
        }
        return {field: content for field, content in said.items() if content not in (None, [])}


class LabelProblem(NamedTuple):
    """What makes labels no set."""

    labels: tuple[str, ...]
    """The names that it is about."""
    why: str
    """What is wrong, and what would do."""


@dataclass(frozen=True)
class LabelSet:
    """Labels in the order given, each name once; and the sentences that they are put in, by language.

    labels     one or more
    templates  pairs of a language, as "ko", and the sentence for labels in it, with {} for the name; behind a
               Korean name stand particles in both forms, as in "이 글은 {}{을/를} 다룬다."
    language   that of all labels; None for each by its script: Korean for a name in Hangul, for any other the
               one language besides that has a template here, or the scorer's own template

    Raises SettingError for no labels, a name given twice, a parent that is no label or is reached from itself, and
    for a template without a slot.

    >>> LabelSet.of({"sport": "games, teams and athletes", "tax": ()}).names
    ('sport', 'tax')
    """

    labels: tuple[Label, ...]
    templates: tuple[tuple[str, str], ...] = ()
    language: str | None = None

    def __post_init__(self) -> None:
        if not self.labels:
            raise SettingError('no labels were given; name them, as in --labels "business,sport,tech"')
        for problem in label_problems(self.labels):
            raise SettingError(problem.why)
        for language, template in self.templates:
            _check_language(language)
            Template(template)
        if len({language for language, _ in self.templates}) < len(self.templates):
            raise SettingError("a language has two templates; give each one")
        if self.language is not None:
            _check_language(self.language)
            if self.language != "en" and self.language not in {**BUILT_IN, **dict(self.templates)}:
                raise SettingError(
                    f"the labels are in {self.language!r}, for which there is no template; give one, as in "
                    f'templates = {{{self.language} = "… {{}} …"}}'
                )

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in order."""
        return tuple(label.name for label in self.labels)

    @classmethod
    def of(cls, labels: "Labels") -> "LabelSet":
        """From names, in whatever `values_in` reads, or a mapping of names to what `Label.of` reads; a set as it
        is.

        Raises SettingError for a label that is empty, missing or given twice, or a bare string.
        """
        if isinstance(labels, LabelSet):
            return labels
        if isinstance(labels, str | bytes):
            raise SettingError(
                f"labels={labels!r} is one string, and a comma may belong to a label; pass a list of labels"
            )
        pairs = (
            labels.items() if isinstance(labels, Mapping) else [(name, ()) for name in values_in(labels, "labels")]
        )
        return cls(labels_of(pairs))

    @classmethod
    def parse(cls, line: str, separator: str | None = None) -> "LabelSet":
        """From one line of names with commas or semicolons between, or that is a list; see `parts_of`.

        A name that holds what stands between them stands in double quotes.

        >>> LabelSet.parse('sport, "Lisbon, Portugal"').names, LabelSet.parse("['sport', 'art']").names
        (('sport', 'Lisbon, Portugal'), ('sport', 'art'))
        """
        return cls(labels_of([(name, ()) for name in names_of_line(line, separator)]))

    def add(self, *labels: Label | str) -> "LabelSet":
        """The set with more labels behind its own.

        >>> LabelSet.of(["sport", "tax"]).add("war", Label("art", ("painting",))).names
        ('sport', 'tax', 'war', 'art')
        """
        more = (label if isinstance(label, Label) else Label(label) for label in labels)
        return replace(self, labels=(*self.labels, *more))

    def remove(self, *names: str) -> "LabelSet":
        """The set without those labels. Raises SettingError for a name that is none, and for one that is a parent.

        >>> LabelSet.of(["sport", "tax", "war"]).remove("tax").names
        ('sport', 'war')
        """
        gone = {self.place(name) for name in names}
        return replace(self, labels=tuple(label for place, label in enumerate(self.labels) if place not in gone))

    def rename(self, name: str, to: str) -> "LabelSet":
        """The set with another name for a label, also where it is a parent; its place and all else stay.

        >>> LabelSet.of({"sport": "games", "tax": ()}).rename("sport", "sports").names
        ('sports', 'tax')
        """
        old = self.labels[self.place(name)]
        labels = [replace(label, name=to) if label is old else label for label in self.labels]
        return replace(self, labels=tuple(
            replace(label, parent=to) if folded(label.parent or "") == folded(name) else label for label in labels
        ))  # fmt: skip

    def place(self, name: str) -> int:
        """Where the label of that name stands, from 0. Raises SettingError, with the nearest name, for none."""
        if (place := self._places.get(folded(name))) is None:
            raise SettingError(f"there is no label {name!r}{nearest(name, self.names)}")
        return place

    @cached_property
    def _places(self) -> dict[str, int]:
        return {folded(label.name): place for place, label in enumerate(self.labels)}

    @property
    def record(self) -> dict[str, object]:
        """All that decides answers, as JSON can say it; a label with descriptions alone is their list."""
        said = {label.name: label.record for label in self.labels}
        simple = {
            name: own.get("descriptions", []) if {*own} <= {"descriptions"} else own for name, own in said.items()
        }
        others = {"language": self.language, "templates": dict(self.templates)}
        return {"labels": simple} | {field: content for field, content in others.items() if content}

    @cached_property
    def digest(self) -> str:
        """What tells this set from any other: equal only where labels, order, templates and language are.

        >>> LabelSet.of(["sport", "tax"]).add("war").remove("war").digest == LabelSet.of(["sport", "tax"]).digest
        True
        """
        return blake2b(json.dumps(self.record, ensure_ascii=False).encode(), digest_size=16).hexdigest()

    @property
    def nested(self) -> bool:
        """Whether a label has a parent."""
        return any(label.parent is not None for label in self.labels)

    def path(self, name: str) -> tuple[str, ...]:
        """The names from the top of the tree down to that label.

        >>> LabelSet.of({"sport": (), "chess": {"parent": "sport"}}).path("chess")
        ('sport', 'chess')
        """
        label = self.labels[self.place(name)]
        path = [*label.within, label.name]
        while label.parent is not None:
            label = self.labels[self.place(label.parent)]
            path.insert(0, label.name)
        return tuple(path)

    def leaves(self) -> "LabelSet":
        """The labels that are no parent, each `within` those above it: what there is to choose one from.

        >>> LabelSet.of({"sport": (), "chess": {"parent": "sport"}, "tax": ()}).leaves().names
        ('chess', 'tax')
        """
        if not self.nested:
            return self
        parents = {folded(label.parent) for label in self.labels if label.parent is not None}
        leaves = (label for label in self.labels if folded(label.name) not in parents)
        return replace(self, labels=tuple(
            replace(label, parent=None, within=self.path(label.name)[:-1]) for label in leaves
        ))  # fmt: skip

    def worded(self, own: Mapping[str, str] | None = None) -> "LabelSet":
        """The set with each label's template settled by its language; those that are left take the one for all.

        own  a scorer's templates for languages other than that of its first

        Raises SettingError for a name whose script leaves several templates to choose from.

        >>> mixed = LabelSet.of(["경제", "sport"]).worded({"ko": "이 글은 {}{을/를} 다룬다."})
        >>> [label.phrases("This is about {}.") for label in mixed.labels]
        [('이 글은 경제를 다룬다.',), ('This is about sport.',)]
        """
        given = dict(self.templates)
        by_language = {**(own or {}), **given}
        if self.language is not None:
            template = by_language.get(self.language) or BUILT_IN.get(self.language)
            return replace(self, labels=tuple(replace(label, template=template) for label in self.labels))
        if not by_language:
            return self
        others = [language for language in given if language != "ko"]

        def chosen_for(label: Label) -> str | None:
            language = language_of(label.name)
            if language is None and len(others) > 1:
                raise SettingError(
                    f"the label {label.name!r} may be in {' or in '.join(others)}, which have a template each; say "
                    "which by the set's language"
                )
            return by_language.get(language or (others[0] if others else ""))

        templates = [chosen_for(label) for label in self.labels]
        if not any(templates):
            return self
        pairs = zip(self.labels, templates, strict=True)
        return replace(self, labels=tuple(replace(label, template=template) for label, template in pairs))


Labels = Sequence[str] | Mapping[str, str | Sequence[str] | Mapping[str, object]] | LabelSet
"""Names, names with what is said of each, or a set."""


def labels_of(pairs: Collection[tuple[object, object]]) -> tuple[Label, ...]:
    """Labels of names and what is said of each. Raises SettingError for the first that is none, with its number.

    >>> labels_of([("sea", "salt water"), (None, ())])
    Traceback (most recent call last):
    sijo.errors.SettingError: label 2 of 2 is None; a label is a word or a phrase
    """
    labels = []
    for number, (name, value) in enumerate(pairs, start=1):
        if not isinstance(name, Label) and not (isinstance(name, str) and folded(plain(name))):
            raise SettingError(f"label {number} of {len(pairs)} is {name!r}; a label is a word or a phrase")
        labels.append(name if isinstance(name, Label) else Label.of(name, value))
    return tuple(labels)


def label_problems(labels: Sequence[Label]) -> Iterator[LabelProblem]:
    """What makes labels no set: a name given twice, a parent that is no label, a circle of parents.

    >>> [problem.labels for problem in label_problems([Label("sea"), Label("Sea"), Label("sun", parent="sky")])]
    [('Sea', 'sea'), ('sun',)]
    """
    first: dict[str, str] = {}
    for label in labels:
        key = folded(label.name)
        if key in first:
            twice, other = apart(label.name, first[key])
            beside = f" (the other is {other})" if other != twice else ""
            why = f"the label {twice} is given twice{beside}; leave one out"
            yield LabelProblem((label.name, first[key]), why)
        first.setdefault(key, label.name)
    hints = MOST_HINTS
    above = {folded(label.name): folded(label.parent) for label in labels if label.parent is not None}
    for label in labels:
        if label.parent is not None and folded(label.parent) not in first:
            hint = nearest(label.parent, first.values()) if hints > 0 else ""
            hints -= 1
            why = f"the parent of {label.name!r} is {label.parent!r}, which is no label{hint}"
            yield LabelProblem((label.name,), f"{why}; add it, or name another")
    settled: set[str] = set()
    for start in list(above):
        key, chain = start, dict[str, None]()
        while key in above and key not in settled and key not in chain:
            chain[key] = None
            key = above[key]
        if key in chain:
            circle = [first[name] for name in list(chain)[list(chain).index(key) :]]
            why = f"the parents of {circle[0]!r} lead back to it ({' in '.join([*circle, circle[0]])})"
            yield LabelProblem(tuple(circle), f"{why}; part the circle")
        settled.update(chain)


def _check_language(language: object) -> None:
    if not isinstance(language, str) or not LANGUAGE.fullmatch(language):
        raise SettingError(f'the language {language!r} is no code of one; write it as in "ko" or "en"')


def _texts(name: str, what: str, value: object) -> tuple[str, ...]:
    """The descriptions, or examples, of a label, from one text or a list of them; empty ones are left out."""
    texts = (value,) if isinstance(value, str) else () if value is None else value
    if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
        raise SettingError(f"the {what} of {name!r} is {value!r}; give a text or a list of texts")
    for text in texts:
        check_text(text, f"{'an' if what[0] == 'e' else 'a'} {what} of {name!r}")
    return tuple(plain(text) for text in texts if text.strip())


def names_of_line(line: str, separator: str | None = None, *, option: str = "--labels") -> list[object]:
    """The names in the words of an option, blank ones too. Raises SettingError for several that look like one."""
    try:
        names, mark = parts_of(line, separator)
    except TextError as error:
        raise SettingError(f"{option} {error}; or name them in a file") from None
    if separator is None and names == [line.strip()]:
        if odd := next((mark for mark in STRONG_MARKS if mark in line.strip()), None):
            raise SettingError(
                f"{option} {line!r} is one label that looks like several parted at {odd!r}; put commas between, or "
                "write a JSON list"
            )
        if re.search(rf"\w\s*[/{DOTS}]\s*\w", line):
            warn(f"{option} {line!r} is read as one label; put commas between where it is several")
    elif separator is None and mark and '"' not in line:  # in quotes it is meant
        odd = next((name for name in map(str, names) if set(name) & set(STRONG_MARKS)), None)
        if odd is not None and WIDE_MARKS[mark] in odd:
            raise SettingError(
                f"{option} {line!r} has {WIDE_MARKS[mark]!r} in {odd!r}, which looks like several; put {mark!r} "
                "between all, or write a JSON list"
            )
        if odd is not None:
            warn(f"{option} holds {odd!r}, which is read as one label; put {mark!r} between where it is several")
    return names
