"""JSON that is strict, whatever is read. Each test names the fault it is to catch."""

import pytest

from sijo.files.json_files import parse_json


@pytest.mark.parametrize(
    "content", [b'{"a": 1, "a": 1}', b'[{"b": {"c": 1, "c": 2}}]', b"NaN", b"[-Infinity]", b"1e999", b"\xff", b""]
)
def test_json_that_is_not_strict(content):
    # kills: the last of two names taken in silence, and numbers that are none
    with pytest.raises(ValueError, match=r"twice|finite|decode|Expecting"):
        parse_json(content)


@pytest.mark.parametrize("depth", [100_000, 1_000_000])
def test_json_nested_without_end(depth):
    # kills: a RecursionError, or a crash of the interpreter
    for content in (b"[" * depth, b'{"a":' * depth, b"[" * depth + b"]" * depth):
        with pytest.raises(ValueError, match=r"nested|Expecting"):
            parse_json(content)
