"""Absurd arguments: every number of every command, half of a character in every text, refused at once."""

import json
import math
import os
import pickle
import time

import pytest

import sijo
from generation.test_generator import pair, tokenizer  # noqa: F401
from sijo.app import cli
from sijo.checkpoints.save import save
from sijo.errors import LONGEST_SENTENCE, SettingError, SijoError, TextError
from sijo.files.json_lines import json_leaves
from sijo.generation.rules import Request, Sampling
from sijo.generation.synthetic import Kind, SyntheticSettings
from sijo.jobs.finetune_settings import default_settings
from sijo.jobs.recipes import DISTILLATIONS, RECIPES
from sijo.training.settings import with_changes

HUGE = "1" + "0" * 400
NUMBERS = ("0", "-1", HUGE, f"-{HUGE}", "9" * 5_000, "nan", "inf", "-inf", "1e400", "1000000000000", "1e300")
SOUND = {
    ("--seed", "0"),
    ("--seed", "-1"),
    ("--seed", "1000000000000"),
    ("--top", "0"),
    ("--top", "1000000000000"),
    ("--rows", "1000000000000"),
    ("--top-k", "1000000000000"),
    ("--temperature", "0"),
    ("--threshold", "0"),
    ("--no-answer-threshold", "0"),
    ("--no-answer-threshold", "-1"),
    ("--no-answer-threshold", "1000000000000"),
    ("--none-threshold", "0"),
    ("--none-threshold", "-1"),
    ("--none-threshold", "1000000000000"),
    ("--temperature", "1000000000000"),
    ("--min-new-tokens", "0"),
    ("--guidance", "0"),
    ("--guidance", "-1"),
    ("--mixture", "0"),
    ("--length-penalty", "0"),
    ("--length-penalty", "-1"),
}
"""What an option may be, if only by some commands: it need not be refused, and must not fail."""


def numeric_options():
    """Every option that takes a number, by its command."""
    names = "attribute bench classify distill encode evaluate export finetune fit generate predict pretrain serve"
    for name in (*names.split(), "suggest"):
        yield from (((name,), option) for option in _numbers(cli.app[name]))
    tokenizers = cli.app["tokenizer"]
    for name in ("train", "cut"):
        yield from ((("tokenizer", name), option) for option in _numbers(tokenizers[name]))


def _commands(group):
    """A command, or those below it."""
    below = [group[name] for name in group if not name.startswith("-")]
    return [command for one in below for command in _commands(one)] or [group]


def _numbers(command):
    for argument in command.assemble_argument_collection():
        kinds = {argument.hint, *getattr(argument.hint, "__args__", ())}
        if kinds & {int, float} and bool not in kinds:
            yield argument.names[0]


OPTIONS = sorted({*numeric_options()})


def test_every_command_with_numbers_is_asked():
    # kills: a command with numbers that this file forgets
    asked = {command[0] for command, _ in OPTIONS}
    for name in cli.app:
        if not name.startswith("-") and name not in asked:
            assert not [number for command in _commands(cli.app[name]) for number in _numbers(command)], name
    assert len(OPTIONS) >= 24


@pytest.fixture(scope="module")
def writer(pair, tmp_path_factory):  # noqa: F811
    folder = tmp_path_factory.mktemp("writer") / "m"
    save(pair[0], folder)
    return folder


