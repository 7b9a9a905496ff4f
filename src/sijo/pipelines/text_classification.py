"""A text, or a pair of them, and what a trained head says of it: transformers' text-classification."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from sijo.checkpoints.describe import DescribedModel, FolderDescription, describe
from sijo.checkpoints.locate import BUILT_IN_FOLDER
from sijo.errors import SettingError
from sijo.inference.encode import described_engine, engine_of
from sijo.nn.head_specs import CLASSIFIER
from sijo.pipelines.base import UNSET, Pipeline
from sijo.pipelines.cutting import TOKENIZER_ARGUMENTS, InputCut, cut_inputs
from sijo.tokenizers.tokenizer import Tokenizer

if TYPE_CHECKING:
    from sijo.checkpoints.load import Model
    from sijo.inference.engine import Engine

ScoreFunction = Literal["sigmoid", "softmax", "none"]


@dataclass(frozen=True, kw_only=True)
class ScoreCall:
    """What a call asks."""

    top_k: int | None = 1
    """How many labels are told; None for all."""
    plain: bool = True
    """Whether a text has the one best label, and no list of them: where nobody asked for a number."""
    sorted: bool = True
    """Whether the best comes first."""
    function: ScoreFunction
    cut: InputCut = field(default_factory=InputCut)


class TextClassificationPipeline(Pipeline):
    """Texts or pairs in; the labels of a trained head, with their scores, out.

    Source: transformers' TextClassificationPipeline, the shapes of whose answers these are; `return_all_scores` is
    its argument of version 4.
    """

    task = "text-classification"
    arguments = ("top_k", "function_to_apply", "return_all_scores", *TOKENIZER_ARGUMENTS)

    def _opened(self, model: "str | Path | Model | None", run_by: Mapping[str, Any]) -> "Engine":
        how = dict(run_by)
        opened: FolderDescription | Model
        if model is None or isinstance(model, str | Path):
            opened = describe(model, base=how.pop("base", None))
            heads = {*opened.heads}
        else:
            opened = model
            heads = {*opened.heads, *opened.head_values}
        if CLASSIFIER not in heads and opened.fitted_head is None:
            name = "the built-in model" if opened.source == BUILT_IN_FOLDER else opened.source or "the model"
            raise SettingError(
                f'{name} has no head that was trained to classify texts; sijo.pipeline("zero-shot-classification") '
                "labels with it, by labels that you name, and sijo finetune trains such a head"
            )
        if isinstance(opened, FolderDescription):
            return described_engine(opened, head=CLASSIFIER, **how)
        return engine_of(opened, **how)

    def _settings(
        self,
        top_k: Any = UNSET,
        function_to_apply: Any = None,
        return_all_scores: bool | None = None,
        **tokenizer: Any,
    ) -> ScoreCall:
        told = ScoreCall(function=self._function(function_to_apply), cut=InputCut.of(**tokenizer))
        if top_k is not UNSET:
            if return_all_scores is not None:
                raise SettingError("top_k= and return_all_scores= say the same; give top_k alone, None for all")
            if top_k is not None and (not isinstance(top_k, int) or isinstance(top_k, bool) or top_k < 0):
                raise SettingError(f"top_k={top_k!r} is no number of labels; give one, or None for all")
            return replace(told, top_k=top_k, plain=False)
        if return_all_scores:
            return replace(told, top_k=None, plain=False, sorted=False)
        return told

    def _function(self, wanted: Any) -> ScoreFunction:
        """What makes scores of logits: as asked, or by what the head was trained for."""
        if wanted is not None and str(getattr(wanted, "value", wanted)).lower() != "default":
            name = str(getattr(wanted, "value", wanted)).lower()
            if name not in get_args(ScoreFunction):
                raise SettingError(
                    f"function_to_apply={wanted!r} is none of default, {', '.join(get_args(ScoreFunction))}"
                )
            chosen: ScoreFunction = name  # type: ignore[assignment] # just looked up
            return chosen
        return function_of(self.engine.model)

    def _alone(self, answer: Any, inputs: Any, arguments: Mapping[str, Any]) -> Any:
        """In a list for a text, unless the call itself asks for a number of labels: so it is there."""
        return [answer] if isinstance(inputs, str) and "top_k" not in arguments else answer

    def _answers(self, inputs: list[Any], settings: ScoreCall) -> list[Any]:
        texts, seconds = map(list, zip(*map(_pair, inputs), strict=True)) if inputs else ([], [])
        logits = logits_of(self.engine, self.tokenizer, texts, seconds, settings.cut)
        return [self._answer(scores_of(row, settings.function), settings) for row in logits]

    def _answer(self, scores_C: np.ndarray, settings: ScoreCall) -> Any:
        names = self.engine.model.labels
        if settings.plain:
            best = int(scores_C.argmax())
            return {"label": names[best], "score": float(scores_C[best])}
        order = list(range(len(names)))
        if settings.sorted:
            order.sort(key=lambda column: -scores_C[column])
        return [{"label": names[column], "score": float(scores_C[column])} for column in order][: settings.top_k]


def _pair(given: Any) -> tuple[str, str | None]:
    """The text of an input, and its second."""
    if isinstance(given, str):
        return given, None
    if isinstance(given, dict):
        known = {"text", "text_pair"}
        if "text" in given and given.keys() <= known and all(isinstance(part, str) for part in given.values()):
            return given["text"], given.get("text_pair")
        raise SettingError(
            f"an input has the keys {', '.join(map(str, given))}; it is a text, or a dict of text, and for a pair "
            "of text_pair, both texts"
        )
    if isinstance(given, list) and len(given) == 1 and isinstance(given[0], list) and len(given[0]) == 2:
        return given[0][0], given[0][1]  # [[text, second]], as it was before there were dicts
    raise SettingError(
        f"an input is of type {type(given).__name__}; it is a text, or for a pair "
        '{"text": "My text", "text_pair": "My pair"}'
    )


def function_of(model: DescribedModel) -> ScoreFunction:
    """What makes scores of logits, by what the head was trained for."""
    problem = model.fields.get("problem_type")
    if problem == "regression":
        return "none"
    return "sigmoid" if problem == "multi_label_classification" or len(model.labels) == 1 else "softmax"


def logits_of(
    engine: "Engine", tokenizer: Tokenizer, texts: Sequence[str], seconds: Sequence[str | None], cut: InputCut
) -> Sequence[np.ndarray]:
    """The head's logits (C,) for each text, with its second where that is not None.

    A head that was fitted over vectors reads a text by itself as it did then, in windows where it is long.
    """
    if engine.over_vectors and not any(seconds):
        return list(engine.judge(texts).logits)
    read = cut_inputs(tokenizer, texts, seconds, cut)
    return engine.head_scores(CLASSIFIER, [one.ids for one in read], [one.types for one in read])


def scores_of(logits_C: np.ndarray, function: ScoreFunction) -> np.ndarray:
    """Scores of logits."""
    if function == "softmax":
        shares_C = np.exp(logits_C - logits_C.max())
        shares: np.ndarray = shares_C / shares_C.sum()
        return shares
    odds: np.ndarray = logits_C if function == "none" else 1 / (1 + np.exp(-logits_C))
    return odds
