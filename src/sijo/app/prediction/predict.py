"""`sijo predict`: a table in, the same table with the answers of a fine-tuned model out."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from cyclopts import Parameter
from rich.table import Column
from rich.text import Text

from sijo.app.many_machines import ManyMachines
from sijo.app.options import TEXT_COLUMN, ComputeOptions, call_with
from sijo.app.results import RowFormat, print_beside_texts
from sijo.app.table_job import TableJob, check_output, write_or_print
from sijo.errors import SettingError
from sijo.texts import printable
from sijo.version import __version__

if TYPE_CHECKING:
    import pyarrow as pa

    from sijo.app.progress import RowProgress
    from sijo.data.asked_rows import AskedColumns
    from sijo.data.labelled_rows import ColumnNames
    from sijo.files.inputs.joined_tables import JoinedTables
    from sijo.files.parts.plan import Added
    from sijo.files.tables import RowBlock, TextTable
    from sijo.inference.backends.backend import Precision
    from sijo.prediction.answers import Prediction
    from sijo.prediction.predictor import Predictor
    from sijo.prediction.task import ModelTask

Task = Literal["classification", "multi-label", "regression", "tagging", "question-answering", "multiple-choice"]
"""As `data/labelled_rows.py` has them, which costs numpy to import."""
ANSWER_WIDTH = 48
"""Characters of an answer, and of the best labels, in a line of the printed table, at most."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class PredictSettings(ComputeOptions, ManyMachines):
    """What answers the rows, and where the answers go."""

    model: str | None = None
    """The folder that sijo finetune made, OUT/model, or another fine-tuned model in Hugging Face layout, or
    org/name."""
    output: Annotated[Path | None, Parameter(alias="-o")] = None
    """A .csv, .tsv, .jsonl, .parquet or .xlsx to write; it appears whole or not at all."""
    format: RowFormat | None = None
    """How to print without --output: table at a terminal, jsonl in a pipe."""
    column: Annotated[str | None, TEXT_COLUMN] = None
    """The column with the text, or for tags the words: the one that the model was fine-tuned with by default, else
    one of a usual name, or the only one. For question-answering the text that holds the answer, for
    multiple-choice what the choices go on from."""
    second_column: str | None = None
    """The column with the second text, of a model that judges pairs."""
    question_column: str | None = None
    """For question-answering, the column with the question."""
    choices_column: str | None = None
    """For multiple-choice, the column with the choices: a list, or texts with semicolons between."""
    task: Task | None = None
    """What the model was fine-tuned to do, where its config does not say."""
    top_k: int | None = None
    """Of labels: add label_1, score_1, label_2, score_2, …: so many of the best with their probabilities."""
    all_scores: bool = False
    """Of labels: add label_scores, the probability of every label."""
    threshold: float = 0.5
    """Of several labels a row: the probability from which a label is given."""
    no_answer_threshold: float | None = None
    """For question-answering: by how much "no answer" must outscore the best answer, in logits; the model's own by
    default, and a model that was never taught to say so always answers."""
    length: int | None = None
    """Tokens of an input at most; by default those that it was fine-tuned with, else what the model reads."""
    workers: int = 1
    """Processes that share the rows where one does not fill the machine; each takes its share of the threads, and
    the answers are the same."""
    resume: bool = False
    """Go on with a run that was stopped: same input, settings and output."""
    overwrite: bool = False
    """Replace an output, or an unfinished run, that is there."""
    dry_run: bool = False
    """Read the input to its end and tell what would be done: rows, tokens, what would be cut, languages, and an
    estimate of time and memory. Nothing is written."""
    revision: str | None = None
    """Branch, tag or commit of an org/name model."""
    base: str | None = None
    """The model of a LoRA adapter: a folder or org/name, where --model holds the adapter alone."""
    spreadsheet_safe: bool = False
    """In .csv and .tsv, put an apostrophe before each text that begins with = + - @ or the like, which a
    spreadsheet may take for a formula; in .xlsx, mark it as text. Numbers stay as they are."""
    quiet: Annotated[bool, Parameter(alias="-q")] = False
    """No progress and no summary."""

    def named(self, task: "ModelTask") -> "ColumnNames":
        """The columns that are named, by what they hold."""
        from sijo.data.asked_rows import OPTIONS, PARTS
        from sijo.data.labelled_rows import ColumnNames

        first, *others = PARTS[task.task]
        given = {"second": self.second_column, "question": self.question_column, "choices": self.choices_column}
        for part, name in given.items():
            if name is not None and part not in others:
                raise SettingError(
                    f"{OPTIONS[part]} has no part in {task.task}, which this model does; leave it out"
                )
        return ColumnNames(**{first: self.column} | {part: given[part] for part in others})

    def told(self) -> "ModelTask":
        """What the model was fine-tuned to do."""
        from sijo.checkpoints.describe import describe
        from sijo.prediction.task import task_of

        if self.model is None:
            raise SettingError("say which fine-tuned model answers with --model, such as runs/reviews/model")
        task = call_with(task_of, self, model=describe(self.model, self.revision, self.base))
        if (self.top_k is not None or self.all_scores) and task.task not in ("classification", "multi-label"):
            raise SettingError(f"--top-k and --all-scores are about labels, and this model does {task.task}")
        if self.top_k is not None and self.top_k < 1:
            raise SettingError(f"--top-k {self.top_k} shows no label; give 1 or more")
        return task

    def opened(self, work: "Asked") -> "Predictor":
        """The model, ready to answer; by the first rows where --precision auto asks for that."""
        if self.precision != "auto":
            return self.opened_in(self.precision, work.task)
        from sijo.inference.precision import FIRST_TEXTS
        from sijo.prediction.columns import rows_of
        from sijo.prediction.predictor import automatic_predictor

        first = rows_of(work.table.first_block(FIRST_TEXTS), work.columns)
        opens = partial(self.opened_in, task=work.task)
        predictor, choice = automatic_predictor(opens, first, backend=self.backend, device=self.device)
        self.say(f"precision {choice}")
        return predictor

    def opened_in(self, precision: "Precision", task: "ModelTask") -> "Predictor":
        """The model, ready to answer in that precision."""
        from sijo.checkpoints.describe import describe
        from sijo.inference.encode import described_engine
        from sijo.prediction.predictor import Predictor

        engine = call_with(
            described_engine,
            self,
            described=describe(self.model, self.revision, self.base),
            head=task.head,
            precision=precision,
        )
        return Predictor(engine, task, threshold=self.threshold)


