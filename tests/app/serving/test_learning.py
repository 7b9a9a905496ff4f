"""Why, what next, and heads fitted over HTTP, beside the library behind them. Each test names its fault."""

import asyncio
import io
import shutil
import time
import tracemalloc
import zipfile

import numpy as np
import pytest

import sijo
from sijo.app.serving.learning import zipped
from sijo.errors import SettingError

GOALS = [
    "the striker scored twice",
    "a late goal won the match",
    "the keeper saved the penalty",
    "우리 팀이 이겼다",
]
TAXES = ["income tax rises in May", "the duty on petrol falls", "a refund from the tax office", "세금을 더 낸다"]
TEXTS = [*GOALS, *TAXES, "he was sent off in extra time", "value added tax on books"]
GOLD = [["game"]] * 4 + [["money"]] * 4 + [None, None]


@pytest.fixture(scope="module")
def client(serving):
    with serving() as one:
        yield one


def told(answer, status=200):
    assert answer.status_code == status, answer.text
    return answer.json()


def test_explanations_are_the_librarys(client):
    # kills: places counted in bytes; a label or a score other than /classify gives
    text = "😀 어제 우리 팀이 늦은 골로 이겼다."
    labels = {"운동": ["축구와 야구"], "세금": []}
    [row] = told(client.post("/explain", json={"texts": [text], "labels": labels, "top_k": 2}))["rows"]
    [want] = sijo.ZeroShotClassifier(labels=labels).explain([text], top_k=2)
    [plain] = told(client.post("/classify", json={"texts": [text], "labels": labels}))["rows"]
    assert (row["label"], row["score"]) == (plain["label"], pytest.approx(plain["score"], abs=1e-6))
    assert [text[part["start"] : part["end"]] for part in row["parts"]] == [part.text for part in want.parts]
    for got, own in zip(row["evidence"], want.evidence, strict=True):
        assert got["label"] == own.label and got["effects"] == pytest.approx(own.effects, abs=1e-4)
    assert row["contrast"]["against"] == want.contrast.against


def test_what_an_explanation_costs_is_held_against_the_limit(client):
    # kills: one text of a thousand words that takes the service for a minute
    answer = client.post("/explain", json={"texts": ["the sea " * 4000], "labels": ["sea", "land"]})
    assert answer.status_code == 413 and "tokens to read" in answer.json()["error"]


def test_suggestions_are_the_librarys_and_never_of_labelled_texts(client):
    # kills: numbers that begin at 1; a text that is labelled suggested again
    body = {"texts": TEXTS, "gold": GOLD, "labels": ["game", "money"], "count": 5}
    rows = told(client.post("/suggest", json=body))["rows"]
    assert sorted(row["row"] for row in rows) == [8, 9]
    assert {row["row"]: row["label"] for row in rows} == {8: "game", 9: "money"}
    bare = told(
        client.post("/suggest", json={"texts": TEXTS, "gold": [None] * 10, "labels": ["game", "money"], "count": 3})
    )
    assert len({row["row"] for row in bare["rows"]}) == 3
    assert len(told(client.post("/suggest", json={"texts": TEXTS, "gold": [None] * 10, "count": 3}))["rows"]) == 3


def test_a_head_that_is_fitted_answers_and_is_taken_away(client, tmp_path):
    # kills: a model that is named and not there, or that /predict does not know; an archive that no command opens
    made = told(client.post("/fit", json={"texts": TEXTS, "gold": GOLD, "labels": ["game", "money", "food"]}))
    assert made["texts"] == 8 and made["model"] in [row["id"] for row in told(client.get("/v1/models"))["data"]]
    asked = {"texts": ["a goal in the last minute", "the tax on fuel"], "model": made["model"]}
    rows = told(client.post("/classify", json=asked))["rows"]
    assert [row["label"] for row in rows] == ["game", "money"] and sorted(rows[0]["labels"]) == [
        "food",
        "game",
        "money",
    ]
    predicted = told(
        client.post("/predict", json={"inputs": [[text] for text in asked["texts"]], "model": made["model"]})
    )
    assert [row[0]["label"] for row in predicted] == ["game", "money"]
    answer = client.get(f"/models/{made['model']}/archive")
    assert answer.headers["content-type"] == "application/zip"
    zipfile.ZipFile(io.BytesIO(answer.content)).extractall(tmp_path)
    again = sijo.ZeroShotClassifier(model=tmp_path / made["model"]).classify(asked["texts"])
    assert [row.label for row in again] == ["game", "money"]
    assert again[0].score == pytest.approx(rows[0]["score"], abs=1e-6)


def test_an_archive_takes_no_memory_and_outlasts_its_model(tmp_path):
    # kills: a model of gigabytes zipped in memory; a .zip that ends in the middle because another model was fitted
    folder = tmp_path / "model"
    (folder / "part").mkdir(parents=True)
    content = np.random.default_rng(3).bytes(2**25)
    (folder / "part/weights").write_bytes(content)
    (folder / "설정.json").write_text("{}")
    pieces, kept = zipped(folder, "mine"), io.BytesIO(bytes(2**26))
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept.write(next(pieces))
    shutil.rmtree(folder)
    for piece in pieces:
        kept.write(piece)
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert peak < 2**23
    kept.truncate()
    archive = zipfile.ZipFile(kept)
    assert archive.namelist() == ["mine/part/weights", "mine/설정.json"] and archive.testzip() is None
    assert archive.read("mine/part/weights") == content


