"""`sijo classify`: a table in, the same table with labels out."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from rich.table import Column, Table
from rich.text import Text

from sijo.app.compare import comparing, digest_of
from sijo.app.options import BackendName, PrecisionName, call_with
from sijo.app.progress import RowProgress
from sijo.app.results import print_shown
from sijo.app.table_job import InputFormat, TableJob, TableOptions, answering, check_output, in_words, speed_of
from sijo.errors import SettingError, SijoError, TextError, warn
from sijo.names import NameCells
from sijo.texts import printable
from sijo.version import __version__
from sijo.zeroshot.label_files import read_labels
from sijo.zeroshot.labels import Labels, LabelSet
from sijo.zeroshot.scorers.registry import SCORERS

if TYPE_CHECKING:
    import pyarrow as pa

    from sijo.files.tables import RowBlock, TextTable
    from sijo.zeroshot.labeller import Labeller, LabelPrediction

    ScorerName = str
else:
    ScorerName = Literal["auto", *SCORERS]

NO_LABELS = (
    "say what to choose from with one of --labels, --labels-file and --labels-column, "
    'as in --labels "business,sport,tech"; only a model that was trained on labels has its own'
)
SCORER_HELP = f"How labels are scored: {', '.join(row.help for row in SCORERS.values())}, or as suits the model."


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class LabelSettings(TableOptions):
    """What to choose from, and the model that chooses: the same for every command that labels."""

    labels: str | None = None
    """What to choose from, as "business,sport,tech"; a label that holds a comma stands in double quotes. A model
    that was trained on labels needs none: it chooses among all of its own."""
    labels_file: Path | None = None
    """Labels from a file: .txt (one a line), .csv (label,description) or .json."""
    labels_separator: str | None = None
    """What stands between labels, in --labels and in cells: semicolons by default, or commas where are none."""
    model: str | None = None
    """A model folder or org/name; without it the built-in sentence encoder."""
    revision: str | None = None
    """Branch, tag or commit of an org/name model."""
    base: str | None = None
    """The model of a LoRA adapter: a folder or org/name, where --model holds the adapter alone."""
    scorer: Annotated[ScorerName, Parameter(help=SCORER_HELP)] = "auto"
    entailment_column: str | None = None
    """The column of the model's head that says entailment, by name or number; its config tells by default."""
    contradiction_column: str | None = None
    """The column that says the opposite, likewise."""
    none_label: str | None = None
    """A name for "none of these", which may then win."""
    none_threshold: float | None = None
    """The score below which no label fits: a cosine, fitted, or for entailment its logit above its rival's, 0."""
    hypothesis_template: str | None = None
    """The sentence a label is put in; "This is about {}." by default, for entailment "This example is {}."."""
    prompt: str | None = None
    """What stands before texts and labels, for a sentence encoder: the name of one of its prompts, or words such as
    "query: "; "" for nothing. The encoder's own by default."""
    temperature: float | None = None
    """Softmax temperature of the scores; fitted for embeddings, 1 for heads by default."""
    long_text: Literal["windows", "truncate"] | None = None
    """Read a text longer than the model in windows (the default), or only its start (entailment always does)."""
    cache: Path | None = None
    """A folder that keeps what the model gave, so that other labels on the same texts cost only what is new."""
    backend: BackendName = "auto"
    """What runs the network. auto: onnx where the folder holds an ONNX file of the asked precision and the
    processor runs it, else torch."""
    device: str = "auto"
    """Where it computes: cpu, cuda, cuda:N or mps; auto takes the first GPU there is, else the processor."""
    precision: PrecisionName = "exact"
    """What it computes in; exact is float32. auto tries int8 and bf16, where the processor has them, on the first
    texts, and takes the first that decides as float32 does in 99 of 100 cases."""
    dtype: Annotated[Literal["float32", "bfloat16", "float16"] | None, Parameter(show=False)] = None
    """The old name of --precision, kept for one release."""
    input_format: InputFormat | None = None
    """What the input holds; told from its suffix by default, and for a pipe and .txt from the first lines: text
    (one a line) where these are not sure to be something else."""
    delimiter: str | None = None
    """Between the fields of a CSV: a comma by default, a tab in .tsv."""
    no_header: bool = False
    """Line 1 of a CSV is a row: its columns are then column_1, column_2, …, and a number names one."""
    quiet: Annotated[bool, Parameter(alias="-q")] = False
    """No progress and no summary."""

    def label_set(self) -> LabelSet | None:
        """The labels given by --labels or --labels-file; None when neither was."""
        if self.labels is not None and self.labels_file is not None:
            raise SettingError("--labels and --labels-file both say what to choose from; pass one of them")
        if self.labels_file is not None:
            return read_labels(self.labels_file)
        return None if self.labels is None else LabelSet.parse(self.labels, self.labels_separator)

    def opened(
        self,
        labels: LabelSet | None,
        first: Callable[["Labeller"], tuple[Sequence[str], Sequence[Labels] | None]],
        *,
        otherwise: Sequence[str] | None = None,
    ) -> "Labeller":
        """What labels texts by these settings; bad labels are refused before its model is opened.

        first      gives the first texts, and their labels where they bring their own; asked by --precision auto
        otherwise  the labels where none are given, unless the model was trained on its own
        """
        from sijo.inference.precision import named_precision
        from sijo.zeroshot.automatic import automatic

        precision = named_precision(self.precision, self.dtype)
        open_with = partial(self.opened_in, labels=labels, otherwise=otherwise)
        if precision != "auto":
            return open_with(precision)
        exact = open_with("exact")
        labeller, choice = automatic(
            lambda name: exact if name == "exact" else open_with(name),
            *first(exact),
            backend=self.backend,
            device=self.device,
        )
        self.say(f"precision {choice}")
        return labeller

    def opened_in(
        self, precision: str, labels: LabelSet | None, otherwise: Sequence[str] | None = None
    ) -> "Labeller":
        """What labels texts in that precision; `labels` and `otherwise` as for `opened`."""
        from sijo.zeroshot.labeller import LabelChoice, Labeller
        from sijo.zeroshot.scorers.open import open_scorer

        choice = call_with(LabelChoice, self, template=self.hypothesis_template)
        if labels is not None:
            choice.check(labels)
        scorer = call_with(
            open_scorer,
            self,
            name=self.scorer,
            precision=precision,
            entailment_column=self.entailment_column,
            contradiction_column=self.contradiction_column,
        )
        if scorer.caution is not None:
            warn(scorer.caution)
        if labels is None and otherwise is not None and scorer.known is None:
            labels = LabelSet.of(otherwise)
        return Labeller(scorer, choice, labels)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ClassifySettings(LabelSettings):
    """How rows are labelled, and where the answers go."""

    column: str | None = None
    """The column with the text: "text", or the only one, by default."""
    labels_column: str | None = None
    """A column that holds each row's own labels, as a list or with semicolons or commas between."""
    multi_label: bool | None = None
    """Judge each label by itself, so that several or none may fit; a model that was trained to does so unasked."""
    threshold: float = 0.5
    """With --multi-label: the probability from which a label is given."""
    output: Annotated[Path | None, Parameter(alias="-o")] = None
    """A .csv, .jsonl or .parquet to write; it appears whole or not at all."""
    format: Literal["table", "jsonl", "csv"] | None = None
    """How to print without --output: table at a terminal, jsonl in a pipe."""
    compare: Path | None = None
    """An earlier output for the same rows: rows with another label than there are told, with the reason, and get
    moved_from and moved_why. With --output they are printed too."""
    all_scores: bool = False
    """Add label_scores: the probability of every label."""
    workers: int = 1
    """Processes that share the rows where one does not fill the machine; each takes its share of the threads, and
    the answers are the same."""
    resume: bool = False
    """Go on with a run that was stopped: same input, labels and output."""
    overwrite: bool = False
    """Replace an output, or an unfinished run, that is there."""

    @cached_property
    def cells(self) -> NameCells:
        """Reads the cells of --labels-column."""
        return NameCells(self.labels_separator)


