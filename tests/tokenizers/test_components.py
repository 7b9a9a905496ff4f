"""A tokenizer.json opens where sijo knows all its parts, and is refused in one sentence before the library sees it.

Each hostile file here hung, filled the memory, panicked or ended the process with a signal when the library read
it, or is next to one that did. Whatever sijo lets through is run with random settings in `fuzzed_tokenizers.py`.
"""

import base64
import copy
import json
import os
import resource
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import sentencepiece
import transformers

import sijo
from sijo.errors import CheckpointError, RefusedError, SettingError, SijoWarning
from sijo.models import FAMILIES
from sijo.tokenizers import bounds, pipelines
from sijo.tokenizers.sentencepiece import check_charsmap, read_model
from sijo.tokenizers.tokenizer import Tokenizer
from tokenizers import Tokenizer as Native

sys.path.append(str(Path(__file__).parent))
import tokenizer_references as references

WORDPIECE_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
A, B = ({"Sequence": {"id": name, "type_id": kind}} for kind, name in enumerate("AB"))
CLS, SEP = ({"SpecialToken": {"id": name, "type_id": 0}} for name in ("[CLS]", "[SEP]"))
TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [CLS, A, SEP],
    "pair": [CLS, A, SEP, B, SEP],
    "special_tokens": {
        name: {"id": name, "ids": [number], "tokens": [name]} for number, name in ((1, "[CLS]"), (2, "[SEP]"))
    },
}
WORDS = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "a": 3, "##a": 4, "b": 5, "##b": 6, "ab": 7}
MODELS = {
    "WordPiece": {
        **{"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##"},
        **{"max_input_chars_per_word": 100, "vocab": WORDS},
    },
    "BPE": {"type": "BPE", "dropout": None, "unk_token": "[UNK]", "vocab": WORDS, "merges": [["a", "b"]]},
    "Unigram": {
        "type": "Unigram",
        "unk_id": 0,
        "vocab": [["[UNK]", 0.0], ["[CLS]", -9.0], ["[SEP]", -9.0], ["a", -1.0], ["b", -2.0], ["ab", -2.5]],
    },
    "WordLevel": {"type": "WordLevel", "unk_token": "[UNK]", "vocab": WORDS},
}


def whole(kind="WordPiece", /, model=(), **parts):
    """The fields of a tokenizer.json with these parts, and these settings of its model."""
    names = ("normalizer", "pre_tokenizer", "post_processor", "decoder", "truncation", "padding")
    fields = {"version": "1.0", **dict.fromkeys(names), "added_tokens": []}
    return fields | {"post_processor": TEMPLATE, "model": MODELS[kind] | dict(model)} | parts


def added(content, number, **flags):
    return {
        **{"id": number, "content": content, "single_word": False, "lstrip": False, "rstrip": False},
        **{"normalized": False, "special": False, **flags},
    }


def opened(fields, folder, *, max_length=512):
    file = folder / "tokenizer.json"
    file.write_text(fields if isinstance(fields, str) else json.dumps(fields))
    return Tokenizer.load(file, max_length=max_length)


def replacing(pattern, content, times=1):
    step = {"type": "Replace", "pattern": {"String": pattern}, "content": content}
    return {"type": "Sequence", "normalizers": [step] * times}


def sequence(inside, *steps):
    return {"type": "Sequence", inside: list(steps)}


def template(**changes):
    return copy.deepcopy(TEMPLATE) | changes


BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
BERT_FRAME = {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]}
LONG = "x" * 300_000
HOSTILE = {
    # a text that grows without end
    "28 that double": (whole(normalizer=replacing("a", "aa", 28)), 4, "268,435,456 times as long"),
    "4 that triple": (whole(normalizer=replacing("a", "aaa", 4)), 4, "81 times as long"),
    "one that is long": (whole(normalizer=replacing("a", "b" * 5000)), 4, "content is"),
    "a ligature that NFKD parts": (whole(normalizer=replacing("a", "\ufdfa")), 4, "33 times as long"),
    "a space that grows by a regular expression": (
        whole(normalizer={"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": "x" * 9}),
        *(4, "9 times as long"),
    ),
    "fences": (
        whole(normalizer={"type": "Replace", "pattern": {"Regex": pipelines.BEFORE_MARK}, "content": "x" * 20}),
        *(4, "11 times as long"),
    ),
    "Prepend of 100 KB": (whole(normalizer={"type": "Prepend", "prepend": "x" * 100_000}), 4, "Prepend whose"),
    "many Prepends": (
        whole(normalizer=sequence("normalizers", *[{"type": "Prepend", "prepend": "x"}] * 9)),
        *(4, "more than one step of the kind Prepend"),
    ),
    "bytes of bytes": (whole(pre_tokenizer=sequence("pretokenizers", *[BYTES] * 20)), 4, "kind ByteLevel"),
    "bytes before bytes": (whole(normalizer={"type": "ByteLevel"}, pre_tokenizer=BYTES), 4, "kind ByteLevel"),
    "decoder that doubles": (
        whole(decoder=sequence("decoders", *replacing("a", "aa", 28)["normalizers"])),
        *(4, "a decoder that may make"),
    ),
    "40 steps": (
        whole(normalizer=sequence("normalizers", *[{"type": "NFC"}] * 40)),
        *(4, "normalizer of more than 32 steps"),
    ),
    "40 steps in sequences": (
        whole(normalizer=sequence("normalizers", *[sequence("normalizers", *[{"type": "NFC"}] * 10)] * 4)),
        *(4, "normalizer of more than 32 steps"),
    ),
    "sequence in sequence, 500 deep": (
        json.dumps(whole()).replace(
            '"normalizer": null',
            '"normalizer": ' + '{"type":"Sequence","normalizers":[' * 500 + '{"type":"NFC"}' + "]}" * 500,
        ),
        *(5, r"nested|recursion"),
    ),
    # patterns
    "empty pattern": (whole(normalizer=replacing("", "x")), 4, "pattern is"),
    "empty pattern, no content": (whole(normalizer=replacing("", "")), 4, "pattern is"),
    "empty pattern of a split": (
        whole(
            pre_tokenizer={
                **{"type": "Split", "pattern": {"String": ""}, "behavior": "Isolated", "invert": False},
            }
        ),
        *(4, "pattern is"),
    ),
    "two patterns": (
        whole(normalizer={"type": "Replace", "pattern": {"String": "a", "Regex": "(a+)+$"}, "content": ""}),
        *(4, "pattern is"),
    ),
    "unknown regular expression of a decoder": (
        whole(decoder={"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": ""}),
        *(4, "regular expression"),
    ),
    # vocabularies
    "piece of 300,000 letters": (
        whole("Unigram", {"vocab": [*MODELS["Unigram"]["vocab"], [LONG, -1.0]]}),
        *(4, "a token of 300,000 letters"),
    ),
    "token of 300,000 letters": (whole(model={"vocab": WORDS | {LONG: 8}}), 4, "a token of 300,000 letters"),
    "a million tokens and more": (
        whole(model={"vocab": WORDS | {f"t{n}": n for n in range(8, (1 << 20) + 2)}}),
        *(4, "1,048,578 tokens"),
    ),
    "id of 4 billion": (whole(model={"vocab": WORDS | {"z": 2**32 - 1}}), 4, "4,294,967,295"),
    "id of 10**30": (whole(model={"vocab": WORDS | {"z": 10**30}}), 4, "an id as large"),
    "id below 0": (whole(model={"vocab": WORDS | {"z": -1}}), 5, "not a whole number"),
    "id true": (whole(model={"vocab": WORDS | {"z": True}}), 5, "not a whole number"),
    "id 8.0": (whole(model={"vocab": WORDS | {"z": 8.0}}), 5, "not a whole number"),
    "one id twice": (whole(model={"vocab": WORDS | {"z": 7}}), 5, "two tokens have one id"),
    "one name twice": (json.dumps(whole()).replace('"ab": 7', '"ab": 7, "ab": 8'), 5, "stands twice"),
    "no unknown token": (whole(model={"unk_token": "[NONE]"}), 5, r"lacks the unknown token '\[NONE\]'"),
    "no unknown token of words": (whole("WordLevel", {"unk_token": "[NONE]"}), 5, "lacks the unknown token"),
    "no unknown token of pairs": (whole("BPE", {"unk_token": "[NONE]"}), 5, "lacks the unknown token"),
    "no unknown piece": (whole("Unigram", {"unk_id": None}), 4, "unk_id is None"),
    "unknown piece beyond the last": (whole("Unigram", {"unk_id": 6}), 5, "unk_id is not that of a piece"),
    "score NaN": (json.dumps(whole("Unigram")).replace("-2.5", "NaN"), 5, "NaN is not finite"),
    "score 1e999": (json.dumps(whole("Unigram")).replace("-2.5", "1e999"), 5, "1e999 is not finite"),
    "score -1e300": (json.dumps(whole("Unigram")).replace("-2.5", "-1e300"), 5, "a score is not"),
    "score in words": (json.dumps(whole("Unigram")).replace("-2.5", '"low"'), 5, "a score is not"),
    "empty piece": (whole("Unigram", {"vocab": [*MODELS["Unigram"]["vocab"], ["", -1.0]]}), 5, "a piece is empty"),
    "words of a million letters": (whole(model={"max_input_chars_per_word": 10**6}), 4, "max_input_chars_per_word"),
    "merge of what is not there": (whole("BPE", {"merges": [["a", "z"]]}), 5, "of the merge 'a' 'z'"),
    "merge to what is not there": (whole("BPE", {"merges": [["b", "a"]]}), 5, "of the merge 'b' 'a'"),
    "merge of three": (whole("BPE", {"merges": ["a b a"]}), 5, "'a b a' is not a pair"),
    "merge of one": (whole("BPE", {"merges": [["a"]]}), 5, "is not a pair"),
    "merge without the prefix": (whole("BPE", {"continuing_subword_prefix": "##"}), 5, "of the merge 'a' 'b'"),
    "prefix of 1,000 letters": (
        whole("BPE", {"continuing_subword_prefix": "x" * 1000}),
        *(4, "continuing_subword_prefix is"),
    ),
    "suffix of 1,000 letters": (whole("BPE", {"end_of_word_suffix": "x" * 1000}), 4, "end_of_word_suffix is"),
    "cache of a trillion": (whole("BPE", {"cache_capacity": 10**12}), 4, "the setting 'cache_capacity'"),
    # added tokens
    "added token of 5 MB": (whole(added_tokens=[added("x" * 5_000_000, 8)]), 4, "a token of 5,000,000 letters"),
    "added tokens of 2 MB in all": (
        whole(added_tokens=[added(f"{n:04d}" * 1000, 8 + n) for n in range(500)]),
        *(4, "more than 1,048,576 letters in all"),
    ),
    "20,000 added tokens": (whole(added_tokens=[added(f"<{n}>", 8 + n) for n in range(20_000)]), 4, "adds 20,000"),
    "added token of nothing": (whole(added_tokens=[added("", 8)]), 5, "is none"),
    "added token that its normalizer takes away": (
        whole(
            normalizer=sequence("normalizers", {"type": "NFD"}, {"type": "StripAccents"}),
            added_tokens=[added("\u0301", 8, normalized=True)],
        ),
        *(5, "its normalizer leaves nothing"),
    ),
    "added token at another id": (whole(added_tokens=[added("<x>", 99)]), 5, "declared as id 99 but comes to 8"),
    "added tokens by one id": (
        whole(added_tokens=[added("<x>", 8), added("<y>", 8)]),
        *(5, "two tokens have one id"),
    ),
    "added token in a number": (whole(added_tokens=[added(5, 8)]), 5, "a token is no text"),
    "half a surrogate": (whole(added_tokens=[added("\ud800", 8)]), 5, "is not whole"),
    # frames
    "template that names a missing token": (
        whole(post_processor=template(special_tokens={})),
        *(5, r"names the token '\[CLS\]', which it does not have"),
    ),
    "template with an id that no token has": (
        whole(post_processor=template(special_tokens={"[CLS]": {"id": "[CLS]", "ids": [99], "tokens": ["[CLS]"]}})),
        *(5, r"an id for '\[CLS\]' that no token has"),
    ),
    "template with a text 500 times": (whole(post_processor=template(single=[A] * 500)), 5, "each text once"),
    "template without its text": (whole(post_processor=template(single=[CLS])), 5, "each text once"),
    "template with 100 special tokens": (
        whole(post_processor=template(single=[A, *[SEP] * 100])),
        4,
        "more than 64",
    ),
    "template with a long special token": (
        whole(
            post_processor=template(
                special_tokens={
                    name: {"id": name, "ids": [1] * 100, "tokens": [name] * 100} for name in ("[CLS]", "[SEP]")
                }
            )
        ),
        *(4, "more than 64"),
    ),
    "template with a token type of its own": (
        whole(post_processor=template(single=[{"Sequence": {"id": "A", "type_id": 7}}])),
        *(4, "token types"),
    ),
    "frame with an id that no token has": (
        whole(post_processor=BERT_FRAME | {"sep": ["[SEP]", 99]}),
        *(5, "holds the id 99"),
    ),
    "two frames": (whole(post_processor=sequence("processors", TEMPLATE, BERT_FRAME)), 4, "more than once"),
    "bytes after a frame": (
        whole(post_processor=sequence("processors", TEMPLATE, BYTES)),
        4,
        "special tokens out as",
    ),
    # other steps
    "pieces of length 0": (whole(pre_tokenizer={"type": "FixedLength", "length": 0}), 4, "length is 0"),
    "pieces of length -1": (whole(pre_tokenizer={"type": "FixedLength", "length": -1}), 4, "length is -1"),
    "delimiter of two letters": (
        whole(pre_tokenizer={"type": "CharDelimiterSplit", "delimiter": "ab"}),
        *(4, "delimiter is 'ab'"),
    ),
    "space of two letters": (whole(pre_tokenizer={"type": "Metaspace", "replacement": "__"}), 4, "replacement is"),
    "behavior of its own": (
        whole(pre_tokenizer={"type": "Punctuation", "behavior": "Doubled"}),
        *(4, "behavior is 'Doubled'"),
    ),
    "decoder that strips more than there is": (
        whole(decoder={"type": "Strip", "content": "a", "start": 1, "stop": 2**63}),
        *(4, "stop is 9223372036854775808"),
    ),
    "unknown normalizer": (whole(normalizer={"type": "Python"}), 4, "normalizer of the kind 'Python'"),
    "kind that is none": (whole(normalizer={"type": ["NFC"]}), 4, "normalizer of the kind"),
    "step of another part": (whole(decoder={"type": "NFC"}), 4, "a decoder of the kind 'NFC'"),
    "unknown model": (whole(model={"type": "Neural"}), 4, "model of the kind 'Neural'"),
    "unknown setting": (whole(normalizer={"type": "NFC", "code": "x"}), 4, "the setting 'code'"),
    "unknown field": (whole(auto_map={}), 4, "the field 'auto_map'"),
    "map of characters that is none": (
        whole(normalizer={"type": "Precompiled", "precompiled_charsmap": None}),
        *(4, "precompiled_charsmap is None"),
    ),
    "map of characters that is absent": (
        whole(normalizer={"type": "Precompiled"}),
        5,
        "map of characters is absent",
    ),
    "normalizer in words": (whole(normalizer="NFC"), 5, "normalizer is no object"),
    "sequence of no list": (whole(normalizer=sequence("normalizers") | {"normalizers": {}}), 5, "no list of steps"),
    # the file
    "lists in lists": ("[" * 100_000, 5, "nested too deeply"),
    "5 million lists": ("[" + "[]," * 5_000_000 + "[]]", 4, "more than 4,194,304 values"),
    "67 MB and more": ('"' + "x" * (1 << 26) + '"', 5, "longer than 64 MB"),
    "nothing": ("", 5, "is not whole"),
    "null": ("null", 5, "not a JSON object"),
    "a list": ("[]", 5, "not a JSON object"),
    "no model": ("{}", 5, "it has no model"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(name, tmp_path):
    # kills: a step, size or id that the library takes, and then hangs, panics, or ends the process
    fields, code, words = HOSTILE[name]
    kind = {4: RefusedError, 5: CheckpointError}[code]
    with pytest.raises(kind, match=words) as refused:
        opened(fields, tmp_path)
    sentence = str(refused.value)
    assert str(tmp_path) in sentence or sentence.startswith("this tokenizer")
    assert len(sentence) < 600 + len(str(tmp_path)) and "\n" not in sentence


ISSUE = {
    "28 that double": 4,
    "Prepend of 100 MB": 4,
    "piece of 300,000 letters": 4,
    "empty pattern": 4,
    "pieces of length 0": 4,
    "template that names a missing token": 5,
    "added token of 50 MB": 4,
}


@pytest.mark.parametrize("name", ISSUE)
def test_hostile_files_on_the_command_line(name, tiny_copy, start, tmp_path):
    # kills: any of these files taken by the library, in a process of its own: a hang, a panic (exit 1), a signal
    big = {
        "Prepend of 100 MB": whole(normalizer={"type": "Prepend", "prepend": "x" * 50_000_000}),
        "added token of 50 MB": whole(added_tokens=[added("x" * 50_000_000, 8)]),
    }
    fields = big[name] if name in big else HOSTILE[name][0]
    (tiny_copy / "tokenizer.json").write_text(json.dumps(fields))
    text = tmp_path / "text.txt"
    text.write_text("a" * 100)
    ran = start("classify", text, "--labels", "a,b", "--model", tiny_copy).wait()
    ran.must_say(ISSUE[name], str(tiny_copy / "tokenizer.json"))


def charsmap(entries):
    """A map of characters for single bytes, as SentencePiece lays it out: a double array, then the texts."""
    units, texts = [0] * 512, b""
    units[0] = 256 << 10  # the root's children are at 256 and on
    for letter, text in entries.items():
        # a match ends here; its value is at 256 ^ letter ^ letter
        units[256 ^ letter] = letter | 256 | letter << 10
        units[256] = 1 << 31 | len(texts)
        texts += text.encode() + b"\0"
    array = b"".join(unit.to_bytes(4, "little") for unit in units)
    return len(array).to_bytes(4, "little") + array + texts


@pytest.mark.parametrize(
    "blob, words",
    [
        (charsmap({97: "x" * 100}), "a replacement of more than 64 bytes"),
        (charsmap({97: "xxxxx"}), "makes some 3 times as long or more"),
        (charsmap({97: "b"}) + bytes(1 << 20), "more than 1 MB"),
        (charsmap({97: "\ufdfa"}), "makes some 3 times as long or more"),
    ],
)
def test_a_map_of_characters_that_lengthens_a_text(blob, words, tmp_path):
    # kills: growth by a table, which no step shows; a ligature that a later NFKD parts
    step = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(blob).decode()}
    with pytest.raises(RefusedError, match=words):
        opened(whole(normalizer=step), tmp_path)
    check_charsmap(charsmap({97: "bbb"}))
    step["precompiled_charsmap"] = base64.b64encode(charsmap({97: "bbb"})).decode()
    assert opened(whole(normalizer=step), tmp_path).ids(["a"]) == opened(whole(), tmp_path).ids(["bbb"])


# --- randomness -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dropout", [0.5, 1, 1.0, 0.001])
def test_dropout_is_turned_off_with_a_word(dropout, tmp_path):
    # kills: the same command with other labels each time; a saved copy or a digest that has the dropout still
    words = f"the tokenizer's dropout {dropout}, which is for training, is turned off"
    with pytest.warns(SijoWarning) as told:
        ours = opened(whole("BPE", {"dropout": dropout}), tmp_path)
    assert [str(warning.message) for warning in told] == [words]
    plain = opened(whole("BPE"), tmp_path)
    assert {tuple(ours.ids(["abababab"])[0]) for _ in range(50)} == {tuple(plain.ids(["abababab"])[0])}
    assert (ours.fingerprint, ours.text_fingerprint) == (plain.fingerprint, plain.text_fingerprint)
    ours.save(tmp_path)
    assert json.loads((tmp_path / "tokenizer.json").read_text())["model"]["dropout"] is None


@pytest.mark.parametrize("dropout", [None, 0, 0.0])
def test_no_dropout_is_no_warning(dropout, tmp_path):
    # kills: a word about what is off already
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened(whole("BPE", {"dropout": dropout}), tmp_path)


@pytest.mark.parametrize("dropout", ["true", '"0.5"', "1.5", "-0.1", "[0.5]", "NaN", "1e999"])
def test_a_dropout_that_is_none(dropout, tmp_path):
    # kills: true taken for 1
    fields = json.dumps(whole("BPE")).replace('"dropout": null', f'"dropout": {dropout}')
    with pytest.raises((RefusedError, CheckpointError), match=r"dropout is|not finite"):
        opened(fields, tmp_path)


def test_sampling_of_a_unigram_model_is_turned_off(tmp_path):
    # kills: the settings of later libraries, by which a text is cut at random, left on
    with pytest.warns(SijoWarning) as told:
        ours = opened(whole("Unigram", {"alpha": 0.5, "nbest_size": 8}), tmp_path)
    assert [str(warning.message).split()[2] for warning in told] == ["alpha", "nbest_size"]
    assert {tuple(ours.ids(["abababab"])[0]) for _ in range(50)} == {(5, 5, 5, 5)}


def test_strict_makes_dropout_an_error(tiny_copy, sijo_cli):
    # kills: a warning that the command line does not tell
    fields = json.loads((tiny_copy / "tokenizer.json").read_text())
    vocab = fields["model"]["vocab"]
    fields["model"] = {"type": "BPE", "dropout": 0.5, "unk_token": "[UNK]", "vocab": vocab, "merges": []}
    (tiny_copy / "tokenizer.json").write_text(json.dumps(fields))
    arguments = ("classify", "--labels", "sea,land", "--model", tiny_copy)
    ran = sijo_cli(*arguments, stdin=b"the old sea\n")
    assert ran.code == 0 and "warning: the tokenizer's dropout 0.5" in ran.err and "1 warning" in ran.err
    sijo_cli(*arguments, "--strict", stdin=b"the old sea\n").must_say(3, "dropout 0.5")


# --- what opens -----------------------------------------------------------------------------------------------


def test_what_is_within_bounds_opens(tmp_path):
    # kills: a bound below what published tokenizers have
    fields = whole(
        normalizer=sequence(
            "normalizers", *replacing(" ", "▁")["normalizers"], {"type": "Prepend", "prepend": "▁"}
        ),
        pre_tokenizer=sequence("pretokenizers", {"type": "Digits", "individual_digits": True}, BYTES),
        post_processor=sequence("processors", BYTES, TEMPLATE),
        added_tokens=[added(f"<t{number}>", 8 + number) for number in range(bounds.MOST_ADDED)],
        truncation={"direction": "Left", "max_length": 4, "strategy": "LongestFirst", "stride": 9},
        padding={
            **{"strategy": {"Fixed": 9}, "direction": "Left", "pad_to_multiple_of": 0},
            **{"pad_id": 0, "pad_type_id": 0, "pad_token": "[UNK]"},
        },
    )
    ours = opened(fields, tmp_path)
    assert ours.windows(["<t5>", "<t16383>"]) == [[[1, 13, 2]], [[1, 16_391, 2]]]


@pytest.mark.parametrize("kind", MODELS)
def test_old_files_that_do_not_name_their_model(kind, tmp_path):
    # kills: a model taken for another kind; roberta-base and others of 2020 have no type
    fields = whole(kind)
    del fields["model"]["type"]
    assert opened(fields, tmp_path).kind == kind
    assert opened(fields, tmp_path).ids(["ab b"]) == opened(whole(kind), tmp_path).ids(["ab b"])


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """Folders that `transformers` writes for each family with a tokenizer of its own, and its tokenizer."""
    home, lines = tmp_path_factory.mktemp("converted"), references.lines()[::8]
    texts = [line for line in lines if line.strip()]
    data = references.train(texts, **references.DEBERTA)
    model = sentencepiece.SentencePieceProcessor(model_proto=data)
    pieces = [(model.id_to_piece(number), model.get_score(number)) for number in range(4, model.get_piece_size())]
    xlmr = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *pieces, ("<mask>", 0.0)]
    albert = [("<pad>", 0.0), ("<unk>", 0.0), ("[CLS]", 0.0), ("[SEP]", 0.0), ("[MASK]", 0.0), *pieces]
    deberta = [("[PAD]", 0.0), ("[CLS]", 0.0), ("[SEP]", 0.0), ("[UNK]", 0.0), *pieces]
    letters = [*dict.fromkeys("".join(texts[:500]))][:400]
    words = [*WORDPIECE_TOKENS, *letters, *(f"##{letter}" for letter in letters)]
    words = {word: number for number, word in enumerate(dict.fromkeys(words))}
    references.write_deberta_v1(home / "pairs", lines)
    names = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    made = {
        "bert": transformers.BertTokenizer(vocab=words),
        "distilbert": transformers.DistilBertTokenizer(vocab=words),
        "electra": transformers.ElectraTokenizer(vocab=words, do_lower_case=False),
        "albert": transformers.AlbertTokenizer(vocab=albert, _spm_precompiled_charsmap=read_model(data).charsmap()),
        "deberta": transformers.DebertaTokenizer.from_pretrained(home / "pairs"),
        "deberta-v2": transformers.DebertaV2Tokenizer(vocab=deberta, unk_id=3),
        "xlm-r": transformers.XLMRobertaTokenizer(vocab=xlmr),
        "camembert": transformers.CamembertTokenizer(vocab=xlmr),
        "t5": transformers.T5Tokenizer(vocab=[("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *pieces]),
        "roberta": transformers.RobertaTokenizer.from_pretrained(home / "pairs", **names),
        "gpt2": transformers.GPT2Tokenizer.from_pretrained(home / "pairs", unk_token="[UNK]"),
    }
    for name, theirs in made.items():
        theirs.save_pretrained(home / name)
    return home, lines, made


FAMILY = ["bert", "distilbert", "electra", "albert", "deberta", "deberta-v2", "xlm-r", "camembert", "t5", "roberta"]


@pytest.mark.parametrize("name", [*FAMILY, "gpt2"])
def test_what_transformers_writes_for_each_family_opens(name, converted):
    # kills: a component of a family that the list lacks; ids that differ from the library's own
    home, lines, _ = converted
    file = home / name / "tokenizer.json"
    ours, theirs = Tokenizer.open(home / name, FAMILIES["bert"], max_length=1 << 20), Native.from_file(str(file))
    theirs.no_truncation()
    theirs.no_padding()
    assert [windows[0] for windows in ours.windows(lines)] == [theirs.encode(line).ids for line in lines]


# --- whatever is let through ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_is_let_through_neither_hangs_nor_panics(seed, converted):
    # kills: a component that is allowed with settings it panics at; memory without end; a signal
    limits = ((resource.RLIMIT_AS, 4 << 30), (resource.RLIMIT_CPU, 200))

    def limited():
        for limit, most in limits:
            resource.setrlimit(limit, (most, most))

    script = Path(__file__).with_name("fuzzed_tokenizers.py")
    command = [sys.executable, script, str(seed), "250", converted[0]]
    ran = subprocess.run(
        command, capture_output=True, text=True, timeout=280, preexec_fn=limited, check=False, env=environment()
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr[-2000:]
    assert "panicked" not in ran.stderr
    opened, refused = map(int, ran.stdout.split())
    assert opened > 40 and refused > 40  # both sides of the bounds are tried


def environment():
    """Of this process, with the package that is tested here and one thread."""
    paths = os.pathsep.join([str(Path(sijo.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    return os.environ | {"PYTHONPATH": paths, "TOKENIZERS_PARALLELISM": "false", "RUST_BACKTRACE": "0"}


@pytest.mark.parametrize("kind", MODELS)
def test_a_long_text_takes_time_in_proportion(kind, tmp_path):
    # kills: the square of a text's length, by what a small file asks for and bounds allow
    changes = {
        "WordPiece": {"max_input_chars_per_word": 200},
        "BPE": {"vocab": WORDS | {"aa": 8, "aaaa": 9}, "merges": [["a", "a"], ["aa", "aa"]]},
        "Unigram": {"vocab": [["[UNK]", 0.0], *(["a" * n, -1.0] for n in range(1, 129))]},
        "WordLevel": {},
    }
    model = changes[kind] | ({"unk_id": 0} if kind == "Unigram" else {})
    flags = {"lstrip": True, "rstrip": True, "normalized": True}
    fields = whole(kind, model, post_processor=None, normalizer=replacing("z", "zz", 3))
    size = len(fields["model"]["vocab"])
    ours = opened(fields | {"added_tokens": [added("e", size, **flags)]}, tmp_path)
    for text in ("a" * 100_000, "ae " * 30_000, "z" * 50_000, " " * 100_000, "e" * 100_000):
        ours.windows([text])


def test_a_name_of_a_special_token_that_is_very_long(tmp_path):
    # kills: an error of the file's reader for what a person gave
    with pytest.raises(SettingError, match="is blank, or very long"):
        opened(whole(), tmp_path).with_specials(["x" * 5000])
