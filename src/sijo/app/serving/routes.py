"""The routes: each reads a request of one shape, asks a model, and answers in that shape."""

import base64
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import orjson
from fastapi import APIRouter, Path, Request, Response

from sijo.app.serving.limits import Refusal
from sijo.app.serving.served_models import ServedModel
from sijo.app.serving.shapes import (
    AttributeAnswer,
    AttributeRequest,
    ClassifyAnswer,
    ClassifyRequest,
    EmbeddingsAnswer,
    EmbeddingsRequest,
    EmbedRequest,
    HubAnswer,
    HubParameters,
    HubRequest,
    ModelList,
    PredictRequest,
    RankedText,
    RerankRequest,
    ScoredLabel,
    SentencePair,
    ServiceInfo,
    SimilarityRequest,
    Task,
    TextPair,
)
from sijo.app.serving.writing import written
from sijo.texts import check_text
from sijo.version import __version__
from sijo.zeroshot.labeller import LabelChoice

router = APIRouter()
ModelName = Annotated[str, Path(max_length=200)]


def answer(content: Any) -> Response:
    """An answer as JSON, numbers of arrays among it."""
    return Response(orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")


class Asked:
    """A request, the model that it is for, and what is known about how it may be answered."""

    def __init__(self, request: Request, model: str | None) -> None:
        service = request.app.state.service
        self.service, self.limits = service, service.limits
        self.model: ServedModel = service.models.named(model)
        self.record = request.scope["state"]["record"]
        self.record.counts["model"] = self.model.name
        self.seconds: float = self.limits.seconds

    def texts(self, texts: Sequence[str], what: str = "texts") -> list[str]:
        """The texts, once they are known to be texts and not too many."""
        if len(texts) > self.limits.texts:
            raise Refusal(
                413, f"there are {len(texts):,} {what}, and {self.limits.texts:,} are taken at a time; send fewer"
            )
        if not texts:
            raise Refusal(422, f"{what} is empty; give one or more", kind="empty")
        for number, text in enumerate(texts, 1):
            check_text(text, f"{what}, number {number},")
        self.record.counts["texts"] = len(texts)
        return list(texts)

    def labels(self, labels: Sequence[Any]) -> None:
        """Raise Refusal for more labels than are taken beside a text."""
        for one in labels:
            if len(one) > self.limits.labels:
                raise Refusal(
                    413,
                    f"there are {len(one):,} labels, and {self.limits.labels:,} are taken beside a text; send fewer",
                )


# sijo's own


@router.post("/classify", response_model=ClassifyAnswer, tags=["sijo"])
async def classify(request: Request, body: ClassifyRequest) -> Response:
    """Choose among labels that no model was trained on."""
    asked = Asked(request, body.model)
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
                422, f"labels_each holds {len(body.labels_each):,} lists, and there are {len(texts):,} texts; give "
                "one for each"
            )
        asked.labels(body.labels_each)
        labels = list(body.labels_each)
    if body.calibration is not None:
        asked.service.check_calibration(body.calibration)
    rows = await asked.model.classify(
        texts, labels, choice, calibration=body.calibration, seconds=asked.seconds
    )
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


@router.post("/attribute", response_model=AttributeAnswer, tags=["sijo"])
async def attribute(request: Request, body: AttributeRequest) -> Response:
    """Tell which control code each text looks like: CTRL's source attribution."""
    asked = Asked(request, body.model)
    found = await asked.model.attribute(asked.texts(body.texts), seconds=asked.seconds)
    rows = [
        [
            {"code": code, "posterior": posterior, "logprob": logprob}
            for code, posterior, logprob in zip(one.codes, one.posteriors, one.logprobs, strict=True)
        ][: body.top_k]
        for one in found
    ]
    return answer({"model": asked.model.name, "rows": rows})


# Hugging Face's inference API


@router.post("/", response_model=HubAnswer, tags=["Hugging Face"])
async def hub(request: Request, body: HubRequest) -> Response:
    """Do what the model is for, or what the parameters ask."""
    return await _hub(request, body, body.model, None)


@router.post("/generate", response_model=HubAnswer, tags=["Hugging Face"])
async def generate(request: Request, body: HubRequest) -> Response:
    """Write on, whole or in a stream of events."""
    return await _hub(request, body, body.model, "text-generation")


@router.post("/pipeline/{task}", response_model=HubAnswer, tags=["Hugging Face"])
async def pipeline(request: Request, task: Task, body: HubRequest) -> Response:
    """Do that task."""
    return await _hub(request, body, body.model, task)


@router.post("/models/{name}", response_model=HubAnswer, tags=["Hugging Face"])
async def hub_model(request: Request, name: ModelName, body: HubRequest) -> Response:
    """Ask a model by its name."""
    return await _hub(request, body, name, None)


@router.post("/models/{name}/pipeline/{task}", response_model=HubAnswer, tags=["Hugging Face"])
async def hub_model_pipeline(request: Request, name: ModelName, task: Task, body: HubRequest) -> Response:
    """Ask a model by its name for a task."""
    return await _hub(request, body, name, task)