def _first(
    table: "TextTable", settings: ClassifySettings, labeller: "Labeller"
) -> tuple[Sequence[str], Sequence[Labels] | None]:
    """The first texts, with their labels where each row brings its own."""
    from sijo.inference.precision import FIRST_TEXTS

    block, column = table.first_block(FIRST_TEXTS), settings.labels_column
    own = (
        None if column is None else list(_own_labels(block, column, labeller, NameCells(settings.labels_separator)))
    )
    return block.texts, own


def _counted(rows: Sequence["LabelPrediction"]) -> Counter[str]:
    """What the summary tells of some rows."""
    return Counter(
        rows=len(rows),
        empty=sum(row.tokens == 0 for row in rows),
        windowed=sum(row.windows > 1 for row in rows),
        truncated=sum(row.truncated for row in rows),
    )


def _notes(counts: Counter[str], labeller: "Labeller") -> Iterator[str]:
    """What a person should know beside the number of rows."""
    tokenizer = labeller.scorer.engine.model.tokenizer
    limit = tokenizer.max_length - tokenizer.special_tokens
    if counts["empty"]:
        yield f"rows without text: {counts['empty']:,}"
    if counts["windowed"]:
        yield f"texts longer than the model's {limit} tokens, read in windows: {counts['windowed']:,}"
    if counts["truncated"]:
        how = f"at the model's {limit} tokens, as --long-text truncate asks"
        if labeller.scorer.reads_pairs:
            how = f"to fit the model's {tokenizer.max_length} tokens together with a label's sentence"
        yield f"texts cut {how}: {counts['truncated']:,}"


