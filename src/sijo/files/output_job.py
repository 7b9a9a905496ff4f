"""A long run that a crash cannot harm: finished blocks stay on disk until the output is whole.

Beside the output, say `answers.csv`, stands the run's folder, `.answers.csv.sijo-run`:

    lock            held by the one process at work here
    settings.json   what decides the answers; a resumed run must have the same
    chunk-00000007  block 7, its columns and answers, behind a digest of the file's own bytes
    whole           the output, complete but not yet in its place
    placed.json     which file that is, so that a later run knows it when the folder outlives it

Every file is written under another name, brought to disk and renamed, so each is whole or not
there. `kill -9` at any instant therefore loses no more than the blocks at work; the output appears
by one rename at the end, and only then does the folder go. How rows look in a file belongs to
`row_writers.py`; where blocks come from, to `tables.py`.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pyarrow as pa

from sijo.errors import SettingError, TextError
from sijo.files.atomic import sync, whole_file
from sijo.files.json_files import read_json
from sijo.files.paths import present
from sijo.files.resumable import ResumableFolder
from sijo.files.row_writers import WRITERS, ColumnPlan, OutputRows, format_of, values
from sijo.files.tables import RowBlock

DIGEST_BYTES = 32
CHUNKS = "chunk-" + 8 * "[0-9]"


class OutputJob(ResumableFolder):
    """The one way to an output file: `write` each block that is not `done`, then `finish`.

    output     the file to be, its format told by its suffix; a link is followed
    settings   whatever decides the answers, as JSON can say it
    resume     go on where an earlier run with the same settings stopped, or start
    overwrite  start over, and at the end replace an output that is there; a run that was begun
               so may still do so when it is resumed

    Everything is checked, and the folder locked, at once, so before a text is read.
    Raises SettingError when the output cannot be or may not be written, when an unfinished run
    is in the way or at work, or when a resumed run has other settings.
    """

    complete = False
    """A resumed run found the output finished: there is nothing to do."""

    def __init__(
        self, output: str | Path, *, settings: Mapping[str, object], resume: bool, overwrite: bool
    ) -> None:
        if resume and overwrite:
            raise SettingError("--resume goes on with a run and --overwrite starts it over; pass one of them")
        self.format = format_of(output)
        self.output = Path(os.path.realpath(output))
        super().__init__(self.output.with_name(f".{self.output.name}.sijo-run"), results=CHUNKS)
        if self.output.exists() and not self.output.is_file():
            raise SettingError(f"output {self.output} is no file; name a file")
        if self.output.exists() and not (resume or overwrite):
            raise SettingError(f"output {self.output} exists; pass --overwrite to replace it, or name another")
        self._overwrite = overwrite
        try:
            self.lock()
            self._begin(json.loads(json.dumps(settings, default=str)), resume)
        except BaseException:
            self.close()
            raise

    def _begin(self, settings: dict[str, Any], resume: bool) -> None:
        (self.folder / "whole").unlink(missing_ok=True)
        earlier = self.begun_with()
        if earlier and not (resume or self._overwrite):
            raise SettingError(
                f"an unfinished run for {self.output} is in {self.folder}; "
                "--resume goes on with it, --overwrite starts over"
            )
        if resume and self.output.exists():
            if not earlier or self._placed():
                self.complete = True
                self.remove()
                return
            if not earlier["overwrite"]:
                raise SettingError(
                    f"output {self.output} was made by someone else while this run stood still; "
                    "move it away, then --resume"
                )
        self._overwrite = self.begin(settings, work="run", resume=resume, overwrite=self._overwrite)

    def done(self, block: RowBlock) -> bool:
        """Whether the answers for this block are on disk, whole.

        Raises TextError when they are, but for other rows than these.
        """
        kept = self._read(block.number)
        if kept is not None and kept[0] != _digest(block):
            raise TextError(
                f"rows {block.first_row + 1} to {block.first_row + len(block.texts)} of the input have "
                "changed since the run began; put them back, or start over with --overwrite"
            )
        return kept is not None

    def write(self, block: RowBlock, added: pa.Table) -> None:
        """Keep the answers for a block: on disk, whole, when this returns.

        added  our columns, a row for each of the block's

        Raises OSError when the disk is full or fails; all earlier blocks stay.
        """
        assert self.begun and len(block.texts) == block.columns.num_rows == added.num_rows
        about = {"input": _digest(block), "kind": block.kind}
        buffer = pa.BufferOutputStream()
        for table in (block.columns, added.replace_schema_metadata(about)):
            with pa.ipc.new_stream(buffer, table.schema) as part:
                part.write_table(table)
        content = buffer.getvalue()
        with whole_file(self._chunk(block.number)) as out:
            out.write(blake2b(content, digest_size=DIGEST_BYTES).digest())
            out.write(content)

    def finish(self, blocks: int) -> None:
        """Write the output from blocks 0 up to `blocks`, put it in its place, and clear up.

        Raises TextError when the run has answers for more blocks than the input now holds, and
        OSError when the disk is full or fails; all blocks stay, so a resumed run comes here again.
        """
        assert self.begun
        last = max((int(path.name[-8:]) for path in self.folder.glob(CHUNKS)), default=-1)
        if last >= blocks:
            raise TextError(
                "the input has become shorter since the run began; put the rows back, "
                "or start over with --overwrite"
            )
        plan = ColumnPlan.of(self._pieces(blocks))
        whole = self.folder / "whole"
        with whole_file(whole) as out, closing(WRITERS[self.format](out, plan)) as writer:
            for piece in self._pieces(blocks):
                writer.write(piece)
        if self.output.exists() and not self._overwrite:
            raise SettingError(
                f"output {self.output} was made by someone else during the run; move it away, then --resume"
            )
        self.write_file("placed.json", json.dumps(_identity(whole)).encode())
        whole.replace(self.output)
        sync(self.output.parent)
        self.remove()

    def _chunk(self, number: int) -> Path:
        return self.folder / f"chunk-{number:08}"

    def _read(self, number: int) -> tuple[str, OutputRows] | None:
        """The digest of a block's input, and its rows; None when they are not there or damaged."""
        file = present(self.folder, self._chunk(number).name)
        if file is None:
            return None
        raw = file.read_bytes(sys.maxsize)
        content = memoryview(raw)[DIGEST_BYTES:]
        if blake2b(content, digest_size=DIGEST_BYTES).digest() != raw[:DIGEST_BYTES]:
            return None
        source = pa.BufferReader(content)
        columns, added = (pa.ipc.open_stream(source).read_all() for _ in range(2))
        about = added.schema.metadata
        return about[b"input"].decode(), OutputRows(columns, added, about[b"kind"].decode())

    def _pieces(self, blocks: int) -> Iterator[OutputRows]:
        for number in range(blocks):
            block = self._read(number)
            if block is None:
                raise SettingError(f"block {number} is missing or damaged in {self.folder}; --resume does it again")
            yield block[1]

    def _placed(self) -> bool:
        """Whether the output is this run's own."""
        file = present(self.folder, "placed.json")
        return file is not None and read_json(file) == _identity(self.output)


def _identity(path: Path) -> list[int]:
    """What a rename leaves as it is, and no other file shares."""
    about = path.stat()
    return [about.st_ino, about.st_size, about.st_mtime_ns]


def _digest(block: RowBlock) -> str:
    """What a block holds, in 32 bytes: by its values, since Arrow's own bytes may differ for the same."""
    schema = [(field.name, str(field.type)) for field in block.columns.schema]
    columns = [values(column, finite=False) for column in block.columns.columns]
    content = json.dumps([block.kind, block.first_row, block.texts, schema, columns])
    return blake2b(content.encode(), digest_size=DIGEST_BYTES).hexdigest()
