"""What `sijo inspect` tells of a folder, good, damaged or hostile. Each test names the fault it kills."""

import hashlib
import json
import os
import shutil
import socket
import time
from contextlib import suppress

import pytest
import torch
from safetensors.torch import load_file, save_file

import sijo
from sijo.app import inspect as inspecting
from sijo.checkpoints.card import licence
from sijo.checkpoints.contents import inspect
from sijo.checkpoints.locate import locate
from sijo.nn.architecture import Architecture, ConvolutionSpec, Disentangled, Learned, PreNorm, Sinusoidal

KEYS = {
    *("folder", "model_type", "dtype", "layers", "blocks", "architecture", "parameters", "parameters_by_part"),
    *(
        "heads",
        "labels",
        "tokenizer",
        "sentence_encoder",
        "fitted_head",
        "licence",
        "licence_terms",
        "unused",
        "files",
        "files_not_listed",
    ),
    *("languages", "never_opened", "would_not_load", "onnx", "tried", "backend", "scorer"),
}
WIDE = {"vocab_size": 61, "embedding_size": 24, "hidden_size": 24, "heads": 2, "intermediate_size": 40}
MIX = Architecture(
    **WIDE | {"embedding_size": 12},
    schedule=(0,) * 12,
    widening="before_norm",
    distances=Disentangled(span=64, buckets=16, norm="layer_norm"),
    convolution=ConvolutionSpec(kernel=3),
)


@pytest.fixture
def told(sijo_cli):
    """`told(folder, code=0)`: the JSON object that the command prints."""

    def run(*arguments, code=0):
        ran = sijo_cli("inspect", *arguments)
        assert ran.code == code, ran.err
        (contents,) = ran.rows()
        assert contents.keys() == KEYS
        return contents

    return run


def edit(file, **fields):
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def test_the_tiny_model(told, tiny_copy):
    # kills: a count that leaves a part out or has one twice, a digest of something else, a length guessed
    (tiny_copy / "README.md").write_text("---\nlicense: mit\n---\n# Tiny\n")
    contents = told(tiny_copy)
    weights = load_file(tiny_copy / "model.safetensors")
    words = len(weights["embeddings.word_embeddings.weight"])
    size = {name: tensor.numel() for name, tensor in weights.items()}
    parts = {
        "embeddings": sum(n for name, n in size.items() if name.startswith("embeddings.")),
        "layers": sum(n for name, n in size.items() if name.startswith("encoder.layer.")),
        "pooler": 16 * 16 + 16,
    }
    assert contents["parameters_by_part"] == parts and contents["parameters"] == sum(size.values()) == sum(
        parts.values()
    )
    assert (contents["model_type"], contents["dtype"], contents["layers"], contents["blocks"]) == (
        "bert",
        "float32",
        2,
        2,
    )
    assert contents["architecture"]["hidden_size"] == 16 and contents["heads"] == {} and contents["labels"] is None
    assert contents["tokenizer"] == {"kind": "WordPiece", "vocabulary": words, "longest_input": 32}
    assert contents["sentence_encoder"]["pooling"] == "mean" and contents["sentence_encoder"]["max_length"] == 32
    assert contents["licence"] == "mit" and contents["unused"] == [] and contents["would_not_load"] == {}
    files = {str(path.relative_to(tiny_copy)): path.read_bytes() for path in tiny_copy.rglob("*") if path.is_file()}
    assert {file["name"]: (file["bytes"], file["sha256"]) for file in contents["files"]} == {
        name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in files.items()
    }


def test_the_built_in_model_by_default(told, minilm):
    # kills: a MODEL that must be given
    contents = told()
    assert contents["folder"] == str(locate(None)) and contents["onnx"]["exact"]["compared"]
    contents = told("all-minilm-l6-v2")
    assert contents["folder"] == str(minilm.source) and contents["parameters"] == 22_713_216


