"""What the page does where the service has routes for it: words that decided, rows to label next, a fitted model.

The routes are played here, so that the page is tested beside any service.
"""

import json
import re

from playwright.sync_api import expect
from tests.browser.steps import answers, classified_by, described_with, scored, take, write_labels

LABELS = [("a", "what a is"), ("b", "")]


def explain(asked):
    """A handler for /explain: "fine" speaks for a label, all other words against it."""

    def handle(route):
        body = json.loads(route.request.post_data)
        asked.append(body)
        text = body["texts"][0]
        parts = [{"start": one.start(), "end": one.end()} for one in re.finditer(r"\w+", text)]
        effects = [2.0 if text[part["start"] : part["end"]] == "fine" else -0.5 for part in parts]
        route.fulfill(json={"rows": [{"parts": parts, "evidence": [{"label": "a", "effects": effects}]}]})

    return handle


def test_which_words_decided(visit):
    """kills: a button where the service has no such route; words marked a place off behind an emoji."""
    asked = []

    def before(page):
        page.route("**/classify", classified_by(lambda text, _: ("a", 0.8)))
        page.route("**/openapi.json", described_with({"/explain": ["texts", "labels", "none_label"]}))
        page.route("**/explain", explain(asked))

    for page, there in ((visit(), False), (visit(before=before), True)):
        write_labels(page, LABELS)
        take(page, ["🎉🎉 a fine day"])
        scored(page, 1)
        page.locator("#rows .row").first.focus()
        button = page.locator("#rows .chip", has_text="Which words?")
        expect(button).to_have_count(int(there))
    button.click()
    expect(page.locator("mark.for")).to_have_text("fine")
    assert page.locator("mark.against").all_inner_texts() == ["a", "day"]
    expect(page.locator(".why")).to_contain_text("Against “a”: a, day")
    assert set(asked[0]) == {"texts", "labels"}  # nothing that the route does not know
    page.keyboard.press("w")
    expect(page.locator("mark")).to_have_count(0)


def test_the_service_chooses_the_next_ten(visit):
    """kills: numbers of texts as they were sent taken for those of rows; rows sent without their labels."""
    asked = []

    def suggest(route):
        asked.append(json.loads(route.request.post_data))
        texts = asked[0]["texts"]
        route.fulfill(json={"rows": [{"row": texts.index("text 7")}, {"row": texts.index("text 2")}]})

    def before(page):
        page.route("**/classify", classified_by(lambda text, _: ("a", 0.55 + int(text[5:]) / 100)))
        page.route("**/openapi.json", described_with({"/suggest": ["texts", "gold", "labels", "count"]}))
        page.route("**/suggest", suggest)

    page = visit(before=before)
    write_labels(page, LABELS)
    take(page, [f"text {number}" for number in range(12)])
    scored(page, 12)
    page.locator("#rows .row").nth(4).focus()
    page.keyboard.press("2")
    page.locator("#ten").click()
    expect(page.locator("#rows .text")).to_have_text(["text 2", "text 7"])
    gold = dict(zip(asked[0]["texts"], asked[0]["gold"], strict=True))
    assert gold.pop("text 4") == ["b"] and set(gold.values()) == {None} and len(gold) == 11
    assert asked[0]["count"] == 10 and asked[0]["labels"] == {"a": ["what a is"], "b": []}


def test_a_model_is_fitted_asked_and_taken_away(visit, saved):
    """kills: rows without a label that are learned from; a new model that is not asked; a model nobody can take
    away.
    """
    fitted, chosen = [], []

    def classify(route):
        chosen.append(json.loads(route.request.post_data))
        model = chosen[-1].get("model")
        classified_by(lambda text, _: ("b" if model else "a", 0.8))(route)

    def fit(route):
        fitted.append(json.loads(route.request.post_data))
        route.fulfill(json={"model": "fitted 1", "accuracy": {"value": 0.9, "low": 0.8, "high": 0.95}})

    def models(route):
        names = ["sijo-small", *(["fitted 1"] if fitted else [])]
        route.fulfill(json={"data": [{"id": name} for name in names]})

    own = {"model_type": {"classifier": {"id2label": {"0": "a", "1": "b"}}}}

    def before(page):
        routes = {"/fit": ["texts", "gold", "labels"], "/models/{name}/archive": None}
        page.route("**/openapi.json", described_with(routes))
        page.route("**/classify", classify)
        page.route("**/fit", fit)
        page.route("**/v1/models", models)
        page.route("**/info?model=fitted%201", lambda route: route.fulfill(json=own))
        page.route("**/models/fitted%201/archive", lambda route: route.fulfill(body=b"PK rest"))

    page = visit(before=before)
    write_labels(page, LABELS)
    page.get_by_label("Some texts fit none").check()
    take(page, ["one", "two", "three", "four"])
    scored(page, 4)
    expect(page.locator("#fit")).to_be_hidden()
    page.locator("#rows .row").first.focus()
    for key in ("2", "1", "0"):
        page.keyboard.press(key)
    page.get_by_role("button", name="Learn from 2 rows").click()
    expect(page.locator("#toast")).to_contain_text("90% right on rows held out (80% to 95%)")
    expect(page.locator("#model")).to_have_value("fitted 1")
    scored(page, 4)
    assert answers(page) == [["b"]] * 4
    assert fitted == [{"texts": ["one", "two"], "gold": [["b"], ["a"]], "labels": {"a": ["what a is"], "b": []}}]
    assert "none_label" not in chosen[-1] and chosen[-1]["multi_label"] is None  # which such a model refuses
    assert saved(page, "#save-model") == (b"PK rest", "fitted 1.zip")


def test_a_trained_model_brings_its_labels(visit):
    """kills: labels that a person has to copy from the model's card; none of these asked of a model without it."""
    classify = classified_by(lambda text, _: ("sun", 0.8))
    own = {"model_type": {"classifier": {"id2label": {"0": "sea", "1": "sun"}}}}

    def before(page):
        page.route("**/info?model=*", lambda route: route.fulfill(json=own))
        page.route("**/classify", classify)

    page = visit(before=before)
    expect(page.locator(".label input").nth(1)).to_have_value("sun")
    take(page, ["one"])
    scored(page, 1)
    assert classify.asked[-1]["multi_label"] is None and "model" not in classify.asked[-1]
