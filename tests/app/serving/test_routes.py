"""What each route takes and gives, beside the library that is behind it. Each test names the fault it catches."""

import base64
import json
import re
import shutil

import numpy as np
import pytest

import sijo
from sijo.app.serving.limits import ServiceLimits
from sijo.zeroshot.labels import LabelSet

TEXTS = [
    "The striker scored twice in extra time.",
    "반죽을 십 분 동안 치대세요.",
    "The tax on petrol rises in May.",
]
LABELS = ["sport", "cooking", "tax"]


@pytest.fixture(scope="module")
def client(serving):
    with serving(label_sets={"subjects": LabelSet.of(LABELS)}) as one:
        yield one


@pytest.fixture(scope="module")
def judge(serving, tuned):
    with serving(f"own={tuned('classification')}", f"several={tuned('multi-label')}") as one:
        yield one


def told(answer, status=200):
    assert answer.status_code == status, answer.text
    return answer.json()


def refused(answer, status, words):
    body = told(answer, status)
    assert re.search(words, body["error"] if isinstance(body["error"], str) else body["error"]["message"]), body
    return body


def test_classify_is_the_classifier(client):
    # kills: another template, temperature or order than the library's
    want = sijo.ZeroShotClassifier(labels=LABELS).classify(TEXTS)
    got = told(client.post("/classify", json={"texts": TEXTS, "labels": LABELS, "top_k": 2}))
    assert (got["model"], got["scorer"]) == ("sijo-small", "embedding")
    for row, own in zip(got["rows"], want, strict=True):
        assert (row["label"], row["labels"]) == (own.label, list(own.labels[:2]))
        np.testing.assert_allclose(row["scores"], own.scores[:2], atol=1e-6)
        assert (row["tokens"], row["windows"], row["truncated"]) == (own.tokens, own.windows, own.truncated)
    assert told(client.post("/classify", json={"texts": TEXTS, "label_set": "subjects", "top_k": 2})) == got


def test_settings_of_a_choice_reach_it(client):
    # kills: a field that is taken and not read
    settings = {"multi_label": True, "threshold": 0.3, "hypothesis_template": "It is of {}."}
    want = sijo.ZeroShotClassifier(labels=LABELS, **settings).classify(TEXTS)
    got = told(client.post("/classify", json={"texts": TEXTS, "labels": LABELS, **settings}))["rows"]
    assert [row["fitting"] for row in got] == [list(own.fitting) for own in want]
    np.testing.assert_allclose([row["score"] for row in got], [own.score for own in want], atol=1e-6)
    none = {"none_label": "something else", "none_threshold": 0.99}
    rows = told(client.post("/classify", json={"texts": TEXTS, "labels": LABELS, **none}))["rows"]
    assert {row["label"] for row in rows} == {"something else"}


def test_labels_of_each_text_and_with_descriptions(client):
    # kills: the labels of one text given to another; descriptions dropped
    each = [["sport", "tax"], {"cooking": "of food", "sport": ["of games", "of balls"]}, ["weather", "tax"]]
    want = sijo.ZeroShotClassifier().classify(TEXTS, each)
    got = told(client.post("/classify", json={"texts": TEXTS, "labels_each": each}))["rows"]
    assert [row["label"] for row in got] == [own.label for own in want] == ["sport", "cooking", "tax"]
    np.testing.assert_allclose([row["score"] for row in got], [own.score for own in want], atol=1e-6)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"texts": ["a"]}, "there are no labels"),
        ({"texts": [], "labels": LABELS}, "texts is empty"),
        ({"texts": ["a"], "labels": []}, "label"),
        ({"texts": ["a"], "labels": ["one"]}, "nothing to choose between"),
        ({"texts": ["a"], "labels": ["a", "A"]}, "a"),
        ({"texts": ["a"], "labels": LABELS, "label_set": "subjects"}, "give one of them"),
        ({"texts": ["a"], "label_set": "subject"}, "did you mean 'subjects'"),
        ({"texts": ["a", "b"], "labels_each": [LABELS]}, "holds 1 lists"),
        ({"texts": ["a"], "labels": LABELS, "hypothesis_template": "no place"}, "no place"),
        ({"texts": ["a"], "labels": LABELS, "treshold": 0.5}, "treshold"),
        ({"texts": ["a"], "labels": LABELS, "threshold": 7}, "no probability"),
        ({"texts": ["a"], "labels": LABELS, "top_k": 0}, "top_k"),
        ({"texts": ["a"], "labels": LABELS, "calibration": "mine"}, "no calibration 'mine'"),
        ({"texts": ["a\ud800"], "labels": LABELS}, "lone surrogate"),
        ({"texts": [3], "labels": LABELS}, "texts.0"),
        ({"texts": "a", "labels": LABELS}, "texts"),
        ({"texts": ["a"], "labels": "a,b"}, "labels: give a list of names, as in"),
        ({"texts": ["a"], "labels_each": [["a", 3]]}, "labels_each.0: give a list of names, as in"),
    ],
)
def test_what_cannot_be_is_told(client, body, words):
    # kills: a fault of the service's own for a mistake of the sender's; a mistake that is answered all the same
    answer = client.post("/classify", content=json.dumps(body), headers={"content-type": "application/json"})
    refused(answer, 422, words)
    assert "list[" not in answer.text  # pydantic's own words


