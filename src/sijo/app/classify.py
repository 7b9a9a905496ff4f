"""`sijo classify`: a table in, the same table with labels out."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.table import Column
from rich.text import Text

from sijo.app.explaining import shown as explaining
from sijo.app.explaining.options import ExplainOptions
from sijo.app.label_settings import LabelSettings, check_sources
from sijo.app.many_machines import ManyMachines
from sijo.app.options import TEXT_COLUMN, call_with
from sijo.app.prediction.compare import comparing
from sijo.app.results import RowFormat, print_beside_texts, row_format
from sijo.app.table_job import TableJob, check_output, drawn_texts, write_or_print
from sijo.errors import SettingError, SijoError, TextError, warn
from sijo.names import NameCells
from sijo.texts import printable
from sijo.version import __version__
from sijo.zeroshot.labels import Labels, LabelSet

if TYPE_CHECKING:
    import pyarrow as pa

    from sijo.app.progress import RowProgress
    from sijo.files.inputs.joined_tables import JoinedTables
    from sijo.files.parts.plan import Added
    from sijo.files.tables import RowBlock, TextTable
    from sijo.zeroshot.labeller import Labeller, LabelPrediction

NO_LABELS = (
    "say what to choose from with one of --labels, --labels-file and --labels-column, "
    'as in --labels "business,sport,tech"; only a model that was trained on labels has its own'
)
NO_FITTING: dict[str, Any] = {"calibrate": "none", "disagreement": LabelSettings.disagreement} | dict.fromkeys(
    (
        *("calibration", "calibration_sample", "calibration_label_column", "risk", "none_risk"),
        *("cascade", "cascade_sample", "fuse"),
    )
)
"""A dry run fits nothing, which would read other texts, or write a file."""
LABEL_WIDTH, BEST_WIDTH = 32, 48
"""Characters of a label and of the best ones in a line of the printed table, at most."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ClassifySettings(ExplainOptions, LabelSettings, ManyMachines):
    """How rows are labelled, and where the answers go."""

    column: Annotated[str | None, TEXT_COLUMN] = None
    """The column with the text: "text", or the only one, by default."""
    labels_column: str | None = None
    """A column that holds each row's own labels, as a list or with semicolons or commas between."""
    multi_label: bool | None = None
    """Judge each label by itself, so that several or none may fit; a model that was trained to does so unasked."""
    threshold: float = 0.5
    """With --multi-label: the probability from which a label is given."""
    output: Annotated[Path | None, Parameter(alias="-o")] = None
    """A .csv, .tsv, .jsonl, .parquet or .xlsx to write; it appears whole or not at all."""
    format: RowFormat | None = None
    """How to print without --output: table at a terminal, jsonl in a pipe."""
    compare: Path | None = None
    """An earlier output for the same rows: rows with another label than there are told, with the reason, and get
    moved_from and moved_why. With --output they are printed too."""
    all_scores: bool = False
    """Add label_scores: the probability of every label."""
    top_k: int | None = None
    """Add label_1, score_1, label_2, score_2, …: so many of the best labels with their probabilities."""
    workers: int = 1
    """Processes that share the rows where one does not fill the machine; each takes its share of the threads, and
    the answers are the same."""
    dry_run: bool = False
    """Read the input to its end and tell what would be done: rows, tokens, what would be cut, languages, and an
    estimate of time and memory. Nothing is written."""
    resume: bool = False
    """Go on with a run that was stopped: same input, labels and output."""
    overwrite: bool = False
    """Replace an output, or an unfinished run, that is there."""
    spreadsheet_safe: bool = False
    """In .csv and .tsv, put an apostrophe before each text that begins with = + - @ or the like, which a
    spreadsheet may take for a formula; in .xlsx, mark it as text. Numbers stay as they are."""

    @cached_property
    def cells(self) -> NameCells:
        """Reads the cells of --labels-column."""
        return NameCells(self.labels_separator)

    @property
    def needs_all(self) -> bool:
        """Whether anything goes by the scores of all labels."""
        return super().needs_all or self.explains


