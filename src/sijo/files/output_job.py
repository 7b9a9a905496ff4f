"""A long run that a crash cannot harm: finished blocks stay on disk until the output is whole.

Beside the output, say `answers.csv`, stands the run's folder, `.answers.csv.sijo-run`:

    lock            held by the one process at work here
    settings.json   what decides the answers; a resumed run must have the same
    chunk-00000007  block 7, its columns and answers, behind a digest of the file's own bytes
    whole           the output, complete but not yet in its place
    identity        what that was made of: settings, digests of the input and of the output

When the output is in its place, the identity stays beside it as `.answers.csv.sijo-id`. By it a run that
finds the output there knows whether it is what this run would make, and refuses what is anything else.

Every file is written under another name, brought to disk and renamed, so each is whole or not
there. `kill -9` at any instant therefore loses no more than the blocks at work; the output appears
by one rename at the end, and only then does the folder go. How rows look in a file belongs to
`row_writers.py`; where blocks come from, to `tables.py`.
"""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, suppress
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Any

import pyarrow as pa

from sijo.errors import CheckpointError, RefusedError, SettingError, TextError
from sijo.files.atomic import sync, whole_file
from sijo.files.json_files import LONGEST_JSON, parse_json, sayable
from sijo.files.paths import FolderFile, present
from sijo.files.resumable import ResumableFolder, differences
from sijo.files.row_writers import WRITERS, ColumnPlan, OutputRows, format_of, must_fit
from sijo.files.system import is_ours_or_systems
from sijo.files.tables import RowBlock
from sijo.files.writing.cells import values

DIGEST_BYTES = 32
CHUNKS = "chunk-" + 8 * "[0-9]"
IDENTITY, BESIDE = "identity", "identity-beside"
IDENTITY_FIELDS = {"settings": dict, "rows": int, "input": str, "output": str}


