"""Small inputs that would become large: each is read, or refused by a sentence, in memory that is bounded.

A reader of its own measures its largest resident set. Limits are lowered where that makes a smaller input do.
"""

import bz2
import gzip
import io
import json
import lzma
import subprocess
import sys
import zipfile

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sijo.errors import SettingError, TextError
from sijo.files import limits
from sijo.files.inputs.sources import TextReading
from sijo.files.reading import parquet_pages, parquet_rows
from sijo.files.reading.workbook_size import check_size
from sijo.files.records import records
from sijo.files.tables import TextTable

READ = """
import resource, sys
import pyarrow.parquet
from sijo.errors import SijoError
from sijo.files.tables import TextTable
resource.setrlimit(resource.RLIMIT_AS, (8_000_000_000,) * 2)
def peak():
    return next(int(line.split()[1]) / 1e3 for line in open("/proc/self/status") if line.startswith("VmHWM"))
before, told = peak(), None
try:
    rows = 0
    for block in TextTable(sys.argv[1], column="text", longest_row=int(sys.argv[2])).blocks():
        rows += len(block.values("text"))
except SijoError as error:
    told = f"{error.exit_code}: {error}"
print(peak() - before, rows, told)
"""


def read(path, *, longest=limits.LONGEST_ROW):
    """How many MB reading takes beyond the imports, the rows, and the refusal."""
    ran = subprocess.run(
        [sys.executable, "-c", READ, path, str(longest)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    grown, rows, told = ran.stdout.split(" ", 2)
    return float(grown), int(rows), told.strip()


def zstd(data):
    packed = pa.BufferOutputStream()
    with pa.CompressedOutputStream(packed, "zstd") as out:
        out.write(data)
    return packed.getvalue().to_pybytes()


def shared(text, rows):
    """A column whose rows are one string."""
    return pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([text]))


def parquet(path, columns, **how):
    # without the schema of Arrow, by which a shared string would be read as one
    pq.write_table(pa.table(columns), path, compression="zstd", store_schema=False, **how)
    return path


LONG = b"the sea " * 125_000
"""1 MB, which packed stands there 240 times."""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(
    "name, pack, start, piece, message",
    [
        ("a.txt.gz", gzip.compress, b"one\n", LONG, "line 2 is longer"),
        ("a.txt.bz2", bz2.compress, b"", bytes(len(LONG)), "line 1 is longer"),
        ("a.txt.xz", lzma.compress, b"", LONG, "line 1 is longer"),
        ("a.txt.zst", zstd, b"", LONG, "line 1 is longer"),
        ("a.jsonl.gz", gzip.compress, b'{"text": "', LONG, "line 1 is longer"),
        ("a.json.gz", gzip.compress, b'[{"text": "', LONG, "record 1 is longer"),
        ("a.csv.gz", gzip.compress, b'text\n"', LONG[:-1] + b"\n", "quote that is not closed within"),
    ],
)
def test_a_row_without_end_is_refused_while_it_is_unpacked(tmp_path, name, pack, start, piece, message):
    # catches a line, a record or a quoted field that is held whole, however long it is
    path = tmp_path / name
    path.write_bytes(pack(start) + pack(piece) * 240)
    assert path.stat().st_size < 500_000
    grown, _, told = read(path, longest=5_000_000)
    assert grown < 130 and message in told and "--longest-row" in told


def test_the_limit_can_be_raised(tmp_path):
    # catches a limit that is fixed, or that counts something else than bytes
    path = tmp_path / "a.csv"
    path.write_text("text\n" + "바다" * 40 + "\n", encoding="utf-8")
    with pytest.raises(TextError, match=r"line 2 is longer than 200 bytes, .*--longest-row"):
        list(TextTable(path, longest_row=200).blocks())
    assert [block.texts for block in TextTable(path, longest_row=241).blocks()] == [["바다" * 40]]


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl", "a.json"])
def test_a_limit_is_of_each_row(tmp_path, name, monkeypatch):
    # catches what is added up over rows, so that a long file of short rows is refused
    monkeypatch.setattr(limits, "MOST_FIELDS", 10)
    rows = [{"text": f"{number}, the sea", "n": "1"} for number in range(100)]
    path, lines = tmp_path / name, [json.dumps(row) for row in rows]
    if name.endswith((".txt", ".csv")):
        lines = ["text,n", *(f'"{row["text"]}",1' for row in rows)]
    path.write_text(f"[{','.join(lines)}]" if name == "a.json" else "\n".join(lines), encoding="utf-8")
    assert (
        sum(
            len(block.texts)
            for block in TextTable(path, longest_row=60, kind="text" if name == "a.txt" else None).blocks()
        )
        >= 100
    )


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "json", "parquet", "xlsx"])
def test_labelled_rows_have_a_limit_that_can_be_raised_too(tmp_path, suffix):
    # catches advice that names an option by which nothing changes
    path, row = tmp_path / f"a.{suffix}", {"text": "바다" * 5_000, "label": "sea"}
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist([row]), path, compression="none")
    elif suffix == "xlsx":
        book = openpyxl.Workbook()
        book.active.append([*row])
        book.active.append([*row.values()])
        book.save(path)
    elif suffix == "csv":
        path.write_text("text,label\n" + ",".join(row.values()) + "\n", encoding="utf-8")
    else:
        path.write_text(json.dumps([row] if suffix == "json" else row), encoding="utf-8")
    with pytest.raises(TextError, match=r"--longest-row"):
        list(records(path, TextReading(longest_row=3_000)))
    assert [record for _, record in records(path, TextReading(longest_row=80_000))] == [row]
    with pytest.raises(SettingError, match="longest_row=0 is no limit"):
        list(records(path, TextReading(longest_row=0)))


