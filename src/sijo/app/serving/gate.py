"""What stands before every route: who may ask, from where, how much, how long; and what is told of it after.

A page that a browser opened may send requests to the machine it runs on, under any name that its owner lets point
there (DNS rebinding). So a Host that is a name must be one of the service's own, and so must an Origin.
"""

import asyncio
import hashlib
import hmac
import ipaddress
import json
import re
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any

from sijo.app.serving.limits import Refusal, ServiceLimits
from sijo.app.serving.page_routes import is_page

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

OPEN_PATHS = ("/health", "/ready")
"""That need no key: who starts and stops services asks them."""
SAFE_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)
"""Of a request, as its sender may name it."""


@dataclass(frozen=True, kw_only=True)
class Callers:
    """Who may ask."""

    hosts: frozenset[str] = frozenset(("localhost",))
    """Names that a Host may be; the number of an address may always be one: no foreign page can make it its own."""
    origins: frozenset[str] = frozenset()
    """Of pages elsewhere that may ask, as https://example.org."""
    keys: tuple[bytes, ...] = ()
    """Digests of the keys, one of which must be shown; none for a service that is open."""

    @classmethod
    def of(cls, hosts: Collection[str] = (), origins: Collection[str] = (), keys: Sequence[str] = ()) -> "Callers":
        """From names and keys as they are given."""
        names = frozenset(name.casefold() for name in ("localhost", *hosts))
        return cls(hosts=names, origins=frozenset(origins), keys=tuple(map(_digest, keys)))

    def check(self, path: str, headers: "Headers", *, keyless: bool = False) -> None:
        """Raise Refusal for a caller that may not ask.

        keyless  what needs no key anywhere: the page, and a browser's question whether it may ask
        """
        host = headers.one("host")
        if host is None or not self._is_own(host):
            raise Refusal(
                421,
                "the Host of the request is none of this service's names; --allow-host adds one",
                kind="host",
            )
        origin = headers.one("origin")
        if origin is not None and origin not in self.origins and origin.partition("://")[2] != host:
            raise Refusal(403, "a page of another origin asked; let it with --allow-origin", kind="origin")
        if self.keys and not keyless and path not in OPEN_PATHS and not self._is_known(headers):
            raise Refusal(401, "a key is needed: Authorization: Bearer KEY", kind="unauthorized")

    def _is_own(self, host: str) -> bool:
        name = host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
        if name.casefold() in self.hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _is_known(self, headers: "Headers") -> bool:
        scheme, _, key = (headers.one("authorization") or "").partition(" ")
        shown = _digest(key.strip()) if scheme.lower() == "bearer" else _digest(headers.one("x-api-key") or "")
        matches = [hmac.compare_digest(shown, known) for known in self.keys]  # all of them: in one time
        return any(matches)


class Headers:
    """A request's headers, each at most once."""

    def __init__(self, scope: "Scope") -> None:
        self._raw: list[tuple[bytes, bytes]] = scope["headers"]

    def one(self, name: str) -> str | None:
        """The value of a header, None where it is not there; Refusal where it is there twice."""
        values = [value for key, value in self._raw if key == name.encode()]
        if len(values) > 1:
            raise Refusal(400, f"the header {name} is there {len(values)} times", kind="validation")
        return values[0].decode("latin-1") if values else None


@dataclass
class Record:
    """What is told of a request when it is over: counts, never its texts."""

    request: str
    path: str = ""
    """The route, not the path as it was sent, which may hold anything."""
    method: str = ""
    status: int = 0
    counts: dict[str, int | str] = field(default_factory=dict)
    begun: float = field(default_factory=perf_counter)


