"""The page at `/`: files of the package, by an allow-list of names, under a policy that lets no other code run.

The page asks the same routes as everyone. It needs no key to be looked at, for it holds nothing; what it asks does.
"""

import gzip
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from sijo.app.serving.limits import REASONS, Refusal

PAGE = Path(__file__).with_name("page")
KINDS = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
"""Of files that may be asked for, by how their names end."""
START = "index.html"
POLICY = "; ".join(
    (
        "default-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "object-src 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""What the page may load and run: its own files; no text can become markup or code, even by a fault in them."""

router = APIRouter(tags=["page"])
SAME: dict[int | str, dict[str, Any]] = {304: {"description": "what the browser has is what there is"}}


class PageFile(NamedTuple):
    """A file as it is sent."""

    content: bytes
    packed: bytes
    """The same by gzip."""
    kind: str
    tag: str
    """Of this content alone; a browser that has it is told so, and nothing more."""


@cache
def page_files() -> dict[str, PageFile]:
    """All files of the page by name: those that lie in its folder when first asked for.

    >>> page_files()["index.html"].kind
    'text/html; charset=utf-8'
    """
    files = {}
    for path in sorted(PAGE.iterdir()):
        if path.suffix in KINDS:
            content = path.read_bytes()
            tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            files[path.name] = PageFile(content, gzip.compress(content, mtime=0), KINDS[path.suffix], tag)
    return files


def is_page(method: str, path: str) -> bool:
    """Whether a request is for the page, which needs no key.

    >>> is_page("GET", "/"), is_page("POST", "/"), is_page("GET", "/page/app.js"), is_page("GET", "/page/../info")
    (True, False, True, False)
    """
    return method == "GET" and (path == "/" or (path.startswith("/page/") and path[6:] in page_files()))


@router.get("/", response_class=HTMLResponse, responses=SAME)
async def page(request: Request) -> Response:
    """The page itself."""
    return sent(request, START)


@router.get("/page/{name}", response_class=Response, responses=SAME)
async def page_file(request: Request, name: str) -> Response:
    """A file that it is made of."""
    return sent(request, name)


def sent(request: Request, name: str) -> Response:
    """A file, or that it has not changed; Refusal for a name that is none of the page's."""
    if name not in page_files():
        raise Refusal(404, REASONS[404])
    file = page_files()[name]
    headers = {
        "etag": f"W/{file.tag}",  # weak: one for both ways of packing
        "cache-control": "no-cache",  # kept by the browser, and asked for anew each time
        "content-security-policy": POLICY,
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "referrer-policy": "no-referrer",
        "vary": "accept-encoding",
    }
    shown = request.headers.get("if-none-match", "")
    if file.tag in (tag.strip().removeprefix("W/") for tag in shown.split(",")):
        return Response(status_code=304, headers=headers)
    packs = "gzip" in re.split(r"[\s,;]+", request.headers.get("accept-encoding", ""))
    if packs:
        headers["content-encoding"] = "gzip"
    return Response(file.packed if packs else file.content, media_type=file.kind, headers=headers)
