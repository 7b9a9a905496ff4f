"""From a few labelled texts to a model: the encoder's vectors, the zero-shot answer, a head, and a folder.

Vectors are made once, and kept in a cache if one is named; all that comes after takes seconds and no torch. Texts
that nobody labelled take part too: labels are drawn to those near them (`zeroshot/calibrating/refining.py`), and
they tell how vectors lie.

Letters: n texts, L labels, D width of a vector.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from sijo.checkpoints.card import CARD, Card, Metric, known_licence, write_card
from sijo.checkpoints.describe import FolderDescription, languages_of
from sijo.checkpoints.locate import BUILT_IN
from sijo.checkpoints.sentence import network_folder
from sijo.checkpoints.vectors.fitted_head import FITTED, write_fitted_head
from sijo.checkpoints.vectors.steps import DenseStep
from sijo.data.labelled_inputs import InputSettings
from sijo.data.labelled_rows import ColumnNames, Task
from sijo.errors import CheckpointError, SettingError, TextError, warn
from sijo.evaluation.intervals import Interval
from sijo.files.atomic import copy_folder, whole_folder
from sijo.files.json_files import read_object, write_json
from sijo.files.paths import present
from sijo.inference.outputs import unit
from sijo.jobs.fitting.few_labels import FewLabels
from sijo.jobs.fitting.head import FOLDS, FittedHead, Prior, fit_head, folds, share_right, stand_ins
from sijo.models.labels import with_labels
from sijo.prediction.task import PROBLEMS, FineTuned
from sijo.random import rng
from sijo.zeroshot.calibrating.refining import Refinement
from sijo.zeroshot.labeller import LabelChoice
from sijo.zeroshot.scorers.embedding import EmbeddingScorer

if TYPE_CHECKING:
    from sijo.checkpoints.load import Model

MOST_UNLABELLED = 2_000
"""Texts without a label that are read, drawn from all of them."""
ENOUGH = 50
"""Texts in all from which labels are drawn to those near them."""
PAYS_BELOW = 0.8
"""Accuracy on texts held out under which `--contrastive` is pointed at."""
JUDGING_HEADS = ("sequence-classification", "token-classification")
"""Whose columns config.json names, as it does a fitted head's."""


Judged = tuple[np.ndarray, np.ndarray]
"""Logits (n, L) of texts held out, and which labels are right (n, L)."""
NOTHING: Judged = (np.zeros((0, 0)), np.zeros((0, 0), bool))


class FewVectors(NamedTuple):
    """Unit vectors, float64."""

    texts_nD: np.ndarray
    """Of the labelled texts."""
    others_nD: np.ndarray
    """Of others."""
    labels_LD: np.ndarray
    """Of the labels as they are worded, which the zero-shot answer is made of; zeros where that says nothing."""


