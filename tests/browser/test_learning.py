"""What the service knows besides labels: words that decided, rows to label next, a model fitted to corrections.

All of it against the service itself, in English by the mouse and in Korean by the keyboard alone. Routes are played
where it must be without one, or fail.
"""

import io
import json
import zipfile

import pytest
from playwright.sync_api import expect
from tests.browser.steps import answers, described_with, scored, serving, tab_to, take, write_labels

import sijo

SHOP = [("delivery", "where a parcel is and when it comes"), ("payment", "charges, invoices and refunds")]
PARCELS = ["Where is my parcel?", "It has not arrived yet.", "You sent it to my old address."]
BILLS = ["I was charged twice.", "My card was declined.", "When do I get my refund?"]
OTHERS = ["What is the capital of Peru?", "Happy new year to all of you!", "The cat sleeps on the sofa."]
NEXT = ["The courier left it in the rain.", "Please send me an invoice.", "Mars is a planet."]
SHOP_KO = [("배송", "택배가 어디쯤 왔는지, 언제 도착하는지"), ("결제", "카드 결제와 이중 청구, 환불")]
PARCELS_KO = ["택배가 언제 오나요?", "아직도 못 받았어요.", "예전 주소로 보내셨더라고요."]
BILLS_KO = ["같은 주문이 두 번 결제됐어요.", "카드 승인이 거절됐어요.", "환불은 언제 되나요?"]
OTHERS_KO = ["페루의 수도는 어디예요?", "새해 복 많이 받으세요!", "고양이가 소파에서 자요."]


@pytest.fixture(scope="module")
def own_labels(tmp_path_factory):
    """Of a service of two models that know labels of their own: one a text, and several."""
    folder = tmp_path_factory.mktemp("fitted")
    one = sijo.FewShotClassifier().fit([*PARCELS, *BILLS], ["Parcels"] * 3 + ["Bills"] * 3)
    several = sijo.FewShotClassifier(multi_label=True).fit(
        [*PARCELS, *BILLS, *OTHERS], [["Parcels", "any"]] * 3 + [["Bills", "any"]] * 3 + [[]] * 3
    )
    with serving(f"one={one.save(folder / 'one')}", f"several={several.save(folder / 'several')}") as url:
        yield url


def press_to(page, name):
    """Press Enter on the element of that id."""
    tab_to(page, name)
    page.keyboard.press("Enter")


def write_by_keyboard(page, labels, texts):
    """Write labels and texts, without a mouse."""
    tab_to(page, "paste")
    page.keyboard.insert_text("\n".join(texts))
    tab_to(page, "label-1")
    for place, (name, description) in enumerate(labels):
        if place:
            page.keyboard.press("Tab")
        page.keyboard.insert_text(name)
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.insert_text(description)
    for _ in range(60):
        page.keyboard.press("Shift+Tab")
        if page.evaluate("document.activeElement.id") == "paste":
            break
    page.keyboard.press("Control+Enter")
    scored(page, len(texts))


def test_which_words_decided(visit):
    """kills: words marked a place off behind an emoji; what speaks against taken for what speaks for; a row that
    fits none without an answer.
    """
    page = visit()
    write_labels(page, SHOP)
    page.get_by_label("Some texts fit none").check()
    take(page, ["🎉🎉 I was charged twice.", OTHERS[0]])
    scored(page, 2)
    page.locator("#rows .row").first.click()
    page.locator("#rows .chip", has_text="Which words?").click()
    expect(page.locator(".why")).to_contain_text("For “payment”:")
    assert page.locator("#rows .current mark").all_inner_texts() == [
        "🎉",
        "🎉",
        "I",
        "was",
        "charged",
        "twice",
        ".",
    ]
    assert "charged" in page.locator("#rows .current mark.for").all_inner_texts()
    page.locator("#rows .chip", has_text="Which words?").click()
    expect(page.locator("mark")).to_have_count(0)
    page.locator("#rows .row").nth(1).click()
    page.locator("#rows .current .chip", has_text="Which words?").click()
    expect(page.locator(".why")).to_contain_text("For “none of these”:")
    assert page.locator("#rows .current .text").inner_text() == OTHERS[0]


def test_which_words_decided_by_keyboard(visit):
    """kills: words of Korean that are cut; an explanation that only a mouse opens or closes."""
    page = visit(locale="ko-KR")
    write_by_keyboard(page, SHOP_KO, BILLS_KO)
    page.keyboard.press("j")
    page.keyboard.press("w")
    expect(page.locator(".why")).to_contain_text("‘결제’ 점수를 높인 단어:")
    assert page.locator("#rows mark").all_inner_texts() == ["같은", "주문이", "두", "번", "결제됐어요", "."]
    assert "결제됐어요" in page.locator("mark.for").all_inner_texts()
    page.keyboard.press("w")
    expect(page.locator("mark")).to_have_count(0)