HEAD = "sequence-classification"
PLAIN = Architecture(**WIDE, schedule=(0, 1), positions=Learned(count=9), token_types=2)
V1 = Architecture(**WIDE, schedule=(0, 1), distances=Disentangled(span=9, projections="own", key_bias=False))


@pytest.mark.parametrize(
    "size, kind, heads, labels",
    [
        (MIX, None, ["mlm", "rtd", HEAD], ["a", "b", "c"]),
        (PLAIN, "BertForMaskedLM", ["mlm", HEAD], None),
        (V1, "DebertaForMaskedLM", ["mlm", "rtd"], None),
    ],
)
def test_parts_and_heads_add_up(told, tmp_path, size, kind, heads, labels):
    # kills: a head left out, a tensor that was published with others counted for one, a class nobody has
    sijo.save(sijo.create(size, heads, labels=labels), tmp_path / "model")
    contents = told(tmp_path / "model")
    written = load_file(tmp_path / "model/model.safetensors")
    assert contents["parameters"] == sum(tensor.numel() for tensor in written.values())
    assert contents["parameters"] == sum(contents["parameters_by_part"].values())
    assert list(contents["heads"]) == heads and set(heads) <= contents["parameters_by_part"].keys()
    assert contents["heads"]["mlm"] == kind and (contents["model_type"] == "sijo") == (kind is None)
    assert contents["labels"] == labels and contents["tokenizer"] is None


def test_what_shares_a_pooler_and_what_nobody_reads(told, tiny_copy):
    # kills: the pooler counted twice, a tensor that no part reads passed over, half precision shown as loaded
    weights = {f"bert.{name}": tensor for name, tensor in load_file(tiny_copy / "model.safetensors").items()}
    weights |= {"classifier.weight": torch.ones(3, 16), "classifier.bias": torch.ones(3)}
    weights |= {"cls.seq_relationship.bias": torch.ones(2)}
    save_file({name: tensor.half() for name, tensor in weights.items()}, tiny_copy / "model.safetensors")
    edit(
        tiny_copy / "config.json",
        architectures=["BertForSequenceClassification"],
        id2label={"0": "a", "1": "b", "2": "c"},
    )
    contents = told(tiny_copy)
    assert contents["parameters_by_part"]["pooler"] == 16 * 17 and contents["parameters_by_part"][HEAD] == 3 * 17
    assert contents["heads"] == {HEAD: "BertForSequenceClassification"} and contents["labels"] == ["a", "b", "c"]
    assert contents["unused"] == ["cls.seq_relationship.bias"] and contents["dtype"] == "float16"


def test_heads_that_would_not_load(told, tiny_copy, sijo_cli):
    # kills: one head that fails and hides the others, a reason without its exit code, a guess counted as damage
    weights = load_file(tiny_copy / "model.safetensors")
    classifier = {"classifier.weight": torch.ones(2, 16), "classifier.bias": torch.ones(2)}
    save_file(weights | classifier, tiny_copy / "model.safetensors")
    edit(tiny_copy / "config.json", architectures=[])
    contents = told(tiny_copy)  # no config says whether it judges texts, tokens or choices; the last cannot be
    assert set(contents["heads"]) == {HEAD, "token-classification"} and contents["would_not_load"] == {}
    mlm = {"cls.predictions.bias": torch.ones(110), "cls.predictions.transform.dense.weight": torch.ones(16, 17)}
    mlm |= {"cls.predictions.transform.dense.bias": torch.ones(16)}
    mlm |= {f"cls.predictions.transform.LayerNorm.{leaf}": torch.ones(16) for leaf in ("weight", "bias")}
    save_file(weights | classifier | mlm, tiny_copy / "model.safetensors")
    contents = told(tiny_copy, code=5)
    assert HEAD in contents["heads"] and contents["would_not_load"].keys() == {"head mlm"}
    assert "transform.dense.weight is (16, 17)" in contents["would_not_load"]["head mlm"]
    sijo_cli("inspect", tiny_copy).must_say(5, "transform.dense.weight is (16, 17)")


