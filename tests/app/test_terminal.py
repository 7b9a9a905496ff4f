"""Everything a stranger may write, through every command, at a terminal: what it obeys never reaches it."""

import ast
import json
import os
import signal
import sys
import threading
import tty
import warnings
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save_file

import sijo
from generation.test_generator import pair, tokenizer  # noqa: F401
from sijo.app import cli, results
from sijo.app.progress import RunProgress
from sijo.app.results import print_json, print_line, print_shown, print_table, print_text, tell
from sijo.app.training import finetune
from sijo.errors import SijoError, SijoWarning, warn
from sijo.evaluation.tables import table
from sijo.evaluation.zero_shot import evaluate
from sijo.generation.generator import Generator
from sijo.generation.rules import GeneratedText, Token
from sijo.texts import STEERING

PAYLOAD = "a\x1b]0;x\x07\x9b31m\x08\x7f\u202e\u2028[red]b[/red][link=http://x]c[/link]:smile:"
"""A title for the window, a colour without ESC, letters taken back, others turned round, and Rich's own marks."""
NAME = PAYLOAD.replace("/", "")
"""The same as a file may be called."""
PACKAGE = Path(sijo.__file__).parent


class Seen(NamedTuple):
    """What stood on the terminal in the end."""

    code: int | None
    text: str

    def harmless(self, *words):
        """Check that nothing in it steers, and that the words stand in it as they are."""
        steering = {letter for letter in STEERING.findall(self.text) if letter not in "\n\t"}
        assert not steering and "😄" not in self.text, (steering, self.text)
        for word in words:
            assert word in " ".join(self.text.split()), (word, self.text)


@pytest.fixture
def terminal(monkeypatch):
    """`terminal(call)` runs something whose two outputs are one raw terminal; gives a `Seen`."""

    def at(call):
        earlier = signal.getsignal(signal.SIGTERM)
        master, slave = os.openpty()
        tty.setraw(slave)  # so that \n stays what it is
        seen = bytearray()

        def read():
            try:
                while piece := os.read(master, 65_536):
                    seen.extend(piece)
            except OSError:  # the other end is closed
                pass

        reader = threading.Thread(target=read)
        reader.start()
        out, err = (os.fdopen(os.dup(slave), "w", encoding="utf-8", errors=how) for how in ("strict", "replace"))
        with monkeypatch.context() as patch, out, err:
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            patch.setenv("TERM", "dumb")
            patch.setenv("COLUMNS", "400")
            patch.setenv("LINES", "50")  # without it Rich takes a dumb terminal for 80 columns wide
            try:
                code = call()
            finally:
                signal.signal(signal.SIGTERM, earlier)
        os.close(slave)
        reader.join()
        os.close(master)
        return Seen(code, seen.decode())

    return at


@pytest.fixture
def run(terminal):
    """`run(*arguments)` runs a command at a terminal."""
    return lambda *arguments: terminal(lambda: cli.run([str(argument) for argument in arguments]))


LABELS = f'sea,"{PAYLOAD}"'


