"""Vocabularies learned from text are the same in every run, stand as a family's published ones, and suit new text.

References: `published.py` given the learned vocabulary as published files, `transformers` on what is saved,
`sentencepiece` trained on the same lines, and plain counting. The text is English and Korean, with emoji and
other things that tokenizers stumble over.
"""

import json
import os
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
import sentencepiece
import transformers

import tokenizers
from sijo.errors import SettingError, TextError
from sijo.models import FAMILIES, tokenizer_style, tokenizer_styles
from sijo.tokenizers.pipelines import nmt_nfkc
from sijo.tokenizers.tokenizer import Tokenizer
from sijo.tokenizers.train import FEWEST, train_tokenizer

sys.path.append(str(Path(__file__).parent))
import tokenizer_references as references

STYLES = tokenizer_styles()
KINDS = {family: style.kind for family, style in STYLES.items()}
SIZE = 1800
SPECIALS = ("<reviews>", "<news>")


def texts():
    """540 lines of English and Korean, the last 60 of them with odd things in them."""
    plain = [*references.english()[:300], *references.korean(180)]
    return [*plain, *references.disturbed(plain[::8])]


def trained(family, *, size=SIZE, **settings):
    return train_tokenizer(texts(), STYLES[family], vocab_size=size, **settings)


@pytest.fixture(scope="module")
def made():
    """A tokenizer of each family and its report; do not change them."""
    return {family: trained(family, specials=SPECIALS) for family in KINDS}


# --- the same in every run --------------------------------------------------------------------------------

SCRIPT = """
import json, sys
from sijo.models import tokenizer_styles
from sijo.tokenizers.train import train_tokenizer
texts, size, families = json.load(sys.stdin)
for family in families:
    print(family, train_tokenizer(texts, tokenizer_styles()[family], vocab_size=size)[0].fingerprint)
"""


def test_two_processes_make_the_same_bytes():
    # kills: the letters of byte pairs and WordPiece left to the library, or in the order of a set; pieces or
    # texts in the order of a set; anything that depends on threads
    families = ("bert", "albert", "deberta-v3", "deberta", "ctrl")
    given = json.dumps([texts(), SIZE, families])
    said = []
    for threads in ("1", "3"):
        environment = os.environ | {"RAYON_NUM_THREADS": threads, "PYTHONHASHSEED": threads}
        command = [sys.executable, "-c", SCRIPT]
        done = subprocess.run(
            command, env=environment, input=given, capture_output=True, text=True, encoding="utf-8", check=False
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout.splitlines())
    assert said[0] == said[1] and len(said[0]) == len(families)


def test_the_seed_chooses():
    # kills: chance that is not of the seed; a line that is repeated chosen or left as a whole
    lines = texts() * 5

    def bert(seed):
        return train_tokenizer(lines, STYLES["bert"], vocab_size=1500, characters=FEWEST, seed=seed)

    (first, report), (second, same), (other, _) = bert(3), bert(3), bert(4)
    assert first.fingerprint == second.fingerprint != other.fingerprint
    assert report == same and report.characters > FEWEST  # so that there was something to choose
    for seed in range(9):
        tokenizer, _ = train_tokenizer(["sea"] * 40 + ["oar"] * 40, STYLES["bert"], vocab_size=99, seed=seed)
        assert tokenizer.id("sea") and tokenizer.id("oar")


# --- as the published ones --------------------------------------------------------------------------------

FIRST = {
    "bert": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    "distilbert": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    "electra": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    "albert": ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"],
    "deberta": ["[PAD]", "[CLS]", "[SEP]", "[UNK]"],
    "deberta-v2": ["[PAD]", "[CLS]", "[SEP]", "[UNK]"],
    "deberta-v3": ["[PAD]", "[CLS]", "[SEP]", "[UNK]"],
    "ctrl": [],
    "modernbert": [],
    "roberta": ["<s>", "<pad>", "</s>", "<unk>"],
    "xlm-roberta": ["<s>", "<pad>", "</s>", "<unk>"],
    "mpnet": ["<s>", "<pad>", "</s>", "[UNK]"],
}
LAST = {"deberta": ["[MASK]"], "deberta-v2": ["[MASK]"], "deberta-v3": ["[MASK]"], "ctrl": ["<unk>", "\n"]}
LAST["modernbert"] = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
FAIRSEQ = ("roberta", "xlm-roberta", "mpnet")
"""Families with fairseq's special tokens."""
LAST |= {family: ["<mask>"] for family in FAIRSEQ}


