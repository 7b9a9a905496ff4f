"""What an encoder that learns to fit labels reads and is measured on; checked before a run is begun."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

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
from sijo.jobs.label_matching_settings import LabelMatchingSettings, MatchingFiles
from sijo.jobs.mixture import read_mixture
from sijo.jobs.recast import MatchedSet, read_set, without_judged
from sijo.nn.transformer import freeze_below
from sijo.objectives.label_matching import LabelMatching
from sijo.random import rng
from sijo.zeroshot.labels import Label
from sijo.zeroshot.scorers.embedding import EmbeddingScorer
from sijo.zeroshot.scorers.open import open_scorer
from sijo.zeroshot.scorers.scorer import ScoreRequest


class Measured(NamedTuple):
    """How well labels of a set, by name in one language, were told apart."""

    name: str
    """Of the set, and the language."""
    labels: int
    rows: int
    macro_f1: Interval


class LabelMatchingSetup:
    """Sets, model and objective: built once, trained, measured and exported."""

    def __init__(self, settings: LabelMatchingSettings, files: MatchingFiles) -> None:
        train, judged = _sets(settings, files)
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
        recast = [_recast(one, scorer, settings) for one in train]
        lowercase = model.sentence.lowercase

        def written(text: str) -> str:
            return lowered(self.before + text) if lowercase else self.before + text

        self.train = LabelQuestions(recast, model.tokenizer, settings.questions, written)
        LanguageCheck(model).look([text for one in recast for text in one.texts])
        if self.train.truncated:
            warn(
                f"{self.train.truncated:,} of {len(self.train):,} texts are longer than questions.length="
                f"{settings.questions.length} tokens, and are read in part"
            )
        self.settings = settings.with_steps(len(self.train))
        self.settings.schedule.warmup(self.settings.run.steps)
        if settings.top_layers is not None:
            freeze_below(model.transformer, settings.top_layers)
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
        self.words = {
            "train": files.train,
            "evaluation": files.evaluation,
            "train_rows": self.rows,
            "evaluation_rows": {one.name: len(one.rows) for one in judged},
            "digest": self.train.fingerprint,
        }

    def measure(self) -> Iterator[Measured]:
        """Macro-F1 of the embedding scorer for the model as it is now: labels by name, in the plain template."""
        self.objective.eval()
        scorer = EmbeddingScorer(self._engine())
        for one in self.judged:
            texts, names = [row.texts[0] for row in one.rows], list(one.labels.names)
            for language in one.languages:
                labels = [Label(own[0]) for own in one.names_in(language)]
                scores, _ = scorer.score(ScoreRequest(texts, labels, one.plain_template(language)))
                predicted = [names[place] for place in scores.argmax(1)]
                metrics = metrics_of("classification", one.rows, predicted, names)
                value = intervals({"macro_f1": metrics["macro_f1"]}, len(one.rows))["macro_f1"]
                yield Measured(f"{one.name} ({language})", len(names), len(one.rows), value)
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
        return Engine(self.model, TorchBackend.of(self.model), prompt=self.prompt)


def _sets(settings: LabelMatchingSettings, files: MatchingFiles) -> tuple[list[MatchedSet], list[MatchedSet]]:
    """The sets to learn from and those to measure on, of which no text is learned from."""
    seed = settings.run.seed
    train = [
        read_set(entry, files.how) for entry in read_mixture(Path(files.train), text=files.text, label=files.label)
    ]
    judged = []
    if files.evaluation is None:
        for number, one in enumerate(train):
            kept, aside = held_out(one.rows, "classification", settings.held_out, seed=seed)
            train[number] = replace(one, rows=tuple(kept))
            judged.append(replace(one, rows=tuple(aside)))
    else:
        entries = read_mixture(Path(files.evaluation), text=files.text, label=files.label)
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


def _recast(one: MatchedSet, scorer: EmbeddingScorer, settings: LabelMatchingSettings) -> RecastSet:
    """The set as it is read, with the nearest others of each label by the encoder's own vectors of names."""
    language = one.languages[0]
    labels = [Label(own[0]) for own in one.names_in(language)]
    vectors_ND = scorer.vectors(labels, one.plain_template(language))
    cosines_NN = vectors_ND @ vectors_ND.T
    np.fill_diagonal(cosines_NN, -np.inf)
    near = min(settings.questions.most, len(labels)) - 1
    order_NN = np.argsort(-cosines_NN, axis=1, kind="stable")[:, :near]
    place: Mapping[str, int] = {name: number for number, name in enumerate(one.labels.names)}
    return RecastSet(
        name=one.name,
        weight=one.entry.weight,
        texts=tuple(row.texts[0] for row in one.rows),
        labels=tuple(place[row.label] for row in one.rows),
        words=one.words(),
        near=order_NN,
        taught=None if one.entry.teacher is None else _taught(one, one.entry.teacher, settings.temperature),
    )


def _taught(one: MatchedSet, teacher: str, temperature: float) -> Taught:
    """What a teacher finds of a set: its unit vectors of texts, and of labels by name, in the first language."""
    scorer = open_scorer("embedding", teacher, backend="torch")
    assert isinstance(scorer, EmbeddingScorer)
    if scorer.caution:
        warn(f"the teacher of the set {one.name!r}: {scorer.caution}")
    language = one.languages[0]
    labels = [Label(own[0]) for own in one.names_in(language)]
    texts = [row.texts[0] for row in one.rows]
    LanguageCheck(scorer.engine.model).look(texts)
    return Taught(
        unit(scorer.engine.encode(texts).vectors),
        (scorer.vectors(labels, one.plain_template(language)) / temperature).astype(np.float32),
        scorer.engine.fingerprint,
    )
