"""`sijo encode`: a table in, the same table with a vector beside each text out, or the vectors alone."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from sijo.app.options import TEXT_COLUMN, ComputeOptions, call_with
from sijo.app.table_job import TableJob, TableOptions, answering, check_output, write_output
from sijo.version import __version__

if TYPE_CHECKING:
    import pyarrow as pa

    from sijo.files.inputs.joined_tables import JoinedTables
    from sijo.files.tables import RowBlock, TextTable
    from sijo.inference.engine import Engine
    from sijo.inference.outputs import Encoded

ROWS = 2048
"""Of a block, at most."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class EncodeSettings(ComputeOptions, TableOptions):
    """What makes the vectors, and where they go."""

    model: str | None = None
    """A model folder or org/name; without it the built-in sentence encoder."""
    output: Annotated[Path | None, Parameter(alias="-o")] = None
    """A .parquet, .jsonl, .csv, .tsv or .xlsx with every input column and `vector`, or a .npy with the vectors
    alone, an array (rows, D) of float32; it appears whole or not at all."""
    column: Annotated[str | None, TEXT_COLUMN] = None
    """The column with the text: "text", or the only one, by default."""
    prompt: str | None = None
    """What stands before each text: the name of one of the model's prompts, such as query or passage, or words such
    as "query: "; "" for nothing. The model's own by default."""
    dimensions: int | None = None
    """Keep this many of a vector's first numbers, then scale: for models that were trained to be cut (Matryoshka);
    a warning where nothing says so."""
    normalize: Annotated[bool, Parameter(negative="--no-normalize")] = True
    """Scale each vector to length 1, so that a dot product is a cosine."""
    long_text: Literal["windows", "truncate"] = "windows"
    """Read a text longer than the model in windows, whose vectors are averaged by tokens, or only its start."""
    workers: int = 1
    """Processes that share the rows where one does not fill the machine; each takes its share of the threads, and
    the vectors are the same."""
    resume: bool = False
    """Go on with a run that was stopped: same input, settings and output."""
    overwrite: bool = False
    """Replace an output, or an unfinished run, that is there."""
    spreadsheet_safe: bool = False
    """In .csv and .tsv, put an apostrophe before each text that begins with = + - @ or the like, which a
    spreadsheet may take for a formula; in .xlsx, mark it as text. Numbers stay as they are."""
    revision: str | None = None
    """Branch, tag or commit of an org/name model."""
    base: str | None = None
    """The model of a LoRA adapter: a folder or org/name, where --model holds the adapter alone."""
    cache: Path | None = None
    """A folder that keeps vectors between runs: a text that it has seen is not read again."""
    quiet: Annotated[bool, Parameter(alias="-q")] = False
    """No progress and no summary."""

    def opened(self, table: "TextTable | JoinedTables") -> "Engine":
        """The model, ready to read a table, by whose first texts --precision auto is decided."""
        if self.precision != "auto":
            return self.opened_in(self.precision)
        from sijo.inference.encode import automatic_engine
        from sijo.inference.precision import FIRST_TEXTS

        texts = table.first_block(FIRST_TEXTS).texts
        engine, choice = automatic_engine(self.opened_in, texts, backend=self.backend, device=self.device)
        self.say(f"precision {choice}")
        return engine

    def opened_in(self, precision: str) -> "Engine":
        """The model, ready to read in that precision."""
        from sijo.checkpoints.describe import describe
        from sijo.inference.encode import described_engine
        from sijo.inference.vector_cache import VectorCache

        engine = call_with(
            described_engine,
            self,
            described=describe(self.model, self.revision, self.base),
            precision=precision,
            prompt=self.prompt,
            dimensions=self.dimensions,
            long_text=self.long_text,
        )
        if self.cache is not None:
            engine.store = VectorCache(self.cache, fingerprint=f"{self.long_text}-{engine.fingerprint}")
        return engine


