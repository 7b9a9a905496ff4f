"""A model's card: where it came from, how to use it, what was measured, for people and for the Hub.

`README.md` of a model's folder: a heading in YAML that the Hub reads, and a page. Names in it come from
files, columns and other people's cards, so each stands on one line, in quotes in the heading and as code or with
its marks escaped on the page: it can end neither, nor become a link or HTML. Cards of others are read line by
line, for their licence alone, and never by a loader of YAML.
"""

import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from io import TextIOWrapper
from pathlib import Path
from typing import NamedTuple

from sijo.checkpoints.locate import BUILT_IN
from sijo.errors import SettingError, SijoError
from sijo.files.manifest import MANIFEST
from sijo.files.paths import present
from sijo.files.private import write_file
from sijo.version import __version__

CARD = "README.md"
HEADING = 1_000
"""Lines of a card's heading that are read, and characters of each."""
LONGEST = 500
"""Characters of a name or a note that are shown; a model's labels are untrusted text of any length."""
LONGEST_CARD = 1 << 24
"""Bytes of a card that goes with a model."""
MOST_LABELS = 40
CONFIDENCE = "95 %"
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)
LANGUAGE = re.compile(r"[A-Za-z][\w-]{0,39}", re.ASCII)
HUB = tomllib.loads(Path(__file__).with_name("hub.toml").read_text(encoding="utf-8"))
PIPELINES: list[str] = HUB["tasks"]
"""Tasks of the Hub that a model of ours can have."""


class Metric(NamedTuple):
    """A value that was measured, and where it could have fallen on other rows like these."""

    name: str
    """Such as accuracy."""
    value: float
    low: float | None
    """Where the 95 % interval begins; None where there is none, as for the next."""
    high: float | None
    rows: int | None
    """How many rows, or whatever was counted, it was measured on."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a model's card says.

    >>> card = Card(title="Requests by domain", task="text-classification", data={"requests.csv": 300},
    ...             metrics=[Metric("accuracy", 0.9, 0.85, 0.94, 100)])
    >>> render(card).splitlines()[:6]
    ['---', 'library_name: sijo', 'pipeline_tag: text-classification', 'tags:', '- sijo', 'model-index:']
    """

    title: str
    """What the model is called."""
    task: str | None = None
    """What it does: one of `PIPELINES`, or in words."""
    base_model: str | None = None
    """What it was made from: an org/name, or the path of a folder, of which the last part is shown."""
    teacher: str | None = None
    """What taught it, likewise."""
    teachers_beside: Mapping[str, str | None] = field(default_factory=dict)
    """What else taught it, likewise, and the licence that the card of each names."""
    labels: Sequence[str] = ()
    """What it chooses among, if it was trained on labels."""
    data: Mapping[str, int | None] = field(default_factory=dict)
    """What it was trained on, and how many rows; None where nobody counted."""
    metrics: Sequence[Metric | tuple[str, float, float | None, float | None, int | None]] = ()
    """What was measured, each with its 95 % interval and number of rows."""
    measured_on: str = "evaluation data"
    """What it was measured on."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """What decided the run: each setting by its dotted path."""
    licence: str | None = None
    """The licence it is given, by the Hub's name for it; None where nobody said."""
    base_licence: str | None = None
    """What the card of the base model names, as `licence` reads it."""
    teacher_licence: str | None = None
    """What the teacher's names."""
    licence_notes: Sequence[str] = ()
    """What else there is to know of licences, such as that of the data: a sentence each."""
    languages: Sequence[str] = ()
    """What it reads, by codes such as "ko"; by default those of the base model's card."""
    tags: Sequence[str] = ()
    """For the Hub, beside sijo."""
    version: str = __version__
    """Of the sijo that made it."""


def write_card(folder: Path, card: Card) -> Path:
    """Write a card into a folder that is being written, in place of any that is there.

    Returns the file.
    Raises SettingError in a folder that was saved already: its manifest has the digest of the old card.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     write_card(Path(place), Card(title="Requests by domain")).name
    'README.md'
    """
    if present(folder, MANIFEST) is not None:
        raise SettingError(
            f"{folder} was saved already, and {MANIFEST} holds the digest of each of its files; give the card when "
            "the model is saved: sijo.save(model, folder, card=…)"
        )
    file = folder / CARD
    write_file(file, render(card).encode())
    return file


