"""A unigram vocabulary cut down: the same cut of a text that lost nothing, the next best of another, ids anew.

References: the whole tokenizer by the names of its tokens, and the best way to cut a word in plain Python.
"""

import json
import math
import random
import sys
import unicodedata
from pathlib import Path

import pytest
import transformers

import tokenizers
from sijo.errors import SettingError, SijoWarning
from sijo.models import tokenizer_style
from sijo.tokenizers import sentencepiece as spm
from sijo.tokenizers.prune import prune_tokenizer
from sijo.tokenizers.renumber import renumbered
from sijo.tokenizers.tokenizer import Tokenizer
from sijo.tokenizers.train import train_tokenizer
from tokenizers import models, normalizers, pre_tokenizers, processors

sys.path.append(str(Path(__file__).parent))
import tokenizer_references as references

pytestmark = pytest.mark.filterwarnings("ignore:letters and signs")
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
ODD = [
    "ＡＢＣ ﬁ ½ ①",
    "👍🏽 ☺ 한글 漢字",
    "  two   spaces ",
    "<mask> of <s>",
    "ㅋㅋㅋ ㄷㅏ",
    "naïve café — 1️⃣",
    "뷁 쀍",
]


def xlmr(pieces, charsmap=b"", **frame):
    """A tokenizer.json's settings as XLM-R has them: special tokens first, the mask last, a metaspace at words."""
    vocab = [*((name, 0.0) for name in SPECIAL), *pieces, ("<mask>", 0.0)]
    inner = tokenizers.Tokenizer(models.Unigram(vocab, 3))
    steps = [normalizers.Precompiled(charsmap)] if charsmap else []
    inner.normalizer = normalizers.Sequence([*steps, normalizers.Replace(tokenizers.Regex(" {2,}"), " ")])
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace("▁", prepend_scheme="always")]
    )
    inner.post_processor = processors.TemplateProcessing(
        single=["<s>", "$A", "</s>"],
        pair=["<s>", "$A", "</s>", "</s>", "$B", "</s>"],
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    inner.add_special_tokens([*SPECIAL, tokenizers.AddedToken("<mask>", lstrip=True, special=True)])
    return json.loads(inner.to_str()) | frame


def opened(settings, folder, length=64):
    file = folder / "tokenizer.json"
    file.write_text(json.dumps(settings), encoding="utf-8")
    return Tokenizer.load(file, max_length=length)


@pytest.fixture(scope="module")
def lines():
    return [*references.english()[:700], *references.korean(700)]


@pytest.fixture(scope="module")
def settings(lines):
    model = spm.read_model(references.train(lines, vocab_size=2000))
    pieces = [(piece, score) for piece, score, kind in model.pieces if kind == spm.NORMAL]
    return xlmr(pieces, model.charsmap())


@pytest.fixture(scope="module")
def whole(settings, tmp_path_factory):
    return opened(settings, tmp_path_factory.mktemp("whole"))


def named(tokenizer, texts):
    return [[tokenizer.token(number) for number in ids] for ids in tokenizer.ids(texts)]


def scores_of(tokenizer):
    return json.loads(tokenizer._inner.to_str())["model"]["vocab"]


def test_a_text_that_lost_nothing_is_cut_as_before(whole, lines):
    # kills: a score that is not the piece's own, pieces in another order, unknown letters that cost less
    texts = [*references.disturbed(lines[::5]), *ODD]
    before, ids = named(whole, texts), whole.ids(texts)
    chance = random.Random(0)
    for share in (0.99, 0.95, 0.8):
        kept = {number for number in range(whole.vocab_size) if chance.random() < share} | whole.essential_ids
        short = whole.only(sorted(kept))
        after = named(short, texts)
        same = [kept.issuperset(row) for row in ids]
        assert [one == other for one, other in zip(before, after, strict=True)] == same and any(same)
        own = dict(scores_of(whole))
        assert all(own[piece] == score for piece, score in scores_of(short))
    assert not all(same)


def best(word, scores, unknown):
    """The score of the best way to cut a word."""
    sums = [0.0] + [-math.inf] * len(word)
    for end in range(1, len(word) + 1):
        for start in range(end):
            if (piece := word[start:end]) in scores:
                sums[end] = max(sums[end], sums[start] + scores[piece])
            elif end == start + 1:
                sums[end] = max(sums[end], sums[start] + unknown)
    return sums[-1]


def test_what_lost_a_piece_is_cut_in_the_next_best_way(whole, lines):
    # kills: pieces that are not the best by the scores they had, a letter that is lost though it is in the text
    texts = lines[::7]
    short, cut = prune_tokenizer(whole, texts, vocab_size=1000)
    scores = dict(scores_of(short))
    assert len(scores) == short.vocab_size == 1000 and 0.1 < cut.texts_unchanged < 0.9
    own, unknown = dict(scores_of(whole)), min(scores.values()) - 10
    for text, row in zip(texts, named(short, texts), strict=True):
        words = short._inner.pre_tokenizer.pre_tokenize_str(short._inner.normalizer.normalize_str(text))
        want = math.fsum(best(word, scores, unknown) for word, _ in words)
        assert math.fsum(own[piece] if piece != "<unk>" else unknown for piece in row) == pytest.approx(want)
        assert row.count("<unk>") == named(whole, [text])[0].count("<unk>")


def test_what_an_unknown_letter_costs_stays(tmp_path):
    # kills: the piece with the lowest score cut, so that "a" unknown and "bcd" known is better than three pieces
    pieces = [("ab", -9.0), ("c", -9.0), ("d", -9.0), ("bcd", -1.0), ("▁", -0.5), ("e", -2.0), ("zzz", -20.0)]
    whole = opened(xlmr(pieces), tmp_path)
    assert named(whole, ["abcd"]) == [["▁", "ab", "c", "d"]]
    short, cut = prune_tokenizer(whole, ["abcd"], vocab_size=whole.vocab_size - 1)
    assert short.id("e") and short.id("zzz") and not short.id("bcd")
    kept = {number for number in range(whole.vocab_size) if whole.token(number) != "e"}
    assert named(whole.only(sorted(kept)), ["abcd"]) == [["▁", "ab", "c", "d"]]
    assert whole.id("zzz") in whole.essential_ids and cut.texts_unchanged == 1


def test_a_letter_that_has_no_piece_of_its_own_is_not_lost(tmp_path):
    # kills: single letters taken for all that is needed to spell a text
    pieces = [("가나", -9.0), ("가", -3.0), ("▁", -0.5), ("다라", -2.0), ("다", -2.5), ("라", -2.5), ("마", -30.0)]
    whole = opened(xlmr(pieces), tmp_path)
    texts = ["가나", *["다라"] * 9]
    short, cut = prune_tokenizer(whole, texts, vocab_size=11)
    assert named(short, texts[:2]) == [["▁", "가나"], ["▁", "다", "라"]]
    assert cut.texts_unchanged == pytest.approx(0.1) and short.token(short.unk_id) == "<unk>"


def test_frames_and_special_tokens_have_their_new_ids(settings, whole, lines, tmp_path):
    # kills: <mask> at its old id, unk_id of another piece, ids in a frame, or in one inside a sequence, left as
    # they were
    last = {"<s>": 4, "</s>": 5, "<mask>": 6}
    vocab = settings["model"]["vocab"]
    moved = [*vocab[4:1504], *vocab[:4], *vocab[-1:]]
    ids = {name: 1500 + place for place, name in enumerate((*SPECIAL, "<mask>"))}
    added = [token | {"id": ids[token["content"]]} for token in settings["added_tokens"]]
    template = json.loads(json.dumps(settings["post_processor"]))
    for name, special in template["special_tokens"].items():
        special["ids"] = [ids[name]]
    pairs = {"cls": ["<s>", ids["<s>"]], "sep": ["</s>", ids["</s>"]]}
    frames = {
        "template": template,
        "roberta": {"type": "RobertaProcessing", "trim_offsets": True, "add_prefix_space": False, **pairs},
        "sequence": {
            "type": "Sequence",
            "processors": [
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
                template,
            ],
        },
    }
    model = settings["model"] | {"vocab": moved, "unk_id": ids["<unk>"]}
    for name, frame in frames.items():
        (tmp_path / name).mkdir()
        parts = {"model": model, "added_tokens": added, "post_processor": frame}
        tokenizer = opened(settings | parts, tmp_path / name)
        short, _ = prune_tokenizer(tokenizer, lines, vocab_size=900)
        assert [short.id(token) for token in last] == [895, 897, 899], name
        row = short.windows(["the 뷁 <mask>"])[0][0]
        unknown = short.id("<unk>")
        assert (row[0], row[-1], row[-2]) == (895, 897, 899) and unknown in row
        short.save(tmp_path / name)
        peer = transformers.PreTrainedTokenizerFast.from_pretrained(tmp_path / name)
        assert peer("the 뷁 <mask>")["input_ids"] == row
    assert whole.id("<mask>") == whole.largest_id and whole.unk_id == 3


def test_added_tokens_behind_the_pieces(settings, whole, lines, tmp_path):
    # kills: a token added behind the pieces that is cut, or has its old id; one that no text uses and stays
    parts = json.loads(json.dumps(settings))
    first = len(parts["model"]["vocab"])
    plain = {**parts["added_tokens"][0], "special": False}
    parts["added_tokens"] += [
        plain | {"id": first, "content": "of the"},
        plain | {"id": first + 1, "content": "@@"},
    ]
    tokenizer = opened(parts, tmp_path).with_specials(["<sea>"])
    assert tokenizer.id("<sea>") == first + 2
    short, cut = prune_tokenizer(tokenizer, lines, vocab_size=900)
    assert [short.id(name) for name in ("<mask>", "of the", "@@", "<sea>")] == [897, 898, None, 899]
    assert cut.vocab_size == short.vocab_size == 900 == len(scores_of(short)) + 2
    text = "one of the @@ <sea>"
    assert {"of the", "<sea>"} <= {*named(short, [text])[0]} and "@@" in named(tokenizer, [text])[0]
    ids = sorted({tokenizer.id(short.token(number)) for number in range(900)})
    fresh = renumbered(json.loads(tokenizer._inner.to_str()), ids)["added_tokens"]
    assert [(token["content"], token["id"]) for token in fresh[-3:]] == [
        ("<mask>", 897),
        ("of the", 898),
        ("<sea>", 899),
    ]


def test_a_map_of_characters_goes_along(whole, lines, tmp_path):
    # kills: a normalizer that is left out, or one that is applied to what it was applied to before
    short, _ = prune_tokenizer(whole, lines, vocab_size=1200, always=ODD)
    assert named(short, ODD) == named(whole, ODD)
    assert short.ids(["ＡＢＣ"]) == short.ids(["ABC"]) and short.unk_id not in short.ids(["ＡＢＣ"])[0]
    short.save(tmp_path)
    again = Tokenizer.load(tmp_path / "tokenizer.json", max_length=64)
    assert again.fingerprint == short.fingerprint


def test_all_tokens_are_the_tokenizer_as_it_was(whole, lines):
    # kills: a piece that moves, a setting that is lost
    short, cut = prune_tokenizer(whole, lines, vocab_size=whole.vocab_size)
    assert short.fingerprint == whole.fingerprint
    assert (cut.covered, cut.texts_unchanged, cut.letters_lost) == (1, 1, {})


def test_a_tokenizer_cut_twice(whole, lines):
    # kills: a cut of a cut that is none, the second's other pieces, runs that differ
    first, cut = prune_tokenizer(whole, lines, vocab_size=1500)
    assert prune_tokenizer(whole, iter(lines), vocab_size=1500)[0].fingerprint == first.fingerprint
    same, again = prune_tokenizer(first, lines, vocab_size=1500)
    assert same.fingerprint == first.fingerprint and again.texts_unchanged == 1
    second, again = prune_tokenizer(first, lines, vocab_size=800)
    pairs = list(zip(named(first, lines), named(second, lines), strict=True))
    assert again.texts_unchanged == pytest.approx(sum(a == b for a, b in pairs) / len(lines))
    assert cut.texts_unchanged > again.texts_unchanged > 0
    assert all(a == b or not all(second.id(piece) is not None for piece in a) for a, b in pairs)


def hangul_in(tokenizer):
    names = [tokenizer.token(number) for number in range(tokenizer.vocab_size)]
    return {name for name in names if len(name) == 1 and unicodedata.name(name).startswith("HANGUL")}


def test_a_script_that_the_text_lacks_is_lost_and_told(whole, lines):
    # kills: a script lost in silence, a count of tokens in place of letters, a script kept that was not asked for
    english = [line for line in lines if line.isascii()]
    hangul = hangul_in(whole)
    with pytest.warns(SijoWarning, match=rf"become unknown, .* in all: hangul {len(hangul):,}\b"):
        short, cut = prune_tokenizer(whole, english, vocab_size=900)
    assert cut.letters_lost["hangul"] == len(hangul) > 200 and hangul_in(short) == set()
    assert all({*row} <= {"▁", "<unk>", "."} for row in named(short, ["비가 온다."])) and cut.texts_unchanged > 0
    short, cut = prune_tokenizer(whole, english, vocab_size=900, scripts=["hangul"])
    assert "hangul" not in cut.letters_lost and hangul_in(short) == hangul
    assert short.unk_id not in short.ids(["비가 온다."])[0]
    with pytest.raises(SettingError, match="script 'hangeul'; did you mean 'hangul'"):
        prune_tokenizer(whole, english, vocab_size=900, scripts=["hangeul"])


def test_letters_stay_before_other_tokens_that_are_not_used(whole, lines):
    # kills: room filled with pieces of other languages while letters go
    english = [line for line in lines if line.isascii()]
    used, hangul = {name for row in named(whole, english) for name in row}, hangul_in(whole)
    room = len(used) + len(hangul) + 200
    short, cut = prune_tokenizer(whole, english, vocab_size=room)
    assert used.isdisjoint(hangul) and hangul_in(short) == hangul and cut.letters_lost == {} and cut.covered == 1
    assert room < whole.vocab_size


def test_what_a_model_puts_before_a_text_stays(whole, lines):
    # kills: a prompt whose pieces are counted as if it stood in no text, letters of it that are lost
    texts, prompt = lines[:400], "비가: 뭐 오늘은"
    bare, _ = prune_tokenizer(whole, texts, vocab_size=600)
    short, _ = prune_tokenizer(whole, texts, vocab_size=600, always=[prompt])
    assert named(short, [prompt]) == named(whole, [prompt]) != named(bare, [prompt])


def test_bytes_stay_and_spell_what_is_lost(lines):
    # kills: a byte that is cut, a warning of what becomes bytes, special tokens of one end alone
    whole, _ = train_tokenizer(lines, tokenizer_style("unigram", "deberta-v3"), vocab_size=1400)
    english = [line for line in lines if line.isascii()]
    short, cut = prune_tokenizer(whole, english, vocab_size=700)
    octets = [f"<0x{number:02X}>" for number in range(256)]
    assert all(short.id(piece) is not None for piece in octets) and cut.letters_lost == {}
    (row,) = named(short, ["비"])
    assert row == ["▁", *(f"<0x{octet:02X}>" for octet in "비".encode())]
    assert short.decode(short.ids(["비가 온다"])[0]) == "비가 온다"
    window = short.windows(["the [MASK]"])[0][0]
    assert (window[0], window[-1], window[-2]) == (short.cls_id, short.sep_id, short.mask_id)
    assert short.mask_id == 699


def test_sizes_that_are_too_small(whole, lines):
    # kills: a table smaller than its letters, an error that does not tell the least, a letter lost that only longer
    # pieces of the text hold
    with pytest.raises(SettingError, match=r"at least the [0-9]+ letters and special tokens") as refused:
        prune_tokenizer(whole, lines, vocab_size=50)
    least = int(str(refused.value).split("at least the ")[1].split(" ")[0])
    with pytest.raises(SettingError, match=f"vocab_size={least - 1} must"):
        prune_tokenizer(whole, lines, vocab_size=least - 1)
    short, cut = prune_tokenizer(whole, lines, vocab_size=least)
    assert short.vocab_size == cut.vocab_size == least
    unknown = [[row.count("<unk>") for row in named(tokenizer, lines)] for tokenizer in (whole, short)]
    assert unknown[0] == unknown[1]


def test_the_share_of_texts_is_what_it_says(whole, lines, monkeypatch):
    # kills: texts that are empty counted, texts judged by their first token, only the first texts looked at
    texts = [*lines, "", " "]
    short, cut = prune_tokenizer(whole, texts, vocab_size=1200)
    same = [a == b for a, b in zip(named(whole, lines), named(short, lines), strict=True)]
    assert cut.texts == len(lines) and cut.texts_unchanged == pytest.approx(sum(same) / len(same))
    assert cut.tokens == sum(map(len, whole.ids(lines)))
    monkeypatch.setattr("sijo.tokenizers.prune.REMEMBERED", 8_000)
    some = prune_tokenizer(whole, texts, vocab_size=1200)[1].texts_unchanged
    assert some == pytest.approx(cut.texts_unchanged, abs=0.12) and some != cut.texts_unchanged
    assert some == prune_tokenizer(whole, texts, vocab_size=1200)[1].texts_unchanged
