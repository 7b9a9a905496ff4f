"""What a folder lacks is said by what would do, and by the file that is at fault."""

import json
import shutil

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import sijo
from sijo.checkpoints.describe import describe
from sijo.errors import CheckpointError, RefusedError, SettingError
from sijo.inference import encode as encoding
from sijo.models import FAMILIES
from sijo.models.family import OLD_ACTIVATIONS

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 90868376\n"
SIZES = {
    "vocab_size": 61,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
}


def saved(place, columns=3, cls="BertForSequenceClassification", **fields):
    """A model as transformers saves it, whose config.json then says nothing of its columns."""
    model = getattr(transformers, cls)(transformers.BertConfig(**SIZES, num_labels=columns, **fields))
    model.save_pretrained(place)
    edit(place, id2label=None, label2id=None, num_labels=None)
    return model.eval()


def edit(folder, **fields):
    file = folder / "config.json"
    told = json.loads(file.read_text()) | fields
    file.write_text(json.dumps({name: value for name, value in told.items() if value is not None}))


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json", "onnx/model.onnx"])
def test_a_pointer_of_git_lfs_is_named(tiny_copy, name):
    # kills: "damaged or cut short", for which another copy by the same way is no remedy
    (tiny_copy / "onnx").mkdir()
    (tiny_copy / name).write_bytes(POINTER)
    with pytest.raises(CheckpointError, match=rf"{name} is Git LFS's pointer to the file: run `git lfs pull`"):
        sijo.encode(tiny_copy, ["a"])


def test_a_folder_without_a_tokenizer_is_refused_before_a_network_is_opened(tiny_copy, tmp_path, monkeypatch):
    # kills: convert as a remedy, which copies what is there; seconds of opening before the sentence
    (tiny_copy / "tokenizer.json").unlink()
    monkeypatch.setattr(encoding, "open_backend", lambda *_, **__: pytest.fail("a network was opened"))
    with pytest.raises(CheckpointError, match=r"no tokenizer.*vocab\.txt.*AutoTokenizer.*save_pretrained"):
        sijo.encode(tiny_copy, ["a"])
    from sijo.checkpoints.conversion.convert import convert

    told = []
    convert(tiny_copy, tmp_path / "new", tell=told.append)
    assert any("has no tokenizer, so it cannot read text" in words for words in told)


@pytest.mark.parametrize("columns", [1, 3])
def test_columns_that_config_json_does_not_count_are_those_of_the_weights(tmp_path, columns):
    # kills: two labels for a head of three; a refusal of what transformers would have opened with num_labels=
    theirs, head = saved(tmp_path, columns), "sequence-classification"
    names = tuple(f"LABEL_{i}" for i in range(columns))
    assert describe(tmp_path).labels == sijo.load(tmp_path).labels == names
    ids = torch.tensor([[2, 9, 7, 3]])
    with torch.inference_mode():
        got = sijo.load(tmp_path, head)(ids, torch.ones_like(ids, dtype=torch.bool)).logits
        torch.testing.assert_close(got, theirs(ids).logits, rtol=0, atol=1e-5)


def test_an_encoder_without_a_head_has_no_labels(tiny_model, tmp_path):
    # kills: LABEL_0 and LABEL_1 of a model that judges nothing
    assert sijo.load(tiny_model).labels == ()
    assert sijo.load(tiny_model, "new:sequence-classification", labels=["a", "b"]).labels == ("a", "b")


WRONG_SIZES = {
    "labels": ({"num_labels": 5}, r"in the number of labels \(id2label, num_labels\) alone, 3 in the weights"),
    "vocabulary": ({"num_labels": 3, "vocab_size": 70}, "in vocab_size alone, 61 in the weights"),
    "positions": ({"num_labels": 3, "max_position_embeddings": 40}, r"positions \(max.*32 in the weights"),
    "types": ({"num_labels": 3, "type_vocab_size": 1}, "in type_vocab_size alone, 2 in the weights"),
    "another": ({"num_labels": 3, "intermediate_size": 32}, None),
}


@pytest.mark.parametrize("fields, words", WRONG_SIZES.values(), ids=WRONG_SIZES)
def test_sizes_that_config_json_has_wrong_are_named(tmp_path, fields, words):
    # kills: "copy the folder again" where another copy is just as wrong, and the other way
    saved(tmp_path)
    edit(tmp_path, **fields)
    with pytest.raises(CheckpointError, match=f"{words}: mend config.json" if words else "copy the folder again$"):
        sijo.load(tmp_path, "sequence-classification")


@pytest.mark.parametrize("name", OLD_ACTIVATIONS)
def test_old_names_of_activations(tmp_path, name):
    # kills: a refusal of the very function that is known by another name; the other of the two gelus
    theirs = saved(tmp_path, cls="BertModel", hidden_act=name)
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)) * 0.3)
    theirs.save_pretrained(tmp_path)
    ids = torch.tensor([[2, 9, 7, 3]])
    with torch.inference_mode():
        got = sijo.load(tmp_path)(ids, torch.ones_like(ids, dtype=torch.bool)).last_hidden_state
        torch.testing.assert_close(got, theirs(ids).last_hidden_state, rtol=0, atol=1e-5)


def test_settings_that_cannot_be_are_told_in_plain_words():
    # kills: pydantic's words, which are of inputs, and no way out
    config = FAMILIES["bert"].config
    for fields, words in (
        ({"is_decoder": True}, r"is_decoder is True, which no BERT of sijo's can have: it must be False; choose"),
        ({"hidden_act": "quick_gelu"}, r"hidden_act is 'quick_gelu', .* it must be 'gelu', 'gelu_new'"),
        ({"hidden_size": "16"}, "hidden_size is '16', .* it must be of the kind integer"),
    ):
        with pytest.raises(RefusedError, match=words):
            config.read(SIZES | fields)


def test_a_config_without_a_model_type(tiny_copy):
    # kills: "the architecture None"
    edit(tiny_copy, model_type=None)
    with pytest.raises(RefusedError, match=r"has no model_type.*add it.*bert"):
        sijo.load(tiny_copy)


def test_checkpoints_of_a_run_are_named(tiny_model, tmp_path):
    # kills: "it is not a model" for a folder whose model is one below
    for step in (500, 1000):
        shutil.copytree(tiny_model, tmp_path / f"checkpoint-{step}")
    with pytest.raises(CheckpointError, match=r"checkpoints of a run; name one, such as .*checkpoint-1000$"):
        sijo.load(tmp_path)
    with pytest.raises(SettingError, match=r"holds no mlm head; it holds: none. Use head=None"):
        sijo.load(tmp_path / "checkpoint-500", "mlm")


def test_the_file_of_another_vocabulary_is_named(tiny_copy):
    # kills: tokenizer.json as the file at fault where only vocab.txt is there
    vocabulary = json.loads((tiny_copy / "tokenizer.json").read_text())["model"]["vocab"]
    (tiny_copy / "tokenizer.json").unlink()
    (tiny_copy / "vocab.txt").write_text("".join(f"{token}\n" for token in [*vocabulary, "one", "more"]))
    weights = load_file(tiny_copy / "model.safetensors")
    save_file(weights, tiny_copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"vocab\.txt and the weights are of different models"):
        sijo.load(tiny_copy)
