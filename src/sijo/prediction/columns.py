"""Answers as the columns of a table, and the rows of a table as what a model is asked about."""

import json
from collections import Counter
from collections.abc import Sequence
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


def answer_columns(answers: Sequence[Prediction], *, top_k: int | None = None) -> pa.Table:
    """The columns that are added to some rows.

    top_k  of labels: how many are given with their scores, in `label_scores`; None for no such column
    """
    columns = _columns(answers, top_k)
    columns["tokens"] = pa.array([answer.tokens for answer in answers], pa.int64())
    columns["windows"] = pa.array([answer.windows for answer in answers], pa.int64())
    columns["truncated"] = pa.array([answer.truncated for answer in answers], pa.bool_())
    return pa.table(columns)


def _columns(answers: Sequence[Prediction], top_k: int | None) -> dict[str, pa.Array]:
    """Those of the answers alone."""
    every: Any = answers
    match answers[0]:
        case LabelAnswer():
            columns = {"label": _strings(every, "label"), "score": _floats(every, "score")}
            return columns | _label_scores(every, top_k)
        case LabelsAnswer():
            columns = {
                "labels": pa.array([list(answer.labels) for answer in every], pa.list_(pa.string())),
                "scores": pa.array([list(answer.scores) for answer in every], pa.list_(pa.float64())),
            }
            return columns | _label_scores(every, top_k)
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


def _label_scores(answers: Sequence[Any], top_k: int | None) -> dict[str, pa.Array]:
    if top_k is None:
        return {}
    pairs = [list(islice(answer.label_scores.items(), top_k)) for answer in answers]
    return {"label_scores": pa.array(pairs, SCORES)}


def _strings(answers: Sequence[Any], name: str) -> pa.Array:
    return pa.array([getattr(answer, name) for answer in answers], pa.string())


def _floats(answers: Sequence[Any], name: str) -> pa.Array:
    return pa.array([getattr(answer, name) for answer in answers], pa.float64())