async def _hub(request: Request, body: HubRequest, model: str | None, task: Task | None) -> Response:
    asked = Asked(request, model)
    parameters = (body.parameters or HubParameters()).model_copy(
        update=body.model_dump(include=set(HubParameters.model_fields), exclude_unset=True)
    )
    match task or _task_of(asked.model, body, parameters):
        case "zero-shot-classification":
            return answer(await _zero_shot(asked, body, parameters))
        case "text-classification":
            return answer(await _text_classification(asked, body, parameters))
        case "sentence-similarity":
            if not isinstance(body.inputs, SentencePair):
                raise Refusal(422, "inputs holds a source_sentence and sentences for this task")
            return answer(await _similarity(asked, body.inputs, parameters.truncate, parameters.prompt_name))
        case "text-generation":
            if not isinstance(body.inputs, str):
                raise Refusal(422, "inputs is one text for this task: what is to be written on")
            asked.texts([body.inputs or " "], "inputs")
            return await written(asked.model, asked.service.writers, body.inputs, parameters, body.stream)
    vectors = await asked.model.encode(
        asked.texts(_texts(body.inputs)),
        normalize=parameters.normalize is not False,
        prompt=_prompt(asked.model, parameters.prompt_name),
        dimensions=parameters.dimensions,
        cut=bool(parameters.truncate),
        seconds=asked.seconds,
    )
    return answer(vectors.vectors)


def _task_of(model: ServedModel, body: HubRequest, parameters: HubParameters) -> Task:
    """What is asked where the path does not say."""
    if parameters.candidate_labels is not None:
        return "zero-shot-classification"
    if isinstance(body.inputs, SentencePair):
        return "sentence-similarity"
    if "writer" in model.kinds:
        return "text-generation"
    return "feature-extraction" if "classifier" not in model.kinds else "text-classification"


async def _zero_shot(asked: Asked, body: HubRequest, parameters: HubParameters) -> list[Any]:
    alone = isinstance(body.inputs, str)
    texts = asked.texts(_texts(body.inputs))
    given = parameters.candidate_labels or []
    labels = [word.strip() for word in given.split(",") if word.strip()] if isinstance(given, str) else given
    if not labels:
        raise Refusal(422, "parameters.candidate_labels is empty; give one label or more")
    asked.labels([labels])
    choice = LabelChoice(
        template=parameters.hypothesis_template, multi_label=parameters.multi_label or len(labels) == 1 or None
    )
    rows = await asked.model.classify(texts, [labels] * len(texts), choice, seconds=asked.seconds)
    answers = [
        [{"label": label, "score": score} for label, score in zip(row.labels, row.scores, strict=True)]
        for row in rows
    ]
    return answers[0] if alone else answers


async def _text_classification(asked: Asked, body: HubRequest, parameters: HubParameters) -> list[Any]:
    inputs = body.inputs
    pairs: list[tuple[str, str | None]]
    if isinstance(inputs, SentencePair):
        raise Refusal(422, "inputs is a text, or a text and its text_pair, or a list of these, for this task")
    if isinstance(inputs, TextPair) or (isinstance(inputs, list) and inputs and isinstance(inputs[0], TextPair)):
        given = [inputs] if isinstance(inputs, TextPair) else inputs
        pairs = [(one.text, one.text_pair) for one in given]  # type: ignore[union-attr]
    else:
        pairs = [(text, None) for text in _texts(inputs)]
    asked.texts([text for pair in pairs for text in pair if text is not None])
    logits = await asked.model.judge(pairs, cut=bool(parameters.truncate), seconds=asked.seconds)
    function = parameters.function_to_apply or _function(asked.model)
    return [_ranked(asked.model, _applied(row, function), parameters.top_k) for row in logits]


# text-embeddings-inference


@router.post("/embed", response_model=list[list[float]], tags=["text-embeddings-inference"])
async def embed(request: Request, body: EmbedRequest) -> Response:
    """A vector for each text."""
    asked = Asked(request, body.model)
    vectors = await asked.model.encode(
        asked.texts(_texts(body.inputs)),
        normalize=body.normalize,
        prompt=_prompt(asked.model, body.prompt_name),
        dimensions=body.dimensions,
        cut=body.truncate,
        seconds=asked.seconds,
    )
    asked.record.counts["tokens"] = vectors.tokens
    return answer(vectors.vectors)


@router.post(
    "/predict", response_model=list[ScoredLabel] | list[list[ScoredLabel]], tags=["text-embeddings-inference"]
)
async def predict(request: Request, body: PredictRequest) -> Response:
    """The model's own labels for a text, for a pair of texts, or for several of either."""
    asked = Asked(request, body.model)
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
    function = "none" if body.raw_scores else _function(asked.model)
    answers = [_ranked(asked.model, _applied(row, function), None) for row in logits]
    return answer(answers[0] if alone else answers)


