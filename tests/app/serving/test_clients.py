"""The clients that people have, against a running service. Each test names its fault."""

import io
import json
import re
import shlex
import shutil
import subprocess
import threading
import zipfile
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

import sijo
from sijo.app.serving import serve

PAGE = Path(__file__).parents[3] / "docs/serving.md"
CURL = [
    line.strip()
    for text in (PAGE.read_text("utf-8"), serve.run.__doc__)
    for line in re.findall(r"^ *curl .+", text, re.M)
]
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


def by_curl(words, folder):
    """The body that curl has of its words, a file or what it prints."""
    ran = subprocess.run(
        [*words, "-sS", "--fail-with-body"], cwd=folder, capture_output=True, timeout=60, check=False
    )
    assert ran.returncode == 0, (words, ran.stdout, ran.stderr)
    return ran.stdout or next(folder.glob("*.zip")).read_bytes()


def by_httpx(words, folder):
    """The same, where no curl is installed."""
    [address] = [word for word in words if word.startswith("localhost:")]
    body = words[words.index("--json") + 1].encode() if "--json" in words else None
    headers = {"content-type": "application/json"} if body else {}
    answer = httpx.request(
        "POST" if body else "GET", f"http://{address}", content=body, headers=headers, timeout=60
    )
    assert answer.status_code == 200, (words, answer.text)
    return answer.content


def test_each_curl_line_of_the_docs(server, tmp_path):
    # kills: a line that a reader copies and that is refused, or answered otherwise than they are told
    told = (
        subprocess.run(["curl", "--version"], capture_output=True, text=True, check=True).stdout
        if shutil.which("curl")
        else ""
    )
    known = re.match(r"curl (\d+)\.(\d+)", told)
    ask = by_curl if known and tuple(map(int, known.groups())) >= (7, 82) else by_httpx
    assert len(CURL) > 12
    port, answers = server().port, {}
    for line in CURL:
        words = shlex.split(line.replace("localhost:8000", f"localhost:{port}"))
        path = "/" + next(word for word in words if word.startswith("localhost:")).partition("/")[2]
        content = ask(words, tmp_path)
        json_told = not path.endswith(("archive", "metrics"))
        answers.setdefault(path, []).append(json.loads(content) if json_told else content)
    assert [one["rows"][0]["label"] for one in answers["/classify"]] == ["football", "요리", "football"]
    assert answers["/suggest"][0]["rows"][0]["row"] in (1, 2) and answers["/fit"][0]["model"] == "fitted-1"
    assert answers["/predict"][0][0]["label"] == "sport"
    assert "fitted-1/config.json" in zipfile.ZipFile(io.BytesIO(answers["/models/fitted-1/archive"][0])).namelist()
    assert answers["/rerank"][0][0]["text"] == "the match" and len(answers["/embed"][0]) == 2
    assert answers["/info"][0]["trained_labels"] is None and b"sijo_requests_total" in answers["/metrics"][0]
