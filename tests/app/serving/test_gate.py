"""Who may ask, how much and how long: the gate alone, before an application that only says what it was given."""

import asyncio
import json

import pytest

from sijo.app.serving.gate import Callers, Gate
from sijo.app.serving.limits import Refusal, ServiceLimits
from sijo.errors import SettingError

WHOLE = {"type": "http.request", "body": b"{}", "more_body": False}
KEY = "a-key-of-more-than-sixteen-letters"


async def echo(scope, receive, send):
    """Answers with the body it was given."""
    message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"seen " + message["body"]})


def asked(
    path="/embed",
    body=(b"{}",),
    *,
    app=echo,
    callers=None,
    limits=None,
    crowded=lambda size: None,
    method="POST",
    pause=0.0,
    **headers,
):
    """The status, body and headers of an answer, and the record of the request."""
    records, sent, parts = [], [], list(body)
    own = {"host": "localhost:8000", "content-type": "application/json"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    pairs = [
        (name.encode(), one.encode("latin-1"))
        for name, value in own.items()
        if value is not None
        for one in (value if isinstance(value, list) else [value])
    ]
    scope = {"type": "http", "method": method, "path": path, "headers": pairs}

    async def receive():
        await asyncio.sleep(pause)
        if not parts:
            await asyncio.sleep(30)
        part = parts.pop(0)
        return part if isinstance(part, dict) else {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message):
        sent.append(message)

    own_limits = limits or ServiceLimits()
    gate = Gate(app, callers=callers or Callers.of(), limits=own_limits, crowded=crowded, watched=records.append)
    asyncio.run(asyncio.wait_for(gate(scope, receive, send), 5))
    if not sent:
        return None, None, {}, records[0]
    answer = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], answer, dict(sent[0]["headers"]), records[0]


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1:8000", "[::1]:8000", "10.1.2.3", "team.example"]
)
def test_hosts_that_are_its_own(host):
    # kills: a probe by number refused, a name that was allowed refused
    assert asked(host=host, callers=Callers.of(hosts=["team.example"]))[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", None])
def test_hosts_that_are_not(host):
    # kills: DNS rebinding: a page of evil.example, whose name leads to this machine
    status, answer, _, _ = asked(host=host)
    assert status == 421 and json.loads(answer)["error_type"] == "host"


@pytest.mark.parametrize("name", ["host", "origin", "content-length", "authorization"])
def test_a_header_twice_is_refused(name):
    # kills: a check of one of two, where what answers reads the other
    twice = {"authorization": f"Bearer {KEY}", name.replace("-", "_"): ["localhost", "localhost"]}
    assert asked(**twice, callers=Callers.of(keys=[KEY]))[0] == 400


def test_pages_of_other_origins_are_refused_unless_they_are_let():
    # kills: any page that a browser has open labels, and reads what comes
    assert asked(origin="http://localhost:8000")[0] == 200
    others = (
        "http://localhost:9000",
        "https://x.example.evil",
        "http://evil-localhost:8000",
        "http://localhost:8000.evil",
    )
    for origin in ("http://evil.example", "null", *others):
        assert asked(origin=origin)[0] == 403
    callers = Callers.of(origins=["https://x.example"])
    status, _, headers, _ = asked(origin="https://x.example", callers=callers)
    assert (status, headers[b"access-control-allow-origin"]) == (200, b"https://x.example")
    assert b"access-control-allow-origin" not in asked(origin="http://localhost:8000", callers=callers)[2]


def test_a_browser_that_asks_beforehand_is_told_without_a_key():
    # kills: a page that is let, whose browser never gets to show its key
    callers = Callers.of(origins=["https://x.example"], keys=[KEY])
    preflight = {"method": "OPTIONS", "origin": "https://x.example", "access_control_request_method": "POST"}
    status, answer, headers, _ = asked(**preflight, callers=callers)
    assert (status, answer) == (204, b"") and b"authorization" in headers[b"access-control-allow-headers"]
    assert asked(**preflight | {"origin": "https://y.example"}, callers=callers)[0] == 403
    assert (
        asked(**preflight | {"access_control_request_method": None}, callers=callers)[0] == 401
    )  # no such question


def test_a_key_is_needed_everywhere_but_for_health():
    # kills: a path left open; a prefix of the key, another case of it, or none taken for it
    callers = Callers.of(keys=["another-key-of-the-team", KEY])
    for path in ("/embed", "/", "/metrics", "/openapi.json", "/info", "/v1/models", "/health/x", "/readyx"):
        assert asked(path, callers=callers)[0] == 401
        for scheme in ("Bearer", "bearer"):
            assert asked(path, callers=callers, authorization=f"{scheme} {KEY}")[0] == 200
        assert asked(path, callers=callers, x_api_key=KEY)[0] == 200
    for wrong in (KEY[:-1], KEY.upper(), f"{KEY} {KEY}", "", "ключ"):
        assert asked(callers=callers, authorization=f"Bearer {wrong}".encode().decode("latin-1"))[0] == 401
    assert asked(callers=callers, authorization=f"Basic {KEY}")[0] == 401
    _status, answer, headers, _ = asked(callers=callers, authorization="Bearer wrong-and-secret")
    assert headers[b"www-authenticate"] == b"Bearer" and b"secret" not in answer
    assert headers[b"connection"] == b"close"  # else a body that never comes holds the connection
    for path in ("/health", "/ready"):
        assert asked(path, callers=callers)[0] == 200


def test_bodies_that_are_too_long_are_refused_before_they_are_read():
    # kills: a gigabyte in memory; a length that is told and not believed, or not told
    limits = ServiceLimits(most_body_bytes=10)
    assert asked(body=(b"0123456789",), limits=limits)[:2] == (200, b"seen 0123456789")
    read = (b"01234", b"56789", b"0")
    for told in (None, "3"):
        status, answer, headers, _ = asked(body=read, limits=limits, content_length=told)
        assert status == 413 and "10 bytes" in json.loads(answer)["error"] and headers[b"connection"] == b"close"
    assert asked(body=({"type": "never"},), limits=limits, content_length="11")[0] == 413


def test_who_finds_no_room_is_refused_before_anything_reads_the_request():
    # kills: a crowd that costs those that wait their time; a connection closed on each that is told to come again
    sizes, seen = list[int](), list[object]()

    def crowded(size):
        sizes.append(size)
        raise Refusal(429, "so many wait", after=1.5)

    async def app(scope, receive, send):
        seen.append(scope)

    status, body, headers, record = asked(body=(b'{"inputs":', b' "a"}'), app=app, crowded=crowded)
    assert (status, record.status, sizes, seen) == (429, 429, [15], [])
    assert b"so many wait" in body and headers[b"retry-after-ms"] == b"1500"
    assert b"connection" not in headers
    assert asked(body=(b"",), method="GET", crowded=crowded)[0] == 200


def test_a_body_that_does_not_come_is_not_waited_for():
    # kills: connections that hold a place for ever
    status, _answer, headers, _ = asked(
        body=(b"half", b"rest"), pause=0.04, limits=ServiceLimits(most_body_seconds=0.06)
    )
    assert status == 408 and headers[b"connection"] == b"close"


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonp"])
def test_what_is_no_json_is_refused(kind):
    # kills: a form that any page may post, read as JSON
    assert asked(content_type=kind)[0] == 415
    assert asked(content_type="application/json; charset=utf-8")[0] == 200
    status, answer, _, _ = asked(content_encoding="gzip")
    assert status == 415 and "send it as it is" in json.loads(answer)["error"]
    assert asked(content_encoding="Identity")[0] == 200


def test_a_client_that_goes_takes_its_work_with_it():
    # kills: work for nobody; a fault in the log for each closed tab
    state = {}

    async def slow(scope, receive, send):
        try:
            await asyncio.sleep(4)
        except asyncio.CancelledError:
            state["cancelled"] = True
            raise

    status, _, _, record = asked(body=(WHOLE, {"type": "http.disconnect"}), app=slow)
    assert status is None and state == {"cancelled": True} and record.counts == {"gone": 1}


def test_each_answer_has_a_number_and_each_request_a_record():
    # kills: an answer that no line of the log is of; a header of the sender's written into the log
    _, _, headers, record = asked(x_request_id="job-7:a")
    assert headers[b"x-request-id"] == b"job-7:a" and record.request == "job-7:a"
    for bad in ('a"b', "x" * 65, "a\nb", ""):
        assert asked(x_request_id=bad)[3].request != bad
    refused = asked("/a-secret-path", host="evil.example")[3]
    assert (refused.status, refused.path) == (421, "(none)")
    assert headers[b"x-content-type-options"] == b"nosniff" and headers[b"cache-control"] == b"no-store"


def test_when_to_come_again_is_told_in_whole_seconds():
    # kills: "0", which clients read as at once; a client of OpenAI's that takes a full queue for its own mistake
    for after, seconds in ((0.2, "1"), (1.4, "1"), (7.6, "8")):
        headers = Refusal(429, "full", after=after).headers
        assert headers == {"retry-after": seconds, "retry-after-ms": str(int(1000 * after))}
    kinds = {status: Refusal(status, "").body("/v1/embeddings")["error"]["type"] for status in (422, 429, 500, 503)}
    assert kinds == {
        422: "invalid_request_error",
        429: "rate_limit_error",
        500: "server_error",
        503: "server_error",
    }
    told = {status: Refusal(status, "").body("/embed")["error_type"] for status in (413, 424, 429, 503)}
    assert told == {413: "validation", 424: "backend", 429: "overloaded", 503: "unhealthy"}


def test_limits_that_let_nothing_pass():
    # kills: a service that refuses everything, found out by its users
    with pytest.raises(SettingError, match=r"most_texts=0 \(--most-texts\) is no limit"):
        ServiceLimits(most_texts=0)
    with pytest.raises(SettingError, match="most_seconds=nan"):
        ServiceLimits(most_seconds=float("nan"))
