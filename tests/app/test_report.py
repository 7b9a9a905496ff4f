"""The report of a run: what stands in it, what must never, and what it makes of half a run.

Each test names the fault it is to catch. Pages are read with Python's own parser of HTML.
"""

import errno
import json
import math
import re
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from markupsafe import Markup
from safetensors.numpy import save_file

from run_folders import HOSTILE, MLM, RTD, SETTINGS, Page, drawn, lay
from sijo.app.numbers import three_digits
from sijo.app.report import report
from sijo.app.report.curves import COLOURS, POINTS, drawing, smoothed, thinned
from sijo.app.report.texts import spaces

STYLE = Path(report.__file__).with_name("report.css")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run with everything, and its page."""
    folder = lay(tmp_path_factory.mktemp("runs") / "first", lines=80, rtd=0.4, rtd_right=0.9)
    for step, size in ((500, 3), (1000, 5)):
        place = folder / "checkpoints" / f"step-{step:08}"
        place.mkdir(parents=True)
        tensors = {
            "generator.a": np.zeros((size, 2)),
            "generator.b": np.zeros(1),
            "discriminator.a": np.zeros(1500),
        }
        save_file(tensors, place / "weights.safetensors")
    (folder / "discriminator").mkdir()
    (folder / "discriminator" / "config.json").write_text("{}")
    return folder, drawn(folder)


def test_what_a_run_has_come_to(whole):
    # kills: the first line for the last, one line's time for the run's, a share for per cent, weights of an old
    # checkpoint or of both networks in one number, a finished run called interrupted
    page = Page(whole[1])
    told = dict(zip(page.having("dt"), page.having("dd"), strict=True))
    assert told == {
        "steps": "800",
        "samples": "25,600",
        "tokens": "320,000",
        "time": "60 minutes",
        "tokens a second": "2,666",
        "share of matmul peak": "31 %",
        "parameters, generator": "11",
        "parameters, discriminator": "1,500",
    }
    assert page.having("h1") == ["first"]
    assert page.having("p", "soft")[0] == "recipe electra-tiny, finished"
    assert not page.open


def test_there_is_a_curve_of_each_number(whole):
    # kills: an objective left out or drawn under another's name, a number at the end that is not the curve's
    captions = Page(whole[1]).having("figcaption")
    loss, right = (
        smoothed(values)[-1] for values in ([7 / n for n in range(1, 81)], [n / 2 for n in range(1, 81)])
    )
    assert captions == [
        f"loss, masked tokens{loss:.3g}",
        "loss, replaced tokens0.4",
        "loss, weighted sum26.5",
        f"answered right, masked tokens{right:.3g} %",
        "answered right, replaced tokens90 %",
        "learning rate0.0001",
        "gradient norm0.5",
        "tokens a second2,666",
        "share of matmul peak31 %",
    ]
    assert whole[1].count("<svg") == len(captions)


def test_one_part_is_drawn_once(tmp_path):
    # kills: the same curve twice, as part and as sum
    assert "weighted sum" not in drawn(lay(tmp_path / "run"))


def test_every_setting_is_there(whole):
    # kills: nested settings left out, lists in Python's words
    page = Page(whole[1])
    assert page.having("caption") == ["", "model", "run"]
    rows = dict(zip(page.having("th"), page.having("td"), strict=True))
    assert rows == {"recipe": "electra-tiny", "heads": "4", "schedule": "0, 1", "steps": "40", "clip": "–"}


def test_masked_tokens_are_shown_with_truth_and_guess(whole):
    # kills: the blank shown in place of what it hid, a wrong guess called right, a guess without what was read
    page = Page(whole[1])
    texts = page.having("p", "text")
    assert texts[1] == "[CLS] the old searains [SEP]"
    good, bad = (
        [token for token in page.marked if token[1] == kind and "read as" in (token[2] or "")]
        for kind in ("good", "bad")
    )
    assert [(kind, title, "".join(words)) for kind, _, title, words in good] == [
        ("span", "read as [MASK], guessed right", "old")
    ]
    assert [(kind, title, "".join(words)) for kind, _, title, words in bad] == [
        ("ruby", "read as land, guessed rain", "searain")
    ]
    assert page.having("p", "legend")[1] == "1 guessed right 1 not, with the guess above "
    assert page.having("h3") == ["step 30, replaced tokens", "step 20, masked tokens"]


def test_replaced_tokens_are_of_four_kinds(whole):
    # kills: spotted and missed exchanged, a threshold that leaves out one half, the original in the place of what
    # replaced it, a probability that is not told, a lucky guess called replaced
    page = Page(whole[1])
    assert page.having("p", "text")[0] == "[CLS] the newold searain was salty"
    told = {"".join(words): (css, title) for _, css, title, words in page.marked if "likely" in (title or "")}
    assert told == {
        "[CLS]": ("calm special", "original and trusted: 1 % likely to be replaced"),
        "the": ("calm", "original and trusted: 2 % likely to be replaced"),
        "newold": ("good", "replaced and spotted: 75 % likely to be replaced; was ▁old"),
        "searain": ("bad", "replaced and missed: 25 % likely to be replaced; was ▁rain"),
        "was": ("odd", "original and suspected: 50 % likely to be replaced"),
        "salt": ("calm", "original and trusted: 4 % likely to be replaced"),
        "y": ("calm", "original and trusted: 5 % likely to be replaced"),
    }
    legend = "1 replaced and spotted 1 replaced and missed 1 original and suspected 4 original and trusted "
    assert page.having("p", "legend")[0] == legend


def test_texts_are_spread_over_the_run(tmp_path):
    # kills: the last few alone, which look alike; the newest at the bottom; one shown twice
    steps = [3, 6, 9, 12, 15, 18, 21]
    run = lay(tmp_path / "run", lines=0, timings=0, examples=[MLM | {"step": step} for step in steps])
    assert Page(drawn(run)).having("h3") == [f"step {step}, masked tokens" for step in (21, 15, 9, 3)]
    two = lay(tmp_path / "two", lines=0, timings=0, examples=[MLM | {"step": step} for step in (3, 6)])
    assert Page(drawn(two)).having("h3") == ["step 6, masked tokens", "step 3, masked tokens"]


# --- what must never be in it


def test_a_stranger_writes_nothing_but_words(tmp_path):
    # kills: one place that is not escaped, of all that a run's files and folders name
    nested = {HOSTILE: HOSTILE, "list": [HOSTILE], "recipe": HOSTILE, "group": {HOSTILE: {"x": HOSTILE}}}
    spoilt = {name: [HOSTILE] * 6 for name in ("text", "truth", "guess")}
    right, wrong, rtd = MLM | spoilt, MLM | spoilt | {"guess": ["<script>"] * 6}, RTD | spoilt
    texts = [
        right | {"objective": HOSTILE},
        wrong,
        {k: v[:6] if isinstance(v, list) else v for k, v in rtd.items()},
    ]
    run = lay(
        tmp_path / "<script>alert(3)<",
        settings=nested,
        examples=texts,
        **{HOSTILE: 1.0, f"{HOSTILE}_right": 0.5},
    )
    place = run / "checkpoints" / "step-00000010"
    place.mkdir(parents=True)
    save_file({f"{HOSTILE}.a": np.zeros(2), "other.a": np.zeros(2)}, place / "weights.safetensors")
    page = Page(drawn(run))
    assert {name for name, _ in page.tags} <= {
        *("html", "head", "meta", "title", "style", "body", "header", "main", "section", "article", "footer"),
        *("div", "h1", "h2", "h3", "p", "span", "b", "dl", "dt", "dd", "ruby", "rt", "figure", "figcaption"),
        *("table", "caption", "tr", "th", "td", "svg", "g", "path", "text"),
    }
    allowed = {"class", "title", "style", "lang", "charset", "content", "http-equiv", "name", "scope", "dir"}
    drawing = {"viewbox", "d", "x", "y", "transform"}
    assert {key for _, attributes in page.tags for key in attributes} <= allowed | drawing
    styles = {attributes.get("style") for name, attributes in page.tags if name not in ("path", "text", "g")}
    assert styles == {None, "color:var(--run1)"}
    assert not page.open
    for where in ("dt", "th", "td", "h1", "h3", "figcaption", "ruby", "span"):
        texts = [words for kind, _, _, words in page.marked if kind == where]
        assert any("<script>" in "".join(words) for words in texts), where


def test_nothing_is_fetched_or_run(whole):
    # kills: a font, a script, a namespace that looks like an address, a policy that lets one in
    text = whole[1]
    for word in ("http:", "https:", "//", "url(", "@import", "<script", "<link", "src=", "javascript", "xmlns"):
        assert word not in text, word
    policies = [a["content"] for name, a in Page(text).tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"]
    assert text.index("Content-Security-Policy") < text.index("<style")


def test_the_same_run_gives_the_same_bytes(whole, monkeypatch):
    # kills: a date, names drawn by chance or given twice, a person's own matplotlib settings
    folder, before = whole
    monkeypatch.setitem(mpl.rcParams, "axes.facecolor", "pink")
    monkeypatch.setitem(mpl.rcParams, "lines.linestyle", ":")
    assert drawn(folder) == before
    assert " id=" not in before


def test_every_colour_is_known_by_day_and_by_night(whole):
    # kills: a curve or a word in a colour that the style sheet lacks in one of both
    style = STYLE.read_text()
    day, night = (set(re.findall(r"(--[a-z0-9-]+):", part)) for part in re.findall(r":root \{(.*?)\}", style, re.S))
    assert day == night
    assert set(re.findall(r"var\((--[a-z0-9-]+)\)", whole[1])) <= day
    assert {f"--run{number}" for number in range(1, COLOURS + 1)} <= day
    assert not re.search(r"#a0b0", whole[1])


# --- half a run


@pytest.mark.parametrize(
    "parts, nothing",
    [
        ({"lines": 0, "timings": 0, "examples": ()}, ["header", "Curves", "Texts"]),
        ({"settings": None, "examples": ()}, ["Texts", "Settings"]),
        ({"settings": None, "timings": 0}, ["Settings"]),
        ({"lines": 0}, []),
    ],
)
def test_what_is_not_there_is_said_so(tmp_path, parts, nothing):
    # kills: a report that fails on a run that has just begun, a heading above nothing
    page = Page(drawn(lay(tmp_path / "run", **parts)))
    sections = []
    for kind, _, _, words in page.marked:
        if kind in ("header", "section") and "nothing yet" in "".join(words):
            sections.append("header" if kind == "header" else words[0])
    assert sections == nothing
    state = page.having("p", "soft")[0]
    assert ("interrupted" in state) == bool(parts.get("lines", 4))


def test_a_finished_run_waits_for_no_text(tmp_path):
    # kills: "Texts: nothing yet" of a student of sentence vectors, which keeps none
    run = lay(tmp_path / "run", examples=())
    (run / "model").mkdir()
    (run / "model" / "config.json").write_text("{}")
    assert "Texts" not in Page(drawn(run)).having("h2")


def test_an_interrupted_run_is_drawn_as_far_as_it_came(tmp_path):
    # kills: half a line that a power cut left, a checkpoint that is being cleared away, a single point unseen
    run = lay(tmp_path / "run", lines=1, timings=1)
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 20, "lo')
    (run / "checkpoints" / "step-00000010").mkdir(parents=True)
    (run / "checkpoints" / "step-00000010" / "weights.safetensors").write_bytes(b"half")
    page = Page(drawn(run))
    assert page.having("dd")[0] == "10"
    assert "parameters" not in page.text
    for smooth in (True, False):
        svg = drawing([([10], [0.5])], three_digits, from_zero=False, smooth=smooth)
        assert re.findall(r">([^<]+)</text>", svg) == ["10", "0.48", "0.5", "0.52"]
        assert re.search(
            r'd="M (\S+ \S+) \nL \1 \n" style="[^"]*stroke: var\(--run1\); stroke-width: 4; [^"]*round"', svg
        )


def full(handle):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_damage_leaves_the_old_report(tmp_path, sijo_cli, monkeypatch):
    # kills: a report that is cut short, a trace, a file left beside
    run = lay(tmp_path / "run")
    (run / "report.html").write_text("old")
    names = sorted(run.iterdir())
    for broken in ({"spotted": [0.5]}, {"objective": None, "asked": 3}, {"step": "ten"}, {"spotted": ["x"] * 7}):
        (run / "examples.jsonl").write_text(json.dumps(MLM) + "\n" + json.dumps(RTD | broken) + "\n")
        sijo_cli("report", run).must_say(3, "line 2 of", "examples.jsonl")
    (run / "metrics.jsonl").write_text('{"step": 1}\n\n{"step": 2}\n')
    sijo_cli("report", run).must_say(3, "line 2 of", "metrics.jsonl")
    monkeypatch.setattr("sijo.files.atomic.os.fsync", full)
    (run / "metrics.jsonl").write_text("")
    sijo_cli("report", lay(run, lines=0, timings=0)).must_say(74, "No space left")
    assert (run / "report.html").read_text() == "old"
    assert sorted(run.iterdir()) == names


# --- the command


def test_the_command_prints_where_it_is(tmp_path, sijo_cli):
    # kills: a path on standard error, or words beside it on standard output
    run = lay(tmp_path / "run", lines=0, timings=0)
    ran = sijo_cli("report", run)
    assert (ran.code, ran.out.decode(), ran.err) == (0, f"{run / 'report.html'}\n", "")
    ran = sijo_cli("report", run, "--out", tmp_path / "other.html")
    assert (ran.code, ran.out.decode(), ran.err) == (0, f"{tmp_path / 'other.html'}\n", "")
    assert (tmp_path / "other.html").read_bytes() == (run / "report.html").read_bytes()


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((), "name the folder of a run"),
        (("absent",), "absent holds no run"),
        (("empty",), "empty holds no run"),
        (("run", "run"), "--out FILE.html"),
        (("run", "--out", "run/metrics.jsonl"), "must end in .html"),
        (("run", "--out", "absent/a.html"), "there is no folder absent"),
        (("run",) * 7 + ("--out", "a.html"), "name at most 6"),
    ],
)
def test_wrong_usage_is_told(tmp_path, refused, monkeypatch, arguments, words):
    # kills: a trace, metrics overwritten by a report, two runs in one colour
    lay(tmp_path / "run")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    refused(2, words, "report", *arguments)


def test_without_matplotlib(tmp_path, refused, monkeypatch):
    # kills: a trace in place of what to install
    lay(tmp_path / "run")
    monkeypatch.setattr("sijo.app.report.page.find_spec", lambda name: None)
    refused(2, 'pip install "sijo[plot]"', "report", tmp_path / "run")


def test_several_runs_beside_each_other(tmp_path):
    # kills: curves of two runs in one colour, one run's curve left out, a difference in settings that is not
    # marked, texts that nobody can tell whose they are, two runs of one name
    first = lay(tmp_path / "a" / "run")
    second = lay(tmp_path / "b" / "run", settings=SETTINGS | {"model": {"heads": 8, "schedule": [0, 1]}}, mlm=3.0)
    text = drawn(first, second, out=tmp_path / "both.html")
    page = Page(text)
    assert page.having("h1") == [str(first), str(second)]
    assert [words for words in page.having("h2") if words.startswith("Texts")] == [
        f"Texts of {first}",
        f"Texts of {second}",
    ]
    for svg in re.findall(r"<svg.*?</svg>", text, re.S):
        assert "var(--run1)" in svg and "var(--run2)" in svg and "var(--run3)" not in svg
    assert page.having("tr", "differs") == ["heads48"]
    assert page.having("figcaption")[0].endswith("3")
    third = lay(tmp_path / "c" / "other")
    named = Page(drawn(first, third, out=tmp_path / "both.html"))
    assert named.having("h1") == ["run", "other"]


# --- the numbers behind the curves


def test_smoothing_in_plain_numbers():
    # kills: a pull to zero at either end, a lag, a window that does not grow with the run
    values = [math.sin(n / 7) + (n % 3) for n in range(120)]
    keep = 1 - 1 / (120 / 40)
    for place, got in enumerate(smoothed(values)):
        weights = [keep ** abs(place - other) for other in range(120)]
        want = math.fsum(w * v for w, v in zip(weights, values, strict=True)) / math.fsum(weights)
        assert got == pytest.approx(want, abs=1e-12)
    assert smoothed([4.0, 1.0]) == [4.0, 1.0]
    noisy = list(range(120)), [float(n % 2) for n in range(120)]
    smooth_svg, plain_svg = (drawing([noisy], str, from_zero=False, smooth=smooth) for smooth in (True, False))
    strong, again = (
        re.search(r'd="([^"]*)" style="[^"]*stroke-width: 1.5', svg)[1] for svg in (smooth_svg, plain_svg)
    )
    assert len(set(re.findall(r" (\S+) \n", again))) < 6 < len(set(re.findall(r" (\S+) \n", strong)))


def test_a_long_curve_keeps_its_spikes():
    # kills: every n-th point, a page that grows with the run, points out of order
    values = [0.0] * 100_000
    values[41_234], values[77_777] = 9.0, -5.0
    steps, kept = thinned(list(range(1, 100_001)), values)
    assert len(steps) <= POINTS
    assert steps == sorted(steps) and steps[0] <= 2 and steps[-1] >= 99_500
    assert dict(zip(steps, kept, strict=True))[41_235] == max(kept) == 9.0
    assert dict(zip(steps, kept, strict=True))[77_778] == min(kept) == -5.0
    short = list(range(POINTS)), [1.0] * POINTS
    assert thinned(*short) == short


@pytest.mark.parametrize(
    "tokens, text",
    [
        (["[CLS]", "sail", "##ing", ",", "[SEP]"], "_[CLS] sail_##ing , [SEP]"),
        (["▁sail", "ing", ",", "▁on", "</s>"], "_▁sail_ing_, ▁on </s>"),
        (["I", "Ġam", "bled", "[SEP]"], "_I Ġam_bled [SEP]"),
        (["am@@", "bled", "on"], "_am@@_bled on"),
    ],
)
def test_words_are_joined(tokens, text):
    # kills: "sail ##ing", or a sentence without spaces, in one of the kinds of tokenizers
    got = "".join((" " if space else "_") + token for space, token in zip(spaces(tokens), tokens, strict=True))
    assert got == text


def test_markup_is_told_from_words(tmp_path):
    # kills: drawings or the style sheet escaped, words that are not, words that are escaped twice
    text = drawn(lay(tmp_path / "<b>&'\""))
    page = Page(text)
    assert page.having("h1") == ["<b>&'\""] and "<h1>&lt;b&gt;&amp;" in text
    assert text.count("<svg") == len(page.having("figcaption")) > 0
    assert page.having("style")[0].strip() == STYLE.read_text().strip()
    assert isinstance(drawing([([10], [0.5])], three_digits, from_zero=False, smooth=True), Markup)
