"""Files of labels: TOML, JSON, CSV and plain text in, and out again.

TOML and JSON hold all that a `LabelSet` can; CSV holds no templates, and text holds names alone. A file that would
give a strange label is refused, with what it should say. Nothing in it is run.
"""

import csv
import io
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sijo.errors import SettingError, SijoError, TextError, nearest, nearest_file, warn
from sijo.files.atomic import whole_file
from sijo.names import composed, short
from sijo.zeroshot.labels import Label, LabelSet, labels_of, names_of_line

FORMATS = (".txt", ".csv", ".json", ".toml")
LISTS = ("id2label", "label2id", "labels", "candidate_labels", "classes", "categories", "names")
"""Keys of an object under which others keep all labels."""
BESIDE = ("language", "templates")
"""What a file of ours may hold beside its labels."""
NO_COMMENTS = "leave such lines out, or write .toml, which has comments"
CELLS = {"description": "descriptions", "example": "examples", "parent": "parent", "threshold": "threshold"}
"""Columns of a CSV behind the name; the first two as often as one likes."""
HEADINGS = {
    **{"descriptions": "description", "examples": "example", "라벨": "label", "레이블": "label"},
    **{"설명": "description", "예시": "example", "예문": "example", "상위": "parent", "상위 라벨": "parent"},
    **{"상위 레이블": "parent", "임계값": "threshold", "문턱값": "threshold"},
}
"""What else these columns are called."""


@dataclass(frozen=True)
class LabelFile:
    """What a file says of labels, before it is known whether they make a set."""

    path: Path
    entries: tuple[tuple[Any, Any], ...]
    """Pairs of a name and what `Label.of` reads, as they stand."""
    templates: tuple[tuple[Any, Any], ...] = ()
    language: Any = None

    @property
    def comments(self) -> list[str]:
        """Names that look like comments, which a text and a CSV have none of; nothing where all names begin so."""
        names = [str(name) for name, _ in self.entries if self.path.suffix.lower() in (".txt", ".csv")]
        marked = [name for name in names if name.startswith("#")]
        return marked if len(marked) < len(names) else []

    def warn_of_comments(self) -> None:
        """Warn of the first of them."""
        if self.comments:
            warn(f"{self.path}: the line {short(self.comments[0])} is read as a label, too; {NO_COMMENTS}")

    def label_set(self) -> LabelSet:
        """The labels. Raises SettingError, with the file's name, where they make no set."""
        try:
            return LabelSet(labels_of(self.entries), self.templates, self.language)
        except SettingError as error:
            raise SettingError(f"{self.path}: {error}") from None


def read_labels(path: str | Path) -> LabelSet:
    """Labels from a file: `.txt`, `.csv`, `.json` or `.toml`; see docs/zero-shot.md, Label sets.

    A text holds a name a line, or one line that is read as `LabelSet.parse` does. A CSV begins with a header:
    label, then description and example as often as one likes, parent, threshold, or these in Korean. JSON is a list
    of names or of {"label": …, "description": …}, an object of name and description or fields, a config's id2label
    or label2id, or {"labels": …, "language": …, "templates": …}. TOML has the last form. Text is in UTF-8, or in
    what its bytes tell, with a warning.

    Raises SettingError for a file that is not there and for labels that make no set; TextError for one that cannot
    be read.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     _ = (Path(place) / "labels.toml").write_text('labels = ["sea", {name = "sun", threshold = 0.7}]')
    ...     read_labels(Path(place) / "labels.toml").labels[1].threshold
    0.7
    """
    file = read_label_file(Path(path))
    file.warn_of_comments()
    return file.label_set()


def read_label_file(path: Path) -> LabelFile:
    """What a file of labels says, whether or not they make a set; errors of its form as for `read_labels`."""
    text = read_labels_file(path)
    match path.suffix.lower():
        case ".json":
            return _of_json(text, path)
        case ".toml":
            return _of_toml(text, path)
        case ".csv":
            return LabelFile(path, tuple(_of_csv(text, path)))
        case ".txt":
            return LabelFile(path, tuple((name, ()) for name in _of_text(text, path)))
        case suffix:
            raise SettingError(f"{path} ends in {suffix!r}; a labels file is .txt, .csv, .json or .toml")


