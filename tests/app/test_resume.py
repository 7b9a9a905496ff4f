"""`--resume` on an output that is finished, and `--no-header`, from a person's side. Each test names its fault."""

import gzip
import shutil

import pytest

LABELS = ("--labels", "sea,land")
ROWS = "id,text,own\n1,the old sea,sea;rain\n2,rain and sun,sun;rain\n"


@pytest.fixture
def made(sijo_cli, tiny_model, write, tmp_path):
    """The arguments of a run, whose output is finished."""
    source, output = write("in.csv", ROWS), tmp_path / "out.csv"
    arguments = ["classify", source, *LABELS, "--model", tiny_model, "--output", output]
    ran = sijo_cli(*arguments)
    assert ran.code == 0, ran.err
    return arguments


def test_the_same_run_is_complete_already(made, sijo_cli, tmp_path, write):
    # kills: work done again, an identity that knows the way the rows came or what is only shown
    before = (tmp_path / "out.csv").read_bytes()
    for more in ((), ("--quiet",), ("--column", "text"), ("--input-format", "csv"), ("--delimiter", ",")):
        ran = sijo_cli(*made, "--resume", *more)
        assert ran.code == 0 and ran.out == b"", ran.err
        assert ("complete already" in ran.err) != ("--quiet" in more)
    ran = sijo_cli("classify", "-", *made[2:], "--resume", stdin=ROWS.encode())
    assert ran.code == 0 and "complete already" in ran.err, ran.err
    packed = write("packed.csv.gz", gzip.compress(ROWS.encode()))
    assert sijo_cli("classify", packed, *made[2:], "--resume").code == 0
    assert (tmp_path / "out.csv").read_bytes() == before


@pytest.mark.parametrize(
    "named, more",
    [
        ("labels", ("--labels", "land,sea")),
        ("labels", ("--labels", "sea,land,rain")),
        ("labels", ("--labels", "Sea,land")),
        ("column", ("--column", "own")),
        ("threshold", ("--threshold", "0.6")),
        ("multi_label", ("--multi-label",)),
        ("temperature", ("--temperature", "0.5")),
        ("hypothesis_template", ("--hypothesis-template", "Of {}.")),
        ("none_label", ("--none-label", "other")),
        ("all_scores", ("--all-scores",)),
        ("long_text", ("--long-text", "truncate")),
        ("precision", ("--precision", "bf16")),
        ("input format", ("--input-format", "text")),
        ("column", ("--no-header", "--column", "2")),
    ],
)
def test_other_settings_are_refused_by_name(made, refused, named, more):
    # kills: "complete already" after a setting was changed that decides the answers
    arguments = list(made)
    if more[0] == "--labels":
        del arguments[2:4]
    refused(2, [f"was made with {named}: ", "--overwrite makes it anew"], *arguments, "--resume", *more)


def test_other_labels_of_each_row_and_descriptions_are_refused(sijo_cli, refused, write, tiny_model, tmp_path):
    # kills: an identity that holds the labels' names alone, or the name of their column alone
    labels = write("labels.csv", "label,description\nsea,water\nland,earth\n")
    source, output = write("in.csv", ROWS), tmp_path / "out.csv"
    run = ["classify", source, "--labels-file", labels, "--model", tiny_model, "-o", output, "--resume"]
    assert sijo_cli(*run).code == 0
    write("labels.csv", "label,description\nsea,salt\nland,earth\n")
    refused(2, "was made with labels: ", *run)

    rows = '{"text": "a", "own": ["sea", "land"]}\n'
    source, output = write("in.jsonl", rows), tmp_path / "own.csv"
    run = ["classify", source, "--labels-column", "own", "--model", tiny_model, "-o", output, "--resume"]
    assert sijo_cli(*run).code == 0
    write("in.jsonl", rows.replace("land", "rain"))
    refused(3, "the input has changed", *run)


def test_another_model_in_the_same_folder_is_refused(made, sijo_cli, refused, tiny_copy, tmp_path):
    # kills: a model known by its path
    arguments = [tiny_copy if place == made.index("--model") + 1 else word for place, word in enumerate(made)]
    assert sijo_cli(*arguments, "--resume").code == 0  # a copy of it is the same model
    config = tiny_copy / "config.json"
    config.write_text(config.read_text().replace('"gelu"', '"relu"'))
    refused(2, "was made with model: ", *arguments, "--resume")


def test_another_sijo_is_refused(made, refused, monkeypatch):
    # kills: answers of two versions taken for each other
    monkeypatch.setattr("sijo.app.classify.__version__", "9.9.9")
    refused(2, 'was made with sijo: "', *made, "--resume")


@pytest.mark.parametrize(
    "rows",
    [
        ROWS + "3,the land,sea;land\n",
        ROWS.replace("2,rain and sun,sun;rain\n", ""),
        "id,text,own\n2,rain and sun,sun;rain\n1,the old sea,sea;rain\n",
        ROWS.replace("sun;rain", "sun;sea"),
        ROWS.replace("old", "new"),
    ],
    ids=["appended", "removed", "reordered", "another column", "a word"],
)
def test_another_input_is_refused(made, refused, write, rows):
    # kills: "complete already" though the input has changed
    write("in.csv", rows)
    refused(3, ["the input has changed", "--overwrite"], *made, "--resume")
    refused(3, ["the input has changed"], "classify", "-", *made[2:], "--resume", stdin=rows.encode())


