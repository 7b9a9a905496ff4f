"""How results are printed. Each test names the fault it is to catch."""

import json
import sys
import warnings

import pytest

from sijo.app.results import print_json, print_rows, print_table, print_with_notes, wants_json, warnings_told
from sijo.errors import SijoWarning, warn
from sijo.texts import printable

ROWS = [{"name": "시조", "steps": 3}, {"name": "b", "steps": None}]


@pytest.mark.parametrize(
    "format, terminal, want",
    [
        (None, True, False),
        (None, False, True),
        ("json", True, True),
        ("table", False, False),
        ("text", False, False),
    ],
)
def test_who_gets_json(monkeypatch, format, terminal, want):
    # kills: tables in a pipe, JSON at a terminal, a --format that is overruled by either
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    assert wants_json(format) is want


def test_rows_for_programs_and_for_people(capsys):
    # kills: an array in place of lines, Python's words for JSON's in a table, a field without its heading
    print_rows(ROWS, "json")
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in lines] == ROWS and "시조" in lines[0]
    print_rows(ROWS, "table")
    heading, first, second = (line for line in capsys.readouterr().out.splitlines() if any(map(str.isalnum, line)))
    assert "name" in heading and "steps" in heading and "시조" in first and "3" in first and "null" in second


def test_letters_stay_letters(capsys):
    # kills: results in a pipe that nobody can read without unescaping them; bytes of a name that is no text
    print_json({"text": "시조"}, {"text": "b"})
    assert capsys.readouterr().out == '{"text": "시조"}\n{"text": "b"}\n'
    print_json({"name": "\udcff"})
    assert capsys.readouterr().out == '{"name": "\\udcff"}\n'


def test_a_table_has_its_title_and_its_note(capsys):
    # kills: a title or a note that is lost
    print_table(("a", "b"), [("1", "2")], title="over it", note="under it")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].strip() == "over it" and lines[-1] == "under it"


def test_lines_with_notes_fit_a_terminal(capsys, monkeypatch):
    # kills: columns squeezed until no word is whole, numbers on the left, a wide letter taken for one, a note cut
    monkeypatch.setenv("COLUMNS", "80")
    note = " ".join(f"word{number}" for number in range(30))
    rows = [(("deberta-v3-large", "7"), note), (("시조", "1,234"), "\x1b[2Jshort")]
    print_with_notes(("recipe", "weights"), rows, names=1, note="under all")
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "recipe            weights" and lines[1] == "deberta-v3-large        7"
    assert "시조                1,234" in lines and "    \\u001b[2Jshort" in lines and lines[-1] == "under all"
    assert max(map(len, lines)) <= 80 and " ".join(" ".join(lines[2:6]).split()).startswith(note)


def test_nothing_steers_the_terminal():
    # kills: an escape that is passed on, a letter that is lost with it
    assert printable("a\x1b[31mb\n시") == "a\\u001b[31mb 시"


def test_a_warning_is_told_once_and_strictly_an_error(capsys):
    # kills: a warning for each of a million blocks, one that filters swallow, escapes in it, torch's among ours
    with warnings_told(strict=False) as told:
        for sentence in ("half of it\x1b[2J is unknown", "half of it\x1b[2J is unknown", "a row was cut"):
            warn(sentence)
    assert len(told) == 2 and capsys.readouterr().err.count("\n") == 2
    with pytest.raises(SijoWarning, match="a row was cut"), warnings_told(strict=True):
        warn("a row was cut")
    with warnings_told(strict=True) as told:
        warnings.warn("theirs\x1b[2J", UserWarning, stacklevel=1)
    err = capsys.readouterr().err
    assert told == [] and "UserWarning: theirs\\u001b[2J" in err and "\x1b" not in err


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("wrap", [lambda n: {"score": n}, lambda n: {"a": [1, {"b": n}]}])
def test_no_json_is_printed_that_is_none(capsys, number, wrap):
    # kills: `NaN` and `Infinity` among the results, which no strict reader takes
    print_json(wrap(number))
    assert json.loads(capsys.readouterr().out) == wrap(None)
