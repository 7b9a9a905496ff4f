"""When two labels are one, and which names a cell holds: the same answer for every file, command and model.

Two names are one label where they differ in nothing that a reader sees as another word: case, blanks, the form
in which Unicode writes a letter, marks that cannot be seen, and the zeros behind a whole number. The name itself
stays as it was written, but for its form, which is NFC: a Mac writes the letters of a syllable apart (NFD), and
`label == "배송"` would hold in no row.
"""

import ast
import csv
import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from numbers import Integral

from sijo.errors import SettingError, TextError

INVISIBLE = re.compile(
    "[\0-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e001f\U000e0080-\U000e0fff]"
)
"""What nobody sees: Unicode's Default_Ignorable_Code_Point, controls, marks of annotation, empty braille."""
TAGS = re.compile("[\U000e0020-\U000e007f]")
"""Invisible too, but for a black flag that they make the flag of a region."""
FLAG = "\U0001f3f4"
WHOLE = re.compile(r"([+-]?[0-9]+)\.0*")
"""A whole number as a column of decimals has it."""
LIKE_MISSING = {"NA", "N/A", "n/a", "NaN", "nan", "-nan", "NaT", "null", "NULL", "None", "<NA>", "#N/A", "#NA"}
"""How tables write that there is no value; as text, each may also be the name of a label."""
STRONG_MARKS = "|｜；，、\t\n"
"""What hardly any name holds."""
DOTS = "·ㆍ・"
"""What stands between words of a list in Korean and Japanese, and within names, as in 경제·사회."""
WEAK_MARKS = f"/#{DOTS}"
_ITEM = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[+-]?[0-9]+(?:\.[0-9]*)?|True|False)"""
PYTHON_LIST = re.compile(rf"\s*[\[({{]\s*(?:{_ITEM}(?:\s*,\s*{_ITEM})*\s*,?)?\s*[\])}}]\s*", re.DOTALL)
"""A list, tuple or set as Python prints it; numpy's, without commas, is none."""


@lru_cache(maxsize=8192)
def folded(name: str) -> str:
    """What all spellings of one label share, and no other label has; "" for a name that nobody can see.

    Unicode's compatibility forms (NFKC) with case folded, as in its definition D146; blanks folded to single ones;
    invisible characters left out; "1.0" as "1". Accents, punctuation, leading zeros and the dotless ı tell labels
    apart.

    >>> folded("Tax  law") == folded("tax\\u00a0LAW") == folded("\\ufeffｔａｘ law")
    True
    >>> folded("1.0") == folded("1"), folded("01") == folded("1"), folded("\\u200b")
    (True, False, '')
    """
    name = INVISIBLE.sub("", name)
    if FLAG not in name:
        name = TAGS.sub("", name)
    if not name.isascii():
        name = unicodedata.normalize("NFKC", unicodedata.normalize("NFD", name).casefold())
        name = unicodedata.normalize("NFKC", name.casefold())
    name = " ".join(name.casefold().split())
    number = WHOLE.fullmatch(name)
    return number[1] if number else name


def composed(name: str) -> str:
    """A name in Unicode's form NFC, as all names of labels are kept.

    >>> composed("e\\u0301") == "\\u00e9"
    True
    """
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def in_other_form(values: Iterable[object]) -> str | None:
    """The first text among values, or in lists among them, that is in another form than NFC; None without one.

    >>> in_other_form(["sea", None, ["e\\u0301"]]) == "e\\u0301", in_other_form(["é", 1])
    (True, None)
    """
    for value in values:
        if isinstance(value, list | tuple):
            if (found := in_other_form(value)) is not None:
                return found
        elif isinstance(value, str) and not unicodedata.is_normalized("NFC", value):
            return value
    return None