def test_what_was_sent_is_never_told(client):
    # kills: a secret in an error, and from there in somebody's log
    for body in ({"texts": {"secret-1": 1}, "labels": LABELS}, {"texts": ["a"], "labels": {"x": {"secret-1": 2}}}):
        assert "secret" not in client.post("/classify", json=body).text
    raw = client.post("/classify", content=b'{"texts": ["secret', headers={"content-type": "application/json"})
    refused(raw, 400, "not the JSON")
    assert "secret" not in raw.text


def test_bodies_that_no_parser_should_fail_at(client):
    # kills: 500 for a body that is deep, no UTF-8, or a number too long to read
    for content, status in (
        (b"[" * 100_000, 400),
        (b'{"texts": ["\xff"], "labels": ["a", "b"]}', 400),
        (b'{"texts": ["a"], "labels": ["a", "b"], "threshold": ' + b"9" * 5000 + b"}", (400, 422)),
        (b'{"texts": ["a"], "labels": ["a", "b"], "threshold": NaN}', (400, 422)),
        (b"", 422),
        (b"null", 422),
    ):
        answer = client.post("/classify", content=content, headers={"content-type": "application/json"})
        assert answer.status_code in (status if isinstance(status, tuple) else (status,)), answer.text


def test_other_labels_on_the_same_texts_read_only_the_labels(serving):
    # kills: a page that reads ten thousand texts again for each letter of a label; a store without an end
    with serving(limits=ServiceLimits(most_kept_bytes=30_000)) as client:
        told(client.post("/classify", json={"texts": TEXTS, "labels": LABELS}))
        engine = client.service.models.first.scorer.engine
        read = engine.read
        want = told(client.post("/classify", json={"texts": TEXTS, "labels": [*LABELS, "rain"]}))["rows"]
        assert engine.read == read + 1
        texts = [f"text {number}" for number in range(20)]
        told(client.post("/classify", json={"texts": texts, "labels": LABELS}))
        assert engine.store.bytes <= 30_000
        again = told(client.post("/classify", json={"texts": TEXTS, "labels": [*LABELS, "rain"]}))["rows"]
        assert [row["scores"] for row in again] == [pytest.approx(row["scores"], abs=1e-6) for row in want]


def test_limits_are_held_before_any_work(serving):
    # kills: a limit that is checked after the network has read, or never
    limits = ServiceLimits(most_texts=2, most_labels=3, most_tokens=50, most_body_bytes=10_000)
    with serving(limits=limits) as client:
        post = client.post
        assert post("/embed", json={"inputs": ["a", "b"]}).status_code == 200
        refused(post("/embed", json={"inputs": ["a"] * 3}), 413, "3 inputs, and at most 2 are taken")
        refused(post("/classify", json={"texts": ["a"], "labels": list("abcd")}), 413, "4 labels, and 3")
        refused(post("/embed", json={"inputs": "a " * 200}), 413, "about 101 tokens to read, and one may be 50")
        refused(post("/embed", json={"inputs": "a" * 20_000}), 413, "10,000 bytes")
        read = client.service.models.first._engines[None, None, False].read
        assert read == 2


def test_a_full_queue_refuses_before_a_request_is_read(client, monkeypatch):
    # kills: a service whose gate knows nothing of its queue; questions that need no queue refused for it
    queue = client.service.queue
    monkeypatch.setattr(queue, "queued", queue.most)
    refused(client.post("/classify", json={"texts": 1}), 429, "tokens wait")
    assert [client.get(path).status_code for path in ("/health", "/info", "/metrics")] == [200, 200, 200]


