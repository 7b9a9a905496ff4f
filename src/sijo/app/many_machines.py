"""Rows that many workers share, on this machine or on others, and an output in parts: of `classify` and
`predict`."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from cyclopts import Group, Parameter

from sijo.app.again import resuming
from sijo.app.numbers import rows_in_words
from sijo.app.progress import RowProgress
from sijo.app.table_job import TableOptions, answering
from sijo.errors import CheckpointError, RefusedError, SettingError, SijoError, TextError

if TYPE_CHECKING:
    from sijo.files.inputs.joined_tables import JoinedTables
    from sijo.files.parts.folder import PartsFolder
    from sijo.files.parts.plan import Added, Asked, Fault, Made
    from sijo.files.tables import TextTable

MANY = Parameter(group=Group("Many machines", sort_key=6))
BY_CODE: dict[int, type[SijoError]] = {
    kind.exit_code: kind for kind in (SettingError, TextError, RefusedError, CheckpointError)
}
"""What an exit code of a worker's error means."""
PART_ROWS = 50_000
MOST_TOLD = 20
"""Inputs that could not be read, of which each is told."""


@dataclass(frozen=True, kw_only=True)
class ManyMachines(TableOptions):
    """Where workers are, and the output that each of them can make a part of."""

    engine: Annotated[Literal["ray"] | None, MANY] = None
    """ray: --workers are on a Ray cluster, whose machines may come and go. Each computes with --threads threads, 1
    by default, for which Ray keeps so many processors. By default they are processes of this machine."""
    ray_address: Annotated[str | None, MANY] = None
    """A cluster that is running, as host:port or auto; by default what RAY_ADDRESS says, else one is started on
    this machine, and ends with the command."""
    parts: Annotated[str | None, MANY] = None
    """In place of --output: a folder, or a URL such as s3://bucket/labelled/, for an output in parts, each of which
    is there whole or not yet; workers read the inputs themselves."""
    part_rows: Annotated[int, MANY] = PART_ROWS
    """With --parts: rows of a part, with which it ends at the next block; what is lost with a worker, at most."""
    part_format: Annotated[Literal["parquet", "jsonl", "csv", "tsv"], MANY] = "parquet"
    """With --parts: what each of them is."""
    workers: int
    threads: int | None
    quiet: bool

    @property
    def threads_each(self) -> int:
        """How many threads compute in each process, which decides bytes."""
        from sijo.inference.threads import thread_count
        from sijo.inference.workers import share_of_threads

        if self.engine == "ray":
            return thread_count(self.threads or 1)
        return share_of_threads(self.workers)

    def check_machines(self, *, whole: Mapping[str, bool]) -> None:
        """Raise SettingError for workers or parts that cannot be.

        whole  what wants one output as a whole, by its option, and whether it is asked for
        """
        if self.engine is None and self.ray_address is not None:
            raise SettingError("--ray-address is about --engine ray; give both, or neither")
        if self.engine == "ray":
            import os

            from sijo.inference.ray_workers import check_ray

            check_ray(self.workers, self.threads_each, self.ray_address or os.environ.get("RAY_ADDRESS") or None)
        if self.parts is None:
            if (self.part_rows, self.part_format) != (PART_ROWS, "parquet"):
                raise SettingError("--part-rows and --part-format are about --parts; name a folder with it")
            return
        if self.part_rows < 1:
            raise SettingError(f"--part-rows {self.part_rows} makes no part; give 1 or more")
        for option, asked in {"--output": self.output is not None, **whole}.items():
            if asked:
                raise SettingError(f"{option} and --parts do not go together; leave one of them out")

    def inputs(
        self, sources: Sequence[str], column: str | None, **reading: Any
    ) -> "tuple[list[str], TextTable | JoinedTables]":
        """The names of the inputs, and their rows; with `parts` the rows of the first alone that can be read."""
        if self.parts is None:
            return [*sources], self.table(sources, column, **reading)
        from sijo.files.inputs.sources import matching

        files = matching(sources)
        if not files or "-" in files:
            raise SettingError("--parts is about files, of which workers read each; name some")
        for file in files:
            try:
                return files, self.table([file], column, **reading)
            except (TextError, OSError):
                if file == files[-1]:
                    raise
        raise AssertionError

    def elsewhere(self, device: str) -> Self:
        """The settings for another machine: on such a device as was taken here, whatever else it has."""
        return replace(self, device=device.partition(":")[0]) if self.engine == "ray" else self  # type: ignore[call-arg]

    @contextmanager
    def answering(
        self, answer: "Callable[[Any], Any]", opens: Callable[[], Callable[[Any], Any]], device: str
    ) -> Iterator[Callable[[Iterable[Any]], Iterator[tuple[Any, Any]]]]:
        """What gives items their answers, in order: this process, others, or workers of a cluster."""
        if self.engine == "ray":
            with self._pool(opens, device) as pool:
                yield pool.each
            return
        with answering(answer, opens, self.workers) as answered:
            yield answered

    def _pool(self, opens: Callable[[], Callable[[Any], Any]], device: str) -> Any:
        from sijo.inference.ray_workers import RayPool

        return RayPool(
            opens,
            self.workers,
            threads=self.threads_each,
            gpus=int(device.startswith("cuda")),
            address=self.ray_address,
            say=self.say,
        )

    def in_parts(
        self,
        files: Sequence[str],
        table: "TextTable | JoinedTables",
        rows: int,
        opens: "Callable[[], Added]",
        added: "Added",
        *,
        decisive: Mapping[str, object],
        device: str,
        progress: RowProgress,
        resume: bool,
        overwrite: bool,
        spreadsheet_safe: bool,
        **reading: Any,
    ) -> Counter[str] | None:
        """Answer the rows of files into `parts`; the counts, and None where all was there before.

        table     of the first file
        rows      of a block, at most
        opens     opens in a worker what `added` does here
        decisive  what decides the answers, but the rows
        reading   how files are read, beside the options

        Raises TextError, or the like, once all others are done, where an input could not be read.
        """
        from sijo.files.parts.folder import PartsFolder
        from sijo.files.parts.plan import PartMaker

        layout = {"spreadsheet_safe": True} if spreadsheet_safe else {}
        how = {"kind": self.input_format, **vars(self.reading()), **reading, "column": table.column}
        made = partial(
            PartMaker, how=how, rows=rows, part_rows=self.part_rows, format=self.part_format, layout=layout
        )
        settings = {**decisive, **layout, "part_rows": self.part_rows, "part_format": self.part_format}
        with PartsFolder(
            str(self.parts), files, settings=settings, format=self.part_format, resume=resume, overwrite=overwrite
        ) as folder:
            if folder.finished:
                return None
            try:
                with self._making(made(lambda: added), partial(_maker, made, opens), device) as making:
                    return PartsJob(folder, making, progress, len(files)).run()
            except BaseException:
                if kept := folder.kept:
                    are = "is" if kept == 1 else "are"
                    done = f"{rows_in_words(kept)} {are} done and kept in {folder.place.name}"
                    self.say(f"{done}; this goes on: {resuming()}")
                raise

    @contextmanager
    def _making(
        self, here: "Callable[[Asked], Made]", opens: "Callable[[], Callable[[Asked], Made]]", device: str
    ) -> "Iterator[Callable[[Iterable[Asked]], Iterator[tuple[Asked, Made]]]]":
        """What makes parts, in whatever order they come."""
        if self.engine != "ray":
            with self.answering(here, opens, device) as answered:
                yield answered
            return
        with self._pool(opens, device) as pool:

            def each(asked: "Iterable[Asked]") -> "Iterator[tuple[Asked, Made]]":
                from sijo.files.parts import plan

                for _, item, reply in pool.replies(PartQueue(asked).take):
                    try:
                        yield item, reply.given()
                    except SijoError as error:
                        yield item, plan.Fault(f"{item.file}: {error}", error.exit_code)

            yield each

    @property
    def place(self) -> str | Path | None:
        """Where the answers go; None where they are printed."""
        return self.parts or self.output


