"""What it looks like: axe-core in both themes and languages, a phone, ten thousand rows, sizes and times."""

import re

import pytest
from playwright.sync_api import expect
from tests.browser.steps import AXE, classified_by, scored, take, write_labels

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def violations(page):
    """What axe-core finds."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("(tags) => axe.run(document, {runOnly: {type: 'tag', values: tags}})", RULES)
    assert len(found["passes"]) > 10
    return [(one["id"], [node["html"][:200] for node in one["nodes"]][:3]) for one in found["violations"]]


@pytest.mark.parametrize("width", [360, 1440])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("locale", ["en-US", "ko-KR"])
def test_axe_finds_nothing(visit, locale, theme, width):
    """kills: a field without a name, a contrast below 4.5, a role that is none; at the start, with rows, with a
    model that was fitted, in dialogs.
    """
    page = visit(locale=locale, theme=theme, width=width, bypass=True)  # axe itself makes markup of text
    assert violations(page) == []
    page.locator("#example").click()
    scored(page, 16)
    page.locator("#rows .row").nth(1).click()
    page.keyboard.press("1")
    expect(page.locator("#rows .hand")).to_have_count(1)
    for summary in page.locator("summary").all():
        summary.click()
    page.wait_for_timeout(400)  # until bars stand still
    assert violations(page) == []
    page.locator("#fit").click()
    expect(page.locator("#known-lead")).to_be_visible()
    scored(page, 16)
    page.locator("#rows .row .text").nth(1).click()
    page.locator("#rows .chip[data-key=why]").click()
    expect(page.locator("#rows mark").first).to_be_visible()
    page.locator(".label input").first.fill("?")
    expect(page.locator("#labels-own")).to_be_visible()
    page.wait_for_timeout(400)
    assert violations(page) == []
    page.locator("#help-button").click()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("locale", ["en-US", "ko-KR"])
def test_a_phone_scrolls_one_way(visit, locale):
    """kills: anything wider than a phone: a long word, a table, a row of buttons."""
    page = visit(locale=locale, width=360, height=740)
    write_labels(page, [("a" * 90, "b" * 200), ("다" * 60, "")])
    take(page, ["x" * 500, "가" * 300, "short"])
    scored(page, 3)
    page.locator("#rows .row").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    small = page.evaluate(
        "[...document.querySelectorAll('button, select, input:not(.unseen)')].filter((one) => one.offsetParent)"
        ".map((one) => [one.id || one.className, one.getBoundingClientRect().height])"
        ".filter(([, high]) => high < 17)"
    )
    assert small == []


def test_language_and_theme_are_switched_and_kept(visit):
    """kills: a word that stays in the other language; a choice that is forgotten, or that flashes in the old
    theme.
    """
    page = visit()
    page.locator("#example").click()
    scored(page, 16)
    page.locator("#language").click()
    expect(page.locator("html")).to_have_attribute("lang", "ko")
    hangul = re.compile("[가-힣]")
    for words in page.locator("h2, .field > span, summary, .switch b, button.main").all_inner_texts():
        assert hangul.search(words) or words == ""
    page.locator("#theme").click()
    background = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(background) == "rgb(20, 23, 28)"
    page.reload()
    page.locator("html[data-ready]").wait_for()
    expect(page.locator("html")).to_have_attribute("lang", "ko")
    assert page.evaluate(background) == "rgb(20, 23, 28)"


def test_ten_thousand_rows_do_not_freeze_it(visit, give):
    """kills: a list that draws all its rows; work that grows with each answer; rows that are seen answered last."""
    handler = classified_by(lambda text, _: ("ab"[len(text) % 2], 0.6))
    page = visit(before=lambda page: page.route("**/classify", handler))
    page.evaluate(
        "() => { window.long = []; new PerformanceObserver((list) => "
        "window.long.push(...list.getEntries().map((one) => one.duration))).observe({type: 'longtask'}) }"
    )
    write_labels(page, [("a", ""), ("b", "")])
    give(page, "many.txt", "\n".join(f"text number {number} of ten thousand" for number in range(10_000)).encode())
    scored(page, 50)
    assert page.locator("#rows .row").count() == 50
    assert [len(body["texts"]) for body in handler.asked][:2] == [50, 200]
    assert len(handler.asked) <= 55
    page.locator("#search").fill("9999")
    expect(page.locator("#rows .row")).to_have_count(1)
    page.locator("#search").fill("")
    page.locator("#page-after").click()
    expect(page.locator("#rows .row .number").first).to_have_text("51")
    assert max(page.evaluate("window.long"), default=0) < 1_000
    print("longest task, ms:", max(page.evaluate("window.long"), default=0))


def test_it_is_small_and_ready_soon(visit, record_property):
    """kills: a page that has grown heavy, or that waits for the service before it can be used."""
    page = visit()
    figures = page.evaluate(
        "() => { const all = performance.getEntriesByType('resource');"
        " const files = all.filter((one) => one.name.includes('/page/'));"
        " const [page] = performance.getEntriesByType('navigation');"
        " return {bytes: page.decodedBodySize + files.reduce((sum, one) => sum + one.decodedBodySize, 0),"
        " sent: page.transferSize + files.reduce((sum, one) => sum + one.transferSize, 0), files: files.length + 1,"
        " ready: performance.getEntriesByName('sijo-ready')[0].startTime} }"
    )
    print(figures)
    assert figures["bytes"] < 131_072
    assert figures["sent"] < 60_000
    assert figures["ready"] < 5_000
