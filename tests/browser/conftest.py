"""A service with its page, and a Chromium without a window that looks at it. Run by `make browser`, not by `make test`."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
AXE = Path(os.environ.get("AXE", Path(__file__).parents[2] / ".build/axe/package/axe.min.js"))
expect.set_options(timeout=30_000)


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


@pytest.fixture(scope="session")
def address():
    """Of a service of the built-in model that asks for no key."""
    with serving() as url:
        yield url


@pytest.fixture(scope="session")
def chromium():
    """The browser."""
    assert CHROMIUM, "no Chromium: apt-get install chromium, or CHROMIUM=/path/to/it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium, address):
    """`visit(locale=…, width=…, theme=…, before=…)`: a page of the service, ready. None may fail or ask elsewhere.

    before  is given the page before it loads
    """
    contexts, faults = [], []

    def open_page(*, locale="en-US", width=1280, height=900, theme="light", before=None, url=address, bypass=False):
        context = chromium.new_context(
            locale=locale, viewport={"width": width, "height": height}, color_scheme=theme, bypass_csp=bypass
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: faults.append(said.text) if "Trusted" in said.text or "Content Sec" in said.text else None)
        page.on("request", lambda request: request.url.startswith((url, "blob:")) or faults.append(request.url))
        if before:
            before(page)
        page.goto(url)
        page.locator("html[data-ready]").wait_for()
        return page

    open_page.faults = faults
    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


@pytest.fixture
def give(tmp_path):
    """`give(page, name, content)`: choose a file of these bytes."""

    def choose(page, name, content, field="#file"):
        path = tmp_path / name
        path.write_bytes(content)
        page.set_input_files(field, path)

    return choose


@pytest.fixture
def saved(tmp_path):
    """`saved(page, button)`: the bytes of the file that a button gives, and its name."""

    def press(page, button):
        with page.expect_download() as download:
            page.locator(button).click()
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        return path.read_bytes(), path.name

    return press


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


def answers(page):
    """The label that each row on the page is given."""
    return [row.locator(".fits .name").all_inner_texts() for row in page.locator("#rows .row").all()]


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
