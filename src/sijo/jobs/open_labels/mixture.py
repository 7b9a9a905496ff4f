"""A mixture: labelled sets that one encoder learns from, or is measured on, as a TOML file tells of them.

    [[sets]]
    file = "requests.csv"            # .csv, .tsv, .json, .jsonl or .parquet, compressed or not
    text = "text"                    # columns; guessed where they are not named
    label = "domain"
    labels = "domains.csv"           # what each label means, as any labels file; without it names alone
    names = ["domains.ko.toml"]      # other names: labels files whose descriptions are names, or a table
    weight = 2.0                     # how often a batch is of it; 1 by default
    teacher = "all-minilm-l6-v2"     # a model whose opinion of labels is learned, and not the right one alone
    unlabelled = true                # there is no column of labels: a teacher alone says which of `labels` fit

Paths are told from the folder of the file. A table of rows in place of a TOML file is a mixture of one set.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from sijo.errors import SettingError, TextError, nearest
from sijo.zeroshot.labels import LabelSet
from sijo.zeroshot.templates import Template

Templates = Mapping[str, tuple[str, ...]]
"""Sentences with {} for a label's name, by language."""


@dataclass(frozen=True, kw_only=True)
class SetEntry:
    """What a mixture says of one set."""

    name: str
    """What it is called; by default as its file."""
    file: Path
    """The labelled texts."""
    text: str | None = None
    """The column of the text; None for its usual names."""
    label: str | None = None
    """The column of the label."""
    labels: Path | LabelSet | None = None
    """A labels file whose names are those in the column; or the labels."""
    names: tuple[Path | Mapping[str, Any], ...] = ()
    """Other names of its labels, where other labels files have descriptions."""
    own_names: bool = True
    """Whether a label's name in the column is one of its names too, and no code for it."""
    language: str | None = None
    """That of names; None for each by its script."""
    weight: float = 1.0
    """How often a batch is of it, beside the weights of the others."""
    teacher: str | None = None
    """A model that scores labels of any kind, by name or folder, whose distribution over the labels of a batch is
    learned in place of each text's own label; None for none."""
    unlabelled: bool = False
    """Whether the texts have no labels of their own, so that the teacher alone tells."""
    templates: Templates = field(default_factory=dict)
    """In place of the ones for all sets."""


class _Kind(NamedTuple):
    kinds: tuple[type, ...]
    words: str


KINDS = {
    "file": _Kind((str,), 'a path such as "rows.csv"'),
    "name": _Kind((str,), "a word"),
    "text": _Kind((str,), "the name of a column"),
    "label": _Kind((str,), "the name of a column"),
    "labels": _Kind((str,), 'a labels file such as "labels.toml"'),
    "names": _Kind((str, list, dict), "a labels file, several, or a table of each label's other names"),
    "own_names": _Kind((bool,), "true or false"),
    "language": _Kind((str,), 'a code such as "en"'),
    "weight": _Kind((int, float), "a number above 0"),
    "teacher": _Kind((str,), "a model's folder or name"),
    "unlabelled": _Kind((bool,), "true or false"),
    "templates": _Kind((dict,), 'lists of sentences by language, such as {en = ["This is {}."]}'),
}
"""What a set may have, and what each must be."""


