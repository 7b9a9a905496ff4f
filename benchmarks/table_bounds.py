"""What a table costs to read: peak memory and time of small files that would become large, and of wide ones.

Each file is made in a temporary folder by a process of its own, and read to its end or to its refusal by another.
What counts is the largest resident set of that one (`os.wait4`, so Linux or macOS), in MB of a million bytes, and
the seconds of its processor; one that only imports is told first. `--limit` is the address space that a process may
have, so that a bound that does not hold ends in an error and not in a machine without memory.
"""

import bz2
import gzip
import json
import lzma
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

import data

UNIT = 1 if sys.platform == "darwin" else 1024  # bytes of one ru_maxrss
COLUMNS = 100_000
READ = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]),) * 2)
import pyarrow.parquet
from sijo.errors import SijoError
from sijo.files.tables import TextTable
try:
    rows = 0
    for block in TextTable(sys.argv[1], column="text").blocks() if sys.argv[1] else ():
        rows += len(block.values("text"))
    print(f"{rows:,} rows")
except (SijoError, MemoryError) as error:
    print(type(error).__name__, str(error).replace(sys.argv[1], "FILE"))
"""
SHEET = '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>{}</sheetData></worksheet>'


def read(path: str, limit: int) -> tuple[float, float, str]:
    """Largest resident set in MB of a process that reads a table, its seconds, and what it came to."""
    process = subprocess.Popen(
        [sys.executable, "-c", READ, path, str(limit)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with process.stdout as out:
        told = out.read().strip()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    ended = told if process.returncode == 0 else f"ended with {process.returncode}"
    return usage.ru_maxrss * UNIT / 1e6, usage.ru_utime + usage.ru_stime, ended


def repeated(
    pack: Callable[[bytes], bytes], piece: bytes, size: int, *, start: bytes = b"", end: bytes = b""
) -> bytes:
    """A packed file of so many bytes: a hundred times the same, since packed files can be put together."""
    part = piece * (size // 100 // len(piece))
    return pack(start) + pack(part) * 100 + pack(end)


def in_one(piece: bytes, size: int) -> bytes:
    """An .xz file of so many bytes, whose dictionary is 512 MiB."""
    packer = lzma.LZMACompressor(filters=[{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 29}])
    part = piece * 100_000
    packed = [packer.compress(part) for _ in range(size // len(part))]
    return b"".join([*packed, packer.flush()])


def parquet_of(table: pa.Table) -> bytes:
    """A Parquet file with its dictionaries, of whose strings nothing says that they shared one."""
    out = pa.BufferOutputStream()
    parquet.write_table(table, out, compression="zstd", store_schema=False)
    return out.getvalue().to_pybytes()


def shared(text: str, rows: int) -> pa.DictionaryArray:
    """One text, so many times."""
    return pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([text]))


def workbook(rows: str, *strings: str) -> bytes:
    """An .xlsx with one sheet of these rows."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    links = "http://schemas.openxmlformats.org/package/2006/relationships"
    with tempfile.TemporaryFile() as out:
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("xl/worksheets/sheet1.xml", SHEET.format(rows))
            entries = "".join(f"<si><t>{text}</t></si>" for text in strings)
            archive.writestr("xl/sharedStrings.xml", f'<sst xmlns="{main}">{entries}</sst>')
            archive.writestr(
                "xl/workbook.xml",
                f'<workbook xmlns="{main}" xmlns:r="{office}">'
                '<sheets><sheet name="1" sheetId="1" r:id="a"/></sheets></workbook>',
            )
            archive.writestr(
                "xl/_rels/workbook.xml.rels",
                f'<Relationships xmlns="{links}">'
                f'<Relationship Id="a" Type="{office}/worksheet" Target="worksheets/sheet1.xml"/>'
                f'<Relationship Id="b" Type="{office}/sharedStrings" Target="sharedStrings.xml"/></Relationships>',
            )
        out.seek(0)
        return out.read()