def test_words_of_labels_count_too(serving):
    # kills: a short text with a megabyte of labels, read for a minute before anything is refused
    with serving(limits=ServiceLimits(most_tokens=2_000)) as client:
        post = client.post
        many = {f"label {number}": ["water and fire " * 30] for number in range(20)}
        refused(post("/classify", json={"texts": ["a"], "labels": many}), 413, "tokens to read")
        template = "water " * 2000 + "{}"
        body = {"texts": ["a"], "labels": LABELS, "hypothesis_template": template}
        refused(post("/classify", json=body), 413, "tokens to read")
        few = {"texts": ["a"] * 500, "labels": dict(list(many.items())[:2])}
        assert post("/classify", json=few).status_code == 200  # once for all texts


def test_vectors_in_three_shapes(client):
    # kills: vectors of another length, order or prompt; base64 in another byte order
    want = sijo.encode(None, TEXTS)
    np.testing.assert_allclose(told(client.post("/embed", json={"inputs": TEXTS})), want, atol=1e-6)
    np.testing.assert_allclose(told(client.post("/", json={"inputs": TEXTS})), want, atol=1e-6)
    np.testing.assert_allclose(
        told(client.post("/pipeline/feature-extraction", json={"inputs": TEXTS[0]})), want[:1], atol=1e-6
    )
    answer = told(
        client.post("/v1/embeddings", json={"input": TEXTS, "model": "sijo-small", "encoding_format": "base64"})
    )
    got = [np.frombuffer(base64.b64decode(row["embedding"]), "<f4") for row in answer["data"]]
    np.testing.assert_allclose(got, want, atol=1e-6)
    assert [row["index"] for row in answer["data"]] == [0, 1, 2]
    assert answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"] > 10
    raw = np.array(told(client.post("/embed", json={"inputs": TEXTS, "normalize": False})))
    np.testing.assert_allclose(raw, sijo.encode(None, TEXTS, False), atol=1e-5)
    with pytest.warns(sijo.SijoWarning):  # nothing says that it was trained to be cut
        cut = sijo.encode(None, TEXTS, dimensions=8)
        np.testing.assert_allclose(
            told(client.post("/embed", json={"inputs": TEXTS, "dimensions": 8})), cut, atol=1e-6
        )


def test_texts_longer_than_the_model(client):
    # kills: an end that nobody reads, though the request did not ask for a cut
    long = "the sea " * 600 + "tax office"
    whole, start = (told(client.post("/embed", json={"inputs": long, "truncate": cut})) for cut in (False, True))
    np.testing.assert_allclose(whole, sijo.encode(None, [long]), atol=1e-6)
    assert np.abs(np.array(whole) - start).max() > 1e-3


def test_similarity_and_rerank_by_vectors(client):
    # kills: the query among the answers; an order by number
    sentences = {"source_sentence": TEXTS[0], "sentences": TEXTS[::-1]}
    vectors = sijo.encode(None, TEXTS)
    cosines = vectors[::-1] @ vectors[0]
    for path in ("/similarity", "/", "/pipeline/sentence-similarity"):
        np.testing.assert_allclose(told(client.post(path, json={"inputs": sentences})), cosines, atol=1e-6)
    ranked = told(client.post("/rerank", json={"query": TEXTS[0], "texts": TEXTS[::-1], "return_text": True}))
    assert [row["index"] for row in ranked] == np.argsort(-cosines).tolist()
    assert ranked[0]["text"] == TEXTS[0] and ranked[0]["score"] == pytest.approx(1, abs=1e-5)


def test_a_model_of_one_score_ranks(serving, tuned):
    # kills: a reranker that no service opens; the worst answer first; logits for probabilities
    folder = tuned("regression")
    texts, query = ["the sea", "money in the bank", "a bank by the sea"], "the old sea"
    with serving(folder) as client:
        assert list(told(client.get("/info"))["model_type"]) == ["embedding", "reranker"]
        asked = {"query": query, "texts": texts}
        ranked = told(client.post("/rerank", json=asked))
        raw = told(client.post("/rerank", json=asked | {"raw_scores": True}))
        pairs = told(
            client.post("/predict", json={"inputs": [[query, text] for text in texts], "raw_scores": True})
        )
    logits = np.array([row[0]["score"] for row in pairs])
    assert [row["index"] for row in ranked] == [row["index"] for row in raw] == np.argsort(-logits).tolist()
    np.testing.assert_allclose([row["score"] for row in raw], np.sort(logits)[::-1], atol=1e-5)
    np.testing.assert_allclose(
        [row["score"] for row in ranked], 1 / (1 + np.exp(-np.sort(logits)[::-1])), atol=1e-5
    )


