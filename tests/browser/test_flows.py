"""What a person does with the page, from texts to the table that is taken away."""

import csv
import io
import json
import re

import pytest
from playwright.sync_api import expect
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score
from tests.browser.steps import answers, classified_by, described_with, scored, take, write_labels

SHOP = [("delivery", "where a parcel is and when it comes"), ("payment", "charges, invoices and refunds")]
TEXTS = ["Where is my parcel?", "I was charged twice.", "Please refund me.", "It arrives tomorrow, they said."]
KOREAN = '내용,분류\r\n"택배가 ""아직""\n안 왔어요, 언제 오나요?",배송\r\n두 번 결제됐어요,결제\r\n'


def test_scores_move_as_labels_change(visit):
    """kills: scores that stay when a description changes; a request for each letter that is typed."""
    page = visit()
    asked = []
    page.on("request", lambda request: asked.append(request) if request.url.endswith("/classify") else None)
    write_labels(page, SHOP)
    take(page, TEXTS)
    scored(page, 4)
    before = page.locator("#rows .share").all_inner_texts()
    assert [names[0] for names in answers(page)] == ["delivery", "payment", "payment", "delivery"]
    asked.clear()
    page.locator(".label textarea").first.press_sequentially(", as well as gardens and flowers", delay=10)
    expect(page.locator("#rows .row.old")).to_have_count(4)
    scored(page, 4)
    assert page.locator("#rows .share").all_inner_texts() != before
    assert len(asked) == 1


def test_an_outdated_answer_is_not_shown(visit):
    """kills: an answer to the labels of before that comes late and is shown under those of now."""
    late = []

    def handle(route):
        body = json.loads(route.request.post_data)
        if "first" in body["labels"]:
            late.append(route)
            return
        classified_by(lambda text, number: ("second", 0.9))(route)

    page = visit(before=lambda page: page.route("**/classify", handle))
    write_labels(page, [("first", ""), ("other", "")])
    take(page, ["one", "two"])
    expect(page.locator("#progress")).to_be_visible()
    page.locator(".label input").first.fill("second")
    scored(page, 2)
    for route in late:
        classified_by(lambda text, number: ("first", 0.9))(route)
    page.wait_for_timeout(300)
    assert answers(page) == [["second"], ["second"]]


def test_rows_that_fit_none(visit):
    """kills: a switch that is not sent; a filter that shows other rows than those that fit none."""
    page = visit()
    write_labels(page, SHOP)
    take(page, [*TEXTS, "The volcano on Mars is the highest in the solar system."])
    scored(page, 5)
    page.get_by_label("Some texts fit none").check()
    scored(page, 5)
    page.locator("#filter").select_option("none")
    assert "volcano" in " ".join(page.locator("#rows .text").all_inner_texts())
    for names in answers(page):
        assert names == ["none of these"]
    assert page.locator("#rows .row").count() < 5
    page.get_by_label("A text may have several labels").check()
    page.locator("#filter").select_option("all")
    scored(page, 5)
    assert page.get_by_label("Some texts fit none").is_disabled()


def test_a_setting_that_is_not_in_use_says_so(visit):
    """kills: a sentence without a place for the name, or a threshold of 7, that stays there and is not used."""
    page = visit()
    page.locator("details", has=page.locator("#template")).locator("summary").click()
    for field, wrong, right in (("template", "This is about it.", "This is {}."), ("threshold", "7", "0.3")):
        if field == "threshold":
            page.get_by_label("A text may have several labels").check()
        expect(page.locator(f"#{field}-problem")).to_be_hidden()
        page.locator(f"#{field}").fill(wrong)
        expect(page.locator(f"#{field}-problem")).to_contain_text("Not in use yet")
        expect(page.locator(f"#{field}")).to_have_attribute("aria-invalid", "true")
        page.locator(f"#{field}").fill(right)
        expect(page.locator(f"#{field}-problem")).to_be_hidden()
        expect(page.locator(f"#{field}")).to_have_attribute("aria-invalid", "false")


def test_a_korean_table_of_cp949_with_its_right_labels(visit, give):
    """kills: CP949 read as UTF-8; a quote, comma or line end in a cell that divides it; labels of the file not
    taken.
    """
    page = visit(locale="ko-KR")
    give(page, "문의.csv", KOREAN.encode("cp949"))
    expect(page.locator("#loaded-summary")).to_have_text("문의.csv의 텍스트 2개 · 한국어 (CP949, EUC-KR)")
    scored(page, 2)
    assert page.locator("#rows .text").first.inner_text() == '택배가 "아직"\n안 왔어요, 언제 오나요?'
    assert [page.locator(".label input").nth(place).input_value() for place in (0, 1)] == ["배송", "결제"]
    expect(page.locator("#measures")).to_be_visible()
    page.locator("#reading summary").click()
    page.locator("#text-column").select_option(label="분류")
    expect(page.locator("#rows .text").first).to_have_text("배송")


