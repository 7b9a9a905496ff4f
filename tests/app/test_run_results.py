"""The report of a run of fine-tuning: metrics, labels, confusions, rows right and wrong; of any task, in any words.

Each test names the fault it is to catch. Folders are laid as `sijo finetune` leaves them.
"""

import html
import json
import re

import pytest

from run_folders import HOSTILE, LINE, Page, drawn, interval, lay, lay_results
from sijo.app.report import answers, run_results
from sijo.app.report.run_results import READERS

LONG = "배송이 늦어져서 환불을 요청하는 고객의 문의, 그리고 그와 비슷한 모든 이야기"
HEBREW = "החזר כספי"


def given(gold, predicted, score=0.5, **more):
    return {"gold": gold, "predicted": predicted, "score": score} | more


ROWS = [given("sea", "sea", 0.9), given("sea", "land", 0.7), given("land", "land", 0.6), given("sky", "land", 0.95)]
ROWS += [given("land", "land", 0.55)] * 2


def test_a_run_is_shown_with_how_good_it_is(tmp_path):
    # kills: a metric without its interval or n, one number twice, another step than the one that was kept, gold and
    # given changed over, a label's rows counted as given
    page = Page(drawn(lay_results(tmp_path / "run", "classification", ROWS, ["land", "sea", "sky"])))
    assert dict(zip(page.having("dt"), page.having("dd"), strict=True))["accuracy"] == "0.750"
    assert "accuracy0.750[0.500, 0.900] macro-F10.700[0.500, 0.900] loss0.432–" in page.text
    assert "6 rows, whose accuracy chose the weights of step 30." in page.text
    assert page.having("p", "name") == ["sky 0.000", "sea 0.667", "land 0.750"]
    assert page.having("p", "of") == [
        "found 0.000 [0.000, 0.793] of 1 rows", "right – of 0 given",
        "found 0.500 [0.095, 0.905] of 2 rows", "right 1.000 [0.207, 1.000] of 1 given",
        "found 1.000 [0.439, 1.000] of 3 rows", "right 0.600 [0.231, 0.882] of 5 given",
    ]  # fmt: skip
    assert "gold ↓ given →landseasky land3·· sea11· sky1··" in page.text
    assert [title for title in page.having("figcaption") if "evaluation rows" in title] == [
        "loss, evaluation rows0.0333", "accuracy, evaluation rows0.6",
    ]  # fmt: skip
    assert "Texts" not in page.having("h2")


def test_rows_are_shown_that_tell_most(tmp_path):
    # kills: right rows among the wrong, the least sure mistakes first, all of a million texts in the page, a row's
    # number that is not its own
    many = [given("sea", "land", 0.5 + number / 1000) for number in range(100)]
    many += [given("sea", "sea", 0.6 + number / 1000) for number in range(100)]
    page = Page(drawn(lay_results(tmp_path / "run", "classification", many, ["land", "sea"])))
    assert [title for title in page.having("h3") if "answers" in title] == [
        "Wrong answers: 12 of 100, the surest first", "Right answers: 6 of 100, the least sure first",
    ]  # fmt: skip
    shown = page.having("h4", "row")
    assert shown[:2] == ["100land 59.9 %", "99land 59.8 %"] and shown[12:14] == ["101sea 60 %", "102sea 60.1 %"]
    assert page.having("span", "note") == ["gold: sea"] * answers.WRONG
    assert page.having("p", "text")[0] == "text 100"


def test_texts_are_left_out_where_that_is_asked(tmp_path, sijo_cli):
    # kills: a text of the data in a page that is sent to others; numbers that go with the texts
    run = lay_results(tmp_path / "run", "classification", ROWS, ["land", "sea", "sky"])
    text = drawn(run)
    assert "text 4" in text and "whoever is given it can read them" in text
    assert sijo_cli("report", run, "--no-texts").code == 0
    text = (run / "report.html").read_text()
    assert not re.search(r"text \d", text) and "whoever" not in text and "found 0.500" in text