def broken(folder, way):
    match way:
        case "mamba":
            edit(folder / "config.json", model_type="mamba")
        case "pickle":
            torch.save({"a": torch.ones(1)}, folder / "pytorch_model.bin")
            (folder / "model.safetensors").unlink()
        case "cut":
            whole = (folder / "model.safetensors").read_bytes()
            (folder / "model.safetensors").write_bytes(whole[:-5])
        case "tokenizer":
            (folder / "tokenizer.json").write_text("{")
        case "bare":
            (folder / "config.json").unlink()
        case "link":
            (folder / "model.safetensors").unlink()
            (folder / "model.safetensors").symlink_to("/etc/hosts")


@pytest.mark.parametrize(
    "way, code, words",
    [
        ("mamba", 4, "'mamba'"),
        ("pickle", 4, "can run code"),
        ("cut", 5, "cut short"),
        ("tokenizer", 5, "tokenizer.json"),
        ("bare", 5, "no config.json"),
        ("link", 4, "outside of it"),
    ],
)
def test_folders_that_do_not_open(told, sijo_cli, tiny_copy, way, code, words):
    # kills: an error in place of the files, another exit code, a link followed
    broken(tiny_copy, way)
    contents = told(tiny_copy, code=code)
    assert words in contents["would_not_load"]["encoder"] and contents["architecture"] is None
    names = {str(path.relative_to(tiny_copy)) for path in tiny_copy.rglob("*") if not path.is_dir()}
    assert {file["name"] for file in contents["files"]} == names
    unread = [file["name"] for file in contents["files"] if file["sha256"] is None]
    assert unread == (["model.safetensors"] if way == "link" else [])
    assert contents["never_opened"] == (["pytorch_model.bin"] if way == "pickle" else [])
    sijo_cli("inspect", tiny_copy, "--format", "table").must_say(code, words)


def test_files_that_are_never_opened(told, tiny_copy, monkeypatch):
    # kills: code that is run because it lies there, a pipe that is waited on for ever, a socket
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("asked the network"))
    foreign = ["modeling.py", "onnx/model.h5", "optimizer.pt", "rust_model.ot", "tf_model.h5"]
    (tiny_copy / "onnx").mkdir()
    for name in foreign:
        (tiny_copy / name).write_text(f"open('{tiny_copy}/sprung', 'w')")
    os.mkfifo(tiny_copy / "pipe")
    contents = told(tiny_copy)
    assert sorted(contents["never_opened"]) == foreign and not (tiny_copy / "sprung").exists()
    assert (
        contents["would_not_load"].keys() == {"pipe"} and "pipe or a device" in contents["would_not_load"]["pipe"]
    )


def test_huge_cards_and_many_files_stay_bounded(tiny_copy, tmp_path, sijo_cli):
    # kills: a card read whole, ten thousand files hashed and shown
    with (tiny_copy / "README.md").open("w") as card:
        card.write("---\n" + "license" * 10_000_000)
    for number in range(3_000):
        (tiny_copy / f"{number}.txt").touch()
    started = time.process_time()
    assert licence(tiny_copy) is None
    assert time.process_time() - started < 0.2
    (tiny_copy / "README.md").unlink()
    contents, *_ = inspect(tiny_copy)
    assert len(contents["files"]) == 1_000 and contents["files_not_listed"] == 2_000 + 6
    shown = sijo_cli("inspect", tiny_copy, "--format", "table").out.decode().splitlines()
    assert len(shown) < 100 and "and 2,966 files more; --format json lists 1,000" in shown
    shutil.rmtree(tiny_copy)


HOSTILE = "a\x1b[2J\x9b31m[red]b[/red] \u202e"


