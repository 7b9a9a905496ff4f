"""A service with its page, and a Chromium without a window that looks at it, for `make browser`."""

import pytest
from playwright.sync_api import sync_playwright
from tests.browser.steps import CHROMIUM, serving


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
        page.on(
            "console",
            lambda said: faults.append(said.text) if "Trusted" in said.text or "Content Sec" in said.text else None,
        )
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