@pytest.fixture
def orders(writer, tiny_model, tuned, write, tmp_path):
    """Arguments with which each command would work."""
    texts = write("in.txt", "the sea and the land\n" * 20)
    data = write("data.csv", "text,label\n" + "the sea,sea\nthe land,land\n" * 60)
    generate = ("generate", "--model", writer, "-p", "the sea", "--max-new-tokens", "2")
    return {
        ("attribute",): ("attribute", "--model", writer, "the sea"),
        ("bench",): ("bench", tiny_model, "--rounds", "1"),
        ("classify",): ("classify", texts, "--labels", "sea,land", "--model", tiny_model),
        ("distill",): (
            "distill",
            "--teacher",
            tiny_model,
            "--corpus",
            texts,
            "--out",
            tmp_path / "d",
            "--settings",
        ),
        ("encode",): ("encode", texts, "--model", tiny_model),
        ("evaluate",): ("evaluate", "--data", data, "--model", tiny_model, "--resamples", "100"),
        ("export",): ("export", tiny_model, "--texts", texts, "--out", tmp_path / "x"),
        ("finetune",): ("finetune", "--train", data, "--out", tmp_path / "f", "--settings"),
        ("fit",): ("fit", data, "--labels-column", "label", "--model", tiny_model, "--out", tmp_path / "h"),
        ("serve",): ("serve", tmp_path / "no model"),  # it would not end
        ("suggest",): ("suggest", texts, "--model", tiny_model),
        ("generate",): generate,
        ("pretrain",): ("pretrain", "bert-tiny", "--corpus", texts, "--settings"),
        ("predict",): ("predict", texts, "--model", tuned("classification")),
        ("tokenizer", "train"): (
            *("tokenizer", "train", texts, "--kind", "bpe", "--vocab-size", "300", "--out", tmp_path / "t"),
        ),
        ("tokenizer", "cut"): ("tokenizer", "cut", texts, "--vocab-size", "200", "--out", tmp_path / "c"),
    }


OF_TABLES = ("--drafts", "--min-new-tokens")
BESIDE = {
    "--mixture": ("--control-code", "sea", "--other-code", "land"),
    "--guidance": ("--control-code", "sea"),
    "--count": ("--temperature", "1"),
    "--none-threshold": ("--none-label", "none"),
}


@pytest.mark.parametrize(
    "command, option", OPTIONS, ids=lambda value: value if isinstance(value, str) else value[0]
)
def test_absurd_numbers(sijo_cli, orders, tmp_path, command, option):
    # kills: a MemoryError, an OverflowError or an hour of silence for a typing error; a NaN that is compared with
    arguments = [*orders[command]]
    if option in OF_TABLES:
        arguments += ["--for-labels", "sea,land", "--output", tmp_path / "made.csv"]
    arguments += BESIDE.get(option, ())
    if option in arguments:
        place = arguments.index(option)
        del arguments[place : place + 2]
    for value in NUMBERS:
        started = time.perf_counter()
        ran = sijo_cli(*arguments, f"{option}={value}")
        assert time.perf_counter() - started < 20, (option, value)
        assert "failed:" not in ran.err and "Traceback" not in ran.err, (option, value, ran.err)
        if (option, value) in SOUND:
            assert ran.code in (0, 2), (option, value, ran)
        else:
            assert ran.code in (2, 3), (option, value, ran)
            assert len(ran.err) < 1_000, ran.err


ABSURD = (HUGE, "NaN", "-Infinity", "1" + "0" * 12, '"\\ud800"', '"Infinity"')


@pytest.mark.parametrize("name", ["electra-tiny", "sentence", "finetune"])
def test_absurd_settings(name):
    # kills: NaN, infinity or 10^12 in a setting, at which a run fails, or never ends
    if name == "finetune":
        settings = default_settings("question-answering")
    elif name in RECIPES:
        settings = RECIPES[name].settings
    else:
        settings = DISTILLATIONS[name].settings(None)
    paths = [path for path, _ in json_leaves(settings.to_json()) if not path.endswith("seed")]
    cases = [(path, value) for path in paths for value in ABSURD]
    cases += [
        ("run.clip", "9" * 5_000),
        ("run.steps", "9" * 5_000),
        ("run.clip", "[" * 5_000),
        ("run.max_time", HUGE),
    ]
    for path, value in cases:
        try:
            changed = dict(json_leaves(with_changes(settings, [f"{path}={value}"]).to_json()))
        except SijoError as error:
            assert isinstance(error, SettingError) and str(error)
        else:
            assert changed[path] == value.strip('"')  # a word where words may stand
    for path in (
        "run.timeout",
        "run.batch",
        "tokenizer.vocab_size",
        "objective.weight",
        "answers.longest",
        "seeds",
    ):
        if path in dict(json_leaves(settings.to_json())):
            with pytest.raises(SettingError):
                with_changes(settings, [f"{path}=-1"])


