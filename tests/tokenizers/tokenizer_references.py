"""What the tokenizers are held against: lines to cut, models trained on them, and cutters written apart.

Shared by `test_tokenizer.py` and `benchmarks/tokenizers.py`. Nothing here imports sijo.
"""

import io
import json
import math
import pydoc_data.topics
import random
import unicodedata
from functools import cache
from itertools import pairwise
from pathlib import Path

import regex
import sentencepiece

import tokenizers

EMOJI = [
    "😀",
    "👨‍👩‍👧‍👦",
    "❤️",
    "1️⃣",
    "🇰🇷",
    "👍🏽",
    "🏴‍☠️",
    "🏳️‍🌈",
    "👩🏿‍🚀",
    "☺",
]
CONTROL = [
    "\x01",
    "\x07",
    "\x1b[0m",
    "\x7f",
    "\x85",
    "\x9f",
    "\u200b",
    "\u200d",
    "\ufeff",
    "\u202e",
    "\ufffd",
    "\xad",
]
COMPATIBLE = [
    "ﬁ",
    "ﬄ",
    "ＡＢＣ１２３",
    "½",
    "…",
    "①",
    "㈜",
    "㎏",
    "ﾊﾝｶｸ",
    "ﾊﾟｶﾞ",
    "ㅋㅋㅋ",
    "ㅠㅠ",
    "ㄷㅏ",
    "ﷺ",
    "～",
    "²",
    "™",
    "Ⅷ",
]
ACCENTED = [
    "cafe\u0301",
    "naïve",
    "Å",
    "e\u0323\u0302",
    "ｅ\u0301",
    "½\u0334",
    "q\u0307\u0323",
    "שָׁלוֹם",
    "हिन्दी",
    "ไม่",
    "ÇŞĞİ",
    "ΑΒΓ",
]
SPACES = [
    "  ",
    "\t",
    "\n",
    "\r\n",
    "\xa0",
    "\u2028",
    "\u3000",
    "   \n ",
    "\x1c",
]
NUMBERS = [
    "92,000",
    "1,234,567.89",
    "9,9",
    "(2,5)",
    "$3,",
    "``so''",
    "a-b",
    "'tis",
    "don't",
    "x²",
    "▁",
    "[x]",
    "<0x41>",
    "<unk",
]
ODD = [*EMOJI, *CONTROL, *COMPATIBLE, *ACCENTED, *SPACES, *NUMBERS]

Pairs = tuple[dict[str, int], list[tuple[str, str]]]
"""A vocabulary and its merges."""


def english() -> list[str]:
    """Lines of the Python manual, which every Python carries."""
    lines = (line.strip() for text in pydoc_data.topics.topics.values() for line in text.split("\n"))
    return list(dict.fromkeys(line for line in lines if len(line) > 20))


def korean(count: int) -> list[str]:
    """Sentences of `korean.txt`, put together anew."""
    sentences = Path(__file__).with_name("korean.txt").read_text(encoding="utf-8").splitlines()
    chance = random.Random(1)
    lines = list(sentences)
    while len(lines) < count:
        words = [word for sentence in chance.sample(sentences, 3) for word in sentence.split()]
        lines.append(" ".join(chance.sample(words, chance.randint(3, len(words)))))
    return list(dict.fromkeys(lines))[:count]


def disturbed(lines: list[str], *, seed: int = 2) -> list[str]:
    """Each line with something in it that tokenizers stumble over."""
    chance = random.Random(seed)
    changed = []
    for line in lines:
        words = line.split(" ")
        for _ in range(chance.randint(1, 4)):
            words.insert(chance.randint(0, len(words)), chance.choice(ODD))
        text = chance.choice([" ", " ", "", "  "]).join(words)
        match chance.randint(0, 9):
            case 0:
                text = unicodedata.normalize("NFD", text)
            case 1:
                text = f"  {text}\n\n"
            case 2:
                letters = chance.choices("abcdefghijklmnopqrstuvwxyz가나다라마바사", k=chance.randint(90, 300))
                text = f"{text} {''.join(letters)}"
            case 3:
                text = text.upper()
        changed.append(text)
    return changed


@cache
def lines() -> list[str]:
    """10,000 of them, English and Korean, three in ten disturbed."""
    plain = [*english()[:4500], *korean(4500)]
    plain = random.Random(3).sample(plain, len(plain))
    return ["", " ", *plain[:7000], *disturbed(plain[6000:])][:10_000]


def train(texts: list[str], **settings: object) -> bytes:
    """A SentencePiece unigram model, the same in each run."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=written,
        **{
            "model_type": "unigram",
            "vocab_size": 2000,
            "hard_vocab_limit": False,
            "num_threads": 1,
            "minloglevel": 2,
            "character_coverage": 0.999,
            **settings,
        },
    )
    return written.getvalue()


DEBERTA = {"pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3}
DEBERTA |= {"pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]", "unk_piece": "[UNK]"}
ALBERT = {"pad_id": 0, "unk_id": 1, "bos_id": -1, "eos_id": -1, "control_symbols": "[CLS],[SEP],[MASK]"}
ALBERT |= {"user_defined_symbols": '(,),",-,.,–,£,€', "split_by_number": False}


def equally_good(ours: list[int], theirs: list[int], model: sentencepiece.SentencePieceProcessor) -> bool:
    """Whether two ways to cut a text have one score to the last bit: summed in 32 bits, either may win."""
    known = [[number for number in ids if not model.is_unknown(number)] for ids in (ours, theirs)]
    same_text = model.decode(known[0]) == model.decode(known[1])
    unknowns = [len(ids) - len(own) for ids, own in zip((ours, theirs), known, strict=True)]
    sums = [math.fsum(map(model.get_score, own)) for own in known]
    return same_text and unknowns[0] == unknowns[1] and sums[0] == sums[1]


def albert_text(text: str, *, keep_accents: bool = False, lower: bool = True) -> str:
    """What ALBERT's released code makes of a text before SentencePiece sees it."""
    text = " ".join(text.strip().split()).replace("``", '"').replace("''", '"')
    if not keep_accents:
        text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return text.lower() if lower else text


