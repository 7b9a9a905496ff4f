"""Routes as of Hugging Face's inference API, whose client posts to the URL itself, or names a task."""

from typing import Any

from fastapi import APIRouter, Request, Response

from sijo.app.serving.asking import (
    RoutedRequest,
    answer,
    cosines_of,
    prompt_of,
    ranked,
    texts_of,
)
from sijo.app.serving.limits import Refusal
from sijo.app.serving.served_models import ServedModel
from sijo.app.serving.shapes import HubAnswer, HubParameters, HubRequest, ModelName, SentencePair, Task, TextPair
from sijo.app.serving.writing import written
from sijo.pipelines.text_classification import function_of, scores_of
from sijo.zeroshot.labeller import LabelChoice

router = APIRouter(tags=["Hugging Face"])


@router.post("/", response_model=HubAnswer)
async def hub(request: Request, body: HubRequest) -> Response:
    """Do what the model is for, or what the parameters ask."""
    return await _hub(request, body, body.model, None)


@router.post("/generate", response_model=HubAnswer)
async def generate(request: Request, body: HubRequest) -> Response:
    """Write on, whole or in a stream of events."""
    return await _hub(request, body, body.model, "text-generation")


@router.post("/pipeline/{task}", response_model=HubAnswer)
async def pipeline(request: Request, task: Task, body: HubRequest) -> Response:
    """Do that task."""
    return await _hub(request, body, body.model, task)


@router.post("/models/{name}", response_model=HubAnswer)
async def hub_model(request: Request, name: ModelName, body: HubRequest) -> Response:
    """Ask a model by its name."""
    return await _hub(request, body, name, None)


@router.post("/models/{name}/pipeline/{task}", response_model=HubAnswer)
async def hub_model_pipeline(request: Request, name: ModelName, task: Task, body: HubRequest) -> Response:
    """Ask a model by its name for a task."""
    return await _hub(request, body, name, task)


async def _hub(request: Request, body: HubRequest, model: str | None, task: Task | None) -> Response:
    asked = RoutedRequest(request, model)
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
            return answer(await cosines_of(asked, body.inputs, parameters.truncate, parameters.prompt_name))
        case "text-generation":
            if not isinstance(body.inputs, str):
                raise Refusal(422, "inputs is one text for this task: what is to be written on")
            asked.texts([body.inputs or " "], "inputs")
            return await written(asked.model, asked.service.writers, body.inputs, parameters, body.stream)
    vectors = await asked.model.encode(
        asked.texts(texts_of(body.inputs), "inputs"),
        normalize=parameters.normalize is not False,
        prompt=prompt_of(asked.model, parameters.prompt_name),
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


async def _zero_shot(asked: RoutedRequest, body: HubRequest, parameters: HubParameters) -> list[Any]:
    alone = isinstance(body.inputs, str)
    texts = asked.texts(texts_of(body.inputs), "inputs")
    given = parameters.candidate_labels or []
    labels = [word.strip() for word in given.split(",") if word.strip()] if isinstance(given, str) else given
    if not labels:
        raise Refusal(422, "parameters.candidate_labels is empty; give one label or more")
    asked.labels([labels])
    choice = LabelChoice(
        template=parameters.hypothesis_template,
        multi_label=bool(parameters.multi_label) or len(labels) == 1 or None,
    )
    rows = await asked.model.classify(texts, [labels] * len(texts), choice, seconds=asked.seconds)
    answers = [
        [{"label": label, "score": score} for label, score in zip(row.labels, row.scores, strict=True)]
        for row in rows
    ]
    return answers[0] if alone else answers


async def _text_classification(asked: RoutedRequest, body: HubRequest, parameters: HubParameters) -> list[Any]:
    inputs = body.inputs
    pairs: list[tuple[str, str | None]]
    if isinstance(inputs, SentencePair):
        raise Refusal(422, "inputs is a text, or a text and its text_pair, or a list of these, for this task")
    if isinstance(inputs, TextPair) or (isinstance(inputs, list) and inputs and isinstance(inputs[0], TextPair)):
        given = [inputs] if isinstance(inputs, TextPair) else inputs
        pairs = [(one.text, one.text_pair) for one in given]
    else:
        pairs = [(text, None) for text in texts_of(inputs)]
    asked.texts([text for pair in pairs for text in pair if text is not None], "inputs")
    logits = await asked.model.judge(pairs, cut=bool(parameters.truncate), seconds=asked.seconds)
    function = parameters.function_to_apply or function_of(asked.model.described)
    return [ranked(asked.model, scores_of(row, function), parameters.top_k) for row in logits]