@pytest.mark.parametrize("number", [10**400, -(10**400), math.nan, math.inf, -math.inf, 10**12])
def test_absurd_numbers_in_python(number):
    # kills: a huge integer that is finite, and no float holds
    for field in ("temperature", "penalty", "length_penalty", "beams"):
        with pytest.raises(SettingError, match=field):
            Sampling(**{field: number})
    for field in ("max_new_tokens", "guidance"):
        with pytest.raises(SettingError, match=field):
            Request(prompt="a", control_code="b", **{field: number})
    with pytest.raises(SettingError):
        SyntheticSettings(count=number)
    with pytest.raises(SettingError):
        SyntheticSettings(drafts=number)


HALF = os.fsdecode(b"a\xffb")
STRINGS = {
    "attribute": "codes prior model",
    "classify": (
        "labels model revision entailment-column none-label hypothesis-template delimiter column labels-column"
    ),
    "evaluate": "labels text-column label-column data model baseline label-columns train",
    "finetune": "text-column second-column label-column set teacher model train labels",
    "generate": "prompt control-code other-code stop banned for-labels model prompts-file checked-by",
    "pretrain": "set code-column column tokenizer corpus",
    "distill": "teacher set",
    "convert": "size model-type",
    "inspect": "revision",
}


@pytest.mark.parametrize("command", STRINGS)
def test_half_a_character(sijo_cli, command):
    # kills: bytes that are no text, in a prompt, a label or a setting, which fail wherever they are first written
    for name in STRINGS[command].split():
        option = f"--{name}"
        ran = sijo_cli(command, *(["x", "y"] if command == "convert" else []), option, HALF)
        assert ran.code in (2, 3, 4), (option, ran)
        assert "failed:" not in ran.err and "Traceback" not in ran.err and ran.err.isascii(), (option, ran.err)
        assert "half of a character (U+DCFF)" in ran.err or name == "prompts-file", (option, ran.err)
    ran = sijo_cli(command, HALF, HALF)
    assert ran.code in (2, 3, 4, 5) and "failed:" not in ran.err, ran


@pytest.mark.parametrize("half", ["\ud800", "\udc00", "\udcff", "a\udfffb"])
def test_half_a_character_in_python(pair, half):  # noqa: F811
    # kills: a UnicodeEncodeError from inside the tokenizer
    for settings in (
        *({"prompt": half}, {"prompt": ["a", half]}, {"control_code": half}, {"stop": [half]}, {"banned": [half]}),
        {"control_code": "sea", "other_code": half, "guidance": 2.0},
    ):
        with pytest.raises((SettingError, TextError), match="surrogate"):
            sijo.generate(pair[0], **{"max_new_tokens": 2, **settings})
    with pytest.raises((SettingError, TextError)):
        sijo.attribute(pair[0], half)
    with pytest.raises((SettingError, TextError)):
        sijo.encode(None, [half])
    for settings in ({"prompt": half}, {"stop": (half,)}, {"banned": (half,)}, {"control_code": half}):
        with pytest.raises(SettingError, match="surrogate"):
            Request(**settings)
    with pytest.raises(SettingError, match="surrogate"):
        Kind(label=half, control_code="sea")


