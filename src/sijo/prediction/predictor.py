"""Rows in, answers out: a fine-tuned model put to use."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sijo.batching import groups
from sijo.checkpoints.describe import FolderDescription, describe
from sijo.data.asked_rows import asked_rows
from sijo.data.labelled_inputs import LabelledInputs
from sijo.data.labelled_rows import ColumnNames, LabelledRow, Task
from sijo.errors import SettingError
from sijo.inference.backends.backend import Precision
from sijo.inference.encode import engine_of
from sijo.inference.engine import Engine
from sijo.inference.language import LanguageCheck
from sijo.inference.outputs import NotFiniteError
from sijo.inference.precision import FIRST_TEXTS, choose, ranked
from sijo.prediction.answers import NumberAnswer, Prediction
from sijo.prediction.decoding import THRESHOLD, decoded, judged_texts
from sijo.prediction.task import ModelTask, task_of
from sijo.texts import TABLES, is_of

if TYPE_CHECKING:
    from sijo.checkpoints.load import Model

ROWS, MOST_SCORES = 2048, 2**21
"""Rows, and scores of labels, that are taken together at most."""


class Predictor:
    """An engine and what its model was fine-tuned to do: gives each row its answer.

    engine     opened with the head of the task
    task       as `task_of` tells it
    threshold  of several labels a row: the probability from which one is given

    Warns, once, of texts in a language that the model's tokenizer does not know.
    """

    def __init__(self, engine: Engine, task: ModelTask, *, threshold: float = THRESHOLD) -> None:
        if not 0 <= threshold <= 1:
            raise SettingError(f"threshold={threshold} is no probability; give a number from 0 to 1")
        self.engine, self.task, self.threshold = engine, task, threshold
        self._language = LanguageCheck(engine.model)

    @property
    def rows(self) -> int:
        """Rows it is best given at a time: fewer where each has thousands of labels, whose scores take memory."""
        return max(1, min(ROWS, MOST_SCORES // max(len(self.task.names), 1)))

    def predict(self, rows: Sequence[LabelledRow], *, before: int = 0) -> list[Prediction]:
        """The answer for each row; the same whatever rows stand beside it.

        before  rows that came before these, for errors

        Raises NotFiniteError for a row of which the model makes no numbers.
        """
        if not rows:
            return []
        self._language.look([_read(row) for row in rows])
        answers: list[Prediction] = []
        for part in _alike(rows):
            answers += self._predicted(part, before + len(answers))
        return answers

    def inputs(self, rows: Sequence[LabelledRow]) -> LabelledInputs:
        """What the model reads of rows, which are all of one text or all of two."""
        task = self.task
        return LabelledInputs(rows, task.task, task.names, self.engine.model.tokenizer, task.cutting)

    def _predicted(self, rows: Sequence[LabelledRow], before: int) -> list[Prediction]:
        if self.engine.over_vectors:
            return self._judged(rows, before)
        inputs = self.inputs(rows)
        ids, types = map(list, zip(*inputs.sequences, strict=True))
        try:
            each = self.engine.head_scores(self.task.head, ids, types)
        except NotFiniteError as error:
            row = int(inputs.owners[inputs.input_of(error.place)])
            raise NotFiniteError(error.why, before + row, "row") from None
        scores = [self._of_input(inputs, number, each) for number in range(len(inputs))]
        answers = decoded(scores, inputs, self.task.answers, threshold=self.threshold)
        return [answer.unless_empty() for answer in answers]

    def _judged(self, rows: Sequence[LabelledRow], before: int) -> list[Prediction]:
        """By a head that was fitted over one vector a text, which is read as then: in windows, where long."""
        if len(rows[0].texts) > 1:
            raise SettingError(f"row {before + 1:,} has two texts, and the head was fitted over vectors of one")
        try:
            read = self.engine.judge([row.texts[0] for row in rows])
        except NotFiniteError as error:
            raise error.after(before, "row") from None
        counts = [
            {"tokens": tokens, "windows": windows, "truncated": cut}
            for tokens, windows, cut in zip(
                read.tokens.tolist(), read.windows.tolist(), read.truncated.tolist(), strict=True
            )
        ]
        answers = judged_texts(list(read.logits), self.task.task, self.task.names, counts, threshold=self.threshold)
        return [answer.unless_empty() for answer in answers]

    def _of_input(self, inputs: LabelledInputs, number: int, each: Sequence[Any]) -> Any:
        """The scores of an input, as `decoded` takes them."""
        parts = [each[place] for place in range(*inputs.sequences_of(number))]
        match self.task.task:
            case "multiple-choice":
                return np.concatenate(parts)
            case "tagging":
                return parts[0][inputs.words[inputs.span(number)] >= 0]
            case "question-answering":
                return parts[0][:, 0], parts[0][:, 1]
        return parts[0]


def predict(
    model: "str | Path | Model | None",
    rows: Iterable[Any],
    *,
    columns: Mapping[str, str] | None = None,
    task: Task | None = None,
    length: int | None = None,
    threshold: float = THRESHOLD,
    no_answer_threshold: float | None = None,
    base: str | Path | None = None,
    backend: str = "auto",
    device: str = "auto",
    precision: Precision | Literal["auto"] = "exact",
    threads: int | None = None,
) -> list[Prediction]:
    """What a fine-tuned model answers about each row: a label, labels, a number, tags, words of a text, a choice.

    model                what `sijo finetune` made, or others in Hugging Face layout: a folder, an `org/name`, or
                         an opened model
    rows                 dicts by the names of columns, a table of pandas, polars or PyArrow, or by hand: texts;
                         (text, second text); for tags also lists of words; (question, text); (beginning, [choice,
                         …])
    columns              which column holds the text, second, words, question, context or choices; those that it was
                         fine-tuned with by default
    task                 classification, multi-label, regression, tagging, question-answering or multiple-choice;
                         told from the model by default
    length               tokens of an input at most; those of fine-tuning by default, or what the model reads
    threshold            of several labels a row: the probability from which one is given
    no_answer_threshold  of question-answering: by how much "no answer" must outscore the best one

    `base`, `backend`, `device`, `precision` and `threads` are those of `sijo.encode`.

    Returns a `LabelAnswer`, `LabelsAnswer`, `NumberAnswer`, `TagsAnswer`, `TextAnswer` or `ChoiceAnswer` for each
    row, in order; a row without text has no answer.
    Raises SettingError for a model without such a head and for columns that are not there, TextError for a row that
    cannot be.

    >>> import sijo
    >>> fresh = sijo.load(head="new:sequence-classification", labels=["sport", "tax"])
    >>> goal, empty = sijo.predict(fresh, ["a late goal", ""])
    >>> goal.label in ("sport", "tax"), goal.tokens, empty.label
    (True, 3, None)
    """
    if isinstance(model, str | Path) or model is None:
        told = task_of(describe(model, base=base), task, length=length, no_answer_threshold=no_answer_threshold)
    else:
        told = task_of(model, task, length=length, no_answer_threshold=no_answer_threshold)
    run_by: dict[str, Any] = {"backend": backend, "device": device, "threads": threads, "base": base}

    def open_with(precision: Precision) -> Predictor:
        engine = engine_of(model, head=told.head, precision=precision, **run_by)
        return Predictor(engine, told, threshold=threshold)

    names = _named(columns)
    asked = asked_rows(told.task, records_in(rows), names, told.columns)
    if precision == "auto":
        first = list(islice(asked, FIRST_TEXTS))
        predictor, _ = automatic_predictor(open_with, first, backend=backend, device=device)
        asked = chain(first, asked)
    else:
        predictor = open_with(precision)
    answers: list[Prediction] = []
    for group in groups(asked, rows=predictor.rows, size=lambda row: len(_read(row))):
        answers += predictor.predict(group, before=len(answers))
    return answers


def automatic_predictor(
    open_with: Callable[[Precision], Predictor],
    first: Sequence[LabelledRow],
    *,
    backend: str = "auto",
    device: str = "auto",
) -> tuple[Predictor, str]:
    """What answers in the fastest precision in which the first rows are answered as in float32, and why.

    open_with  opens the model in a precision

    Numbers are answered alike where they are to the second decimal. `backend` and `device` are what was asked for.
    """
    opened: dict[Precision, Predictor] = {"exact": open_with("exact")}
    exact, candidates = opened["exact"], list[Precision]()
    described = exact.engine.model
    if isinstance(described, FolderDescription):
        candidates = ranked(described, head=exact.task.head, backend=backend, device=device)

    def decide(precision: Precision) -> list[object]:
        if precision not in opened:
            opened[precision] = open_with(precision)
        return [_decision(answer) for answer in opened[precision].predict(first)]

    choice = choose(candidates, len(first), decide)
    return opened[choice.precision], str(choice)


def _decision(answer: Prediction) -> object:
    if isinstance(answer, NumberAnswer) and answer.number is not None:
        return round(answer.number, 2)
    return answer.value


def records_in(rows: Any) -> Iterator[Any]:
    """The rows of a table of pandas, polars, PyArrow or `datasets` as dicts; other rows as they are.

    >>> import pyarrow as pa
    >>> list(records_in(pa.table({"text": ["a", "b"]})))
    [{'text': 'a'}, {'text': 'b'}]
    """
    if isinstance(rows, str | bytes | Mapping):
        raise SettingError(
            f"rows is of type {type(rows).__name__}, and is one row, or the columns of several; pass a list of rows"
        )
    if is_of(rows, "pandas", "DataFrame"):
        names = list(map(str, rows.columns))
        return (dict(zip(names, values, strict=True)) for values in rows.itertuples(index=False, name=None))
    if is_of(rows, "polars", "DataFrame"):
        return iter(rows.iter_rows(named=True))
    if is_of(rows, "pyarrow", *TABLES["pyarrow"]):
        return chain.from_iterable(batch.to_pylist() for batch in _batches(rows))
    try:
        return iter(rows)
    except TypeError:
        raise SettingError(f"rows is of type {type(rows).__name__}, which holds no rows; pass a list") from None


def _batches(table: Any) -> Iterable[Any]:
    return table.to_batches(max_chunksize=ROWS) if hasattr(table, "to_batches") else [table]


def _named(columns: Mapping[str, str] | None) -> ColumnNames:
    known = ("text", "second", "words", "question", "context", "choices")
    for name in columns or {}:
        if name not in known:
            raise SettingError(f"columns={{{name!r}: …}} names no part of a row; there are {', '.join(known)}")
    return ColumnNames(**dict(columns or {}))


def _read(row: LabelledRow) -> str:
    """All that is read of a row."""
    return " ".join((*row.texts, *row.choices)) if row.texts else " ".join(row.words)


def _alike(rows: Sequence[LabelledRow]) -> Iterator[list[LabelledRow]]:
    """Runs of rows of as many texts each, which is one but where rows by hand differ."""
    run: list[LabelledRow] = []
    for row in rows:
        if run and len(run[0].texts) != len(row.texts):
            yield run
            run = []
        run.append(row)
    yield run