def test_figures_are_those_of_scikit_learn(visit, give):
    """kills: recall for precision; a macro-F1 over labels that occur nowhere; rows and columns of the matrix
    swapped.
    """
    names = ["sea", "sun", "sky", "unseen"]
    gold = ["sea", "sea", "sun", "sky", "sky", "sky", "sun", "sea", "sky", "sea"]
    given = ["sea", "sun", "sun", "sea", "sky", "sky", "sky", "sea", "sky", "sun"]
    page = visit(
        before=lambda page: page.route("**/classify", classified_by(lambda text, _: (text.split()[1], 0.8)))
    )
    write_labels(page, [(name, "") for name in names])
    give(
        page,
        "t.csv",
        (
            "text,gold\n" + "".join(f"{n} {a},{g}\n" for n, (g, a) in enumerate(zip(gold, given, strict=True)))
        ).encode(),
    )
    scored(page, 10)
    figures = page.locator("#figures dd")
    expect(figures.nth(0)).to_contain_text(f"{100 * accuracy_score(gold, given):.1f}%")
    expect(figures.nth(0)).to_contain_text("31.3% to 83.2%")  # Wilson's interval of 6 in 10
    expect(figures.nth(1)).to_contain_text(f"{100 * f1_score(gold, given, average='macro'):.1f}%")
    page.locator("#measures summary").click()
    cells = [
        [int(cell.split()[0] if cell else 0) for cell in row.locator("td").all_inner_texts()]
        for row in page.locator("table.matrix tbody tr").all()
    ]
    assert cells == confusion_matrix(gold, given, labels=names).tolist()
    page.get_by_role("button", name="2 rows: right sea, answered sun").click()
    assert page.locator("#rows .text").all_inner_texts() == ["1 sun", "9 sun"]


def test_corrections_are_counted_undone_and_taken_away(visit, saved, give):
    """kills: a correction that no table has; an undo of the wrong row; a saved table that cannot be resumed."""
    page = visit()
    write_labels(page, SHOP)
    take(page, TEXTS)
    scored(page, 4)
    row = page.locator("#rows .row")
    row.nth(0).click()
    row.nth(0).get_by_role("button", name="payment").click()
    row.nth(1).get_by_role("button", name="That is right").click()
    row.nth(2).get_by_role("button", name="none of these").click()
    expect(page.locator("#figures dd").nth(2)).to_contain_text("0 by the file, 3 by you")
    expect(page.locator("#figures dd").nth(0)).to_contain_text("33.3%")
    page.locator("#undo").click()
    expect(page.locator("#figures dd").nth(2)).to_contain_text("2 by you")
    page.locator("#redo").click()
    page.locator("#undo").click()
    content, name = saved(page, "#save-csv")
    table = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    assert name == "texts-labelled.csv"
    assert [line["text"] for line in table] == TEXTS
    assert [line["sijo_checked"] for line in table] == ["payment", "payment", "", ""]
    assert [line["sijo_label"] for line in table] == ["payment", "payment", "payment", "delivery"]
    assert table[0]["sijo_predicted"] == "delivery" and 0.5 < float(table[0]["sijo_score"]) <= 1
    lines, _ = saved(page, "#save-jsonl")
    assert json.loads(lines.decode().splitlines()[0])["sijo_checked"] == "payment"
    give(page, name, content)
    expect(page.locator("#rows .truth")).to_have_text(
        [re.compile("✗ file: payment"), re.compile("✓ file: payment")]
    )


def test_a_saved_table_is_safe_in_a_spreadsheet(visit, saved):
    """kills: a text that a spreadsheet runs as a formula; a number spoiled by an apostrophe; quotes not doubled."""
    texts = ["=cmd|' /C calc'!A0", "+1 from me", "@SUM(A1)", "-5", '-say "hi", twice', "＝HYPERLINK(0)", "plain"]
    page = visit(before=lambda page: page.route("**/classify", classified_by(lambda text, _: ("=a", 0.7))))
    write_labels(page, [("=a", ""), ("b", "")])
    take(page, texts)
    scored(page, 7)
    content, _ = saved(page, "#save-csv")
    table = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    assert [line["text"] for line in table] == [
        "'=cmd|' /C calc'!A0", "'+1 from me", "'@SUM(A1)", "-5", "'-say \"hi\", twice", "'＝HYPERLINK(0)", "plain",
    ]  # fmt: skip
    assert {line["sijo_label"] for line in table} == {"'=a"}
    lines, _ = saved(page, "#save-jsonl")
    assert [json.loads(line)["text"] for line in lines.decode().splitlines()] == texts


def test_several_labels_a_text(visit, saved):
    """kills: a second label that takes the first one's place where a text may have several."""
    page = visit()
    write_labels(page, SHOP)
    page.get_by_label("A text may have several labels").check()
    take(page, TEXTS)
    scored(page, 4)
    row = page.locator("#rows .row").first
    row.click()
    pressed = row.locator(".chip[aria-pressed=true]")
    for name in ("delivery", "payment"):
        if name not in answers(page)[0]:
            row.get_by_role("button", name=name).click()
    if not pressed.count():
        row.get_by_role("button", name="That is right").click()
        row = page.locator("#rows .row").first
        row.click()
    expect(pressed).to_have_count(2)
    content, _ = saved(page, "#save-csv")
    assert set(next(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))["sijo_checked"].split("|")) == {
        "delivery",
        "payment",
    }


