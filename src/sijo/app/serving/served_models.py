"""The models of a service by name, each opened for what it is asked to do, and asked through one queue.

What a model does is told by its folder before anything is opened: labels in words by whatever head it has, its own
labels by a classifier, vectors by an encoder, text by a head that writes.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sijo.app.serving.batcher import Batcher
from sijo.app.serving.limits import Refusal, ServiceLimits
from sijo.checkpoints.describe import FolderDescription, describe
from sijo.errors import SettingError, nearest
from sijo.inference.encode import described_engine
from sijo.inference.engine import Engine
from sijo.inference.outputs import unit
from sijo.inference.vector_cache import OutputsInMemory
from sijo.nn.head_specs import CLASSIFIER
from sijo.pipelines.cutting import InputCut
from sijo.pipelines.text_classification import logits_of
from sijo.zeroshot.labeller import LabelChoice, Labeller, LabelPrediction
from sijo.zeroshot.labels import Labels, LabelSet
from sijo.zeroshot.scorers.embedding import EmbeddingScorer
from sijo.zeroshot.scorers.open import model_facts, open_scorer, suited
from sijo.zeroshot.scorers.scorer import TrainedLabels

if TYPE_CHECKING:
    from sijo.zeroshot.calibrating.frozen import FrozenCalibration
    from sijo.zeroshot.scorers.scorer import Scorer

MOST_CHOICES = 64
"""Ways of choosing that are kept ready, for each model."""
BYTES_A_TOKEN = 4
"""Of a text, about: what waits is counted before it is read."""


@dataclass(frozen=True)
class Vectors:
    """What an encoder makes of texts."""

    vectors: np.ndarray
    """(n, D) float32, of length 1 where asked."""
    tokens: int
    """Of all texts together, special ones not counted."""


@dataclass(eq=False)
class ServedModel:
    """A model, the ways in which it answers, and the queue it is asked through.

    What answers raises Refusal where the model cannot, or not now, and SettingError for what cannot be.
    """

    name: str
    described: FolderDescription
    queue: Batcher
    limits: ServiceLimits
    run_by: Mapping[str, Any] = field(default_factory=dict)
    """Device, backend, precision, threads."""
    calibrations: Mapping[str, "FrozenCalibration"] = field(default_factory=dict)

    @cached_property
    def kinds(self) -> frozenset[str]:
        """What it does: "labels" in words, "classifier" of its own labels, "vectors", "writer"."""
        if "lm" in self.described.heads:
            return frozenset(("writer", "labels"))
        kinds = {"labels"} if self._scores_labels else set[str]()
        if self.described.sentence.trained or not self.described.heads:
            kinds.add("vectors")
        if CLASSIFIER in self.described.heads or self.described.fitted_head is not None:
            kinds.add("classifier")
        return frozenset(kinds)

    @cached_property
    def _scores_labels(self) -> bool:
        try:
            if suited(model_facts(self.described)).name == "trained":
                TrainedLabels.of(self.described)  # a head may give a number, as that of a reranker does
        except SettingError:
            return False
        return True

    @cached_property
    def scorer(self) -> "Scorer":
        """What fits labels to texts; what its network says of a text is kept for the next labels."""
        scorer = open_scorer("auto", self.described.folder, **self.run_by)
        scorer.engine.store = OutputsInMemory(self.limits.most_kept_bytes)
        return scorer

    @cached_property
    def encoder(self) -> EmbeddingScorer:
        """What compares vectors, for heads that are fitted to them."""
        scorer = open_scorer("embedding", self.described.folder, **self.run_by)
        assert isinstance(scorer, EmbeddingScorer)
        return scorer

    def must(self, kind: str, doing: str) -> None:
        """Raise Refusal where the model is not of that kind."""
        if kind not in self.kinds:
            raise Refusal(
                424,
                f"the model {self.name} does not {doing}: it does {' and '.join(sorted(self.kinds)) or 'nothing'}",
            )

    # Labels in words

    async def classify(
        self,
        texts: Sequence[str],
        labels: Sequence[Labels] | None,
        choice: LabelChoice,
        *,
        calibration: str | None = None,
        seconds: float,
    ) -> list[LabelPrediction]:
        """A prediction for each text, by labels of its own, or by those that the model was trained on."""
        sets = self.label_sets(texts, labels, choice)
        costs = self.costs(texts, sets, choice)
        self.check_tokens(costs)
        items, key = list(zip(texts, sets, strict=True)), ("labels", self.name, choice, labels is None)
        if calibration is None:
            return await self.queue.ask(key, partial(self._labelled, choice), items, costs, seconds=seconds)
        key_of_all, work = (*key, calibration, sets[0]), partial(self._calibrated, choice, calibration)
        return await self.queue.ask(key_of_all, work, items, costs, seconds=seconds)

    def label_sets(
        self, texts: Sequence[str], labels: Sequence[Labels] | None, choice: LabelChoice
    ) -> list[LabelSet] | list[None]:
        """The labels of each text, checked; None for those that the model was trained on."""
        self.must("labels", "score labels in words")
        if labels is None and self.scorer.known is None:
            raise Refusal(422, "there are no labels; give labels, or the name of a label_set")
        made = {id(given): LabelSet.of(given) for given in labels or ()}  # mostly one for all texts
        for one in made.values():
            choice.check(one)
        return [None] * len(texts) if labels is None else [made[id(given)] for given in labels]

    def costs(self, texts: Sequence[str], sets: Sequence[LabelSet | None], choice: LabelChoice) -> list[int]:
        """About how many tokens are read for each text and its labels: for each text anew where both are read
        together, else once for all texts of the same labels, by the first of them."""
        frame, pairs = about(choice.template or ""), self.scorer.reads_pairs
        seen: dict[LabelSet, int] = {}
        costs = []
        for text, own in zip(texts, sets, strict=True):
            new = own is not None and own not in seen
            if own is not None and new:
                words = [(label.name, *label.descriptions, *label.examples) for label in own.labels]
                seen[own] = sum(frame + about(word) for label in words for word in label)
            if own is not None and pairs:
                costs.append(about(text) * len(own.labels) + seen[own])
            else:
                costs.append(about(text) + (seen[own] if own is not None and new else 0))
        return costs

    @cached_property
    def _labellers(self) -> "OrderedDict[LabelChoice, Labeller]":
        return OrderedDict()

    def _labelled(self, choice: LabelChoice, items: Sequence[tuple[str, LabelSet | None]]) -> list[LabelPrediction]:
        if choice not in self._labellers:
            self._labellers[choice] = Labeller(self.scorer, choice, None)
            if len(self._labellers) > MOST_CHOICES:
                self._labellers.popitem(last=False)
        texts, own = [text for text, _ in items], [given for _, given in items if given is not None]
        return list(self._labellers[choice].stream(texts, own or None))

    def _calibrated(
        self, choice: LabelChoice, calibration: str, items: Sequence[tuple[str, LabelSet | None]]
    ) -> list[LabelPrediction]:
        from sijo.zeroshot.calibrating.fitting import calibrated

        labeller = Labeller(self.scorer, choice, items[0][1])
        fitted = calibrated(labeller, "none", None, self.calibrations[calibration])
        return list(fitted.stream([text for text, _ in items]))

    # The model's own labels

    async def judge(self, pairs: Sequence[tuple[str, str | None]], *, cut: bool, seconds: float) -> np.ndarray:
        """The head's logits (n, C) float32 for each text, or pair."""
        self.must("classifier", "judge texts by labels of its own")
        costs = [about(text) + about(second or "") for text, second in pairs]
        self.check_tokens(costs)
        rows = await self.queue.ask(
            ("judge", self.name, cut), partial(self._judged, cut), list(pairs), costs, seconds=seconds
        )
        return np.stack(rows)

    @cached_property
    def _judge(self) -> Engine:
        return described_engine(self.described, head=CLASSIFIER, **self.run_by)

    def _judged(self, cut: bool, pairs: Sequence[tuple[str, str | None]]) -> list[np.ndarray]:
        texts, seconds = [text for text, _ in pairs], [second for _, second in pairs]
        tokenizer, how = self._judge.model.tokenizer, InputCut.of(truncation=cut)
        return list(logits_of(self._judge, tokenizer, texts, seconds, how))

    @property
    def own_labels(self) -> tuple[str, ...]:
        """Those of its classifier."""
        return self.described.labels

    # Vectors

    async def encode(
        self,
        texts: Sequence[str],
        *,
        normalize: bool = True,
        prompt: str | None = None,
        dimensions: int | None = None,
        cut: bool = False,
        seconds: float,
    ) -> Vectors:
        """A vector for each text; one longer than the model is read in windows, or only its start if `cut`."""
        self.must("vectors", "give sentence vectors")
        how = (prompt, dimensions, cut)
        costs = [about(text) for text in texts]
        self.check_tokens(costs)
        rows = await self.queue.ask(
            ("vectors", self.name, *how), partial(self._encoded, how), list(texts), costs, seconds=seconds
        )
        vectors = np.stack([row for row, _ in rows]) if rows else np.zeros((0, 0), np.float32)
        return Vectors(unit(vectors) if normalize else vectors, sum(tokens for _, tokens in rows))

    @cached_property
    def _engines(self) -> "OrderedDict[tuple[Any, ...], Engine]":
        return OrderedDict()

    def _engine(self, prompt: str | None, dimensions: int | None, cut: bool) -> Engine:
        how = (prompt, dimensions, cut)
        if how not in self._engines:
            self._engines[how] = described_engine(
                self.described,
                prompt=prompt,
                dimensions=dimensions,
                long_text="truncate" if cut else "windows",
                **self.run_by,
            )
            if len(self._engines) > MOST_CHOICES:
                self._engines.popitem(last=False)
        return self._engines[how]

    def _encoded(self, how: tuple[Any, ...], texts: Sequence[str]) -> list[tuple[np.ndarray, int]]:
        encoded = self._engine(*how).encode(texts)
        return list(zip(encoded.vectors, encoded.tokens.tolist(), strict=True))

    # Text that is written

    @cached_property
    def generator(self) -> Any:
        """What writes."""
        from sijo.generation.generator import Generator

        return Generator(self.described.folder, **self._written_by)

    @cached_property
    def attributor(self) -> Any:
        """What tells whose text it is."""
        from sijo.generation.attribute import Attributor

        return Attributor(self.generator.model)

    async def attribute(self, texts: Sequence[str], *, seconds: float) -> list[Any]:
        """How likely each control code is for each text."""
        self.must("writer", "know control codes")
        costs = [about(text) * 4 for text in texts]
        self.check_tokens(costs)
        return await self.queue.ask(
            ("attribute", self.name),
            self.attributor.attribute,
            list(texts),
            costs,
            seconds=seconds,
        )

    @property
    def _written_by(self) -> dict[str, Any]:
        return {name: value for name, value in self.run_by.items() if name in ("device", "precision")}

    def check_tokens(self, costs: Sequence[int]) -> None:
        """Raise Refusal where a request is about more tokens than one may be."""
        if (cost := sum(costs)) > self.limits.most_tokens:
            raise Refusal(
                413,
                f"the request is about {cost:,} tokens to read, and one may be {self.limits.most_tokens:,}; send "
                "fewer texts, or labels, at a time",
            )

    def opened(self) -> Iterator[Callable[[], object]]:
        """What opens it for each thing that it does."""
        if "labels" in self.kinds:
            yield lambda: self.scorer
        if "vectors" in self.kinds:
            yield lambda: self._engine(None, None, False)
        if "classifier" in self.kinds:
            yield lambda: self._judge
        if "writer" in self.kinds:
            yield lambda: self.attributor


