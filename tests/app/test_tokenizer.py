"""`sijo tokenizer train`: raw text in files and pipes becomes a folder, whole or not at all, and a report."""

import gzip
import inspect
import json
import subprocess
import sys
from dataclasses import fields
from typing import get_args, get_type_hints

import pytest

from sijo.app.training.tokenizer import TrainSettings
from sijo.models import tokenizer_styles
from sijo.tokenizers.style import Kind
from sijo.tokenizers.tokenizer import Tokenizer
from sijo.tokenizers.train import train_tokenizer

POEM = "the sea is old and the rain is new\nwe cook bread in the rain\n\nthe old sea\n" * 40


def train(*more, kind="wordpiece", size=90, out="words"):
    return ["tokenizer", "train", "--kind", kind, "--vocab-size", size, "--out", out, *more]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def opened(folder):
    return Tokenizer.load(folder / "tokenizer.json", max_length=512)


def test_files_become_a_folder_and_a_report(sijo_cli, tmp_path):
    # kills: one of the files skipped; a report that is not the one in the folder; max_length or a code lost
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "poem.txt").write_text(POEM)
    (tmp_path / "corpus" / "more.csv.gz").write_bytes(gzip.compress(b"body,n\n" + b"an oar of the sea,1\n" * 40))
    ran = sijo_cli(*train("corpus", "--column", "body", "--special", "<a>", "--special", "<b>", "--max-length", 64))
    assert ran.code == 0, ran.err
    (report,) = ran.rows()
    assert report.pop("folder") == "words"
    assert report == json.loads((tmp_path / "words" / "report.json").read_text())
    assert report["texts"] == 160 and report["family"] == "bert" and report["vocab_size_asked"] == 90
    tokenizer = opened(tmp_path / "words")
    assert tokenizer.vocab_size == report["vocab_size"] and tokenizer.id("oar") and tokenizer.id("bread")
    assert tokenizer.special_ids[-2:] == (tokenizer.vocab_size - 2, tokenizer.vocab_size - 1)
    config = json.loads((tmp_path / "words" / "tokenizer_config.json").read_text())
    assert config["model_max_length"] == 64 and (tmp_path / "words" / "manifest.json").is_file()


def test_a_pipe_gives_the_same_bytes_as_a_file(sijo_cli, write, tmp_path):
    # kills: "-" taken for a file; a pipe of JSON Lines read as text; a family, a case or a seed not passed on
    records = "".join(json.dumps({"text": f"{line} Sea"}) + "\n" for line in POEM.splitlines())
    options = ("--family", "deberta-v3", "--seed", 2, "--characters", 100_000)
    assert sijo_cli(*train(write("poem.jsonl", records), *options, kind="unigram", size=400)).code == 0
    piped = train("--input-format", "jsonl", *options, "-", kind="unigram", size=400, out="piped")
    ran = sijo_cli(*piped, stdin=records.encode())
    assert ran.code == 0, ran.err
    for name in ("tokenizer.json", "tokenizer_config.json", "report.json", "manifest.json"):
        assert (tmp_path / "piped" / name).read_bytes() == (tmp_path / "words" / name).read_bytes()
    assert opened(tmp_path / "piped").id("▁Sea") and ran.rows()[0]["seed"] == 2
    assert sijo_cli(*train("--cased", "-", out="cased"), stdin=b"Sea Sea\n" * 9).code == 0
    assert opened(tmp_path / "cased").id("Sea")


def test_a_short_text_is_told(sijo_cli, write):
    # kills: fewer tokens than asked for without a word; the word on standard output
    ran = sijo_cli(*train(write("poem.txt", POEM), kind="bpe", size=5000))
    assert ran.code == 0 and len(ran.rows()) == 1
    assert f"5,000 tokens were asked for, and the text holds only {ran.rows()[0]['vocab_size']:,}" in ran.err
    assert sijo_cli(*train("poem.txt", "--quiet", kind="bpe", size=5000, out="quiet")).err == ""


