"""Texts that come in pieces: the pieces make the text that all tokens make, whatever the tokenizer does to them."""

import random
from pathlib import Path

import pytest

import tokenizers
from sijo.generation.incremental_decoder import IncrementalDecoder
from sijo.tokenizers import pipelines
from sijo.tokenizers.published_settings import PublishedSettings
from sijo.tokenizers.tokenizer import Tokenizer
from tokenizers import decoders, models, pre_tokenizers

LETTERS = ["한국", "😀", " ", "a", "the ", " the", "é", ".", "\n"]


def pairs_of_bytes():
    """DeBERTa's and GPT-2's: letters of several bytes, cut in the middle."""
    ids = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merges = [("Ġ", "a"), ("í", "ķ"), ("Ġ", "t"), ("t", "h")]
    ids |= {left + right: len(ids) + number for number, (left, right) in enumerate(merges)}
    inner = tokenizers.Tokenizer(models.BPE(ids, merges))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return inner


def unigram(*, bytes_too, strip):
    """SentencePiece's: a space before each word but the first, unknown letters as runs of bytes."""
    pieces = [("<unk>", 0.0), *((piece, -2.0) for piece in ["▁", "▁▁", "▁the", "a", "▁a", "한", "s", ".", "\n"])]
    pieces += [(f"<0x{number:02X}>", -9.0) for number in range(256 if bytes_too else 0)]
    inner = tokenizers.Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=bytes_too))
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    ends = [decoders.Strip(" ", 1, 0)] if strip else []
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *ends]
    inner.decoder = decoders.Sequence(parts) if bytes_too else decoders.Metaspace()
    return inner


def wordpiece():
    """BERT's: no space before what goes on, or before a full stop."""
    words = [
        "[UNK]",
        "the",
        "a",
        "##s",
        "##a",
        ".",
        ",",
        "'",
        "n't",
        "not",
        "do",
        "##.",
        "'m",
        "한",
        "##국",
        "한국",
    ]
    inner = tokenizers.Tokenizer(models.WordPiece({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.decoder = decoders.WordPiece()
    return inner


def ctrl():
    """CTRL's: a space after each word, where another follows."""
    pieces = ["a@@", "a", "b@@", "b", "the", "th@@", "e", ".", "\n", "@@", "한@@", "국", "😀", "<unk>"]
    ids = {piece: number for number, piece in enumerate(pieces)}
    return pipelines.ctrl(ids, [], PublishedSettings(Path("none"), {"unk_token": "<unk>"}))


def rewriting():
    """One that writes a full stop to the word before it, once the text is put together."""
    inner = unigram(bytes_too=True, strip=True)
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Replace(" .", ".")]
    inner.decoder = decoders.Sequence(parts)
    return inner


KINDS = {
    "bytes": pairs_of_bytes,
    "unigram": lambda: unigram(bytes_too=True, strip=True),
    "unigram, first space kept": lambda: unigram(bytes_too=True, strip=False),
    "metaspace": lambda: unigram(bytes_too=False, strip=False),
    "wordpiece": wordpiece,
    "ctrl": ctrl,
    "rewriting": rewriting,
}


@pytest.fixture(params=KINDS, scope="module")
def tokenizer(request):
    return Tokenizer(KINDS[request.param](), max_length=99)


def rows(tokenizer, count):
    """Tokens at random, of few kinds or of many; and those of real letters, cut as the tokenizer cuts them."""
    every = [n for n in range(tokenizer.largest_id + 1) if tokenizer.token(n) and n not in tokenizer.special_ids]
    for seed in range(count):
        draws = random.Random(seed)
        pool = draws.choice([every, draws.sample(every, 6)])
        ids = [draws.choice(pool) for _ in range(draws.randint(1, 14))]
        if seed % 3 == 0:
            text = "".join(draws.choices(LETTERS, k=8))
            ids = [token for token in tokenizer.ids([text])[0] if token not in tokenizer.special_ids] or ids
        yield draws, ids


def spelled(tokenizer, ids, stops=()):
    """The pieces that tokens give, and whether a stop string came."""
    decoder, pieces = IncrementalDecoder(tokenizer, tuple(stops)), []
    for place, token in enumerate(ids):
        decoder = decoder.after(token, last=place == len(ids) - 1)
        pieces.append(decoder.piece)
        if decoder.stopped:
            break
    return pieces, decoder.stopped


def test_pieces_make_the_text(tokenizer):
    # kills: a space lost or doubled between pieces; half a letter given out; a run of bytes given out that the next
    # byte makes unreadable; all kept until the end
    early = total = 0
    for _, ids in rows(tokenizer, 400):
        pieces, stopped = spelled(tokenizer, ids)
        assert "".join(pieces) == tokenizer.decode(ids) and not stopped
        early += sum(map(bool, pieces[:-1]))
        total += len(pieces)
    assert early > 0.2 * total


def test_stop_strings_across_tokens(tokenizer):
    # kills: a stop string not found where it lies in two tokens, its first letters given out, the second one found
    # first, text before it kept back
    early = 0
    for draws, ids in rows(tokenizer, 400):
        whole = tokenizer.decode(ids)
        start = draws.randrange(max(1, len(whole) - 1))
        stops = [stop for stop in (whole[start : start + draws.randint(1, 4)], "a.") if stop]
        for count in range(1, len(ids) + 1):
            text = tokenizer.decode(ids[:count])
            places = [text.find(stop) for stop in stops if stop in text]
            if places:
                break
        pieces, stopped = spelled(tokenizer, ids, stops)
        assert ("".join(pieces), stopped) == (text[: min(places)] if places else text, bool(places))
        assert len(pieces) == count
        early += bool(places) and count < len(ids)
    assert early > 50


def test_a_letter_comes_when_its_last_byte_has_come():
    # kills: bytes of one letter given out one by one, as three marks for what cannot be read
    tokenizer = Tokenizer(pairs_of_bytes(), max_length=99)
    pieces, _ = spelled(tokenizer, tokenizer.ids(["a😀a"])[0])
    assert pieces == ["", "a", "", "", "", "😀a"]


def test_a_token_costs_the_same_at_the_end(tokenizer, monkeypatch):
    # kills: the whole text decoded anew for each token
    most = 0
    decode = Tokenizer.decode

    def counted(self, ids):
        nonlocal most
        most = max(most, len(ids))
        return decode(self, ids)

    ids = [token for token in tokenizer.ids(["the a 한 " * 60])[0] if token not in tokenizer.special_ids]
    want = tokenizer.decode(ids)
    monkeypatch.setattr(Tokenizer, "decode", counted)
    pieces, _ = spelled(tokenizer, ids, ["never"])
    assert "".join(pieces) == want and len(ids) > 100 and most <= 8
