"""The engine: many texts, or pairs of them, through a model, fast, in order, and in constant memory.

Texts are taken in bounded groups; each group is tokenized at once, cut into windows where a text is
longer than the model, sorted by length, and run in batches of about equal numbers of tokens.

Letters: B batch, L length, D width of the hidden states, C columns of a head's logits.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from sijo.batching import AnyText, by_length, groups, padded_length
from sijo.checkpoints.load import Model, load
from sijo.checkpoints.weights import not_finite
from sijo.errors import SettingError
from sijo.inference.language import LanguageCheck
from sijo.inference.vector_cache import Entry, VectorCache
from sijo.nn.pooling import pool
from sijo.texts import texts_in

LongText = Literal["windows", "truncate"]

TOKEN_BUDGET = 4096
CLASSIFIER = "sequence-classification"
"""The head that judges a whole text, or a pair of them."""
AT_ONCE = 1_000_000
"""Characters that are tokenized, and kept in a store, together."""


@dataclass(frozen=True)
class ReadCounts:
    """How much of each text was read."""

    tokens: np.ndarray
    """(n,) int64: how many tokens each text has, special ones not counted."""
    windows: np.ndarray
    """(n,) int64: in how many windows each text was read."""
    truncated: np.ndarray
    """(n,) bool: True where tokens were left unread: by `long_text="truncate"`, or in a pair."""

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True)
class Encoded(ReadCounts):
    """The vectors of texts, and how much of each was read."""

    vectors: np.ndarray
    """(n, D) float32, one row a text, of any length; all zeros for a text without tokens."""


@dataclass(frozen=True)
class Logits(ReadCounts):
    """A head's logits for texts or pairs, and how much was read: of a pair, of its first text."""

    logits: np.ndarray
    """(n, C) float32, one row a text or pair."""


class NotFiniteError(SettingError):
    """What came out for one of several texts is NaN or infinite: change the precision, or the model.

    why    what is the matter, and what would do
    place  which of the texts, counted from 0
    what   what such a text is called: a row, where it came out of a table
    """

    def __init__(self, why: str, place: int, what: str = "text") -> None:
        super().__init__(f"{what} {place + 1:,}: {why}")
        self.why, self.place = why, place

    @classmethod
    def of(cls, model: Model, place: int) -> "NotFiniteError":
        """For an output of a model: names the precision, and what would do."""
        bad = next((name for name, tensor in model.state_dict().items() if not_finite(tensor)), None)
        otherwise = "download it again, or choose another (--model)"
        if bad is not None:
            why = f"{bad} among its weights is; {otherwise}"
        elif model.dtype == "float16":
            why = (
                "it computes in float16, which ends at 65,504; use --dtype float32 or bfloat16 (in Python: dtype=)"
            )
        elif model.dtype == "bfloat16":
            why = "it computes in bfloat16; use --dtype float32 (in Python: dtype=)"
        else:
            why = (
                f"its numbers are beyond {model.dtype}, though each weight is finite: the file is damaged, or its "
                f"training diverged; {otherwise}"
            )
        return cls(f"what the model makes of it is NaN or infinite, for {why}", place)

    def after(self, before: int, what: str = "text") -> "NotFiniteError":
        """The same where so many texts, or rows, came before the first of them."""
        return NotFiniteError(self.why, before + self.place, what)