def read_labels_file(path: Path) -> str:
    """What a file of labels says, in whichever encoding, as tables are read: UTF-8, or what its bytes tell.

    Warns where that is another. Raises SettingError where there is no file, and TextError where several encodings
    may be meant, or none.
    """
    from sijo.files.encodings.detect import form_of  # here, for it waits for pyarrow

    try:
        raw = path.read_bytes()
        form = form_of(
            lambda: io.BytesIO(raw), str(path), encoding=None, quotes=path.suffix.lower() == ".csv", option=None
        )
        return form.applied(io.BytesIO(raw), str(path)).read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TextError(
            f"{path} is not UTF-8 ({error.reason} at byte {error.start}), and nothing else; mend it there, or save "
            "it as UTF-8"
        ) from None
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        if path.is_dir():
            raise SettingError(f"{path} is a folder; name a file of labels") from None
        there = [file.name for file in path.parent.glob("*") if file.is_file()] if path.parent.is_dir() else []
        raise SettingError(f"there is no labels file {path}{nearest_file(path.name, there)}") from None


def _of_text(text: str, path: Path) -> Sequence[object]:
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if len(lines) == 1:
        return names_of_line(lines[0])
    if lines and (lines[0][0] in "[{" or all(line[-1] in ",;" for line in lines[:-1])):
        raise TextError(f"{path} has marks around its names; write one name a line and nothing else")
    return lines


def _of_csv(text: str, path: Path) -> list[tuple[str, object]]:
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if any(row)]
    except csv.Error as error:
        raise TextError(f"{path} is not CSV ({error}); close and double its quotes") from None
    header = [" ".join(composed(cell).casefold().split()) for cell in rows[0]] if rows else []
    first, *kinds = [HEADINGS.get(cell, cell) for cell in header or [""]]
    if first != "label":
        shown = f"; line 1 is {short(','.join(rows[0]))}" if rows else ""
        raise TextError(f"{path} must begin with the line: label,description (or 라벨,설명){shown}")
    for kind in kinds:
        if kind not in CELLS:
            raise TextError(
                f"{path} has a column {kind!r}{nearest(kind, CELLS)}; there are label, {', '.join(CELLS)}"
            )
        if kind in ("parent", "threshold") and kinds.count(kind) > 1:
            raise TextError(f"{path} has the column {kind!r} twice; a label has one")
    pairs: list[tuple[str, object]] = []
    for row in rows[1:]:
        name, cells = row[0].strip(), row[1:]
        if len(cells) > len(kinds):
            raise TextError(
                f"{path}: the row of {name!r} has {len(row)} cells, and the header {len(kinds) + 1}; put what "
                "holds a comma in double quotes"
            )
        fields: dict[str, object] = {}
        for kind, cell in zip(kinds, cells, strict=False):
            if not cell.strip():
                continue
            if kind in ("parent", "threshold"):
                fields[kind] = cell.strip() if kind == "parent" else _number(cell, name, path)
            else:
                texts = fields.setdefault(CELLS[kind], [])
                assert isinstance(texts, list)
                texts.append(cell)
        pairs.append((name, fields))
    return pairs


def _number(cell: str, name: str, path: Path) -> float:
    try:
        return float(cell)
    except ValueError:
        raise TextError(f"{path}: the threshold of {name!r} is {cell!r}; give a number from 0 to 1") from None


def _of_toml(text: str, path: Path) -> LabelFile:
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        hint = (
            "; a name of a table or key that is not plain ASCII stands in double quotes"
            if "key" in str(error)
            else ""
        )
        raise TextError(f"{path} is not TOML: {error}{hint}") from None
    for key in content:
        if key not in ("labels", *BESIDE):
            hint = nearest(key, ("labels", *BESIDE))
            raise TextError(f"{path} has {key!r}{hint}; there are labels, templates and language")
    labels = content.get("labels")
    if isinstance(labels, dict):
        return _beside(content, list(labels.items()), path)
    if not isinstance(labels, list):
        raise TextError(f'{path} holds no labels; write labels = ["sea", "sun"], or [[labels]] with a name each')
    return _beside(content, [_named(dict(e), path) if isinstance(e, dict) else (e, ()) for e in labels], path)