def test_no_button_leads_to_a_route_that_is_not_there(visit):
    """kills: a page that offers what its service does not have, or its model cannot do."""

    def without(page):
        page.route("**/openapi.json", described_with({"/explain": ["texts"], "/fit": [], "/suggest": []}))

    page = visit(before=without)
    write_labels(page, SHOP)
    take(page, [*PARCELS, *BILLS])
    scored(page, 6)
    row = page.locator("#rows .row")
    row.first.click()
    page.keyboard.press("1")
    page.keyboard.press("1")
    expect(row.locator(".chip", has_text="That is right")).to_have_count(1)
    expect(row.locator(".chip", has_text="Which words?")).to_have_count(0)
    expect(page.locator("#fit")).to_be_hidden()
    page.locator("#ten").click()  # the page's own: the least sure
    expect(page.locator("#rows .row")).to_have_count(4)


def test_the_service_chooses_the_next_ten(visit):
    """kills: numbers of texts as they were sent taken for those of rows; a row that is labelled already; rows sent
    without their labels.
    """
    page = visit()
    write_labels(page, SHOP)
    texts = [*PARCELS, *BILLS, *OTHERS, *NEXT, PARCELS[0]]
    take(page, texts)
    scored(page, len(texts))
    for place, key in ((3, "2"), (6, "0"), (0, "1")):
        page.locator("#rows .row").nth(place).click()
        page.keyboard.press(key)
    with page.expect_response("**/suggest") as told:
        page.locator("#ten").click()
    expect(page.locator("#filter")).to_have_value("ten")
    sent = json.loads(told.value.request.post_data)
    gold = dict(zip(sent["texts"], sent["gold"], strict=True))
    assert {text: names for text, names in gold.items() if names} == {
        texts[3]: ["payment"], texts[6]: ["none of these"], texts[0]: ["delivery"],
    }  # fmt: skip
    assert sent["labels"] == dict(SHOP) | {"none of these": ""}
    want = {sent["texts"][one["row"]] for one in told.value.json()["rows"]}
    assert set(page.locator("#rows .text").all_inner_texts()) == want == set(texts) - {texts[3], texts[6], texts[0]}


def test_a_model_is_fitted_asked_and_taken_away(visit, saved, tmp_path):
    """kills: rows that fit none left out; descriptions sent to a head that reads none; a new model that is not
    asked; a model that nobody can take away, or that answers otherwise elsewhere.
    """
    page = visit()
    write_labels(page, SHOP)
    page.get_by_label("Some texts fit none").check()
    take(page, [*PARCELS, *BILLS, *OTHERS, *NEXT])
    scored(page, 12)
    expect(page.locator("#fit")).to_be_hidden()
    page.locator("#rows .row").first.click()
    for key in "111222000":
        page.keyboard.press(key)
    with page.expect_request("**/fit") as asked:
        page.get_by_role("button", name="Learn from 9 rows").click()
    expect(page.locator("#toast")).to_contain_text("The new model, of 9 rows, answers now")
    sent = json.loads(asked.value.post_data)
    assert sent["gold"] == [["delivery"]] * 3 + [["payment"]] * 3 + [["none of these"]] * 3 + [None] * 3
    name = page.locator("#model").input_value()
    assert name.startswith("fitted-")
    scored(page, 12)
    assert answers(page)[:9] == [["delivery"]] * 3 + [["payment"]] * 3 + [["none of these"]] * 3
    assert page.locator("#none").is_checked() and page.locator("#none").is_disabled()
    assert page.locator(".label textarea").first.input_value() == SHOP[0][1]  # for the model before, and the next
    page.locator("#rows .row").nth(3).click()
    page.locator("#rows .current .chip", has_text="Which words?").click()
    expect(page.locator(".why")).to_contain_text("For “payment”:")
    shown = answers(page)
    content, file = saved(page, "#save-model")
    assert file == f"{name}.zip"
    zipfile.ZipFile(io.BytesIO(content)).extractall(tmp_path)
    rows = sijo.ZeroShotClassifier(model=tmp_path / name).classify([*PARCELS, *BILLS, *OTHERS, *NEXT])
    assert [[row.label] for row in rows] == shown
    page.locator("#model").select_option("sijo-small")
    scored(page, 12)
    assert page.locator("#none").is_enabled() and page.locator("#none").is_checked()
    expect(page.locator("#save-model")).to_be_hidden()
    page.reload()
    page.locator("html[data-ready]").wait_for()
    page.locator("#model").select_option(name)
    take(page, BILLS)
    scored(page, 3)
    assert saved(page, "#save-model")[1] == f"{name}.zip"  # whoever comes back to it