@pytest.mark.parametrize(
    "name, line",
    [
        ("a.csv", "text\n" + "ab," * 1_000_001 + "\n"),
        ("a.csv", 'text\nx",' + "ab," * 1_000_001 + "\n"),  # a quote within a field opens nothing
        ("a.csv", 'text\n"\n",' + "ab," * 1_000_001 + "\n"),
        ("a.jsonl", '{"text": "a", "more": [' + "[]," * 500_001 + "0]}\n"),
        ("a.jsonl", '{"text": "a", "more": "\\\\", "and": [' + "[]," * 500_001 + "0]}\n"),
        ("a.json", '[{"text": "a", "more": [' + "[]," * 500_001 + "0]}]\n"),
    ],
)
def test_a_row_of_more_parts_than_a_million_is_refused_before_they_are_made(tmp_path, name, line):
    # catches fields and values that take fifty times the bytes they stand in
    path = tmp_path / name
    path.write_text(line)
    with pytest.raises(TextError, match=r"more than 1,000,000 (fields|values)"):
        TextTable(path, column="text")


@pytest.mark.parametrize(
    "name, content",
    [
        ("a.csv", 'text\n"' + "a,b " * 20_000 + '"\n'),
        ("a.csv", 'text\n"' + "a,b\n" * 20_000 + '"\n'),
        ("a.jsonl", json.dumps({"text": "a, [b] {c}\\" * 20_000}) + "\n"),
    ],
)
def test_commas_within_a_text_are_no_parts(tmp_path, name, content, monkeypatch):
    # catches a text of many commas that is refused as a row of many fields
    monkeypatch.setattr(limits, "MOST_FIELDS", 10_000)
    (tmp_path / name).write_text(content)
    assert sum(len(block.texts) for block in TextTable(tmp_path / name).blocks()) == 1


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet", ".json"])
def test_blocks_are_bounded_by_the_bytes_of_every_column(tmp_path, suffix, monkeypatch):
    # catches a bound on texts alone, beside which a column of documents grows as it likes
    monkeypatch.setattr(limits, "BLOCK_BYTES", 1_000_000)
    rows = [{"text": "short", "document": "바다 " * 50_000 if suffix == ".parquet" else "sea " * 50_000}] * 40
    path = tmp_path / f"a{suffix}"
    if suffix == ".csv":
        path.write_text("text,document\n" + "".join(f"{row['text']},{row['document']}\n" for row in rows))
    elif suffix == ".parquet":
        parquet(path, {name: [row[name] for row in rows] for name in rows[0]})
    else:
        path.write_text(json.dumps(rows) if suffix == ".json" else "".join(json.dumps(row) + "\n" for row in rows))
    table = TextTable(path, column="text")
    sizes = [len(block.texts) for block in table.blocks()]
    assert sum(sizes) == 40 and max(sizes) <= 5
    assert len(table.first_block(40).texts) <= 5  # and what a model is tried on


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_many_columns_take_linear_time(tmp_path, suffix):
    # catches whatever looks through all columns for each of them, which takes 20 s already at 20,000
    names = ["text", *(f"column {number}" for number in range(20_000))]
    path = tmp_path / f"a{suffix}"
    if suffix == ".csv":
        path.write_text(",".join(names) + "\n" + ",".join("a" for _ in names) + "\n")
    elif suffix == ".jsonl":
        path.write_text(json.dumps(dict.fromkeys(names, "a")) + "\n")
    else:
        names = names[:4000]
        pq.write_table(pa.table({name: ["a"] for name in names}), path)
    (block,) = TextTable(path, column="text").blocks()
    assert len(block.values(names[-1])) == 1


