"""The clients that people have, against a running service. Each test names its fault."""

import threading

import httpx
import numpy as np
import openai
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

import sijo

TEXTS = ["The striker scored twice in extra time.", "반죽을 십 분 동안 치대세요."]


def test_openai(long_server):
    # kills: base64 that its client cannot read, which it asks for by itself; errors that it cannot tell apart
    client = openai.OpenAI(base_url=f"{long_server.url}/v1", api_key="none", max_retries=0)
    want = sijo.encode(None, TEXTS)
    for settings in ({}, {"encoding_format": "float"}):
        answer = client.embeddings.create(input=TEXTS, model="sijo-small", **settings)
        np.testing.assert_allclose([row.embedding for row in answer.data], want, atol=1e-6)
    assert [model.id for model in client.models.list()] == ["sijo-small"]
    with pytest.raises(openai.NotFoundError, match="there is no model 'gpt'"):
        client.embeddings.create(input="a", model="gpt")
    with pytest.raises(openai.UnprocessableEntityError, match="send the texts"):
        client.embeddings.create(input=[1, 2, 3], model="sijo-small")


def test_hugging_face(long_server):
    # kills: shapes that its client does not parse; errors without their sentence
    client = InferenceClient(model=long_server.url)
    found = client.zero_shot_classification(TEXTS[0], candidate_labels=["sport", "cooking"])
    assert [one.label for one in found] == ["sport", "cooking"]
    several = client.zero_shot_classification(
        TEXTS[1],
        candidate_labels=["운동", "요리"],
        multi_label=True,
        hypothesis_template="{}에 관한 글이다.",
    )
    assert several[0].label == "요리"
    np.testing.assert_allclose(client.feature_extraction(TEXTS[0]), sijo.encode(None, TEXTS[:1]), atol=1e-6)
    assert client.sentence_similarity(TEXTS[0], other_sentences=["a goal", "a cake"])[0] > 0.3
    with pytest.raises(HfHubHTTPError, match="does not judge texts by labels of its own"):
        InferenceClient(model=f"{long_server.url}/pipeline/text-classification").text_classification("a")


def test_hugging_face_reads_a_classifier(server, tuned):
    # kills: a list that is one list too flat for the client
    one = server(f"own={tuned('classification')}")
    found = InferenceClient(model=one.url).text_classification("the sea", top_k=2)
    want = sijo.pipeline("text-classification", str(tuned("classification")))("the sea", top_k=2)
    assert [(row.label, pytest.approx(row.score, abs=1e-6)) for row in found] == [
        (row["label"], row["score"]) for row in want
    ]


def test_many_at_once_get_what_is_theirs(long_server):
    # kills: answers handed to others under load
    want = sijo.encode(None, [f"text {number}" for number in range(40)])
    got = [None] * 40

    def ask(place):
        with httpx.Client() as client:
            got[place] = client.post(
                f"{long_server.url}/embed", json={"inputs": f"text {place}"}, timeout=30
            ).json()[0]

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_allclose(got, want, atol=1e-6)
    batches = httpx.get(f"{long_server.url}/metrics").text
    assert "sijo_batch_texts_bucket" in batches