@dataclass(frozen=True, kw_only=True)
class FittedModel:
    """An encoder with a head over its vectors, and how it came about."""

    scorer: EmbeddingScorer
    """The encoder, opened."""
    some: FewLabels
    """What it was fitted to."""
    head: FittedHead
    zero_shot: Interval | None
    """Share of the labelled texts that the zero-shot answer has right, before anything is learned; None where the
    labels' names say nothing to the encoder."""
    unlabelled: int
    """How many texts without a label took part."""
    seconds: float
    """That the head took once the vectors were known."""

    def save(
        self, folder: str | Path, *, columns: ColumnNames | None = None, data: str = "", overwrite: bool = False
    ) -> Path:
        """Write the model as a folder: the encoder's own files, the head, its labels, a card, a manifest.

        folder     one that is not there yet
        columns    which held text and label, for `sijo predict`
        data       what the labelled texts are called, in the card
        overwrite  replace a model that is there

        The folder appears whole or not at all. Raises SettingError where there is one already.
        """
        model = self.scorer.engine.model
        with whole_folder(Path(folder), overwrite=overwrite) as fresh:
            if isinstance(model, FolderDescription):
                copy_folder(model.folder, fresh, leave=lambda name: name == CARD or name.startswith(f"{FITTED}/"))
            else:
                from sijo.checkpoints.save import save_into

                save_into(cast("Model", model), fresh, card=self._card(Path(folder).name, data))
            network = network_folder(fresh)
            config = present(network, "config.json")
            if config is None:
                raise CheckpointError(
                    f"{model.source} has no config.json: it is not a model, or was copied in part"
                )
            task: Task = "multi-label" if self.some.multi_label else "classification"
            cutting = InputSettings(length=max(8, min(model.tokenizer.max_length, 100_000)))
            record = FineTuned(task=task, columns=columns or ColumnNames(), cutting=cutting)
            fields = with_labels(read_object(config), self.some.labels.names) | record.fields
            write_json(network / "config.json", fields | {"problem_type": PROBLEMS[task]})
            write_fitted_head(_step(self.head), fresh)
            write_card(fresh, self._card(Path(folder).name, data))
        return Path(folder)

    def _card(self, name: str, data: str) -> Card:
        head, model = self.head, self.scorer.engine.model
        metrics = []
        if self.zero_shot is not None:
            metrics.append(_metric("accuracy of the zero-shot answer", self.zero_shot, len(self.some.texts)))
        if head.held_out is not None:
            metrics.insert(0, _metric("accuracy", head.held_out, head.tried))
        rows: dict[str, int | None] = {data or "labelled texts": len(self.some.texts)}
        rows |= {f"of these {label}": count for label, count in self.some.counts.items()}
        if self.unlabelled:
            rows["texts without a label"] = self.unlabelled
        source = model.source
        return Card(
            title=f"{name}: a head fitted to {len(self.some.texts):,} labelled texts",
            task="text-classification",
            base_model=BUILT_IN if source is None else str(source),
            labels=self.some.labels.names,
            data=rows,
            metrics=metrics,
            measured_on="the labelled texts themselves, each answered by a head fitted to others of them",
            settings=self.settings,
            base_licence=None if source is None else known_licence(source),
            languages=languages_of(source) or (),
            tags=("few-shot",),
        )

    @property
    def advice(self) -> str | None:
        """What may do better, for a person; None where nothing is known to.

        The labels' words, where these alone have more right. Where a head over the vectors as they are had little
        right, training the encoder paid in all that was measured (docs/fitting.md).
        """
        held_out, model = self.head.held_out, self.scorer.engine.model
        if held_out is not None and self.zero_shot is not None and self.zero_shot.value > held_out.value:
            return (
                f"{held_out.value:.0%} of the texts held out are right, and {self.zero_shot.value:.0%} by the "
                "labels' words alone: classify by these, until more texts have a label"
            )
        fixed = isinstance(model, FolderDescription) and not model.sentence.learned_steps
        if held_out is None or self.some.multi_label or not fixed or held_out.value >= PAYS_BELOW:
            return None
        return (
            f"{held_out.value:.0%} of the texts held out are right; --contrastive, which trains the encoder too, "
            "may do better, in minutes and with torch"
        )

    @property
    def settings(self) -> Mapping[str, object]:
        """What decided the head."""
        zero_shot_alone = np.isinf(self.head.strength.penalty)
        return {
            "prior": self.head.strength.prior,
            "penalty": "none is learned" if zero_shot_alone else self.head.strength.penalty,
            "cross_validated": self.head.chosen,
            "scale": self.head.scale,
            "multi_label": self.some.multi_label,
            "contrastive": not isinstance(self.scorer.engine.model, FolderDescription),
        }


def fit_few(
    some: FewLabels,
    scorer: EmbeddingScorer,
    *,
    template: str | None = None,
    seed: int = 0,
    told: Callable[[int, int], None] = lambda done, of: None,
    contrastive: bool = False,
) -> FittedModel:
    """Fit a head over an encoder's vectors.

    some         what `few_labels` gives
    scorer       the encoder, opened to compare vectors
    template     the sentence labels are put in, with {} for the name; None for the scorer's own
    seed         decides which texts are held out together, and which without a label are read
    contrastive  whether the encoder itself is trained before, on pairs of texts: it takes torch, and minutes
    told         how many steps of how many that has taken

    Raises SettingError for a model that holds a head of its own, and TextError for a labelled text of which the
    model reads nothing.
    """
    must_have_room(scorer)
    zero = vectors_of(some, scorer, template, seed)
    if contrastive:
        return _after_pairs(some, scorer, zero, template=template, seed=seed, told=told)
    started = time.perf_counter()
    head = head_of(some, zero, none_score=scorer.calibration.none_score, seed=seed)
    return _fitted(some, scorer, head, zero, started)


def _fitted(
    some: FewLabels, scorer: EmbeddingScorer, head: FittedHead, zero: FewVectors, started: float
) -> FittedModel:
    cosines_nL = zero.texts_nD @ zero.labels_LD.T - (scorer.calibration.none_score if some.multi_label else 0.0)
    return FittedModel(
        scorer=scorer,
        some=some,
        head=head,
        zero_shot=share_right(cosines_nL, some.right, multi_label=some.multi_label)
        if zero.labels_LD.any()
        else None,
        unlabelled=len(zero.others_nD),
        seconds=time.perf_counter() - started,
    )


