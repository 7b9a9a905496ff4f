"""The names of a head's columns where a config tells them twice. Each test names the fault it is to catch."""

import json
import shutil

import numpy as np
import pytest
import torch
import transformers

import sijo
from sijo.errors import RefusedError
from sijo.inference.encode import engine_of

THREE = {"0": "no", "1": "perhaps", "2": "yes"}
NAMES = ("no", "perhaps", "yes")
DEFAULTS = {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}
CONTRADICTIONS = {
    "numbers swapped": (
        {"id2label": THREE, "label2id": {"no": 2, "perhaps": 1, "yes": 0}},
        ["0: 'yes'"],
    ),
    "numbers moved round": ({"id2label": THREE, "label2id": {"no": 1, "perhaps": 2, "yes": 0}}, ["0: 'yes'"]),
    "another name": ({"id2label": THREE, "label2id": {"no": 0, "maybe": 1, "yes": 2}}, ["'perhaps'", "'maybe'"]),
    "another spelling": ({"id2label": THREE, "label2id": {"No": 0, "perhaps": 1, "yes": 2}}, ["'no'", "'No'"]),
    "fewer": ({"id2label": THREE, "label2id": {"no": 0, "perhaps": 1}}, ["2: 'yes'", "label2id"]),
    "more": ({"id2label": THREE, "label2id": {"no": 0, "perhaps": 1, "yes": 2, "never": 3}}, ["3: 'never'"]),
    "one number twice": (
        {"id2label": THREE, "label2id": {"no": 0, "perhaps": 0, "yes": 2}},
        ["0: 'perhaps'"],
    ),
    "a number left out": ({"id2label": THREE, "label2id": {"no": 0, "perhaps": 1, "yes": 3}}, ["3: 'yes'"]),
    "numbers from 1": ({"id2label": THREE, "label2id": {"no": 1, "perhaps": 2, "yes": 3}}, ["3: 'yes'"]),
    "a negative number": ({"id2label": THREE, "label2id": {"no": 0, "perhaps": 1, "yes": -1}}, ["-1: 'yes'"]),
    "a number far out": ({"id2label": THREE, "label2id": {"no": 0, "perhaps": 1, "yes": 10**9}}, ["1000000000"]),
    "a number in words": ({"id2label": THREE, "label2id": {"no": 0, "perhaps": 1, "yes": "two"}}, ["two: 'yes'"]),
    "half a number": ({"id2label": THREE, "label2id": {"no": 0, "perhaps": 0.5, "yes": 2}}, ["label2id", "0.5"]),
    "true for 1": ({"id2label": THREE, "label2id": {"no": 0, "perhaps": True, "yes": 2}}, ["label2id", "True"]),
    "names from one side": (
        {
            "id2label": {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"},
            "label2id": {"no": 0, "perhaps": 1, "yes": 2},
        },
        ["0: 'LABEL_0'", "0: 'no'"],
    ),
    "defaults moved": (
        {"id2label": THREE, "label2id": {"LABEL_0": 1, "LABEL_1": 0, "LABEL_2": 2}},
        ["0: 'LABEL_1'"],
    ),
    "num_labels": ({"id2label": THREE, "num_labels": 2}, ["num_labels is 2", "names 3"]),
    "num_labels and label2id alone": (
        {"id2label": None, "label2id": {"no": 0, "perhaps": 1, "yes": 2}, "num_labels": 4},
        ["num_labels is 4", "label2id names 3"],
    ),
    "one name twice": ({"id2label": {"0": "no", "1": "no", "2": "yes"}}, ["1: 'no'", "twice"]),
    "a number and its text": ({"id2label": {"0": 1, "1": "1", "2": "yes"}}, ["'1' is there twice"]),
    "a column twice": ({"id2label": {"0": "no", "00": "perhaps", "1": "yes"}}, ["00: 'perhaps'"]),
    "columns from 1": ({"id2label": {"1": "no", "2": "perhaps", "3": "yes"}}, ["3: 'yes'"]),
    "a column that is no number": ({"id2label": {"0": "no", "one": "perhaps", "2": "yes"}}, ["one: 'perhaps'"]),
    "another script's digits": ({"id2label": {"0": "no", "１": "perhaps", "2": "yes"}}, ["'perhaps'"]),
    "a name that is none": ({"id2label": {"0": "no", "1": None, "2": "yes"}}, ["id2label.1", "None"]),
    "a list of names": ({"id2label": ["no", "perhaps", "yes"]}, ["id2label"]),
    "half a surrogate": ({"id2label": {"0": "no", "1": "\ud83d", "2": "yes"}}, ["surrogate"]),
}
HARMLESS = {
    "both alike": ({"id2label": THREE, "label2id": {"yes": 2, "no": 0, "perhaps": 1}}, NAMES),
    "one alone": ({"id2label": THREE, "label2id": None}, NAMES),
    "the other alone": ({"id2label": None, "label2id": {"yes": 2, "no": 0, "perhaps": 1}}, NAMES),
    "the other empty": ({"id2label": THREE, "label2id": {}}, NAMES),
    "one empty": ({"id2label": {}, "label2id": {"yes": 2, "no": 0, "perhaps": 1}}, NAMES),
    "numbers as text": ({"id2label": THREE, "label2id": {"yes": "2", "no": "0", "perhaps": "1"}}, NAMES),
    "defaults left over": (
        {"id2label": THREE, "label2id": {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}},
        NAMES,
    ),
    "defaults of two left over": ({"id2label": THREE, "label2id": {"LABEL_0": 0, "LABEL_1": 1}}, NAMES),
    "defaults everywhere": (
        {"id2label": DEFAULTS, "label2id": {"LABEL_2": 2}},
        ("LABEL_0", "LABEL_1", "LABEL_2"),
    ),
    "nothing": ({"id2label": None, "label2id": None, "num_labels": 3}, ("LABEL_0", "LABEL_1", "LABEL_2")),
    "numbers": ({"id2label": {"0": 0, "1": 1, "2": 2}, "label2id": {"0": 0, "1": 1, "2": 2}}, ("0", "1", "2")),
    "stars": ({"id2label": {"0": 5, "1": 3, "2": 1}, "label2id": {"5": 0, "3": 1, "1": 2}}, ("5", "3", "1")),
    "halves": ({"id2label": {"0": 0.5, "1": 1.5, "2": -1}}, ("0.5", "1.5", "-1")),
    "truth": ({"id2label": {"0": True, "1": False, "2": "unknown"}}, ("true", "false", "unknown")),
    "a count that agrees": ({"id2label": THREE, "num_labels": 3}, NAMES),
}


def edit(folder, **fields):
    file = folder / "config.json"
    content = json.loads(file.read_text()) | fields
    file.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


@pytest.fixture(scope="module")
def judge(tiny_model, tmp_path_factory):
    """A folder with a head of three columns."""
    folder = tmp_path_factory.mktemp("judge")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    words = len(json.loads((tiny_model / "tokenizer.json").read_text())["model"]["vocab"])
    config = transformers.BertConfig(vocab_size=words, **sizes, num_labels=3)
    torch.manual_seed(0)
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    shutil.copy(tiny_model / "tokenizer.json", folder)
    return folder


@pytest.fixture
def spoiled(judge, tmp_path):
    return shutil.copytree(judge, tmp_path / "spoiled")


@pytest.mark.parametrize("kind", CONTRADICTIONS)
def test_a_contradiction_is_refused_with_both_readings(kind, spoiled, refused):
    # kills: one of two readings chosen in silence, so that every answer has another's name
    fields, words = CONTRADICTIONS[kind]
    edit(spoiled, **fields)
    for head in (None, "sequence-classification"):
        with pytest.raises(RefusedError) as error:
            sijo.load(spoiled, head)
        assert all(word in str(error.value) for word in words), str(error.value)
    refused(4, words[0], "classify", "--model", spoiled, stdin=b"the sea\n")


@pytest.mark.parametrize("kind", HARMLESS)
def test_what_contradicts_nothing_opens(kind, spoiled):
    # kills: a folder refused for a default that nobody meant, numbers for names, or one of the fields alone
    fields, names = HARMLESS[kind]
    edit(spoiled, **fields)
    model = sijo.load(spoiled, "sequence-classification")
    assert model.labels == names
    assert sijo.ZeroShotClassifier(model=model).predict(["the sea"])[0] in names


def test_columns_are_in_the_order_of_numbers(spoiled):
    # kills: "10" before "2", and the order of a file for that of the columns
    names = {str(column): f"name {column}" for column in (10, 2, 0, 1, 11, 3, 9, 4, 8, 5, 7, 6)}
    edit(spoiled, id2label=None, label2id={name: int(column) for column, name in names.items()})
    with pytest.raises(sijo.SijoError, match="have another shape"):
        sijo.load(spoiled, "sequence-classification")  # the head has three rows
    model = sijo.load(spoiled, "new:sequence-classification")
    assert model.labels == tuple(f"name {column}" for column in range(12))


def test_a_fresh_head_has_its_own_names(spoiled):
    # kills: what a config says of another head held against labels= of the user's
    edit(spoiled, num_labels=3, id2label=None, label2id={"no": 0})
    model = sijo.load(spoiled, "new:sequence-classification", labels=["a", "b"])
    assert model.labels == ("a", "b") and "num_labels" not in model.config


@pytest.mark.parametrize("kind", ["the other alone", "stars", "defaults left over"])
def test_they_are_saved_as_transformers_reads_them(kind, spoiled, tmp_path):
    # kills: names that were read here and are lost there
    fields, names = HARMLESS[kind]
    edit(spoiled, **fields)
    folder = sijo.save(sijo.load(spoiled, "sequence-classification"), tmp_path / "again")
    assert transformers.AutoConfig.from_pretrained(folder).id2label == dict(enumerate(names))
    again = sijo.load(folder, "sequence-classification")
    assert again.labels == names
    logits = [
        engine_of(sijo.load(place, "sequence-classification")).judge(["the sea"]).logits
        for place in (spoiled, folder)
    ]
    np.testing.assert_allclose(*logits, atol=1e-6)


@pytest.mark.parametrize("head", ["token-classification", "sequence-classification"])
def test_entailment_and_tags_have_the_same_reading(head, spoiled):
    # kills: a second reader of labels, for one head alone
    edit(spoiled, id2label={"0": "entailment", "1": "neutral", "2": "contradiction"}, architectures=None)
    edit(spoiled, label2id={"entailment": 2, "neutral": 1, "contradiction": 0})
    with pytest.raises(RefusedError, match=r"0: 'entailment'.*0: 'contradiction'"):
        sijo.load(spoiled, head)