def read_mixture(
    file: Path,
    *,
    text: str | None = None,
    label: str | None = None,
    labels: LabelSet | None = None,
    teacher: str | None = None,
) -> tuple[SetEntry, ...]:
    """The sets of a mixture; or the one set that a table of rows is.

    text, label  the columns of such a table, and of sets that name none
    labels       of such a table, what to choose among
    teacher      of such a table; its texts are unlabelled where no column of labels is named

    Raises SettingError for a file that is not there, and for labels or a teacher beside a mixture, which names them
    itself; and TextError for one that tells of no sets.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     _ = (Path(place) / "mixture.toml").write_text('[[sets]]\\nfile = "spam.csv"\\nweight = 2')
    ...     [(one.name, one.weight) for one in read_mixture(Path(place) / "mixture.toml")]
    [('spam', 2.0)]
    """
    if file.suffix.lower() != ".toml":
        unlabelled = teacher is not None and label is None and labels is not None
        own = SetEntry(
            name=_stem(file),
            file=file,
            text=text,
            label=label,
            labels=labels,
            teacher=teacher,
            unlabelled=unlabelled,
        )
        return (own,)
    if labels is not None or teacher is not None:
        what = "labels" if labels is not None else "a teacher"
        raise SettingError(f"{file} is a mixture, whose sets name {what} themselves; give none beside it")
    content = _content(file)
    for key in content:
        if key not in ("sets", "templates"):
            hint = nearest(key, ("sets", "templates"))
            raise TextError(f"{file} has {key!r}{hint}; a mixture has sets, and templates for all of them")
    sets = content.get("sets")
    if not isinstance(sets, list) or not sets or not all(isinstance(one, dict) for one in sets):
        raise TextError(f'{file} tells of no sets; write [[sets]], and below it file = "rows.csv"')
    shared = _templates(content.get("templates", {}), f"{file}")
    entries = [
        _entry(fields, f"{file}, set {number}", file.parent, text, label, shared)
        for number, fields in enumerate(sets, 1)
    ]
    first: dict[str, int] = {}
    for number, entry in enumerate(entries, 1):
        if first.setdefault(entry.name, number) != number:
            raise TextError(
                f"{file}: the sets {first[entry.name]} and {number} are both called {entry.name!r}; give one of "
                'them another name = "…"'
            )
    return tuple(entries)


def _content(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise SettingError(f"there is no file {file}; name a mixture, or a table of rows") from None
    except UnicodeDecodeError as error:
        raise TextError(f"{file} is not UTF-8 ({error.reason} at byte {error.start}); convert it") from None
    except (ValueError, RecursionError) as error:
        raise TextError(f"{file} is not TOML: {error}") from None


def _entry(
    fields: Mapping[str, Any], where: str, folder: Path, text: str | None, label: str | None, shared: Templates
) -> SetEntry:
    for key, value in fields.items():
        if key not in KINDS:
            raise TextError(f"{where} has {key!r}{nearest(key, KINDS)}; a set may have {', '.join(KINDS)}")
        if type(value) not in KINDS[key].kinds:
            raise TextError(f"{where}: {key} is {value!r}; give {KINDS[key].words}")
    if "file" not in fields:
        raise TextError(f'{where} names no file; write file = "rows.csv"')
    weight = float(fields.get("weight", 1.0))
    if not 0 < weight < 1e9:
        raise TextError(f"{where}: weight is {weight:g}; give a number above 0, or leave the set out")
    names = fields.get("names", [])
    named = [names] if isinstance(names, str | dict) else names
    if not all(isinstance(one, str | dict) for one in named):
        raise TextError(f"{where}: names is {names!r}; give {KINDS['names'].words}")
    own = _templates(fields.get("templates", {}), where)
    if fields.get("unlabelled", False) and not ("labels" in fields and "teacher" in fields):
        raise TextError(
            f"{where}: unlabelled texts need labels, a file of those to choose among, and a teacher that tells "
            "which fit; name both, or leave unlabelled out"
        )
    return SetEntry(
        name=fields.get("name") or _stem(Path(fields["file"])),
        file=folder / fields["file"],
        text=fields.get("text", text),
        label=fields.get("label", label),
        labels=folder / fields["labels"] if "labels" in fields else None,
        names=tuple(folder / one if isinstance(one, str) else one for one in named),
        own_names=fields.get("own_names", True),
        language=fields.get("language"),
        weight=weight,
        teacher=_teacher(fields.get("teacher"), folder),
        unlabelled=fields.get("unlabelled", False),
        templates={**shared, **own},
    )


def _teacher(value: str | None, folder: Path) -> str | None:
    """A folder beside the file, or what any model is named by."""
    return str(folder / value) if value is not None and (folder / value).is_dir() else value


def _templates(value: Any, where: str) -> Templates:
    """Sentences by language, each with a slot."""
    if not isinstance(value, dict):
        raise TextError(f"{where}: templates is {value!r}; give {KINDS['templates'].words}")
    for language, sentences in value.items():
        if not isinstance(sentences, list) or not sentences:
            raise TextError(f"{where}: the templates of {language!r} are {sentences!r}; give a list of sentences")
        for sentence in sentences:
            try:
                Template(sentence)
            except SettingError as error:
                raise TextError(f"{where}: {error}") from None
    return {language: tuple(sentences) for language, sentences in value.items()}


def _stem(file: Path) -> str:
    return file.name.partition(".")[0] or file.name