def test_a_stranger_does_not_steer_the_terminal(tiny_copy, sijo_cli):
    # kills: an escape code or markup obeyed, from a label, a card, a tensor, a file's name or an error
    weights = load_file(tiny_copy / "model.safetensors")
    save_file(weights | {f"x{HOSTILE}": torch.ones(1)}, tiny_copy / "model.safetensors")
    edit(tiny_copy / "config.json", id2label={"0": HOSTILE, "1": "b"})
    (tiny_copy / "README.md").write_text(f"---\nlicense: {HOSTILE}\n---\n")
    (tiny_copy / f"{HOSTILE.replace('/', '')}.txt").touch()
    with suppress(OSError):  # not every file system lets a name be no text
        (tiny_copy / os.fsdecode(b"\xff\xfe.txt")).touch()
    for code in (0, 5):
        for format in ("table", "json"):
            ran = sijo_cli("inspect", tiny_copy, "--format", format)
            assert ran.code == code
            shown = ran.out.decode() + ran.err
            assert all(letter.isprintable() or letter == "\n" for letter in shown), format
            assert format == "json" or shown.count("[red]b[") == (6 if code else 4)
        save_file(weights | {f"x{HOSTILE}": torch.ones(1)} | {ONE: torch.ones(3)}, tiny_copy / "model.safetensors")


def test_an_onnx_file_is_looked_at(told, tiny_copy):
    # kills: a damaged ONNX file passed over, as when none was ever opened
    (tiny_copy / "onnx").mkdir()
    (tiny_copy / "onnx/model.onnx").write_text(f"open('{tiny_copy}/sprung', 'w')")
    contents = told(tiny_copy, code=5)
    assert contents["would_not_load"].keys() == {"onnx/model.onnx"} and contents["onnx"] == {}
    assert not (tiny_copy / "sprung").exists() and contents["never_opened"] == []


ONE = "encoder.layer.1.output.dense.bias"


def test_the_table_reads_well_in_80_columns(tmp_path, sijo_cli):
    # kills: a digest broken in two, sharing or distances left out of the words, numbers without their commas
    sijo.save(sijo.create(MIX, ["rtd"]), tmp_path / "m")
    shown = sijo_cli("inspect", tmp_path / "m", "--format", "table").out.decode()
    told = " ".join(shown.split())
    for words in (
        "12 layers over 1 block of weights, 24 wide, 2 heads",
        "61 tokens in a table 12 wide, widened before its norm",
        "distances up to 64 tokens, in 32 buckets: c2p and p2c, shared projections",
        "a convolution over 3 tokens beside the first layer",
        "model sijo (not in transformers), float32",
        "heads rtd tokenizer",
        "licence not named in a card",
    ):
        assert words in told, words
    about, _, files = shown.partition("\n\n")
    assert max(map(len, about.splitlines())) <= 80
    digest = hashlib.sha256((tmp_path / "m/config.json").read_bytes()).hexdigest()
    assert any(line.startswith(f"{digest} ") and line.endswith("B  config.json") for line in files.splitlines())


def test_other_architectures_in_words(tmp_path):
    # kills: a mechanism that is not told
    pre = Architecture(
        **WIDE,
        schedule=(0, 1),
        positions=Sinusoidal(count=50_000, layout="halves"),
        reads="left",
        entry="scale",
        norm=PreNorm(),
        activation="relu",
    )
    sijo.save(sijo.create(pre), tmp_path / "ctrl")
    apart = Architecture(**WIDE, schedule=(0, 1), distances=Disentangled(span=64, terms=(), projections="own"))
    sijo.save(sijo.create(apart, "rtd"), tmp_path / "apart")
    assert ("heads", "rtd (not in transformers)") in inspecting._about(inspect(tmp_path / "apart")[0])
    words = "; ".join(inspecting._in_words(inspect(tmp_path / "ctrl")[0]))
    for what in (
        "2 layers, 24 wide",
        "reads to the left only",
        "LayerNorm before each part",
        "50,000 places, as waves",
    ):
        assert what in words
    assert "distances up to 64 tokens, each apart: no term, own projections" in list(
        inspecting._in_words(inspect(tmp_path / "apart")[0])
    )