@router.post("/rerank", response_model=list[RankedText], tags=["text-embeddings-inference"])
async def rerank(request: Request, body: RerankRequest) -> Response:
    """Texts in the order of how well they answer a query: by a model with one score, or by vectors."""
    asked = Asked(request, body.model)
    texts = asked.texts(body.texts)
    check_text(body.query, "query")
    if "classifier" in asked.model.kinds and len(asked.model.own_labels) == 1:
        logits = await asked.model.judge(
            [(body.query, text) for text in texts], cut=body.truncate, seconds=asked.seconds
        )
        scores = logits[:, 0] if body.raw_scores else _applied(logits[:, 0], "sigmoid")
    elif "vectors" in asked.model.kinds:
        scores = np.array(await _similarity(asked, SentencePair(source_sentence=body.query, sentences=texts)))
    else:
        raise Refusal(424, f"the model {asked.model.name} has no single score for a pair, and no vectors to compare")
    order = np.argsort(-scores, kind="stable").tolist()
    return answer(
        [
            {"index": place, "score": float(scores[place]), **({"text": texts[place]} if body.return_text else {})}
            for place in order
        ]
    )


@router.post("/similarity", response_model=list[float], tags=["text-embeddings-inference"])
async def similarity(request: Request, body: SimilarityRequest) -> Response:
    """The cosine of each sentence with the first."""
    asked = Asked(request, body.model)
    how = body.parameters
    return answer(
        await _similarity(asked, body.inputs, how.truncate if how else None, how.prompt_name if how else None)
    )


async def _similarity(
    asked: Asked, inputs: SentencePair, cut: bool | None = None, prompt: str | None = None
) -> list[float]:
    texts = asked.texts([inputs.source_sentence, *inputs.sentences], "sentences")
    vectors = await asked.model.encode(
        texts, prompt=_prompt(asked.model, prompt), cut=bool(cut), seconds=asked.seconds
    )
    cosines: list[float] = (vectors.vectors[1:] @ vectors.vectors[0]).tolist()
    return cosines


@router.get("/info", response_model=ServiceInfo, tags=["text-embeddings-inference"])
async def info(request: Request, model: str | None = None) -> Response:
    """What a model is, and how much may be asked."""
    asked = Asked(request, model)
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
    return answer(
        {
            "model_id": served.name,
            "model_type": kind,
            "model_dtype": "float32",
            "max_input_length": served.described.tokenizer.max_length,
            "max_batch_tokens": served.queue.tokens,
            "max_client_batch_size": limits.texts,
            "max_queue_tokens": limits.queue_tokens,
            "auto_truncate": False,
            "version": __version__,
            "models": list(asked.service.models.by_name),
            "label_sets": sorted(asked.service.label_sets),
            "calibrations": sorted(served.calibrations),
        }
    )


# OpenAI


@router.post("/v1/embeddings", response_model=EmbeddingsAnswer, tags=["OpenAI"])
async def embeddings(request: Request, body: EmbeddingsRequest) -> Response:
    """A vector for each text, as numbers or in base64."""
    asked = Asked(request, body.model)
    if not isinstance(body.input, str) and any(not isinstance(text, str) for text in body.input):
        raise Refusal(422, "input holds numbers of tokens, which are those of another model; send the texts")
    vectors = await asked.model.encode(
        asked.texts(_texts(body.input), "input"), dimensions=body.dimensions, seconds=asked.seconds
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


@router.get("/v1/models", response_model=ModelList, tags=["OpenAI"])
async def models(request: Request) -> Response:
    """The models that may be named."""
    names = request.app.state.service.models.by_name
    rows = [{"id": name, "object": "model", "created": 0, "owned_by": "sijo"} for name in names]
    return answer({"object": "list", "data": rows})


def _texts(inputs: Any) -> list[str]:
    if isinstance(inputs, str):
        return [inputs]
    if not isinstance(inputs, list) or any(not isinstance(text, str) for text in inputs):
        raise Refusal(422, "inputs is a text, or a list of texts, for this task")
    return inputs


def _prompt(model: ServedModel, name: str | None) -> str | None:
    """A prompt of the model's by name; Refusal for one that it does not have: words are not taken for a name."""
    if name is not None and name not in model.described.sentence.prompts:
        known = ", ".join(model.described.sentence.prompts) or "none"
        raise Refusal(422, f"the model {model.name} has no prompt {name[:100]!r}; it has {known}")
    return name


def _function(model: ServedModel) -> str:
    """What makes scores of logits, by what the head was trained for."""
    problem = model.described.fields.get("problem_type")
    if problem == "regression":
        return "none"
    return "sigmoid" if problem == "multi_label_classification" or len(model.own_labels) == 1 else "softmax"


def _applied(logits: np.ndarray, function: str) -> np.ndarray:
    if function == "softmax":
        shares: np.ndarray = np.exp(logits - logits.max())
        return shares / shares.sum()
    return logits if function == "none" else 1 / (1 + np.exp(-logits))


def _ranked(model: ServedModel, scores: np.ndarray, top_k: int | None) -> list[dict[str, Any]]:
    order = np.argsort(-scores, kind="stable").tolist()[:top_k]
    return [{"label": model.own_labels[place], "score": float(scores[place])} for place in order]
