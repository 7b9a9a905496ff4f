"""sijo's own routes: labels in words, and control codes."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from sijo.app.serving.asking import RoutedRequest, answer
from sijo.app.serving.limits import Refusal
from sijo.app.serving.shapes import (
    AttributeAnswer,
    AttributeRequest,
    ChoiceRequest,
    ClassifyAnswer,
    ClassifyRequest,
)
from sijo.zeroshot.labeller import LabelChoice, LabelPrediction

router = APIRouter(tags=["sijo"])


@router.post("/classify", response_model=ClassifyAnswer)
async def classify(request: Request, body: ClassifyRequest) -> Response:
    """Choose among labels that no model was trained on."""
    asked = RoutedRequest(request, body.model)
    texts = asked.texts(body.texts)
    labels = asked_labels(asked, body, texts)
    if body.calibration is not None:
        if body.labels_each is not None:
            raise Refusal(422, "a calibration is fitted to one list of labels; give labels in place of labels_each")
        asked.service.check_calibration(asked.model, body.calibration)
    rows = await asked.model.classify(
        texts, labels, asked_choice(body), calibration=body.calibration, seconds=asked.seconds
    )
    told = [told_row(row, body.top_k) for row in rows]
    return answer({"model": asked.model.name, "scorer": asked.model.scorer.name, "rows": told})


def asked_choice(body: ChoiceRequest) -> LabelChoice:
    """How a request has labels chosen."""
    return LabelChoice(
        template=body.hypothesis_template,
        multi_label=body.multi_label,
        threshold=body.threshold,
        none_label=body.none_label,
        none_threshold=body.none_threshold,
        temperature=body.temperature,
    )


def asked_labels(asked: RoutedRequest, body: ChoiceRequest, texts: Sequence[str]) -> list[Any] | None:
    """What each text is to be labelled with; None for what the model was trained on."""
    ways = [way for way in (body.labels, body.labels_each, body.label_set) if way is not None]
    if len(ways) > 1:
        raise Refusal(422, "labels, labels_each and label_set all say what to choose from; give one of them")
    if body.label_set is not None:
        return [asked.service.label_set(body.label_set)] * len(texts)
    if body.labels is not None:
        asked.labels([body.labels])
        return [body.labels] * len(texts)
    if body.labels_each is None:
        return None
    if len(body.labels_each) != len(texts):
        raise Refusal(
            422,
            f"labels_each holds {len(body.labels_each):,} lists, and there are {len(texts):,} texts",
        )
    asked.labels(body.labels_each)
    return list(body.labels_each)


def told_row(row: LabelPrediction, top_k: int | None) -> dict[str, Any]:
    """An answer, as it is sent."""
    return {
        "label": row.label,
        "score": row.score,
        "margin": row.margin,
        "labels": row.labels[:top_k],
        "scores": row.scores[:top_k],
        "fitting": row.fitting,
        "tokens": row.tokens,
        "windows": row.windows,
        "truncated": row.truncated,
        "abstained": row.abstained,
        "path": row.path,
    }


@router.post("/attribute", response_model=AttributeAnswer)
async def attribute(request: Request, body: AttributeRequest) -> Response:
    """Tell which control code each text looks like: CTRL's source attribution."""
    asked = RoutedRequest(request, body.model)
    found = await asked.model.attribute(asked.texts(body.texts), seconds=asked.seconds)
    rows = [
        [
            {"code": code, "posterior": posterior, "logprob": logprob}
            for code, posterior, logprob in zip(one.codes, one.posteriors, one.logprobs, strict=True)
        ][: body.top_k]
        for one in found
    ]
    return answer({"model": asked.model.name, "rows": rows})
