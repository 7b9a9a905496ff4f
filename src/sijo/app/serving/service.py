"""The service as one application: models and their queue, routes behind the gate, health, metrics and the log."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter, time
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.routing import Match

from sijo.app.serving import hub_routes, inference_routes, learning_routes, openai_routes, own_routes, page_routes
from sijo.app.serving.batcher import Batcher
from sijo.app.serving.gate import Callers, Gate, Record
from sijo.app.serving.learning import FittedModels
from sijo.app.serving.limits import REASONS, Refusal, ServiceLimits
from sijo.app.serving.request_log import LOG
from sijo.app.serving.served_models import BYTES_A_TOKEN, ServedModel, ServedModels, served
from sijo.app.serving.shapes import Refused
from sijo.app.serving.writing import Writers
from sijo.errors import SijoError, nearest
from sijo.version import __version__
from sijo.zeroshot.labels import LabelSet

if TYPE_CHECKING:
    from sijo.zeroshot.calibrating.frozen import FrozenCalibration

ROUTERS = tuple(
    routes.router
    for routes in (own_routes, learning_routes, hub_routes, inference_routes, openai_routes, page_routes)
)
SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
"""Bounds of the histograms of times."""


class ServiceMetrics:
    """What `/metrics` tells, of this service alone."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own: Any = {"registry": self.registry}
        self.requests = Counter("sijo_requests", "Requests answered.", ("route", "status"), **own)
        self.seconds = Histogram(
            "sijo_request_seconds", "From a request's arrival to its answer.", ("route",), buckets=SECONDS, **own
        )
        self.texts = Counter("sijo_texts", "Texts in requests that were answered.", **own)
        self.batches = Histogram(
            "sijo_batch_texts",
            "Texts that were read together.",
            buckets=tuple(2**power for power in range(12)),
            **own,
        )
        self.sharing = Counter("sijo_batch_requests", "Requests that shared a batch, counted once a batch.", **own)
        self.computing = Counter("sijo_compute_seconds", "Seconds in which a network computed.", **own)
        self.queued = Gauge("sijo_queue_tokens", "Tokens that wait, about.", **own)
        self.ready = Gauge("sijo_ready", "1 where requests are taken.", **own)

    def batch(self, texts: int, requests: int, seconds: float) -> None:
        """Count a batch."""
        self.batches.observe(texts)
        self.sharing.inc(requests)
        self.computing.inc(seconds)

    def request(self, record: Record) -> None:
        """Count a request."""
        self.requests.labels(record.path, str(record.status or 499)).inc()
        self.seconds.labels(record.path).observe(perf_counter() - record.begun)
        if 200 <= record.status < 300:
            self.texts.inc(int(record.counts.get("texts", 0)))


