"""What a fine-tuning run learns, and with which network: rows, labels and the model as it is at the start.

All of it is checked here, before a run is begun.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from sijo.checkpoints.describe import describe
from sijo.checkpoints.load import Model, load
from sijo.data.labelled_inputs import LabelledInputs
from sijo.data.labelled_rows import HEADS, LabelledRow, columns_read, held_out, read_rows
from sijo.data.row_labels import check_labels, names_of, numbers_alike, spelled_alike
from sijo.errors import SettingError, TextError, warn
from sijo.evaluation.metrics import BEST, metrics_of
from sijo.evaluation.tag_schemes import TagScheme, scheme_of
from sijo.inference.language import LanguageCheck
from sijo.jobs.finetune_settings import FinetuneSettings, LabelledFiles
from sijo.models.family import Layout
from sijo.models.labels import with_labels
from sijo.names import folded
from sijo.nn.decoder import single_stack
from sijo.nn.encoder_decoder import stacks
from sijo.nn.head_specs import ClassifierHeadSpec
from sijo.nn.heads import build_head
from sijo.nn.transformer import Block, start
from sijo.objectives.ensemble import Ensemble
from sijo.objectives.supervised import Supervised, TaskTeacher
from sijo.prediction.task import PROBLEMS, FineTuned
from sijo.random import random_bits

TELLING = 200
"""Texts by which two tokenizers are compared."""


class FinetuneSetup:
    """Rows, labels and the model's start: all that several seeds share."""

    def __init__(self, settings: FinetuneSettings, files: LabelledFiles) -> None:
        task = settings.task
        read = partial(read_rows, task=task, columns=settings.columns, how=files.how)
        train_rows = numbers_alike(read(files.train), task)
        rows = [] if files.evaluation is None else read(files.evaluation)
        rows = spelled_alike(train_rows, numbers_alike(rows, task), task)
        self.scheme = _scheme(settings, train_rows, rows)
        """By which tags say where entities are."""
        check_labels(train_rows, rows, task, allow_rare=settings.allow_rare)
        if files.evaluation is None:
            train_rows, rows = held_out(train_rows, task, settings.held_out, seed=settings.run.seed)
        if task == "classification" and len(train_rows[0].texts) != len(rows[0].texts):
            raise SettingError(
                f"{files.train} is read as {len(train_rows[0].texts)} text(s) a row and {files.evaluation} as "
                f"{len(rows[0].texts)}; name both columns by columns.text and columns.second"
            )
        self.task, self.settings, self.files = task, settings, files
        self.columns = columns_read(files.train, task, settings.columns, files.how)
        """Where in the training file stands what the model reads."""
        self.names, self.keeps_head = _columns(settings, names_of(train_rows, task))
        self.metric = settings.metric or BEST[task][0]
        self.always_answers = task != "question-answering" or all(row.label for row in train_rows)
        self.answers = replace(settings.answers, threshold=math.inf) if self.always_answers else settings.answers
        model = self._model(settings.run.seed)
        self._first: Model | None = model
        tokenizer, places = model.tokenizer, model.architecture.places
        if places is not None and settings.cutting.length > places:
            raise SettingError(
                f"cutting.length={settings.cutting.length} is longer than the {places} places of the model; "
                "shorten it"
            )
        if self.metric == "entity_f1" and self.scheme is None:
            if settings.metric is not None:
                raise SettingError("metric=entity_f1 needs BIO tags, such as B-place and I-place; choose accuracy")
            self.metric = "accuracy"
        self.train = LabelledInputs(train_rows, task, self.names, tokenizer, settings.cutting)
        self.evaluation = LabelledInputs(rows, task, self.names, tokenizer, settings.cutting)
        LanguageCheck(model).look([" ".join((*row.texts, *row.choices, *row.words)) for row in train_rows])
        self.settings = settings.with_steps(len(self.train))
        self.settings.schedule.warmup(self.settings.run.steps)
        self.teacher = self._teacher(model)
        if settings.sift.weight and model.transformer.embeddings.norm is None:
            raise SettingError("sift moves normalised embeddings, and this network has none; set sift.weight=0")
        for what, inputs in (("training", self.train), ("evaluation", self.evaluation)):
            if inputs.truncated:
                limit = f"cutting.length={settings.cutting.length} tokens"
                if task == "question-answering":  # whose texts are read in windows
                    limit = f"cutting.question={settings.cutting.question} tokens in the question"
                warn(
                    f"{inputs.truncated:,} of {len(inputs.rows):,} {what} rows are longer than {limit}, and are "
                    "read in part"
                )
        self.words = {
            "train": files.train,
            "evaluation": files.evaluation,
            "train_rows": len(train_rows),
            "evaluation_rows": len(rows),
            "labels": list(self.names),
            "digest": f"{self.train.fingerprint} {self.evaluation.fingerprint}",
        }

    def _model(self, seed: int) -> Model:
        """The model as it is at the start, its fresh parts drawn from a seed."""
        settings, name = self.settings, HEADS[self.task]
        torch.manual_seed(random_bits(seed, "weights") % 2**63)
        labels = list(self.names) or (["LABEL_0", "LABEL_1"] if self.task == "question-answering" else None)
        if self.keeps_head:
            model = load(settings.model, name)
            if self.task != "regression" and self.names and model.labels != self.names:  # another spelling
                model.config = with_labels(model.config, self.names)
                model.labels = self.names
        elif settings.head == "plain":
            model = _plain(load(settings.model), list(self.names))
        else:
            model = load(settings.model, f"new:{name}", labels=labels)
        for parameter in model.parameters():
            parameter.data = parameter.data.clone()  # no longer mapped from the file
        _renew(model, settings.fresh_layers)
        if self.task in PROBLEMS:
            model.config["problem_type"] = PROBLEMS[self.task]
        record = FineTuned(
            task=self.task,
            columns=self.columns,
            cutting=settings.cutting,
            answers=settings.answers,
            always_answers=self.always_answers,
        )
        model.config |= record.fields
        model.transformer.recompute = settings.run.recompute
        return model

    def objective(self, seed: int) -> Supervised:
        """What is learned, from the start; the first seed's model is open already, for its tokenizer."""
        settings, first = self.settings, self._first
        self._first = None
        return Supervised(
            self._model(seed) if first is None or seed != settings.run.seed else first,
            self.task,
            class_weights=self._class_weights() if settings.class_weights == "balanced" else None,
            smoothing=settings.smoothing,
            sift=settings.sift,
            teacher=self.teacher,
            ensemble=None if settings.ensemble.every is None else Ensemble(settings.ensemble, self.train),
        )

    def metrics(self, predictions: list[Any]) -> dict[str, Any]:
        """How good predictions for the evaluation rows are."""
        return metrics_of(self.task, self.evaluation.rows, predictions, self.names, self.scheme)

    def _class_weights(self) -> Tensor:
        """Of each class, rows / (classes · its rows): scikit-learn's "balanced"."""
        labels = [row.label for row in self.train.rows]
        counts = Counter(labels if self.task == "classification" else (tag for tags in labels for tag in tags))
        return torch.tensor([counts.total() / (len(self.names) * counts[name]) for name in self.names])

    def _teacher(self, student: Model) -> TaskTeacher | None:
        wanted = self.settings.teacher
        if wanted.model is None:
            return None
        name = HEADS[self.task]
        held = describe(wanted.model).heads
        if name not in held:
            raise SettingError(
                f"the teacher {wanted.model} has no head {name}; it has {', '.join(held) or 'none'}. Give one that "
                f"was fine-tuned on {self.task}"
            )
        model = load(wanted.model, name)
        columns = None
        if self.task == "regression":
            if len(model.labels) != 1:
                raise SettingError(
                    f"the teacher {wanted.model} gives {len(model.labels)} scores, and not one number"
                )
        elif self.names:
            theirs, ours = ({folded(name): name for name in labels} for labels in (model.labels, self.names))
            if theirs.keys() != ours.keys():
                odd = sorted((theirs | ours)[name] for name in theirs.keys() ^ ours.keys())
                raise SettingError(
                    f"the teacher {wanted.model} was taught other labels than these rows have: "
                    f"{', '.join(map(repr, odd[:4]))}{', …' if len(odd) > 4 else ''} stand on one side alone; "
                    "give one that was fine-tuned on these labels"
                )
            places = {folded(name): place for place, name in enumerate(model.labels)}
            columns = [places[folded(name)] for name in self.names]
        problem = model.config.get("problem_type")
        if problem is not None and self.task in PROBLEMS and problem != PROBLEMS[self.task]:
            raise SettingError(f"the teacher {wanted.model} was taught {problem}, not {PROBLEMS[self.task]}")
        texts = [text for row in self.train.rows[:TELLING] for text in (*row.texts, *row.words, *row.choices)]
        here, there = student.tokenizer, model.tokenizer
        if here.ids(texts) != there.ids(texts) or here.framed([0], [0]) != there.framed([0], [0]):
            raise SettingError(
                f"the teacher {wanted.model} reads with another tokenizer than the student, and both must read the "
                "same question; give a teacher and a student with the same tokenizer"
            )
        limit = model.architecture.places
        if limit is not None and limit < self.settings.cutting.length:
            raise SettingError(
                f"cutting.length={self.settings.cutting.length} is longer than the {limit} places of the teacher"
            )
        return TaskTeacher(model, columns, wanted.temperature, wanted.soft, wanted.hard)