@dataclass(frozen=True)
class Asked:
    """A table, what the model does, and where in the table stands what it is asked about."""

    table: "TextTable | JoinedTables"
    task: "ModelTask"
    columns: "AskedColumns"


def run(sources: Sequence[str], settings: PredictSettings) -> None:
    """Answer the rows of `sources` as the settings say, to a file or to standard output."""
    from sijo.prediction.columns import asked_columns, table_settings

    settings.take_threads()
    call_with(check_output, settings)
    settings.check_machines(whole={"--dry-run": settings.dry_run, "--format": settings.format is not None})
    task = settings.told()
    named = settings.named(task)
    with settings.progress(sources) as progress:
        reading = table_settings(task, named)
        files, table = settings.inputs(sources, **reading)
        asked = Asked(table, task, asked_columns(table, task, named))
        settings.say(_told(asked))
        progress.begin("opening the model")
        predictor = settings.opened(asked)
        if settings.dry_run:
            from sijo.app.prediction.dry_run import show

            measured, answer = partial(_measured, predictor, asked), _reader(predictor, asked)
            show(table, predictor.engine.model, predictor.rows, measured, answer, settings, progress)
            return
        predictor.engine.told = progress.within
        progress.begin("reading")
        if settings.parts is not None:
            counts = _in_parts(files, asked, predictor, settings, progress, reading)
            settings.sum_up(counts, progress, lambda counts: _notes(counts, predictor))
            return
        counts = write_or_print(
            *(settings, table, predictor.rows, _job(asked, predictor, settings), progress),
            decisive=partial(_run_settings, asked, predictor, settings),
            print_block=partial(_print_table, top_k=settings.top_k),
            format=settings.format,
            spreadsheet_safe=settings.spreadsheet_safe,
        )
    settings.sum_up(counts, progress, lambda counts: _notes(counts, predictor))


def _told(asked: Asked) -> str:
    """What is done with which columns."""
    from sijo.data.asked_rows import recorded_names

    parts = ", ".join(f"{part} {name!r}" for part, name in recorded_names(asked.columns.names).items())
    return f"{asked.task.task}; read are {parts}"


def _reader(predictor: "Predictor", asked: Asked) -> Callable[["RowBlock"], list["Prediction"]]:
    """What answers a block of rows."""
    from sijo.prediction.columns import rows_of

    def read(block: "RowBlock") -> list["Prediction"]:
        return predictor.predict(rows_of(block, asked.columns), before=block.first_row)

    return read


def _reopened(
    settings: PredictSettings, task: "ModelTask", columns: "AskedColumns"
) -> Callable[["RowBlock"], list["Prediction"]]:
    """What answers a block, in a process of its own, in the precision that was taken."""
    predictor = settings.opened_in(cast("Precision", settings.precision), task)
    from sijo.prediction.columns import rows_of

    return lambda block: predictor.predict(rows_of(block, columns), before=block.first_row)


def _taken(predictor: "Predictor", settings: PredictSettings) -> PredictSettings:
    """The settings for another process: in the precision that was taken here."""
    precision = predictor.engine.backend.precision if settings.precision == "auto" else settings.precision
    return replace(settings.elsewhere(predictor.engine.backend.device), precision=precision, threads=None)


