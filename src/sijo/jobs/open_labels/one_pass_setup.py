"""What an encoder that learns to judge all labels in one pass reads, and how it is made ready for that."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import torch

from sijo.checkpoints.describe import describe
from sijo.checkpoints.load import Model, load
from sijo.checkpoints.sentence import SentenceSettings
from sijo.data.label_questions import LabelQuestions, LabelWords, RecastSet
from sijo.errors import SettingError
from sijo.inference.backends.torch_backend import TorchBackend
from sijo.inference.engine import Engine
from sijo.inference.language import LanguageCheck
from sijo.jobs.new_token_rows import with_new_rows
from sijo.jobs.open_labels.label_matching_settings import MatchingFiles
from sijo.jobs.open_labels.label_matching_setup import Measured, measured_set, recast, sets_of, words_of
from sijo.jobs.open_labels.one_pass_settings import OnePassSettings
from sijo.jobs.open_labels.recast import MatchedSet
from sijo.models.family import Layout
from sijo.nn.head_specs import OPEN_LABELS, OnePassHeadSpec
from sijo.nn.heads import build_head
from sijo.objectives.one_pass import OnePass
from sijo.objectives.posed_batch import unposed
from sijo.random import random_bits
from sijo.tokenizers.label_prompt import MARKS, TEXT_MARK, mark_ids
from sijo.zeroshot.labels import Label
from sijo.zeroshot.scorers.embedding import EmbeddingScorer
from sijo.zeroshot.scorers.one_pass import OnePassScorer

BALANCED_ON = 4
"""Batches by which a fresh head's scale and offset are set."""


class OnePassSetup:
    """Sets, model and objective: built once, trained, measured and exported."""

    title = "an encoder that judges labels in one pass"
    hub_task = "zero-shot-classification"
    measured_by = "labels by name, all in one pass, by the one_pass scorer"
    tags = ("fine-tuned", "gliclass")

    def __init__(self, settings: OnePassSettings, files: MatchingFiles) -> None:
        train, judged = sets_of(settings, files)
        self.files, self.judged = files, judged
        fresh = OPEN_LABELS not in describe(settings.model).heads
        self.model = model = with_one_pass(settings)
        limit = min(model.tokenizer.max_length, model.architecture.places or settings.length)
        if settings.length > limit:
            raise SettingError(
                f"length={settings.length} is longer than the {limit} tokens that the model reads; shorten it"
            )
        reads = OnePassScorer(Engine(model, TorchBackend.of(model), long_text="truncate"))
        for one in judged:  # refused before anything is learned
            for language in one.languages:
                reads.check(_labels(one, language), "{}")
        scorer = EmbeddingScorer(Engine(model, TorchBackend.of(model), learning=True))
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
            loss=settings.loss,
            gamma=settings.gamma,
            alpha=settings.alpha,
            without=settings.without,
            dropout=settings.dropout,
        )
        if fresh:
            size, seed = settings.run.batch, settings.run.seed
            first = (unposed(self.train.batch(size * step, size, seed=seed)) for step in range(BALANCED_ON))
            self.objective.eval().balance(self.objective.pose(batch, seed) for batch in first)
            self.objective.train()
        self.rows = {one.name: len(one.rows) for one in train}
        self.words = words_of(files, train, judged, self.train.fingerprint)

    def measure(self) -> Iterator[Measured]:
        """Macro-F1 of the one-pass scorer for the model as it is now: all labels of a set by name."""
        self.objective.eval()
        scorer = OnePassScorer(Engine(self.model, TorchBackend.of(self.model), long_text="truncate"))
        for one in self.judged:
            for language in one.languages:
                yield measured_set(one, language, scorer, _labels(one, language), "{}")
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
    head = fresh_head(ids, a.hidden_size, settings.neighbours)
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


def fresh_head(marks: tuple[int, int], width: int, neighbours: Literal["seen", "hidden"]) -> OnePassHeadSpec:
    """A head that begins as the cosine of the mean of a text's states and the mean of a label's; what is said for
    each choice: docs/gliclass.md."""
    return OnePassHeadSpec(
        label_mark=marks[0],
        text_mark=marks[1],
        inner=2 * width,
        label="average",
        text="avg",
        starts="mark",
        vectors="unit",
        scale=1.0,
        offset=0.0,
        neighbours=neighbours,
        dropout=0.0,
    )


def _labels(one: MatchedSet, language: str) -> list[Label]:
    """Those that a set is measured with: by their names alone."""
    return [Label(own[0]) for own in one.names_in(language)]


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