def test_a_person_sees_a_table(sijo_cli, write):
    # kills: a table that asks the report for a name it has not; markup in a token that rich obeys
    file = write("poem.txt", "[red] " * 99 + POEM)
    ran = sijo_cli(*train(file, "--family", "ctrl", "--format", "table", kind="bpe", size=150))
    assert ran.code == 0, ran.err
    printed = " ".join(ran.out.decode().split())
    for words in ("of 150 asked for, ctrl's bpe", "tokens a word", "characters of text held back", "[red]"):
        assert words in printed


def test_a_tokenizer_that_is_there_is_replaced_only_when_asked(sijo_cli, refused, write, tmp_path):
    # kills: an overwrite nobody asked for; a folder of something else replaced
    write("poem.txt", POEM)
    assert sijo_cli(*train("poem.txt")).code == 0
    refused(2, "exists already", *train("poem.txt", size=50))
    assert sijo_cli(*train("poem.txt", "--overwrite", size=50)).code == 0
    assert opened(tmp_path / "words").vocab_size == 50
    (tmp_path / "novel").mkdir()
    (tmp_path / "novel" / "chapter.txt").write_text("one")
    refused(2, "holds other things than a model", *train("poem.txt", "--overwrite", out="novel"))


@pytest.mark.parametrize(
    "code, words, arguments",
    [
        (2, "name the files", train()),
        (2, "no file, folder or files of a pattern 'pome.txt'; did you mean 'poem.txt'", train("pome.txt")),
        (2, ['"foo" for --kind', "unigram"], train("poem.txt", kind="foo")),
        (2, "parameter --vocab-size requires", ["tokenizer", "train", "poem.txt", "--kind", "bpe", "--out", "o"]),
        (2, "of 12 has no room for the text's", train("poem.txt", size=12)),
        (2, "of bert are of the kind wordpiece, not bpe", train("poem.txt", "--family", "bert", kind="bpe")),
        (2, "Unknown option: --famly. Did you mean --family?", train("poem.txt", "--famly", "bert")),
        (2, "no column 'body'", train("rows.csv", "--column", "body")),
        (3, "blank.txt", train("blank.txt")),
        (3, "there is no text to learn", train("spaces.txt")),
        (3, "broken.jsonl, line 3", train("poem.txt", "broken.jsonl")),
    ],
)
def test_what_cannot_be_leaves_nothing(code, words, arguments, refused, write):
    # kills: a trace; another exit code; a folder half made; a fault found after the first of two files was read
    write("poem.txt", POEM)
    write("rows.csv", "text,n\na,1\n")
    write("blank.txt", "")
    write("spaces.txt", " \n\n")
    write("broken.jsonl", '{"text": "a"}\n{"text": "b"}\n{"text"\n')
    refused(code, words, *arguments)


def test_the_command_offers_what_the_library_has():
    # kills: a family, a kind or another budget in the library alone; the command repeats them to start fast
    hints = get_type_hints(TrainSettings)
    families, _ = get_args(hints["family"])
    assert get_args(families) == tuple(tokenizer_styles()) and get_args(hints["kind"]) == get_args(Kind)
    defaults = {field.name: field.default for field in fields(TrainSettings)}
    library = inspect.signature(train_tokenizer).parameters
    assert all(defaults[name] == library[name].default for name in ("characters", "seed", "max_length", "cased"))