@pytest.mark.parametrize("family", KINDS)
def test_special_tokens_have_the_ids_of_their_family(family, made):
    # kills: [PAD] and [UNK] exchanged; [MASK] that takes the id of a piece; codes before [MASK]; CTRL with a frame
    tokenizer, report = made[family]
    size = tokenizer.vocab_size
    last = [*LAST.get(family, []), *SPECIALS]
    assert [tokenizer.token(number) for number in range(len(FIRST[family]))] == FIRST[family]
    assert [tokenizer.token(number) for number in range(size - len(last), size)] == last
    assert report.vocab_size == size == tokenizer.largest_id + 1 <= SIZE
    names = ("<s>", "</s>", "<mask>") if family in FAIRSEQ else ("[CLS]", "[SEP]", "[MASK]")
    cls, sep, mask = map(tokenizer.id, names)
    assert (tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id) == (cls, sep, mask)
    assert tokenizer.windows([""])[0][0] == ([] if family == "ctrl" else [cls, sep])
    unknown = "<unk>" if family in ("albert", "ctrl", "roberta", "xlm-roberta") else "[UNK]"
    special = {*FIRST[family], *last, unknown} - {"\n"}
    assert tokenizer.special_ids == tuple(sorted(map(tokenizer.id, special)))
    if family != "ctrl":
        two = family in FAIRSEQ  # separators between two texts, which then have one segment
        assert tokenizer.pad_id == (tokenizer.id("[PAD]") if family == "modernbert" else two)
        pair = tokenizer.pairs(["sea"], ["land"])[0]
        assert [pair.input_ids[0], pair.input_ids[-1]] == [cls, sep] and pair.input_ids.count(sep) == 2 + two
        assert pair.token_type_ids[-1] == (not two)