def _columns(settings: FinetuneSettings, names: tuple[str, ...]) -> tuple[tuple[str, ...], bool]:
    """The labels in the order of the head's columns, and whether the model's own head is kept for them."""
    name = HEADS[settings.task]
    if settings.head == "plain" or name not in describe(settings.model).heads:
        return names, False
    held = describe(settings.model).labels
    if settings.task == "regression":
        return (held, True) if len(held) == 1 else (names, False)
    ours = {folded(name): name for name in names}
    if names and names == tuple(map(str, range(len(held)))) and not set(names) & set(map(folded, held)):
        if held == tuple(f"LABEL_{number}" for number in range(len(held))):
            return names, True  # columns that nobody has named
        shown = ", ".join(held[:4]) + ", …" * (len(held) > 4)
        warn(
            f"the labels of the rows are the numbers {names[0]} to {names[-1]}, and the model's head knows names "
            f"({shown}): a new head is made, which knows the numbers; write the names into the rows to go on with "
            "the old one"
        )
    if len(held) != len(names) or set(map(folded, held)) != ours.keys():
        return names, not names
    return tuple(ours[folded(name)] for name in held), True  # in the head's order, as the rows spell them


def _scheme(
    settings: FinetuneSettings, train: Sequence[LabelledRow], evaluation: Sequence[LabelledRow]
) -> TagScheme | None:
    """The scheme of the tags, found in all rows; a mixture is refused unless words alone decide."""
    if settings.task != "tagging":
        return None
    files = [[(row.where, row.label) for row in rows] for rows in (train, evaluation) if rows]
    try:
        return scheme_of(*files)
    except TextError:
        if settings.metric in ("accuracy", "macro_f1"):
            return None
        raise