def _beside(content: Mapping[str, Any], pairs: Sequence[tuple[Any, Any]], path: Path) -> LabelFile:
    """A file of ours: its labels, and what stands beside them."""
    templates = content.get("templates", {})
    if not isinstance(templates, Mapping):
        raise TextError(f'{path} has {templates!r} for templates; give one a language, as in {{"en": "On {{}}."}}')
    return LabelFile(path, tuple(pairs), tuple(templates.items()), content.get("language"))


class _Object(list[tuple[str, Any]]):
    """A JSON object as its pairs, so that a name given twice is seen."""


def _of_json(text: str, path: Path) -> LabelFile:
    try:
        content = json.loads(text, object_pairs_hook=_Object)
    except (ValueError, RecursionError) as error:
        raise TextError(f"{path} is not JSON: {error}") from None
    if isinstance(content, _Object):
        fields = dict(content)
        whole = {*fields} <= {"labels", *BESIDE} and len(fields) == len(content) > 1
        if whole and isinstance(fields.get("labels"), list):
            templates = fields.get("templates", _Object())
            own = {"templates": _fields(templates, path) if isinstance(templates, _Object) else templates}
            return _beside(fields | own, _pairs(fields["labels"], path), path)
    return LabelFile(path, tuple(_pairs(content, path)))


def _pairs(content: object, path: Path) -> list[tuple[Any, Any]]:
    """Names with what is said of each, from what a JSON file holds."""
    if not isinstance(content, list):
        raise TextError(f"{path} must hold a list of labels or an object of label: description")
    if not isinstance(content, _Object):
        return [
            _named(_fields(entry, path), path) if isinstance(entry, _Object) else (entry, ()) for entry in content
        ]
    keys, values = [key for key, _ in content], [value for _, value in content]
    wrapped = next((key for key in LISTS if key in keys), None)
    if len(keys) == 1 and wrapped is not None and isinstance(values[0], str):
        raise TextError(f"{path} has a text under {wrapped!r}; give a list of labels")
    if wrapped is not None and isinstance(inner := dict(content)[wrapped], list):
        if len(keys) > 1 and wrapped not in LISTS[:2]:
            raise TextError(
                f"{path} has a list {wrapped!r} beside {next(key for key in keys if key != wrapped)!r}, which is "
                "then no label; give the list alone"
            )
        return _pairs(inner, path)
    if keys and all(type(value) is int for value in values):  # label2id
        if sorted(values) != list(range(len(values))):
            raise TextError(f"{path} numbers its labels, but not from 0 on, each once; give a list of names")
        return [(key, ()) for _, key in sorted(zip(values, keys, strict=True))]
    if keys and all(map(str.isdecimal, keys)) and all(isinstance(value, str) for value in values):  # id2label
        if sorted(map(int, keys)) != list(range(len(keys))):
            raise TextError(
                f"{path} has numbers for keys, not from 0 on: to name labels by numbers write "
                '[{"label": "1", "description": …}, …], else a list of names'
            )
        return [(name, ()) for _, name in sorted((int(key), name) for key, name in content)]
    return [(name, _fields(value, path) if isinstance(value, _Object) else value) for name, value in content]


def _fields(pairs: _Object, path: Path) -> dict[str, Any]:
    """An object of what is said of one label. Raises TextError where it says one thing twice."""
    if len(fields := dict(pairs)) < len(pairs):
        twice = next(key for place, (key, _) in enumerate(pairs) if key in dict(pairs[:place]))
        raise TextError(f"{path} has {twice!r} twice in {str(fields)[:60]}…; give it once")
    return fields


def _named(fields: dict[str, Any], path: Path) -> tuple[Any, Any]:
    """A name and what is said of it, from an object in a list."""
    shown = str(fields)[:200]
    name = fields.pop("label", None) or fields.pop("name", None)
    if name is None:
        raise TextError(f'{path} holds {shown}; write a label as {{"label": "sea", "description": "salt water"}}')
    return name, fields