def albert_ids(text: str, model: sentencepiece.SentencePieceProcessor) -> list[int]:
    """ALBERT's rule for commas: a piece that ends in a digit and a comma is cut again, without the comma."""
    pieces = []
    for piece in model.encode(text, out_type=str):
        if len(piece) < 2 or piece[-1] != "," or not piece[-2].isdigit():
            pieces.append(piece)
            continue
        first, *rest = model.encode(piece[:-1].replace("▁", ""), out_type=str)
        if piece[0] != "▁":
            first = first.removeprefix("▁")
        pieces += [*([first] if first else []), *rest, ","]
    return model.piece_to_id(pieces)


def fields_of(message: bytes) -> list[tuple[int, bytes]]:
    """Each field of a protobuf message with its number, undecoded, so that they can be put together again."""

    def number(at: int) -> tuple[int, int]:
        value, shift = 0, 0
        while True:
            value |= (message[at] & 127) << shift
            at, shift = at + 1, shift + 7
            if message[at - 1] < 128:
                return value, at

    found, at = [], 0
    while at < len(message):
        start = at
        key, at = number(at)
        length, at = number(at) if key & 7 == 2 else (0, number(at)[1] if key & 7 == 0 else at + 4)
        at += length
        found.append((key >> 3, message[start:at]))
    return found


def byte_level(text: str, ids: dict[str, int], ranks: dict[tuple[str, str], int]) -> list[int]:
    """GPT-2's byte pairs, from the paper's description: bytes as letters, then the first pair again and again."""
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {byte: chr(byte) for byte in keep}
    letters |= {byte: chr(256 + n) for n, byte in enumerate(byte for byte in range(256) if byte not in keep)}
    words = regex.findall(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+", text)
    return [ids[piece] for word in words for piece in merged([letters[byte] for byte in word.encode()], ranks)]


def merged(symbols: list[str], ranks: dict[tuple[str, str], int]) -> list[str]:
    """Symbols after every merge that applies, the earliest rule first."""
    while len(symbols) > 1:
        rank, at = min((ranks.get(pair, 1 << 30), at) for at, pair in enumerate(pairwise(symbols)))
        if rank == 1 << 30:
            break
        symbols = [*symbols[:at], symbols[at] + symbols[at + 1], *symbols[at + 2 :]]
    return symbols


def ctrl(text: str, ids: dict[str, int], ranks: dict[tuple[str, str], int]) -> list[int]:
    """CTRL's byte pairs: words by spaces with the line's end glued on, `@@` where a word goes on."""
    found = []
    for word in regex.findall(r"\S+\n?", text):
        *inner, last = merged([*word[:-1], word[-1] + "</w>"], ranks)
        pieces = [*(piece + "@@" for piece in inner), last.removesuffix("</w>")]
        found += [ids.get(piece, ids["<unk>"]) for piece in pieces]
    return found


def train_pairs(texts: list[str], *, size: int, end: str | None = None) -> Pairs:
    """A vocabulary and merges of byte pairs; with `end`, of words by spaces, else of bytes."""
    pre, options = tokenizers.pre_tokenizers, {} if end is None else {"end_of_word_suffix": end}
    inner = tokenizers.Tokenizer(tokenizers.models.BPE(**options))
    inner.pre_tokenizer = (
        pre.ByteLevel(add_prefix_space=False)
        if end is None
        else pre.Split(tokenizers.Regex(r"\S+\n?"), "removed", invert=True)
    )
    alphabet = [] if end else pre.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size, show_progress=False, initial_alphabet=alphabet, **options
    )
    inner.train_from_iterator(texts, trainer)
    model = json.loads(inner.to_str())["model"]
    return model["vocab"], [tuple(pair) for pair in model["merges"]]


def write_deberta_v1(folder: Path, texts: list[str]) -> Pairs:
    """vocab.json and merges.txt with special tokens where DeBERTa has them: four first, [MASK] last."""
    learned, merges = train_pairs(texts, size=1500)
    names = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *sorted(learned, key=learned.__getitem__), "[MASK]"]
    ids = {name: number for number, name in enumerate(names)}
    write_pairs(folder, ids, merges)
    return ids, merges


def write_ctrl(folder: Path, texts: list[str]) -> Pairs:
    """vocab.json and merges.txt as CTRL's: pieces by frequency, then "", <unk> and a line's end."""
    _, merges = train_pairs(texts, size=3000, end="</w>")
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    seen: dict[str, int] = {}
    for word in regex.findall(r"\S+", " ".join(texts)):
        *inner, last = merged([*word[:-1], word[-1] + "</w>"], ranks)
        for piece in [*(piece + "@@" for piece in inner), last.removesuffix("</w>")]:
            seen[piece] = seen.get(piece, 0) + 1
    names = sorted(seen, key=lambda piece: (-seen[piece], piece))
    ids = {name: number for number, name in enumerate([*names, "", "<unk>", "\n"])}
    write_pairs(folder, ids, merges)
    return ids, merges


def write_pairs(folder: Path, ids: dict[str, int], merges: list[tuple[str, str]]) -> None:
    """The two files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(ids, ensure_ascii=False), encoding="utf-8")
    text = "#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in merges)
    (folder / "merges.txt").write_text(text, encoding="utf-8", newline="\n")