class OutputJob(ResumableFolder):
    """The one way to an output file: `write` each block that is not `done`, then `finish`.

    output     the file to be, its format told by its suffix; a link is followed, unless it is another user's
    settings   whatever decides the answers, as JSON can say it
    resume     go on where an earlier run with the same settings stopped, or start
    arrays     whether what is written holds vectors, which may go to a .npy alone
    overwrite  start over, and at the end replace an output that is there; a run that was begun
               so may still do so when it is resumed
    spreadsheet_safe  let no spreadsheet take a text for a formula: as `RowWriter` has it

    Everything is checked, and the folder locked, at once, so before a text is read.
    Raises SettingError when the output cannot be or may not be written, when an unfinished run
    is in the way or at work, when a resumed run has other settings, or when it finds an output that is not,
    to the byte, what a run with these settings left.
    """

    finished = False
    """A resumed run found the output that a run with its settings left; `confirm` tells whether of its input."""

    def __init__(
        self,
        output: str | Path,
        *,
        settings: Mapping[str, object],
        resume: bool,
        overwrite: bool,
        arrays: bool = False,
        spreadsheet_safe: bool = False,
    ) -> None:
        if resume and overwrite:
            raise SettingError("--resume goes on with a run and --overwrite starts it over; pass one of them")
        self.format = format_of(output, arrays=arrays, spreadsheet_safe=spreadsheet_safe)
        self._layout = {"spreadsheet_safe": True} if spreadsheet_safe else {}
        link = Path(output)
        if link.is_symlink() and not is_ours_or_systems(link.lstat().st_uid):
            raise SettingError(f"output {link} is a link that another user made; name the file itself, or another")
        self.output = Path(os.path.realpath(output))
        self.identity = self.output.with_name(f".{self.output.name}.sijo-id")
        super().__init__(self.output.with_name(f".{self.output.name}.sijo-run"), results=CHUNKS)
        if self.output.exists() and not self.output.is_file():
            raise SettingError(f"output {self.output} is no file; name a file")
        if self.output.exists() and not (resume or overwrite):
            raise SettingError(f"output {self.output} exists; pass --overwrite to replace it, or name another")
        self._overwrite = overwrite
        try:
            self.lock()
            self._begin(json.loads(json.dumps(sayable({**settings, **self._layout}), default=str)), resume)
        except BaseException:
            self.close()
            raise

    def _begin(self, settings: dict[str, Any], resume: bool) -> None:
        if self.identity.is_dir() and not self.identity.is_symlink():
            raise SettingError(f"{self.identity} is a folder, where sijo keeps a file of its own; remove it")
        earlier = self.begun_with()
        if earlier and not (resume or self._overwrite):
            raise SettingError(
                f"an unfinished run for {self.output} is in {self.folder}; "
                "--resume goes on with it, --overwrite starts over"
            )
        if resume and self.output.exists():
            made = _read_identity(self.folder / IDENTITY if earlier else self.identity)
            if made is not None and made["output"] == content_digest(self.output):
                self._must_be_made_with(made, settings)
                self.finished, self._made = True, made
                return
            if earlier is None or not earlier["overwrite"]:
                raise SettingError(f"output {self.output} {self._stranger(made, begun=earlier is not None)}")
        (self.folder / "whole").unlink(missing_ok=True)
        self._overwrite = self.begin(settings, work="run", resume=resume, overwrite=self._overwrite)
        self._settings = settings

    def _must_be_made_with(self, made: Mapping[str, Any], settings: dict[str, Any]) -> None:
        if different := differences(made["settings"], settings):
            raise SettingError(
                f"output {self.output} was made with {different[0]}; --overwrite makes it anew, or name another "
                "output"
            )

    def _stranger(self, made: Mapping[str, Any] | None, *, begun: bool) -> str:
        """What is said of an output that no run with these settings is known to have left."""
        if begun:
            return "was made by someone else while this run stood still; move it away, then --resume"
        if made is None:
            return (
                f"has no {self.identity.name} beside it that can be read, so nobody knows what it was made of; "
                "replace it by --overwrite, or name another output"
            )
        return (
            "has been changed since it was made, or is another file; put it back, replace it by --overwrite, or "
            "name another output"
        )

    def confirm(self, blocks: Iterable[RowBlock]) -> None:
        """Read all blocks of the input, make sure that a finished output was made of them, and clear up.

        Raises TextError when it was made of others; nothing is touched then.
        """
        assert self.finished
        digests, rows = blake2b(digest_size=DIGEST_BYTES), 0
        for block in blocks:
            digests.update(_digest(block).encode())
            rows += len(block.texts)
        if self._made["input"] != digests.hexdigest():
            raise TextError(
                f"the input has changed since output {self.output} was made of it ({self._made['rows']:,} rows "
                f"then, {rows:,} now); put it back, make the output anew by --overwrite, or name another"
            )
        if (self.folder / IDENTITY).exists():  # the run ended before this
            self._copy_identity(mode_of=self.output)
            self._leave_identity()
        else:
            self.remove()

    def must_fit(self, blocks: Iterable[RowBlock]) -> None:
        """Raise SettingError where the output's format has no room for a row, before a model is asked about it."""
        if self.format == "xlsx":
            for block in blocks:
                self._must_fit(block, pa.table({}))

    def _must_fit(self, block: RowBlock, added: pa.Table) -> None:
        try:
            must_fit(self.format, OutputRows(block.columns, added, block.kind), block.first_row)
        except SettingError as error:
            if next(self.folder.glob(CHUNKS), None) is None:
                raise
            other = f".{self.output.stem}.csv.sijo-run"
            raise SettingError(
                f"{error}: rows that are done go along where {self.folder} is renamed to {other}, and "
                f"{self.output.stem}.csv is made with --resume"
            ) from None

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

        Raises OSError when the disk is full or fails, and SettingError where the output's format has no room for
        the rows; all earlier blocks stay.
        """
        assert self.begun and len(block.texts) == block.columns.num_rows == added.num_rows
        self._must_fit(block, added)
        about = {"input": _digest(block), "kind": block.kind}
        buffer = pa.BufferOutputStream()
        for table in (block.columns, added.replace_schema_metadata(about)):
            with pa.ipc.new_stream(buffer, table.schema) as part:
                part.write_table(table)
        content = buffer.getvalue()
        with whole_file(self._chunk(block.number), private=True) as out:
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
        plan = ColumnPlan.of(piece for _, piece in self._kept(blocks))
        whole = self.folder / "whole"
        digests, rows = blake2b(digest_size=DIGEST_BYTES), 0
        with (
            whole_file(whole, mode_of=self.output) as out,
            closing(WRITERS[self.format](out, plan, scratch=self.folder, **self._layout)) as writer,
        ):
            for digest, piece in self._kept(blocks):
                writer.write(piece)
                digests.update(digest.encode())
                rows += piece.added.num_rows
        if self.output.exists() and not self._overwrite:
            raise SettingError(
                f"output {self.output} was made by someone else during the run; move it away, then --resume"
            )
        identity = {"settings": self._settings, "rows": rows, "input": digests.hexdigest()}
        self.write_file(IDENTITY, json.dumps(identity | {"output": content_digest(whole)}).encode())
        self._copy_identity(mode_of=whole)  # a full disk fails now, not when the output is in its place
        whole.replace(self.output)
        sync(self.output.parent)
        self._leave_identity()

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

    def _kept(self, blocks: int) -> Iterator[tuple[str, OutputRows]]:
        """The digest of the input, and the rows, of each block."""
        for number in range(blocks):
            block = self._read(number)
            if block is None:
                raise SettingError(f"block {number} is missing or damaged in {self.folder}; --resume does it again")
            yield block

    def _copy_identity(self, *, mode_of: Path) -> None:
        with whole_file(self.folder / BESIDE, mode_of=mode_of) as out:
            out.write(FolderFile(self.folder, IDENTITY).read_bytes(LONGEST_JSON))

    def _leave_identity(self) -> None:
        """Put the copy of the identity beside the output; by the run's own it knows that it had come so far."""
        (self.folder / BESIDE).replace(self.identity)
        sync(self.output.parent)
        self.remove()


