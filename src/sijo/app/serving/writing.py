"""Text that a model writes, whole or as a stream of events, token by token.

Source: the events are those of text-generation-inference, which Hugging Face's client reads.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
from fastapi import Response
from fastapi.responses import StreamingResponse

from sijo.app.serving.limits import Refusal
from sijo.app.serving.served_models import ServedModel
from sijo.app.serving.shapes import HubParameters
from sijo.errors import SijoError

MOST_TOKENS = 2_000
"""That are written for a request."""


class Writers:
    """The thread in which texts are written, and how many may wait for it.

    most  texts that are written or wait
    """

    def __init__(self, most: int = 16) -> None:
        self.most, self.busy = most, 0
        self._thread = ThreadPoolExecutor(1, "sijo-write")

    def take(self) -> None:
        """Take a place; Refusal where none is left."""
        if self.busy >= self.most:
            raise Refusal(429, f"{self.busy} texts are being written or wait already; ask again later", after=5.0)
        self.busy += 1

    def leave(self) -> None:
        """Give the place back."""
        self.busy -= 1

    async def tokens(self, begin: Any, stop: threading.Event) -> AsyncIterator[Any]:
        """What `begin()` yields, drawn in the thread, until `stop` is set."""
        loop = asyncio.get_running_loop()
        drawn: asyncio.Queue[Any] = asyncio.Queue()

        def draw() -> None:
            try:
                for token in begin():
                    if stop.is_set():
                        break
                    loop.call_soon_threadsafe(drawn.put_nowait, token)
                loop.call_soon_threadsafe(drawn.put_nowait, None)
            except Exception as error:
                loop.call_soon_threadsafe(drawn.put_nowait, error)

        self._thread.submit(draw)
        while (token := await drawn.get()) is not None:
            if isinstance(token, Exception):
                raise token
            yield token

    def stop(self) -> None:
        """Let go of the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)


class EventStream(StreamingResponse):
    """A stream that ends when nobody reads it any more, wherever it was.

    over  is called when it has ended, also where it never began
    """

    def __init__(self, events: AsyncIterator[bytes], over: Callable[[], None]) -> None:
        super().__init__(events, media_type="text/event-stream")
        self.over = over

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self.body_iterator.aclose()  # type: ignore[attr-defined] # it is a generator
            self.over()


async def written(
    model: ServedModel, writers: Writers, prompt: str, parameters: HubParameters, stream: bool
) -> Response:
    """What follows a prompt, as the parameters ask."""
    model.must("writer", "write")
    begin = _beginning(model, prompt, parameters)
    writers.take()
    stop = threading.Event()
    if stream:
        return EventStream(_events(writers, begin, stop, prompt, parameters), writers.leave)
    try:
        pieces = [token.text async for token in writers.tokens(begin, stop)]
    finally:
        stop.set()
        writers.leave()
    text = (prompt if parameters.return_full_text else "") + "".join(pieces)
    return Response(orjson.dumps([{"generated_text": text}]), media_type="application/json")


def _beginning(model: ServedModel, prompt: str, parameters: HubParameters) -> Any:
    from sijo.generation.rules import Request, Sampling

    asked: dict[str, Any] = {
        "temperature": parameters.temperature,
        "top_k": parameters.top_k,
        "top_p": parameters.top_p,
        "penalty": parameters.repetition_penalty,
    }
    request = Request(
        prompt=prompt,
        control_code=parameters.control_code,
        max_new_tokens=min(parameters.max_new_tokens or 100, MOST_TOKENS),
        stop=tuple(parameters.stop),
        seed=parameters.seed or 0,
        sampling=Sampling(**{name: value for name, value in asked.items() if value is not None}),
    )
    return lambda: model.generator.stream([request])


async def _events(
    writers: Writers, begin: Any, stop: threading.Event, prompt: str, parameters: HubParameters
) -> AsyncIterator[bytes]:
    text = prompt if parameters.return_full_text else ""
    try:
        async for token in writers.tokens(begin, stop):
            text += token.text
            event: dict[str, Any] = {
                "index": 0,
                "token": {"id": token.id, "text": token.text, "logprob": token.logprob, "special": False},
                "generated_text": text if token.last else None,
                "details": None,
            }
            yield b"data:" + orjson.dumps(event) + b"\n\n"
    except SijoError as error:  # the status is out already
        yield b"data:" + orjson.dumps({"error": str(error), "error_type": "validation"}) + b"\n\n"
    finally:
        stop.set()
