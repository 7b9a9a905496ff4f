"""JSON files that hold records otherwise than one a line: read as they come, and told where they are broken."""

import gzip
import io
import json

import pytest

from sijo.errors import SettingError, TextError
from sijo.files.reading import json_records
from sijo.files.reading.json_records import read_json
from sijo.files.records import records
from sijo.files.tables import TextTable

ROWS = [
    {"text": 'the "sea", [calm] {\\', "id": 7},
    {"text": "바다\n파도", "id": 8.50},
    {"text": None, "tags": [[], {}]},
]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("chunk", [1, 7, 1 << 16])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_an_array_is_read_as_it_was_written(tmp_path, monkeypatch, indent, chunk, ascii_only):
    # catches strings cut at a chunk's end, brackets in strings, escapes, and letters of several bytes
    monkeypatch.setattr(json_records, "CHUNK", chunk)
    path = tmp_path / "a.json"
    path.write_text(json.dumps(ROWS, indent=indent, ensure_ascii=ascii_only), encoding="utf-8")
    (block,) = TextTable(path).blocks()
    assert block.kind == "jsonl" and block.texts == [row["text"] or "" for row in ROWS]
    assert block.values("id") == [7, 8.5, None]
    assert [json.loads(raw) for raw in block.columns["record"].to_pylist()] == ROWS
    assert not any("\n" in raw for raw in block.columns["record"].to_pylist())
    assert [row for _, row in records(path)] == ROWS


@pytest.mark.parametrize(
    "content",
    [
        '{"text": "one"}',
        '{"text": "one"}\n{"text": "two"}\n',
        '{\n "text": "one"\n}\n{\n "text": "two"\n}',
        '\ufeff[{"text": "one"}]',
        '  [{"text": "one"}]\n',
    ],
)
def test_one_object_or_several_are_records(tmp_path, content):
    # catches a file of JSON Lines, or of one record, that ends in .json
    (tmp_path / "a.json").write_text(content, encoding="utf-8")
    (block,) = TextTable(tmp_path / "a.json").blocks()
    assert block.texts == ["one", "two"][: content.count("text")]


@pytest.mark.parametrize(
    "content, message",
    [
        ("[]", "has no records; give it"),
        ('[{"text": "a"}', "record 2 is not JSON .*ends before the array"),
        ('[{"text": "a"', "record 1 is not JSON"),
        ('[{"text": "a}]', "record 1 is not JSON"),
        ('[{"text": "a"} {"text": "b"}]', "record 2 is not JSON .*',' or"),
        ('[{"text": "a"},]', "record 2 is not JSON"),
        ("[1, 2]", "record 1 is a number, not an object"),
        ('["a"]', "record 1 is a string, not an object"),
        ("nonsense", "record 1 is null, not an object"),
        ('[{"text": "a"}] x', "goes on after its array"),
        ('[{"text": "a", "b": 01}]', "record 1 is not JSON .*character"),
        ('[{"text": "a\0"}]', "NUL"),
    ],
)
def test_what_is_broken_is_told_with_its_record(tmp_path, content, message):
    # catches a broken file whose whole rows are given and the rest left out in silence
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(TextError, match=message):
        list(TextTable(tmp_path / "a.json").blocks())


def test_rows_before_a_broken_one_come_first(tmp_path):
    # catches a file that has to be whole before any of it is read
    (tmp_path / "a.json").write_text('[{"text": "one"}, {"text": }]')
    blocks = TextTable(tmp_path / "a.json").blocks(up_to_fault=True)
    assert next(blocks).texts == ["one"]
    with pytest.raises(TextError, match="record 2"):
        next(blocks)


def test_bytes_that_are_no_text_are_told(tmp_path):
    # catches an encoding that is taken for UTF-8, and a byte of damaged UTF-8 that is counted in its piece
    (tmp_path / "a.json").write_bytes(b'[{"text": "' + "바다".encode("cp949") + b'"}]')
    with pytest.raises(TextError, match=r"""line 1 is '\[{"text": "바다"}\]' in cp949, """):
        TextTable(tmp_path / "a.json")
    content = b'[{"text": "' + "바다 ".encode() * 30_000 + b'\xff"}]'
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(TextError, match="byte 210012, 0xff, is not UTF-8"):
        TextTable(tmp_path / "a.json")


@pytest.mark.parametrize("content", ['[{"text": "one"}]', '[\n  {\n    "text": "one"\n  }\n]'])
def test_an_array_from_a_pipe_is_told(monkeypatch, content):
    # catches an array of objects in a pipe, which was refused
    import types

    for packed in (content.encode(), gzip.compress(content.encode())):
        monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(packed)))
        table = TextTable("-")
        assert (table.kind, next(table.blocks()).texts) == ("json", ["one"])


def test_it_has_no_header_and_no_sheets(tmp_path):
    # catches an option that is ignored
    (tmp_path / "a.json").write_text('[{"text": "one"}]')
    for how in ({"header": False}, {"sheet": "1"}, {"delimiter": ";"}):
        with pytest.raises(SettingError, match="is read as json, which has no"):
            TextTable(tmp_path / "a.json", **how)


def test_a_long_array_of_one_line_is_held_a_record_at_a_time():
    # catches a reader whose buffer grows with the file
    class Endless(io.RawIOBase):
        read_bytes = 0

        def read(self, size=-1):
            self.read_bytes += size
            return (b'[{"text": "one"}' if self.read_bytes == size else b"") + b',{"text": "one"}' * (size // 16)

    stream = Endless()
    for _, (_, raw, _) in zip(range(20_000), read_json(stream, "a pipe"), strict=False):
        assert raw == '{"text": "one"}'
    assert stream.read_bytes < 16 * 20_000 + 3 * json_records.CHUNK
