"""The server that runs the application: one process, HTTP/1.1, ended by SIGTERM once what was asked is answered."""

import asyncio
import logging
import os
import socket
import warnings
from collections.abc import Callable
from types import FrameType
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from sijo.app.serving.gate import Gate
from sijo.app.serving.request_log import log_to_stderr
from sijo.app.serving.service import Service
from sijo.errors import SettingError, SijoWarning

HEAD_BYTES = 16_384
"""Of a request's line and headers together."""
MOST_CONNECTIONS = 2_048


class PatientProtocol(H11Protocol):
    """HTTP/1.1 on one connection, closed where a request's headers do not come whole in time.

    uvicorn itself waits for them without an end, and each such connection is one that others cannot have.
    """

    head_seconds = 10.0
    _head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a first request."""
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Wait for the rest of a request's headers, or for no more of them."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()
        elif self._head is None:
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        self._head = self.loop.call_later(self.head_seconds, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None


class DrainingServer(uvicorn.Server):
    """uvicorn, which tells the service at once that it is to end, and others where it listens."""

    def __init__(self, config: uvicorn.Config, service: Service, told: Callable[[str], None]) -> None:
        super().__init__(config)
        self.service, self.told, self.signal = service, told, 0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open models, listen, and tell where."""
        await super().startup(sockets)
        warnings.filterwarnings("ignore", category=SijoWarning)  # of texts and labels, which no log is to hold
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            self.told(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take no more requests; end once those that are here are answered."""
        self.service.ready = False
        self.signal = sig
        super().handle_exit(sig, frame)


def serve(
    application: Gate,
    service: Service,
    host: str,
    port: int,
    *,
    drain: float,
    told: Callable[[str], None],
    log: int = logging.INFO,
) -> None:
    """Run an application until a signal ends it.

    drain  seconds that requests may take to end after that
    told   is told the address
    log    the level from which lines go to standard error: one for each request is of INFO

    Raises SettingError for a port that is taken, or an address that is none of this machine's.
    """
    listening = _listening(host, port)
    config = uvicorn.Config(
        application,
        http=PatientProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=max(1, round(drain)),
        h11_max_incomplete_event_size=HEAD_BYTES,
    )
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
    PatientProtocol.head_seconds = service.limits.most_body_seconds
    lines = log_to_stderr(log)
    try:
        DrainingServer(config, service, told).run([listening])
    finally:
        lines.end()


def _listening(host: str, port: int) -> socket.socket:
    try:
        found: list[Any] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        opened = socket.socket(family, kind, protocol)
        if os.name == "posix":
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
    except OSError as error:
        raise SettingError(
            f"--host {host} --port {port}: {error.strerror or error}; choose another, or 0 for a free one"
        ) from None
    opened.setblocking(False)
    return opened
