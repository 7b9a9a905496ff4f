"""sijo's own routes: labels in words, and control codes."""

from typing import Any

from fastapi import APIRouter, Request, Response

from sijo.app.serving.asking import RoutedRequest, answer
from sijo.app.serving.limits import Refusal
from sijo.app.serving.shapes import AttributeAnswer, AttributeRequest, ClassifyAnswer, ClassifyRequest
from sijo.zeroshot.labeller import LabelChoice

router = APIRouter(tags=["sijo"])


@router.post("/classify", response_model=ClassifyAnswer)
async def classify(request: Request, body: ClassifyRequest) -> Response:
    """Choose among labels that no model was trained on."""
    asked = RoutedRequest(request, body.model)
    texts = asked.texts(body.texts)
    choice = LabelChoice(
        template=body.hypothesis_template,
        multi_label=body.multi_label,
        threshold=body.threshold,
        none_label=body.none_label,
        none_threshold=body.none_threshold,
        temperature=body.temperature,
    )
    ways = [way for way in (body.labels, body.labels_each, body.label_set) if way is not None]
    if len(ways) > 1:
        raise Refusal(422, "labels, labels_each and label_set all say what to choose from; give one of them")
    labels: list[Any] | None = None
    if body.label_set is not None:
        labels = [asked.service.label_set(body.label_set)] * len(texts)
    elif body.labels is not None:
        asked.labels([body.labels])
        labels = [body.labels] * len(texts)
    elif body.labels_each is not None:
        if len(body.labels_each) != len(texts):
            raise Refusal(
                422,
                f"labels_each holds {len(body.labels_each):,} lists, and there are {len(texts):,} texts; give "
                "one for each",
            )
        asked.labels(body.labels_each)
        labels = list(body.labels_each)
    if body.calibration is not None:
        if body.labels_each is not None:
            raise Refusal(422, "a calibration is fitted to one list of labels; give labels in place of labels_each")
        asked.service.check_calibration(body.calibration)
    rows = await asked.model.classify(texts, labels, choice, calibration=body.calibration, seconds=asked.seconds)
    return answer(
        {
            "model": asked.model.name,
            "scorer": asked.model.scorer.name,
            "rows": [
                {
                    "label": row.label,
                    "score": row.score,
                    "margin": row.margin,
                    "labels": row.labels[: body.top_k],
                    "scores": row.scores[: body.top_k],
                    "fitting": row.fitting,
                    "tokens": row.tokens,
                    "windows": row.windows,
                    "truncated": row.truncated,
                    "abstained": row.abstained,
                    "path": row.path,
                }
                for row in rows
            ],
        }
    )


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
