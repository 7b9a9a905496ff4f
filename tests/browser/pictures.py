"""`make pictures`: the page in English and Korean, and reports, 360 and 1,440 pixels wide, light and dark.

All of them go to .build/pictures to be looked at; those that docs/ shows go there.
"""

import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

from playwright.sync_api import sync_playwright
from tests.browser.steps import CHROMIUM, scored, serving

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".build/pictures"
SHOWN = {"page.png": "rows-en-1440-light.png", "page-phone.png": "rows-ko-360-dark.png"}
SHOWN |= {"report.png": "finetuning-1440-light.png", "report-words.png": "evaluation-1440-dark.png"}
REQUESTS = ("examples/requests.csv", "--label-column", "domain")
HIGH = {360: 780, 1440: 900}


def draw(browser, url, language, width, theme):
    """The page at its start; with rows, one of them corrected; with everything opened; and with a fitted model."""
    name = f"{language}-{width}-{theme}.png"
    locale = {"en": "en-US", "ko": "ko-KR"}[language]
    context = browser.new_context(
        locale=locale, viewport={"width": width, "height": HIGH[width]}, color_scheme=theme
    )
    page = context.new_page()
    page.goto(url)
    page.locator("html[data-ready]").wait_for()
    page.screenshot(path=FOLDER / f"start-{name}")
    page.locator("#example").click()
    scored(page, 16)
    page.locator("#rows .row").nth(5).focus()
    page.keyboard.press("2")
    page.mouse.move(0, 0)
    page.wait_for_timeout(500)
    if width == 1440:
        page.evaluate("scrollTo(0, 0)")
    else:
        page.evaluate("document.querySelector('#rows .row:nth-child(5)').scrollIntoView()")
    page.screenshot(path=FOLDER / f"rows-{name}")
    for summary in page.locator("summary").all():
        summary.click()
    page.screenshot(path=FOLDER / f"whole-{name}", full_page=True)
    page.locator("#fit").click()
    page.locator("#known-lead").wait_for()
    scored(page, 16)
    page.locator("#rows .row .text").nth(1).click()
    page.locator("#rows .chip[data-key=why]").click()
    page.locator("#rows mark").first.wait_for()
    page.locator(".label input").first.fill("?")
    page.locator("#labels-own").wait_for()
    page.screenshot(path=FOLDER / f"fitted-{name}", full_page=True)
    context.close()


def made_reports():
    """The report of a run of fine-tuning and that of an evaluation, over examples/requests.csv."""
    run, evaluation = FOLDER / "requests", FOLDER / "evaluation.html"
    shutil.rmtree(run, ignore_errors=True)
    for command in (
        ("finetune", "--train", *REQUESTS, "--out", run, "--quiet", "--set", "run.epochs=6", "cutting.length=32"),
        ("report", run, "--out", FOLDER / "finetuning.html"),
        ("evaluate", "--data", *REQUESTS, "--report", evaluation, "--quiet"),
    ):
        words = [sys.executable, "-c", "from sijo.app.cli import main; main()", *map(str, command)]
        subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return [(FOLDER / "finetuning.html", "header"), (evaluation, "h3:has-text('Wrong answers')")]


def draw_report(browser, file, place, width, theme):
    """A report from a place on, and all of it with everything opened."""
    page = browser.new_page(viewport={"width": width, "height": HIGH[width]}, color_scheme=theme)
    page.goto(file.as_uri())
    page.locator(place).first.evaluate("(it) => scrollTo(0, it.offsetTop - 20)")
    page.screenshot(path=FOLDER / f"{file.stem}-{width}-{theme}.png")
    for summary in page.locator("summary").all():
        summary.click()
    page.screenshot(path=FOLDER / f"{file.stem}-whole-{width}-{theme}.png", full_page=True)
    page.close()


def main():
    """Draw all of them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    reports = made_reports()
    with serving() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for language, width, theme in product(("en", "ko"), HIGH, ("light", "dark")):
            draw(browser, url, language, width, theme)
        for (file, place), width, theme in product(reports, HIGH, ("light", "dark")):
            draw_report(browser, file, place, width, theme)
        browser.close()
    for name, drawn in SHOWN.items():
        shutil.copyfile(FOLDER / drawn, ROOT / "docs" / name)
        print(f"docs/{name}: {(ROOT / 'docs' / name).stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