@pytest.mark.parametrize(
    "task, rows, words",
    [
        (
            "multi-label",
            [
                {"gold": ["sea", "sky"], "predicted": ["sea"], "scores": {"sea": 0.9, "sky": 0.2, "land": 0.1}},
                {"gold": [], "predicted": [], "scores": {"sea": 0.1, "sky": 0.3, "land": 0.4}},
            ],
            ["sea 1.000", "sky 0.000", "gold: sea, sky", "no label"],
        ),
        ("regression", [given(1.5, 4.25), given(3, 2.5)], ["Rows: 2, the farthest off first", "4.25", "gold: 1.5"]),
        (
            "tagging",
            [{"words": ["in", "Paris"], "gold": ["O", "B-place"], "predicted": ["O", "O"]}],
            ["B-place 0.000", "Each tag, by words", "1 of 2 words", "Paris: O, gold B-place", "in Paris"],
        ),
        (
            "question-answering",
            [{"gold": ["Paris", "paris"], "predicted": "Rome", "score": 3.0, "none": 1.0}],
            ["Rome", "gold: Paris; paris"],
        ),
        ("multiple-choice", [given("a cat", "a dog", scores=[0.2, 0.8])], ["a dog 80 %", "gold: a cat"]),
    ],
)  # fmt: skip
def test_every_task_shows_its_rows(tmp_path, task, rows, words):
    # kills: a task that is taken for another, or fails
    page = Page(
        drawn(lay_results(tmp_path / "run", task, rows, ["land", "sea", "sky"] if task == "multi-label" else []))
    )
    for word in words:
        assert word in page.text, (word, page.text)
    assert set(READERS) == {
        "classification",
        "multi-label",
        "regression",
        "tagging",
        "question-answering",
        "multiple-choice",
    }