@pytest.fixture
def table_of(write):
    """Files of texts whose words, and other columns, are hostile."""
    other = f"c{PAYLOAD}"
    rows = [{"text": f"the sea {PAYLOAD}", other: PAYLOAD}, {"text": "rain", other: "x"}]
    lines = (rows[0], *(row.values() for row in rows))
    as_csv = "\r\n".join(",".join(f'"{value}"' for value in line) for line in lines)
    return {
        "csv": write(f"{NAME}.csv", as_csv + "\r\n"),
        "jsonl": write(f"{NAME}.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)),
        "txt": write(f"{NAME}.txt", f"the sea {PAYLOAD}\nrain\n"),
    }


@pytest.mark.parametrize("kind", ["csv", "jsonl", "txt"])
@pytest.mark.parametrize("format", ["table", "jsonl", "csv"])
def test_classify(run, table_of, tiny_model, kind, format):
    # kills: texts, labels, column names or raw records that reach the terminal
    seen = run(
        "classify",
        table_of[kind],
        "--labels",
        LABELS,
        "--model",
        tiny_model,
        "--format",
        format,
        "--column",
        "text",
    )
    assert seen.code == 0, seen.text
    seen.harmless("[red]b[/red]", ":smile:")


def test_classify_to_a_file_and_its_refusals(run, table_of, tiny_model, tmp_path):
    # kills: names of files, columns and labels in summaries and errors
    some = ("--labels", LABELS, "--model", tiny_model, "--column", "text")
    out = tmp_path / f"o{NAME}.csv"
    for arguments, code in (
        ((table_of["csv"], *some, "-o", out), 0),
        ((table_of["csv"], *some, "-o", out), 2),
        ((tmp_path / f"none{NAME}.csv", *some), 2),
        ((table_of["csv"], "--labels", LABELS, "--model", tiny_model, "--column", PAYLOAD), 2),
        ((table_of["csv"], "--labels", f'"{PAYLOAD}","{PAYLOAD}"', "--model", tiny_model, "--column", "text"), 2),
        ((table_of["csv"], *some, "--none-label", PAYLOAD), 2),
        ((table_of["csv"], *some, "--hypothesis-template", PAYLOAD), 2),
        ((table_of["csv"], *some, "--scorer", PAYLOAD), 2),
        ((table_of["csv"], *some, "--entailment-column", PAYLOAD), 2),
        ((table_of["csv"], *some, "--threshold", PAYLOAD), 2),
        ((table_of["csv"], *some, "--cache", table_of["txt"]), 2),
        ((table_of["csv"], "--labels", LABELS, "--model", tmp_path / NAME), 2),
        ((table_of["jsonl"], "--labels-file", tmp_path / f"{NAME}.txt.gz", "--model", tiny_model), 2),
        ((table_of["txt"], "--labels", "sea", "--delimiter", PAYLOAD), 2),
        ((table_of["jsonl"], "--labels-column", "text", "--model", tiny_model, "--column", "text"), None),
    ):
        seen = run("classify", *arguments)
        assert code in (None, seen.code) and seen.code != 1, (arguments, seen)
        seen.harmless()


@pytest.mark.parametrize("labels", [2, 20])
def test_evaluate(run, write, tiny_model, labels):
    # kills: labels in the table of classes, in the matrix, and among the commonest confusions
    names = [f"{PAYLOAD} {letter}" for letter in "abcdefghijklmnopqrst"[:labels]]  # which the model tells apart
    data = write("data.csv", "text,label\r\n" + "".join(f'the sea,"{name}"\r\n' for name in names))
    seen = run("evaluate", "--data", data, "--model", tiny_model, "--resamples", 100)
    assert seen.code == 0, seen.text
    seen.harmless("[red]b[/red]", ":smile:")
    run("evaluate", "--data", data, "--model", tiny_model, "--labels", "sea,land").harmless("[red]b")
    run("evaluate", "--data", data, "--model", tiny_model, "--label-column", PAYLOAD).harmless("[red]b")
    run("evaluate", "--data", data, "--model", tiny_model, "--plot", f"{PAYLOAD}.gif").harmless(":smile:")


def test_a_table_of_labels_wraps_what_it_escapes(terminal):
    # kills: a label that is cut because its escapes are longer than what was measured
    gold = [PAYLOAD, "b"] * 50
    measured = evaluate(gold, torch.tensor([[0.9, 0.1]] * 100).numpy(), [PAYLOAD, "b"], resamples=100)
    terminal(lambda: print_shown(table(measured))).harmless(
        "\\u202e\\u2028[red]b[/red][link=http://x]c[/link]:smile:"
    )


def test_generate(run, pair, tmp_path, monkeypatch):  # noqa: F811
    # kills: generated text, prompts and codes that reach the terminal; line ends and tabs lost with them
    sijo.save(pair[0], tmp_path / "m")
    piece = f"{PAYLOAD}\nnext\tline\r"

    def stream(self, requests):
        return iter([Token(0, 1, 0.0, piece, last=False), Token(0, 1, 0.0, "end", last=True)])

    def each(self, requests):
        return iter([GeneratedText(piece, (1,), (0.0,), stopped=False) for _ in requests])

    monkeypatch.setattr(Generator, "stream", stream)
    monkeypatch.setattr(Generator, "each", each)
    monkeypatch.setattr("sijo.tokenizers.codes.known_codes", lambda words: [PAYLOAD])
    for arguments in ((), ("--format", "json"), ("--codes",)):
        seen = run("generate", "--model", tmp_path / "m", "-p", PAYLOAD, "--control-code", "sea", *arguments)
        assert seen.code == 0, seen.text
        seen.harmless("[red]b[/red]", ":smile:")
        assert arguments or "\nnext\tline\\u000dend\n" in seen.text


def test_generate_and_attribute_refuse_harmlessly(run, pair, tmp_path, write):  # noqa: F811
    # kills: codes, labels, priors and files named in errors; markup in a title
    sijo.save(pair[0], model := tmp_path / "m")
    for arguments in (
        ("generate", "--model", model, "-c", PAYLOAD),
        ("generate", "--model", model, "--prompts-file", tmp_path / NAME),
        ("generate", "--model", model, "-p", "x", "--temperature", PAYLOAD),
        ("generate", "--model", model, "-p", "x", "--banned", PAYLOAD, "--max-new-tokens", 2),
        ("generate", "--model", model, "-p", "x", "--stop", PAYLOAD, "--max-new-tokens", 2),
        ("generate", "--model", model, "--for-labels", f"{PAYLOAD}={PAYLOAD}", "-o", tmp_path / f"{NAME}.csv"),
        ("generate", "--model", model, "--for-labels", f"{PAYLOAD}.json", "-o", tmp_path / "a.csv"),
        ("generate", "--model", model, "--for-labels", write("l.json", json.dumps({PAYLOAD: 3})), "-o", "a.csv"),
        (
            "generate",
            "--model",
            model,
            "--for-labels",
            f"{PAYLOAD}=sea",
            "-o",
            tmp_path / f"{NAME}.csv",
            "--count",
            1,
        ),
        ("generate", "--model", PAYLOAD),
        ("attribute", "--model", model, f"the sea {PAYLOAD}"),
        ("attribute", "--model", model, f"the sea {PAYLOAD}", "--format", "json"),
        ("attribute", "--model", model, "the sea", "--codes", PAYLOAD),
        ("attribute", "--model", model, "the sea", "--prior", PAYLOAD),
        ("attribute", "--model", model, "the sea", "--prior", f"{PAYLOAD}=1"),
    ):
        seen = run(*arguments)
        assert seen.code != 1, seen
        seen.harmless()


def test_inspect(run, tiny_copy):
    # kills: labels, licence, tensors and file names of a stranger's folder
    folder = tiny_copy.rename(tiny_copy.with_name(NAME))
    weights = load_file(folder / "model.safetensors")
    save_file(weights | {f"x{PAYLOAD}": torch.ones(1)}, folder / "model.safetensors")
    fields = json.loads((folder / "config.json").read_text()) | {"id2label": {"0": PAYLOAD, "1": "b"}}
    (folder / "config.json").write_text(json.dumps(fields))
    (folder / "README.md").write_text(f"---\nlicense: {PAYLOAD}\n---\n")
    (folder / f"{NAME}.txt").touch()
    for format in ("table", "json"):
        seen = run("inspect", folder, "--format", format)
        assert seen.code == 0, seen.text
        seen.harmless("[red]b[/red]")
    (folder / "model.safetensors").unlink()
    run("inspect", folder).harmless("[red]b")
    run("inspect", folder, "--revision", PAYLOAD).harmless("[red]b")


def test_a_model_that_was_trained_on_hostile_labels(run, tiny_model, tmp_path, write):
    # kills: id2label printed raw in answers and in errors
    head = sijo.load(tiny_model, "new:sequence-classification", labels=["sea", PAYLOAD])
    sijo.save(head, tmp_path / "m")
    texts = write("a.txt", "the sea\nrain\n")
    for arguments in ((), ("--all-scores", "--format", "jsonl"), ("--labels", "see,land")):
        run("classify", texts, "--model", tmp_path / "m", *arguments).harmless(*["[red]b"] * (bool(arguments)))


def test_tokenizer(run, write, tmp_path):
    # kills: special tokens, learned tokens and file names
    text = write(f"{NAME}.txt", f"the sea {PAYLOAD} \x1b]0;x\x1b]0;x and land\n" * 50)
    arguments = ("--kind", "bpe", "--vocab-size", 400, "--out", tmp_path / f"o{NAME}")
    for more in (("--special", PAYLOAD), ("--format", "json", "--overwrite"), ()):
        seen = run("tokenizer", "train", text, *arguments, *more)
        assert seen.code != 1, seen
        seen.harmless()
    run("tokenizer", "train", tmp_path / f"no{NAME}.txt", *arguments, "--overwrite").harmless(":smile:")
    run("tokenizer", "cut", text, "--vocab-size", 99, "--model", PAYLOAD, "--out", tmp_path / "c").harmless(
        "[red]b"
    )


def test_training(run, write, tmp_path, terminal):
    # kills: recipes, settings, corpora, columns and metrics
    corpus = write(f"{NAME}.txt", "the sea\n")
    for arguments in (
        ("pretrain", PAYLOAD),
        ("pretrain", f"{PAYLOAD}.json"),
        ("pretrain", "bert-tiny", "--set", PAYLOAD),
        ("pretrain", "bert-tiny", "--set", f"run.{PAYLOAD}=1"),
        ("pretrain", "bert-tiny", "--set", f"run.steps={PAYLOAD}"),
        ("pretrain", "bert-tiny", "--set", f"recipe={PAYLOAD}", "--settings"),
        ("pretrain", "bert-tiny", "--corpus", tmp_path / f"no{NAME}.txt", "--out", tmp_path / f"r{NAME}"),
        ("pretrain", "bert-tiny", "--corpus", corpus, "--tokenizer", PAYLOAD, "--out", tmp_path / "r"),
        ("distill", PAYLOAD),
        ("distill", "--teacher", PAYLOAD),
        ("finetune", "--task", PAYLOAD),
        ("finetune", "--settings", "--teacher", PAYLOAD),
        ("finetune", "--train", corpus, "--out", tmp_path / "f"),
        ("finetune", "--train", tmp_path / f"{NAME}.csv", "--out", tmp_path / "f"),
        ("report", tmp_path / NAME),
        ("report", tmp_path, "--out", f"{PAYLOAD}.txt"),
        ("convert", tmp_path / NAME, tmp_path / "out"),
        ("convert", corpus, tmp_path / "out", "--size", PAYLOAD),
        ("convert", corpus, tmp_path / "out", "--model-type", PAYLOAD),
    ):
        seen = run(*arguments)
        assert seen.code != 1, seen
        seen.harmless()
    metric = {"value": 0.5, "low": 0.4, "high": None}
    results_of = {"metrics": {PAYLOAD: metric}, "metric": PAYLOAD, "evaluation_rows": 3, "best_step": 4, "seed": 0}
    write("results.json", json.dumps(results_of | {"macro_f1_over": PAYLOAD}))
    for format in ("table", "json"):
        terminal(lambda format=format: finetune.show_results(tmp_path, format)).harmless("[red]b[/red]")


def test_a_report(run, tmp_path):
    # kills: the path of a report; a title or a setting that turns a page's letters round
    folder = tmp_path / f"r{NAME}"
    folder.mkdir()
    (folder / "settings.json").write_text(json.dumps({"recipe": PAYLOAD}))
    (folder / "metrics.jsonl").write_text(json.dumps({"step": 1, PAYLOAD: 0.5, "loss": 1.0}) + "\n")
    seen = run("report", folder)
    assert seen.code == 0, seen.text
    seen.harmless("report.html", "[red]b")
    page = (folder / "report.html").read_text()
    assert not {*STEERING.findall(page)} - {"\n", "\t"}


@pytest.mark.parametrize("command", [name for name in cli.app if not name.startswith("-")])
def test_what_no_command_knows(run, command):
    # kills: an option, a value or a command that is echoed raw
    for arguments in ((f"--{PAYLOAD}", "x"), (f"--{PAYLOAD}=x",), (PAYLOAD, PAYLOAD, PAYLOAD, PAYLOAD)):
        seen = run(command, *arguments)
        assert seen.code not in (0, 1), seen
        seen.harmless()
    run(f"{command}{PAYLOAD}").harmless("[red]b")


@pytest.mark.parametrize(
    "error",
    [
        SijoError(PAYLOAD),
        SijoWarning(PAYLOAD),
        RuntimeError(PAYLOAD),
        OSError(5, PAYLOAD, PAYLOAD),
        KeyError(PAYLOAD),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, PAYLOAD),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_and_warnings(run, monkeypatch, error):
    # kills: an error of a library, or a whole story, told raw
    def fails(*_, **__):
        warn(f"warning {PAYLOAD}")
        warnings.warn(f"theirs {PAYLOAD}", UserWarning, stacklevel=1)
        raise error

    monkeypatch.setattr("sijo.app.inspect.print_shown", fails)
    run("inspect").harmless("warning: warning a", "theirs a", "[red]b")
    run("inspect", "--strict").harmless("warning a", "strict")
    with pytest.raises(type(error)):
        cli.run(["inspect", "--debug", "--format", "table"])


def test_the_whole_story_is_escaped(terminal):
    # kills: --debug, whose trace Python itself would print raw
    try:
        raise SijoError(PAYLOAD)
    except SijoError as error:
        story = (type(error), error, error.__traceback__)
    terminal(lambda: results.tell_story(*story)).harmless("Traceback", "SijoError: a\\u001b]0;x\\u0007")


def test_progress(terminal):
    # kills: words of a corpus above a bar or in a log
    def follow():
        with RunProgress() as progress:
            progress.say(PAYLOAD)
            progress._last_line = -1e9
            progress._show(PAYLOAD, 0.5)

    terminal(follow).harmless("[red]b[/red]")


def test_the_printer(terminal, capsysbinary):
    # kills: data in a pipe that is changed; at a terminal any way round the escapes
    def show():
        print_table((PAYLOAD,), [(PAYLOAD,)], title=PAYLOAD, note=PAYLOAD)
        print_shown(PAYLOAD)
        print_line(PAYLOAD)
        print_text(PAYLOAD)
        print_json({PAYLOAD: PAYLOAD})
        results.rows_out().write(PAYLOAD.encode())
        tell(PAYLOAD)

    seen = terminal(show)
    seen.harmless("\\u202e\\u2028[red]b[/red][link=http://x]c[/link]:smile:")
    assert seen.text.count(":smile:") == 11
    print_line(f"{PAYLOAD}\udcff")
    print_text(PAYLOAD)
    results.rows_out().write(b"\xff\x1b")
    print_json({"a": f"{PAYLOAD}\ud800"})
    out, _ = capsysbinary.readouterr()
    exact = PAYLOAD.encode()
    assert out.startswith(exact + b"\xff\n" + exact + b"\xff\x1b")
    last = out.removeprefix(exact + b"\xff\n" + exact + b"\xff\x1b").decode()
    assert json.loads(last) == {"a": f"{PAYLOAD}\ud800"} and not {*STEERING.findall(last)} - {"\n"}


def test_there_is_one_printer():
    # kills: a print, a console or a handle of an output beside the one that escapes
    others = []
    for path in PACKAGE.rglob("*.py"):
        if path == PACKAGE / "app" / "results.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Name(id="print" | "pprint" | "Console" | "input")):
                    others.append((path.name, node.lineno))
                case ast.Call(func=ast.Attribute(attr="print" | "print_exc" | "print_json" | "Console")):
                    others.append((path.name, node.lineno))
                case ast.Attribute(
                    attr="write" | "writelines" | "buffer", value=ast.Attribute(attr="stdout" | "stderr")
                ):
                    others.append((path.name, node.lineno))
    progress = [place for place in others if place[0] == "progress.py"]  # above a bar, by the console that escapes
    assert len(progress) == 1 and others == progress


def test_what_may_stay(terminal):
    # kills: letters, marks and emoji spoiled for safety's sake
    sound = "시조 e\u0301 中文 עברית 👨‍👩‍👧 می‌خواهم"
    terminal(lambda: print_shown(sound)).harmless(sound)