def test_the_ten_to_label_next_are_the_least_sure(visit):
    """kills: the surest taken for the least sure; a row that is checked already; one text twice."""
    texts = [f"text {number}" for number in range(30)] + ["text 0"]
    sure = classified_by(lambda text, _: ("a", 0.55 + int(text.split()[1]) / 100))

    def before(page):  # a service that does not choose them itself
        page.route("**/classify", sure)
        page.route("**/openapi.json", described_with({"/suggest": []}))

    page = visit(before=before)
    write_labels(page, [("a", ""), ("b", "")])
    take(page, texts)
    scored(page, 31)
    page.locator("#rows .row").nth(1).click()
    page.keyboard.press("2")
    page.locator("#ten").click()
    assert page.locator("#rows .text").all_inner_texts() == [f"text {number}" for number in (0, *range(2, 11))]
    assert page.locator("#rows .row").first.evaluate("row => row === document.activeElement")


def test_labels_are_saved_and_opened(visit, saved, give):
    """kills: descriptions of several lines that become one; labels of a CSV read as rows; labels gone after a
    reload.
    """
    page = visit()
    write_labels(page, [("집", "할 일 목록\n장 볼 목록"), ("work", "meetings: when and where"), ("bare", "")])
    page.locator("summary", has_text="More settings").click()
    content, _ = saved(page, "#labels-save")
    assert json.loads(content) == [
        {"label": "집", "description": ["할 일 목록", "장 볼 목록"]},
        {"label": "work", "description": "meetings: when and where"},
        {"label": "bare"},
    ]
    give(page, "l.csv", "label,description,description\n은행,계좌,공과금\n".encode(), "#labels-file")
    expect(page.locator(".label textarea")).to_have_count(1)
    expect(page.locator(".label textarea")).to_have_value("계좌\n공과금")
    give(page, "labels.json", content, "#labels-file")
    expect(page.locator(".label input")).to_have_count(3)
    assert page.get_by_role("textbox", name="Name of label 2", exact=True).input_value() == "work"
    page.reload()
    expect(page.locator(".label textarea").first).to_have_value("할 일 목록\n장 볼 목록")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.xlsx", b"PK\x03\x04rest", "workbook"),
        ("a.csv", b"\xff\xfe\xfd\x80\x81\x00\x01", "encoding"),
        ("a.csv", b'text\n"never closed', "Record 2 opens a quote"),
        ("a.jsonl", b'{"text": "a"}\n{"text": ', "Line 2 is not JSON"),
        ("a.txt", b" \n\n", "no text"),
    ],
)
def test_files_that_cannot_be_read_say_why(visit, give, name, content, words):
    """kills: a file that is refused in silence, or read as something that it is not."""
    page = visit()
    give(page, name, content)
    expect(page.locator("#texts-trouble")).to_contain_text(words)
    assert page.locator("#rows-panel").is_hidden()


def test_work_is_not_lost_without_a_question(visit):
    """kills: other texts that take the place of rows that were corrected, without a word."""
    page = visit()
    write_labels(page, SHOP)
    take(page, TEXTS)
    scored(page, 4)
    page.locator("#rows .row").first.click()
    page.keyboard.press("2")
    asked = []
    page.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    page.locator("#texts-other").click()
    take(page, ["another"])
    assert "not been saved" in asked[0] and page.locator("#rows .row").count() == 4


MOVED = """([where, type, text, name]) => {
  const data = new DataTransfer();
  if (name) data.items.add(new File([text], name));
  else data.setData("text/plain", text);
  const event = type === "paste"
    ? new ClipboardEvent(type, {clipboardData: data, bubbles: true, cancelable: true})
    : new DragEvent(type, {dataTransfer: data, bubbles: true, cancelable: true});
  document.querySelector(where).dispatchEvent(event);
}"""


def test_texts_are_dropped_and_pasted(visit):
    """kills: a file that the browser opens in the page's place; a paste of thousands of lines that hangs it."""
    page = visit(before=lambda page: page.route("**/classify", classified_by(lambda text, _: ("a", 0.8))))
    write_labels(page, [("a", ""), ("b", "")])
    page.evaluate(MOVED, ["main", "dragenter", "", "x"])
    expect(page.locator("#drop")).to_be_visible()
    page.evaluate(MOVED, ["main", "drop", "n;text\n1;dropped\n", "t.csv"])
    expect(page.locator("#drop")).to_be_hidden()
    expect(page.locator("#rows .text")).to_have_text("dropped")
    page.locator("#texts-other").click()
    page.evaluate(MOVED, ["#paste", "paste", "\n".join(f"line number {number}" for number in range(3000)), ""])
    expect(page.locator("#rows-count")).to_have_text("3,000 rows")
    page.evaluate(MOVED, ["#label-1", "paste", "one\ttwo words\nthree: four\nfive", ""])
    expect(page.locator(".label input")).to_have_count(5)
    assert [page.locator(".label textarea").nth(place).input_value() for place in (2, 3, 4)] == [
        "two words",
        "four",
        "",
    ]