# --- packers ---------------------------------------------------------------------------------------


def test_a_packer_that_wants_much_memory_is_refused(tmp_path):
    # catches an .xz of a few bytes whose dictionary takes a gigabyte
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 29}]
    (tmp_path / "a.txt.xz").write_bytes(lzma.compress(b"the sea\n", filters=filters))
    with pytest.raises(TextError, match=r"\.xz .* more than 128 MiB .* `xz -9`"):
        TextTable(tmp_path / "a.txt.xz")


@pytest.mark.parametrize("preset", [0, 9])
def test_xz_files_put_together_are_one(tmp_path, preset):
    # catches an unpacker that stops after the first of them, at the zeros between, or at a large dictionary
    pieces = [f"{number} the sea\n" for number in range(3)]
    content = bytes(8).join(lzma.compress(piece.encode(), preset=preset) for piece in pieces) + bytes(4)
    (tmp_path / "a.txt.xz").write_bytes(content)
    (block,) = TextTable(tmp_path / "a.txt.xz").blocks()
    assert block.texts == [piece.strip() for piece in pieces]


def test_an_xz_file_cut_short_says_so(tmp_path):
    # catches a cut that reads as the end
    (tmp_path / "a.txt.xz").write_bytes(lzma.compress(b"".join(b"%d\n" % number for number in range(9999)))[:-40])
    with pytest.raises(TextError, match="cut short or damaged"):
        list(TextTable(tmp_path / "a.txt.xz").blocks())


# --- numbers and nesting ---------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["9" * 100_000, "[" * 100_000, '{"a":' * 100_000])
@pytest.mark.parametrize(
    "name, line", [("a.jsonl", '{"text": "a", "b": %s}'), ("a.json", '[{"text": "a", "b": %s}]')]
)
def test_values_that_python_does_not_make_are_told(tmp_path, name, line, value):
    # catches a recursion and a conversion that end the process, or take a minute
    path = tmp_path / name
    path.write_text(line % (value + ("]" if value[0] == "[" else "}") * 100_000 if value[0] != "9" else value))
    with pytest.raises(TextError, match=r"(line|record) 1 (is nested too deeply|cannot be read|is not JSON)"):
        TextTable(path)
    with pytest.raises(TextError):
        list(records(path))


# --- Parquet ---------------------------------------------------------------------------------------


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_long_text_that_many_rows_share_is_read_in_bounded_memory(tmp_path):
    # catches 2 kB that become 640 MB, since a dictionary has one text for every row
    path = parquet(tmp_path / "a.parquet", {"text": shared("a" * 10_000_000, 64)})
    assert path.stat().st_size < 5000
    grown, rows, told = read(path)
    assert (rows, told) == (64, "None") and grown < 400


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_a_list_that_repeats_a_text_is_refused_before_it_is_made(tmp_path, version):
    # catches runs of levels: a million values of one row, each of 10 kB, in 1 kB
    lists = pa.ListArray.from_arrays(pa.array([0, 1_000_000]), shared("a" * 10_000, 1_000_000))
    path = parquet(tmp_path / "a.parquet", {"text": ["one"], "tags": lists}, data_page_version=version)
    grown, _, told = read(path)
    assert "a row may take 10,0" in told and grown < 100


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_lists_that_share_texts_are_read(tmp_path, version, monkeypatch):
    # catches a refusal of honest lists, which are many and each of few values
    monkeypatch.setattr(parquet_pages, "BUDGET", 10_000)
    tags = [["sea"] * (number % 5) if number % 7 else None for number in range(1500)]
    numbers = [[0.5] * 20] * 1500
    columns = {"text": ["one"] * 1500, "tags": tags, "numbers": numbers}
    path = parquet(tmp_path / "a.parquet", columns, data_page_version=version, data_page_size=2000)
    table = TextTable(path, column="text", longest_row=20_000)
    blocks = list(table.blocks())
    assert [tag for block in blocks for tag in block.values("tags")] == tags
    assert sum(len(block.texts) for block in blocks) == 1500


