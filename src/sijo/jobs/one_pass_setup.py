"""What an encoder that learns to judge all labels in one pass reads, and how it is made ready for that."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import torch

from sijo.checkpoints.describe import describe
from sijo.checkpoints.load import Model, load
from sijo.checkpoints.sentence import SentenceSettings
from sijo.data.label_questions import LabelQuestions, LabelWords, QuestionSettings, RecastSet
from sijo.errors import SettingError
from sijo.inference.backends.torch_backend import TorchBackend
from sijo.inference.engine import Engine
from sijo.inference.language import LanguageCheck
from sijo.jobs.label_matching_settings import LabelMatchingSettings, MatchingFiles
from sijo.jobs.label_matching_setup import Measured, measured_set, recast, sets_of
from sijo.jobs.new_token_rows import with_new_rows
from sijo.jobs.recast import MatchedSet
from sijo.models.family import Layout
from sijo.nn.head_specs import OPEN_LABELS, OnePassHeadSpec
from sijo.nn.heads import build_head
from sijo.objectives.one_pass import OnePass
from sijo.random import random_bits
from sijo.tokenizers.label_prompt import MARKS, TEXT_MARK, LabelPrompt, mark_ids
from sijo.training.optimizers import OptimizerSettings
from sijo.training.schedules import ScheduleSettings
from sijo.training.settings import LoopSettings, Settings
from sijo.zeroshot.labels import Label
from sijo.zeroshot.scorers.embedding import EmbeddingScorer
from sijo.zeroshot.scorers.one_pass import OnePassScorer


@dataclass(frozen=True, kw_only=True)
class OnePassSettings(Settings):
    """All that decides a run in which an encoder learns to judge all labels in one pass, but the sets."""

    task: Literal["one-pass"] = "one-pass"
    """What is learned: which of the labels that stand beside a text fit it."""
    model: str | None = None
    """A folder or org/name to start from, with the head or without; None for the built-in encoder."""
    questions: QuestionSettings = field(default_factory=QuestionSettings)
    """Which labels a batch chooses among, and in which words; they stand without a template."""
    length: int = 256
    """Tokens of an input, labels and text, at most."""
    text: Literal["first", "last", "avg", "max"] = "avg"
    """Of a fresh head, how one vector is made of the input's states."""
    scorer: Literal["simple", "mlp"] = "mlp"
    """Of a fresh head, what compares a label with the text."""
    gamma: float = 2.0
    """How much less a label counts that is judged well already; 0 for binary cross-entropy."""
    alpha: float | None = None
    """What a label that fits counts beside one that does not; null for as much."""
    without: float = 0.1
    """Share of texts beside which their own label does not stand."""
    held_out: float = 0.1
    """Share of each set's rows that is measured on where no sets are given for that, the same of each label."""
    evaluation_rows: int = 1_000
    """Rows of each set that are measured on, at most; which ones is drawn from run.seed."""

    def __post_init__(self) -> None:
        if not 16 <= self.length <= 100_000:
            raise SettingError(f"length={self.length} tokens is no length for an input; give 16 to 100,000")
        LabelMatchingSettings(held_out=self.held_out, evaluation_rows=self.evaluation_rows)