def render(card: Card) -> str:
    """The whole text of a card, heading and page; it ends with a line's end."""
    return "\n".join(["---", *_heading(card), "---", "", *_page(card)]).rstrip("\n") + "\n"


def known_licence(folder: Path) -> str | None:
    """The licence of a folder; None too where its card cannot be read: it is no part of the model."""
    with suppress(SijoError, OSError):
        return licence(folder)
    return None


def licence(folder: Path) -> str | None:
    """The licence that the heading of a folder's card names, if it has a card that names one.

    Raises RefusedError for a card that leads out of the folder, or is no file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     _ = (Path(place) / "README.md").write_text("---\\nlicense: mit\\n---\\n")
    ...     licence(Path(place))
    'mit'
    """
    values = _named_in(folder)
    value = ", ".join(values.get("license", []))
    own = " ".join(values.get("license_name", [])) if value == "other" else ""
    return f"{value}: {own}" if own else value or None


def restriction(licence: str | None) -> str | None:
    """What a licence, as `licence` gives it, says that a company should read first; None where it is not known to.

    By its name alone: nothing of its text is read, and no advice is meant.

    >>> restriction("cc-by-nc-4.0"), restriction("apache-2.0, gemma")
    ('cc-by-nc-4.0 forbids commercial use', 'gemma has terms of its own')
    >>> restriction("mit"), restriction("other: acme-terms"), restriction(None)
    (None, 'other: acme-terms has terms of its own', None)
    """
    says = {"non_commercial": "forbids commercial use", "own_terms": "has terms of its own"}
    for kind, words in says.items():
        for name in (licence or "").split(", "):
            if any(fnmatchcase(name.casefold(), pattern) for pattern in HUB["licences"][kind]):
                return f"{name} {words}"
    return None


def languages(folder: Path) -> tuple[str, ...] | None:
    """The languages that the heading of a folder's card names, mostly by codes such as "ko", if it names any.

    What is longer than a name or holds other signs is left out. Raises as `licence` does.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     _ = (Path(place) / "README.md").write_text("---\\nlanguage: [en, 'ko']\\n---\\n")
    ...     languages(Path(place))
    ('en', 'ko')
    """
    names = (name.strip(" \"'") for line in _named_in(folder).get("language", []) for name in line.split(","))
    return tuple(dict.fromkeys(name for name in names if LANGUAGE.fullmatch(name) and name != "null")) or None


def tags(folder: Path) -> tuple[str, ...]:
    """The tags in the heading of a folder's card, such as "loss:MatryoshkaLoss". Raises as `licence` does.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     _ = (Path(place) / "README.md").write_text("---\\ntags:\\n- mteb\\n- 'loss:MatryoshkaLoss'\\n---\\n")
    ...     tags(Path(place))
    ('mteb', 'loss:MatryoshkaLoss')
    """
    names = (name.strip(" \"'") for line in _named_in(folder).get("tags", []) for name in line.split(","))
    return tuple(filter(None, names))


def _named_in(folder: Path) -> dict[str, list[str]]:
    """The lines under each key of the heading of a folder's card, without marks; none where there is no heading."""
    card = present(folder, CARD)
    if card is None:
        return {}
    values: dict[str, list[str]] = {}
    key = ""
    with TextIOWrapper(card.open(), encoding="utf-8-sig", errors="replace") as file:
        lines = (file.readline(HEADING).rstrip() for _ in range(HEADING))
        if next(lines) != "---":
            return {}
        for line in lines:
            if line == "---":
                break
            nested = line.startswith((" ", "-", "#"))
            key = key if nested else line.partition(":")[0]
            value = line if nested else line.partition(":")[2]
            values.setdefault(key, []).append(value.partition(" #")[0].strip(" -[]\"'"))
        else:
            return {}
    return {name: list(filter(None, lines)) for name, lines in values.items()}