@pytest.mark.parametrize("encoding", [None, "DELTA_BYTE_ARRAY"])
def test_rows_are_read_by_what_each_may_take(tmp_path, monkeypatch, encoding):
    # catches an encoding in which a text costs nothing once the one before it is alike
    monkeypatch.setattr(parquet_pages, "BUDGET", 1_000_000)
    how = {} if encoding is None else {"use_dictionary": False, "column_encoding": encoding}
    path = parquet(tmp_path / "a.parquet", {"text": ["the sea " * 12_500] * 64}, **how)
    with path.open("rb") as stream:
        batches = [batch for _, batch in parquet_rows.ParquetRows(stream, "a").batches(lambda batch: batch)]
    assert sum(len(batch) for batch in batches) == 64
    assert max(batch.nbytes for batch in batches) <= 1_000_000


def test_differences_are_measured_as_they_are_added_up(tmp_path):
    # catches a page of a few bytes that becomes a number for each of its rows as soon as it is opened
    how = {"use_dictionary": False, "column_encoding": {"n": "DELTA_BINARY_PACKED", "text": "PLAIN"}}
    path = parquet(tmp_path / "a.parquet", {"text": ["a"] * 20_000, "n": [7] * 20_000}, **how)
    with pytest.raises(TextError, match=r"column 'n': a page takes 16\d,\d+ bytes, and 150,000 are the most"):
        list(TextTable(path, column="text", longest_row=150_000).blocks())
    assert sum(len(block.texts) for block in TextTable(path, column="text", longest_row=170_000).blocks()) == 20_000


def test_lengths_of_one_row_after_levels(tmp_path, monkeypatch):
    # catches levels that are counted wrongly where a row goes on over pages, or runs end within a byte
    monkeypatch.setattr(parquet_pages, "BUDGET", 0)
    for lengths in ([1, 1, 1], [3, 0, 700, 2], [9] * 40, [100_000], [0, 0, 5], [2, 300, 1] * 9):
        lists = pa.array([["a"] * length for length in lengths], pa.list_(pa.string()))
        for pages in (50, 1 << 20):
            out = io.BytesIO()
            pq.write_table(pa.table({"tags": lists}), out, data_page_size=pages)
            file = pq.ParquetFile(out)
            chunk = file.metadata.row_group(0).column(0)
            levels = [
                (parquet_pages._levels(out, page, chunk), page.values)
                for page in parquet_pages._pages(out, chunk)
                if page.kind != parquet_pages.DICTIONARY
            ]
            begun, most = parquet_pages._row_starts(levels, 1)
            assert (sum(begun), most) == (len(lengths), max(*lengths, 1))


def test_a_page_that_says_it_is_huge_is_refused(tmp_path):
    # catches a header by which gigabytes are set aside: only its sizes are changed
    path = parquet(tmp_path / "a.parquet", {"text": ["one", "two"]}, use_dictionary=False)
    content = bytearray(path.read_bytes())
    file = pq.ParquetFile(path)
    at = file.metadata.row_group(0).column(0).data_page_offset
    size = parquet_pages._header(io.BytesIO(content), at)[0][2]
    told = bytearray()
    number = 2_000_000_000 * 2
    while number > 127:
        told.append(number & 127 | 128)
        number >>= 7
    told.append(number)
    place = at + 3  # behind the kind, at the size
    assert content[place] == size * 2 < 128
    changed = content[:place] + told + content[place + 1 :]
    with pytest.raises(TextError, match=r"column 'text': a page takes 2,000,000,000 bytes.*--longest-row"):
        parquet_rows_of(changed)