def test_many_labels_are_folded_and_long_ones_numbered(tmp_path):
    # kills: a matrix of 150 columns, headings wider than a phone, one label that has nothing to be compared with
    names = [f"label {number}" for number in range(150)]
    rows = [given(name, names[number // 2], 0.5) for number, name in enumerate(names)]
    text = drawn(lay_results(tmp_path / "many", "classification", rows, names))
    page = Page(text)
    assert len(page.having("p", "name")) == 150 and page.having("summary") == ["120 more"]
    assert "commonest of 149 confusions" in page.text and "confusion" not in text.partition("</style>")[2].replace(
        "confusions", ""
    )
    rows = [given(LONG, HEBREW, 0.5), given(HEBREW, HEBREW, 0.5)]
    long = Page(drawn(lay_results(tmp_path / "long", "classification", rows, [LONG, HEBREW])))
    assert f"gold ↓ given →{LONG}{HEBREW} {LONG}·1 {HEBREW}·1" in long.text  # few letters: the names stand there
    rows = [given(LONG, f"{LONG} {HEBREW}", 0.5)]
    long = Page(drawn(lay_results(tmp_path / "longer", "classification", rows, [LONG, f"{LONG} {HEBREW}"])))
    assert f"gold ↓ given →12 1 {LONG}·1 2 " in long.text
    one = Page(drawn(lay_results(tmp_path / "one", "classification", [given("sea", "sea", 0.5)], ["sea"])))
    assert "sea 1.000" in one.text and "Right answers: 1," in one.text


def test_a_stranger_writes_nothing_but_words(tmp_path):
    # kills: one place that is not escaped, of all that results and predictions name
    rows = [given(HOSTILE, f"{HOSTILE}2", 0.5, text=HOSTILE, second=HOSTILE)]
    many = [given(f"{HOSTILE}{number}", HOSTILE, 0.5, text="\x1b[2J\u202e") for number in range(40)]
    odd = {"metrics": {HOSTILE: interval(0.5), "accuracy": interval(None)}, "macro_f1_over": HOSTILE}
    for name, lines in (("few", rows), ("many", many)):
        text = drawn(lay_results(tmp_path / name, "classification", lines, [HOSTILE], **odd))
        page = Page(text)
        assert not page.open and {kind for kind, _ in page.tags} & {"script", "img", "a", "link", "form"} == set()
        assert not {key for _, attributes in page.tags for key in attributes if key.startswith("on")}
        styles = {attributes.get("style", "") for kind, attributes in page.tags if kind in ("i", "div", "b")}
        assert all(re.fullmatch(r"(color:var\(--run1\)|((left|width):[\d.]+%;?)+)?", style) for style in styles)
        assert html.unescape(text).count(HOSTILE) > 5 and "\x1b" not in text and "\u202e" not in text


@pytest.mark.parametrize(
    "line, words",
    [
        ("{", "line 2 of"), ("3", "it is not an object"), ('{"row": 2}', "no prediction of a run"),
        (json.dumps(given("sea", "sea", "high")), "no prediction"),
        (json.dumps(given("sea", 3, None)), "no prediction"),
        (json.dumps({"row": 1, **given("sea", "sea")}).replace("0.5", "NaN"), "line 2 of"),
    ],
)  # fmt: skip
def test_damage_is_named(tmp_path, sijo_cli, line, words):
    # kills: a trace for half a line, a page that leaves rows out without a word
    run = lay_results(tmp_path / "run", "classification", ROWS[:1], ["sea"])
    with (run / "predictions.jsonl").open("a") as file:
        file.write(f"{line}\n")
    sijo_cli("report", run).must_say(3, "line 2 of", words)
    assert not (run / "report.html").exists()


@pytest.mark.parametrize(
    "broken", [{"metrics": 3}, {"metric": "absent"}, {"evaluation_rows": None}, {"loss": "low"}]
)
def test_results_that_no_run_left(tmp_path, sijo_cli, broken):
    # kills: a trace for a file that somebody has edited
    sijo_cli("report", lay_results(tmp_path / "run", "classification", ROWS, **broken)).must_say(
        3, "that no run left"
    )


def test_seeds_and_sets(tmp_path):
    # kills: the curves of no seed, or of another than the best; before and after changed over; sets as labels
    run = lay_results(tmp_path / "run", "classification", ROWS, ["land", "sea", "sky"])
    spread = {"mean": 0.7, "deviation": 0.01, "lowest": 0.69, "highest": 0.71}
    summary = {"metric": "accuracy", "best_seed": 4, "seeds": {"3": {}, "4": {}}, "metrics": {"accuracy": spread}}
    (run / "summary.json").write_text(json.dumps(summary))
    (run / "evaluations.jsonl").unlink()
    for seed in (3, 4):
        lay(run / f"seed-{seed}", lines=seed, settings=None, examples=())
    page = Page(drawn(run))
    assert "Over 2 seeds" in page.text and "accuracy0.7000.0100.6900.710" in page.text
    assert (
        dict(zip(page.having("dt"), page.having("dd"), strict=True))["steps"] == "40"
        and "of seed 4, the best by accuracy" in page.text
    )
    one = {"labels": 4, "rows": 20, "before": interval(0.3, 0.2, 0.4), "after": interval(0.6, 0.5, 0.7)}
    sets = {"task": "label-matching", "metric": "macro_f1", "before": 0.3, "after": 0.6, "sets": {"news": one}}
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "results.json").write_text(json.dumps(sets))
    (tmp_path / "open" / "metrics.jsonl").write_text(json.dumps(LINE) + "\n")
    page = Page(drawn(tmp_path / "open"))
    assert page.having("p", "of") == [
        "after 0.600 [0.500, 0.700] macro-F1, 4 labels, 20 rows", "before 0.300 [0.200, 0.400]",
    ]  # fmt: skip


def test_a_real_run_has_a_report(tmp_path, sijo_cli, tiny_model, write):
    # kills: a file of a run that is not as the report reads it; the second text of a pair left out
    rows = "".join(f"the {word} of {n},old {word},{word}\n" for n in range(8) for word in ("sea", "land"))
    data = write("rows.csv", "text,other,label\n" + rows)
    command = ("finetune", "--train", data, "--eval", data, "--second-column", "other", "--out", tmp_path / "run")
    ran = sijo_cli(*command, "--model", tiny_model, "-q", "--set", "run.epochs=1", "cutting.length=16")
    assert ran.code == 0, ran.err
    page = Page(drawn(tmp_path / "run"))
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert f"accuracy{results['metrics']['accuracy']['value']:.3f}" in page.text
    wrong, right = (
        sum(int(re.search(r": (?:\d+ of )?(\d+)", title)[1]) for title in page.having("h3") if kind in title)
        for kind in ("Wrong", "Right")
    )
    assert wrong + right == 16 and right / 16 == pytest.approx(results["metrics"]["accuracy"]["value"])
    assert re.search(r"the (sea|land) of \d\nold (sea|land)", "\n".join(page.having("p", "text")))


def test_predictions_are_read_in_little_memory(tmp_path, monkeypatch):
    # kills: all rows of a large file held at once
    run = lay_results(tmp_path / "run", "classification", [given("sea", "sea", 0.5)] * 3000, ["sea"])
    alive, most = set(), 0

    class Watched(run_results.ReadRow):
        def __init__(self, *args, **more):
            nonlocal most
            super().__init__(*args, **more)
            alive.add(id(self))
            most = max(most, len(alive))

        def __del__(self):
            alive.discard(id(self))

    monkeypatch.setattr(run_results, "ReadRow", Watched)
    run_results.run_results(run, texts=True)
    assert most < 10