def _first(
    table: "TextTable | JoinedTables", settings: ClassifySettings, labeller: "Labeller"
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
        abstained=sum(row.abstained for row in rows),
    ) + explaining.counted(rows)


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
    yield from labeller.scorer.notes(counts["kept"] + counts["rows"])
    if labeller.sets is not None:
        yield f"rows without a label at a risk of {labeller.sets.risk:g}: {counts['abstained']:,}"
    yield from explaining.notes(counts)


def run(sources: Sequence[str], settings: ClassifySettings) -> None:
    """Label the rows of `sources` as the settings say, to a file or to standard output."""
    settings.take_threads()
    check_sources(sources, settings.labels)
    labels = settings.label_set()
    if (settings.labels_column is None) == (labels is None) and (labels is not None or settings.model is None):
        raise SettingError(NO_LABELS)
    call_with(check_output, settings)
    settings.check_machines(
        whole={
            "--dry-run": settings.dry_run,
            "--format": settings.format is not None,
            "--compare": settings.compare is not None,
            "--explain-report": settings.explain_report is not None,
        }
    )
    from sijo.zeroshot.labeller import check_top_k

    check_top_k(settings.top_k)
    settings.check_explaining(resume=settings.resume)
    if settings.dry_run:
        settings.check_many_labels()
        if settings.cascade is not None:
            settings.say("a dry run finds no shortlist: the time is that of a model that reads every label")
        settings = replace(settings, cache=None, compare=None, **NO_FITTING)
    with settings.progress(sources) as progress:
        files, table = settings.inputs(sources, settings.column)
        progress.begin("opening the model")
        first = partial(_first, table, settings)
        labeller = settings.opened(
            labels,
            first,
            lambda most: table.first_block(most).texts,
            column=settings.column,
            draw=partial(drawn_texts, table),
        )
        if labeller.labels is None and settings.labels_column is None:
            raise SettingError(NO_LABELS)  # not even the model says what to choose from
        if settings.dry_run:
            from sijo.app.prediction.dry_run import show_classify

            show_classify(table, labeller, _answers(labeller, settings), settings, progress)
            return
        labeller.scorer.engine.told = progress.within
        progress.begin("reading")
        if settings.parts is not None:
            counts = _in_parts(files, table, labeller, settings, progress)
            settings.sum_up(counts, progress, lambda counts: _notes(counts, labeller))
            return
        watched = explaining.ExplainedRows()
        job = _job(table, labeller, settings, watched)
        counts = write_or_print(
            *(settings, table, _block_rows(labeller, settings), job, progress),
            decisive=partial(_run_settings, table, labeller, settings),
            print_block=partial(_print_table, top_k=settings.top_k, why=settings.explains),
            format=settings.format,
            spreadsheet_safe=settings.spreadsheet_safe,
        )
    if settings.explain_report is not None:
        title = ", ".join(Path(source).name for source in sources if source != "-") or "standard input"
        watched.write(settings.explain_report, title, str(labeller.scorer.choice), settings.say)
    settings.sum_up(counts, progress, lambda counts: _notes(counts, labeller))


def _in_parts(
    files: Sequence[str],
    table: "TextTable | JoinedTables",
    labeller: "Labeller",
    settings: ClassifySettings,
    progress: "RowProgress",
) -> Counter[str] | None:
    return call_with(
        settings.in_parts,
        settings,
        files=files,
        table=table,
        rows=_block_rows(labeller, settings),
        opens=partial(_opened_columns, settings, _reopening(labeller, settings)),
        added=_added(labeller, settings),
        decisive=_run_settings(table, labeller, settings),
        device=labeller.scorer.engine.backend.device,
        progress=progress,
    )


