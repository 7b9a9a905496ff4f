"""A table in, the same table with more columns out: what `classify`, `predict` and `encode` share.

Blocks of rows are answered one after another, here or by several processes, and written in order: to a file, whole
or not at all, by a run that can be resumed; or to standard output as they come.
"""

import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from heapq import heappush, heappushpop
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from sijo.app.again import resuming
from sijo.app.numbers import rows_in_words
from sijo.app.options import ReadingOptions, call_with
from sijo.app.progress import RowProgress
from sijo.app.results import RowFormat, row_format, rows_out, tell
from sijo.errors import SettingError, SijoError

if TYPE_CHECKING:
    import pyarrow as pa

    from sijo.files.inputs.joined_tables import JoinedTables
    from sijo.files.output_job import OutputJob
    from sijo.files.tables import RowBlock, TextTable

COUNTED_BYTES = 16 * 2**20
"""Of the largest file whose rows are counted before they are answered, which then takes a second at most."""
Item = TypeVar("Item")
Answer = TypeVar("Answer")


class TableOptions(ReadingOptions):
    """What the options of a command that reads a table do; where its output goes is a field of its own."""

    output: Path | None = None
    quiet: bool

    def progress(self, sources: Sequence[str]) -> RowProgress:
        """What tells how far the work has come: no bar where a person is typing the texts."""
        return RowProgress(shown=not self.quiet, bar=not _is_typed(sources))

    def table(self, sources: Sequence[str], column: str | None, **reading: Any) -> "TextTable | JoinedTables":
        """The rows of a file, of several or of a pattern, or of standard input, as settings and `reading` say."""
        from sijo.files.inputs.joined_tables import open_tables

        if _is_typed(sources):
            self.say("type or paste texts, one a line; Ctrl-D on a line of its own ends them, and answers follow")
        return open_tables(
            sources or ["-"],
            output=self.output,
            kind=self.input_format,
            column=column,
            **vars(self.reading()),
            **reading,
        )

    @property
    def place(self) -> str | Path | None:
        """Where the answers go; None where they are printed."""
        return self.output

    def say(self, line: str) -> None:
        """Tell a person something beside the results, unless --quiet."""
        if not self.quiet:
            tell(line)

    def sum_up(
        self, counts: Counter[str] | None, progress: RowProgress, notes: Callable[[Counter[str]], Iterable[str]]
    ) -> None:
        """Tell how many rows are done, None where all were before, and what a person should know beside it."""
        if counts is None:
            self.say(f"{self.place} is complete already")
            return
        rows = rows_in_words(counts["kept"] + counts["rows"])
        self.say(rows + ("" if self.place is None else f" in {self.place}") + speed_of(counts, progress))
        for note in notes(counts):
            self.say(note)


def _is_typed(sources: Sequence[str]) -> bool:
    """Whether standard input is a terminal, and the source of texts."""
    return [*sources] in ([], ["-"]) and sys.stdin is not None and sys.stdin.isatty()


def check_output(
    output: Path | None,
    *,
    resume: bool,
    overwrite: bool,
    workers: int,
    arrays: bool = False,
    spreadsheet_safe: bool = False,
    format: RowFormat | None = None,
    parts: str | None = None,
    part_format: str | None = None,
    engine: str | None = None,
) -> None:
    """Raise SettingError for an output or a number of processes that cannot be, before a model is opened.

    arrays       whether there are vectors, which can stand alone in a .npy, and are printed as JSON lines
    format       how rows are printed where there is no output
    parts        the folder of an output in parts, which are of `part_format`
    engine       what holds the workers, if that is not this machine
    """
    if output is not None and format is not None:
        raise SettingError("--format is about printing; with --output the file's suffix says its format")
    if output is None and parts is None and (resume or overwrite):
        raise SettingError("--resume and --overwrite are about a file; name it with --output")
    if output is not None:
        from sijo.files.row_writers import format_of

        format_of(output, arrays=arrays, spreadsheet_safe=spreadsheet_safe)
    elif spreadsheet_safe:
        from sijo.files.row_writers import must_be_for_spreadsheets

        must_be_for_spreadsheets("jsonl" if arrays else row_format(format) if parts is None else str(part_format))
    if workers != 1 and engine is None:
        from sijo.inference.workers import check_workers

        check_workers(workers)


