"""Where tokenizer_config.json and tokenizer.json contradict each other, ids are those that `transformers` gives."""

import json
import warnings

import pytest
import transformers

from sijo.errors import SijoWarning
from sijo.models import FAMILIES
from sijo.tokenizers.tokenizer import Tokenizer
from tokenizers import Tokenizer as Native
from tokenizers import models, normalizers, pre_tokenizers

TEXTS = ["Café 東京 ÉCOLE naïve", "hello Hello", "  two words"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<s>", "</s>", "<pad>", "<unk>", "<mask>"]
LETTERS = sorted({*"".join(TEXTS).replace(" ", ""), *"cafeecolenaive"})
WORDS = ["café", "cafe", "hello", "Hello", "東京", "École", *LETTERS, *(f"##{letter}" for letter in LETTERS)]


def wordpiece(**how):
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys((*SPECIAL, *WORDS)))}
    inner = Native(models.WordPiece(vocabulary, unk_token="[UNK]"))
    inner.normalizer, inner.pre_tokenizer = normalizers.BertNormalizer(**how), pre_tokenizers.BertPreTokenizer()
    return inner


def byte_pairs(prefix):
    bytes_ = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*SPECIAL, *bytes_, "Ġh"])}
    inner = Native(models.BPE(vocabulary, [("Ġ", "h")], unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    return inner


def put(folder, inner, model_type, fields):
    """A folder with that tokenizer; gives ours, theirs, and what was warned of."""
    inner.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(fields))
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        ours = Tokenizer.open(folder, FAMILIES[model_type], max_length=64)
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    words = [str(one.message) for one in told if issubclass(one.category, SijoWarning)]
    return ours.ids(TEXTS), theirs(TEXTS, add_special_tokens=False)["input_ids"], words


CASES = {
    "case": ("bert", {"tokenizer_class": "BertTokenizer", "do_lower_case": False}, "do_lower_case to False"),
    "case unnamed": ("bert", {"do_lower_case": False}, "do_lower_case to False"),
    "accents": ("electra", {"tokenizer_class": "ElectraTokenizerFast", "strip_accents": False}, "strip_accents"),
    "han": ("distilbert", {"tokenizer_class": "DistilBertTokenizer", "tokenize_chinese_chars": False}, "chinese"),
    "another's": ("roberta", {"tokenizer_class": "BertTokenizerFast", "do_lower_case": False}, "do_lower_case"),
    "mpnet": ("mpnet", {"tokenizer_class": "MPNetTokenizer", "do_lower_case": False}, "do_lower_case"),
    "alike": ("bert", {"tokenizer_class": "BertTokenizer", "do_lower_case": True}, None),
    "stands": ("bert", {"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": False}, None),
    "modernbert": ("modernbert", {"tokenizer_class": "BertTokenizer", "do_lower_case": False}, None),
}


@pytest.mark.parametrize("model_type, fields, named", CASES.values(), ids=CASES)
def test_wordpiece_is_that_of_transformers(model_type, fields, named, tmp_path):
    # kills: a setting that transformers obeys and sijo does not, or the other way; one obeyed without a word
    ours, theirs, words = put(tmp_path, wordpiece(), model_type, fields)
    assert ours == theirs
    assert [named in one and "as transformers" in one for one in words] == [True] * (named is not None)


def test_a_default_goes_before_tokenizer_json_where_a_class_is_named(tmp_path):
    # kills: a tokenizer.json with case, under a class that folds it unless it is told otherwise
    ours, theirs, words = put(tmp_path, wordpiece(lowercase=False), "bert", {"tokenizer_class": "BertTokenizer"})
    assert ours == theirs and ["leaves do_lower_case at True" in one for one in words] == [True]


@pytest.mark.parametrize("kind, model_type", [("Roberta", "roberta"), ("Bart", "bart"), ("Deberta", "deberta")])
@pytest.mark.parametrize("prefix", [True, False])
def test_byte_pairs_are_those_of_transformers(kind, model_type, prefix, tmp_path):
    # kills: a first word with a space in one and without it in the other
    fields = {"tokenizer_class": f"{kind}Tokenizer", "add_prefix_space": prefix}
    ours, theirs, words = put(tmp_path, byte_pairs(not prefix), model_type, fields)
    assert ours == theirs and [f"add_prefix_space to {prefix}" in one for one in words] == [True]
    ours, theirs, words = put(tmp_path, byte_pairs(prefix), model_type, fields)
    assert ours == theirs and words == []


@pytest.mark.parametrize(
    "model_type, name, named",
    [
        ("albert", "do_lower_case", True),
        ("camembert", "add_prefix_space", True),
        ("camembert", "do_lower_case", False),
    ],
)
def test_a_setting_of_a_unigram_model_that_is_not_followed_is_told(model_type, name, named, tmp_path):
    # kills: ids other than those of transformers without a word; a warning of what has no effect there either
    pieces = [(token, -1.0) for token in dict.fromkeys((*SPECIAL, "▁", *LETTERS))]
    for value in (True, False):
        inner = Native(models.Unigram(pieces, 1))
        inner.normalizer = normalizers.Lowercase()
        inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
        inner.save(str(tmp_path / "tokenizer.json"))
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({name: value}))
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            Tokenizer.open(tmp_path, FAMILIES[model_type], max_length=64)
        assert [f"{name} to False" in str(one.message) for one in told] == [True] * (named and not value)
