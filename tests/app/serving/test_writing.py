"""Text that is written over HTTP: whole, as events, and of which code it is. Each test names its fault."""

import asyncio
import json
import time

import pytest

import sijo
from generation.test_synthetic import tiny_ctrl


@pytest.fixture(scope="module")
def folder(tiny_model, tmp_path_factory):
    """A tiny CTRL with the codes sea and land."""
    return sijo.save(tiny_ctrl(tiny_model), tmp_path_factory.mktemp("writer") / "ctrl")


@pytest.fixture(scope="module")
def client(serving, folder):
    with serving(folder) as one:
        yield one


def asked(**parameters):
    own = {"max_new_tokens": 6, "control_code": "sea", "temperature": 1.0, "seed": 3}
    return {"inputs": "the old", "parameters": own | parameters}


def events(answer):
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream")
    return [json.loads(line.removeprefix("data:")) for line in answer.text.split("\n\n") if line]


def test_written_whole_and_as_events(client, folder):
    # kills: settings that do not reach the writer; a last event without the whole text; pieces that do not make it
    want = sijo.generate(folder, "the old", control_code="sea", max_new_tokens=6, temperature=1.0, seed=3)
    for path in ("/generate", "/", "/pipeline/text-generation"):
        assert client.post(path, json=asked()).json() == [{"generated_text": want}]
    whole = client.post("/generate", json=asked(return_full_text=True)).json()
    assert whole == [{"generated_text": f"the old{want}"}]
    streamed = events(client.post("/generate", json=asked() | {"stream": True}))
    assert len(streamed) == 6 and "".join(event["token"]["text"] for event in streamed) == want
    assert [event["generated_text"] for event in streamed] == [None] * 5 + [want]
    assert client.post("/generate", json=asked(seed=4)).json() != [{"generated_text": want}]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "parameters", [{"control_code": "sky"}, {"temperature": -1.0}, {"top_p": 7.0}, {"stop": [""]}, {"top_k": 0}]
)
def test_what_cannot_be_written_is_told(client, parameters, stream):
    # kills: 200 with an error inside where nothing was written yet; a place that is never given back
    answer = client.post("/generate", json=asked(**parameters) | {"stream": stream})
    if answer.status_code == 200:  # a code is looked up when the writing begins
        assert "sky" in events(answer)[-1]["error"]
    else:
        assert answer.status_code == 422, answer.text
    assert client.service.writers.busy == 0


def test_no_text_is_written_without_an_end(client, monkeypatch):
    # kills: a million tokens for one request, for which everybody else waits
    asks = []
    monkeypatch.setattr(
        client.service.models.first.generator, "stream", lambda requests: asks.extend(requests) or ()
    )
    client.post("/generate", json=asked(max_new_tokens=10**6))
    assert [one.max_new_tokens for one in asks] == [2_000]


def test_writers_are_few_and_places_come_back(client):
    # kills: a thousand texts in one thread's queue; a place lost with each refusal
    writers = client.service.writers
    writers.busy = writers.most
    answer = client.post("/generate", json=asked())
    assert answer.status_code == 429 and "retry-after" in answer.headers
    writers.busy = 0
    assert client.post("/generate", json=asked()).status_code == 200 and writers.busy == 0


def test_a_stream_that_nobody_reads_ends(client, monkeypatch):
    # kills: a text written to its end for a client that has gone; its place never given back
    model, drawn = client.service.models.first, []
    whole = model.generator.stream

    def slow(requests):
        for token in whole(requests):
            drawn.append(token)
            yield token
            time.sleep(0.02)

    monkeypatch.setattr(model.generator, "stream", slow)
    body = json.dumps(asked(max_new_tokens=25) | {"stream": True}).encode()
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/generate", "headers": headers, "query_string": b""}

    async def leave():
        messages, begun = [{"type": "http.request", "body": body, "more_body": False}], asyncio.Event()

        async def receive():
            if messages:
                return messages.pop()
            await begun.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            if message.get("body"):
                begun.set()

        await asyncio.wait_for(client.app(scope, receive, send), 10)

    client.portal.call(leave)
    assert client.service.writers.busy == 0
    time.sleep(0.1)
    assert 1 <= len(drawn) < 10


def test_attribution_is_the_librarys(client, folder):
    # kills: codes in another order; logarithms for probabilities
    texts = ["the sea is old", "bread and salt"]
    rows = client.post("/attribute", json={"texts": texts}).json()["rows"]
    for row, text in zip(rows, texts, strict=True):
        want = sijo.attribute(folder, text)
        assert [one["code"] for one in row] == [code for code, _ in want]
        assert [one["posterior"] for one in row] == pytest.approx([share for _, share in want], abs=1e-6)
    assert len(client.post("/attribute", json={"texts": texts, "top_k": 1}).json()["rows"][0]) == 1
    assert client.post("/attribute", json={"texts": [""]}).status_code == 422


def test_labels_by_a_writer(client):
    # kills: a model that writes refused as a classifier: its codes are labels
    answer = client.post("/classify", json={"texts": ["the sea"], "labels": ["sea", "land"]})
    assert answer.status_code == 200, answer.text
    assert client.post("/embed", json={"inputs": "the sea"}).status_code == 424