def test_places_that_are_no_folder(refused, tmp_path, tiny_model):
    # kills: a stack trace, or JSON of nothing
    refused(2, "there is no folder", "inspect", tmp_path / "absent/at/all")
    refused(2, "is a file", "inspect", tiny_model / "config.json")


@pytest.mark.parametrize(
    "heading, languages",
    [
        ("language: en", ["en"]),
        ("language:\n- en\n- ko", ["en", "ko"]),
        ("language:\n  - en   # English\n  - 'zh-Hans'", ["en", "zh-Hans"]),
        ('language: [en, "ko", ja]', ["en", "ko", "ja"]),
        ("language: [\n  en,\n  ko\n]", ["en", "ko"]),
        ("license: mit\nlanguage: no\ntags:\n- de", ["no"]),
        ("language: multilingual", ["multilingual"]),
        ("language: en\nlanguage: en", ["en"]),
        ("language:", None),
        ("language: null", None),
        ("language: ~", None),
        ("license: mit", None),
        ("languages: en", None),
        ("metadata:\n  language: en", None),
        ("language: \x1b]0;pwned\x07", None),
        ("language: !!python/object/apply:os.system [true]", None),
        ("language: &a [*a, *a]", None),
        ("language: " + "x" * 5_000, None),
        ("language: {en: 1}", None),
    ],
)
def test_languages_of_the_card(told, tiny_copy, heading, languages):
    # kills: YAML that is loaded, a list read as one name, other keys' values, what steers a terminal
    (tiny_copy / "README.md").write_text(f"---\n{heading}\n---\n# Tiny\nlanguage: fr\n")
    assert told(tiny_copy)["languages"] == languages


def test_languages_for_people_and_none_without_a_card(told, sijo_cli, tiny_copy):
    # kills: an absent card that is an error, a field that is JSON alone
    assert told(tiny_copy)["languages"] is None
    assert "not named in a card" in sijo_cli("inspect", tiny_copy, "--format", "table").out.decode()
    (tiny_copy / "README.md").write_bytes(b"---\nlanguage:\n- ko\n- \xff\xfe\n- en\n---\n")
    shown = sijo_cli("inspect", tiny_copy, "--format", "table").out.decode().splitlines()
    assert [line.split() for line in shown if line.startswith("languages")] == [["languages", "ko,", "en"]]


@pytest.mark.parametrize(
    ("heading", "words"),
    [
        ("license: cc-by-nc-4.0", "cc-by-nc-4.0 forbids commercial use"),
        ("license:\n- mit\n- cc-by-nc-sa-4.0", "cc-by-nc-sa-4.0 forbids commercial use"),
        ("license: llama3.1", "llama3.1 has terms of its own"),
        ("license: 'gemma'", "gemma has terms of its own"),
        ("license: other\nlicense_name: acme-terms", "other: acme-terms has terms of its own"),
        ("license: !!python/object/apply:os.system ['touch ran']", None),
        ("license: apache-2.0", None),
        ("language: ko", None),
    ],
)
def test_a_licence_that_one_should_read_first_is_told(sijo_cli, tiny_copy, tmp_path, monkeypatch, heading, words):
    # kills: a model that a company may not use, shown like any other; a heading that a loader of YAML runs
    monkeypatch.chdir(tmp_path)
    (tiny_copy / "README.md").write_text(f"---\n{heading}\n---\n# a model\n")
    ran = sijo_cli("inspect", tiny_copy, "--format", "json")
    assert (ran.code, ran.rows()[0]["licence_terms"]) == (0, words), ran.err
    assert ("warning: the licence" in ran.err) == (words is not None)
    assert not (tmp_path / "ran").exists()
    if words is not None:
        assert words in ran.err
        assert sijo_cli("inspect", tiny_copy, "--strict").code == 3