def test_a_model_tells_what_it_does_and_knows(client, serving, tuned):
    # kills: a page that has to guess whether a model takes other labels than its own, and guesses wrong
    said = told(client.get("/info"))
    assert (said["kinds"], said["trained_labels"], said["fitted_here"]) == (["labels", "vectors"], None, False)
    made = told(client.post("/fit", json={"texts": TEXTS, "gold": GOLD, "labels": ["money", "game"]}))["model"]
    said = told(client.get("/info", params={"model": made}))
    assert said["kinds"] == ["classifier", "labels", "vectors"] and said["fitted_here"]
    assert said["trained_labels"] == {"names": ["money", "game"], "multi_label": False}
    assert said["max_request_tokens"] == 200_000 and said["max_request_bytes"] == 4 * 2**20
    assert said["max_fitted_scores"] == 50_000
    with serving(tuned("multi-label")) as other:
        assert told(other.get("/info"))["trained_labels"]["multi_label"] is True


def test_a_calibration_of_another_model(client):
    # kills: 500 for a calibration that the first model has and this one has not
    made = told(client.post("/fit", json={"texts": TEXTS, "gold": GOLD}))
    client.service.models.first.calibrations = {"mine": None}
    answer = client.post("/classify", json={"texts": ["a"], "model": made["model"], "calibration": "mine"})
    client.service.models.first.calibrations = {}
    assert answer.status_code == 422 and "no calibration 'mine'" in answer.json()["error"]


def test_a_head_that_takes_long_is_refused_and_holds_nobody_up(client, monkeypatch):
    # kills: a thousand texts of four hundred labels in the one thread that answers
    monkeypatch.setattr("sijo.app.serving.learning.MOST_FITTED_TO", 10)
    answer = client.post("/fit", json={"texts": TEXTS, "gold": GOLD})
    assert answer.status_code == 413 and "sijo fit takes more" in answer.json()["error"]
    assert client.service.aside is not client.service.queue


def test_who_goes_while_a_model_is_saved_leaves_none_behind(client):
    # kills: copies of the encoder that nobody counts, one for each closed tab
    from sijo.app.serving.learning import FittedModels

    class Made:
        def save(self, folder):
            time.sleep(0.2)
            raise SettingError("saved")

    async def go():
        models = FittedModels(client.service.models)
        ended = []
        models._add = lambda *_, add=models._add: watched(add(*_), ended)
        asking = asyncio.ensure_future(models.add(client.service.models.first, Made()))
        await asyncio.sleep(0.05)
        asking.cancel()
        await asyncio.sleep(0.4)
        models.close()
        return ended

    assert [str(error) for error in client.portal.call(go)] == ["saved"]


async def watched(work, ended):
    try:
        await work
    except SettingError as error:
        ended.append(error)


def test_several_labels_are_fitted(client):
    # kills: a text of none taken for one that nobody has labelled
    gold = [["game", "praise"], ["game"], ["game"], ["game", "praise"], [], [], [], [], None, None]
    made = told(client.post("/fit", json={"texts": TEXTS, "gold": gold, "multi_label": True}))
    assert made["texts"] == 8
    rows = told(client.post("/classify", json={"texts": TEXTS[:1] + TEXTS[5:6], "model": made["model"]}))["rows"]
    assert rows[0]["fitting"][:1] == ["game"] and rows[1]["fitting"] == []


def test_only_what_was_fitted_here_is_given_away_and_the_oldest_goes(client, monkeypatch):
    # kills: any folder of the machine by its name; a disk that fills
    for name in ("sijo-small", "fitted-99", "..", "%2e%2e%2fetc"):
        assert client.get(f"/models/{name}/archive").status_code in (404, 405)
    monkeypatch.setattr("sijo.app.serving.learning.MOST_FITTED", 1)
    names = [told(client.post("/fit", json={"texts": TEXTS, "gold": GOLD}))["model"] for _ in range(2)]
    assert client.get(f"/models/{names[0]}/archive").status_code == 404
    assert client.get(f"/models/{names[1]}/archive").status_code == 200
    assert client.post("/classify", json={"texts": ["a"], "model": names[0]}).status_code == 404


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"gold": GOLD[:3]}, "gold has 3 entries"),
        ({"gold": [None] * 10}, "no label"),
        ({"gold": [["game"]] * 10}, "game"),
        ({"gold": [["game", "money"]] * 10}, "say multi_label"),
        ({"gold": [["game"]] * 5 + [["Game"]] * 4 + [["money"]]}, "Game"),
        ({"texts": ["one text"] * 10}, "one text"),
    ],
)
def test_labels_that_no_head_is_fitted_to(client, body, words):
    # kills: 500 for labels that contradict each other; a head of one label
    answer = client.post("/fit", json={"texts": TEXTS, "gold": GOLD} | body)
    assert answer.status_code == 422 and words in answer.json()["error"], answer.text


def test_a_model_without_vectors_learns_nothing(serving, tuned):
    # kills: 500 where a head has nothing to stand on
    with serving(tuned("classification")) as client:
        answer = client.post("/fit", json={"texts": TEXTS, "gold": GOLD})
        assert answer.status_code in (422, 424), answer.text