@contextmanager
def _job(
    table: "TextTable | JoinedTables",
    labeller: "Labeller",
    settings: ClassifySettings,
    explained: explaining.ExplainedRows,
) -> Iterator[TableJob[list["LabelPrediction"]]]:
    """The work that is to be done, and the processes that do it."""
    opens = partial(_opened, settings, _reopening(labeller, settings))
    device = labeller.scorer.engine.backend.device
    with settings.answering(_answers(labeller, settings), opens, device) as answered:
        work = TableJob(
            table=table,
            rows=_block_rows(labeller, settings),
            answered=answered if settings.explain_report is None else explained.watching(answered),
            columns=lambda rows: _answer_columns(rows, labeller, settings),
            counted=_counted,
        )
        if settings.compare is None:
            yield work
            return
        with comparing(
            work,
            settings.compare,
            _run_settings(table, labeller, settings),
            multi_label=bool(labeller.choice.multi_label),
            shows=settings.output is not None or row_format(settings.format) == "table",
            as_table=row_format(settings.format) == "table",
        ) as compared:
            yield compared


def _opened(
    settings: ClassifySettings, opens: Callable[[], "Labeller"]
) -> Callable[["RowBlock"], list["LabelPrediction"]]:
    """What answers a block, in a process of its own."""
    return _answers(opens(), settings)


def _reopening(labeller: "Labeller", settings: ClassifySettings) -> Callable[[], "Labeller"]:
    return settings.elsewhere(labeller.scorer.engine.backend.device).reopening(labeller)


def _opened_columns(settings: ClassifySettings, opens: Callable[[], "Labeller"]) -> "Added":
    """What gives a block's columns, in a process of its own."""
    return _added(opens(), settings)


def _added(labeller: "Labeller", settings: ClassifySettings) -> "Added":
    """What gives the columns that are added to a block, and what is counted of it."""
    answers = _answers(labeller, settings)

    def added(block: "RowBlock") -> tuple["pa.Table", Counter[str]]:
        rows = answers(block)
        return _answer_columns(rows, labeller, settings), _counted(rows)

    return added


def _answers(labeller: "Labeller", settings: ClassifySettings) -> Callable[["RowBlock"], list["LabelPrediction"]]:
    return lambda block: _rows(block, labeller, settings)


def _block_rows(labeller: "Labeller", settings: ClassifySettings) -> int:
    """Rows of a block, at most."""
    return min(labeller.rows, explaining.ROWS) if settings.explains else labeller.rows


def _rows(block: "RowBlock", labeller: "Labeller", settings: ClassifySettings) -> list["LabelPrediction"]:
    """The answers for a block."""
    from sijo.inference.outputs import NotFiniteError

    column = settings.labels_column
    own = None if column is None else _own_labels(block, column, labeller, settings.cells)
    try:
        if settings.explains:
            return [*settings.explained(labeller, block.texts, own, settings.top_k)]
        return list(labeller.stream(block.texts, own))
    except NotFiniteError as error:
        raise error.after(block.first_row, "row") from None


def _own_labels(block: "RowBlock", column: str, labeller: "Labeller", cells: NameCells) -> Iterator[list[str]]:
    """Each row's own labels, from a column of lists or of names in a text."""
    for place, value in enumerate(block.values(column)):
        try:
            labels = LabelSet.of(cells.parts(value))  # type: ignore[arg-type] # which refuses what is no name
            labeller.suited(labels)
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
    columns["margin"] = pa.array([row.margin if row.tokens else None for row in rows], pa.float64())
    if labeller.sets is not None:
        columns["label_set"] = pa.array([row.fitting for row in rows], pa.list_(pa.string()))
        columns["abstained"] = pa.array([row.abstained for row in rows], pa.bool_())
    columns |= explaining.explanation_columns(rows) if settings.explains else {}
    if settings.top_k is not None:
        from sijo.prediction.columns import best_columns

        best = [zip(row.labels, row.scores, strict=True) if row.tokens else () for row in rows]
        columns |= best_columns(best, _places(labeller, settings.top_k))
    if settings.all_scores:
        pairs = [list(zip(row.labels, row.scores, strict=True)) for row in rows]
        columns["label_scores"] = pa.array(pairs, pa.map_(pa.string(), pa.float64()))
    columns["tokens"] = pa.array([row.tokens for row in rows], pa.int64())
    columns["windows"] = pa.array([row.windows for row in rows], pa.int64())
    columns["truncated"] = pa.array([row.truncated for row in rows], pa.bool_())
    columns["scorer"] = pa.array([row.scorer for row in rows], pa.string())
    return pa.table(columns)


