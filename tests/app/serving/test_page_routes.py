"""The page's files as they are sent: by which names, under which headers, how large; and what stands in them.

What the page does is tested in a browser, by `make browser`.
"""

import gzip
import json
import re

import pytest
from starlette.requests import Request
from starlette.testclient import TestClient

from sijo.app.serving.gate import Callers
from sijo.app.serving.limits import Refusal
from sijo.app.serving.page_routes import PAGE, page_files, sent
from sijo.app.serving.service import application, make_service

KEY = "a-key-of-more-than-sixteen-letters"
TEXTS = {code: json.loads((PAGE / f"{code}.json").read_text("utf-8")) for code in ("en", "ko")}
SOURCES = {path.name: path.read_text("utf-8") for path in PAGE.iterdir() if path.suffix in (".js", ".html", ".css")}
LISTS = ("example.labels", "example.rows")


@pytest.fixture(scope="module")
def client():
    """Asks a service that is not begun: no model is opened for its page."""
    return TestClient(application(make_service()), "http://localhost:8000")


def test_the_page_and_all_that_it_names_are_there(client):
    """kills: a file that the page or a part of it asks for and nobody sends, or sends as another kind."""
    page = client.get("/")
    assert page.status_code == 200 and page.headers["content-type"] == "text/html; charset=utf-8"
    named = set(re.findall(r'(?:src|href)="page/([^"]+)"', page.text))
    for source in SOURCES.values():
        named |= set(re.findall(r'from "\./([^"]+)"', source))
    assert {"app.js", "page.css", "theme.js", "tables.js"} <= named
    kinds = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8", "svg": "image/svg+xml"}
    for name in named:
        answer = client.get(f"/page/{name}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, kinds[name.rpartition(".")[2]])
        assert answer.content == (PAGE / name).read_bytes()
    for code, texts in TEXTS.items():
        assert client.get(f"/page/{code}.json").json() == texts


@pytest.mark.parametrize(
    "path",
    [
        "/page/../gate.py",
        "/page/..%2fgate.py",
        "/page/%2e%2e%2f%2e%2e%2fcli.py",
        "/page/app.js%00.css",
        "/page//etc/passwd",
        "/page/page_routes.py",
        "/page/.",
        "/page/",
        "/page/APP.JS",
        "/page/index.html/x",
    ],
)
def test_nothing_else_is_sent(client, path):
    """kills: a name that is joined to a folder and opened, so that dots lead out of it."""
    assert client.get(path).status_code == 404


@pytest.mark.parametrize("name", ["../gate.py", "../page/app.js", "/etc/passwd", "..", "", "%2e%2e%2fgate.py"])
def test_a_name_is_no_path(name):
    """kills: a name that is joined to the folder, whatever a server before it has decoded."""
    with pytest.raises(Refusal):
        sent(Request({"type": "http", "headers": []}), name)


def test_no_other_code_runs_and_no_other_page_frames_it(client):
    """kills: a policy that lets inline scripts, other hosts, forms or frames in; an answer that a cache keeps."""
    for path in ("/", "/page/app.js", "/page/ko.json"):
        headers = client.get(path).headers
        policy = dict(rule.partition(" ")[::2] for rule in headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'self'"
        assert {policy[rule] for rule in ("base-uri", "form-action", "frame-ancestors", "object-src")} == {"'none'"}
        assert policy["require-trusted-types-for"] == "'script'"
        assert not set(policy) & {"script-src", "style-src", "connect-src", "img-src"}
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-cache"
    assert client.get("/health").headers["cache-control"] == "no-store"


def test_what_a_browser_has_is_not_sent_again(client):
    """kills: a tag that is one for all files; an unchanged file sent whole; one that is packed sent as if it were
    not.
    """
    tags = {name: client.get(f"/page/{name}").headers["etag"] for name in page_files()}
    assert len(set(tags.values())) == len(tags)
    same = client.get("/page/app.js", headers={"if-none-match": f'"other", {tags["app.js"]}'})
    assert (same.status_code, same.content) == (304, b"")
    assert client.get("/page/app.js", headers={"if-none-match": tags["page.css"]}).status_code == 200
    plain = client.get("/page/app.js", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    with client.stream("GET", "/page/app.js", headers={"accept-encoding": "br, gzip;q=0.8"}) as packed:
        assert packed.headers["content-encoding"] == "gzip" and "accept-encoding" in packed.headers["vary"]
        assert gzip.decompress(b"".join(packed.iter_raw())) == plain.content


def test_the_page_needs_no_key_and_all_else_does():
    """kills: a page that cannot ask for the key, for it needs one itself; a post to / that passes with it."""
    client = TestClient(application(make_service(), Callers.of(keys=[KEY])), "http://localhost:8000")
    open_to_all = [client.get(path).status_code for path in ("/", "/page/app.js", "/page/en.json")]
    assert open_to_all == [200, 200, 200]
    closed = [client.get(path).status_code for path in ("/openapi.json", "/v1/models", "/page/other.js", "/info")]
    assert closed == [401, 401, 401, 401]
    assert client.post("/", json={"inputs": "a"}).status_code == 401
    assert client.get("/", headers={"host": "evil.example"}).status_code == 421


def test_it_is_small():
    """kills: a library that was copied in, a picture, a font."""
    sizes = {name: len(file.content) for name, file in page_files().items()}
    loaded = sum(sizes.values()) - min(sizes["en.json"], sizes["ko.json"])  # one language at a time
    assert 50_000 < loaded < 131_072
    assert sum(len(file.packed) for file in page_files().values()) < 55_000


def test_both_languages_say_all_that_is_said():
    """kills: words that one language lacks, that nobody shows any more, or whose number or name got lost in
    translation.
    """
    assert list(TEXTS["en"]) == list(TEXTS["ko"])
    source = "".join(SOURCES.values())
    families = {key.rpartition(".")[0] for key in re.findall(r"t\(`(\w+)\.\$\{", source)}
    families |= set(re.findall(r"t\(`(\w+)\.\$\{", source))
    for key, words in TEXTS["en"].items():
        assert f'"{key}"' in source or key.partition(".")[0] in families, f"nobody says {key}"
        if key in LISTS:
            continue
        names = [set(re.findall(r"\{(\w+)\}", TEXTS[code][key])) for code in TEXTS]
        assert names[0] == names[1], key
        assert TEXTS["ko"][key].strip() and words.strip()
        assert "|" not in TEXTS["ko"][key]  # Korean has one form for any number
    said = set(re.findall(r'data-t(?:-label|-placeholder)?="([^"]+)"', SOURCES["index.html"]))
    said |= set(re.findall(r'\bt\(\s*"([\w.-]+)"', source)) | set(re.findall(r'TableError\("([\w.-]+)"', source))
    assert said <= set(TEXTS["en"]) and len(said) > 100


def test_korean_is_korean():
    """kills: a sentence left in English."""
    same = {key for key, words in TEXTS["ko"].items() if words == TEXTS["en"][key]}
    assert same == {
        *(f"format.{name}" for name in ("csv", "tsv", "jsonl")),
        *(f"encoding.{name}" for name in ("utf-8", "utf-16le", "utf-16be")),
        "matrix.f1",
    }
    assert [key for key in set(TEXTS["ko"]) - same - set(LISTS) if not re.search("[가-힣]", TEXTS["ko"][key])] == []


def test_nothing_comes_from_elsewhere_and_no_markup_is_made():
    """kills: a font, script or style of another host; a script or style within the page; innerHTML and its like."""
    for name, source in SOURCES.items():
        addresses = [one for one in re.findall(r"(?:https?:)?//[a-z0-9][^\s\"'<>)]*", source) if "://" in one]
        assert addresses == [], name
        assert not re.search(
            r"@import|url\(|innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function", source
        ), name
    page = SOURCES["index.html"]
    assert re.findall(r"<script(?![^>]*src=)", page) == [] and "<style" not in page
    assert re.findall(r"\s(?:on\w+|style)=", page) == []
