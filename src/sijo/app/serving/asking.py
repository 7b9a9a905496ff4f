"""What every route needs: the model that is asked, texts looked at, and numbers made into an answer."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from fastapi import Request, Response

from sijo.app.serving.limits import Refusal
from sijo.app.serving.served_models import ServedModel
from sijo.app.serving.shapes import SentencePair
from sijo.texts import check_text


def answer(content: Any) -> Response:
    """An answer as JSON, numbers of arrays among it."""
    return Response(orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")


class RoutedRequest:
    """A request, the model that it is for, and what is known about how it may be answered."""

    def __init__(self, request: Request, model: str | None) -> None:
        service = request.app.state.service
        self.service, self.limits = service, service.limits
        self.model: ServedModel = service.models.named(model)
        self.record = request.scope["state"]["record"]
        self.record.counts["model"] = self.model.name
        self.seconds: float = self.limits.most_seconds

    def texts(self, texts: Sequence[str], what: str = "texts") -> list[str]:
        """The texts, once they are known to be texts and not too many."""
        if len(texts) > self.limits.most_texts:
            raise Refusal(
                413,
                f"there are {len(texts):,} {what}, and at most {self.limits.most_texts:,} are taken",
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
            if len(one) > self.limits.most_labels:
                raise Refusal(
                    413,
                    f"there are {len(one):,} labels, and {self.limits.most_labels:,} are taken beside a text",
                )


async def cosines_of(
    asked: RoutedRequest, inputs: SentencePair, cut: bool | None = None, prompt: str | None = None
) -> list[float]:
    check_text(inputs.source_sentence, "the sentence that is compared")
    texts = [inputs.source_sentence, *asked.texts(inputs.sentences, "sentences")]
    vectors = await asked.model.encode(
        texts, prompt=prompt_of(asked.model, prompt), cut=bool(cut), seconds=asked.seconds
    )
    cosines: list[float] = (vectors.vectors[1:] @ vectors.vectors[0]).tolist()
    return cosines


def texts_of(inputs: Any) -> list[str]:
    if isinstance(inputs, str):
        return [inputs]
    if not isinstance(inputs, list) or any(not isinstance(text, str) for text in inputs):
        raise Refusal(422, "inputs is a text, or a list of texts, for this task")
    return inputs


def prompt_of(model: ServedModel, name: str | None) -> str | None:
    """A prompt of the model's by name; Refusal for one that it does not have: words are not taken for a name."""
    if name is not None and name not in model.described.sentence.prompts:
        known = ", ".join(model.described.sentence.prompts) or "none"
        raise Refusal(422, f"the model {model.name} has no prompt {name[:100]!r}; it has {known}")
    return name


def ranked(model: ServedModel, scores: np.ndarray, top_k: int | None) -> list[dict[str, Any]]:
    order = np.argsort(-scores, kind="stable").tolist()[:top_k]
    return [{"label": model.own_labels[place], "score": float(scores[place])} for place in order]