def published(family, tokenizer, folder):
    """What sijo makes of published files of that family with this vocabulary."""
    names = [tokenizer.token(number) for number in range(tokenizer.vocab_size)]
    if KINDS[family] == "wordpiece":
        (folder / "vocab.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    else:
        merges = json.loads(tokenizer._inner.to_str())["model"]["merges"]
        references.write_pairs(folder, {name: number for number, name in enumerate(names)}, merges)
    return Tokenizer.open(folder, FAMILIES[family], max_length=512)


@pytest.mark.parametrize("family", ["bert", "distilbert", "electra", "deberta", "ctrl", "roberta", "mpnet"])
def test_it_is_what_published_files_would_give(family, tmp_path):
    # kills: another normaliser, template or decoder; a [MASK] that leaves the space before it; CTRL's pieces by
    # the names of their merges
    tokenizer, _ = trained(family)
    assert tokenizer.fingerprint == published(family, tokenizer, tmp_path).fingerprint


@pytest.mark.parametrize("family", ["albert", "deberta-v2", "deberta-v3"])
def test_unigram_differs_from_published_files_in_its_map_of_characters_alone(family, tmp_path):
    # kills: another frame, decoder or way to mark spaces; byte fallback forgotten; DeBERTa folded to lower case
    file, settings = (
        ("spiece.model", references.ALBERT) if family == "albert" else ("spm.model", references.DEBERTA)
    )
    more = {"vocab_size": 700, "byte_fallback": family == "deberta-v3", "user_defined_symbols": ""}
    (tmp_path / file).write_bytes(references.train(references.english()[:300], **settings | more))
    model_type = "albert" if family == "albert" else "deberta-v2"
    theirs = json.loads(Tokenizer.open(tmp_path, FAMILIES[model_type], max_length=512)._inner.to_str())
    ours = json.loads(trained(family)[0]._inner.to_str())
    for part in ("pre_tokenizer", "post_processor", "decoder", "truncation", "padding"):
        assert ours[part] == theirs[part]
    assert ours["model"]["byte_fallback"] is theirs["model"]["byte_fallback"] is (family == "deberta-v3")
    assert [token["content"] for token in ours["added_tokens"]] == [t["content"] for t in theirs["added_tokens"]]
    steps = ([step for step in one["normalizer"]["normalizers"] if not mapping(step)] for one in (ours, theirs))
    assert next(steps) == next(steps)


def mapping(step):
    """Whether a step stands for the map of characters, or shelters letters from it."""
    said = json.dumps(step)
    return step["type"] in ("Precompiled", "NFC", "Nmt", "NFKC") or any(
        f"fdd{n}" in said or "(?=" in said for n in "012"
    )


def test_characters_become_what_sentencepiece_makes_of_them():
    # kills: an emoji's joiner or ～ lost; NFKC before the rule for spaces; no NFKC
    ours = tokenizers.normalizers.Sequence(nmt_nfkc())
    theirs = sentencepiece.SentencePieceNormalizer(
        rule_name="nmt_nfkc", add_dummy_prefix=False, escape_whitespaces=False, remove_extra_whitespaces=False
    )
    known = (letter for letter in map(chr, range(1, 0x10780)) if unicodedata.category(letter) not in ("Cs", "Cn"))
    differ = [letter for letter in known if ours.normalize_str(f"x{letter}y") != theirs.normalize(f"x{letter}y")]
    # two of old, and letters that are younger than the table in SentencePiece
    assert set(differ) <= {*"\u0344\u061c\u32ff\ua7f1\ua7f2\ua7f3\ua7f4\uab69"}


@pytest.mark.parametrize("family", KINDS)
def test_saved_it_opens_here_and_in_transformers_with_the_same_ids(family, made, tmp_path):
    # kills: a regular expression that sijo itself refuses; a special token that `transformers` does not know;
    # token types where DistilBERT has none
    tokenizer, _ = made[family]
    tokenizer.save(tmp_path)
    lines = [*texts()[::9], "a <news> b", "x[MASK] y", "x <mask> y"]
    want = [windows[0] for windows in tokenizer.windows(lines)]
    again = Tokenizer.load(tmp_path / "tokenizer.json", max_length=512)
    assert [windows[0] for windows in again.windows(lines)] == want
    fast = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    assert fast(lines)["input_ids"] == want
    model_type = family.replace("deberta-v3", "deberta-v2")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert theirs(lines)["input_ids"] == want
    assert ("token_type_ids" in theirs("a")) is (family not in ("distilbert", "ctrl", "modernbert", *FAIRSEQ))


@pytest.mark.parametrize("family", KINDS)
def test_text_comes_back(family, made):
    # kills: a decoder of another family; pieces numbered otherwise than they are written
    tokenizer, _ = made[family]
    lines = [line for line in [*references.english()[600:700], *references.korean(340)[300:]] if "[" not in line]
    for line, ids in zip(lines, tokenizer.ids(lines), strict=True):
        if set(ids) & set(tokenizer.special_ids):
            continue  # a letter it has never seen
        want, got = line, tokenizer.decode(ids)
        if family in ("bert", "distilbert", "electra", "albert", "mpnet"):  # these fold case and accents
            want = "".join(c for c in unicodedata.normalize("NFKD", line.lower()) if not unicodedata.combining(c))
            want = want.replace("``", '"').replace("''", '"') if family == "albert" else want
            got = unicodedata.normalize("NFKD", got)
        if KINDS[family] == "wordpiece":
            want, got = ("".join(text.split()) for text in (want, got))
        elif family not in ("deberta", "roberta", "modernbert"):
            want = " ".join(want.split())
        assert got == want
    if family in ("deberta", "deberta-v3", "roberta", "modernbert"):
        odd = "😀 👨‍👩‍👧 한 글 漢 naïve"
        assert tokenizer.decode(tokenizer.ids([odd])[0]) == odd


def test_ctrl_s_own_marks_in_a_text():
    # kills: a piece "a@@" or "a</w>" that another piece is called too; "<unk>" learned as a word
    lines = ["a@@ b@@@ </w>x a</w> <unk> a b x"] * 50
    tokenizer, _ = train_tokenizer(lines, STYLES["ctrl"], vocab_size=400)
    names = [tokenizer.token(number) for number in range(tokenizer.vocab_size)]
    assert len(set(names)) == len(names) and [tokenizer.id(name) for name in names] == [*range(len(names))]
    text = "a@@ b@@@ </w>x a</w>"
    assert tokenizer.decode(tokenizer.ids([text])[0]) == text


# --- measures ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family, least", [("deberta-v3", 1.0), ("deberta", 1.0), ("bert", 0.8), ("albert", 0.97)])
def test_it_is_measured_on_text_it_has_not_seen(family, least, made):
    # kills: measures of all that was read; byte fallback that gives [UNK]
    report = made[family][1]
    assert report.held_back and report.characters_measured + report.characters_learned_from == report.characters
    assert report.characters // 30 < report.characters_measured < report.characters // 15
    assert least <= report.characters_covered <= 1 and report.unknown <= (0 if least == 1 else 0.05)


# --- what cannot be ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error, words, settings",
    [
        (SettingError, "no kind of tokenizer 'wordpeice'; did you mean 'wordpiece'", {"kind": "wordpeice"}),
        (SettingError, "no family 'elektra'; did you mean 'electra'", {"family": "elektra"}),
        (SettingError, "of ctrl are of the kind bpe, not wordpiece; .* bert, distilbert", {"family": "ctrl"}),
        (SettingError, "of 20 has no room for the text's 9 letters, 9 of them .*; ask for 23", {"vocab_size": 20}),
        (SettingError, "of 22 has .*; ask for 23", {"vocab_size": 24, "specials": ["<a>", "<a>", "[CLS]", "<b>"]}),
        (SettingError, "of 260 has no room for the text's 256 bytes", {"kind": "bpe", "vocab_size": 260}),
        (SettingError, "10 letters, a space among them, .*; ask for 15", {"kind": "unigram", "vocab_size": 14}),
        (SettingError, "9 letters, inside .*; ask for 20", {"kind": "bpe", "family": "ctrl", "vocab_size": 19}),
        (SettingError, "'two' is a token of the text already", {"specials": ["two"], "texts": ["one two two"]}),
        (SettingError, "max_length=2 leaves no room", {"max_length": 2}),
        (SettingError, "characters=9 to learn from; use 100,000 to 2,000,000,000", {"characters": 9}),
        (SettingError, "texts is one string", {"texts": "one two"}),
        (TextError, "there is no text to learn", {"texts": ["", " \n"]}),
        (TextError, "the text has no letter in it", {"texts": ["\x01\x02"]}),
        (TextError, "text 2 holds a lone surrogate", {"texts": ["a", "b\ud800"]}),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(error, words, settings):
    # kills: a panic of the library; a vocabulary larger than asked for; a trace
    given = {"texts": ["one two three", "four"], "kind": "wordpiece", "vocab_size": 100} | settings
    with pytest.raises(error, match=words):
        style = tokenizer_style(given.pop("kind"), given.pop("family", None))
        train_tokenizer(given.pop("texts"), style, **given)


@pytest.mark.parametrize("family", KINDS)
def test_a_vocabulary_as_small_as_can_be(family):
    # kills: a vocabulary beyond its size where all letters fit and nothing else
    def small(size):
        return train_tokenizer(references.english()[:40], STYLES[family], vocab_size=size)

    with pytest.raises(SettingError, match="ask for") as said:
        small(1)
    fewest = int(re.search(r"ask for (\d+),", str(said.value))[1])
    for size in (fewest, fewest + 1):
        tokenizer, report = small(size)
        assert report.vocab_size == size == tokenizer.vocab_size


# --- what pretraining asks of a tokenizer -----------------------------------------------------------------


def test_names_of_special_tokens_stay_when_there_are_more(made):
    # kills: names that are not the usual ones lost
    inner = tokenizers.Tokenizer.from_str(made["bert"][0]._inner.to_str())
    named = Tokenizer(inner, max_length=9, names={"mask_token": "<news>", "sep_token": "[UNK]"})
    larger = named.with_specials(["<more>"])
    assert larger.mask_id == named.mask_id == named.id("<news>") and larger.sep_id == named.id("[UNK]")


def test_ids_are_whole_and_without_special_tokens(made):
    # kills: truncation; the frame left in
    for tokenizer, _ in made.values():
        short = Tokenizer(tokenizers.Tokenizer.from_str(tokenizer._inner.to_str()), max_length=8)
        line = " ".join(texts()[:50])
        whole = short.ids([line, "", line])
        windows = tokenizer.windows([line])[0]
        ends = tokenizer.special_tokens // 2
        assert whole == [[n for window in windows for n in window[ends : len(window) - ends]], [], whole[0]]
        assert len(whole[0]) > 512


def starts(tokenizer, *tokens):
    return [bool(tokenizer.starts_word[tokenizer.id(token)]) for token in tokens]


def test_which_tokens_start_a_word(made):
    # kills: a rule of another kind; a special token that joins the word before it; one flag too few
    assert starts(made["bert"][0], "the", "##s", "[SEP]", "a", ".", "<news>") == [
        True,
        False,
        True,
        True,
        True,
        True,
    ]
    unigrams, octets = made["albert"][0], made["deberta-v3"][0]
    assert starts(unigrams, "▁", "▁the", "s", "ing", ".", "<unk>", "[MASK]") == [
        True, True, False, False, True, True, True
    ]  # fmt: skip
    assert starts(octets, "<0x41>", "다", "1", "e", "[UNK]") == [True, True, True, False, True]
    assert starts(made["deberta"][0], "Ġthe", "s", "ing", ".", "Ċ", "Ġ", "[MASK]", "ì") == [
        True, False, False, True, True, True, True, False
    ]  # fmt: skip
    with pytest.raises(SettingError, match="say where a word goes on"):
        _ = made["ctrl"][0].starts_word
    for family, (tokenizer, _) in made.items():
        if family != "ctrl":
            assert tokenizer.starts_word.shape == (tokenizer.vocab_size,)


def test_words_begin_where_the_pre_tokenizer_cuts(made):
    # kills: "##" looked for elsewhere than at the start
    tokenizer, _ = made["bert"]
    cut = tokenizers.pre_tokenizers.BertPreTokenizer()
    for line, ids in zip(texts(), tokenizer.ids(texts()), strict=True):
        if "[" not in line:
            normal = tokenizer._inner.normalizer.normalize_str(line)
            assert sum(tokenizer.starts_word[ids]) == len(cut.pre_tokenize_str(normal)), ascii(line)


def test_more_special_tokens_of_a_ctrl_with_steps_between(tmp_path):
    # kills: an id beyond the steps of merging, which have no ids that a network knows
    references.write_ctrl(tmp_path, references.english()[:300])
    tokenizer = Tokenizer.open(tmp_path, FAMILIES["ctrl"], max_length=99)
    assert tokenizer.vocab_size < len(tokenizer._inner.get_vocab())
    larger = tokenizer.with_specials(["<news>"])
    assert larger.id("<news>") == tokenizer.vocab_size and larger.vocab_size == tokenizer.vocab_size + 1
    assert larger.ids(["the <news>"]) == [[tokenizer.id("the"), tokenizer.vocab_size]]


@pytest.mark.parametrize("family", KINDS)
def test_more_special_tokens(family, made, tmp_path):
    # kills: an id beyond the end; a code cut into pieces; one found in lower case alone; names or length lost;
    # the tokenizer itself changed
    tokenizer, _ = made[family]
    larger = tokenizer.with_specials(["<Codes>", "<news>", "<Codes>"])
    size = tokenizer.vocab_size
    assert larger.vocab_size == size + 1 == larger.largest_id + 1 and larger.token(size) == "<Codes>"
    assert larger.ids(["a<Codes>"])[0][-1] == size == larger.special_ids[-1]
    assert larger.decode([size, *larger.ids(["sea"])[0]]) == "sea"
    assert larger.ids(texts()) == tokenizer.ids(texts()) and tokenizer.id("<Codes>") is None
    same = ("max_length", "pad_id", "mask_id", "cls_id", "sep_id", "kind")
    assert all(getattr(larger, name) == getattr(tokenizer, name) for name in same)
    larger.save(tmp_path)
    model_type = family.replace("deberta-v3", "deberta-v2")
    again = Tokenizer.open(tmp_path, FAMILIES[model_type], max_length=512)
    assert again.ids(["a <Codes>"]) == larger.ids(["a <Codes>"]) and again.special_ids == larger.special_ids
    word = next(t for t in map(tokenizer.token, range(300, size)) if t.isalpha() and t.isascii())
    for name in (" ", word):
        with pytest.raises(SettingError, match="use another name"):
            tokenizer.with_specials([name])