def vectors_of(some: FewLabels, scorer: EmbeddingScorer, template: str | None = None, seed: int = 0) -> FewVectors:
    """What an encoder makes of some labels and texts; arguments and errors as of `fit_few`."""
    labels_LD = label_vectors(some, scorer, template)
    encoded = scorer.engine.encode(some.texts)
    if not encoded.tokens.all():
        row = some.rows[int(encoded.tokens.argmin())]
        raise TextError(f"row {row} has a label, and no words that the model reads; leave it out")
    others_nD = unit(scorer.engine.encode(_drawn(some.unlabelled, seed)).vectors.astype(np.float64))
    return FewVectors(unit(encoded.vectors.astype(np.float64)), others_nD[others_nD.any(-1)], labels_LD)


def head_of(
    some: FewLabels, vectors: FewVectors, *, none_score: float = 0.0, seed: int = 0, judged: Judged | None = None
) -> FittedHead:
    """The head of some labels, from vectors; `judged` as of `fit_head`."""
    texts_nD, others_nD, labels_LD = vectors
    all_nD = np.concatenate([texts_nD, others_nD])
    if len(others_nD) and len(all_nD) >= ENOUGH and not some.multi_label and (labels_LD != labels_LD[0]).any():
        labels_LD = unit(labels_LD + Refinement(all_nD, labels_LD).prototypes)
    prior = Prior.of(labels_LD, all_nD, multi_label=some.multi_label, none_score=none_score)
    beside = None
    if labels_LD.any() and not some.multi_label:
        beside = stand_ins(some.right, prior, labels_LD, others_nD)
    return fit_head(
        texts_nD, some.right, prior, multi_label=some.multi_label, seed=seed, beside=beside, judged=judged
    )


def _after_pairs(
    some: FewLabels,
    scorer: EmbeddingScorer,
    zero: FewVectors,
    *,
    template: str | None,
    seed: int,
    told: Callable[[int, int], None],
) -> FittedModel:
    """The head over an encoder that was trained on pairs of all labelled texts, measured by one that was not."""
    from sijo.jobs.fitting.pairs import trained_scorer

    started, none_score = time.perf_counter(), scorer.calibration.none_score
    train = partial(trained_scorer, scorer, template=template, seed=seed, told=told)
    judged: Judged | None = None
    if len(some.texts) >= FOLDS:
        out = folds(some.right, FOLDS, seed) == 0
        part = some.part(~out)
        own = train(part)
        head = head_of(part, vectors_of(part, own, template, seed), none_score=none_score, judged=NOTHING)
        held = unit(
            own.engine.encode([some.texts[place] for place in np.flatnonzero(out)]).vectors.astype(np.float64)
        )
        judged = head.logits(held), some.right[out]
    own = train(some)
    vectors = vectors_of(some, own, template, seed)
    return _fitted(
        some, own, head_of(some, vectors, none_score=none_score, judged=judged or NOTHING), zero, started
    )


def must_have_room(scorer: EmbeddingScorer) -> None:
    """Raise SettingError for a model that has no room for a head, or whose parts lie in two folders."""
    model = scorer.engine.model
    if held := [name for name in JUDGING_HEADS if name in model.heads]:
        raise SettingError(
            f"{model.source} holds a {held[0]} head, whose labels its config names; a head is fitted over a "
            "sentence encoder, such as the built-in one: leave --model out, or name another"
        )
    if isinstance(model, FolderDescription) and model.adapter is not None:
        raise SettingError(
            f"{model.folder} holds an adapter; merge it first: sijo convert {model.folder} NEW, and fit over that"
        )


def label_vectors(some: FewLabels, scorer: EmbeddingScorer, template: str | None = None) -> np.ndarray:
    """The unit vectors (L, D) of labels in words; zeros, with a warning, where the model cannot tell them apart."""
    choice = LabelChoice(template=template, multi_label=some.multi_label)
    labels = some.labels if template is not None else some.labels.worded(scorer.templates)
    sentence = choice.template or scorer.template
    if problem := next(scorer.label_tokens.problems(labels.labels, sentence), None):
        warn(f"{problem.why}. The labels' names are left out, and the head learns from the labelled texts alone")
        return np.zeros((len(labels.names), scorer.engine.width))
    return scorer.vectors(labels.labels, sentence)


def _drawn(texts: Sequence[str], seed: int) -> list[str]:
    if len(texts) <= MOST_UNLABELLED:
        return list(texts)
    return [texts[place] for place in np.sort(rng(seed, "unlabelled").permutation(len(texts))[:MOST_UNLABELLED])]


def _step(head: FittedHead) -> DenseStep:
    """A head as the module that is written."""
    rows, width = head.weight_LD.shape
    tensors = {
        "linear.weight": head.weight_LD.astype(np.float32),
        "linear.bias": head.bias_L.astype(np.float32),
    }
    return DenseStep(inputs=width, outputs=rows, activation="Identity", tensors=tensors)


def _metric(name: str, interval: Interval, rows: int) -> Metric:
    return Metric(name, interval.value, interval.low, interval.high, rows)
