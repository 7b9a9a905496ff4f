"""Routes for who improves a model: which words decided, what to label next, a head fitted to what is labelled."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from sijo.app.serving.asking import RoutedRequest, answer
from sijo.app.serving.learning import explained, fitted, suggested
from sijo.app.serving.limits import Refusal
from sijo.app.serving.own_routes import asked_choice, asked_labels, told_row
from sijo.app.serving.shapes import (
    ExplainAnswer,
    ExplainRequest,
    FewLabelsRequest,
    FitAnswer,
    FitRequest,
    ModelName,
    SuggestAnswer,
    SuggestRequest,
)

router = APIRouter(tags=["sijo"])


@router.post("/explain", response_model=ExplainAnswer)
async def explain(request: Request, body: ExplainRequest) -> Response:
    """Choose as `/classify` does, and tell how much each word of a text spoke for its most probable labels."""
    asked = RoutedRequest(request, body.model)
    texts = asked.texts(body.texts)
    labels = asked_labels(asked, body, texts)
    rows = await explained(
        asked.model, texts, labels, asked_choice(body), top_k=body.top_k or 3, seconds=asked.seconds
    )
    return answer(
        {
            "model": asked.model.name,
            "scorer": asked.model.scorer.name,
            "rows": [
                told_row(row, body.top_k)
                | {
                    "parts": [
                        {"start": part.start, "end": part.end, "text": part.text, "spoken": part.spoken}
                        for part in row.parts
                    ],
                    "evidence": [asdict(one) for one in row.evidence],
                    "contrast": None if row.contrast is None else asdict(row.contrast),
                    "read_until": row.read_until,
                }
                for row in rows
            ],
        }
    )


@router.post("/suggest", response_model=SuggestAnswer)
async def suggest(request: Request, body: SuggestRequest) -> Response:
    """Which texts to label next: those that the labels so far leave unsure, of as many kinds as there are."""
    asked = RoutedRequest(request, body.model)
    texts, gold = asked.texts(body.texts), _gold(body)
    if body.labels is not None:
        asked.labels([body.labels])
    how: Any = {"multi_label": body.multi_label, "aside": asked.service.aside, "seconds": asked.seconds}
    rows = await suggested(asked.model, texts, gold, body.labels, count=body.count, **how)
    told = [{"row": one.row - 1, "label": one.label, "uncertainty": one.uncertainty} for one in rows]
    return answer({"model": asked.model.name, "rows": told})


@router.post("/fit", response_model=FitAnswer)
async def fit(request: Request, body: FitRequest) -> Response:
    """Fit a head to a few labelled texts; it is one of the service's models from then on, until it ends."""
    asked = RoutedRequest(request, body.model)
    texts, gold = asked.texts(body.texts), _gold(body)
    if body.labels is not None:
        asked.labels([body.labels])
    how: Any = {"multi_label": body.multi_label, "aside": asked.service.aside, "seconds": asked.seconds}
    made = await fitted(asked.model, texts, gold, body.labels, **how)
    accuracy, before = made.head.held_out, made.zero_shot
    return answer(
        {
            "model": await asked.service.fitted.add(asked.model, made),
            "accuracy": None if accuracy is None else asdict(accuracy),
            "zero_shot": None if before is None else asdict(before),
            "texts": len(made.some.texts),
        }
    )


@router.get("/models/{name}/archive", response_class=Response)
async def archive(request: Request, name: ModelName) -> Response:
    """A model that was fitted here, as a .zip of its folder."""
    pieces = await request.app.state.service.fitted.archive(name)
    headers = {"content-disposition": f'attachment; filename="{name}.zip"'}
    return StreamingResponse(pieces, media_type="application/zip", headers=headers)


def _gold(body: FewLabelsRequest) -> list[list[str] | None]:
    if len(body.gold) != len(body.texts):
        raise Refusal(
            422, f"gold has {len(body.gold):,} entries and texts {len(body.texts):,}; give one for each, or null"
        )
    gold = [[names] if isinstance(names, str) else names for names in body.gold]
    for number, names in enumerate(gold, 1):
        if names is not None and not body.multi_label and len(names) != 1:
            raise Refusal(422, f"gold, number {number}, has {len(names)} labels; give one, or say multi_label")
    return gold