def test_a_model_is_fitted_and_taken_away_by_keyboard(visit):
    """kills: the focus lost while a model learns; a model of Korean labels that is asked for others."""
    page = visit(locale="ko-KR")
    write_by_keyboard(page, SHOP_KO, [*PARCELS_KO, *BILLS_KO, *OTHERS_KO])
    page.keyboard.press("j")
    for key in "111222000":
        page.keyboard.press(key)
    press_to(page, "fit")
    expect(page.locator("#toast")).to_contain_text("이제 9행으로 학습한 새 모델의 결과입니다")
    expect(page.locator("#fit")).to_be_focused()
    scored(page, 9)
    assert answers(page) == [["배송"]] * 3 + [["결제"]] * 3 + [["해당 없음"]] * 3
    tab_to(page, "save-model")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    with zipfile.ZipFile(download.value.path()) as archive:
        [config] = [name for name in archive.namelist() if name.endswith("/config.json") and name.count("/") == 1]
        assert list(json.loads(archive.read(config))["label2id"]) == ["배송", "결제", "해당 없음"]


def test_one_text_with_two_labels_is_told_by_its_rows(visit):
    """kills: numbers of texts as they were sent, told as if they were rows; a person's word lost to the file's."""
    page = visit()
    write_labels(page, SHOP)
    take(page, ["text\tgold", f"{BILLS[0]}\tdelivery", f"{PARCELS[0]}\tdelivery", f"{BILLS[0]}\t", f"{BILLS[1]}\t"])
    scored(page, 4)
    for place in (3, 2):
        page.locator("#rows .row").nth(place).click()
        page.keyboard.press("2")
    with page.expect_request("**/fit") as asked:
        page.get_by_role("button", name="Learn from 3 rows").click()
    sent = json.loads(asked.value.post_data)
    assert dict(zip(sent["texts"], sent["gold"], strict=True))[BILLS[0]] == ["payment"]
    expect(page.locator("#toast")).to_contain_text("answers now")
    scored(page, 4)
    page.locator("#rows .row").first.click()
    page.keyboard.press("1")
    page.locator("#fit").click()
    expect(page.locator("#toast")).to_contain_text("Rows 1 and 3 hold the same text")


def test_more_rows_than_a_request_holds_are_learned_from(visit, give):
    """kills: a file of two thousand labelled rows refused, each time."""
    shops = [(number, text, name) for number in range(40) for text, name in ((PARCELS[0], "a"), (BILLS[0], "b"))]
    lines = ["text\tlabel", *(f"{number}: {text}\t{name}" for number, text, name in shops)]
    with serving("--most-texts", "50") as url:
        for others, known in ((0, 50), (30, 50)):
            page = visit(url=url)
            lines += [f"{number}: rain\t" for number in range(others)]
            give(page, "t.tsv", "\n".join(lines).encode())
            scored(page, 50)
            page.locator("#rows .row .text").nth(2).click()
            page.keyboard.press("2")
            with page.expect_request("**/fit") as asked:
                page.get_by_role("button", name=f"Learn from {known} rows").click()
            sent = json.loads(asked.value.post_data)
            assert (len(sent["texts"]), sent["texts"][0], sent["gold"][0]) == (50, f"1: {PARCELS[0]}", ["b"])
            assert sent["gold"].count(["a"]) == pytest.approx(25, abs=2)
            expect(page.locator("#toast")).to_contain_text("The new model, of 50 rows")


def test_a_model_of_its_own_labels(visit, own_labels):
    """kills: labels that a person has to copy from a model's card; a label that it does not know asked of it; one
    label shown where it gives several.
    """
    page = visit(url=own_labels)
    fields = page.locator(".label input")
    expect(fields.nth(1)).to_have_value("Parcels")
    assert page.locator("#none").is_disabled() and page.locator("#multi").is_disabled()
    take(page, [*PARCELS, *BILLS, *OTHERS])
    scored(page, 9)
    assert answers(page)[:6] == [["Parcels"]] * 3 + [["Bills"]] * 3
    fields.first.fill("Weather")
    expect(page.locator("#labels-trouble")).to_contain_text("“Weather” is none of them")
    page.locator("#labels-own").click()
    scored(page, 9)
    expect(page.locator("#labels-own")).to_be_hidden()
    page.locator("#model").select_option("several")
    expect(page.locator("#labels-own")).to_have_text("Use the 3 labels of the model")
    page.locator("#labels-own").click()
    scored(page, 9)
    assert page.locator("#multi").is_checked()
    assert set(answers(page)[0]) == {"Parcels", "any"} and answers(page)[6:] == [[]] * 3


def test_a_refusal_to_learn_is_told(visit):
    """kills: a button that stays as it is, without a word, where the service refuses; one that can never be pressed
    again.
    """
    page = visit(
        before=lambda page: page.route(
            "**/fit", lambda route: route.fulfill(status=413, json={"error": "that is too much"})
        )
    )
    write_labels(page, SHOP)
    take(page, [*PARCELS, *BILLS])
    scored(page, 6)
    page.locator("#rows .row").first.click()
    for key in "12":
        page.keyboard.press(key)
    page.locator("#fit").click()
    expect(page.locator("#toast")).to_contain_text("that is too much")
    expect(page.locator("#fit")).to_have_text("Learn from 2 rows")
    expect(page.locator("#fit")).not_to_have_attribute("aria-disabled", "true")
