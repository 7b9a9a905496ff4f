"""From words to token ids, and a long text cut into windows a model can read.

The work is done by the `tokenizers` library; this module decides what is cut, and counts it.
How the files a model was published with become such a tokenizer is in `published.py`.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tokenizers
from sijo.errors import CheckpointError, SettingError, TextError
from sijo.files.json_files import write_json
from sijo.files.paths import FolderFile, present
from sijo.files.private import write_file
from sijo.tokenizers import published
from sijo.tokenizers.bounds import LARGEST, LONGEST_TOKEN
from sijo.tokenizers.native import cutting
from sijo.tokenizers.pipelines import END, STEP, from_merged, to_merged
from sijo.tokenizers.published_settings import PublishedSettings
from sijo.tokenizers.renumber import essential_ids, renumbered
from sijo.tokenizers.special_tokens import added, frame_of, special_names
from sijo.tokenizers.style import TokenizerFamily
from sijo.tokenizers.tokenizer_json import read_tokenizer_json

USUAL = {
    "unk_token": ("[UNK]", "<unk>"),
    "cls_token": ("[CLS]",),
    "sep_token": ("[SEP]",),
    "pad_token": ("[PAD]", "<pad>"),
    "mask_token": ("[MASK]", "<mask>"),
}
"""The names by which special tokens are known where no file names any."""
PUNCTUATION = r"!-/:-@\[-`{-~"
WORD_STARTS = {
    "WordPiece": re.compile(r"(?!##)"),
    "Unigram": re.compile(rf"<|[{PUNCTUATION}]\Z|.*[^{PUNCTUATION}A-Za-z]", re.DOTALL),
    # bytes 0 to 32 and 127, as GPT-2 writes them, are Ā to ġ; 32, the space, is Ġ
    "BPE": re.compile(rf"Ġ|[{PUNCTUATION}\u0100-\u0121]\Z"),
}
"""Tokens that begin a word, by kinds of tokenizers: `Tokenizer.starts_word` says why."""


@dataclass(frozen=True)
class PairInput:
    """Two texts as one input, the first cut where it had to be."""

    input_ids: list[int]
    token_type_ids: list[int]
    """0 at the first text and its special tokens, 1 at the second's, as the template says."""
    tokens: int
    """Tokens of the whole first text, special tokens not counted."""
    unread: int
    """How many of them, from its end, were cut."""


@dataclass(frozen=True)
class TokenizedText:
    """A text as a whole in tokens, and which of its characters each stands for."""

    ids: list[int]
    """Special tokens not counted."""
    places: list[tuple[int, int]]
    """Of each token, where in the text it starts and ends."""
    words: list[int | None]
    """Of each token, the number of the word it was cut from, by the tokenizer's own idea of a word."""


@dataclass(frozen=True)
class FramedInput:
    """One text or two in tokens, with the special tokens that belong around them."""

    ids: list[int]
    types: list[int]
    """The token type of each, as the template says."""
    starts: tuple[int, ...]
    """Where each text begins."""