@dataclass(frozen=True, kw_only=True)
class TableJob(Generic[Answer]):
    """The blocks of a table, what answers them, and what is made of the answers."""

    table: "TextTable | JoinedTables"
    rows: int
    """Of a block, at most."""
    answered: Callable[[Iterable["RowBlock"]], Iterator[tuple["RowBlock", Answer]]]
    """Gives each block with its answer, in order."""
    columns: Callable[[Answer], "pa.Table"]
    """The columns that are added to a block."""
    counted: Callable[[Answer], Counter[str]]
    """What is counted of an answer: its `rows`, and whatever a summary tells."""

    def to_file(self, job: "OutputJob", progress: RowProgress, tell_kept: Callable[[str], None]) -> Counter[str]:
        """Answer what is not done yet, and write the output.

        tell_kept  told how many rows are kept where the work ends early, and what the command behind it does

        Returns the counts, with the rows that were done before as `kept`.
        """
        from sijo.files.row_writers import ColumnPlan, OutputRows

        counts: Counter[str] = Counter()
        blocks = 0

        def to_do() -> Iterator["RowBlock"]:
            nonlocal blocks
            for block in self.table.blocks(rows=self.rows):
                blocks += 1
                if job.done(block):
                    counts["kept"] += len(block.texts)
                    progress.keep(len(block.texts), self.table.share())
                else:
                    job.must_fit([block])
                    progress.work(len(block.texts), self.table.share())
                    yield block

        try:
            progress.total = self._total(progress)
            if self.table.rereadable:
                job.must_fit(self.table.blocks(rows=self.rows))
            for block, answer in self.answered(to_do()):
                added = self.columns(answer)
                if block.number == 0:  # a name that is taken is refused now
                    ColumnPlan.of([OutputRows(block.columns, added, block.kind)])
                job.write(block, added)
                counts += self.counted(answer)
                progress.add(len(block.texts), self.table.share())
            job.finish(blocks)
        except BaseException as error:
            if done := counts["kept"] + counts["rows"]:
                tell_kept(f"{rows_in_words(done)} {'is' if done == 1 else 'are'} done and kept; this goes on")
            elif isinstance(error, KeyboardInterrupt):
                tell_kept("nothing is kept yet, since the first block of rows was not done; this begins again")
            raise
        return counts

    def to_stream(
        self, format: Literal["csv", "tsv", "jsonl"], progress: RowProgress, *, spreadsheet_safe: bool = False
    ) -> Counter[str]:
        """Write rows to standard output as their answers come."""
        from sijo.files.row_writers import OutputRows, stream

        counts: Counter[str] = Counter()

        def pieces() -> Iterator[OutputRows]:
            for block, answer in self.each(progress, counts):
                yield OutputRows(block.columns, self.columns(answer), block.kind)

        stream(pieces(), format, rows_out(), spreadsheet_safe=spreadsheet_safe)
        return counts

    def to_stdout(
        self,
        shown: Literal["table", "jsonl", "csv", "tsv"],
        progress: RowProgress,
        print_block: Callable[["RowBlock", Answer], None],
        *,
        spreadsheet_safe: bool,
    ) -> Counter[str]:
        """Print rows as their answers come: in a format, or as a table whose lines `print_block` prints."""
        if shown != "table":
            return self.to_stream(shown, progress, spreadsheet_safe=spreadsheet_safe)
        counts: Counter[str] = Counter()
        for block, answer in self.each(progress, counts):
            print_block(block, answer)
        return counts

    def each(self, progress: RowProgress, counts: Counter[str]) -> Iterator[tuple["RowBlock", Answer]]:
        """Every block with its answer, to be printed; counted once whoever asked for it is done with it."""

        def to_do() -> Iterator["RowBlock"]:
            for block in self.table.blocks(rows=self.rows):
                progress.work(len(block.texts), self.table.share())
                yield block

        try:
            progress.total = self._total(progress)
            for block, answer in self.answered(to_do()):
                if sys.stdout.isatty():
                    progress.hide()
                yield block, answer
                counts.update(self.counted(answer))
                progress.add(len(block.texts), self.table.share())
        except KeyboardInterrupt:
            if counts["rows"]:
                tell(f"{rows_in_words(counts['rows'])} printed; a run with --output FILE goes on with --resume")
            raise

    def _total(self, progress: RowProgress) -> int | None:
        """How many rows there are, where somebody is told and counting takes no time to speak of."""
        if not progress.shown or not self.table.rereadable or self.table.size > COUNTED_BYTES:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are given where the rows are answered
            try:
                return sum(len(block.texts) for block in self.table.blocks())
            except (SijoError, OSError):
                return None  # nor is this an error before its rows are reached