class ServedModels:
    """All of a service's, by name; the first is asked where a request names none."""

    def __init__(self, models: Sequence[ServedModel]) -> None:
        self.by_name = {model.name: model for model in models}
        if len(self.by_name) < len(models):
            raise SettingError("two models have one name; name them otherwise: name=folder")
        self.first = models[0]

    def named(self, name: str | None) -> ServedModel:
        """The model of a name; Refusal for one that is not here."""
        if name is None or name in ("", self.first.name):
            return self.first
        if name not in self.by_name:
            raise Refusal(
                404,
                f"there is no model {name[:100]!r}{nearest(name[:100], self.by_name)}; there are "
                f"{', '.join(self.by_name)}",
                kind="model_not_found",
            )
        return self.by_name[name]


def model_named(words: str) -> tuple[str, str | None]:
    """The name and the place of a model, from name=place, or from its place alone.

    >>> model_named("reviews=runs/reviews/model"), model_named("runs/topics/"), model_named("org/name")
    (('reviews', 'runs/reviews/model'), ('topics', 'runs/topics/'), ('org/name', 'org/name'))
    """
    name, equals, place = words.partition("=")
    if equals and name and "/" not in name:
        return name, place
    return (Path(words).name if Path(words).is_dir() or words.endswith("/") else words), words


def served(
    models: Sequence[str], queue: Batcher, limits: ServiceLimits, run_by: Mapping[str, Any], **others: Any
) -> ServedModels:
    """Models as a command line names them; none for the built-in one."""
    named = [model_named(words) for words in models] or [("sijo-small", None)]
    return ServedModels(
        [ServedModel(name, describe(place), queue, limits, run_by, **others) for name, place in named]
    )


def about(text: str) -> int:
    """About how many tokens a text is, one at least: to tell long from short before anything reads it.

    >>> about(""), about("a late goal in the rain"), about("비 오는 날의 골")
    (1, 6, 6)
    """
    return len(text.encode("utf-8", "surrogatepass")) // BYTES_A_TOKEN + 1
