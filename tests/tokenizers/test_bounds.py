"""Published files of a tokenizer that are damaged, or larger than any need to be, are refused in one sentence."""

import itertools
import json
import time

import pytest

from sijo.errors import CheckpointError, RefusedError, SijoWarning
from sijo.models import FAMILIES
from sijo.tokenizers import bounds
from sijo.tokenizers.native import cutting, intact
from sijo.tokenizers.sentencepiece import MOST_FIELDS, read_model
from sijo.tokenizers.tokenizer import Tokenizer
from spm_files import SPM, message, number, piece
from tokenizers import Tokenizer as Native
from tokenizers import models, pre_tokenizers

WORDS = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##a\nb\n"
PAIRS = {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "[UNK]": 3, "a": 4, "b": 5, "ab": 6, "[MASK]": 7}
CTRL = {"a@@": 0, "b": 1, "ab": 2, "<unk>": 3}
WHOLE = {
    "bert": {"vocab.txt": WORDS},
    "deberta": {"vocab.json": json.dumps(PAIRS), "merges.txt": "a b\n"},
    "ctrl": {"vocab.json": json.dumps(CTRL), "merges.txt": "a b</w>\n"},
    "deberta-v2": {"spm.model": SPM},
}
MANY = "".join(f"t{n}\n" for n in range((1 << 20) + 10))
CONFIG, MAP, ADDED = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"
HOSTILE = {
    # vocab.txt
    "a token of 5 MB": ("bert", "vocab.txt", WORDS + "x" * 5_000_000, 4, "a token of 5,000,000 letters"),
    "more than a million lines": ("bert", "vocab.txt", WORDS + MANY, 4, "more than 1,048,576 lines"),
    "lines of nothing": ("bert", "vocab.txt", WORDS + "\n" * 10_000_000, 4, "more than 1,048,576 lines"),
    "70 MB": ("bert", "vocab.txt", WORDS + "x" * 70_000_000, 5, "longer than 67108864 bytes"),
    "no unknown token": ("bert", "vocab.txt", "a\nb\n", 5, r"has no \[UNK\]"),
    "no text at all": ("bert", "vocab.txt", "", 5, r"has no \[UNK\]"),
    "bytes that are no text": ("bert", "vocab.txt", b"[UNK]\n\xff\n", 5, "is not whole"),
    # vocab.json
    "an id twice": ("deberta", "vocab.json", json.dumps(PAIRS | {"c": 6}), 5, "two tokens have one id"),
    "a name twice": ("deberta", "vocab.json", json.dumps(PAIRS)[:-1] + ', "a": 9}', 5, "stands twice"),
    "id -1": ("deberta", "vocab.json", json.dumps(PAIRS | {"c": -1}), 5, "not a whole number"),
    "id 8.0": ("deberta", "vocab.json", json.dumps(PAIRS | {"c": 8.0}), 5, "not a whole number"),
    "id true": ("deberta", "vocab.json", json.dumps(PAIRS | {"c": True}), 5, "not a whole number"),
    "id null": ("deberta", "vocab.json", json.dumps(PAIRS | {"c": None}), 5, "not a whole number"),
    "id of a trillion": ("deberta", "vocab.json", json.dumps(PAIRS | {"c": 10**12}), 4, "an id as large"),
    "id NaN": ("deberta", "vocab.json", json.dumps(PAIRS)[:-1] + ', "c": NaN}', 5, "not finite"),
    "id of 5,000 digits": (
        "deberta",
        "vocab.json",
        json.dumps(PAIRS)[:-1] + f', "c": {"1" * 5000}}}',
        5,
        "is too large",
    ),
    "5 million lists": (
        "ctrl",
        "vocab.json",
        '{"a": [' + "[]," * 5_000_000 + "[]]}",
        4,
        "more than 4,194,304 values",
    ),
    "a list": ("ctrl", "vocab.json", "[]", 5, "not a JSON object"),
    "a long token of pairs": ("ctrl", "vocab.json", json.dumps(CTRL | {"x" * 9000: 4}), 4, "9,00. letters"),
    # merges.txt
    "merge of what is not there": ("deberta", "merges.txt", "a z\n", 5, "of the merge 'a' 'z'"),
    "merge to what is not there": ("deberta", "merges.txt", "b a\n", 5, "of the merge 'b' 'a'"),
    "merge of three": ("deberta", "merges.txt", "a b a\n", 5, "is not a pair"),
    "merge of one": ("ctrl", "merges.txt", "a b</w>\na\n", 5, "is not a pair"),
    "merge of 5 MB": (
        "ctrl",
        "merges.txt",
        "a b</w>\na " + "x" * 5_000_000 + "</w>\n",
        4,
        "a token of 5,000,00. letters",
    ),
    "merges without end": ("ctrl", "merges.txt", "a b</w>\n" + "a b\n" * 2_000_000, 4, "more than 1,048,576 lines"),
    # spm.model
    "piece of 300,000 letters": ("deberta-v2", "spm.model", SPM + piece("x" * 300_000), 4, "a token of 300,000"),
    "score NaN": ("deberta-v2", "spm.model", SPM + piece("c", float("nan")), 5, "a score is not"),
    "score inf": ("deberta-v2", "spm.model", SPM + piece("c", float("inf")), 5, "a score is not"),
    "score 1e38": ("deberta-v2", "spm.model", SPM + piece("c", 1e38), 5, "a score is not"),
    "empty piece": ("deberta-v2", "spm.model", SPM + piece(""), 5, "a piece is empty"),
    "piece twice": ("deberta-v2", "spm.model", SPM + piece("a"), 5, "not each once there"),
    "pieces without end": ("deberta-v2", "spm.model", SPM + b"\x0a\x00" * 2_000_000, 4, "fields in a message"),
    "fields without end": ("deberta-v2", "spm.model", SPM + message(2, b"\x08\x00" * 2_000_000), 4, "fields in a"),
    "fields of a piece without end": (
        *("deberta-v2", "spm.model", SPM + message(1, b"\x20\x00" * 2_000_000)),
        *(4, "fields in a message"),
    ),
    "20,000 control pieces": (
        *("deberta-v2", "spm.model", SPM + b"".join(piece(f"<{n}>", 0.0, 3) for n in range(20_000))),
        *(4, "16,384 control pieces"),
    ),
    "number without end": ("deberta-v2", "spm.model", SPM + b"\x80" * 1000, 5, "not a SentencePiece model"),
    "length of an exabyte": ("deberta-v2", "spm.model", SPM + b"\x0a" + number(1 << 60), 5, "ends too early"),
    "nothing": ("deberta-v2", "spm.model", b"", 5, "is not whole"),
    "charsmap of 2 MB": (
        *(
            "deberta-v2",
            "spm.model",
            SPM + message(3, message(1, b"nmt_nfkc") + message(2, bytes([4, 0, 0, 0]) * 500_000)),
        ),
        *(4, "a map of characters of more than 1 MB"),
    ),
    # settings beside them
    "mask of 5 MB": (
        "bert",
        CONFIG,
        json.dumps({"mask_token": "x" * 5_000_000}),
        4,
        "a token of 5,000,000 letters",
    ),
    "class of 5 MB": ("bert", CONFIG, json.dumps({"tokenizer_class": "x" * 5_000_000}), 4, "names the tokenizer x"),
    "flag of 5 MB": ("bert", CONFIG, json.dumps({"do_lower_case": "x" * 5_000_000}), 4, "sets do_lower_case to"),
    "added token of 5 MB": (
        *("bert", CONFIG, json.dumps({"added_tokens_decoder": {"8": {"content": "x" * 5_000_000}}})),
        *(4, "a token of 5,000,000 letters"),
    ),
    "added token without content": (
        *("bert", CONFIG, json.dumps({"added_tokens_decoder": {"8": {"special": True}}})),
        *(5, "a token is no text"),
    ),
    "added tokens in a list": ("bert", MAP, json.dumps({"added_tokens_decoder": [1]}), 5, "no object of objects"),
    "added token as text": (
        "bert",
        MAP,
        json.dumps({"added_tokens_decoder": {"8": "x"}}),
        5,
        "no object of objects",
    ),
    "added token at -1": ("bert", CONFIG, json.dumps({"added_tokens_decoder": {"-1": {}}}), 5, "no whole number"),
    "added token at ٣": ("bert", CONFIG, json.dumps({"added_tokens_decoder": {"٣": {}}}), 5, "no whole number"),
    "additional tokens as one text": (
        *("bert", CONFIG, json.dumps({"additional_special_tokens": "<sea>"})),
        *(5, "no list"),
    ),
    "20,000 additional tokens": (
        *("bert", CONFIG, json.dumps({"additional_special_tokens": [f"<{n}>" for n in range(20_000)]})),
        *(4, "adds 20,005 tokens"),
    ),
    "additional token 5": ("bert", MAP, json.dumps({"additional_special_tokens": [5]}), 5, "a token is no text"),
    "a setting twice": ("bert", CONFIG, '{"do_lower_case": true, "do_lower_case": false}', 5, "stands twice"),
    "settings in a list": ("bert", CONFIG, "[]", 5, "not a JSON object"),
    "a length NaN": ("bert", CONFIG, '{"model_max_length": NaN}', 5, "not finite"),
    # added_tokens.json
    "added at an id beyond": ("bert", ADDED, '{"<x>": 99}', 5, "declared as id 99 but comes to 8"),
    "added at a trillion": ("bert", ADDED, json.dumps({"<x>": 10**12}), 4, "an id as large"),
    "added at -1": ("bert", ADDED, '{"<x>": -1}', 5, "not a whole number"),
    "added at true": ("bert", ADDED, '{"<x>": true}', 5, "not a whole number"),
    "added at words": ("bert", ADDED, '{"<x>": "8"}', 5, "not a whole number"),
    "two added at one": ("bert", ADDED, '{"<x>": 8, "<y>": 8}', 5, "two tokens have one id"),
    "added in a list": ("bert", ADDED, '["<x>"]', 5, "not a JSON object"),
    "added of 5 MB": ("bert", ADDED, json.dumps({"x" * 5_000_000: 8}), 4, "a token of 5,000,000 letters"),
    "20,000 added": ("bert", ADDED, json.dumps({f"<{n}>": 8 + n for n in range(20_000)}), 4, "adds 20,000 tokens"),
}