def name_of(value: object) -> str | None:
    """The name that a value of a table stands for: text, a whole number, yes or no; None where it is no name.

    Blanks around it are left out. A blank, nothing, NaN, a fraction, a list or half a character is no name.

    >>> name_of(" sea "), name_of(1), name_of(1.0), name_of(True), name_of(float("nan")), name_of("\\u200b")
    ('sea', '1', '1', 'True', None, None)
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, Integral | str):  # numpy's too
        return None
    name = str(value).strip()
    if any("\ud800" <= letter <= "\udfff" for letter in name):
        return None
    return composed(name) if folded(name) else None


def column_named(name: str, known: Iterable[str]) -> str | None:
    """The column that somebody means: the one of that name; or of that number, where columns are numbered; or the
    only one whose name differs in case alone, or in how Unicode writes its letters; None where there is none.

    Raises SettingError where two are meant.

    >>> column_named("text", ["id", "Text"]), column_named("2", ["column_1", "column_2"]), column_named("x", ["id"])
    ('Text', 'column_2', None)
    """
    known = list(known)
    for exact in (name, f"column_{name}" if name.isdecimal() else name):
        if exact in known:
            return exact
    alike = [column for column in known if _without_case(column) == _without_case(name)]
    if len(alike) > 1:
        raise SettingError(
            f"the column {name!r} may be {' or '.join(apart(*alike[:2]))}; write it as it stands there"
        )
    return alike[0] if alike else None


@lru_cache(maxsize=256)
def _without_case(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def is_blank(cell: object) -> bool:
    """Whether nobody has labelled a row: by nothing, blanks, or NaN; an empty list says that it has no label."""
    if isinstance(cell, float):
        return math.isnan(cell)
    return cell is None or (isinstance(cell, str) and not folded(cell))


def label_in(value: object, column: str, where: str, several: str) -> str:
    """The one label that a value of a table names; TextError with the place and the value where it names none.

    where    which row, in words
    several  the option that reads several labels in a row

    >>> label_in(1.0, "label", "row 1", "--multi-label")
    '1'
    """
    name = name_of(value)
    if name is not None and list_in(name) is None:
        return name
    way = ""
    if isinstance(value, list | tuple) or list_in(name or "") is not None:
        way = f", or say {several} where rows have several labels"
    raise TextError(
        f"{where}: the column {column!r} holds {short(value)}, not a label, which is a text or a whole number; "
        f"leave such rows out{way}"
    )


def by_number(names: Iterable[str]) -> dict[str, str]:
    """Of names that are whole numbers, all of them, how each is written without zeros behind it; else nothing.

    A column of numbers comes out of tables as 1 or as 1.0, as other cells of it are there or missing.

    >>> by_number(["0.0", "1", "1.0", "-1.0"]), by_number(["1.0", "1.5"])
    ({'0.0': '0', '1': '1', '1.0': '1', '-1.0': '-1'}, {})
    """
    numbers = {name: WHOLE.fullmatch(name if "." in name else f"{name}.") for name in names}
    if not all(numbers.values()):
        return {}
    written = {name: number[1] for name, number in numbers.items() if number is not None}
    return {name: "0" if number in ("-0", "+0") else number for name, number in written.items()}


def apart(name: str, other: str) -> tuple[str, str]:
    """Two names for an error, as they are; where they would look alike, with what nobody sees in words.

    >>> apart("Sport", "sport"), apart("é", "e\\u0301") == ("'é'", "'e\\u0301' (in another Unicode form)")
    (("'Sport'", "'sport'"), True)
    >>> apart("a\\ufe0e", "a")
    ("'a\\ufe0e' (with U+FE0E, which nobody sees)", "'a'")
    """
    if name == other or _seen(name) != _seen(other):
        return repr(name), repr(other)
    return _told(name), _told(other)


def _seen(name: str) -> str:
    """What people see of a name."""
    return unicodedata.normalize("NFC", " ".join(TAGS.sub("", INVISIBLE.sub("", name)).split()))


def _told(name: str) -> str:
    """A name, with what of it nobody sees."""
    odd = [letter for letter in name if INVISIBLE.match(letter) or TAGS.match(letter)]
    odd += [letter for letter in name if letter.isspace() and letter != " "]
    if odd:
        return f"{name!r} (with U+{ord(odd[0]):04X}, which nobody sees)"
    return f"{name!r} (in another Unicode form)" if composed(name) != name else repr(name)


def like_missing(names: Iterable[str]) -> list[str]:
    """Those names that tables write where there is no value, each once.

    >>> like_missing(["sea", "NA", "none", "nan", "NA"])
    ['NA', 'nan']
    """
    return [name for name in dict.fromkeys(names) if name in LIKE_MISSING]


def seems_parted_at(names: Iterable[str], marks: str) -> str | None:
    """The mark at which names look like several in one: most parts of those that hold it return in others, and one
    of them in another place or alone, as a town before its country never does; a date is no names.

    >>> seems_parted_at(["sea|rain", "rain|sun", "sun|sea"], "|")
    '|'
    >>> seems_parted_at(["Rome, Italy", "Bari, Italy", "Bari, Canada", "Rome, Canada"], ",")
    """
    names = set(names)
    for mark in marks:
        times, places = Counter[str](), set[tuple[str, int]]()
        for name in names:
            parts = [part.strip() for part in name.split(mark)]
            times.update({*parts} - {""})
            places.update((part, place if len(parts) > 1 else -1) for place, part in enumerate(parts) if part)
        moved = len(places) > len(times)
        holding = [name for name in names if mark in name.strip().strip(mark)]
        parts_held = {part.strip() for name in holding for part in name.split(mark)} - {""}
        is_date = mark == "/" and all(map(str.isdecimal, parts_held))
        if moved and not is_date and sum(times[part] > 1 for part in parts_held) > len(parts_held) / 2:
            return mark
    return None


def cautions(names: Iterable[str], several: str) -> Iterator[str]:
    """What a person should know of names of labels, one for a row, that may be none: they look like several in one,
    or like the sign for a missing value.

    several  what would do for several names

    >>> list(cautions(["sea", "rain"], "give one"))
    []
    """
    names = sorted(set(names))
    for name in like_missing(names):
        yield (
            f"the label {name!r} is how tables write that a value is missing, and is a label here like any other; "
            "leave such rows out if they have none"
        )
    mark = next((mark for mark in f";{STRONG_MARKS}" if any(mark in name for name in names)), None)
    if (mark := mark or seems_parted_at(names, f",{WEAK_MARKS}")) is not None:
        example = next(name for name in names if mark in name)
        yield f"{example!r} is read as one label, and looks like several parted at {mark!r}; {several}"


def list_in(text: str) -> list[object] | None:
    """The list that a text spells as JSON or as Python prints it; None where it spells none.

    >>> list_in('["sea", "rain"]'), list_in("['sea', 1]"), list_in("['sea' 'rain']"), list_in("sea")
    (['sea', 'rain'], ['sea', 1], None, None)
    """
    text = text.strip()
    if not text.startswith(("[", "(", "{")):
        return None
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        items = None
    if items is None and PYTHON_LIST.fullmatch(text):
        try:
            items = ast.literal_eval(f"[{text[1:-1]}]")
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            items = None
    if not isinstance(items, list) or (text[0] != "[" and not any(isinstance(item, str) for item in items)):
        return None  # "(1)" is a name
    return items


def parts_of(text: str, separator: str | None = None) -> tuple[list[object], str]:
    """The names in a text that holds several, and the mark that parted them: "" for a list, or for one name.

    separator  what stands between names; None for a semicolon, or a comma where there is none

    A list in JSON or as Python prints it is one with any separator. A name that holds the separator stands in
    double quotes. Raises TextError for a list that is broken, and for semicolons beside commas.

    >>> parts_of("sea; rain"), parts_of('sea, "wind, rain"'), parts_of("['sea']"), parts_of("a, b|c", "|")
    ((['sea', 'rain'], ';'), (['sea', 'wind, rain'], ','), (['sea'], ''), (['a, b', 'c'], '|'))
    """
    if (items := list_in(text)) is not None:
        return items, ""
    if text.lstrip().startswith(("[", "{")):
        try:
            json.loads(text)
            reason = "it is no list"
        except (ValueError, RecursionError) as error:
            reason = str(error)
        raise TextError(f'{short(text)} begins as a list and is none ({reason}); write it as ["sea", "rain"]')
    outside = re.sub('"[^"]*"', "", text)
    marks = [mark for mark in ";," if mark in outside] if separator is None else [separator]
    if len(marks) > 1:
        raise TextError(
            f"{short(text)} holds semicolons and commas, and either may part labels; say which by "
            "--labels-separator, put a label that holds one in double quotes, or write a JSON list"
        )
    mark = marks[0] if marks else ","
    mark = "\t" if mark == "\\t" else "\n" if mark == "\\n" else mark.strip() or mark
    if len(mark) != 1 or mark in '"\r\n':
        parts = text.split(mark)
    else:
        try:
            parts = next(csv.reader([text], delimiter=mark, strict=True, skipinitialspace=True), [])
        except csv.Error as error:
            raise TextError(
                f"{short(text)} cannot be split at its {mark!r} ({str(error).partition(' - ')[0]}); put a label "
                "that holds one, a quote or a line end in double quotes, or write a JSON list"
            ) from None
    return [part.strip() for part in parts], mark if len(parts) > 1 else ""


class NameCells:
    """A column whose cells hold the names of several labels each.

    separator  as `parts_of` has it; where nobody said, all cells must be parted alike

    >>> cells = NameCells()
    >>> cells.names("sea; rain"), cells.names(["sun", 1.0]), cells.names("")
    (['sea', 'rain'], ['sun', '1'], [])
    >>> cells.names(1.0), cells.names(0)
    (['1'], ['0'])
    """

    def __init__(self, separator: str | None = None) -> None:
        if separator == "" or (separator or "").strip() in ('"', "[", "]"):
            raise SettingError(f"the separator {separator!r} parts no labels; give one such as ';' or '|'")
        self.separator = separator
        self._parted: dict[str, str] = {}
        self._texts: set[str] = set()
        self._told = False

    def parts(self, value: object) -> list[object]:
        """What stands in a cell, a list or a text, blanks too; nothing for None. Raises TextError for others."""
        if isinstance(value, str):
            parts, mark = parts_of(value, self.separator)
            self._check_alike(value, mark)
            if (mark or parts == [value.strip()]) and len(
                self._texts
            ) < 10_000:  # no list: its names end where it says
                self._texts.update(map(str, parts))
            return parts
        if value is not None and not isinstance(value, list | tuple):
            raise TextError(f"{short(value)} is neither a list of labels nor names with semicolons between")
        return list(value or ())

    def names(self, value: object) -> list[str]:
        """The names in a cell, blanks left out. Raises TextError for what is no name, and for None."""
        if value is None:
            raise TextError("there is nothing here; give [] or an empty text for a row without labels")
        if not isinstance(value, str) and (name := name_of(value)) is not None:
            return [name]  # a number alone
        parts = [part for part in self.parts(value) if part != "" or not isinstance(value, str)]
        names = [name_of(part) for part in parts]
        if None in names:
            raise TextError(f"{short(value)} holds {short(parts[names.index(None)])}, not the name of a label")
        return [name for name in names if name is not None]

    def _check_alike(self, text: str, mark: str) -> None:
        if self.separator is not None or not mark:
            return
        self._parted.setdefault(mark, text)
        if len(self._parted) > 1:
            raise TextError(
                f"{short(self._parted[';'])} is parted at semicolons and {short(self._parted[','])} at commas; "
                "say by --labels-separator which of them parts labels in this column"
            )

    def caution(self) -> str | None:
        """What a person should know of the names so far, said once: that they look like several in one."""
        if self.separator is not None or self._told:
            return None
        mark = next((mark for mark in STRONG_MARKS if any(mark in text for text in self._texts)), None)
        mark = mark or seems_parted_at(self._texts, WEAK_MARKS)
        if mark is None and self._texts:
            mark = next((mark for mark in WEAK_MARKS if all(mark in text for text in self._texts)), None)
        if mark is None:
            return None
        self._told = True
        example = next(text for text in sorted(self._texts) if mark in text)
        return (
            f"{short(example)} is read as the name of one label, and looks like several parted at {mark!r}; if "
            f"so, say --labels-separator {mark!r}"
        )


def short(value: object) -> str:
    """A value as an error shows it."""
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:60]}…"
