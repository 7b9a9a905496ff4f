"""Routes as of OpenAI."""

import base64
from typing import Any

from fastapi import APIRouter, Request, Response

from sijo.app.serving.asking import RoutedRequest, answer, texts_of
from sijo.app.serving.limits import Refusal
from sijo.app.serving.shapes import EmbeddingsAnswer, EmbeddingsRequest, ModelList, ModelName, ModelRow

router = APIRouter(tags=["OpenAI"])


@router.post("/v1/embeddings", response_model=EmbeddingsAnswer)
async def embeddings(request: Request, body: EmbeddingsRequest) -> Response:
    """A vector for each text, as numbers or in base64."""
    asked = RoutedRequest(request, body.model)
    if not isinstance(body.input, str) and any(not isinstance(text, str) for text in body.input):
        raise Refusal(422, "input holds numbers of tokens, which are those of another model; send the texts")
    vectors = await asked.model.encode(
        asked.texts(texts_of(body.input), "input"), dimensions=body.dimensions, seconds=asked.seconds
    )
    asked.record.counts["tokens"] = vectors.tokens
    rows: list[Any] = list(vectors.vectors)
    if body.encoding_format == "base64":
        rows = [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in rows]
    return answer(
        {
            "object": "list",
            "data": [{"object": "embedding", "index": place, "embedding": row} for place, row in enumerate(rows)],
            "model": asked.model.name,
            "usage": {"prompt_tokens": vectors.tokens, "total_tokens": vectors.tokens},
        }
    )


@router.get("/v1/models", response_model=ModelList)
async def models(request: Request) -> Response:
    """The models that may be named."""
    names = request.app.state.service.models.by_name
    return answer({"object": "list", "data": [ModelRow(id=name).model_dump() for name in names]})


@router.get("/v1/models/{name:path}", response_model=ModelRow)
async def model(request: Request, name: ModelName) -> Response:
    """One of them, by its name."""
    return answer(ModelRow(id=RoutedRequest(request, name).model.name).model_dump())
