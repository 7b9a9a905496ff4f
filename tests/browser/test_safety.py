"""What texts, labels and services may do to the page, and what the page may ask of a service."""

import json

import pytest
from playwright.sync_api import expect
from tests.browser.steps import answers, classified_by, scored, serving, take, write_labels

HOSTILE = [
    "<script>window.hacked = 1</script>",
    '<img src=x onerror="window.hacked = 1">',
    '"><svg onload=window.hacked=1>',
    "javascript:window.hacked=1",
    "{{constructor.constructor('window.hacked=1')()}}",
    "\u202egnp.exe \u0000 \ufffe",
    "</textarea><script>window.hacked=1</script>",
]
KEY = "a-key-of-more-than-sixteen-letters"


def test_hostile_texts_stay_texts(visit, give):
    """kills: innerHTML, anywhere that a text, a label, a name of a column or of a file passes."""
    page = visit(before=lambda page: page.route("**/classify", classified_by(lambda text, _: (HOSTILE[1], 0.7))))
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    write_labels(page, [(HOSTILE[1], HOSTILE[6]), ("b", "")])
    rows = "\n".join(
        json.dumps({HOSTILE[0]: text, "text": text, "gold": HOSTILE[2], "__proto__": "x"}) for text in HOSTILE
    )
    give(page, "<img src=x onerror=window.hacked=1>.jsonl", rows.encode())
    scored(page, len(HOSTILE))
    page.locator("#reading summary").click()
    page.locator("#gold-column").select_option(label="gold")
    scored(page, len(HOSTILE))
    expect(page.locator("#measures")).to_be_visible()
    page.locator("#measures summary").click()
    page.locator("#rows .row").first.click()
    page.keyboard.press("1")
    assert page.locator("#rows .text").first.inner_text() == HOSTILE[0]
    assert page.evaluate("window.hacked") is None
    assert page.locator("main :is(img, script, svg, iframe, object)").count() == 0


def test_no_markup_can_be_made_of_text_at_all(visit):
    """kills: a policy without trusted types, under which one slip in a later change would be a hole."""
    page = visit()
    made = page.evaluate(
        "() => { try { document.body.innerHTML = '<b>x</b>'; return 'made' } catch (error) { return error.name } }"
    )
    assert made == "TypeError"
    assert "TrustedHTML" in visit.faults.pop()


def test_a_key_is_asked_for_and_kept_in_the_tab(visit, tmp_path):
    """kills: a page that needs the key before it can ask for it; a key kept where other tabs find it."""
    (tmp_path / "keys").write_text(KEY)
    (tmp_path / "keys").chmod(0o600)
    with serving("--api-key-file", str(tmp_path / "keys")) as url:
        page = visit(url=url)
        expect(page.locator("#key-dialog")).to_be_visible()
        page.locator("#key").fill("not this one, which is wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#key-words")).to_contain_text("not known here")
        page.locator("#key").fill(KEY)
        page.keyboard.press("Enter")
        expect(page.locator("#key-dialog")).to_be_hidden()
        write_labels(page, [("delivery", ""), ("payment", "")])
        take(page, ["Where is my parcel?"])
        scored(page, 1)
        assert page.evaluate("sessionStorage['sijo.key']") == KEY
        assert KEY not in page.evaluate("JSON.stringify(localStorage) + document.cookie")


def test_a_busy_service_is_asked_again_and_a_refusal_is_told(visit):
    """kills: 429 taken for the end; a refusal that nobody sees; one large text that keeps the others from an
    answer.
    """
    told = []
    good = classified_by(lambda text, _: ("a", 0.8))

    def handle(route):
        body = json.loads(route.request.post_data)
        told.append(len(body["texts"]))
        if len(told) == 1:
            route.fulfill(status=429, headers={"retry-after": "1"}, json={"error": "the queue is full"})
        elif any("huge" in text for text in body["texts"]):
            route.fulfill(status=413, json={"error": "more tokens than one request may have"})
        elif "refuse me" in body["labels"]:
            route.fulfill(status=422, json={"error": "the label is refused"})
        else:
            good(route)

    page = visit(before=lambda page: page.route("**/classify", handle))
    write_labels(page, [("a", ""), ("b", "")])
    take(page, ["one", "two", "huge three", "four"])
    expect(page.locator("#rows .row:not(.old)")).to_have_count(4)
    expect(page.locator("#rows .trouble")).to_have_text("more tokens than one request may have")
    assert answers(page) == [["a"], ["a"], [], ["a"]]
    assert told == [4, 4, 2, 2, 1, 1]
    page.locator(".label input").first.fill("refuse me")
    expect(page.locator("#progress-words")).to_contain_text("the label is refused")
    page.locator(".label input").first.fill("a")
    expect(page.locator("#again")).to_be_hidden()


def test_what_takes_too_long_is_asked_for_in_halves(visit):
    """kills: the same request again and again, each as long as the last; a service busy with answers that nobody
    waits for.
    """
    told = []
    good = classified_by(lambda text, _: ("a", 0.8))

    def handle(route):
        told.append(len(json.loads(route.request.post_data)["texts"]))
        if told[-1] > 2:
            route.fulfill(status=503, json={"error": "no answer within 60 seconds", "error_type": "overloaded"})
        else:
            good(route)

    page = visit(before=lambda page: page.route("**/classify", handle))
    write_labels(page, [("a", ""), ("b", "")])
    take(page, ["one", "two", "three", "four"])
    scored(page, 4)
    assert told == [4, 2, 2]


def test_a_service_that_is_gone_is_asked_again_by_hand(visit):
    """kills: a page that hangs for ever, or loses what was written, when the service goes away."""
    gone = [True]
    good = classified_by(lambda text, _: ("a", 0.8))
    page = visit(
        before=lambda page: page.route("**/classify", lambda route: route.abort() if gone[0] else good(route))
    )
    write_labels(page, [("a", ""), ("b", "")])
    take(page, ["one"])
    page.wait_for_timeout(500)  # until nothing is under way because labels were written
    expect(page.locator("#progress-words")).to_have_text("The service does not answer. Is it running?")
    gone[0] = False
    page.locator("#again").click()
    scored(page, 1)


def test_labels_that_cannot_be_are_told_before_anyone_is_asked(visit):
    """kills: a request for two labels of one name, which the service must refuse."""
    handler = classified_by(lambda text, _: ("a", 0.8))
    page = visit(before=lambda page: page.route("**/classify", handler))
    take(page, ["one"])
    expect(page.locator("#labels-trouble")).to_contain_text("two or more")
    write_labels(page, [("Same", ""), ("same ", "")])
    expect(page.locator("#labels-trouble")).to_contain_text("twice")
    page.locator(".label .remove").last.click()
    expect(page.locator("#labels-trouble")).to_contain_text("nothing to choose between")
    page.wait_for_timeout(500)
    assert handler.asked == []


def test_a_browser_that_keeps_nothing_is_enough(visit):
    """kills: a page that stops at its first line where a browser keeps nothing for anyone."""
    refuse = "for (const name of ['localStorage', 'sessionStorage'])"
    refuse += " Object.defineProperty(window, name, {get() { throw new DOMException('no', 'SecurityError') }})"

    def before(page):
        page.add_init_script(refuse)
        page.route("**/classify", classified_by(lambda text, _: ("a", 0.8)))

    page = visit(before=before)
    write_labels(page, [("a", ""), ("b", "")])
    take(page, ["one"])
    scored(page, 1)
    page.locator("#language").click()
    page.locator("#theme").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
