"""Answers as the columns of a table, and the rows of a table as what a model is asked about."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import pyarrow as pa

from sijo.data.asked_rows import AskedColumns, main_columns
from sijo.data.labelled_rows import ColumnNames, LabelledRow
from sijo.files.inputs.joined_tables import JoinedTables
from sijo.files.tables import RowBlock, TextTable
from sijo.prediction.answers import (
    ChoiceAnswer,
    LabelAnswer,
    LabelsAnswer,
    NumberAnswer,
    Prediction,
    TagsAnswer,
    TextAnswer,
)
from sijo.prediction.task import ModelTask

SCORES = pa.map_(pa.string(), pa.float64())
PLACE = [("start", pa.int64()), ("end", pa.int64())]
WORDS = pa.list_(pa.struct([("word", pa.string()), *PLACE, ("tag", pa.string()), ("score", pa.float64())]))
ENTITIES = pa.list_(pa.struct([("text", pa.string()), *PLACE, ("label", pa.string()), ("score", pa.float64())]))


def table_settings(task: ModelTask, named: ColumnNames) -> dict[str, Any]:
    """How a `TextTable` is read by the column that holds what the task reads first.

    named  columns that a person named
    """
    wanted, is_list = main_columns(task.task, named, task.columns), task.task == "tagging"
    if len(wanted) == 1 and wanted[0] in vars(named).values():
        return {"column": wanted[0], "lists": is_list}
    return {"column": None, "preferred": wanted, "lists": is_list}


def asked_columns(table: TextTable | JoinedTables, task: ModelTask, named: ColumnNames) -> AskedColumns:
    """Where in a table stands what a model is asked about; SettingError where it stands nowhere."""
    known = table.columns
    if known is None:  # JSON Lines: by the first record
        known = tuple(json.loads(table.first_block(1).columns["record"][0].as_py()))
    return AskedColumns.of(task.task, known, named, task.columns, main=table.column, where=table.name)


def rows_of(block: RowBlock, columns: AskedColumns) -> list[LabelledRow]:
    """What is asked about in the rows of a block; TextError for a row that it cannot be."""
    others = {name: block.values(name) for name in columns.others}
    main = next(value for value in vars(columns.names).values() if value is not None and value not in others)
    rows = []
    for place, text in enumerate(block.texts):
        record = {name: values[place] for name, values in others.items()} | {main: text}
        rows.append(columns.row(f"row {block.first_row + place + 1}", record))
    return rows


def answer_columns(answers: Sequence[Prediction], *, places: int = 0, all_scores: bool = False) -> pa.Table:
    """The columns that are added to some rows.

    places      of labels: how many of the best have columns of their own
    all_scores  of labels: whether `label_scores` gives the probability of each
    """
    columns = _columns(answers)
    every: Any = answers
    if places:
        columns |= best_columns([answer.label_scores.items() for answer in every], places)
    if all_scores:
        columns["label_scores"] = pa.array([list(answer.label_scores.items()) for answer in every], SCORES)
    columns["tokens"] = pa.array([answer.tokens for answer in answers], pa.int64())
    columns["windows"] = pa.array([answer.windows for answer in answers], pa.int64())
    columns["truncated"] = pa.array([answer.truncated for answer in answers], pa.bool_())
    return pa.table(columns)


def best_columns(rows: Iterable[Iterable[tuple[str, float]]], places: int) -> dict[str, pa.Array]:
    """The columns label_1, score_1, label_2, score_2, … of the best labels of each row; null where it has fewer.

    >>> {name: cells.to_pylist() for name, cells in best_columns([[("sea", 0.75), ("land", 0.25)], []], 1).items()}
    {'label_1': ['sea', None], 'score_1': [0.75, None]}
    """
    of_rows = [list(islice(row, places)) for row in rows]
    columns: dict[str, pa.Array] = {}
    for place in range(places):
        labels, scores = zip(*(row[place] if place < len(row) else (None, None) for row in of_rows), strict=True)
        columns[f"label_{place + 1}"] = pa.array(labels, pa.string())
        columns[f"score_{place + 1}"] = pa.array(scores, pa.float64())
    return columns


def _columns(answers: Sequence[Prediction]) -> dict[str, pa.Array]:
    """Those of the answers alone."""
    every: Any = answers
    match answers[0]:
        case LabelAnswer():
            return {"label": _strings(every, "label"), "score": _floats(every, "score")}
        case LabelsAnswer():
            return {
                "labels": pa.array([list(answer.labels) for answer in every], pa.list_(pa.string())),
                "scores": pa.array([list(answer.scores) for answer in every], pa.list_(pa.float64())),
            }
        case NumberAnswer():
            if any(answer.numbers for answer in every):
                return {"numbers": pa.array([list(answer.numbers.items()) for answer in every], SCORES)}
            return {"number": _floats(every, "number")}
        case TagsAnswer():
            columns = {"tags": pa.array([[vars(word) for word in answer.tags] for answer in every], WORDS)}
            if every[0].entities is not None:
                entities = [[vars(entity) for entity in answer.entities or ()] for answer in every]
                columns["entities"] = pa.array(entities, ENTITIES)
            return columns
        case TextAnswer():
            columns = {"answer": _strings(every, "answer")}
            columns |= {name: pa.array([getattr(a, name) for a in every], pa.int64()) for name in ("start", "end")}
            columns["score"] = _floats(every, "score")
            if any(answer.no_answer_score is not None for answer in every):
                columns["no_answer_score"] = _floats(every, "no_answer_score")
            return columns
    assert isinstance(answers[0], ChoiceAnswer)
    return {
        "choice": _strings(every, "choice"),
        "choice_place": pa.array([answer.place for answer in every], pa.int64()),
        "score": _floats(every, "score"),
        "choice_scores": pa.array([list(answer.choice_scores) for answer in every], pa.list_(pa.float64())),
    }


def counted(answers: Sequence[Prediction]) -> Counter[str]:
    """What a summary tells of some rows."""
    return Counter(
        rows=len(answers),
        empty=sum(answer.tokens == 0 for answer in answers),
        windowed=sum(answer.windows > 1 for answer in answers),
        truncated=sum(answer.truncated for answer in answers),
        unanswered=sum(isinstance(a, TextAnswer) and a.answer is None and a.tokens > 0 for a in answers),
    )


def in_words(answer: Prediction) -> tuple[str, float | None]:
    """An answer in a few words, and its score, for people."""
    match answer:
        case LabelAnswer():
            return answer.label or "–", answer.score
        case LabelsAnswer():
            return ", ".join(answer.labels) or "–", answer.scores[0] if answer.scores else None
        case NumberAnswer():
            several = ", ".join(f"{name} {number:.4g}" for name, number in answer.numbers.items())
            return several or ("–" if answer.number is None else f"{answer.number:.4g}"), None
        case TagsAnswer(entities=None):
            return " ".join(f"{word.word}/{word.tag}" for word in answer.tags) or "–", None
        case TagsAnswer():
            return ", ".join(f"{entity.text} ({entity.label})" for entity in answer.entities or ()) or "–", None
        case TextAnswer():
            return answer.answer or "–", answer.score
    assert isinstance(answer, ChoiceAnswer)
    return answer.choice, answer.score


def best_in_words(answer: Prediction, top_k: int) -> str:
    """The best labels of an answer with their probabilities, for people."""
    pairs = islice(answer.label_scores.items(), top_k) if isinstance(answer, LabelAnswer | LabelsAnswer) else ()
    return ", ".join(f"{label} {score:.4f}" for label, score in pairs) or "–"


def _strings(answers: Sequence[Any], name: str) -> pa.Array:
    return pa.array([getattr(answer, name) for answer in answers], pa.string())


def _floats(answers: Sequence[Any], name: str) -> pa.Array:
    return pa.array([getattr(answer, name) for answer in answers], pa.float64())