class Tokenizer:
    """A tokenizer and the longest input its model reads.

    inner       cuts the text
    max_length  in tokens, special ones included
    names       special tokens by their roles, such as "mask_token"; the usual names by default
    typed       whether its model has token types, where the template gives any

    Any truncation or padding that its file asks for is switched off: sijo cuts into windows itself
    and says so, and pads each batch to its own length.
    """

    def __init__(
        self,
        inner: tokenizers.Tokenizer,
        *,
        max_length: int,
        names: Mapping[str, str] | None = None,
        typed: bool = True,
    ) -> None:
        inner.no_padding()
        inner.no_truncation()
        self._inner = inner
        self.max_length = max_length
        self.special_tokens = inner.num_special_tokens_to_add(is_pair=False)
        if max_length <= self.special_tokens:
            raise CheckpointError(
                f"max_length={max_length} leaves no room for text beside {self.special_tokens} special tokens; "
                f"use at least {self.special_tokens + 1}"
            )
        known = {role: next(filter(self._has, usual), None) for role, usual in USUAL.items()}
        known |= {role: name for role, name in (names or {}).items() if self._has(name)}
        self._names = {role: name for role, name in known.items() if name is not None}
        self._ctrl = getattr(inner.model, "end_of_word_suffix", None) == END
        unknown = inner.model.unk_token if self._ctrl else None
        self._unknown = None if unknown is None else inner.token_to_id(unknown)
        self._frame, self._single = frame_of(inner, 2), frame_of(inner, 1)
        typed = typed and not self._ctrl and any(kind for _, _, kind in self._frame)
        self._inputs = ("input_ids", *(["token_type_ids"] if typed else []), "attention_mask")
        inner.enable_truncation(max_length)
        self.kind = type(inner.model).__name__
        """How words are cut: "WordPiece", "Unigram" or "BPE"."""
        ids = {role: self.id(name) for role, name in self._names.items()}
        self.pad_id = ids.get("pad_token") or 0
        """The id that fills a batch up; 0 when there is no token for it."""
        self.unk_id = self._unknown if self._ctrl else ids.get("unk_token")
        """The id of what is not in the vocabulary; None where nothing is, or no file names the token."""
        if (unknown := getattr(inner.model, "unk_token", None)) is not None:
            self.unk_id = inner.token_to_id(unknown)
        self.mask_id = ids.get("mask_token")
        """The id of the token that hides another, if there is one."""
        self.cls_id = ids.get("cls_token")
        """The id of the token that stands before a text, if there is one."""
        self.sep_id = ids.get("sep_token")
        """The id of the token that stands after a text, and between two, if there is one."""

    @classmethod
    def open(cls, folder: Path, family: TokenizerFamily, *, max_length: int) -> "Tokenizer":
        """Read a folder's tokenizer.json, or else the files that a model of this family was published with.

        Of tokenizer_config.json the names of special tokens are read beside a tokenizer.json, and what
        `put_upon` names; beside published files every setting has its effect or is refused by name.

        Raises CheckpointError when neither is there or a file is damaged, and RefusedError for what
        sijo cannot do or will not run.

        >>> from sijo.checkpoints.locate import locate
        >>> from sijo.models import FAMILIES
        >>> tokenizer = Tokenizer.open(locate("all-minilm-l6-v2"), FAMILIES["bert"], max_length=256)
        >>> tokenizer.windows(["A short poem."])
        [[[101, 1037, 2460, 5961, 1012, 102]]]
        """
        settings = PublishedSettings.read(folder)
        if file := present(folder, "tokenizer.json"):
            inner = read_tokenizer_json(file.read_bytes(LARGEST), file.path)
            settings.put_upon(inner, family.model_type)
        else:
            inner = published.build(folder, family, settings)
        styles = family.vocabularies.values()
        special = [(role, name) for style in styles for role, name in style.special.items()]
        own = len(styles) == 1  # an MPNet's vocabulary has BERT's [PAD] and [MASK] too, out of use
        names = {role: name for role, name in special if own or name not in USUAL.get(role, ())}
        names |= special_names(settings)
        typed = all(style.token_types for style in styles)
        return cls(inner, max_length=max_length, names=names, typed=typed)

    @classmethod
    def load(cls, path: Path, *, max_length: int) -> "Tokenizer":
        """Read a tokenizer.json; raises as `read_tokenizer_json` does."""
        file = FolderFile(path.parent, path.name)
        return cls(read_tokenizer_json(file.read_bytes(LARGEST), path), max_length=max_length)

    @cached_property
    def vocab_size(self) -> int:
        """How many token ids there are, added tokens included."""
        if self._ctrl:
            return sum(number < STEP for number in self._inner.get_vocab().values())
        return int(self._inner.get_vocab_size())

    @property
    def largest_id(self) -> int:
        """The largest number a text can become, special tokens included: the network's table must be longer."""
        ids = [number for number in self._inner.get_vocab().values() if not self._ctrl or number < STEP]
        return max(0, *ids, *self._inner.encode("").ids, *self._inner.encode("", "").ids)

    @cached_property
    def special_ids(self) -> tuple[int, ...]:
        """The ids of all special tokens, smallest first: those around a text, the unknown, codes, and others."""
        declared = self._inner.get_added_tokens_decoder().items()
        framing = (number for _, special, _ in self._frame for number in special)
        return tuple(sorted({*(number for number, token in declared if token.special), *framing}))

    @cached_property
    def essential_ids(self) -> frozenset[int]:
        """Those that `only` has to keep: special tokens, the unknown, bytes, and the piece that scores least."""
        named = {number for number in map(self.id, self._names.values()) if number is not None}
        return frozenset({*self.special_ids, *named, *essential_ids(json.loads(self._inner.to_str()))})

    @cached_property
    def starts_word(self) -> NDArray[np.bool_]:
        """Whether each token begins a word, one for each id; a token that does not belongs to the word before it.

        WordPiece  every token without "##" (ELECTRA, BERT)
        Unigram    begins with "▁" or "<", is one ASCII punctuation mark, or holds a character that is
                   neither an ASCII letter nor such a mark: a digit, 한, £ (ALBERT)
        BPE        begins with a space, or is one white space, control or punctuation character of ASCII
                   (DeBERTa): the first word of a text begins with no space, and letters after a line's end
                   go on

        Special tokens begin a word of their own. Raises SettingError for CTRL's tokens, which say where
        a word goes on and not where one begins.
        Source: the released code of each, where it masks whole words.

        >>> from sijo.checkpoints.locate import locate
        >>> tokenizer = Tokenizer.load(locate("all-minilm-l6-v2") / "tokenizer.json", max_length=256)
        >>> [bool(tokenizer.starts_word[tokenizer.id(token)]) for token in ("poem", "##s", "[SEP]")]
        [True, False, True]
        """
        if self._ctrl:
            raise SettingError(
                "CTRL's tokens say where a word goes on (un@@ able), not where one begins; choose single tokens "
                "in place of whole words, or another tokenizer"
            )
        begins = WORD_STARTS.get(self.kind, WORD_STARTS["BPE"])
        starts = np.zeros(self.largest_id + 1, dtype=np.bool_)
        for token, number in self._inner.get_vocab().items():
            starts[number] = begins.match(token) is not None
        starts[list(self.special_ids)] = True
        return starts

    @cached_property
    def fingerprint(self) -> str:
        """A digest of all that decides the ids, 64 hexadecimal digits."""
        return hashlib.blake2b(self._inner.to_str().encode(), digest_size=32).hexdigest()

    @cached_property
    def text_fingerprint(self) -> str:
        """The same for the ids of a text as a whole: one digest for inputs of any length."""
        settings = json.loads(self._inner.to_str()) | {"truncation": None}
        return hashlib.blake2b(json.dumps(settings).encode(), digest_size=32).hexdigest()

    def id(self, token: str) -> int | None:
        """The id of a token as its vocabulary spells it, such as "[MASK]", "##ing" or "▁the", if there is one."""
        names = (token, to_merged(token)) if self._ctrl else (token,)
        ids = (self._inner.token_to_id(name) for name in names)
        return next((number for number in ids if number is not None and self.token(number) == token), None)

    def token(self, number: int) -> str | None:
        """The token of an id as its vocabulary spells it; None if there is none."""
        name = self._inner.id_to_token(number) if 0 <= number < STEP else None
        if not self._ctrl or name is None or number in self.special_ids:
            return name
        return from_merged(name)

    def windows(self, texts: Sequence[str]) -> list[list[list[int]]]:
        """The token ids of each text, in windows of at most `max_length`, special tokens in each.

        An empty text is one window of special tokens alone.
        """
        with cutting():
            encodings = self._inner.encode_batch_fast(list(texts))
        return [[self._known(window.ids) for window in (first, *first.overflowing)] for first in encodings]

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of each text as a whole, however long, without the special tokens around it.

        >>> from sijo.checkpoints.locate import locate
        >>> tokenizer = Tokenizer.load(locate("all-minilm-l6-v2") / "tokenizer.json", max_length=4)
        >>> tokenizer.ids(["A short poem.", ""])
        [[1037, 2460, 5961, 1012], []]
        """
        with cutting():
            encodings = self._inner.encode_batch_fast(list(texts), add_special_tokens=False)
        # truncation cuts a long text into pieces, none twice; together they are the whole
        return [
            self._known([number for part in (first, *first.overflowing) for number in part.ids])
            for first in encodings
        ]

    def spelled(self, texts: Sequence[str]) -> list[TokenizedText]:
        """As `ids`, with the characters that each token stands for.

        >>> from sijo.checkpoints.locate import locate
        >>> tokenizer = Tokenizer.load(locate("all-minilm-l6-v2") / "tokenizer.json", max_length=4)
        >>> tokenizer.spelled(["A short poem."])[0].places
        [(0, 1), (2, 7), (8, 12), (12, 13)]
        """
        with cutting():
            encodings = self._inner.encode_batch(list(texts), add_special_tokens=False)
        tokenized = []
        for first in encodings:
            parts = (first, *first.overflowing)
            ids = self._known([number for part in parts for number in part.ids])
            places = [place for part in parts for place in part.offsets]
            tokenized.append(TokenizedText(ids, places, [word for part in parts for word in part.word_ids]))
        return tokenized

    def room(self, length: int, *, pair: bool) -> int:
        """How many tokens of text an input of that length holds beside the special tokens of one text or two."""
        return length - sum(len(special) for _, special, _ in (self._frame if pair else self._single))

    def framed(
        self, first: Sequence[int], second: Sequence[int] | None = None, *, special: bool = True
    ) -> FramedInput:
        """One text or two, given as ids, with the special tokens around them; nothing is cut.

        special  whether those are put in

        >>> from sijo.checkpoints.locate import locate
        >>> tokenizer = Tokenizer.load(locate("all-minilm-l6-v2") / "tokenizer.json", max_length=9)
        >>> tokenizer.framed([1037], [5961, 1012])
        FramedInput(ids=[101, 1037, 102, 5961, 1012, 102], types=[0, 0, 0, 1, 1, 1], starts=(1, 3))
        """
        ids: list[int] = []
        types: list[int] = []
        starts = []
        for side, tokens, kind in self._single if second is None else self._frame:
            if side is not None:
                starts.append(len(ids))
            elif not special:
                continue
            part = tokens if side is None else (first, second or [])[side]
            ids += part
            types += [kind] * len(part)
        return FramedInput(ids, types, tuple(starts))

    def count(self, windows: Sequence[Sequence[int]]) -> int:
        """How many tokens of text stand in these windows, special tokens not counted."""
        return sum(map(len, windows)) - self.special_tokens * len(windows)

    def pairs(self, firsts: Sequence[str], seconds: Sequence[str]) -> list[PairInput]:
        """Each first text with its second as one input of at most `max_length` tokens.

        Only first texts are cut, at their end. Equal texts are read once.

        Raises TextError when a second text leaves no room for its first.

        >>> from sijo.checkpoints.locate import locate
        >>> tokenizer = Tokenizer.load(locate("all-minilm-l6-v2") / "tokenizer.json", max_length=10)
        >>> pair = tokenizer.pairs(["A poem of three short lines."], ["About verse."])[0]
        >>> tokenizer.decode(pair.input_ids), pair.token_type_ids, pair.tokens, pair.unread
        ('a poem of three about verse.', [0, 0, 0, 0, 0, 0, 1, 1, 1, 1], 7, 3)
        """
        if len(firsts) != len(seconds):
            raise SettingError(f"{len(firsts)} first texts cannot be paired with {len(seconds)} second ones")
        distinct = list(dict.fromkeys((*firsts, *seconds)))
        ids = dict(zip(distinct, self.ids(distinct), strict=True))
        return [self._pair(ids[first], ids[second], second) for first, second in zip(firsts, seconds, strict=True)]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of these tokens, special ones left out."""
        with cutting():
            return str(self._inner.decode(list(ids), skip_special_tokens=True))

    def with_specials(self, names: Sequence[str]) -> "Tokenizer":
        """This tokenizer with more special tokens, such as control codes, at the end of its vocabulary.

        Each is found wherever it stands in a text, before anything is cut, so a name should be one that
        no text holds: "<reviews>". What is a special token already stays what it is.

        Raises SettingError for a name that is an ordinary token, or blank.

        >>> from sijo.checkpoints.locate import locate
        >>> english = Tokenizer.load(locate("all-minilm-l6-v2") / "tokenizer.json", max_length=9)
        >>> tokenizer = english.with_specials(["<news>"])
        >>> tokenizer.id("<news>"), tokenizer.vocab_size
        (30522, 30523)
        """
        settings, number = json.loads(self._inner.to_str()), self.largest_id + 1
        fresh = []
        for name in dict.fromkeys(names):
            known = self._inner.token_to_id(name) if (own := self.id(name)) is None else own
            ordinary = known is not None and known not in self.special_ids
            if not name.strip() or len(name) > LONGEST_TOKEN or ordinary:
                what = "is a token of the text already" if ordinary else "is blank, or very long"
                raise SettingError(f"the special token {name!r:.60} {what}; use another name, such as '<reviews>'")
            if known is None:
                fresh.append(added({}, name, special=True))
        if self._ctrl:  # the library counts steps of merging too; the next id is known here alone
            settings["model"]["vocab"] |= {token.content: number + more for more, token in enumerate(fresh)}
        return self._rebuilt(settings, fresh)

    def only(self, ids: Sequence[int]) -> "Tokenizer":
        """This WordPiece or unigram tokenizer with these tokens alone, numbered anew in their order.

        A text that was cut into these alone is cut into the same.

        ids  which, smallest first; all of `essential_ids` among them

        >>> from sijo.checkpoints.locate import locate
        >>> whole = Tokenizer.load(locate("all-minilm-l6-v2") / "tokenizer.json", max_length=9)
        >>> few = whole.only([*sorted(whole.essential_ids), whole.id("a"), whole.id("poem")])
        >>> few.windows(["a poem"]), few.decode([5, 6])
        ([[[2, 5, 6, 3]]], 'a poem')
        """
        return self._rebuilt(renumbered(json.loads(self._inner.to_str()), ids))

    def save(self, folder: Path) -> None:
        """Write tokenizer.json and a tokenizer_config.json with which `transformers` cuts alike.

        CTRL's own tokenizer there reads vocab.json and merges.txt, so they are written too.
        """
        settings = json.loads(self._inner.to_str()) | {"truncation": None, "padding": None}
        config: dict[str, object] = {
            "tokenizer_class": "CTRLTokenizer" if self._ctrl else "PreTrainedTokenizerFast",
            "model_max_length": self.max_length,
            "model_input_names": self._inputs,
            "clean_up_tokenization_spaces": False,
            **self._names,
        }
        write_json(folder / "tokenizer.json", settings)
        write_json(folder / "tokenizer_config.json", config)
        if self._ctrl:
            write_json(folder / "vocab.json", {self.token(number): number for number in range(self.vocab_size)})
            merges = ["#version: 0.2", *(" ".join(pair) for pair in settings["model"]["merges"])]
            write_file(folder / "merges.txt", ("\n".join(merges) + "\n").encode())

    def _rebuilt(self, settings: dict[str, Any], more: Sequence[tokenizers.AddedToken] = ()) -> "Tokenizer":
        """A tokenizer with these settings and more special tokens, and all else as it is here."""
        inner = tokenizers.Tokenizer.from_str(json.dumps(settings))
        inner.add_special_tokens(list(more))
        typed = "token_type_ids" in self._inputs
        return Tokenizer(inner, max_length=self.max_length, names=self._names, typed=typed)

    def _has(self, name: str) -> bool:
        return self._inner.token_to_id(name) is not None

    def _known(self, ids: list[int]) -> list[int]:
        if self._unknown is None:
            return ids
        return [number if number < STEP else self._unknown for number in ids]

    def _pair(self, first: list[int], second: list[int], text: str) -> PairInput:
        room = self.room(self.max_length, pair=True) - len(second)
        if room < 1:
            raise TextError(
                f"the second text {text[:40]!r} has {len(second)} tokens, and of {self.max_length} that leaves no "
                f"room for the first; shorten it to at most {len(second) + room - 1}"
            )
        framed = self.framed(first[:room], second)
        return PairInput(framed.ids, framed.types, len(first), max(0, len(first) - room))