def written(folder, model_type, **files):
    for name, content in (WHOLE[model_type] | files).items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


@pytest.mark.parametrize("model_type", WHOLE)
def test_whole_files_open(model_type, tmp_path):
    # kills: a hostile file below that is refused for something else than what is wrong with it
    tokenizer = Tokenizer.open(written(tmp_path, model_type), FAMILIES[model_type], max_length=9)
    assert tokenizer.decode(tokenizer.ids(["ab"])[0]).replace(" ", "") == "ab" or model_type == "bert"


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_published_files_are_refused(name, tmp_path):
    # kills: a size or type that hangs the reader, fills the memory, or ends in a trace; within 20 s each
    model_type, file, content, code, words = HOSTILE[name]
    folder, started = written(tmp_path, model_type, **{file: content}), time.process_time()
    with pytest.raises({4: RefusedError, 5: CheckpointError}[code], match=words) as refused:
        Tokenizer.open(folder, FAMILIES[model_type], max_length=9)
    assert time.process_time() - started < 20
    sentence = str(refused.value)
    assert str(folder) in sentence and len(sentence) < 400 + len(str(folder))


@pytest.mark.parametrize("duplicate", ["a", "[UNK]", "\0"])
def test_a_vocabulary_with_odd_lines_opens(duplicate, tmp_path):
    # kills: published vocabularies with a line twice refused; the last one counts, as in transformers
    folder = written(tmp_path, "bert", **{"vocab.txt": WORDS + f"{duplicate}\n"})
    assert Tokenizer.open(folder, FAMILIES["bert"], max_length=9).id(duplicate) == 8


