"""Routes as of text-embeddings-inference."""

from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response

from sijo.app.serving.asking import (
    RoutedRequest,
    answer,
    cosines_of,
    prompt_of,
    ranked,
    texts_of,
)
from sijo.app.serving.learning import MOST_FITTED_TO
from sijo.app.serving.limits import Refusal
from sijo.app.serving.shapes import (
    EmbedRequest,
    PredictRequest,
    RankedText,
    RerankRequest,
    ScoredLabel,
    SentencePair,
    ServiceInfo,
    SimilarityRequest,
)
from sijo.pipelines.text_classification import function_of, scores_of
from sijo.texts import check_text
from sijo.version import __version__

router = APIRouter(tags=["text-embeddings-inference"])


@router.post("/embed", response_model=list[list[float]])
async def embed(request: Request, body: EmbedRequest) -> Response:
    """A vector for each text."""
    asked = RoutedRequest(request, body.model)
    vectors = await asked.model.encode(
        asked.texts(texts_of(body.inputs), "inputs"),
        normalize=body.normalize,
        prompt=prompt_of(asked.model, body.prompt_name),
        dimensions=body.dimensions,
        cut=body.truncate,
        seconds=asked.seconds,
    )
    asked.record.counts["tokens"] = vectors.tokens
    return answer(vectors.vectors)


@router.post("/predict", response_model=list[ScoredLabel] | list[list[ScoredLabel]])
async def predict(request: Request, body: PredictRequest) -> Response:
    """The model's own labels for a text, for a pair of texts, or for several of either."""
    asked = RoutedRequest(request, body.model)
    inputs = body.inputs
    alone = isinstance(inputs, str) or (len(inputs) == 2 and all(isinstance(one, str) for one in inputs))
    if isinstance(inputs, str):
        pairs: list[tuple[str, str | None]] = [(inputs, None)]
    elif alone:
        pairs = [(str(inputs[0]), str(inputs[1]))]
    else:
        pairs = []
        for one in inputs:
            if isinstance(one, str) or len(one) not in (1, 2):
                raise Refusal(422, "inputs is a text, a pair of two texts, or a list of lists of one text or two")
            pairs.append((one[0], one[1] if len(one) == 2 else None))
    asked.texts([text for pair in pairs for text in pair if text is not None], "inputs")
    logits = await asked.model.judge(pairs, cut=body.truncate, seconds=asked.seconds)
    function = "none" if body.raw_scores else function_of(asked.model.described)
    answers = [ranked(asked.model, scores_of(row, function), None) for row in logits]
    return answer(answers[0] if alone else answers)


@router.post("/rerank", response_model=list[RankedText])
async def rerank(request: Request, body: RerankRequest) -> Response:
    """Texts in the order of how well they answer a query: by a model with one score, or by vectors."""
    asked = RoutedRequest(request, body.model)
    texts = asked.texts(body.texts)
    check_text(body.query, "query")
    if "classifier" in asked.model.kinds and len(asked.model.own_labels) == 1:
        logits = await asked.model.judge(
            [(body.query, text) for text in texts], cut=body.truncate, seconds=asked.seconds
        )
        scores = logits[:, 0] if body.raw_scores else scores_of(logits[:, 0], "sigmoid")
    elif "vectors" in asked.model.kinds:
        scores = np.array(await cosines_of(asked, SentencePair(source_sentence=body.query, sentences=texts)))
    else:
        raise Refusal(424, f"the model {asked.model.name} scores no pair, and has no vectors to compare")
    order = np.argsort(-scores, kind="stable").tolist()
    return answer(
        [
            {"index": place, "score": float(scores[place]), **({"text": texts[place]} if body.return_text else {})}
            for place in order
        ]
    )


@router.post("/similarity", response_model=list[float])
async def similarity(request: Request, body: SimilarityRequest) -> Response:
    """The cosine of each sentence with the first."""
    asked = RoutedRequest(request, body.model)
    how = body.parameters
    return answer(
        await cosines_of(asked, body.inputs, how.truncate if how else None, how.prompt_name if how else None)
    )


@router.get("/info", response_model=ServiceInfo)
async def info(request: Request, model: str | None = None) -> Response:
    """What a model is, and how much may be asked."""
    asked = RoutedRequest(request, model)
    served = asked.model
    kind: dict[str, Any] = {}
    if "vectors" in served.kinds:
        kind["embedding"] = {"pooling": served.described.sentence.pooling}
    if "classifier" in served.kinds:
        labels = served.own_labels
        kind["reranker" if len(labels) == 1 else "classifier"] = {
            "id2label": {str(place): label for place, label in enumerate(labels)},
            "label2id": {label: place for place, label in enumerate(labels)},
        }
    if "writer" in served.kinds:
        kind["writer"] = {}
    limits = asked.limits
    known = served.scorer.known if "labels" in served.kinds else None
    return answer(
        {
            "model_id": served.name,
            "model_type": kind,
            "model_dtype": "float32",
            "max_input_length": served.described.tokenizer.max_length,
            "max_batch_tokens": served.queue.tokens,
            "max_client_batch_size": limits.most_texts,
            "max_queue_tokens": limits.most_queue_tokens,
            "auto_truncate": False,
            "version": __version__,
            "kinds": sorted(served.kinds),
            "trained_labels": None if known is None else {"names": known.names, "multi_label": known.multi_label},
            "fitted_here": served.name in asked.service.fitted,
            "max_request_tokens": limits.most_tokens,
            "max_request_bytes": limits.most_body_bytes,
            "max_fitted_scores": MOST_FITTED_TO,
            "models": list(asked.service.models.by_name),
            "label_sets": sorted(asked.service.label_sets),
            "calibrations": sorted(served.calibrations),
        }
    )