def _plain(model: Model, names: list[str]) -> Model:
    """The encoder with one linear layer over the first token, or the last for a network that reads to the left, or
    has a decoder."""
    a = model.architecture
    reads: Literal["first", "last", "end"] = "last" if a.reads == "left" else "first"
    if len(stacks(a)) > 1:
        reads = "end"
    value = ClassifierHeadSpec(labels=len(names), reads=reads, dropout=a.dropout.hidden)
    layout = Layout("sequence-classification", lambda config: value, {})
    with torch.device("meta"):
        made = Model(
            model.family,
            with_labels(model.config, names),
            {layout.name: layout},
            tokenizer=model.tokenizer,
            sentence=model.sentence,
            source=model.source,
            base=model.base,
        )
    made.head[layout.name] = build_head(value, a)
    made.transformer.load_state_dict(model.transformer.state_dict(), assign=True)
    return made.eval()


def _renew(model: Model, layers: int) -> None:
    """Draw the weights of the top layers anew."""
    schedule = model.architecture.schedule
    if layers > len(schedule):
        raise SettingError(f"fresh_layers={layers} is more than the {len(schedule)} layers of the model")
    if not layers:
        return
    transformer = single_stack(model.transformer, f"fresh_layers={layers} would renew layers of its encoder alone")
    for block in schedule[len(schedule) - layers :]:
        if schedule.count(block) > 1:
            raise SettingError(
                f"fresh_layers={layers} would renew a layer that stands at {schedule.count(block)} places of this "
                "model, which shares its layers; set it to 0"
            )
        fresh = Block(model.architecture, block)
        start(fresh, std=model.architecture.initializer_range)
        transformer.blocks[block].load_state_dict(fresh.state_dict())