@dataclass(eq=False, repr=False)
class Engine:
    """A model that reads in batches: texts in, one vector each out; or texts or pairs in, and a head's logits out.

    model         what `sijo.load` gives
    token_budget  tokens of a batch, padding included; more needs more memory
    long_text     "windows" reads the whole of a text longer than the model, in windows whose vectors,
                  or logits, are averaged by their tokens; "truncate" reads its first window and says so
    store         where vectors, or logits, are kept between runs
    prompt        what stands before each text that is encoded: the name of one of the model's prompts, or words
                  such as "query: "; "" for nothing, None for what the model was trained with

    >>> engine = Engine(load())
    >>> engine.encode(["a cat", "", "a dog"]).tokens.tolist()
    [2, 0, 2]
    """

    model: Model
    _: KW_ONLY
    token_budget: int = TOKEN_BUDGET
    long_text: LongText = "windows"
    store: VectorCache | None = None
    prompt: str | None = None

    def __post_init__(self) -> None:
        if self.long_text not in ("windows", "truncate"):
            raise SettingError(f"long_text={self.long_text!r} is neither 'windows' nor 'truncate'")
        if self.token_budget < 1:
            raise SettingError(
                f"token_budget={self.token_budget} leaves no room for a token; the default is {TOKEN_BUDGET}"
            )
        self.before = self.model.sentence.prompt(self.prompt)
        """The words before each text."""
        if self.before and self.model.has_tokenizer:
            _ = self._before_tokens  # refused before any text is read

    def stream(self, texts: Iterable[str]) -> Iterator[Encoded]:
        """Encode a stream of any length, one bounded group of texts after another, in order.

        Warns where the first of them are in a language that the model's tokenizer does not know.
        """
        before, language = 0, LanguageCheck(self.model)
        for group in groups(texts_in(texts)):
            language.look(group)
            try:
                encoded = self._encoded(group)
            except NotFiniteError as error:
                raise error.after(before) from None
            yield encoded
            before += len(group)

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Encode texts that fit in memory together; `stream` takes more.

        Equal texts are encoded once. With a store, only texts that it has not seen are encoded.
        """
        return self._encoded(list(texts_in(texts)))

    def _encoded(self, texts: Sequence[str]) -> Encoded:
        sentence = self.model.sentence
        width = sentence.width(self.model.architecture.hidden_size)

        def read(new: Sequence[str]) -> Iterator[Entry]:
            if not self.before:
                return self._read(self._cased(new), self._vectors, width)
            skip = 0 if sentence.include_prompt else self._before_tokens
            own = list(map(len, self.model.tokenizer.ids(self._cased(new))))
            whole = self._cased([self.before + text for text in new])
            return self._read(whole, self._vectors, width, own=own, skip=skip)

        return Encoded(*self.outputs(texts, read, width))

    def judge(self, texts: Sequence[str]) -> Logits:
        """The logits of the model's head for each text by itself.

        The logits of a text read in windows are the mean of its windows', by their tokens. A text without
        tokens is read as the special tokens around it; where there are none of those either, logits are 0.
        Equal texts are read once. With a store, only texts that it has not seen are read.

        Raises SettingError when the model was opened without a head that judges texts.

        >>> fresh = load(head="new:sequence-classification", labels=["sport", "tax", "weather"])
        >>> Engine(fresh).judge(["a late goal", "rain"]).logits.shape
        (2, 3)
        """
        self._must_judge()
        width, texts = len(self.model.labels), list(texts_in(texts))
        return Logits(*self.outputs(texts, lambda new: self._read(new, self._logits, width, blank=True), width))

    def score_pairs(self, firsts: Sequence[str], seconds: Sequence[str]) -> Logits:
        """The logits of the model's head for each pair, such as a text and a hypothesis about it.

        A pair that is longer than the model loses the end of its first text, never of its second,
        whatever `long_text` says: `truncated` tells which. Equal pairs are read once, and a text is
        tokenized once for all its pairs. With a store, only pairs that it has not seen are read.

        Raises SettingError when the model was opened without a head for pairs, and TextError when
        the second text leaves no room for the first.

        >>> fresh = load(head="new:sequence-classification", labels=["entailment", "contradiction"])
        >>> Engine(fresh).score_pairs(["a cat sleeps"] * 2, ["This is a cat.", "This is a dog."]).logits.shape
        (2, 2)
        """
        self._must_judge()
        pairs = list(zip(texts_in(firsts), texts_in(seconds, "seconds"), strict=True))
        return Logits(*self.outputs(pairs, self._read_pairs, len(self.model.labels)))

    def _must_judge(self) -> None:
        if CLASSIFIER not in self.model.head_values:
            raise SettingError(
                f"{self.model.source or 'the model'} was opened without a head that judges texts; open it with "
                f"sijo.load(..., head={CLASSIFIER!r}). It holds: {', '.join(self.model.heads) or 'none'}"
            )

    def _cased(self, texts: Sequence[str]) -> Sequence[str]:
        """The texts as the sentence encoder was trained to see them."""
        return [lowered(text) for text in texts] if self.model.sentence.lowercase else texts

    @cached_property
    def _before_tokens(self) -> int:
        """How many tokens at the start of an input are the prompt's, with the special ones in front of it.

        Raises SettingError for one that leaves no room for a text.
        """
        tokenizer = self.model.tokenizer
        first, *more = tokenizer.windows(self._cased([self.before]))[0]
        last = 1 if first and first[-1] in tokenizer.special_ids else 0
        if more or len(first) - last >= tokenizer.max_length - 1:
            raise SettingError(
                f"the prompt {self.before[:60]!r} leaves no room for a text in the {tokenizer.max_length} tokens "
                "that the model reads; shorten it"
            )
        return len(first) - last

    @cached_property
    def fingerprint(self) -> str:
        """A digest of what decides the vectors: of the model, and of the words before each text."""
        if not self.before:
            return self.model.fingerprint
        return hashlib.blake2b(f"{self.model.fingerprint} {self.before}".encode(), digest_size=32).hexdigest()

    def outputs(
        self, keys: Sequence[AnyText], read: Callable[[Sequence[AnyText]], Iterable[Entry]], width: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The fields of `Encoded`, or of `Logits`: from the store, or read, each distinct text or pair once.

        read   gives an entry for each
        width  numbers in the vector of an entry

        Everything that a model says passes here, and is finite behind it: an entry of the store that is not, as
        older versions kept them, is read again. Raises NotFiniteError for the first text whose output is not.
        """
        unique = list(dict.fromkeys(keys))
        known = {} if self.store is None else self.store.get(unique)
        for key in _not_finite(known):
            del known[key]
        missing = [key for key in unique if key not in known]
        for part in groups(missing, rows=len(missing), characters=AT_ONCE):
            new = dict(zip(part, read(part), strict=True))
            if bad := _not_finite(new):
                raise NotFiniteError.of(self.model, min(map(list(keys).index, bad)))
            if self.store is not None:
                self.store.put(new)
            known |= new
        rows = [known[key] for key in keys]
        return (
            np.array([row.tokens for row in rows], np.int64),
            np.array([row.windows for row in rows], np.int64),
            np.array([row.truncated for row in rows], bool),
            np.array([row.vector for row in rows], np.float32).reshape(len(rows), width),
        )

    def _read(
        self,
        texts: Sequence[str],
        answers: Callable[..., np.ndarray],
        width: int,
        *,
        blank: bool = False,
        own: Sequence[int] | None = None,
        skip: int = 0,
    ) -> Iterator[Entry]:
        """Run the model over texts; yields an entry for each.

        answers  computes a row for each token sequence, (n, width) float32, and where `skip` is not 0 is also
                 given how many tokens at the start of each to leave out
        blank    whether a text without tokens is read too, if special tokens stand around it
        own      how many tokens each text has by itself, where something stands before it
        skip     how many tokens at the start of a text's first window are left out
        """
        tokenizer = self.model.tokenizer
        whole = tokenizer.windows(texts)
        tokens = [tokenizer.count(windows) for windows in whole] if own is None else own
        read = [windows[:1] if self.long_text == "truncate" else windows for windows in whole]
        parts = [
            (i, ids, 0 if number else min(skip, len(ids) - 1))
            for i, windows in enumerate(read)
            for number, ids in enumerate(windows)
            if tokens[i] or (blank and len(ids) > 0)
        ]
        owners, sequences = [i for i, _, _ in parts], [ids for _, ids, _ in parts]

        totals = np.zeros((len(texts), width), np.float64)
        weights = np.zeros((len(texts), 1))
        for batch in by_length([len(ids) for ids in sequences], token_budget=self.token_budget):
            lengths = np.array([[len(sequences[i])] for i in batch])
            rows = [owners[i] for i in batch]
            skips = ([parts[i][2] for i in batch],) if skip else ()
            np.add.at(totals, rows, answers([sequences[i] for i in batch], *skips) * lengths)
            np.add.at(weights, rows, lengths)
        vectors = (totals / np.maximum(weights, 1)).astype(np.float32)
        for i in range(len(texts)):
            yield Entry(vectors[i], tokens[i], len(read[i]), len(read[i]) < len(whole[i]))

    def _read_pairs(self, pairs: Sequence[tuple[str, str]]) -> Iterator[Entry]:
        """Run the model over pairs; yields an entry for each."""
        inputs = self.model.tokenizer.pairs([first for first, _ in pairs], [second for _, second in pairs])
        logits = np.empty((len(inputs), len(self.model.labels)), np.float32)
        for batch in by_length([len(pair.input_ids) for pair in inputs], token_budget=self.token_budget):
            types = [inputs[i].token_type_ids for i in batch]
            logits[batch] = self._logits([inputs[i].input_ids for i in batch], types)
        for pair, row in zip(inputs, logits, strict=True):
            yield Entry(row, pair.tokens, 1, pair.unread > 0)

    @torch.inference_mode()
    def _vectors(self, sequences: Sequence[Sequence[int]], skips: Sequence[int] = ()) -> np.ndarray:
        """One pooled vector for each token sequence, (n, D) float32; `skips` tokens at its start are left out."""
        ids_BL, keep_BL = self._padded(sequences)
        hidden_BLD = self.model(ids_BL, keep_BL).last_hidden_state
        return np.asarray(pool(hidden_BLD, keep_BL, self.model.sentence.pooling, skips).float())

    @torch.inference_mode()
    def _logits(self, sequences: Sequence[Sequence[int]], types: Sequence[Sequence[int]] = ()) -> np.ndarray:
        """The head's logits for each token sequence, (n, C) float32; `types` are the token type ids of pairs."""
        ids_BL, keep_BL = self._padded(sequences)
        types_BL = padded(types, limit=self.model.tokenizer.max_length)[0] if types else None
        return np.asarray(self.model(ids_BL, keep_BL, types_BL).answers[CLASSIFIER].float())

    def _padded(self, sequences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor | None]:
        """Token ids (B, L) of one width, and where they are real; None for the latter without padding."""
        tokenizer = self.model.tokenizer
        return padded(sequences, pad=tokenizer.pad_id, limit=tokenizer.max_length)


