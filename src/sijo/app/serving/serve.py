"""`sijo serve`: models behind HTTP, on this machine alone unless a key is asked for."""

import ipaddress
import logging
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from sijo.app.options import ComputeOptions
from sijo.app.results import tell
from sijo.app.serving.limits import ServiceLimits
from sijo.errors import SettingError, warn

if TYPE_CHECKING:
    from sijo.zeroshot.calibrating.frozen import FrozenCalibration
    from sijo.zeroshot.labels import LabelSet

SHORTEST_KEY = 16
"""Characters of a key."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ServeSettings(ServiceLimits, ComputeOptions):
    """Where the service listens, who may ask, and how much."""

    host: str = "127.0.0.1"
    """The address to listen at. Any but this machine's own needs --api-key-file."""
    port: int = 8000
    """The port; 0 for one that is free, which is told."""
    api_key_file: Path | None = None
    """A file of keys, one a line, of 16 characters or more, one of which each request must show: Authorization:
    Bearer KEY."""
    allow_host: Annotated[tuple[str, ...], Parameter(negative=())] = ()
    """A name under which the service is reached, besides localhost and numbers; may be given several times."""
    allow_origin: Annotated[tuple[str, ...], Parameter(negative=())] = ()
    """A page elsewhere that may ask, as https://example.org; may be given several times."""
    label_set: Annotated[tuple[str, ...], Parameter(negative=())] = ()
    """NAME=FILE: labels that requests may name; files as of --labels-file. May be given several times."""
    calibration: Annotated[tuple[str, ...], Parameter(negative=())] = ()
    """NAME=FILE: a calibration of sijo classify that requests may name. May be given several times."""
    batch_tokens: int = 4096
    """Of the texts that are read together, about."""
    batch_wait: float = 2.0
    """Milliseconds that an idle service waits for a second request before it reads the first, where it last read
    several together: who asks alone never waits."""
    drain: float = 30.0
    """Seconds that requests may take to end after SIGTERM."""
    log: Literal["requests", "errors"] = "requests"
    """A line of JSON on standard error for each request, without its texts; or for faults alone."""


def run(*models: str, settings: ServeSettings = ServeSettings()) -> None:
    """Serve models over HTTP: labels, vectors, a trained model's answers, text.

    MODELS are folders or org/names, also as name=folder; without any the built-in one. A request may name one,
    and the first answers where it names none.

    Requests are those of sijo (/classify), Hugging Face's inference API (/, /pipeline/{task}, /generate),
    text-embeddings-inference (/embed, /predict, /rerank, /similarity, /info) and OpenAI (/v1/embeddings); all are
    told at /openapi.json. /health, /ready and /metrics are for who runs it.

        sijo serve

        curl localhost:8000/classify --json '{"texts": ["the keeper saved it"], "labels": ["football", "cooking"]}'

        sijo serve topics=runs/topics/model org/encoder --host 0.0.0.0 --api-key-file keys.txt
    """
    settings.take_threads()
    keys = [] if settings.api_key_file is None else read_keys(settings.api_key_file)
    check_address(settings.host, settings.port, keys)
    from sijo.app.serving.gate import Callers
    from sijo.app.serving.server import serve
    from sijo.app.serving.service import application, make_service

    waits = 0 <= settings.batch_wait <= 1000 and 0 <= settings.drain <= 3600
    if not waits or not 1 <= settings.batch_tokens <= 10**7:
        raise SettingError(
            f"--batch-tokens {settings.batch_tokens}, --batch-wait {settings.batch_wait:g} and --drain "
            f"{settings.drain:g}: give 1 to 10,000,000 tokens, 0 to 1000 milliseconds, and 0 to 3600 seconds"
        )
    if settings.precision == "auto":
        raise SettingError("--precision auto is decided by the first texts, and a service has none yet; name one")
    service = make_service(
        models,
        limits=settings,
        label_sets=label_sets(settings.label_set),
        calibrations=calibrations(settings.calibration),
        batch_tokens=settings.batch_tokens,
        batch_wait=settings.batch_wait / 1000,
        backend=settings.backend,
        device=settings.device,
        precision=settings.precision,
        threads=settings.threads,
    )
    own = () if _is_number(settings.host) else (settings.host,)
    callers = Callers.of((*own, *settings.allow_host), settings.allow_origin, keys)
    serve(
        application(service, callers),
        service,
        settings.host,
        settings.port,
        drain=settings.drain,
        log=logging.INFO if settings.log == "requests" else logging.ERROR,
        told=lambda address: tell(f"serving {', '.join(service.models.by_name)} at {address}"),
    )


def check_address(host: str, port: int, keys: Sequence[str]) -> None:
    """Raise SettingError for an address that others reach where no key is asked for."""
    if not 0 <= port <= 65_535:
        raise SettingError(f"--port {port} is no port; give 1 to 65535, or 0 for one that is free")
    alone = host == "localhost" or (_is_number(host) and ipaddress.ip_address(host).is_loopback)
    if not keys and not alone:
        raise SettingError(
            f"--host {host} is reached by others, and no key is asked for; give --api-key-file, or leave --host "
            "out for this machine alone"
        )


def read_keys(path: Path) -> list[str]:
    """The keys of a file, one a line; SettingError for a file without, and for a key that can be guessed.

    Warns of a file that anybody on this machine can read.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
        if os.name == "posix" and path.stat().st_mode & stat.S_IROTH:
            warn(f"--api-key-file {path} can be read by everybody on this machine; to keep it: chmod 600 {path}")
    except UnicodeDecodeError:
        raise SettingError(f"--api-key-file {path} is no text in UTF-8; write a key a line") from None
    except FileNotFoundError:
        raise SettingError(f"--api-key-file {path} is not there; write a key a line") from None
    except OSError as error:
        raise SettingError(f"--api-key-file {path}: {error.strerror}; name a file that you may read") from None
    keys = [line.strip() for line in lines if line.strip()]
    if not keys:
        raise SettingError(f"--api-key-file {path} holds no key; write one a line")
    for number, key in enumerate(keys, 1):
        if len(key) < SHORTEST_KEY or not key.isascii() or " " in key:
            raise SettingError(
                f"--api-key-file {path}: key {number} must have {SHORTEST_KEY} letters, digits and signs or more, "
                "without blanks; such as: python3 -c 'import secrets; print(secrets.token_urlsafe())'"
            )
    return keys


def label_sets(named: Sequence[str]) -> "dict[str, LabelSet]":
    """Label sets by the names that requests give them."""
    from sijo.zeroshot.label_files import read_labels

    return {name: read_labels(path) for name, path in _named("--label-set", named)}


def calibrations(named: Sequence[str]) -> "dict[str, FrozenCalibration]":
    """Calibrations by the names that requests give them."""
    from sijo.zeroshot.calibrating.frozen import open_calibration

    return {name: open_calibration(path) for name, path in _named("--calibration", named)}


def _named(option: str, pairs: Sequence[str]) -> list[tuple[str, str]]:
    named: dict[str, str] = {}
    for pair in pairs:
        name, equals, path = pair.partition("=")
        if not name or not equals or not path or name in named:
            raise SettingError(f"{option} {pair!r} is no NAME=FILE of a name of its own")
        named[name] = path
    return list(named.items())


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