def default_one_pass(model: str | None = None) -> OnePassSettings:
    """Settings that work: 1,000 steps of 32 texts, AdamW at 5e-5 that falls to nothing, all layers.

    >>> settings = default_one_pass()
    >>> settings.run.steps, settings.length, settings.questions.length
    (1000, 256, 64)
    """
    a = describe(model).architecture
    length = min(256, a.places or 256)
    return OnePassSettings(
        model=model,
        length=length,
        questions=QuestionSettings(length=max(8, min(64, length // 2))),
        optimizer=OptimizerSettings(weight_decay=0.01),
        schedule=ScheduleSettings(peak=5e-5, shape="linear", warmup_share=0.05),
        run=LoopSettings(steps=1_000, batch=32, micro_tokens=4_096, save_every=500, keep=1, divergence=1e6),
    )


class OnePassSetup:
    """Sets, model and objective: built once, trained, measured and exported."""

    title = "an encoder that judges labels in one pass"
    hub_task = "zero-shot-classification"
    measured_by = "labels by name, all in one pass, by the one_pass scorer"
    tags = ("fine-tuned", "gliclass")

    def __init__(self, settings: OnePassSettings, files: MatchingFiles) -> None:
        train, judged = sets_of(settings, files)
        self.files, self.judged = files, judged
        self.model = model = with_one_pass(settings)
        limit = min(model.tokenizer.max_length, model.architecture.places or settings.length)
        if settings.length > limit:
            raise SettingError(
                f"length={settings.length} is longer than the {limit} tokens that the model reads; shorten it"
            )
        for one in judged:  # refused before anything is learned
            for language in one.languages:
                LabelPrompt(model.tokenizer, [own[0] for own in one.names_in(language)])
        scorer = EmbeddingScorer(Engine(model, TorchBackend.of(model)))
        made = [_bare(recast(one, scorer, settings.questions.most), one) for one in train]
        self.train = LabelQuestions(made, model.tokenizer, settings.questions, lambda text: TEXT_MARK + text)
        LanguageCheck(model).look([text for one in made for text in one.texts])
        self.settings = settings.with_steps(len(self.train))
        self.settings.schedule.warmup(self.settings.run.steps)
        model.transformer.recompute = settings.run.recompute
        self.objective = OnePass(
            model,
            model.tokenizer,
            length=settings.length,
            gamma=settings.gamma,
            alpha=settings.alpha,
            without=settings.without,
        )
        self.rows = {one.name: len(one.rows) for one in train}
        self.words = {
            "train": files.train,
            "evaluation": files.evaluation,
            "train_rows": self.rows,
            "evaluation_rows": {one.name: len(one.rows) for one in judged},
            "digest": self.train.fingerprint,
        }

    def measure(self) -> Iterator[Measured]:
        """Macro-F1 of the one-pass scorer for the model as it is now: all labels of a set by name."""
        self.objective.eval()
        scorer = OnePassScorer(Engine(self.model, TorchBackend.of(self.model), long_text="truncate"))
        for one in self.judged:
            for language in one.languages:
                labels = [Label(own[0]) for own in one.names_in(language)]
                yield measured_set(one, language, scorer, labels, "{}")
        self.objective.train()

    def sentence(self) -> SentenceSettings:
        """It learned to answer by a head, and its vectors went along."""
        return SentenceSettings()


def with_one_pass(settings: OnePassSettings) -> Model:
    """The model of the settings with the head: its own, or a fresh one, with marks in tokenizer and table."""
    if OPEN_LABELS in describe(settings.model).heads:
        model = load(settings.model, OPEN_LABELS)
        mark_ids(model.tokenizer)
    else:
        torch.manual_seed(random_bits(settings.run.seed, "weights") % 2**63)
        model = _fresh(load(settings.model), settings)
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()  # no longer mapped from the file
    return model


def _fresh(encoder: Model, settings: OnePassSettings) -> Model:
    """An encoder with two tokens more, and a head that looks for them."""
    a = encoder.architecture
    if a.reads == "left":
        raise SettingError(
            f"{encoder.source} reads to the left, so labels would never read the text; choose another"
        )
    grown = with_new_rows(encoder, encoder.tokenizer.with_specials(MARKS))
    ids = mark_ids(grown.tokenizer)
    with torch.no_grad():  # apart from each other from the start
        rows = grown.transformer.embeddings.tokens.weight.data.clone()
        rows[list(ids)] += torch.randn(2, rows.shape[1]) * a.initializer_range
        grown.transformer.embeddings.tokens.weight.data = rows
    head = OnePassHeadSpec(
        label_mark=ids[0], text_mark=ids[1], inner=a.hidden_size, text=settings.text, scorer=settings.scorer
    )
    layout = Layout(OPEN_LABELS, lambda config: head, {})
    with torch.device("meta"):
        made = Model(
            grown.family,
            grown.config,
            {layout.name: layout},
            tokenizer=grown.tokenizer,
            sentence=grown.sentence,
            source=encoder.source,
            base=encoder.base,
        )
    made.head[OPEN_LABELS] = build_head(head, made.architecture)
    made.transformer.load_state_dict(grown.transformer.state_dict(), assign=True)
    return made.eval()


def _bare(made: RecastSet, one: MatchedSet) -> RecastSet:
    """The set with its labels by their names alone, and no template around them."""
    words = {
        language: tuple(
            LabelWords((tuple(names),), label.descriptions)
            for names, label in zip(one.names_in(language), made.words[language], strict=True)
        )
        for language in one.languages
    }
    return replace(made, words=words)
