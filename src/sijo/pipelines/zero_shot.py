"""Labels in words, ranked for each text: transformers' zero-shot-classification, and other scorers too."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sijo.errors import SettingError, TextError, warn
from sijo.pipelines.base import Pipeline
from sijo.pipelines.cutting import Truncation, named
from sijo.tokenizers.tokenizer import Tokenizer
from sijo.zeroshot.labeller import LabelChoice, Labeller
from sijo.zeroshot.labels import LabelSet
from sijo.zeroshot.scorers.entailment import EntailmentScorer
from sijo.zeroshot.scorers.open import open_scorer

if TYPE_CHECKING:
    from sijo.checkpoints.load import Model
    from sijo.inference.engine import Engine

TEMPLATE = "This example is {}."


@dataclass(frozen=True, kw_only=True)
class LabelCall:
    """What a call asks."""

    labels: tuple[str, ...]
    template: str | None
    """None where none is given."""
    multi_label: bool
    truncation: Truncation = "only_first"
    """What may be cut of a text and a label that do not fit the model together."""

    @property
    def alone(self) -> bool:
        """Whether each label is judged by itself: also where there is no other."""
        return self.multi_label or len(self.labels) == 1


class ZeroShotClassificationPipeline(Pipeline):
    """Texts and labels in words; of a model with an entailment head the very scores of transformers' pipeline.

    Any other model that `sijo.ZeroShotClassifier` scores labels by does too: sentence encoders, masked language
    models and so on, by the scorer that suits it.

    Source: transformers' ZeroShotClassificationPipeline. It takes the first column for contradiction's, or the last
    where the first is entailment's; here the column is looked up by its name, which is the same one where that is
    right (docs/zero-shot.md).
    """

    task = "zero-shot-classification"
    arguments = ("candidate_labels", "hypothesis_template", "multi_label", "truncation", "padding")

    def __call__(self, inputs: Any = None, *labels: Any, sequences: Any = None, **arguments: Any) -> Any:
        """For each text a dict: sequence, labels from the best to the worst, and their scores.

        inputs               a text, a list of texts, or a stream of them; may be called sequences=
        candidate_labels     a list of labels, or one text with commas; may be given as the second argument
        hypothesis_template  the sentence that each label is put in, with {} for it
        multi_label          whether each label is judged by itself
        truncation           of what may be cut: beside a label only the end of a text ever is, as by the default

        Raises SettingError, a ValueError, for no labels, no text, and a template that no label can be put in; and
        TextError where a text must be cut that by `truncation` may not be, or not by itself.
        """
        if len(labels) > 1 or (labels and "candidate_labels" in arguments):
            raise SettingError(f"the labels are given as one list, not as {labels!r:.200}; candidate_labels=[…]")
        if labels:
            arguments["candidate_labels"] = labels[0]
        inputs = sequences if inputs is None else inputs
        if inputs is None or (isinstance(inputs, list | tuple) and not inputs):
            raise SettingError("there is no text to label; give one text or more, and one label or more")
        return super().__call__(inputs, **arguments)

    def _opened(self, model: "str | Path | Model | None", run_by: Mapping[str, Any]) -> "Engine":
        self.scorer = open_scorer("auto", model, **run_by)
        """What fits labels to texts."""
        return self.scorer.engine

    def _cutter(self, tokenizer: "str | Path | Tokenizer | None") -> Tokenizer:
        own = self.engine.model.tokenizer
        if super()._cutter(tokenizer) is not own:
            raise SettingError(
                "tokenizer= would cut labels otherwise than the model learned to read them; leave it out, or give "
                "another model"
            )
        return own

    def _settings(
        self,
        candidate_labels: Any = None,
        hypothesis_template: str | None = None,
        multi_label: bool = False,
        truncation: Any = True,
        padding: Any = True,
    ) -> LabelCall:
        labels = candidate_labels or ()
        if isinstance(labels, str):
            labels = [label.strip() for label in labels.split(",") if label.strip()]
        for label in labels:
            if not isinstance(label, str):
                raise SettingError(f"the label {str(label)!r:.100} is of type {type(label).__name__}, not a text")
        if hypothesis_template is not None and labels:
            _filled(hypothesis_template, labels[0])
        return LabelCall(
            labels=tuple(labels),
            template=hypothesis_template,
            multi_label=bool(multi_label),
            truncation="only_first" if truncation is True else named(truncation),
        )

    def _answers(self, inputs: list[Any], settings: LabelCall) -> list[dict[str, Any]]:
        if not settings.labels:
            raise SettingError(
                "there are no labels to choose among; give candidate_labels=, one or more, as a list or parted by "
                "commas"
            )
        for text in inputs:
            if not isinstance(text, str):
                raise SettingError(f"an input is of type {type(text).__name__}, and this pipeline labels texts")
            if not text:
                raise SettingError("a text to label is empty; leave it out, or give one text or more")
        scores_nL, cut_n = self._by_entailment(inputs, settings) or self._by_others(inputs, settings)
        if cut := int(cut_n.sum()):
            if settings.truncation != "only_first":
                raise TextError(
                    f"{cut:,} of the texts do not fit the model beside their labels, and truncation="
                    f"{settings.truncation!r} does not let their ends alone be cut; leave it out, or shorten them"
                )
            warn(f"{cut:,} of the texts did not fit the model beside their labels: only their start was read")
        return [_ranked(text, settings.labels, row) for text, row in zip(inputs, scores_nL, strict=True)]

    def _by_others(self, texts: list[str], settings: LabelCall) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities (n, L) by any scorer as `ZeroShotClassifier` has them; True where a text was cut, (n,)."""
        choice = LabelChoice(template=settings.template, multi_label=settings.alone or None)
        judged = list(Labeller(self.scorer, choice, LabelSet.of(settings.labels)).judged(texts))
        scores_nL = np.concatenate([scores for scores, _ in judged])
        return scores_nL, np.concatenate([read.truncated for _, read in judged])

    def _by_entailment(self, texts: list[str], settings: LabelCall) -> tuple[np.ndarray, np.ndarray] | None:
        """The same by an entailment head, as of transformers; None for another scorer."""
        if not isinstance(self.scorer, EntailmentScorer):
            return None
        template = TEMPLATE if settings.template is None else settings.template
        sentences = [_filled(template, label) for label in settings.labels]
        firsts = [text for text in texts for _ in sentences]
        scores_P, read = self.scorer.judged(firsts, sentences * len(texts), absolute=settings.alone)
        scores_nL = scores_P.reshape(len(texts), -1)
        cut_n = np.asarray(read.truncated.reshape(len(texts), -1).any(-1))
        if settings.alone:
            odds_nL: np.ndarray = 1 / (1 + np.exp(-scores_nL))
            return odds_nL, cut_n
        shares_nL: np.ndarray = np.exp(scores_nL - scores_nL.max(-1, keepdims=True))
        return shares_nL / shares_nL.sum(-1, keepdims=True), cut_n


def _filled(template: str, label: str) -> str:
    """A template with a label in it; SettingError where there is no place for one."""
    try:
        sentence = template.format(label)
    except (IndexError, KeyError, ValueError, AttributeError):
        sentence = template
    if sentence == template:
        raise SettingError(f"the hypothesis_template {template!r:.200} has no {{}} for the label; put one in")
    return sentence


def _ranked(text: str, labels: tuple[str, ...], scores_L: np.ndarray) -> dict[str, Any]:
    """The answer for a text; of labels with one score the last comes first, as there."""
    order = scores_L.astype(np.float32).argsort()[::-1]
    return {
        "sequence": text,
        "labels": [labels[place] for place in order],
        "scores": scores_L[order].tolist(),
    }
