"""All of it by the keyboard alone: nothing here clicks."""

import csv
import io

from playwright.sync_api import expect
from tests.browser.steps import classified_by, scored, tab_to


def test_from_texts_to_the_saved_table(visit):
    """kills: a step that only a mouse can do; focus that is lost when what it was on is drawn anew."""
    page = visit()
    tab_to(page, "paste")
    page.keyboard.type(
        "Where is my parcel?\nI was charged twice.\nMy refund is late.\nWhen will it arrive?", delay=1
    )
    page.keyboard.press("Control+Enter")
    expect(page.locator("#rows .row")).to_have_count(4)
    tab_to(page, "label-1")
    page.keyboard.type("delivery")
    page.keyboard.press("Enter")
    page.keyboard.type("payment")
    scored(page, 4)
    page.keyboard.press("Enter")  # a third, empty
    expect(page.locator(".label")).to_have_count(3)
    tab_to(page, "undo" if page.locator("#undo").is_enabled() else "ten")
    page.keyboard.press("j")
    current = page.locator("#rows .row.current")
    expect(current).to_be_focused()
    expect(current.locator(".number")).to_have_text("1")
    page.keyboard.press("2")
    expect(current.locator(".number")).to_have_text("2")
    expect(current).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("0")
    expect(current.locator(".number")).to_have_text("4")
    page.keyboard.press("u")
    expect(current.locator(".number")).to_have_text("3")
    page.keyboard.press("Shift+U")
    page.keyboard.press("k")
    page.keyboard.press("k")
    expect(current.locator(".number")).to_have_text("1")
    page.keyboard.press("Backspace")
    expect(current.locator(".truth")).to_have_count(0)
    page.keyboard.press("1")
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()
    page.keyboard.type("refund")
    expect(page.locator("#rows .row")).to_have_count(1)
    expect(page.locator("#rows .truth")).to_contain_text("none of these")
    page.keyboard.press("Tab")
    page.keyboard.press("c")  # a select: "Checked by you", and no letter of ours
    expect(page.locator("#filter")).to_have_value("marked")
    tab_to(page, "save-csv")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    table = list(csv.DictReader(io.StringIO(download.value.path().read_text("utf-8-sig"))))
    assert table[0]["sijo_checked"] == "delivery"
    assert table[2]["sijo_checked"] == "none of these"


def test_letters_work_under_a_korean_keyboard(visit):
    """kills: letters known by what they write alone: with Hangul on, the key J writes ㅓ."""
    page = visit(
        locale="ko-KR", before=lambda page: page.route("**/classify", classified_by(lambda text, _: ("가", 0.7)))
    )
    page.locator("#label-1").fill("가")
    page.locator("#label-2").fill("나")
    page.locator("#paste").fill("하나\n둘\n셋")
    page.keyboard.press("Control+Enter")
    scored(page, 3)
    page.locator("#rows .row").first.focus()
    press = (
        "([key, code]) => document.activeElement.dispatchEvent("
        "new KeyboardEvent('keydown', {key, code, bubbles: true, cancelable: true}))"
    )
    page.evaluate(press, ["ㅓ", "KeyJ"])
    expect(page.locator("#rows .row.current .number")).to_have_text("2")
    page.evaluate(press, ["ㅏ", "KeyK"])
    expect(page.locator("#rows .row.current .number")).to_have_text("1")


def test_letters_are_letters_where_one_writes(visit):
    """kills: a shortcut that fires while a label is written; keys that cannot be switched off."""
    page = visit(before=lambda page: page.route("**/classify", classified_by(lambda text, _: ("junk", 0.7))))
    page.locator("#label-1").fill("junk")
    page.locator("#label-2").fill("other")
    page.locator("#paste").fill("one\ntwo")
    page.keyboard.press("Control+Enter")
    scored(page, 2)
    page.locator("#label-2").focus()
    page.keyboard.type("jkun12")
    assert page.locator("#label-2").input_value() == "otherjkun12"
    scored(page, 2)
    page.locator("#rows .row").first.focus()
    page.keyboard.press("?")
    expect(page.locator("#help-dialog")).to_be_visible()
    page.keyboard.press("Tab")
    while page.evaluate("document.activeElement.id") != "keys-on":
        page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Escape")
    expect(page.locator("#help-dialog")).to_be_hidden()
    page.locator("#rows .row").first.focus()
    page.keyboard.press("1")
    expect(page.locator("#rows .truth")).to_have_count(0)
