"""`sijo generate` as it is typed."""

import io
import os
import select
import signal
import sys
import time

import pytest

import sijo
from runs import REQUESTS
from sijo.app.cli import app
from sijo.app.writing.generate import stream
from sijo.generation.generator import GeneratedText, Generator, Request, Token


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A CTRL that learned for four steps, with the ten domains of the requests as its codes."""
    from dataclasses import replace

    from sijo.jobs.prepare import CorpusSource
    from sijo.jobs.pretrain import pretrain
    from sijo.jobs.recipes import RECIPES
    from sijo.training.settings import with_changes

    out = tmp_path_factory.mktemp("ctrl")
    few = ("run.steps=4", "run.batch=4", "data.length=32", "tokenizer.vocab_size=500")
    settings = RECIPES["ctrl-tiny"].settings
    small = replace(settings.model, embedding_size=16, hidden_size=16, heads=2, intermediate_size=32)
    text = CorpusSource(sources=[str(REQUESTS)], column="text", code_column="domain")
    list(pretrain(with_changes(replace(settings, model=small), few), text, out))
    return out / "model"


def test_texts_come_as_rows_in_a_pipe(sijo_cli, model):
    # kills: options that are not passed on, one seed for all, the library's texts and the command's apart
    arguments = ("--model", model, "-c", "travel", "--max-new-tokens", "6", "--temperature", "1", "--count", "3")
    rows = sijo_cli("generate", *arguments, "-p", "book a", "find the").rows()
    assert len(rows) == 6 and [row["seed"] for row in rows] == list(range(6))
    assert [row["prompt"] for row in rows] == ["book a"] * 3 + ["find the"] * 3
    assert len({row["text"] for row in rows}) > 3 and all(row["tokens"] == 6 for row in rows)
    texts = sijo.generate(
        model, ["book a"] * 3, control_code="travel", max_new_tokens=6, temperature=1.0, penalty=1.2
    )
    assert texts == [row["text"] for row in rows[:3]]
    pieces = sijo.generate(model, "book a", control_code="travel", max_new_tokens=6, temperature=1.0, stream=True)
    assert "".join(pieces) == texts[0]


def test_a_person_reads_it_as_it_is_written(sijo_cli, model):
    # kills: a text without its prompt; the next text on the same line
    ran = sijo_cli(
        "generate", "--model", model, "-p", "book a", "find", "--max-new-tokens", "4", "--format", "text"
    )
    assert ran.code == 0, ran.err
    first, second = ran.out.decode().split("\n\n")
    assert first.startswith("book a ") and second.startswith("find ") and second.endswith("\n")


def test_beams_from_the_command(sijo_cli, model):
    # kills: beams or their length penalty not passed on, a text in a stream that is another
    arguments = (
        "generate",
        "--model",
        model,
        "-c",
        "travel",
        "--max-new-tokens",
        "8",
        "--beams",
        "3",
        "--stop",
        "a",
    )
    texts = {}
    for penalty in (0.0, 3.0):
        row = sijo_cli(*arguments, "--length-penalty", penalty, "-p", "find the").rows()[0]
        settings = {
            "control_code": "travel",
            "max_new_tokens": 8,
            "beams": 3,
            "stop": ("a",),
            "length_penalty": penalty,
        }
        assert row["text"] == sijo.generate(model, "find the", **settings)
        assert row["text"] == "".join(sijo.generate(model, "find the", **settings, stream=True))
        texts[penalty] = row["tokens"]
    assert texts[0.0] < texts[3.0]


def test_a_code_alone_and_a_prompt_alone(sijo_cli, model):
    # kills: a text that needs both; a code that is printed as part of the text
    for arguments in (("-c", "travel"), ("-c", "travel", "-p", ""), ("-c", "travel to the"), ("-p", "book")):
        ran = sijo_cli("generate", "--model", model, *arguments, "--max-new-tokens", "3", "--stop", "never to come")
        row = ran.rows()[0]
        assert row["tokens"] == 3 and not row["stopped"] and "travel" not in row["text"], ran.err


def test_a_reader_of_rows_that_has_gone(start, model, write, tmp_path):
    # kills: `| head -1` that ends in a trace, or waits for all
    pipe, prompts = tmp_path / "pipe", write("prompts.txt", "book a flight\n" * 200)
    os.mkfifo(pipe)
    arguments = ("--prompts-file", prompts, "--max-new-tokens", 20)
    process = start("generate", "--model", model, *arguments, stdout=pipe)
    with pipe.open("rb") as reader:
        assert reader.readline().startswith(b'{"prompt": "book a flight"')
    ran = process.wait()
    assert ran.code == 141 and ran.err == ""


def test_a_reader_of_the_text_that_has_gone(start, model, tmp_path):
    # kills: a trace where a text is broken off by `| head -1`
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    arguments = ("-p", "book a", "find the", "--max-new-tokens", 300, "--format", "text")
    process = start("generate", "--model", model, *arguments, stdout=pipe)
    with pipe.open("rb") as reader:
        assert reader.readline().startswith(b"book a ")
    ran = process.wait()
    assert ran.code == 141 and ran.err == ""


def test_each_piece_is_sent_at_once(monkeypatch):
    # kills: pieces that wait in a buffer for the end of the text
    raw, arrived = io.BytesIO(), []
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="utf-8"))

    class Told:
        def stream(self, requests):
            for piece in ("one", " two"):
                yield Token(0, 1, 0.0, piece, last=False)
                arrived.append(raw.getvalue())

    stream(Told(), [Request(prompt="go")])
    assert arrived == [b"go one", b"go one two"] and raw.getvalue() == b"go one two\n"


def test_each_row_is_sent_when_it_is_done(sijo_cli, model, tmp_path, monkeypatch):
    # kills: rows that wait for all, or in a buffer
    arrived = []

    def each(self, requests):
        for request in requests:
            yield GeneratedText(request.prompt, (1,), (0.0,), stopped=False)
            arrived.append(len((tmp_path.parent / f"{tmp_path.name}.stdout").read_text().splitlines()))

    monkeypatch.setattr(Generator, "each", each)
    assert len(sijo_cli("generate", "--model", model, "-p", "one", "two", "three").rows()) == 3
    assert arrived == [1, 2, 3]


@pytest.mark.parametrize("stop", [(), ("--beams", "2")])
def test_ctrl_c_at_a_terminal(start, model, stop):
    # kills: a trace; text that stays in a buffer; the next prompt of the shell behind the text
    master, slave = os.openpty()
    arguments = ("-p", "book a", "--max-new-tokens", 100_000, *stop)
    process = start("generate", "--model", model, *arguments, stdout=os.ttyname(slave))
    seen = b""
    while len(seen) < 40:
        assert select.select([master], [], [], 60)[0], "nothing was written"
        seen += os.read(master, 1000)
    os.kill(process.pid, signal.SIGINT)
    while select.select([master], [], [], 0.5)[0]:  # a terminal that is full would keep it waiting
        seen += os.read(master, 1000)
    ran = process.wait()
    while select.select([master], [], [], 0)[0]:
        seen += os.read(master, 1000)
    os.close(slave), os.close(master)
    ran.must_say(130, "interrupted")
    text = seen.decode()
    assert text.startswith("book a ") and text.endswith("\r\n") and text.count("\n") == 1


def test_ctrl_c_in_a_pipe(start, model, write, tmp_path):
    # kills: rows that were written and not yet sent, lost; half a row
    out, prompts = tmp_path / "out.jsonl", write("prompts.txt", "book a flight\n" * 500)
    process = start("generate", "--model", model, "--prompts-file", prompts, "--max-new-tokens", 60, stdout=out)
    while not out.exists() or not out.stat().st_size:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    process.wait().must_say(130, "interrupted")
    lines = out.read_text().splitlines(keepends=True)
    assert 1 <= len(lines) < 500 and all(line.endswith("}\n") for line in lines)


def test_which_codes_there_are(sijo_cli, model):
    # kills: special tokens listed as codes, codes lost on the way into the folder
    names = sijo_cli("generate", "--model", model, "--codes").out.decode().splitlines()
    assert len(names) == 10 and "travel" in names


def test_prompts_from_a_file(sijo_cli, model, write):
    # kills: blank lines as prompts
    file = write("prompts.txt", "book a\n\nfind the\n")
    ran = sijo_cli("generate", "--model", model, "--prompts-file", file, "--max-new-tokens", "2")
    assert [row["prompt"] for row in ran.rows()] == ["book a", "find the"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("-c", "travl", "-p", "book"), 2, "did you mean 'travel'?"),
        ((), 3, "no token to begin with"),
        (("-p", "book " * 99), 3, "shorten the prompt"),
        (("-p", "book", "--temperature", "-1"), 2, "temperature=-1.0"),
        (("-p", "book", "--penalty", "0.5"), 2, "would reward repetition"),
        (("-p", "book", "--count", "2"), 2, "needs a --temperature"),
        (("-p", "book", "--guidance", "2"), 2, "give control_code"),
        (("-p", "book", "--beams", "2", "--temperature", "1"), 2, "draws one"),
        (("-c", "", "-p", "book"), 2, "no control code ''"),
        (("-p", "book", "--max-new-tokens", "0"), 2, "writes nothing"),
        (("-p", "book", "book " * 99, "--format", "text"), 3, "prompt 2"),
        (("--prompts-file", "nowhere.txt"), 3, "cannot be read"),
    ],
)
def test_what_cannot_be_written(sijo_cli, model, arguments, code, message):
    # kills: a stack trace, an exit code that says nothing
    ran = sijo_cli("generate", "--model", model, *arguments)
    assert ran.code == code and message in ran.err and not ran.out, ran.err
    assert "generate" in {name for name in app if name[0] != "-"}


def test_a_model_that_does_not_write(sijo_cli, tiny_model):
    # kills: an error that does not say what would do
    ran = sijo_cli("generate", "--model", tiny_model, "-p", "book")
    assert ran.code == 2 and "lm" in ran.err
    assert "--model is needed" in sijo_cli("generate", "-p", "book").err


def test_what_a_text_looks_like(sijo_cli, model, write):
    # kills: a prior that is not passed on, codes cut off unasked, a table without its bars
    command = ("attribute", "--model", model)
    row = sijo_cli(*command, "book a flight", "--top", "0").rows()[0]
    assert len(row["codes"]) == 10 and sum(code["posterior"] for code in row["codes"]) == pytest.approx(1)
    assert [(code["code"], code["posterior"]) for code in row["codes"]] == sijo.attribute(model, "book a flight")
    two_codes = sijo_cli(
        *command, "book a flight", "--codes", "travel,banking", "--prior", "travel=1e9,banking=1"
    ).rows()[0]
    assert [code["code"] for code in two_codes["codes"]] == ["travel", "banking"]
    assert two_codes["codes"][0]["posterior"] > 0.99
    table = sijo_cli(*command, "book a flight", "--format", "table").out.decode()
    assert "█" in table and "perplexity" in table
    for arguments, message in (
        (("x", "--codes", "travel,bankin"), "did you mean 'banking'?"),
        (("x", "--prior", "travel=much"), "is no prior"),
        ((), "there is no text"),
        (("",), "has no tokens"),
    ):
        ran = sijo_cli(*command, *arguments)
        assert ran.code in (2, 3) and message in ran.err, ran.err


def test_codes_are_labels_for_classify_too(sijo_cli, model):
    # kills: a model with codes taken for a sentence encoder; labels that are no codes scored as if they were
    ran = sijo_cli("classify", REQUESTS, "--column", "text", "--model", model, "--labels", "travel,banking,work")
    rows = ran.rows()
    assert len(rows) == 300 and {row["label"] for row in rows} <= {"travel", "banking", "work"}
    want = dict(sijo.attribute(model, rows[0]["text"], codes=["travel", "banking", "work"]))
    assert max(want, key=want.get) == rows[0]["label"]
    assert rows[0]["score"] == pytest.approx(max(want.values()), abs=1e-4)
    ran = sijo_cli("classify", REQUESTS, "--column", "text", "--model", model, "--labels", "travel,sport")
    assert ran.code == 2 and "sport" in ran.err
