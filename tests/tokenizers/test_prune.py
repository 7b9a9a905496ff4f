"""A vocabulary cut down: what stays, how a text is then spelled, and what is refused.

Reference: the same words counted with the whole tokenizer, and greedy spelling by hand.
"""

import json
from collections import Counter

import numpy as np
import pytest
import transformers

from sijo.checkpoints.locate import locate
from sijo.errors import SettingError, TextError
from sijo.models import FAMILIES, tokenizer_style
from sijo.tokenizers.prune import prune_tokenizer
from sijo.tokenizers.tokenizer import Tokenizer
from sijo.tokenizers.train import train_tokenizer

pytestmark = pytest.mark.filterwarnings("ignore:letters and signs")
TEXTS = [
    *["the kettle sings on the stove", "a kettle, a stove, Café Zoë and weiß", "tokenizers tokenize"] * 3,
    *["an elephantine memory", "the stove is hot", "hot hot kettle 42"],
]


@pytest.fixture(scope="module")
def whole():
    return Tokenizer.open(locate("all-minilm-l6-v2"), FAMILIES["bert"], max_length=64)


def test_the_tokens_used_most_stay_in_their_order(whole):
    # kills: rare tokens that stay for frequent ones, ids out of order, ties by another rule than the smaller id
    short, cut = prune_tokenizer(whole, TEXTS, vocab_size=150)
    counts = Counter(number for ids in whole.ids(TEXTS) for number in ids)
    names = [short.token(number) for number in range(short.vocab_size)]
    before = [whole.id(name) for name in names]
    assert before == sorted(before) and cut.vocab_size == short.vocab_size == 150
    ranked = sorted(
        (number for number in counts if len(whole.token(number).removeprefix("##")) > 1),
        key=lambda number: (-counts[number], number),
    )
    words = {number for number in before if number in ranked}
    assert words == set(ranked[: len(words)]) and 0 < len(words) < len(ranked)
    assert cut.tokens == counts.total()
    assert cut.covered == pytest.approx(sum(counts[number] for number in before) / counts.total())


def test_a_word_whose_token_is_gone_is_spelled_by_pieces(whole):
    # kills: unknown tokens for what pieces could spell, a letter of the text that is left out, other pieces
    short, _ = prune_tokenizer(whole, TEXTS, vocab_size=150)
    ids = short.ids(["The elephantine Café", "zoë 97 ßa"])
    unknown = short.id("[UNK]")
    assert all(unknown not in row for row in ids)
    for text, row in zip(["The elephantine Café", "zoë 97 ßa"], ids, strict=True):
        assert short.decode(row) == whole.decode(whole.ids([text])[0])
    assert [short.token(number) for number in short.ids(["kettle"])[0]] == ["kettle"]


def test_the_frame_and_special_tokens_are_renumbered(whole, tmp_path):
    # kills: a template with the old ids of [CLS] and [SEP], a [PAD] or [MASK] of another token
    short, _ = prune_tokenizer(whole, TEXTS, vocab_size=180)
    window = short.windows(["The kettle sings"])[0][0]
    assert (window[0], window[-1]) == (short.id("[CLS]"), short.id("[SEP]"))
    assert short.token(short.pad_id) == "[PAD]" and short.token(short.mask_id) == "[MASK]"
    assert max(short.special_ids) < 180 and short.max_length == whole.max_length
    pair = short.pairs(["the stove"], ["hot"])[0]
    assert pair.token_type_ids == [0, 0, 0, 0, 1, 1]
    short.save(tmp_path)
    peer = transformers.PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert peer("The elephantine kettle")["input_ids"] == short.windows(["The elephantine kettle"])[0][0]
    again = Tokenizer.open(tmp_path, FAMILIES["bert"], max_length=64)
    assert again.fingerprint == short.fingerprint


def test_berts_own_frame_is_renumbered_too(whole, tmp_path):
    # kills: BertProcessing, which has its ids in another place than a template, left with the old ones
    whole.save(tmp_path)
    settings = json.loads((tmp_path / "tokenizer.json").read_text())
    ends = {name: [f"[{name.upper()}]", whole.id(f"[{name.upper()}]")] for name in ("sep", "cls")}
    settings["post_processor"] = {"type": "BertProcessing", **ends}
    (tmp_path / "tokenizer.json").write_text(json.dumps(settings))
    other = Tokenizer.open(tmp_path, FAMILIES["bert"], max_length=64)
    short, _ = prune_tokenizer(other, TEXTS, vocab_size=180)
    assert short.windows(["hot"])[0][0] == [short.id("[CLS]"), short.id("hot"), short.id("[SEP]")]


def test_all_tokens_that_are_used_change_nothing_but_the_numbers(whole):
    # kills: a token of the text that is lost though there is room for it
    counts = np.bincount([number for ids in whole.ids(TEXTS) for number in ids])
    short, cut = prune_tokenizer(whole, TEXTS, vocab_size=1_000 + int((counts > 0).sum()))
    assert cut.covered == 1
    spelled = [[whole.token(number) for number in ids] for ids in whole.ids(TEXTS)]
    assert [[short.token(number) for number in ids] for ids in short.ids(TEXTS)] == spelled


def test_a_text_is_counted_as_unchanged_where_it_is(whole):
    # kills: a share of something else, texts without a token in it
    short, cut = prune_tokenizer(whole, [*TEXTS, ""], vocab_size=155)
    spelled = [
        [tokenizer.token(number) for number in ids] for tokenizer in (whole, short) for ids in tokenizer.ids(TEXTS)
    ]
    same = [spelled[place] == spelled[place + len(TEXTS)] for place in range(len(TEXTS))]
    assert (
        cut.texts == len(TEXTS) and cut.texts_unchanged == pytest.approx(sum(same) / len(TEXTS)) and sum(same) > 0
    )
    assert not all(same)


def test_a_letter_that_stands_inside_words_alone_is_not_lost(whole, tmp_path):
    # kills: a token cut whose letters have none of their own inside a word
    whole.save(tmp_path)
    settings = json.loads((tmp_path / "tokenizer.json").read_text())
    names = [name for name in settings["model"]["vocab"] if name != "##z"]
    settings["model"]["vocab"] = {name: number for number, name in enumerate(names)}
    for token in settings["added_tokens"]:
        token["id"] = names.index(token["content"])
    for special in settings["post_processor"]["special_tokens"].values():
        special["ids"] = [names.index(special["id"])]
    (tmp_path / "tokenizer.json").write_text(json.dumps(settings))
    other = Tokenizer.open(tmp_path, FAMILIES["bert"], max_length=64)
    texts = ["the pizza", *["the stove"] * 9]
    short, _ = prune_tokenizer(other, texts, vocab_size=141)
    assert short.id("pizza") and not short.id("stove") and short.unk_id not in short.ids(["a pizza"])[0]


def test_what_cannot_be_cut(whole):
    # kills: a size that the letters overfill, more tokens than there are, no text, another kind
    for size in (20, 100, 30_523):
        with pytest.raises(SettingError, match=f"vocab_size={size}"):
            prune_tokenizer(whole, TEXTS, vocab_size=size)
    with pytest.raises(TextError, match="no text"):
        prune_tokenizer(whole, ["", "  "], vocab_size=500)
    pairs, _ = train_tokenizer(TEXTS * 5, tokenizer_style("bpe"), vocab_size=300)
    with pytest.raises(SettingError, match="WordPiece or unigram vocabulary can be cut, and this one is BPE"):
        prune_tokenizer(pairs, TEXTS, vocab_size=280)