def test_parameters_as_clients_send_them(client, judge):
    # kills: parameters beside inputs not read; a function, a length or a number of vectors that changes nothing
    plain = np.array(told(client.post("/", json={"inputs": TEXTS})))
    for body in ({"normalize": False}, {"parameters": {"normalize": False}}):
        raw = np.array(told(client.post("/", json={"inputs": TEXTS} | body)))
        np.testing.assert_allclose(raw, sijo.encode(None, TEXTS, False), atol=1e-5)
        assert np.abs(raw - plain).max() > 1e-3
    for body in ({"top_k": 1}, {"parameters": {"top_k": 1}}):
        assert [len(row) for row in told(judge.post("/models/own", json={"inputs": ["a"]} | body))] == [1]
    scores = {}
    for function in ("none", "softmax", "sigmoid"):
        [row] = told(judge.post("/", json={"inputs": "the sea", "parameters": {"function_to_apply": function}}))
        scores[function] = np.array([one["score"] for one in row])
    np.testing.assert_allclose(scores["sigmoid"], 1 / (1 + np.exp(-scores["none"])), atol=1e-6)
    np.testing.assert_allclose(scores["softmax"], np.exp(scores["none"]) / np.exp(scores["none"]).sum(), atol=1e-6)
    short = told(client.post("/v1/embeddings", json={"input": "a", "dimensions": 8}))["data"][0]["embedding"]
    assert len(short) == 8
    for inputs in ([["a", "b", "c"]], [[]], [["a"], "b"]):
        assert judge.post("/predict", json={"inputs": inputs}).status_code == 422
    sharp, even = (
        told(client.post("/classify", json={"texts": TEXTS[:1], "labels": LABELS, "temperature": one}))["rows"][0]
        for one in (0.01, 10.0)
    )
    assert sharp["score"] > 0.9 and even["score"] < 0.4


def test_zero_shot_as_the_hub_has_it(client):
    # kills: a client that gets a dict where it parses a list; one label alone that is sure of everything
    parameters = {"candidate_labels": LABELS}
    want = sijo.pipeline("zero-shot-classification")(TEXTS, LABELS)
    for path in ("/", "/pipeline/zero-shot-classification", "/models/sijo-small"):
        got = told(client.post(path, json={"inputs": TEXTS, "parameters": parameters}))
        assert [[row["label"] for row in rows] for rows in got] == [one["labels"] for one in want]
    alone = told(client.post("/", json={"inputs": TEXTS[0], "parameters": {"candidate_labels": "sport, tax"}}))
    assert [row["label"] for row in alone] == ["sport", "tax"]
    single = told(client.post("/", json={"inputs": TEXTS[0], "parameters": {"candidate_labels": ["tax"]}}))
    assert single[0]["score"] < 0.9


def test_a_models_own_labels_in_two_shapes(judge, tuned):
    # kills: softmax for labels that are judged one by one; labels in the order of their columns
    texts = ["the sea", "money in the bank"]
    for name, kind in (("own", "classification"), ("several", "multi-label")):
        want = sijo.pipeline("text-classification", str(tuned(kind)))(texts, top_k=None)
        predicted = told(judge.post("/predict", json={"inputs": [[text] for text in texts], "model": name}))
        hub = told(judge.post(f"/models/{name}", json={"inputs": texts}))
        for got in (predicted, hub):
            assert [[row["label"] for row in rows] for rows in got] == [
                [row["label"] for row in rows] for rows in want
            ]
            np.testing.assert_allclose(
                [[row["score"] for row in rows] for rows in got],
                [[row["score"] for row in rows] for rows in want],
                atol=1e-6,
            )
    pair = told(judge.post("/predict", json={"inputs": ["the sea", "the land"]}))
    want = sijo.pipeline("text-classification", str(tuned("classification")))(
        {"text": "the sea", "text_pair": "the land"}
    )
    assert pair[0]["label"] == want["label"] and pair[0]["score"] == pytest.approx(want["score"], abs=1e-6)
    raw = told(judge.post("/predict", json={"inputs": "the sea", "raw_scores": True}))
    assert max(row["score"] for row in raw) > 1
    labelled = told(judge.post("/classify", json={"texts": texts}))
    assert [row["label"] for row in labelled["rows"]] == [rows[0]["label"] for rows in predicted_own(judge, texts)]


def predicted_own(judge, texts):
    return told(judge.post("/predict", json={"inputs": [[text] for text in texts]}))


