"""What tests of the page do again and again: begin a service, write labels, paste texts, wait for scores."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import expect

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
expect.set_options(timeout=float(os.environ.get("EXPECT", "30000")))
AXE = Path(os.environ.get("AXE", Path(__file__).parents[2] / ".venv/axe/package/axe.min.js"))


@contextmanager
def serving(*arguments):
    """Where a `sijo serve` of its own process listens."""
    command = [sys.executable, "-c", "from sijo.app.cli import main; main()", "serve", "--port", "0", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    line = process.stderr.readline()
    assert line.startswith("serving "), line + process.stderr.read()
    threading.Thread(target=process.stderr.read, daemon=True).start()  # or its log fills the pipe and stops it
    try:
        yield line.split()[-1]
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) in (0, 128 + signal.SIGTERM, -signal.SIGTERM)


def write_labels(page, labels):
    """Write labels, as pairs of a name and a description, in place of those that are there."""
    while page.locator(".label").count() > len(labels):
        page.locator(".label .remove").last.click()
    while page.locator(".label").count() < len(labels):
        page.locator("#label-add").click()
    for place, (name, description) in enumerate(labels):
        page.locator(".label input").nth(place).fill(name)
        page.locator(".label textarea").nth(place).fill(description)


def take(page, texts):
    """Paste texts, one a line."""
    page.locator("#paste").fill("\n".join(texts))
    page.locator("#paste-take").click()


def scored(page, number):
    """Wait until so many rows have scores of the question as it is."""
    expect(page.locator("#rows .row:not(.old) .bars")).to_have_count(number)
    expect(page.locator("#progress")).to_be_hidden()


def tab_to(page, name):
    """Press Tab until the element of that id has the focus."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == name:
            return
    raise AssertionError(f"Tab never reaches {name}")


def answers(page):
    """The label that each row on the page is given."""
    return [row.locator(".fits .name").all_inner_texts() for row in page.locator("#rows .row").all()]


def described_with(routes):
    """A handler for `page.route("**/openapi.json", …)`: a service that has these too, paths with their fields.

    None for the fields of a path stands for one that is only got.
    """

    def handle(route):
        answer = route.fetch()
        described = answer.json()
        for path, fields in routes.items():
            name = f"Shape{len(described['components']['schemas'])}"
            shape = {"schema": {"$ref": f"#/components/schemas/{name}"}}
            described["components"]["schemas"][name] = {"properties": {field: {} for field in fields or ()}}
            asked = {"requestBody": {"content": {"application/json": shape}}}
            described["paths"][path] = {"get": {}} if fields is None else {"post": asked}
        route.fulfill(response=answer, json=described)

    return handle


def classified_by(answer):
    """A handler for `page.route("**/classify", …)`: `answer(text, number of the request)` gives label and score."""
    asked = []

    def handle(route):
        body = json.loads(route.request.post_data)
        asked.append(body)
        names = list(body["labels"])
        rows = []
        for text in body["texts"]:
            label, score = answer(text, len(asked))
            others = [name for name in names if name != label]
            scores = [score, *[(1 - score) / max(1, len(others))] * len(others)]
            rows.append(
                {
                    "label": label,
                    "score": score,
                    "margin": 2 * score - 1,
                    "labels": [label, *others],
                    "scores": scores,
                    "fitting": [label],
                    "tokens": 3,
                    "windows": 1,
                    "truncated": False,
                    "abstained": False,
                    "path": [],
                }
            )
        route.fulfill(json={"model": "m", "scorer": "embedding", "rows": rows})

    handle.asked = asked
    return handle