@dataclass(eq=False)
class Service:
    """Everything that requests share."""

    models: ServedModels
    queue: Batcher
    limits: ServiceLimits
    metrics: ServiceMetrics
    label_sets: Mapping[str, LabelSet] = field(default_factory=dict)
    writers: Writers = field(default_factory=Writers)
    fitted: FittedModels = field(init=False)
    aside: Batcher = field(init=False)
    """The queue, and the thread, of what takes long: a head that is fitted holds nobody else up."""
    ready: bool = False
    """Whether requests are taken: models are open, and nobody asked the service to end."""

    def __post_init__(self) -> None:
        self.fitted = FittedModels(self.models)
        self.aside = Batcher(tokens=1, wait=0.0, most=self.queue.most)

    def label_set(self, name: str) -> LabelSet:
        """Labels of the service's own; Refusal where it has none of that name."""
        if name not in self.label_sets:
            raise Refusal(
                422,
                f"there is no label_set {name[:100]!r}{nearest(name[:100], self.label_sets)}; there are "
                f"{', '.join(sorted(self.label_sets)) or 'none: start the service with --label-set NAME=FILE'}",
            )
        return self.label_sets[name]

    def check_calibration(self, model: ServedModel, name: str) -> None:
        """Raise Refusal for a calibration that a model does not have."""
        known = model.calibrations
        if name not in known:
            raise Refusal(
                422,
                f"there is no calibration {name[:100]!r}{nearest(name[:100], known)}; there are "
                f"{', '.join(sorted(known)) or 'none: start the service with --calibration NAME=FILE'}",
            )

    def check_room(self, size: int) -> None:
        """Raise Refusal where a body of so many bytes finds no room in the queue: told by half of what its texts
        may be, since JSON takes up to six bytes for three of a text."""
        self.queue.check_room(size // (2 * BYTES_A_TOKEN))

    def over(self, record: Record) -> None:
        """Count a request that is over, and log it: counts alone, never a text."""
        self.metrics.request(record)
        if not LOG.isEnabledFor(logging.INFO):
            return
        LOG.info(
            json.dumps(
                {
                    "time": round(time(), 3),
                    "request": record.request,
                    "method": record.method,
                    "route": record.path,
                    "status": record.status or 499,
                    "seconds": round(perf_counter() - record.begun, 4),
                    **record.counts,
                }
            )
        )


def make_service(
    models: Sequence[str] = (),
    *,
    limits: ServiceLimits | None = None,
    label_sets: Mapping[str, LabelSet] | None = None,
    calibrations: "Mapping[str, FrozenCalibration] | None" = None,
    batch_tokens: int = 4096,
    batch_wait: float = 0.002,
    **run_by: Any,
) -> Service:
    """A service of models, none of them opened yet.

    models       as `ServedModels` are named; none for the built-in one
    batch_tokens  of texts that are read together, about
    batch_wait   seconds that an idle service waits for a second request, where its last batch was shared
    run_by       device, backend, precision, threads

    Raises what `describe` raises for a folder that is none.
    """
    limits = limits or ServiceLimits()
    metrics = ServiceMetrics()
    queue = Batcher(tokens=batch_tokens, wait=batch_wait, most=limits.most_queue_tokens, told=metrics.batch)
    own = served(models, queue, limits, run_by, calibrations=calibrations or {})
    metrics.queued.set_function(lambda: queue.queued)
    made = Service(own, queue, limits, metrics, label_sets or {})
    metrics.ready.set_function(lambda: int(made.ready))
    return made


def application(service: Service, callers: Callers | None = None) -> Gate:
    """What a server such as uvicorn runs."""
    refusals: dict[int | str, dict[str, Any]] = {
        status: {"model": Refused, "description": reason} for status, reason in REASONS.items()
    }
    app = FastAPI(
        title="sijo",
        version=__version__,
        summary="Compact language models that label, encode and write text.",
        lifespan=_lifespan,
        responses=refusals,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # to an address made of the Host, which may be another's
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.service = service
    for router in ROUTERS:
        app.include_router(router)
    for path, asks in (("/health", _health), ("/ready", _ready)):
        app.add_api_route(path, asks, methods=["GET"], tags=["operation"])
        app.add_api_route(path, asks, methods=["HEAD"], include_in_schema=False)
    app.add_api_route("/metrics", _metrics, methods=["GET"], tags=["operation"], response_class=Response)
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(SijoError, _mistaken)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _not_here)
    app.add_exception_handler(Exception, _faulty)
    return Gate(
        app,
        callers=callers or Callers.of(),
        limits=service.limits,
        crowded=service.check_room,
        watched=service.over,
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    service.queue.start()
    service.aside.start()
    loop = asyncio.get_running_loop()
    for model in service.models.by_name.values():
        for opens in model.opened():
            await loop.run_in_executor(None, opens)
    service.ready = True
    try:
        yield
    finally:
        service.ready = False
        service.writers.stop()
        await service.queue.stop()
        await service.aside.stop()
        service.fitted.close()


async def _health() -> dict[str, str]:
    """That the process answers."""
    return {"status": "ok"}


async def _ready(request: Request) -> Response:
    """That requests are taken."""
    if not request.app.state.service.ready:
        raise Refusal(503, "the service is opening its models, or closing", after=1.0)
    return JSONResponse({"status": "ready"})


async def _metrics(request: Request) -> Response:
    """Counts and times in the format of Prometheus."""
    content = generate_latest(request.app.state.service.metrics.registry)
    return Response(content, headers={"content-type": CONTENT_TYPE_LATEST})


def _told(request: Request, refusal: Refusal) -> Response:
    return JSONResponse(refusal.body(request.url.path), refusal.status, headers=refusal.headers)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return _told(request, error)


async def _mistaken(request: Request, error: Exception) -> Response:
    """Of what cannot be: a setting, a text."""
    return _told(request, Refusal(422, str(error)))


async def _invalid(request: Request, error: Exception) -> Response:
    """Of a body that is not of the shape: where, and what is the matter; never what was sent."""
    assert isinstance(error, RequestValidationError)
    problems = error.errors()
    if any(problem["type"] == "json_invalid" for problem in problems):
        return _told(
            request,
            Refusal(400, "the body is not the JSON that its content-type says"),
        )
    told = dict.fromkeys(map(_in_words, problems))
    return _told(request, Refusal(422, "; ".join([*told][:5])))


def _in_words(problem: Mapping[str, Any]) -> str:
    """Where a body is not of the shape, and what would be: of labels, which have two shapes, both."""
    parts, what = [str(part)[:60] for part in problem["loc"][1:]], problem["msg"][:200]
    shape = next((place for place, part in enumerate(parts) if part.startswith(("list[", "dict["))), 0)
    if shape and parts[0] in ("labels", "labels_each"):
        parts, what = parts[:shape], 'give a list of names, as in ["sea", "land"], or an object of descriptions'
    return f"{'.'.join(parts) or 'the body'}: {what}"


async def _not_here(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    reason = REASONS.get(error.status_code, str(error.detail))
    routes: list[Any] = [route for one in ROUTERS for route in one.routes]
    if error.status_code == 404:
        reason += nearest(request.url.path[:100], [route.path for route in routes if "{" not in route.path])
    refusal = Refusal(error.status_code, reason)
    headers = {name.lower(): value for name, value in (error.headers or {}).items()} | refusal.headers
    if error.status_code == 405:  # the path may have several routes
        here = (route.methods for route in routes if route.matches(request.scope)[0] != Match.NONE)
        headers["allow"] = ", ".join(sorted(set().union(*here))) or headers.get("allow", "")
    return JSONResponse(refusal.body(request.url.path), error.status_code, headers=headers)


async def _faulty(request: Request, error: Exception) -> Response:
    """Of a fault of ours: what it was goes to the log, without what was sent."""
    frames = []
    trace = error.__traceback__
    while trace is not None:
        frames.append(f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}")
        trace = trace.tb_next
    LOG.error("a fault: %s at %s", type(error).__name__, " < ".join(reversed(frames[-8:])))
    return _told(request, Refusal(500, "a fault of the service's own; its log tells where"))
