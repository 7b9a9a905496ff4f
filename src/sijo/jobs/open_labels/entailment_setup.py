"""What a cross-encoder that learns which labels a text entails reads, and is measured on.

Each text stands in a pair with the sentence of its own label, which it entails, and in others with those of labels
that do not fit, which it contradicts.
"""

from collections.abc import Iterator
from dataclasses import replace

from sijo.checkpoints.load import load
from sijo.checkpoints.sentence import SentenceSettings
from sijo.data.labelled_inputs import InputSettings, LabelledInputs
from sijo.data.labelled_rows import LabelledRow
from sijo.errors import SettingError, warn
from sijo.inference.backends.torch_backend import TorchBackend
from sijo.inference.engine import Engine
from sijo.inference.language import LanguageCheck
from sijo.jobs.open_labels.entailment_settings import EntailmentSettings
from sijo.jobs.open_labels.label_matching_settings import MatchingFiles
from sijo.jobs.open_labels.label_matching_setup import (
    Measured,
    measured_set,
    sets_of,
    train_top_layers,
    words_of,
)
from sijo.jobs.open_labels.recast import MatchedSet
from sijo.nn.head_specs import CLASSIFIER
from sijo.objectives.supervised import Supervised
from sijo.random import rng
from sijo.zeroshot.labels import Label
from sijo.zeroshot.scorers.entailment import EntailmentScorer


class EntailmentSetup:
    """Sets, model and objective: built once, trained, measured and exported."""

    title = "a cross-encoder that judges labels"
    hub_task = "zero-shot-classification"
    measured_by = "labels as they are given, by the entailment scorer"
    tags = ("fine-tuned",)

    def __init__(self, settings: EntailmentSettings, files: MatchingFiles) -> None:
        train, judged = sets_of(settings, files)
        self.files, self.judged = files, judged
        self.model = model = load(settings.model, CLASSIFIER)
        for parameter in model.parameters():
            parameter.data = parameter.data.clone()  # no longer mapped from the file
        limit = min(model.tokenizer.max_length, model.architecture.places or settings.length)
        if settings.length > limit:
            raise SettingError(
                f"length={settings.length} is longer than the {limit} tokens that the model reads; shorten it"
            )
        columns = self._scorer().columns
        if columns.contradiction is None:
            raise SettingError(
                f"{settings.model} gives one number, which has no rival to learn by; start from a head of two "
                "columns or more, one of them for entailment"
            )
        names = [model.labels[columns.entailment], model.labels[columns.contradiction]]
        rows = [pair for one in train for pair in self._pairs(one, settings, *names)]
        self.train = LabelledInputs(
            rows, "classification", model.labels, model.tokenizer, InputSettings(length=settings.length)
        )
        LanguageCheck(model).look([row.texts[0] for one in train for row in one.rows])
        if self.train.truncated:
            warn(
                f"{self.train.truncated:,} of {len(rows):,} pairs are longer than length={settings.length} tokens, "
                "and are read in part"
            )
        self.settings = settings.with_steps(len(self.train))
        self.settings.schedule.warmup(self.settings.run.steps)
        train_top_layers(model.transformer, settings.top_layers)
        model.transformer.recompute = settings.run.recompute
        self.objective = Supervised(model, "classification")
        self.rows = {one.name: len(one.rows) for one in train}
        self.words = words_of(files, train, judged, self.train.fingerprint)

    def measure(self) -> Iterator[Measured]:
        """Macro-F1 of the entailment scorer for the model as it is now."""
        self.objective.eval()
        scorer = self._scorer()
        for one in self.judged:
            yield measured_set(one, one.languages[0], scorer, self._labels(one), scorer.template)
        self.objective.train()

    def sentence(self) -> SentenceSettings:
        """It learned to answer by a head, and its vectors went along."""
        return SentenceSettings()

    def _scorer(self) -> EntailmentScorer:
        return EntailmentScorer(Engine(self.model, TorchBackend.of(self.model), long_text="truncate"))

    def _labels(self, one: MatchedSet) -> tuple[Label, ...]:
        return one.labels.worded(EntailmentScorer.templates).labels

    def _pairs(self, one: MatchedSet, settings: EntailmentSettings, fits: str, wrong: str) -> Iterator[LabelledRow]:
        """Each text with its own label and others, in the sentences that the scorer asks about.

        fits, wrong  what the columns are called that say so
        """
        sentences = [label.phrases(EntailmentScorer.template) for label in self._labels(one)]
        for number, row in enumerate(one.rows):
            random = rng(settings.run.seed, "pairs", number)
            own = one.labels.place(row.label)
            others = random.permutation([place for place in range(len(sentences)) if place != own])
            for place in (own, *others[: settings.wrong].tolist()):
                said = sentences[place][int(random.random() * len(sentences[place]))]
                yield replace(row, texts=(row.texts[0], said), label=fits if place == own else wrong)
