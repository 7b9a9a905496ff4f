"""A labelled set of a mixture, read and checked, and its labels put in words: what can be matched with texts."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from sijo.data.label_questions import LabelWords
from sijo.data.labelled_rows import ColumnNames, LabelledRow, read_rows
from sijo.data.row_labels import names_of
from sijo.errors import SettingError, TextError
from sijo.files.inputs.joined_tables import open_tables
from sijo.files.inputs.sources import TextReading
from sijo.files.records import AS_TOLD
from sijo.jobs.open_labels.mixture import SetEntry, Templates
from sijo.names import folded
from sijo.zeroshot.label_files import read_labels
from sijo.zeroshot.labels import LabelSet
from sijo.zeroshot.templates import language_of, template_of

TEMPLATES: Templates = {
    language: tuple(sentences)
    for language, sentences in tomllib.loads(
        Path(__file__).with_name("label_templates.toml").read_text(encoding="utf-8")
    ).items()
}
"""What labels are put in where a mixture says nothing, by language; the first one is plain, and measured by."""


class Wording(NamedTuple):
    """Words of a label, and their language."""

    words: str
    language: str


@dataclass(frozen=True)
class MatchedSet:
    """A set of a mixture: rows whose labels are all known, and what each label is called."""

    entry: SetEntry
    rows: tuple[LabelledRow, ...]
    """Each with its label as the label set spells it."""
    labels: LabelSet
    names: tuple[tuple[Wording, ...], ...]
    """Of each label."""
    descriptions: tuple[tuple[Wording, ...], ...]
    """Of each label."""
    of_files: Mapping[str, str]
    """The template of a language that a labels file gives."""

    @property
    def name(self) -> str:
        """What it is called."""
        return self.entry.name

    @cached_property
    def languages(self) -> tuple[str, ...]:
        """In which its labels have names."""
        return tuple(sorted({wording.language for names in self.names for wording in names}))

    def names_in(self, language: str) -> list[list[str]]:
        """The names of each label in a language."""
        return [[words for words, own in names if own == language] for names in self.names]

    def templates(self, language: str) -> tuple[str, ...]:
        """The sentences for labels in a language: the mixture's, the labels file's, or sijo's."""
        of_files = {name: (text,) for name, text in self.of_files.items()}
        own = {**TEMPLATES, **of_files, **self.entry.templates}
        if language not in own:
            raise SettingError(
                f"the set {self.name!r} has names in {language!r}, for which there is no template; give some, as "
                f'in [sets.templates] {language} = ["… {{}} …"]'
            )
        return own[language]

    def plain_template(self, language: str) -> str:
        """The one that it is measured by: sijo's own, where it has one in this language."""
        return TEMPLATES.get(language, self.templates(language))[0]

    def words(self) -> dict[str, tuple[LabelWords, ...]]:
        """Every label in sentences, by language."""
        said = {}
        for language in self.languages:
            templates = [template_of(text) for text in self.templates(language)]
            said[language] = tuple(
                LabelWords(
                    tuple(tuple(template.fill(name) for name in names) for template in templates),
                    tuple(words for words, own in descriptions if own == language),
                )
                for names, descriptions in zip(self.names_in(language), self.descriptions, strict=True)
            )
        return said


def read_set(entry: SetEntry, how: TextReading = AS_TOLD) -> MatchedSet:
    """The rows of a set and the words of its labels.

    how  what was said of a table of text

    Raises SettingError for columns and labels that do not fit together, and TextError for rows that cannot be
    matched: with an empty text, with two texts, with a label that its labels file does not have, or all of one.
    """
    if isinstance(entry.labels, LabelSet) and (entry.language or entry.labels.language) is None:
        languages = {language_of(name) or "en" for name in entry.labels.names}
        entry = replace(entry, language="en" if len(languages) > 1 else None)  # a list of names in several
    if entry.unlabelled:
        rows = read_unlabelled(entry.file, entry.text, how)
    else:
        rows = read_rows(entry.file, "classification", ColumnNames(text=entry.text, label=entry.label), how)
    for row in rows:
        if len(row.texts) > 1:
            raise TextError(
                f"{entry.file} is read as pairs of texts, and labels are matched with one; name its column by text"
            )
        if not row.texts[0].strip():
            raise TextError(f"{row.where}: the text is empty, so no label fits it; leave such rows out")
    if entry.labels is None:
        labels = LabelSet.of(names_of(rows, "classification"))
    else:
        labels = entry.labels if isinstance(entry.labels, LabelSet) else read_labels(entry.labels)
    labels = labels.leaves()
    if len(labels.labels) < 2:
        raise TextError(
            f"the set {entry.name!r} has one label, {labels.names[0]!r}, so there is nothing to tell apart; give "
            "rows of two or more, or a labels file with others to choose among"
        )
    rows = rows if entry.unlabelled else [_known(row, labels, entry) for row in rows]
    others = [read_labels(source) if isinstance(source, Path) else LabelSet.of(source) for source in entry.names]
    names = _names(entry, labels, others)
    templates = {name: text for one in (*others, labels) for name, text in one.templates}
    made = MatchedSet(entry, tuple(rows), labels, names, _descriptions(entry, labels), templates)
    for language in made.languages:
        _check_names(made, language)
    return made


