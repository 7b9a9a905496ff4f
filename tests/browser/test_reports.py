"""Reports in a browser: axe-core in both themes, a phone, long words, a hundred and fifty labels, the keyboard."""

import pytest
from tests.browser.test_looks import violations
from tests.run_folders import HOSTILE, lay_results

from sijo.app.report import report

LONG = "환불과 교환, 배송 지연, 그리고 그 밖의 모든 불편 사항에 대한 아주 긴 이름의 문의"
RIGHT_TO_LEFT = "طلب استرداد الأموال"


def labels_of(kind):
    """The labels of a run."""
    return {
        "long": [LONG, LONG * 3, RIGHT_TO_LEFT, HOSTILE],
        "many": [f"label-{number}" for number in range(150)],
        "one": ["sea"],
    }[kind]


@pytest.fixture(scope="module", params=["long", "many", "one"])
def drawn(request, tmp_path_factory):
    """The report of a run with such labels."""
    names = labels_of(request.param)
    rows = [
        {"gold": name, "predicted": names[number * 7 % len(names)], "score": 0.5, "text": f"{name} {'가' * 300}"}
        for number, name in enumerate(names * 3)
    ]
    folder = lay_results(tmp_path_factory.mktemp("runs") / request.param, "classification", rows, names)
    report.run([folder], None)
    return folder / "report.html"


@pytest.mark.parametrize("width", [360, 1440])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_and_a_phone_scrolls_one_way(chromium, drawn, theme, width):
    """kills: a contrast below 4.5, a table that only a mouse can scroll, a word wider than the page, a dialog that
    a label opens.
    """
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=theme, bypass_csp=True)
    page = context.new_page()
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    page.on("request", lambda asked: asked.url.startswith("file:") or pytest.fail(asked.url))
    page.goto(drawn.as_uri())
    for summary in page.locator("summary").all():
        summary.focus()
        page.keyboard.press("Enter")
    assert page.locator("details:not([open])").count() == 0
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()
