"""`sijo classify --explain`: columns, marked words at a terminal, and when it is refused."""

import csv
import io
import json

import pyarrow.parquet as pq
import pytest
from rich.console import Console
from rich.table import Column, Table

import sijo
from app.test_terminal import terminal  # noqa: F401
from sijo.app import cli
from sijo.app.explaining.shown import UNBROKEN, named_words
from sijo.app.numbers import signed

TEXTS = ["the old sea, and rain", "", "money in the bank!", "game"]


@pytest.fixture
def table(write):
    return write("rows.jsonl", "".join(json.dumps({"text": text}) + "\n" for text in TEXTS))


@pytest.fixture
def command(table, tiny_model):
    return ["classify", table, "--model", tiny_model, "--labels", "sea,bank,game"]


def explained(tiny_model, top_k=3, **settings):
    return sijo.ZeroShotClassifier(["sea", "bank", "game"], tiny_model, **settings).explain(TEXTS, top_k=top_k)


def test_columns_are_what_the_library_says(sijo_cli, command, tiny_model, tmp_path):
    # kills: another row's words, effects of another label, evidence for a row without words, answers that differ
    # from those without --explain
    plain = sijo_cli(*command, "-q").rows()
    ran = sijo_cli(*command, "--explain", "--top-k", 2)
    assert ran.code == 0, ran.err
    for row, before, want in zip(ran.rows(), plain, explained(tiny_model, 2), strict=True):
        assert {name: row[name] for name in before} == before
        assert row["why"] == want.why
        if not want.evidence:
            assert row["explanation"] is None and row["why"] == []
            continue
        told = row["explanation"]
        assert told["labels"] == list(want.labels[:2]) and told["variants"] == want.variants
        for place, word in enumerate(told["words"]):
            assert row["text"][word["start"] : word["end"]] == word["word"] == want.parts[place].text
            assert word["effects"] == pytest.approx([one.effects[place] for one in want.evidence], abs=6e-5)
    assert "texts read, with words left out: 16" in ran.err and "rows without words to explain: 1" in ran.err
    for name in ("out.parquet", "out.csv"):
        assert sijo_cli(*command, "--explain", "-q", "-o", tmp_path / name).code == 0
    [first, *_] = pq.read_table(tmp_path / "out.parquet")["explanation"].to_pylist()
    [line, *_] = csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text()))
    assert json.loads(line["explanation"]) == first and first["words"][0]["word"] == "the"


def test_a_row_of_many_words_is_told_to_be_opened_by_sentences(sijo_cli, write, tiny_model):
    # kills: a limit that is not handed on; runs of words that pass for words
    text = write("long.txt", "the sea and rain. " * 40 + "\n")
    ran = sijo_cli(
        "classify", text, "--model", tiny_model, "--labels", "sea,bank", "--explain", "--explain-limit", 9
    )
    [row] = ran.rows()
    assert row["explanation"]["variants"] <= 9 and len(row["explanation"]["words"]) < 9
    words = row["explanation"]["words"]
    assert max(len(word["word"]) for word in words) <= 81 < max(word["end"] - word["start"] for word in words)
    assert "rows of too many words for each to be left out (--explain-limit)" in ran.err


def test_workers_and_resumed_runs_explain_alike(sijo_cli, start, command, tmp_path):
    # kills: an explanation that does not come back from another process; a run resumed without what it began with
    alone = sijo_cli(*command, "--explain", "-q")
    shared = start(*command, "--explain", "-q", "--workers", "2", OMP_NUM_THREADS="2").wait()
    assert shared.code == 0 and shared.rows() == alone.rows()
    out = tmp_path / "out.jsonl"
    assert sijo_cli(*command, "-q", "-o", out).code == 0
    assert sijo_cli(*command, "-q", "-o", out, "--explain", "--resume").code == 2


