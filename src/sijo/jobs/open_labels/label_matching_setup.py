"""What an encoder that learns to fit labels reads and is measured on; checked before a run is begun."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from sijo.checkpoints.load import load
from sijo.checkpoints.sentence import SentenceSettings
from sijo.data.label_questions import LabelQuestions, RecastSet, Taught
from sijo.data.labelled_rows import held_out
from sijo.errors import SettingError, warn
from sijo.evaluation.intervals import Interval, intervals
from sijo.evaluation.metrics import metrics_of
from sijo.inference.backends.torch_backend import TorchBackend
from sijo.inference.engine import Engine, lowered
from sijo.inference.language import LanguageCheck
from sijo.inference.outputs import unit
from sijo.jobs.open_labels.label_matching_settings import LabelMatchingSettings, MatchingFiles
from sijo.jobs.open_labels.mixture import read_mixture
from sijo.jobs.open_labels.recast import MatchedSet, read_set, without_judged
from sijo.nn.decoder import AnyTransformer, single_stack
from sijo.nn.transformer import freeze_below
from sijo.objectives.label_matching import LabelMatching
from sijo.random import rng
from sijo.training.settings import LoopSettings
from sijo.zeroshot.labels import Label, LabelSet
from sijo.zeroshot.scorers.embedding import EmbeddingScorer
from sijo.zeroshot.scorers.open import open_scorer
from sijo.zeroshot.scorers.scorer import Scorer, ScoreRequest


class Measured(NamedTuple):
    """How well labels of a set, by name in one language, were told apart."""

    name: str
    """Of the set, and the language."""
    labels: int
    rows: int
    macro_f1: Interval


class LabelMatchingSetup:
    """Sets, model and objective: built once, trained, measured and exported."""

    title = "a sentence encoder that fits labels"
    hub_task = "sentence-similarity"
    measured_by = "labels by name in the plain template, by the embedding scorer"
    tags = ("fine-tuned", "sentence-transformers")

    def __init__(self, settings: LabelMatchingSettings, files: MatchingFiles) -> None:
        train, judged = sets_of(settings, files)
        self.files, self.judged = files, judged
        self.model = model = load(settings.model)
        for parameter in model.parameters():
            parameter.data = parameter.data.clone()  # no longer mapped from the file
        limit = min(model.tokenizer.max_length, model.architecture.places or settings.questions.length)
        if settings.questions.length > limit:
            raise SettingError(
                f"questions.length={settings.questions.length} is longer than the {limit} tokens that the model "
                "reads; shorten it"
            )
        if model.sentence.learned_steps:
            raise SettingError(
                f"{settings.model} makes its vectors by a Dense or LayerNorm module behind the pooling, and "
                "label-matching trains the network alone, whose vectors would be others; start from a model "
                "without, or distill this one first (sijo distill sentence), which leaves a student without"
            )
        self.prompt = settings.prompt
        engine = self._engine()
        self.before = engine.before
        if engine.before and engine.prompt_tokens >= settings.questions.length - 1:
            raise SettingError(
                f"the prompt {engine.before[:60]!r} leaves no room for a text in questions.length="
                f"{settings.questions.length} tokens; raise that, or shorten it"
            )
        skip = engine.prompt_tokens if engine.before and not model.sentence.include_prompt else 0
        scorer = EmbeddingScorer(engine)
        taught = [_taught(one, settings.temperature) for one in train]
        train = [told_by(one, lesson) for one, lesson in zip(train, taught, strict=True)]
        made = [
            replace(recast(one, scorer, settings.questions.most), taught=lesson)
            for one, lesson in zip(train, taught, strict=True)
        ]
        lowercase = model.sentence.lowercase

        def written(text: str) -> str:
            return lowered(self.before + text) if lowercase else self.before + text

        self.train = LabelQuestions(made, model.tokenizer, settings.questions, written)
        LanguageCheck(model).look([text for one in made for text in one.texts])
        if self.train.truncated:
            warn(
                f"{self.train.truncated:,} of {len(self.train):,} texts are longer than questions.length="
                f"{settings.questions.length} tokens, and are read in part"
            )
        self.settings = settings.with_steps(len(self.train))
        self.settings.schedule.warmup(self.settings.run.steps)
        train_top_layers(model.transformer, settings.top_layers)
        model.transformer.recompute = settings.run.recompute
        self.objective = LabelMatching(
            model,
            pooling=model.sentence.pooling,
            temperature=settings.temperature,
            skip=skip,
            dimensions=model.sentence.dimensions,
            dropout=settings.dropout,
        )
        self.rows = {one.name: len(one.rows) for one in train}
        self.words = words_of(files, train, judged, self.train.fingerprint)

    def measure(self) -> Iterator[Measured]:
        """Macro-F1 of the embedding scorer for the model as it is now: labels by name, in the plain template."""
        self.objective.eval()
        scorer = EmbeddingScorer(self._engine())
        for one in self.judged:
            for language in one.languages:
                labels = [Label(own[0]) for own in one.names_in(language)]
                yield measured_set(one, language, scorer, labels, one.plain_template(language))
        self.objective.train()

    def sentence(self) -> SentenceSettings:
        """How the exported model makes vectors: as the one it began as, with the prompt it learned with."""
        sentence = replace(self.model.sentence, trained=True)
        if sentence.prompt(None) == self.before:
            return sentence
        if not self.before:
            return replace(sentence, default_prompt=None)
        known = next((name for name, words in sentence.prompts.items() if words == self.before), "labels")
        return replace(sentence, prompts={**sentence.prompts, known: self.before}, default_prompt=known)

    def _engine(self) -> Engine:
        return Engine(self.model, TorchBackend.of(self.model), prompt=self.prompt, learning=True)


def measured_set(
    one: MatchedSet, language: str, scorer: Scorer, labels: Sequence[Label], template: str
) -> Measured:
    """Macro-F1 of a scorer for a set, its labels in the words of one language."""
    texts, names = [row.texts[0] for row in one.rows], list(one.labels.names)
    scores, _ = scorer.score(ScoreRequest(texts, labels, template))
    predicted = [names[place] for place in scores.argmax(1)]
    metrics = metrics_of("classification", one.rows, predicted, names)
    value = intervals({"macro_f1": metrics["macro_f1"]}, len(one.rows))["macro_f1"]
    return Measured(f"{one.name} ({language})", len(names), len(one.rows), value)


class _SetSettings(Protocol):
    """What decides which rows of sets are learned from."""

    @property
    def run(self) -> LoopSettings: ...

    @property
    def held_out(self) -> float: ...

    @property
    def evaluation_rows(self) -> int: ...


def train_top_layers(transformer: AnyTransformer, layers: int | None) -> None:
    """Freeze all but so many of the top layers; nothing for None. SettingError where it is not settled which."""
    if layers is not None:
        freeze_below(single_stack(transformer, "which of its layers are the top ones is not settled"), layers)


def words_of(
    files: MatchingFiles, train: Sequence[MatchedSet], judged: Sequence[MatchedSet], fingerprint: str
) -> dict[str, Any]:
    """What tells a run over these rows from others.

    fingerprint  of what is learned from
    """
    rows = ({one.name: len(one.rows) for one in sets} for sets in (train, judged))
    told = {"train": files.train, "evaluation": files.evaluation}
    return told | dict(zip(("train_rows", "evaluation_rows"), rows, strict=True)) | {"digest": fingerprint}


def sets_of(settings: _SetSettings, files: MatchingFiles) -> tuple[list[MatchedSet], list[MatchedSet]]:
    """The sets to learn from and those to measure on, of which no text is learned from."""
    seed = settings.run.seed
    columns = {"text": files.text, "label": files.label}
    entries = read_mixture(Path(files.train), **columns, labels=files.labels, teacher=files.teacher)
    train = [read_set(entry, files.how) for entry in entries]
    judged = []
    if files.evaluation is None:
        for number, one in enumerate(train):
            if one.entry.unlabelled or not settings.held_out:
                continue
            kept, aside = held_out(one.rows, "classification", settings.held_out, seed=seed)
            train[number] = replace(one, rows=tuple(kept))
            judged.append(replace(one, rows=tuple(aside)))
    else:
        beside = None if Path(files.evaluation).suffix.lower() == ".toml" else files.labels
        entries = read_mixture(Path(files.evaluation), **columns, labels=beside)
        judged = [read_set(entry, files.how) for entry in entries]
    judged = [_drawn(one, settings.evaluation_rows, seed) for one in judged]
    train, dropped = without_judged(train, judged)
    if dropped:
        counted = ", ".join(f"{count:,} of {name}" for name, count in dropped.items())
        warn(f"{sum(dropped.values()):,} rows are left out, since their texts are measured on: {counted}")
    return train, judged


def _drawn(one: MatchedSet, most: int, seed: int) -> MatchedSet:
    """As many rows of a set as are measured on, in their order."""
    if len(one.rows) <= most:
        return one
    places = np.sort(rng(seed, "measured").permutation(len(one.rows))[:most])
    return replace(one, rows=tuple(one.rows[place] for place in places))


def recast(one: MatchedSet, scorer: EmbeddingScorer, most: int) -> RecastSet:
    """The set as it is read, with the nearest others of each label by the encoder's own vectors of names.

    most  labels to choose among, at most

    Raises SettingError for unlabelled texts that no teacher told of.
    """
    if any(row.label is None for row in one.rows):
        raise SettingError(
            f"the set {one.name!r} is unlabelled, and only --task label-matching learns from a teacher's opinion; "
            "give a column of labels"
        )
    language = one.languages[0]
    labels = [Label(own[0]) for own in one.names_in(language)]
    vectors_ND = scorer.vectors(labels, one.plain_template(language))
    cosines_NN = vectors_ND @ vectors_ND.T
    np.fill_diagonal(cosines_NN, -np.inf)
    near = min(most, len(labels)) - 1
    order_NN = np.argsort(-cosines_NN, axis=1, kind="stable")[:, :near]
    place: Mapping[str, int] = {name: number for number, name in enumerate(one.labels.names)}
    return RecastSet(
        name=one.name,
        weight=one.entry.weight,
        texts=tuple(row.texts[0] for row in one.rows),
        labels=tuple(place[row.label] for row in one.rows),
        words=one.words(),
        near=order_NN,
    )


def told_by(one: MatchedSet, lesson: Taught | None) -> MatchedSet:
    """The set with the label that the teacher finds likeliest for each text that has none."""
    if not one.entry.unlabelled:
        return one
    assert lesson is not None  # as the mixture was read
    likeliest = (lesson.texts @ lesson.labels.T).argmax(1)
    names = one.labels.names
    return replace(
        one, rows=tuple(replace(row, label=names[place]) for row, place in zip(one.rows, likeliest, strict=True))
    )


def _taught(one: MatchedSet, temperature: float) -> Taught | None:
    """What the teacher of a set finds of it, if it has one, by names in the first language.

    Of a sentence encoder its unit vectors of texts and of labels. Of another, such as a cross-encoder, its scores
    of all labels for each text, divided by its own temperature, beside a one for each label.
    """
    if one.entry.teacher is None:
        return None
    scorer = open_scorer("auto", one.entry.teacher, backend="torch")
    if scorer.caution:
        warn(f"the teacher of the set {one.name!r}: {scorer.caution}")
    language = one.languages[0]
    labels = [Label(own[0]) for own in one.names_in(language)]
    texts = [row.texts[0] for row in one.rows]
    LanguageCheck(scorer.engine.model).look(texts)
    if not isinstance(scorer, EmbeddingScorer):
        worded = LabelSet.of([label.name for label in labels])
        worded = worded if scorer.known else worded.worded(scorer.templates)
        scores_TN, _ = scorer.score(ScoreRequest(texts, worded.labels, scorer.template))
        return Taught(
            (scores_TN / scorer.calibration.temperature).astype(np.float32),
            np.eye(len(labels), dtype=np.float32),
            f"{scorer.name} {scorer.engine.backend.fingerprint}",
        )
    return Taught(
        unit(scorer.engine.encode(texts).vectors),
        (scorer.vectors(labels, one.plain_template(language)) / temperature).astype(np.float32),
        scorer.engine.fingerprint,
    )