def test_an_output_of_somebody_else_is_refused(made, refused, sijo_cli, tmp_path):
    # kills: `echo garbage > g.csv; sijo classify in.csv -o g.csv --resume` that ends well
    output = tmp_path / "out.csv"
    kept = output.read_bytes()
    for content in (b"garbage\n", kept[:-5], kept.replace(b"sea", b"land", 1), b""):
        output.write_bytes(content)
        refused(2, ["has been changed since it was made", "--overwrite"], *made, "--resume")
    shutil.copy(tmp_path / ".out.csv.sijo-id", tmp_path / "away")
    (tmp_path / ".out.csv.sijo-id").unlink()
    output.write_bytes(kept)
    refused(2, ["has no .out.csv.sijo-id beside it", "--overwrite"], *made, "--resume")
    assert sijo_cli(*made, "--overwrite").code == 0
    assert (tmp_path / ".out.csv.sijo-id").read_bytes() == (tmp_path / "away").read_bytes()


def test_no_header_in_every_command_that_takes_a_delimiter(sijo_cli, tiny_model, write):
    # kills: an option of one command alone, and a number that names no column
    source = write("in.csv", "the old sea,sea\nrain and land,land\nthe sea,sea\n")
    model = ("--model", tiny_model)
    ran = sijo_cli("classify", source, "--no-header", "--column", "1", *LABELS, *model, "--format", "csv")
    assert ran.code == 0 and ran.out.startswith(b"column_1,column_2,label,"), ran.err
    assert ran.out.count(b"\n") == 4
    ran = sijo_cli("classify", source, "--no-header", "--column", "1", "--labels-column", "2", *model)
    assert ran.code == 3 and "row 1, column '2'" in ran.err  # one label is no choice, and row 1 is there
    ran = sijo_cli("evaluate", "--data", source, "--no-header", "--text-column", "1", "--label-column", "2", *model)
    assert ran.code == 0 and ran.rows()[0]["rows"] == 3, (ran.err, ran.out)


def test_a_table_on_a_pipe(sijo_cli, refused, tiny_model):
    # kills: a header that is labelled, a header that is guessed at, and --strict that lets a doubt pass
    arguments = ("classify", *LABELS, "--model", tiny_model)
    ran = sijo_cli(*arguments, stdin=ROWS.encode())
    assert [row["text"] for row in ran.rows()] == ["the old sea", "rain and sun"], ran.err
    assert ran.rows()[0]["id"] == "1"
    words = ["looks like CSV with the columns id, body", "--column", "--input-format text"]
    refused(2, words, *arguments, stdin=ROWS.replace("text", "body").encode())
    refused(3, ["line 1 of standard input is 'review'", "--strict"], *arguments, "--strict", stdin=b"review\nsea\n")
    ran = sijo_cli(*arguments, stdin=b"review\nsea\n")
    assert ran.code == 0 and len(ran.rows()) == 2 and ran.err.count("warning: line 1 ") == 1


RUN = ("run.steps=2", "run.batch=4", "run.save_every=1", "data.length=32", "tokenizer.vocab_size=200")
RUN += tuple(f"model.{size}" for size in ("hidden_size=16", "embedding_size=16", "heads=2", "intermediate_size=32"))


@pytest.mark.parametrize("ready", [False, True])
def test_a_run_over_text_that_has_changed_is_refused(sijo_cli, refused, write, tmp_path, ready):
    # kills: a run resumed over the corpus of an earlier text without a word, and a finished one called good
    poem = "The old sea and the land.\n\nRain and sun, game and team.\n\nMoney in the bank.\n\n" * 3
    texts, out, corpus = write("texts.txt", poem), tmp_path / "run", ()
    arguments = ["pretrain", "bert-tiny", "--corpus", texts, "-q", "-o"]
    ran = sijo_cli(*arguments, out, "--set", *RUN)
    assert ran.code == 0, ran.err
    if ready:
        corpus = shutil.copytree(out / "corpus", tmp_path / "ready")
        arguments = ["pretrain", "bert-tiny", "--corpus", corpus, "--tokenizer", out / "tokenizer", "-q", "-o"]
        out = tmp_path / "another"
        assert sijo_cli(*arguments, out, "--set", *RUN).code == 0
    again = sijo_cli(*arguments, out, "--resume", "--set", *RUN)
    assert again.code == 0, again.err
    if ready:
        write("texts.txt", poem.replace("bank", "sea"))
        other = ("pretrain", "bert-tiny", "--corpus", texts, "--tokenizer", out.parent / "run" / "tokenizer", "-q")
        assert sijo_cli(*other, "-o", tmp_path / "other", "--set", *RUN).code == 0
        shutil.rmtree(corpus)
        shutil.copytree(tmp_path / "other" / "corpus", corpus)
    else:
        texts.write_text(poem.replace("bank", "Bank"))
    words = "begun with digest of the corpus" if ready else "begun with other text than"
    refused(2, words, *arguments, out, "--resume", "--set", *RUN)


def test_a_run_from_a_model_that_has_changed_is_refused(sijo_cli, refused, write, tiny_copy, tmp_path):
    # kills: seeds of one run that start from two models, since both have the same path
    rows = write("rows.csv", "text,label\n" + "the sea,blue\nthe land,green\n" * 8)
    arguments = ("finetune", "--model", tiny_copy, "--train", rows, "-o", tmp_path / "run", "-q", "--resume")
    arguments += ("--set", "run.epochs=1", "run.batch=4")
    ran = sijo_cli(*arguments)
    assert ran.code == 0, ran.err
    assert sijo_cli(*arguments).code == 0
    weights = tiny_copy / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-4:] = b"\0\0\0\0"
    weights.write_bytes(content)
    refused(2, "was begun with files of the model ", *arguments)