def test_own_labels_of_rows(sijo_cli, write, tiny_model):
    # kills: rows explained under each other's labels
    rows = [{"text": "the sea", "own": ["sea", "tax"]}, {"text": "the sea", "own": ["bank", "game", "oil"]}]
    table = write("rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    ran = sijo_cli("classify", table, "--model", tiny_model, "--labels-column", "own", "--explain", "-q")
    for row, told in zip(rows, ran.rows(), strict=True):
        assert {*told["explanation"]["labels"]} == {*row["own"]} and len(told["explanation"]["words"]) == 2


@pytest.mark.parametrize("colour", [True, False])
def test_words_are_marked_at_a_terminal(terminal, command, tiny_model, monkeypatch, colour):  # noqa: F811
    # kills: colour where NO_COLOR forbids it, a text that cannot be read without it, numbers left out
    monkeypatch.delenv("NO_COLOR", raising=False)
    if not colour:
        monkeypatch.setenv("NO_COLOR", "1")

    def run():
        monkeypatch.setenv("TERM", "xterm-256color")
        return cli.run([str(word) for word in [*command, "--explain", "-q", "--temperature", 0.001]])

    seen = terminal(run)
    assert seen.code == 0 and ("\x1b[1;4;32m" in seen.text or "\x1b[3;4;31m" in seen.text) == colour
    assert ("31m" in seen.text or "32m" in seen.text) == colour
    [part, effect] = explained(tiny_model, temperature=0.001)[0].strongest(1)[0]
    assert part.text in seen.text and f"{effect:+.1f}".replace("-", "−") in seen.text
    plain = "".join(piece.partition("m")[2] if i else piece for i, piece in enumerate(seen.text.split("\x1b[")))
    assert all(text in plain for text in TEXTS)


def test_each_of_the_best_labels_has_its_words(terminal, command, tiny_model):  # noqa: F811
    # kills: the words of the first label under the name of another
    seen = terminal(
        lambda: cli.run([str(word) for word in [*command, "--explain", "--top-k", 2, "-q", "--temperature", 0.001]])
    )
    row = explained(tiny_model, temperature=0.001)[0]
    for evidence in row.evidence[:2]:
        named = row.strongest(3, evidence)
        words = ", ".join(f"{part.text} {effect:+.1f}".replace("-", "−") for part, effect in named)
        assert f"{evidence.label}: {words}" in seen.text


def test_a_terminal_obeys_no_word(terminal, write, tiny_model):  # noqa: F811
    # kills: words of a text written to the terminal as they are, when they are marked one by one
    text = write("hostile.jsonl", json.dumps({"text": "the \x1b]0;evil\x07sea \x1b[31mrain\u202e"}) + "\n")
    words = ["classify", text, "--model", tiny_model, "--labels", "sea,bank", "--explain", "-q"]
    terminal(lambda: cli.run([str(word) for word in words])).harmless(
        r"\u001b]0;evil\u0007sea \u001b[31mrain\u202e"
    )


def test_what_is_refused(refused, command, tmp_path):
    # kills: a model opened, or hours of work, before a page that cannot be
    refused(2, "from 8 to", *command, "--explain", "--explain-limit", 7)
    refused(2, "must end in .html", *command, "--explain-report", tmp_path / "why.pdf")
    refused(2, "no folder", *command, "--explain-report", tmp_path / "none" / "why.html")
    refused(
        2, "--resume", *command, "--explain-report", tmp_path / "why.html", "--resume", "-o", tmp_path / "o.csv"
    )


def test_a_dry_run_writes_no_page(sijo_cli, command, tmp_path):
    # kills: a page of the rows that were timed
    ran = sijo_cli(*command, "--explain-report", tmp_path / "why.html", "--dry-run")
    assert ran.code == 0 and not (tmp_path / "why.html").exists()


def test_a_word_and_its_effect_stand_on_one_line(tiny_model):
    # kills: "+2.8" at the start of a line, as Rich breaks at no-break spaces too; a sign that stands for a space
    rows = explained(tiny_model, temperature=0.001)
    named = [f"{part.text} {signed(effect)}" for part, effect in rows[0].strongest(3)]
    for width in range(14, 40):
        table = Table(Column("words", overflow="fold"), box=None, width=width)
        for row in rows:
            table.add_row(named_words(row, 3))
        Console(file=(out := io.StringIO()), width=width, highlight=False).print(table)
        lines = [line.strip() for line in out.getvalue().splitlines()]
        assert not any(line[0] in "+−" for line in lines if line) and UNBROKEN not in out.getvalue()
        assert all(any(words in line for line in lines) for words in named)