def _places(labeller: "Labeller", top_k: int) -> int:
    """How many of the best labels have columns: as many as asked for, or as there are."""
    if labeller.labels is None:
        return top_k
    return min(top_k, len(labeller.labels.labels) + (labeller.choice.none_label is not None))


def _run_settings(
    table: "TextTable | JoinedTables", labeller: "Labeller", settings: ClassifySettings
) -> dict[str, object]:
    """Everything that decides the answers, but the rows: a resumed run must have the same."""
    from sijo.evaluation.moves import digest_of

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
        "threads": settings.threads_each,
        "hypothesis_template": settings.hypothesis_template,
        "none_label": settings.none_label,
        "calibrate": None if labeller.adjuster is None else labeller.adjuster.method,
        "calibration": None if labeller.adjuster is None else labeller.adjuster.fingerprint,
        "risk": settings.risk,
        "none_risk": settings.none_risk,
        "none_score": calibration.none_score,
        "temperature": calibration.temperature,
        "multi_label": labeller.choice.multi_label,
        "threshold": settings.threshold,
        **scorer.settings,
        "all_scores": settings.all_scores,
        **({} if settings.top_k is None else {"top_k": settings.top_k}),
        **({"explain": settings.explain_limit} if settings.explains else {}),
        **({} if settings.compare is None else {"compare": digest_of(settings.compare)}),
        "model": scorer.engine.backend.fingerprint,  # last, for what is part of it is told by name before
    }


def _print_table(block: "RowBlock", rows: Sequence["LabelPrediction"], *, top_k: int | None, why: bool) -> None:
    """A line for each row: label, probability, its lead, who says so, and as much of the text as fits.

    top_k  how many of the best labels are shown with their probabilities; None for the label alone
    why    show the words that changed most, of each of the best labels, and mark them in the text
    """
    columns = [
        Column("label", style="bold", max_width=LABEL_WIDTH),
        Column("score", justify="right", style="cyan", no_wrap=True),
        Column("margin", justify="right", no_wrap=True),
        *([] if top_k is None else [Column(f"best {top_k}", max_width=BEST_WIDTH)]),
        *([Column("why", max_width=BEST_WIDTH)] if why else []),
        Column("scorer", style="dim", no_wrap=True),
    ]
    answers = [
        (
            Text(printable(", ".join(() if row.abstained else row.fitting)) or "–"),
            Text(f"{row.score:.4f}" if row.tokens else "–"),
            Text(f"{row.margin:.4f}" if row.tokens else "–"),
            *([] if top_k is None else [Text(printable(_best(row, top_k)))]),
            *([explaining.named_words(row, top_k or 1)] if why else []),
            Text(f"{row.scorer}{', cut' if row.truncated else ''}{', abstained' if row.abstained else ''}"),
        )
        for row in rows
    ]
    texts = list(map(explaining.marked_text, rows, block.texts)) if why else block.texts
    print_beside_texts(columns, answers, texts, headings=block.number == 0)


def _best(row: "LabelPrediction", top_k: int) -> str:
    pairs = zip(row.labels[:top_k], row.scores, strict=False)
    return ", ".join(f"{label} {score:.4f}" for label, score in pairs) if row.tokens else "–"