def _heading(card: Card) -> Iterator[str]:
    """The lines of YAML between the two rules; every name in it is a string in double quotes."""
    if card.licence is not None:
        known = card.licence in HUB["licences"]["known"]
        yield f"license: {card.licence if known else 'other'}"
        if not known:
            yield f"license_name: {_quoted(card.licence)}"
    yield "library_name: sijo"
    if card.base_model not in (None, BUILT_IN) and _on_hub(card.base_model):
        yield f"base_model: {_quoted(card.base_model)}"
    if card.task in PIPELINES:
        yield f"pipeline_tag: {card.task}"
    if codes := [_quoted(code) for code in card.languages if LANGUAGE.fullmatch(code)]:
        yield f"language: [{', '.join(codes)}]"  # in quotes, or Norwegian were false in YAML
    yield "tags:"
    yield from ("- sijo", *(f"- {_quoted(tag)}" for tag in card.tags if tag != "sijo"))
    measured = [metric for metric in map(Metric._make, card.metrics) if math.isfinite(metric.value)]
    if not measured:
        return
    yield from ("model-index:", f"- name: {_quoted(card.title)}", "  results:", "  - task:")
    yield from (f"      type: {card.task if card.task in PIPELINES else 'other'}", "    dataset:")
    yield from (f"      name: {_quoted(card.measured_on)}", f"      type: {_slug(card.measured_on)}")
    yield "    metrics:"
    for metric in measured:
        yield from (f"    - type: {_slug(metric.name)}", f"      name: {_quoted(metric.name)}")
        yield f"      value: {json.dumps(float(metric.value))}"


def _page(card: Card) -> Iterator[str]:
    """The lines that people read."""
    yield from (f"# {_plain(card.title) or 'A model'}", "")
    yield from (" ".join(_origin(card)), "")
    if card.labels:
        shown = [_code(label) for label in card.labels[:MOST_LABELS]]
        if len(card.labels) > MOST_LABELS:
            shown.append(f"and {len(card.labels) - MOST_LABELS:,} more")
        yield from (f"It chooses among {len(card.labels):,} labels: {', '.join(shown)}.", "")
    yield from _how_to_use(card)
    if card.data:
        yield from ("## Data", "", "| what it was trained on | rows |", "| --- | ---: |")
        yield from (f"| {_cell(name)} | {_count(rows)} |" for name, rows in card.data.items())
        yield ""
    if card.metrics:
        yield from ("## Measured", "", f"On {_code(card.measured_on)}, with {CONFIDENCE} intervals.", "")
        yield from (f"| what | value | {CONFIDENCE} | n |", "| --- | ---: | :---: | ---: |")
        for metric in map(Metric._make, card.metrics):
            between = f"[{_number(metric.low)}, {_number(metric.high)}]"
            between = "–" if metric.low is None or metric.high is None else between
            yield f"| {_cell(metric.name)} | {_number(metric.value)} | {between} | {_count(metric.rows)} |"
        yield ""
    if card.settings:
        values = {path: _line(_value(value), most=10 * LONGEST) for path, value in card.settings.items()}
        lines = [f"{_line(path)} = {value}" for path, value in values.items()]
        fence = _fence("\n".join(lines), least=3)
        yield from ("## Settings", "", "Those that decided the run.", "", fence, *lines, fence, "")
    yield from _licences(card)
    yield f"Made with sijo {_plain(card.version)}."


def _origin(card: Card) -> Iterator[str]:
    """In words: what it does, what it was made from, who taught it."""
    if card.task in PIPELINES:
        yield f"A model for {card.task.replace('-', ' ')}."
    elif card.task:
        yield f"What it does: {_plain(card.task).rstrip('.')}."
    else:
        yield "A language model."
    if card.base_model is not None:
        yield f"It was made from {_code(_name(card.base_model))}."
    teachers = [_code(_name(name)) for name in (card.teacher, *card.teachers_beside) if name is not None]
    if teachers:
        yield f"Its teacher{'s were' * (len(teachers) > 1) or ' was'} {' and '.join(teachers)}."


def _how_to_use(card: Card) -> Iterator[str]:
    """The two ways in: the command, and Python."""
    vectors = card.task in ("feature-extraction", "sentence-similarity")
    use = HUB["uses"].get("vectors" if vectors else card.task, HUB["uses"]["other"])
    yield from ("## How to use it", "", "```console", f"$ {use['command']}", "```", "")
    yield from ("```python", "import sijo", "", *use["python"].splitlines(), "```", "")


