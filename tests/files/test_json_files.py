"""JSON that is strict, whatever is read. Each test names the fault it is to catch."""

import pytest

from sijo.app.results import print_json
from sijo.files.json_files import json_line, json_text, parse_json, read_json, write_json
from sijo.files.json_lines import JsonLinesFile, read_lines
from sijo.files.paths import FolderFile


@pytest.mark.parametrize(
    "content", [b'{"a": 1, "a": 1}', b'[{"b": {"c": 1, "c": 2}}]', b"NaN", b"[-Infinity]", b"1e999", b"\xff", b""]
)
def test_json_that_is_not_strict(content):
    # kills: the last of two names taken in silence, and numbers that are none
    with pytest.raises(ValueError, match=r"twice|finite|decode|Expecting"):
        parse_json(content)


@pytest.mark.parametrize("digits", [310, 4_000, 5_000, 1_000_000])
@pytest.mark.parametrize("sign", ["", "-"])
def test_a_number_of_any_length_is_refused_in_our_words(digits, sign):
    # kills: Python's advice about its own limit of 4300 digits, in an error about a file
    with pytest.raises(ValueError, match=r"^the number .{20}… is too large$"):
        parse_json(f'{{"step": {sign}{"9" * digits}}}'.encode())
    assert parse_json(b"1" + b"0" * 308) == 10**308


@pytest.mark.parametrize("depth", [100_000, 1_000_000])
def test_json_nested_without_end(depth):
    # kills: a RecursionError, or a crash of the interpreter
    for content in (b"[" * depth, b'{"a":' * depth, b"[" * depth + b"]" * depth):
        with pytest.raises(ValueError, match=r"nested|Expecting"):
            parse_json(content)


def test_what_is_written_is_json(tmp_path):
    # kills: a loss that is NaN by which a run's own metrics cannot be read again, and half a character that no
    # file can hold
    content = {"loss": float("nan"), "all": [float("inf"), {"low": -float("inf"), "f1": 0.5}], "text": "a \ud83d"}
    want = {"loss": None, "all": [None, {"low": None, "f1": 0.5}], "text": "a \ud83d"}
    assert parse_json(json_text(content).encode()) == parse_json(json_line(content)) == want
    write_json(tmp_path / "a.json", content)
    assert read_json(FolderFile(tmp_path, "a.json")) == want
    with JsonLinesFile(tmp_path / "metrics.jsonl", last_step=0) as lines:
        lines.write({"step": 1, "loss": float("nan")})
    assert read_lines(tmp_path / "metrics.jsonl") == [{"step": 1, "loss": None}]


def test_what_is_printed_is_json(capsys):
    # kills: NaN on standard output, where another program reads
    print_json({"score": float("nan"), "rows": [{"f1": float("inf")}]})
    assert parse_json(capsys.readouterr().out.encode()) == {"score": None, "rows": [{"f1": None}]}