def run(source: str, settings: ClassifySettings) -> None:
    """Label the rows of `source` as the settings say, to a file or to standard output."""
    labels = settings.label_set()
    if (settings.labels_column is None) == (labels is None) and (labels is not None or settings.model is None):
        raise SettingError(NO_LABELS)
    if settings.output is not None and settings.format is not None:
        raise SettingError("--format is about printing; with --output the file's suffix says its format")
    table = settings.table(source, settings.column)
    call_with(check_output, settings)
    labeller = settings.opened(labels, partial(_first, table, settings))
    if labeller.labels is None and settings.labels_column is None:
        raise SettingError(NO_LABELS)  # not even the model says what to choose from
    write = _to_stdout if settings.output is None else _to_file
    write(table, labeller, settings)


@contextmanager
def _job(
    table: "TextTable", labeller: "Labeller", settings: ClassifySettings
) -> Iterator[TableJob[list["LabelPrediction"]]]:
    """The work that is to be done, and the processes that do it."""
    from sijo.inference.precision import named_precision

    asked = named_precision(settings.precision, settings.dtype)
    settled: Any = labeller.scorer.engine.backend.precision if asked == "auto" else asked
    taken = replace(settings, precision=settled, dtype=None)
    with answering(_answers(labeller, settings), partial(_opened, taken), settings.workers) as answered:
        work = TableJob(
            table=table,
            rows=labeller.scorer.rows,
            answered=answered,
            columns=lambda rows: _answer_columns(rows, labeller, settings),
            counted=_counted,
        )
        if settings.compare is None:
            yield work
            return
        shown = settings.format or ("table" if sys.stdout.isatty() else "jsonl")
        with comparing(
            work,
            settings.compare,
            _run_settings(table, labeller, settings),
            multi_label=bool(labeller.choice.multi_label),
            shows=settings.output is not None or shown == "table",
            as_table=shown == "table",
        ) as compared:
            yield compared


def _opened(settings: ClassifySettings) -> Callable[["RowBlock"], list["LabelPrediction"]]:
    """What answers a block, in a process of its own, in the precision that was taken."""
    return _answers(settings.opened_in(settings.precision, settings.label_set()), settings)


def _answers(labeller: "Labeller", settings: ClassifySettings) -> Callable[["RowBlock"], list["LabelPrediction"]]:
    return lambda block: _rows(block, labeller, settings)


def _to_file(table: "TextTable", labeller: "Labeller", settings: ClassifySettings) -> None:
    from sijo.files.output_job import OutputJob

    with (
        call_with(OutputJob, settings, settings=_run_settings(table, labeller, settings)) as job,
        RowProgress(shown=not settings.quiet) as progress,
    ):
        if job.finished:
            job.confirm(table.blocks(rows=labeller.scorer.rows))
            settings.say(f"{settings.output} is complete already")
            return
        how = "in place of --overwrite " if settings.overwrite else ""
        with _job(table, labeller, settings) as work:
            counts = work.to_file(
                job, progress, lambda kept: settings.say(f"{kept}; the same command with --resume {how}goes on")
            )
    rows = in_words(counts["kept"] + counts["rows"])
    _summary(counts, labeller, settings, progress, f"{rows} in {settings.output}")


def _to_stdout(table: "TextTable", labeller: "Labeller", settings: ClassifySettings) -> None:
    format = settings.format or ("table" if sys.stdout.isatty() else "jsonl")
    with (
        _job(table, labeller, settings) as work,
        RowProgress(shown=not settings.quiet, bar=not sys.stdout.isatty()) as progress,
    ):
        if format == "table":
            counts: Counter[str] = Counter()
            for block, rows in work.each(progress, counts):
                _print_table(block.texts, rows, first=block.number == 0)
        else:
            counts = work.to_stream(format, progress)
    _summary(counts, labeller, settings, progress, in_words(counts["rows"]))