def padded(
    rows: Sequence[Sequence[int]], *, pad: int = 0, limit: int | None = None
) -> tuple[Tensor, Tensor | None]:
    """Rows of ids as one tensor (B, L), and where they are real; None for the latter where all of it is.

    pad    the id that fills a row up; a network that is given the mask ignores it
    limit  pad to a round width (`padded_length`), but not beyond this; None for the longest row's

    >>> ids, keep = padded([[5, 6, 7], [8]])
    >>> ids.tolist(), keep.tolist()
    ([[5, 6, 7], [8, 0, 0]], [[True, True, True], [True, False, False]])
    """
    lengths_B1 = torch.tensor([[len(row)] for row in rows])
    longest = int(lengths_B1.max())
    width = longest if limit is None else min(padded_length(longest), limit)
    ids_BL = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows])
    return ids_BL, torch.arange(width) < lengths_B1 if int(lengths_B1.min()) < width else None


def _not_finite(entries: Mapping[AnyText, Entry]) -> list[AnyText]:
    """The texts of the entries whose vectors hold NaN or infinity."""
    if not entries:
        return []
    finite = np.isfinite(np.array([entry.vector for entry in entries.values()])).reshape(len(entries), -1).all(-1)
    return [key for key, good in zip(entries, finite.tolist(), strict=True) if not good]