def test_half_a_character_in_files(sijo_cli, write, tiny_model, writer, tmp_path):
    # kills: "\\ud800" in JSON, which Python reads and nothing can write
    bad = json.dumps("\ud800")
    settings = write("settings.json", f'{{"recipe": {bad}}}')
    labels = write("labels.json", f"[{bad}, {json.dumps('sea')}]")
    codes = write("codes.json", f'{{{bad}: "sea"}}')
    rows = write("rows.jsonl", f'{{"text": {bad}}}\n')
    prompts = write("prompts.txt", b"the \xff sea\n")
    for arguments in (
        ("pretrain", settings, "--settings"),
        ("classify", rows, "--labels", "sea,land", "--model", tiny_model),
        ("classify", rows, "--labels-file", labels, "--model", tiny_model),
        ("generate", "--model", writer, "--for-labels", codes, "-o", tmp_path / "o.csv"),
        ("generate", "--model", writer, "--prompts-file", prompts),
        ("finetune", "--train", rows, "--out", tmp_path / "f"),
    ):
        ran = sijo_cli(*arguments)
        assert ran.code in (2, 3) and "failed:" not in ran.err, (arguments, ran)


def test_names_of_files_that_are_no_text(sijo_cli, tiny_model, tmp_path):
    # kills: a file that cannot be read because its name is no text, where the system allows such names
    source, out = tmp_path / os.fsdecode(b"in\xff.txt"), tmp_path / os.fsdecode(b"out\xff.csv")
    try:
        source.write_text("the sea\n")
    except OSError:
        pytest.skip("this file system has no such names")
    ran = sijo_cli("classify", source, "--labels", "sea,land", "--model", tiny_model, "-o", out)
    assert ran.code == 0 and out.is_file() and ran.err.isascii(), ran
    folder = tmp_path / os.fsdecode(b"run\xff")
    folder.mkdir()
    (folder / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
    ran = sijo_cli("report", folder)
    assert ran.code == 0 and os.fsdecode(ran.out.strip()) == str(folder / "report.html"), ran


REPORTED = {
    "metrics.jsonl": {
        "step": 1,
        "samples": 5,
        "tokens": 7,
        "loss": 1.0,
        "mlm": 0.5,
        "lr": 0.1,
        "gradient_norm": 1.0,
    },
    "timings.jsonl": {"step": 1, "seconds": 3, "tokens_per_second": 10, "matmul_share": 0.5},
    "examples.jsonl": {
        **{"step": 1, "objective": "rtd", "text": ["a", "b"], "truth": ["a", "c"], "asked": [True, False]},
        **{"guess": ["a", "b"], "replaced": [False, True], "spotted": [0.5, 0.5]},
    },
    "settings.json": {"number": 1},
}


@pytest.mark.parametrize("value", [HUGE, f"-{HUGE}", "9" * 5_000, "1e308", "-1.7e308", "1" + "0" * 300, "1e400"])
@pytest.mark.parametrize("file", REPORTED)
def test_absurd_numbers_in_a_report(sijo_cli, tmp_path, file, value):
    # kills: an integer that no float holds, or floats whose difference none holds, in a run that is drawn
    fields = REPORTED[file]
    (tmp_path / "metrics.jsonl").write_text(json.dumps(REPORTED["metrics.jsonl"]) + "\n")
    for key in fields:
        value_of_key = f"[{value}, {value}]" if isinstance(fields[key], list) else value
        lines = [json.dumps(fields), json.dumps(fields | {key: "?"}).replace('"?"', value_of_key)]
        (tmp_path / file).write_text("\n".join(lines[file == "settings.json" :]) + "\n")
        ran = sijo_cli("report", tmp_path)
        assert ran.code in (0, 3, 5) and "failed:" not in ran.err and "Warning" not in ran.err, (key, ran)
        if value in (HUGE, f"-{HUGE}", "9" * 5_000, "1e400"):
            assert ran.code == (5 if file == "settings.json" else 3), (key, ran)


def test_an_error_is_one_sentence_of_bounded_length():
    # kills: a name of a million letters in a file that is quoted whole
    told = str(TextError("column " + "x" * 1_000_000 + " is not there; name one that is"))
    assert len(told) <= LONGEST_SENTENCE and told.startswith("column xxx") and told.endswith("name one that is")
    assert str(SijoError("y" * LONGEST_SENTENCE)) == "y" * LONGEST_SENTENCE
    assert str(pickle.loads(pickle.dumps(TextError(told)))) == told