def run(sources: Sequence[str], settings: EncodeSettings) -> None:
    """Encode the rows of `sources` as the settings say, to a file or to standard output."""
    settings.take_threads()
    call_with(check_output, settings, arrays=True)
    with settings.progress(sources) as progress:
        table = settings.table(sources, settings.column)
        progress.begin("opening the model")
        engine = settings.opened(table)
        engine.told = progress.within
        progress.begin("reading")
        job = _job(table, engine, settings)
        if settings.output is not None:
            decisive = _run_settings(table, engine, settings)
            counts = write_output(settings, decisive, table, ROWS, job, progress, arrays=True)
        else:
            with job as work:
                counts = work.to_stream("jsonl", progress)
    settings.sum_up(counts, progress, lambda counts: _notes(counts, engine))


@contextmanager
def _job(
    table: "TextTable | JoinedTables", engine: "Engine", settings: EncodeSettings
) -> Iterator[TableJob["Encoded"]]:
    """The work that is to be done, and the processes that do it."""
    precision = engine.backend.precision if settings.precision == "auto" else settings.precision
    taken = replace(settings, precision=precision, threads=None)
    with answering(reader(engine), partial(_opened, taken), settings.workers) as answered:
        yield TableJob(
            table=table,
            rows=ROWS,
            answered=answered,
            columns=lambda encoded: _column(encoded, normalize=settings.normalize),
            counted=_counted,
        )


def _opened(settings: EncodeSettings) -> Callable[["RowBlock"], "Encoded"]:
    """What encodes a block, in a process of its own, in the precision that was taken."""
    return reader(settings.opened_in(settings.precision))


def reader(engine: "Engine") -> Callable[["RowBlock"], "Encoded"]:
    """What encodes a block of rows; warns once where the texts are in a language that the model does not know."""
    from sijo.inference.language import LanguageCheck
    from sijo.inference.outputs import NotFiniteError

    language = LanguageCheck(engine.model)

    def read(block: "RowBlock") -> "Encoded":
        language.look(block.texts)
        try:
            return engine.encode(block.texts)
        except NotFiniteError as error:
            raise error.after(block.first_row, "row") from None

    return read


def _column(encoded: "Encoded", *, normalize: bool) -> "pa.Table":
    """The column that is added to some rows."""
    import numpy as np
    import pyarrow as pa

    from sijo.inference.outputs import unit

    vectors_ND = unit(encoded.vectors) if normalize else encoded.vectors
    numbers = pa.array(np.ascontiguousarray(vectors_ND, np.float32).reshape(-1), pa.float32())
    return pa.table({"vector": pa.FixedSizeListArray.from_arrays(numbers, vectors_ND.shape[1])})


def _counted(encoded: "Encoded") -> Counter[str]:
    """What the summary tells of some rows."""
    return Counter(
        rows=len(encoded),
        empty=int((encoded.tokens == 0).sum()),
        windowed=int((encoded.windows > 1).sum()),
        truncated=int(encoded.truncated.sum()),
    )


def _notes(counts: Counter[str], engine: "Engine") -> Iterator[str]:
    """What a person should know beside the number of rows."""
    limit = engine.model.tokenizer.max_length - engine.model.tokenizer.special_tokens
    if counts["empty"]:
        yield f"rows without text, whose vectors are zeros: {counts['empty']:,}"
    if counts["windowed"]:
        yield f"texts longer than the model's {limit} tokens, read in windows: {counts['windowed']:,}"
    if counts["truncated"]:
        yield f"texts cut at the model's {limit} tokens, as --long-text truncate asks: {counts['truncated']:,}"


def _run_settings(
    table: "TextTable | JoinedTables", engine: "Engine", settings: EncodeSettings
) -> dict[str, object]:
    """Everything that decides the vectors, but the rows: a resumed run must have the same."""
    from sijo.inference.workers import share_of_threads

    return {
        "sijo": __version__,
        **table.settings,
        "backend": engine.backend.name,
        "precision": engine.backend.precision,
        "device": engine.backend.device.partition(":")[0],
        "threads": share_of_threads(settings.workers),
        "prompt": engine.before,
        "dimensions": engine.width,
        "normalize": settings.normalize,
        "long_text": settings.long_text,
        "model": engine.fingerprint,  # last, for what is part of it is told by name before
    }