def read_unlabelled(file: Path, column: str | None, how: TextReading = AS_TOLD) -> list[LabelledRow]:
    """The texts of a table, each once and with None for its label, blank ones left out.

    Raises SettingError for a column that is not there, and TextError where there is no text.
    """
    first: dict[str, int] = {}
    for block in open_tables([file], column=column, **vars(how)).blocks():
        for row, text in enumerate(block.texts, block.first_row + 1):
            if text.strip():
                first.setdefault(text, row)
    if not first:
        raise TextError(f"{file} holds no text to learn from; give rows with one")
    return [LabelledRow(f"{file}, row {row}", (text,)) for text, row in first.items()]


def _known(row: LabelledRow, labels: LabelSet, entry: SetEntry) -> LabelledRow:
    """The row with its label as the set spells it."""
    try:
        return replace(row, label=labels.names[labels.place(row.label)])
    except SettingError as error:
        raise TextError(
            f"{row.where}: {error} in {entry.labels if isinstance(entry.labels, Path) else entry.name}; add it "
            "there, or leave such rows out"
        ) from None


def _names(entry: SetEntry, labels: LabelSet, others: Sequence[LabelSet]) -> tuple[tuple[Wording, ...], ...]:
    """The names of each label, each with its language: its own, and those that other sets have as descriptions."""
    names: list[list[Wording]] = [[] for _ in labels.labels]
    for place, label in enumerate(labels.labels):
        if entry.own_names:
            names[place].append(_worded(label.name, entry.language or labels.language))
    for source, other in zip(entry.names, others, strict=True):
        for label in other.labels:
            try:
                place = labels.place(label.name)
            except SettingError as error:
                where = source if isinstance(source, Path) else "names"
                raise SettingError(f"the set {entry.name!r}, {where}: {error}") from None
            names[place] += [_worded(words, other.language) for words in label.descriptions]
    for label, own in zip(labels.labels, names, strict=True):
        if not own:
            raise SettingError(
                f"the set {entry.name!r} has own_names = false and no other name of {label.name!r}; give it one in "
                "names"
            )
    return tuple(tuple(dict.fromkeys(own)) for own in names)


def _descriptions(entry: SetEntry, labels: LabelSet) -> tuple[tuple[Wording, ...], ...]:
    """The descriptions of each label, with the language of each."""
    language = entry.language or labels.language
    return tuple(tuple(_worded(words, language) for words in label.descriptions) for label in labels.labels)


def _worded(words: str, language: str | None) -> Wording:
    """In a language, or the one that their script tells."""
    return Wording(words, language or language_of(words) or "en")


def _check_names(made: MatchedSet, language: str) -> None:
    """Refuse labels of which some have no name in a language, and two that have the same one."""
    names = made.names_in(language)
    without = [label.name for label, own in zip(made.labels.labels, names, strict=True) if not own]
    if without:
        raise SettingError(
            f"the set {made.name!r} has names in {language!r} for {len(names) - len(without)} of {len(names)} "
            f"labels, and none for {without[0]!r}; name all of them in it, or say by language = in which they are, "
            "for the set or in the labels file of other names"
        )
    first: dict[str, int] = {}
    for place, own in enumerate(names):
        for name in own:
            if first.setdefault(folded(name), place) != place:
                one, other = made.labels.names[first[folded(name)]], made.labels.names[place]
                raise SettingError(
                    f"the set {made.name!r} calls both {one!r} and {other!r} {name!r}, so nobody could tell them "
                    "apart; give one of them another name"
                )
    made.templates(language)


def without_judged(
    train: Sequence[MatchedSet], judged: Sequence[MatchedSet]
) -> tuple[list[MatchedSet], Mapping[str, int]]:
    """The sets without rows whose text is measured on, and how many those are, by set; none where there are none.

    Texts are the same where they differ in capitals and blanks alone. Raises TextError where nothing is left of a
    set.
    """
    known = {_bare(row) for one in judged for row in one.rows}
    left, counts = [], {}
    for one in train:
        rows = tuple(row for row in one.rows if _bare(row) not in known)
        if not rows:
            raise TextError(f"every text of the set {one.name!r} is measured on too, so none is left to learn from")
        if len(rows) < len(one.rows):
            counts[one.name] = len(one.rows) - len(rows)
        left.append(replace(one, rows=rows))
    return left, counts


def _bare(row: LabelledRow) -> str:
    return " ".join(row.texts[0].split()).casefold()