def parquet_rows_of(content):
    """Every row of what stands where the footer says, though a header has grown by some bytes."""
    stream = io.BytesIO(content)
    chunk = type("Chunk", (), {"data_page_offset": 4, "dictionary_page_offset": None, "num_values": 2})
    column = type("Column", (), {"max_repetition_level": 0, "physical_type": "BYTE_ARRAY"})
    return parquet_pages.chunk_cost(stream, chunk, column, "a.parquet, column 'text'", limits.LONGEST_ROW)


@pytest.mark.parametrize("content", [b"", b"\x00", b"\xff" * 100, b"\x15" * 5000, b"\x1c" * 5000, b"\x19\xfc" * 99])
def test_a_header_that_is_none_is_told(content):
    # catches a walk over pages that does not end, or ends in another error than damage
    chunk = type("Chunk", (), {"data_page_offset": 0, "dictionary_page_offset": None, "num_values": 2})
    with pytest.raises(pa.ArrowInvalid):
        list(parquet_pages._pages(io.BytesIO(content), chunk))


def test_sizes_of_rows_are_the_same_in_any_batch():
    # catches blocks whose borders depend on how rows were put into row groups
    table = pa.table(
        {
            "string": ["a", None, "바다", "abc"],
            "shared": pa.array(["x", "yy", None, "x"]).dictionary_encode(),
            "lists": [["a", "bb"], [], None, ["ccc"]],
            "structs": [{"a": "x", "b": 1}, None, {"a": None, "b": 2}, {"a": "yyy", "b": 3}],
            "maps": pa.array([[("k", "v")], [], None, [("kk", "vv")]], pa.map_(pa.string(), pa.string())),
            "vectors": pa.array([[1.0, 2.0]] * 4, pa.list_(pa.float32(), 2)),
            "binary": [b"", b"12", None, b"3"],
            "numbers": [1, None, 3, 4],
            "flags": [True, False, None, True],
        }
    )
    (batch,) = table.to_batches()
    sizes = parquet_rows.row_sizes(batch)
    assert sizes == [parquet_rows.row_sizes(batch.slice(row, 1))[0] for row in range(4)]
    assert sizes[0] > sizes[1]


def archive(**parts):
    """A zip archive of these parts, at its start."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in parts.items():
            out.writestr(name, content)
    stream.seek(0)
    return stream


def test_what_a_workbook_says_its_parts_take_is_believed_before_they_are_unpacked():
    # kills: a picture of gigabytes unpacked to its end, because no sheet is so large
    with pytest.raises(TextError, match="more than 1,000,000 bytes"):
        check_size(archive(image=bytes(2_000_000)), "a.xlsx", 1_000_000)


def test_formulas_without_a_value_are_counted_and_no_others():
    # kills: a warning for every formula, of which most have the value that was computed last
    cells = '<c r="A1"><f>1+2</f><v>3</v></c><c r="B1"><f>1+2</f></c><c r="C1"><v>3</v></c>'
    sheet = f'<worksheet xmlns="x"><sheetData><row r="1">{cells}</row></sheetData></worksheet>'
    assert check_size(archive(sheet=sheet), "a.xlsx", 1_000_000) == 1


def test_a_dictionary_and_places_in_lists_count_as_memory(tmp_path):
    # kills: a chunk whose dictionary is unpacked beside it, and lists of numbers, taken for less than they are
    words = [f"{number:06}" * 40 for number in range(2_000)]
    table = pa.table({"text": pa.array(words).dictionary_encode(), "numbers": [list(range(300))] * 2_000})
    pq.write_table(table, tmp_path / "a.parquet", use_dictionary=["text"], compression="none")
    with (tmp_path / "a.parquet").open("rb") as stream:
        file = pq.ParquetFile(stream)
        group = file.metadata.row_group(0)
        text, numbers = (
            parquet_pages.chunk_cost(
                stream, group.column(place), file.schema.column(place), "a", limits.LONGEST_ROW
            )
            for place in (0, 1)
        )
    assert text.held >= 2 * 2_000 * 240
    assert numbers.whole >= 600_000 * (8 + parquet_pages.VALUE_BYTES)