def drawn_texts(table: "TextTable | JoinedTables", count: int) -> Sequence[str]:
    """So many texts drawn at random from a file, always the same; of a pipe, the first. None where they would be
    all that there are."""
    if not table.rereadable:
        texts = table.first_block(count).texts
        return texts if len(texts) == count else []
    drawn: list[tuple[int, int, str]] = []  # a heap of those with the highest draws, the lowest first
    number = 0
    for block in table.blocks():
        for text in block.texts:
            place = (
                int.from_bytes(blake2b(number.to_bytes(8, "big"), digest_size=8).digest(), "big"),
                number,
                text,
            )
            if number < count:
                heappush(drawn, place)
            else:
                heappushpop(drawn, place)
            number += 1
    return [text for _, _, text in sorted(drawn, key=lambda one: one[1])] if number > count else []


def write_output(
    settings: TableOptions,
    decisive: Mapping[str, object],
    table: "TextTable | JoinedTables",
    rows: int,
    opened: AbstractContextManager[TableJob[Answer]],
    progress: RowProgress,
    **options: Any,
) -> Counter[str] | None:
    """Write an output, or the rest of it; the counts, and None where it was there already.

    decisive  what decides the answers, but the rows
    rows      of a block, at most
    opened    the work, which is entered where there is any
    options   of `OutputJob`, beside those that the settings have
    """
    from sijo.files.output_job import OutputJob

    with call_with(OutputJob, settings, settings=decisive, **options) as job:
        if job.finished:
            job.confirm(table.blocks(rows=rows))
            return None
        with opened as work:
            return work.to_file(job, progress, lambda kept: settings.say(f"{kept}: {resuming()}"))


def write_or_print(
    settings: TableOptions,
    table: "TextTable | JoinedTables",
    rows: int,
    opened: AbstractContextManager[TableJob[Answer]],
    progress: RowProgress,
    *,
    decisive: Callable[[], Mapping[str, object]],
    print_block: Callable[["RowBlock", Answer], None],
    format: RowFormat | None,
    spreadsheet_safe: bool,
) -> Counter[str] | None:
    """`write_output` where there is an output, else `TableJob.to_stdout`; the counts, as of `write_output`."""
    if settings.output is not None:
        return write_output(settings, decisive(), table, rows, opened, progress)
    with opened as work:
        return work.to_stdout(row_format(format), progress, print_block, spreadsheet_safe=spreadsheet_safe)


@contextmanager
def answering(
    answer: Callable[[Item], Answer],
    opens: Callable[[], Callable[[Item], Answer]],
    workers: int,
) -> Iterator[Callable[[Iterable[Item]], Iterator[tuple[Item, Answer]]]]:
    """What gives blocks, or other items, their answers: this process, or several others.

    answer  answers a block here
    opens   gives the like in another process, so it must be fit for `pickle`
    """
    if workers == 1:
        yield lambda items: ((item, answer(item)) for item in items)
        return
    from sijo.inference.workers import WorkerPool

    with WorkerPool(opens, workers) as pool:
        yield pool.each


def speed_of(counts: Counter[str], progress: RowProgress) -> str:
    """How long it took, where anything was done."""
    return f" ({progress.seconds:.1f} s, {progress.speed})" if counts["rows"] else ""