def lowered(text: str) -> str:
    """A text in lower case, letter by letter, as the normalizers of tokenizers write it.

    >>> lowered("ΟΔΟΣ"), "ΟΔΟΣ".lower()
    ('οδοσ', 'οδος')
    """
    return text.replace("Σ", "σ").lower()


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (n, D) scaled to length 1, so that a dot product is a cosine; zeros stay zeros."""
    with np.errstate(over="ignore"):
        lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    if not np.isfinite(lengths).all():  # of float32 from 1e19 on, though each number is finite
        return unit(vectors / np.abs(vectors).max(-1, keepdims=True, initial=1))
    scaled: np.ndarray = vectors / np.where(lengths > 0, lengths, 1)
    return scaled


def encode(
    model: str | Path | Model | None,
    texts: Iterable[str],
    normalize: bool = True,
    *,
    prompt: str | None = None,
    base: str | Path | None = None,
) -> np.ndarray:
    """One vector for each text, in order.

    model      a folder, an `org/name`, an opened model, or None for the built-in one
    texts      any number of them, in whatever `texts_in` reads: a list, a column of a table, an array, a stream;
               one longer than the model is read in windows
    normalize  scale each vector to length 1, so that a dot product is a cosine
    prompt     what stands before each text: the name of one of the model's prompts, or words such as "query: "; ""
               for nothing, None for what the model was trained with
    base       the model of an adapter that stands alone; see `load`

    Returns (n, D) float32, all of them finite: D the model's width, or k times that where k poolings stand side by
    side. A text without tokens gives zeros.
    Raises NotFiniteError, a SettingError, for a text whose numbers are beyond the model's precision.

    >>> cat, kitten, tax = encode(None, ["a cat", "a kitten", "income tax"])
    >>> bool(cat @ kitten > cat @ tax)
    True
    """
    opened = model if isinstance(model, Model) else load(model, base=base)
    engine = Engine(opened, prompt=prompt)
    none = np.zeros((0, opened.sentence.width(opened.architecture.hidden_size)), np.float32)
    stacked = np.concatenate([none, *(group.vectors for group in engine.stream(texts))])
    return unit(stacked) if normalize else stacked