def cases(size: int) -> Iterator[tuple[str, str, Callable[[], bytes]]]:
    """What a file is, how its name ends, and what makes its bytes."""
    cells = {"text": "the sea"} | {f"column {number}": str(number) for number in range(COLUMNS - 1)}
    table = [cells, *[cells.values()] * 20]
    of_cells = '<row><c t="s"><v>0</v></c></row>'
    corner = '<row r="1048576"><c r="XFD1048576"><v>2</v></c></row>'
    million = pa.ListArray.from_arrays(pa.array([0, 1_000_000]), shared("a" * 10_000, 1_000_000))
    yield "a line, gzip", ".txt.gz", lambda: repeated(gzip.compress, b"the sea ", size)
    yield "a line of NULs, bzip2", ".txt.bz2", lambda: repeated(bz2.compress, b"\0" * 8, size)
    yield (
        "a quote never closed, gzip",
        ".csv.gz",
        lambda: repeated(gzip.compress, b"the sea\n", size, start=b'text\n"'),
    )
    yield (
        "a row of 30 million fields, gzip",
        ".csv.gz",
        lambda: repeated(gzip.compress, b"ab,", 90_000_000, start=b"text\n"),
    )
    yield (
        "a record of 30 million lists, gzip",
        ".jsonl.gz",
        lambda: repeated(gzip.compress, b"[],", 90_000_000, start=b'{"text": "a", "b": [', end=b"0]}\n"),
    )
    yield (
        "an array of records, gzip",
        ".json.gz",
        lambda: repeated(gzip.compress, b'{"text": "the sea"},', size // 10, start=b"[", end=b'{"text": "a"}]'),
    )
    yield "a dictionary of 512 MiB, xz", ".txt.xz", lambda: in_one(b"the sea\n", size // 4)
    yield (
        "64 times a text of 60 MB, Parquet",
        ".parquet",
        lambda: parquet_of(pa.table({"text": shared("a" * 60_000_000, 64)})),
    )
    yield (
        "a list of a million times 10 kB, Parquet",
        ".parquet",
        lambda: parquet_of(pa.table({"text": ["a"], "tags": million})),
    )
    yield (
        "a million rows of 10 kB, Parquet",
        ".parquet",
        lambda: parquet_of(pa.table({"text": ["a"] * 100_000, "more": shared("a" * 10_000, 100_000)})),
    )
    yield "cells in two corners, .xlsx", ".xlsx", lambda: workbook("<row><c><v>1</v></c></row>" + corner)
    yield "a million cells of one string, .xlsx", ".xlsx", lambda: workbook(of_cells * 1_000_000, "a" * 30_000)
    yield f"{COLUMNS:,} columns, CSV", ".csv", lambda: "\n".join(map(",".join, table)).encode()
    yield f"{COLUMNS:,} keys, JSON Lines", ".jsonl", lambda: (json.dumps(cells) + "\n").encode() * 20
    yield (
        f"{COLUMNS:,} columns, Parquet",
        ".parquet",
        lambda: parquet_of(pa.table({name: [cell] * 20 for name, cell in cells.items()})),
    )


def main() -> None:
    """Make and read each file, and print the record."""
    parser = data.parser(__doc__)
    parser.add_argument("--size", type=int, default=2_000_000_000, help="bytes of the long ones, unpacked")
    parser.add_argument("--limit", type=int, default=8_000_000_000, help="address space of a reader, in bytes")
    parser.add_argument("--only", default="", help="what the name of a case must hold")
    options = parser.parse_args()
    base, _, _ = read("", options.limit)
    record = [{"file": "none", "peak_mb": base}]
    with tempfile.TemporaryDirectory() as place:
        for what, suffix, made in cases(options.size):
            if options.only in what:
                path = Path(place) / f"table{suffix}"
                if not (maker := os.fork()):  # what a process has taken counts for those that it begins
                    path.write_bytes(made())
                    os._exit(0)
                os.waitpid(maker, 0)
                peak, seconds, ended = read(str(path), options.limit)
                kilobytes = path.stat().st_size / 1e3
                record.append(
                    {"file": what, "kb": kilobytes, "peak_mb": peak, "seconds": seconds, "ended": ended[:200]}
                )
                print(
                    f"{what:45} {kilobytes:9,.1f} kB {peak:6,.0f} MB {seconds:6.1f} s  {ended[:160]}",
                    file=sys.stderr,
                )
    data.report(options, {"cases": len(record) - 1}, {"tables": record})


if __name__ == "__main__":
    main()