def _licences(card: Card) -> Iterator[str]:
    """Whose licences may bear on it, and what their own cards say; nothing is concluded."""
    yield from ("## Licences", "")
    yield (
        f"- This model: {_plain(card.licence)}."
        if card.licence
        else "- This model: nobody has said under which licence it is given."
    )
    for what, name, named in (
        ("made from", card.base_model, card.base_licence),
        ("taught by", card.teacher, card.teacher_licence),
        *(("taught by", name, named) for name, named in card.teachers_beside.items()),
    ):
        if name is not None:
            terms = f"names the licence {_code(named)}" if named else "was not there, or names no licence"
            yield f"- It was {what} {_code(_name(name))}, whose card {terms}. See that its terms allow your use."
    yield from (f"- {_plain(note)}" for note in card.licence_notes)
    yield ""


def _number(value: float | None) -> str:
    """Four digits, or a whole number from 1,000 on; a dash for what is no number."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.4g}" if abs(value) < 1_000 else f"{value:,.0f}"


def _count(rows: int | None) -> str:
    return "–" if rows is None else f"{rows:,}"


def _value(value: object) -> str:
    """A setting's value as JSON, or as Python would show it."""
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        return str(value)


def _on_hub(name: str) -> bool:
    """Whether a name can be one of the Hub's: a folder of that name goes before it, as when it is opened."""
    return HUB_NAME.fullmatch(name) is not None and not Path(name).is_dir()


def _name(name: str) -> str:
    """The name of a model as others may read it: of a folder's path only the last part."""
    return name if _on_hub(name) else Path(name).name or name


def _line(text: str, *, most: int = LONGEST) -> str:
    """The words on one line: what does not print is a space, and what is too long ends in a mark.

    >>> _line("a\\n---\\nb\\u202e")
    'a --- b'
    """
    shown = " ".join("".join(letter if letter.isprintable() else " " for letter in str(text)[: most + 1]).split())
    return shown if len(str(text)) <= most else f"{shown[:most]}…"


def _quoted(text: str) -> str:
    r"""A string of YAML, in double quotes.

    >>> print(_quoted('a "b" \\ c'))
    "a \"b\" \\ c"
    """
    escaped = _line(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _slug(text: str) -> str:
    """A name as the Hub writes its identifiers; in quotes, since `no` and `1e3` are other things in YAML.

    >>> _slug("Accuracy (macro F1)")
    '"accuracy-macro-f1"'
    """
    return f'"{re.sub(r"[^a-z0-9]+", "-", _line(text).casefold()).strip("-") or "unnamed"}"'


def _plain(text: str) -> str:
    r"""Words of a sentence, on one line, that Markdown shows as they are: no link, no HTML, no emphasis.

    >>> print(_plain("see [here](javascript:x) <b>now</b>"))
    see \[here\](javascript:x) &lt;b&gt;now&lt;/b&gt;
    """
    marks = r"[\\`*_\[\]|~$#@]|:(?=//)|(?<=www)\.|^[-+]"
    escaped = re.sub(marks, r"\\\g<0>", _line(text), flags=re.IGNORECASE)
    escaped = re.sub(r"^(\d+)([.)])(?= )", r"\1\\\2", escaped)  # a number here would begin a list, as a dash would
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _code(text: str) -> str:
    """A name as code, which Markdown leaves alone, in a fence that it does not hold.

    >>> print(_code("a`b"), _code(""))
    `` a`b `` `–`
    """
    name = _line(text) or "–"
    fence = _fence(name, least=1)
    space = " " if len(fence) > 1 or name.startswith("`") or name.endswith("`") else ""
    return f"{fence}{space}{name}{space}{fence}"


def _cell(text: str) -> str:
    r"""The same in a table, whose columns end at a bar even in code.

    >>> print(_cell("a|b"))
    `a\|b`
    """
    return _code(text).replace("|", "\\|")


def _fence(content: str, *, least: int) -> str:
    """Backticks, one more than stand together anywhere in the content."""
    longest = max((len(run) for run in re.findall("`+", content)), default=0)
    return "`" * max(least, longest + 1)