def test_a_vocabulary_is_cut(sijo_cli, write, tmp_path, minilm):
    # kills: another model's vocabulary, a column that is not read, a report that is not the folder's, no manifest
    write("poem.csv", "body,n\n" + "the old sea and the rain,1\n" * 9)
    whose = ["--model", "all-minilm-l6-v2", "--vocab-size", 150]
    ran = sijo_cli("tokenizer", "cut", *whose, "--out", "few", "--column", "body", "poem.csv")
    assert ran.code == 0, ran.err
    (report,) = ran.rows()
    assert report.pop("folder") == "few"
    assert report == json.loads((tmp_path / "few" / "report.json").read_text())
    lost = report.pop("letters_lost")
    assert report == {
        "vocab_size": 150,
        "vocab_size_before": 30522,
        "texts": 9,
        "texts_unchanged": 1.0,
        "tokens": 54,
        "covered": 1.0,
    }
    assert (
        lost["hangul"] == 35
        and f"warning: letters and signs that no token holds any more become unknown, {sum(lost.values())} in all"
        in ran.err
    )
    few = opened(tmp_path / "few")
    assert few.vocab_size == 150 and few.id("rain") and few.id("rain") == few.ids(["rain"])[0][0]
    assert (tmp_path / "few" / "manifest.json").is_file()
    ran = sijo_cli("tokenizer", "cut", "--vocab-size", 9, "--out", "less", "--column", "body", "poem.csv")
    assert ran.code == 2 and "have to stay" in ran.err and not (tmp_path / "less").exists()


def test_a_model_is_cut_with_its_tokenizer(sijo_cli, write, tiny_copy, tmp_path):
    # kills: a model that is not written, or with other rows; a prompt that is spelled anew; a script that is not
    # passed on; a report that is left out
    import sijo

    prompts = {"prompts": {"query": "money: "}, "default_prompt_name": "query"}
    (tiny_copy / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    texts = ["the old sea", "a game of ball", "bread"]
    options = ("--model", tiny_copy, "--vocab-size", 84, "--with-model", "--script", "latin", "--out", "few")
    ran = sijo_cli("tokenizer", "cut", *options, write("poem.txt", "\n".join(texts)))
    assert ran.code == 0, ran.err
    assert ran.rows() == [{"folder": "few"} | json.loads((tmp_path / "few" / "report.json").read_text())]
    assert ran.rows()[0]["texts_unchanged"] == 1 and ran.rows()[0]["vocab_size"] == 84
    few = sijo.load("few")
    assert few.tokenizer.vocab_size == few.architecture.vocab_size == 84 and few.tokenizer.id("money") is not None
    assert few.tokenizer.id("team") is None and few.sentence.default_prompt == "query"
    assert abs(sijo.encode("few", texts) - sijo.encode(tiny_copy, texts)).max() < 1e-6
    ran = sijo_cli("tokenizer", "cut", *options[:-1], "less", "--script", "hangul", "poem.txt")
    assert ran.code == 2 and "script 'hangul'" in ran.err and not (tmp_path / "less").exists()


def test_heads_go_along(sijo_cli, write, blanks):
    # kills: an encoder alone where the folder holds a head
    import sijo

    options = ("--model", blanks("bert", "mlm"), "--vocab-size", 84, "--with-model", "--out", "few")
    assert sijo_cli("tokenizer", "cut", *options, write("poem.txt", "the old sea\n")).code == 0
    assert sijo.load("few").heads == ("mlm",) and sijo.load("few", "mlm").head["mlm"].bias.shape == (84,)


def test_texts_are_counted_as_the_model_reads_them(sijo_cli, write, tiny_copy, tmp_path):
    # kills: capitals counted for a model whose texts are put in lower case before its tokenizer sees them
    settings = json.loads((tiny_copy / "tokenizer.json").read_text())
    settings["normalizer"]["lowercase"] = False
    (tiny_copy / "tokenizer.json").write_text(json.dumps(settings))
    (tiny_copy / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 32, "do_lower_case": True}))
    options = ("--model", tiny_copy, "--vocab-size", 80, "--out", "few")
    ran = sijo_cli("tokenizer", "cut", *options, write("poem.txt", "THE GAME\n" * 3))
    assert ran.code == 0, ran.err
    assert opened(tmp_path / "few").id("game") is not None and not (tmp_path / "few" / "config.json").exists()


def test_help_waits_for_no_torch():
    # kills: a heavy import on the way to the names of families
    code = (
        "import sys; from sijo.app.cli import run; run(['tokenizer', 'train', '--help'])\n"
        "print([name for name in ('torch', 'numpy', 'tokenizers', 'pyarrow') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "[]" and "deberta-v3" in ran.stdout
