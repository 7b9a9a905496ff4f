"""The task of a fine-tuned model: told from its heads, its config, and what fine-tuning wrote there.

`sijo finetune` leaves in config.json, as `sijo_fine_tuned`, the task, the names of the columns that held what the
model reads, and how inputs are cut and answers chosen. Other programs leave the field unread. A model that was
fine-tuned elsewhere has none: its head and its `problem_type` tell the task.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from sijo.checkpoints.describe import DescribedModel, FolderDescription
from sijo.data.asked_rows import recorded_names
from sijo.data.labelled_inputs import InputSettings
from sijo.data.labelled_rows import HEADS, TASKS, ColumnNames, Task
from sijo.errors import RefusedError, SettingError, SijoError, nearest
from sijo.models.labels import FINE_TUNED
from sijo.nn.head_specs import CLASSIFIER, POOLER
from sijo.prediction.decoding import AnswerSettings

PROBLEMS: Mapping[str, str] = {
    "classification": "single_label_classification",
    "multi-label": "multi_label_classification",
    "regression": "regression",
}
"""What config.json calls the tasks of a head that judges whole texts."""
LENGTHS: Mapping[Task, int] = {"question-answering": 384}
"""Tokens of an input where nothing says how many and the model reads more: SQuAD's released scripts."""


@dataclass(frozen=True, kw_only=True)
class FineTuned:
    """How a head was fine-tuned: what rows are read by as they were then."""

    task: Task
    columns: ColumnNames = field(default_factory=ColumnNames)
    """Of what the model reads; None for what it does not."""
    cutting: InputSettings = field(default_factory=InputSettings)
    answers: AnswerSettings = field(default_factory=AnswerSettings)
    always_answers: bool = True
    """Of question-answering: whether each question that it learned from had an answer."""

    @property
    def fields(self) -> dict[str, object]:
        """That of a config.json which tells it."""
        return {FINE_TUNED: asdict(self) | {"columns": recorded_names(self.columns)}}

    @classmethod
    def read(cls, fields: Mapping[str, object]) -> "FineTuned | None":
        """What a config.json tells, or None; RefusedError for what cannot be read."""
        record = fields.get(FINE_TUNED)
        if record is None:
            return None
        try:
            read: FineTuned = TypeAdapter(cls).validate_python(record)
        except ValidationError as error:
            first = error.errors()[0]
            fault = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        except SijoError as error:
            fault = str(error)
        else:
            return read
        raise RefusedError(
            f"the config's {FINE_TUNED} cannot be read ({fault}); take it out of config.json, and name the columns"
        )


@dataclass(frozen=True, kw_only=True)
class ModelTask:
    """What a fine-tuned model does, and how."""

    task: Task
    names: tuple[str, ...]
    """Of the labels, in the order of the head's columns; none where it has none."""
    columns: ColumnNames | None
    """That it was fine-tuned with; None where nobody knows."""
    cutting: InputSettings
    answers: AnswerSettings
    """With an infinite threshold where it always answers."""

    @property
    def head(self) -> str:
        """The head that answers."""
        return HEADS[self.task]


def task_of(
    model: DescribedModel,
    task: Task | None = None,
    *,
    length: int | None = None,
    no_answer_threshold: float | None = None,
) -> ModelTask:
    """What a model was fine-tuned to do.

    task                 where its config does not say, or says something else
    length               tokens of an input at most; None for what it was fine-tuned with
    no_answer_threshold  by how much "no answer" must outscore the best one; None for the model's own

    Raises SettingError for a model without such a head, naming what would do, and RefusedError for a record that
    cannot be read.
    """
    if task is not None and task not in TASKS:
        raise SettingError(f"no task {task!r}{nearest(task, TASKS)}; there are {', '.join(TASKS)}")
    heads = tuple(name for name in _heads(model) if name != POOLER)
    record = FineTuned.read(model.fields)
    if record is not None and (HEADS[record.task] not in heads or task not in (None, record.task)):
        record = None
    if task is None:
        task = _told(model, heads) if record is None else record.task
    if HEADS[task] not in heads:
        raise SettingError(f"{_named(model)} has no head {HEADS[task]!r}, which answers {task}; {_holds(heads)}")
    names = model.labels if task in ("classification", "multi-label", "regression", "tagging") else ()
    longest = model.tokenizer.max_length
    if length is not None and not model.tokenizer.special_tokens < length <= longest:
        raise SettingError(
            f"length={length} (--length) is no length for an input; give {model.tokenizer.special_tokens + 1} to "
            f"{longest} tokens, which the model reads"
        )
    if record is None:
        record = FineTuned(
            task=task, cutting=InputSettings(length=min(longest, LENGTHS.get(task, longest), 100_000))
        )
        columns = None
    else:
        columns = record.columns
    cutting = replace(record.cutting, length=length or min(record.cutting.length, longest))
    threshold = record.answers.threshold if no_answer_threshold is None else no_answer_threshold
    if record.always_answers and no_answer_threshold is None:
        threshold = math.inf
    answers = replace(record.answers, threshold=threshold)
    return ModelTask(task=task, names=tuple(names), columns=columns, cutting=cutting, answers=answers)


def _heads(model: DescribedModel) -> Sequence[str]:
    """Those that a folder holds, or that a model was opened with."""
    loaded: Any = () if isinstance(model, FolderDescription) else getattr(model, "head_values", ())
    if isinstance(model, FolderDescription) and model.fitted_head is not None:
        return (CLASSIFIER,)
    return tuple(loaded) or model.heads


def _told(model: DescribedModel, heads: Sequence[str]) -> Task:
    """The task by the head and the config's `problem_type`."""
    able = [name for name in heads if name in HEADS.values()]
    if len(able) > 1:
        tasks = [task for task in TASKS if HEADS[task] in able]
        raise SettingError(
            f"{_named(model)} has the heads {', '.join(able)}, and its config does not say which was fine-tuned; "
            f"choose one of {', '.join(tasks)} with --task (in Python: task=)"
        )
    if not able:
        raise SettingError(f"{_named(model)} has no head that was fine-tuned on labelled rows; {_holds(heads)}")
    if able[0] != CLASSIFIER:
        return next(task for task in TASKS if HEADS[task] == able[0])
    problem = model.fields.get("problem_type")
    if problem is None:
        return "regression" if len(model.labels) == 1 else "classification"
    told = next((task for task in TASKS if PROBLEMS.get(task) == problem), None)
    if told is None:
        raise RefusedError(
            f"the config's problem_type is {problem!r}, which is none of {', '.join(PROBLEMS.values())}; mend it, "
            "or say --task (in Python: task=)"
        )
    return told


def _named(model: DescribedModel) -> str:
    return str(model.source or "the model")


def _holds(heads: Sequence[str]) -> str:
    """What a model without the right head has, and what would do."""
    if "lm" in heads:
        return "it writes text: use sijo generate, or give a model that sijo finetune made"
    held = f"it has {', '.join(heads)}" if heads else "it is an encoder"
    return (
        f"{held}: sijo classify labels texts with it by labels in words, and sijo finetune trains a head on "
        "labelled rows"
    )