def made_with(output: Path) -> dict[str, Any] | None:
    """The settings of the run that left a finished output; None where nobody knows, or it has been changed since.

    >>> made_with(Path("nowhere.csv")) is None
    True
    """
    made = _read_identity(output.with_name(f".{output.name}.sijo-id"))
    if made is None or not output.is_file() or made["output"] != content_digest(output):
        return None
    settings: dict[str, Any] = made["settings"]
    return settings


def _read_identity(path: Path) -> dict[str, Any] | None:
    """What an output was made of; None where that is not said, or damaged."""
    with suppress(ValueError, RefusedError, CheckpointError):
        file = present(path.parent, path.name)
        fields = None if file is None else parse_json(file.read_bytes(LONGEST_JSON))
        if isinstance(fields, dict) and all(isinstance(fields.get(k), kind) for k, kind in IDENTITY_FIELDS.items()):
            return fields
    return None


def content_digest(path: Path) -> str:
    """What tells a file's bytes from any others, in hexadecimal digits.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     _ = (Path(place) / "a").write_text("three short lines")
    ...     len(content_digest(Path(place) / "a"))
    64
    """
    with path.open("rb") as file:
        return file_digest(file, lambda: blake2b(digest_size=DIGEST_BYTES)).hexdigest()


def _digest(block: RowBlock) -> str:
    """What a block holds, in 32 bytes: by its values, since Arrow's own bytes may differ for the same."""
    schema = [(field.name, str(field.type)) for field in block.columns.schema]
    columns = [values(column, finite=False) for column in block.columns.columns]
    content = json.dumps([block.kind, block.first_row, block.texts, schema, columns])
    return blake2b(content.encode(), digest_size=DIGEST_BYTES).hexdigest()