def _rows(block: "RowBlock", labeller: "Labeller", settings: ClassifySettings) -> list["LabelPrediction"]:
    """The answers for a block."""
    from sijo.inference.outputs import NotFiniteError

    column = settings.labels_column
    own = None if column is None else _own_labels(block, column, labeller, settings.cells)
    try:
        return list(labeller.stream(block.texts, own))
    except NotFiniteError as error:
        raise error.after(block.first_row, "row") from None


def _own_labels(block: "RowBlock", column: str, labeller: "Labeller", cells: NameCells) -> Iterator[list[str]]:
    """Each row's own labels, from a column of lists or of names in a text."""
    for place, value in enumerate(block.values(column)):
        try:
            labels = LabelSet.of(cells.parts(value))  # type: ignore[arg-type] # which refuses what is no name
            labeller.check(labels)
        except SijoError as error:
            raise TextError(f"row {block.first_row + place + 1}, column {column!r}: {error}") from None
        yield list(labels.names)
    if (caution := cells.caution()) is not None:
        warn(f"column {column!r}: {caution}")


def _answer_columns(
    rows: Sequence["LabelPrediction"], labeller: "Labeller", settings: ClassifySettings
) -> "pa.Table":
    """The columns that are added to some rows."""
    import pyarrow as pa

    columns: dict[str, pa.Array] = {}
    if labeller.choice.multi_label:
        columns["labels"] = pa.array([row.fitting for row in rows], pa.list_(pa.string()))
        columns["scores"] = pa.array([row.fitting_scores for row in rows], pa.list_(pa.float64()))
    else:
        columns["label"] = pa.array([row.label for row in rows], pa.string())
        columns["score"] = pa.array([row.score if row.tokens else None for row in rows], pa.float64())
        if labeller.labels is not None and any(label.within for label in labeller.labels.labels):
            columns["path"] = pa.array([row.path or row.fitting for row in rows], pa.list_(pa.string()))
    if settings.all_scores:
        pairs = [list(zip(row.labels, row.scores, strict=True)) for row in rows]
        columns["label_scores"] = pa.array(pairs, pa.map_(pa.string(), pa.float64()))
    columns["tokens"] = pa.array([row.tokens for row in rows], pa.int64())
    columns["windows"] = pa.array([row.windows for row in rows], pa.int64())
    columns["truncated"] = pa.array([row.truncated for row in rows], pa.bool_())
    return pa.table(columns)


def _run_settings(table: "TextTable", labeller: "Labeller", settings: ClassifySettings) -> dict[str, object]:
    """Everything that decides the answers, but the rows: a resumed run must have the same."""
    calibration, scorer, labels = labeller.calibration, labeller.scorer, labeller.labels
    return {
        "sijo": __version__,
        **table.settings,
        "labels": None,
        **({} if labels is None else labels.record),
        "labels_column": settings.labels_column,
        "labels_separator": settings.labels_separator,
        "scorer": scorer.name,
        "backend": scorer.engine.backend.name,
        "precision": scorer.engine.backend.precision,
        "device": scorer.engine.backend.device.partition(":")[0],
        "hypothesis_template": settings.hypothesis_template,
        "none_label": settings.none_label,
        "none_score": calibration.none_score,
        "temperature": calibration.temperature,
        "multi_label": labeller.choice.multi_label,
        "threshold": settings.threshold,
        **scorer.settings,
        "all_scores": settings.all_scores,
        **({} if settings.compare is None else {"compare": digest_of(settings.compare)}),
        "model": scorer.engine.backend.fingerprint,  # last, for what is part of it is told by name before
    }


def _print_table(texts: Sequence[str], rows: Sequence["LabelPrediction"], *, first: bool) -> None:
    """A line for each row: label, probability, and as much of the text as fits."""
    label, score = Column("label", style="bold", max_width=32), Column("score", justify="right", style="cyan")
    text_column = Column("text", no_wrap=True, overflow="ellipsis", ratio=1)
    table = Table(label, score, text_column, box=None, pad_edge=False, show_header=first)
    for text, row in zip(texts, rows, strict=True):
        table.add_row(
            Text(printable(", ".join(row.fitting)) or "–"),
            f"{row.score:.2f}" if row.tokens else "–",
            Text(printable(text)),
        )
    print_shown(table)


def _summary(
    counts: Counter[str], labeller: "Labeller", settings: ClassifySettings, progress: RowProgress, what: str
) -> None:
    settings.say(what + speed_of(counts, progress))
    for note in _notes(counts, labeller):
        settings.say(note)