def _maker(
    made: "Callable[..., Callable[[Asked], Made]]", opens: "Callable[[], Added]"
) -> "Callable[[Asked], Made]":
    """What makes parts in a process of its own."""
    return made(opens)


class PartQueue:
    """Parts that wait: whoever comes takes the next of the input it has open, else of one that nobody has, else of
    the one with most left. An input is read by few workers then, and by all of them at the end."""

    def __init__(self, asked: "Iterable[Asked]") -> None:
        self._waiting: dict[int, deque[Asked]] = {}
        for item in asked:
            self._waiting.setdefault(item.place, deque()).append(item)
        self._open: dict[int, int] = {}
        self._count = 0

    def take(self, worker: int) -> "tuple[int, Asked] | None":
        """The next part for a worker, with its number; None where none is left."""
        if not self._waiting:
            return None
        place = self._open.get(worker)
        if place not in self._waiting:
            free = (place for place in self._waiting if place not in self._open.values())
            place = next(free, None)
        if place is None:
            place = max(self._waiting, key=lambda one: len(self._waiting[one]))
        self._open[worker] = place
        item = self._waiting[place].popleft()
        if not self._waiting[place]:
            del self._waiting[place]
        self._count += 1
        return self._count - 1, item


class PartsJob:
    """The inputs of a folder of parts, and what makes the parts.

    making  gives each question with what came of it, in any order
    """

    def __init__(
        self,
        folder: "PartsFolder",
        making: "Callable[[Iterable[Asked]], Iterator[tuple[Asked, Made]]]",
        progress: RowProgress,
        files: int,
    ) -> None:
        self._folder, self._making, self._progress, self._files = folder, making, progress, files
        self._faults: dict[str, tuple[str, int]] = {}

    def run(self) -> Counter[str]:
        """Read all inputs, make all parts that do not stand, and finish; raises where an input could not be
        read."""
        from sijo.files.parts import plan

        folder, progress = self._folder, self._progress
        progress.begin("reading")
        for asked, made in self._making(folder.to_plan()):
            if isinstance(made, plan.Fault):
                self._note(asked, made)
            elif isinstance(asked, plan.FileAsked) and isinstance(made, plan.PlannedInput):
                folder.planned(asked, made)
        counts = Counter[str](kept=folder.kept)
        progress.begin("opening the models")
        progress.skip(folder.kept / max(folder.rows, 1))
        parts = list(folder.to_make())
        for asked, made in self._making(parts) if parts else ():
            if isinstance(made, plan.Fault):
                self._note(asked, made)
            elif isinstance(asked, plan.PartAsked) and isinstance(made, plan.MadePart):
                folder.write(asked, made)
                counts += made.counts
                progress.add(made.counts["rows"], folder.kept / max(folder.rows, 1))
        if self._faults:
            self._raise()
        folder.finish()
        return counts

    def _note(self, asked: "Asked", fault: "Fault") -> None:
        if asked.file not in self._faults and len(self._faults) < MOST_TOLD:
            self._progress.say(fault.sentence)
        self._faults.setdefault(asked.file, (fault.sentence, fault.exit_code))

    def _raise(self) -> None:
        """One error for all inputs that could not be read."""
        (sentence, code), count = next(iter(self._faults.values())), len(self._faults)
        kind = BY_CODE.get(code, SijoError)
        which = f"{count:,} of {self._files:,} inputs are not done, the others are"
        error = kind(f"{which}: {sentence}; once they are mended, --resume does them")
        if code == 74:
            raise OSError(5, str(error))
        raise error