def test_the_wrong_kind_of_model(client, judge):
    # kills: 500, or an answer that means nothing
    refused(client.post("/predict", json={"inputs": "a"}), 424, "does not judge texts by labels of its own")
    refused(client.post("/generate", json={"inputs": "a"}), 424, "does not write")
    refused(client.post("/attribute", json={"texts": ["a"]}), 424, "does not know control codes")
    assert client.post("/predict", json={"inputs": "a"}).json()["error_type"] == "backend"


def test_a_classifier_gives_no_vectors(serving, tuned, tmp_path):
    # kills: vectors of a network that was never trained to give any
    folder = shutil.copytree(tuned("classification"), tmp_path / "head")
    for file in ("modules.json", "1_Pooling/config.json"):
        (folder / file).unlink()
    (folder / "1_Pooling").rmdir()
    (folder / "manifest.json").unlink()
    with serving(folder) as client:
        refused(client.post("/embed", json={"inputs": "a"}), 424, "does not give sentence vectors")
        assert list(told(client.get("/info"))["model_type"]) == ["classifier"]


def test_models_by_name(judge):
    # kills: the first model's answer under another's name
    assert [row["id"] for row in told(judge.get("/v1/models"))["data"]] == ["own", "several"]
    body = refused(
        judge.post("/v1/embeddings", json={"input": "a", "model": "severa"}), 404, "did you mean 'several'"
    )
    assert body["error"]["code"] == "model_not_found"
    assert told(judge.get("/v1/models/several"))["id"] == "several"
    refused(judge.get("/v1/models/severa"), 404, "did you mean 'several'")
    info = told(judge.get("/info"))
    assert info["model_type"]["classifier"]["label2id"]["은행"] == 1


def test_paths_and_methods_that_are_not_there(client):
    # kills: HTML, or a stack trace; a client whose address lacks /v1, told nothing; a redirect to http behind TLS
    refused(client.get("/xyz"), 404, "no model of this name$")
    refused(client.post("/embeddings", json={"input": "a"}), 404, "did you mean '/v1/embeddings'")
    refused(client.post("/classify/", json={}, follow_redirects=False), 404, "did you mean '/classify'")
    assert client.head("/health").status_code == client.head("/ready").status_code == 200
    refused(client.get("/embed"), 405, "another method")
    assert client.get("/embed").headers["allow"] == "POST"
    assert client.put("/").headers["allow"] == "GET, POST"  # of two routes at one path
    refused(client.post("/pipeline/image-classification", json={"inputs": "a"}), 422, "task")


def test_a_model_whose_name_has_a_slash(serving, tuned):
    # kills: a model as the Hub names them, which nobody can ask for by that name
    with serving(f"{tuned('classification')}") as client:
        models = client.service.models
        models.by_name["team/own"] = models.by_name.pop(models.first.name)
        models.first.name = "team/own"
        asked = {"inputs": "the sea", "model": "team/own"}
        assert told(client.post("/", json=asked)) == told(client.post("/", json={"inputs": "the sea"}))
        assert told(client.get("/v1/models/team/own"))["id"] == "team/own"
        refused(client.get("/v1/models/team/other"), 404, "there is no model 'team/other'")


def test_health_ready_and_metrics(serving):
    # kills: a service that says ready before its models are open; counts that stand still
    with serving() as client:
        assert told(client.get("/health")) == {"status": "ok"} and told(client.get("/ready")) == {"status": "ready"}
        told(client.post("/embed", json={"inputs": ["a", "b"]}))
        client.get("/a-secret-path")
        metrics = client.get("/metrics").text
        assert 'sijo_requests_total{route="/embed",status="200"} 1.0' in metrics
        client.post("/predict", json={"inputs": ["a", "b"]})  # refused: no text that was answered
        metrics = client.get("/metrics").text
        assert "sijo_texts_total 2.0" in metrics and "sijo_batch_texts_count 1.0" in metrics
        assert "secret" not in metrics
        client.service.ready = False
        refused(client.get("/ready"), 503, "closing")
        assert told(client.get("/health")) == {"status": "ok"}


def test_a_fault_of_ours_is_told_apart(client, monkeypatch, caplog):
    # kills: a stack trace, or the text that was sent, in an answer or the log
    def broken(*_):
        raise RuntimeError("secret text")

    monkeypatch.setattr("sijo.app.serving.served_models.unit", broken)
    answer = client.post("/embed", json={"inputs": "another text"})
    refused(answer, 500, "a fault of the service's own")
    assert "secret" not in answer.text and "secret" not in caplog.text and "RuntimeError at" in caplog.text