def _in_parts(
    files: Sequence[str],
    asked: Asked,
    predictor: "Predictor",
    settings: PredictSettings,
    progress: "RowProgress",
    reading: dict[str, Any],
) -> Counter[str] | None:
    places = min(settings.top_k or 0, len(asked.task.names))
    shown = partial(_added, places=places, all_scores=settings.all_scores)
    return call_with(
        partial(settings.in_parts, **{name: value for name, value in reading.items() if name != "column"}),
        settings,
        files=files,
        table=asked.table,
        rows=predictor.rows,
        opens=partial(_opened_columns, _taken(predictor, settings), asked.task, asked.columns, shown),
        added=shown(_reader(predictor, asked)),
        decisive=_run_settings(asked, predictor, settings),
        device=predictor.engine.backend.device,
        progress=progress,
    )


def _opened_columns(
    settings: PredictSettings, task: "ModelTask", columns: "AskedColumns", shown: Callable[..., "Added"]
) -> "Added":
    """What gives a block's columns, in a process of its own."""
    return shown(_reopened(settings, task, columns))


def _added(read: Callable[["RowBlock"], list["Prediction"]], *, places: int, all_scores: bool) -> "Added":
    """What gives the columns that are added to a block, and what is counted of it."""
    from sijo.prediction.columns import answer_columns, counted

    def added(block: "RowBlock") -> tuple["pa.Table", Counter[str]]:
        answers = read(block)
        return answer_columns(answers, places=places, all_scores=all_scores), counted(answers)

    return added


@contextmanager
def _job(asked: Asked, predictor: "Predictor", settings: PredictSettings) -> Iterator[TableJob[list["Prediction"]]]:
    """The work that is to be done, and the processes that do it."""
    from sijo.prediction.columns import answer_columns, counted

    opens = partial(_reopened, _taken(predictor, settings), asked.task, asked.columns)
    places = min(settings.top_k or 0, len(asked.task.names))
    with settings.answering(_reader(predictor, asked), opens, predictor.engine.backend.device) as answered:
        yield TableJob(
            table=asked.table,
            rows=predictor.rows,
            answered=answered,
            columns=partial(answer_columns, places=places, all_scores=settings.all_scores),
            counted=counted,
        )


def _notes(counts: Counter[str], predictor: "Predictor") -> Iterator[str]:
    """What a person should know beside the number of rows."""
    cutting = predictor.task.cutting
    if counts["empty"]:
        yield f"rows without text, which have no answer: {counts['empty']:,}"
    if counts["windowed"]:
        yield f"texts longer than {cutting.length} tokens, read in windows: {counts['windowed']:,}"
    if counts["truncated"]:
        limit = f"{cutting.length} tokens (--length)"
        if predictor.task.task == "question-answering":
            limit = f"the {cutting.question} tokens of a question"
        yield f"rows cut at {limit}: {counts['truncated']:,}"
    if counts["unanswered"]:
        yield f"questions that the text does not answer: {counts['unanswered']:,}"


def _measured(predictor: "Predictor", asked: Asked, block: "RowBlock") -> tuple[Sequence[int], Sequence[bool]]:
    """How many tokens the rows of a block have, and which would be cut."""
    from sijo.prediction.columns import rows_of

    inputs = predictor.inputs(rows_of(block, asked.columns))
    return inputs.tokens.tolist(), inputs.is_cut.tolist()


def _run_settings(asked: Asked, predictor: "Predictor", settings: PredictSettings) -> dict[str, object]:
    """Everything that decides the answers, but the rows: a resumed run must have the same."""
    from sijo.data.asked_rows import recorded_names

    backend, task = predictor.engine.backend, asked.task
    return {
        "sijo": __version__,
        **asked.table.settings,
        "task": task.task,
        "columns": recorded_names(asked.columns.names),
        "length": task.cutting.length,
        "stride": task.cutting.stride,
        "question": task.cutting.question,
        "answers": vars(task.answers),
        "threshold": settings.threshold,
        "all_scores": settings.all_scores,
        "top_k": settings.top_k,
        "backend": backend.name,
        "precision": backend.precision,
        "device": backend.device.partition(":")[0],
        "threads": settings.threads_each,
        "model": backend.fingerprint,  # last, for what is part of it is told by name before
    }


def _print_table(block: "RowBlock", answers: Sequence["Prediction"], *, top_k: int | None) -> None:
    """A line for each row: the answer, its score, and as much of the text as fits.

    top_k  how many of the best labels are shown with their probabilities; None for the answer alone
    """
    from sijo.prediction.columns import best_in_words
    from sijo.prediction.columns import in_words as told

    rows = []
    for answer in answers:
        words, score = told(answer)
        cut = ", cut" if answer.truncated else ""
        best = [] if top_k is None else [_shortened(best_in_words(answer, top_k))]
        rows.append((_shortened(words), Text(("–" if score is None else f"{score:.4f}") + cut), *best))
    columns = [
        Column("answer", style="bold", no_wrap=True),
        Column("score", justify="right", style="cyan", no_wrap=True),
        *([] if top_k is None else [Column(f"best {top_k}", no_wrap=True)]),
    ]
    print_beside_texts(columns, rows, block.texts, headings=block.number == 0)


def _shortened(words: str) -> Text:
    shown = Text(printable(words))
    shown.truncate(ANSWER_WIDTH, overflow="ellipsis")
    return shown