@pytest.mark.parametrize("length", [1e30, -1, "512", None, [512], True])
def test_a_length_that_is_none_is_not_one(length, tmp_path):
    # kills: settings of tokenizer_config.json that no code here needs, and that end in a trace
    folder = written(tmp_path, "bert", **{CONFIG: json.dumps({"model_max_length": length, "truncation": length})})
    assert Tokenizer.open(folder, FAMILIES["bert"], max_length=9).max_length == 9


def test_a_side_to_cut_that_is_not_ours_is_told(tmp_path):
    # kills: texts cut at the other end than the model's, and nobody told
    folder = written(tmp_path, "deberta-v2", **{CONFIG: json.dumps({"truncation_side": "left"})})
    with pytest.warns(SijoWarning, match="lose their beginning .* sijo cuts their end"):
        Tokenizer.open(folder, FAMILIES["deberta-v2"], max_length=8)


@pytest.mark.parametrize("options", [{"enable_sampling": True, "alpha": 0.1}, {"enable_sampling": 1}])
def test_sampling_of_published_files_is_turned_off(options, tmp_path):
    # kills: a word for BPE's dropout alone; a folder refused for what has no effect
    folder = written(tmp_path, "deberta-v2", **{CONFIG: json.dumps({"sp_model_kwargs": options})})
    with pytest.warns(SijoWarning, match="enable_sampling, which is for training, is turned off"):
        tokenizer = Tokenizer.open(folder, FAMILIES["deberta-v2"], max_length=9)
    assert len({tuple(tokenizer.ids(["abab ba"])[0]) for _ in range(20)}) == 1