class Gate:
    """The application behind its checks.

    app      what answers
    callers  who may ask
    limits   how much
    crowded  raises Refusal where so many bytes more than wait already are too many: who is refused before anything
             reads the request costs those that wait little
    watched  is given each Record when its request is over
    """

    def __init__(
        self,
        app: "ASGIApp",
        *,
        callers: Callers,
        limits: ServiceLimits,
        crowded: Callable[[int], None] = lambda _: None,
        watched: Any = None,
    ) -> None:
        self.app, self.callers, self.limits = app, callers, limits
        self.crowded, self.watched = crowded, watched

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer a request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # a websocket: nothing here speaks it, and the server closes it
        headers = Headers(scope)
        own = next((value for key, value in scope["headers"] if key == b"x-request-id"), b"").decode("latin-1")
        record = Record(own if SAFE_ID.fullmatch(own) else uuid.uuid4().hex, method=scope["method"])
        scope.setdefault("state", {})["record"] = record
        out = _Outgoing(send, record, origin=None)
        try:
            preflight = self._is_preflight(scope, headers)
            keyless = preflight or is_page(scope["method"], scope["path"])
            self.callers.check(scope["path"], headers, keyless=keyless)
            out.origin = self._cors(headers)
            if preflight:
                await out.plain(204, b"")
                return
            body = await self._body(headers, receive)
            out.read = True
            kind = (headers.one("content-type") or "").partition(";")[0].strip().casefold()
            if body and kind != "application/json":
                raise Refusal(415, "the body must say that it is JSON: content-type: application/json")
            if body:
                self.crowded(len(body))
            await self._answered(scope, body, receive, out)
        except Refusal as refusal:
            if not out.begun:
                content = json.dumps(refusal.body(scope["path"])).encode()
                await out.plain(refusal.status, content, refusal.headers)
        finally:
            record.path = getattr(scope.get("route"), "path", "") or "(none)"
            if self.watched is not None:
                self.watched(record)

    def _cors(self, headers: Headers) -> str | None:
        origin = headers.one("origin")
        return origin if origin in self.callers.origins else None

    @staticmethod
    def _is_preflight(scope: "Scope", headers: Headers) -> bool:
        return scope["method"] == "OPTIONS" and headers.one("access-control-request-method") is not None

    async def _body(self, headers: Headers, receive: "Receive") -> bytes:
        """The whole body; Refusal for one that is too long or too late."""
        most = self.limits.most_body_bytes
        if (headers.one("content-encoding") or "identity").strip().casefold() != "identity":
            reason = (
                "the body is compressed, and nothing is unpacked here; send it as it is, without content-encoding"
            )
            raise Refusal(415, reason, kind="validation")
        told = headers.one("content-length")
        if told is not None and told.isdigit() and int(told) > most:
            raise _too_long(most)
        parts, size = list[bytes](), 0
        try:
            async with asyncio.timeout(self.limits.most_body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Refusal(400, "the client went away before its request was whole")
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > most:
                        raise _too_long(most)
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            raise Refusal(
                408, f"the body did not come whole within {self.limits.most_body_seconds:g} seconds"
            ) from None

    async def _answered(self, scope: "Scope", body: bytes, receive: "Receive", out: "_Outgoing") -> None:
        """Have the application answer; when the client goes, so does the work."""
        given = False
        gone = asyncio.Event()

        async def replay() -> "Message":
            nonlocal given
            if not given:
                given = True
                return {"type": "http.request", "body": body, "more_body": False}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            gone.set()

        answering = asyncio.ensure_future(self.app(scope, replay, out))
        watching = asyncio.ensure_future(watch())
        try:
            await asyncio.wait((answering, watching), return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                answering.cancel()
            await answering
        except asyncio.CancelledError:
            if not gone.is_set():
                raise
            out.record.counts["gone"] = 1
        finally:
            answering.cancel()
            watching.cancel()


class _Outgoing:
    """What is sent back, with the headers that every answer has."""

    def __init__(self, send: "Send", record: Record, origin: str | None) -> None:
        self.send, self.record, self.origin, self.begun = send, record, origin, False
        self.read = False
        """Whether nothing of the request is on its way any more."""

    async def __call__(self, message: "Message") -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            self.record.status = message["status"]
            headers = [
                (b"x-request-id", self.record.request.encode()),
                (b"x-content-type-options", b"nosniff"),
            ]
            if all(name != b"cache-control" for name, _ in message.get("headers", ())):
                headers.append((b"cache-control", b"no-store"))
            if self.origin is not None:
                headers += [
                    (b"access-control-allow-origin", self.origin.encode()),
                    (b"access-control-allow-headers", b"authorization, content-type, x-api-key"),
                    (b"access-control-allow-methods", b"GET, POST"),
                    (b"vary", b"origin"),
                ]
            message = {**message, "headers": [*message.get("headers", []), *headers]}
        await self.send(message)

    async def plain(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        """A whole answer at once."""
        pairs = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        pairs += [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(content)).encode()),
        ]
        if not self.read:
            pairs.append((b"connection", b"close"))  # a body may be on its way, and nobody will read it
        await self({"type": "http.response.start", "status": status, "headers": pairs})
        await self({"type": "http.response.body", "body": content})


def _too_long(most: int) -> Refusal:
    return Refusal(413, f"the body has more than {most:,} bytes; send fewer texts at a time")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