def write_labels(labels: LabelSet, path: str | Path) -> Path:
    """Write labels to a file that `read_labels` reads as the same set; it appears whole or not at all.

    Raises SettingError for a suffix that is none of `FORMATS`, and for a set that its format cannot hold.

    >>> import tempfile
    >>> labels = LabelSet.of({"경제": {"examples": ["금리가 올랐다"]}, "sport": ()})
    >>> with tempfile.TemporaryDirectory() as place:
    ...     read_labels(write_labels(labels, Path(place) / "labels.toml")) == labels
    True
    """
    path = Path(path)
    match path.suffix.lower():
        case ".json":
            listed = [{"label": label.name} | label.record for label in labels.labels]
            content = json.dumps({"labels": listed} | _others(labels), ensure_ascii=False, indent=2) + "\n"
        case ".toml":
            content = _toml(labels)
        case ".csv":
            content = _csv(labels, path)
        case ".txt":
            _refuse(labels, path, "names alone", plain=not any(label.record for label in labels.labels))
            content = "".join(f"{label.name}\n" for label in labels.labels)
        case suffix:
            raise SettingError(f"{path} ends in {suffix!r}; a labels file is .txt, .csv, .json or .toml")
    if path.suffix.lower() in (".txt", ".csv") and not _reads_back(content, labels, path):
        raise SettingError(f"{path} cannot hold these names, which have marks or line ends in them; write .json")
    with whole_file(path) as out:
        out.write(content.encode())
    return path


def _reads_back(content: str, labels: LabelSet, path: Path) -> bool:
    """Whether a text or CSV says the same when it is read again."""
    try:
        pairs = (
            _of_csv(content, path) if path.suffix.lower() == ".csv" else [(n, ()) for n in _of_text(content, path)]
        )
        return LabelSet(labels_of(pairs)) == labels
    except SijoError:
        return False


def _others(labels: LabelSet) -> dict[str, object]:
    """What a set says beside its labels."""
    return {field: content for field, content in labels.record.items() if field in BESIDE}


def _refuse(labels: LabelSet, path: Path, what: str, *, plain: bool = True) -> None:
    if not plain or _others(labels):
        raise SettingError(f"{path} can hold {what}, and this set says more; write .toml or .json")


def _toml(labels: LabelSet) -> str:
    lines = [f"language = {_quoted(labels.language)}"] if labels.language else []
    if labels.templates:
        lines += ["", "[templates]", *(f"{language} = {_quoted(text)}" for language, text in labels.templates)]
    for label in labels.labels:
        lines += ["", "[[labels]]", f"name = {_quoted(label.name)}"]
        for field, content in label.record.items():
            if isinstance(content, list):
                lines += [f"{field} = [", *(f"  {_quoted(text)}," for text in content), "]"]
            else:
                lines.append(f"{field} = {_quoted(content) if isinstance(content, str) else repr(content)}")
    return "\n".join(lines).lstrip("\n") + "\n"


def _quoted(text: str) -> str:
    """A text as TOML has it, whose basic strings are JSON's but for the sign U+007F."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _csv(labels: LabelSet, path: Path) -> str:
    _refuse(labels, path, "no templates")

    def most(texts: Sequence[Sequence[str]]) -> int:
        return max(map(len, texts))

    columns = ["description"] * most([label.descriptions for label in labels.labels])
    columns += ["example"] * most([label.examples for label in labels.labels])
    columns += [kind for kind in ("parent", "threshold") if any(kind in label.record for label in labels.labels)]

    def row(label: Label) -> list[str]:
        texts = {"description": iter(label.descriptions), "example": iter(label.examples)}
        alone = {
            "parent": label.parent or "",
            "threshold": "" if label.threshold is None else repr(label.threshold),
        }
        return [label.name, *(next(texts[kind], "") if kind in texts else alone[kind] for kind in columns)]

    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows([["label", *columns], *map(row, labels.labels)])
    return out.getvalue()