@pytest.mark.parametrize("options", [{}, None, {"enable_sampling": False}])
def test_no_sampling_is_no_warning(options, tmp_path, recwarn):
    # kills: a word about what is off already, or a refusal of it
    folder = written(tmp_path, "deberta-v2", **{CONFIG: json.dumps({"sp_model_kwargs": options})})
    Tokenizer.open(folder, FAMILIES["deberta-v2"], max_length=9)
    assert not recwarn


def test_panics_are_one_sentence(tmp_path):
    # kills: PanicException, which is no Exception, on its way to a person or through a server's thread
    native = Native(models.BPE({"a": 0}, []))
    native.pre_tokenizer = pre_tokenizers.FixedLength(0)
    with pytest.raises(CheckpointError, match=r"this tokenizer fails at the text .*chunk size"), cutting():
        native.encode("a")
    with pytest.raises(CheckpointError, match=r"spm\.model is not whole: chunk"), intact(tmp_path / "spm.model"):
        native.encode("a")
    with pytest.raises(CheckpointError, match="cannot read a single letter"):
        Tokenizer(native, max_length=9)
    with pytest.raises(KeyboardInterrupt), cutting(), intact(tmp_path):
        raise KeyboardInterrupt
    with pytest.raises(TypeError), cutting():
        native.encode(5)


def test_what_a_tokenizer_cannot_read_is_an_error_of_its_own(tmp_path):
    # kills: the library's plain Exception at a text, as "failed: Exception", exit 1
    unknown = Native(models.Unigram([("a", 0.0), ("0", 0.0), ("가", 0.0)]))
    with pytest.raises(CheckpointError, match="fails at the text"):
        Tokenizer(unknown, max_length=9).ids(["z"])


def test_bounds_are_as_they_say():
    # kills: a bound that is off by one
    bounds.check_tokens(["x" * bounds.LONGEST_TOKEN])
    bounds.check_ids({"a": bounds.MOST_IDS - 1, "b": bounds.MOST_IDS * 4}, steps=bounds.MOST_IDS * 4)
    bounds.check_pieces([["x" * bounds.LONGEST_PIECE, 0.0]])
    bounds.check_added(map(str, range(bounds.MOST_ADDED)))
    bounds.check_merges([("a", "##b"), ["ab", "##b"], "a ##b"], {"a": 0, "##b": 1, "ab": 2, "abb": 3}, prefix="##")
    beyond = [
        (bounds.check_tokens, ["x" * (bounds.LONGEST_TOKEN + 1)]),
        (bounds.check_ids, {"a": bounds.MOST_IDS}),
        (bounds.check_pieces, [["x" * (bounds.LONGEST_PIECE + 1), 0.0]]),
        (bounds.check_added, map(str, range(bounds.MOST_ADDED + 1))),
    ]
    for check, value in beyond:
        with pytest.raises(bounds.BeyondBoundsError):
            check(value)
    fields = itertools.repeat(b"\x20\x00", MOST_FIELDS)
    assert read_model(b"".join(fields)).pieces == []
