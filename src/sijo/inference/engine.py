"""The engine: many texts, or pairs of them, through a model, fast, in order, and in constant memory.

Texts are taken in bounded groups; each group is tokenized at once, cut into windows where a text is
longer than the model, sorted by length, and run in batches of about equal numbers of tokens.

Letters: B batch, L length, D width of the hidden states, C columns of a head's logits.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from sijo.batching import AnyText, by_length, groups
from sijo.checkpoints.describe import DescribedModel
from sijo.errors import SettingError, warn
from sijo.inference.backends.backend import Backend, IdBatch, TokenPlaces
from sijo.inference.backends.fitted_backend import FittedBackend
from sijo.inference.dimensions import width_of
from sijo.inference.language import LanguageCheck
from sijo.inference.outputs import Encoded, Logits, NotFiniteError, unit
from sijo.inference.threads import tell_tokenizers
from sijo.inference.vector_cache import Entry, OutputStore
from sijo.inference.vector_steps import behind_steps
from sijo.nn.head_specs import CLASSIFIER
from sijo.texts import texts_in

LongText = Literal["windows", "truncate"]

"""Tokens of a batch: products as wide as these are as fast as can be, and what is between them stays near the
processor (docs/log.md)."""
AT_ONCE = 1_000_000
"""Characters that are tokenized, and kept in a store, together."""


class AskedInput(NamedTuple):
    """An input in token ids, and the places in it that a head which answers for tokens is asked about."""

    ids: tuple[int, ...]
    """All of token type 0."""
    places: tuple[int, ...]
    """Counted from 0."""
    tokens: tuple[int, ...] | None = None
    """The token asked about at each place, of a head whose answer is a token; None for other heads."""


@dataclass(eq=False, repr=False)
class Engine:
    """A model that reads in batches: texts in, one vector each out; or texts or pairs in, and a head's logits out.

    model         what it is: a `FolderDescription`, or what `sijo.load` gives
    backend       what runs it, as `open_backend` or `TorchBackend` gives it
    token_budget  tokens of a batch, padding included; more needs more memory. None for what the backend's device is
                  quickest with
    long_text     "windows" reads the whole of a text longer than the model, in windows whose vectors,
                  or logits, are averaged by their tokens; "truncate" reads its first window and says so
    store         where vectors, or logits, are kept between runs
    prompt        what stands before each text that is encoded: the name of one of the model's prompts, or words
                  such as "query: "; "" for nothing, None for what the model was trained with
    dimensions    to how many numbers vectors are cut; None for what the model says, mostly all
    own_scale     whether a last Normalize of the model's modules is done, before the cut, as sentence-transformers
                  does it; else it is left to who asks
    learning      whether the model is being trained, so that nothing is said of what it was

    >>> from sijo.inference.encode import engine_of
    >>> engine = engine_of("all-minilm-l6-v2")
    >>> engine.encode(["a cat", "", "a dog"]).tokens.tolist()
    [2, 0, 2]
    """

    model: DescribedModel
    backend: Backend
    _: KW_ONLY
    token_budget: int | None = None
    long_text: LongText = "windows"
    store: OutputStore | None = None
    prompt: str | None = None
    dimensions: int | None = None
    own_scale: bool = False
    learning: bool = False

    def __post_init__(self) -> None:
        tell_tokenizers()
        if self.long_text not in ("windows", "truncate"):
            raise SettingError(f"long_text={self.long_text!r} is neither 'windows' nor 'truncate'")
        self.batch_tokens = self.backend.batch_tokens if self.token_budget is None else self.token_budget
        """Tokens of a batch, padding included."""
        if self.batch_tokens < 1:
            raise SettingError(
                f"token_budget={self.token_budget} leaves no room for a token; the default is "
                f"{self.backend.batch_tokens}"
            )
        self.read = 0
        """Texts and pairs that the network has read so far."""
        self.kept = 0
        """Those whose output the store had."""
        self.told: Callable[[int, int], None] | None = None
        """Told after each batch how many inputs of those at work are read, and how many these are."""
        self._told_of_guess = False
        self.width = width_of(self.model, self.dimensions)
        """How many numbers a vector has."""
        self.before = self.model.sentence.prompt(self.prompt)
        """The words before each text."""
        if self.before and self.model.has_tokenizer:
            _ = self.prompt_tokens  # refused before any text is read

    @property
    def caution(self) -> str | None:
        """That the model was not trained to give sentence vectors, if so."""
        if self.model.sentence.trained:
            return None
        return (
            f"{self.model.source or 'the model'} has no modules.json, so it was not trained to give sentence "
            "vectors; the mean of its tokens is a guess"
        )

    def stream(self, texts: Iterable[str]) -> Iterator[Encoded]:
        """Encode a stream of any length, one bounded group of texts after another, in order.

        Warns as `encode` does, and where the first are in a language that the model's tokenizer does not know.
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

        Equal texts are encoded once. With a store, only texts that it has not seen are encoded. Warns, once, where
        the model was not trained to give sentence vectors.
        """
        return self._encoded(list(texts_in(texts)))

    def _encoded(self, texts: Sequence[str]) -> Encoded:
        if not (self._told_of_guess or self.learning or self.over_vectors) and self.caution is not None:
            self._told_of_guess = True
            warn(self.caution)
        sentence = self.model.sentence
        size = self.model.architecture.hidden_size
        pooled, width = sentence.pooled_width(size), sentence.width(size)

        def pool(new: Sequence[str]) -> Iterator[Entry]:
            if not self.before:
                return self._read(self._cased(new), self._vectors, pooled)
            skip = 0 if sentence.include_prompt else self.prompt_tokens
            own = list(map(len, self.model.tokenizer.ids(self._cased(new))))
            whole = self._cased([self.before + text for text in new])
            return self._read(whole, self._vectors, pooled, own=own, skip=skip)

        def read(new: Sequence[str]) -> Iterable[Entry]:
            if not sentence.inner_steps:
                return pool(new)
            return behind_steps(list(pool(new)), sentence.inner_steps, width)

        tokens, windows, truncated, vectors = self.outputs(texts, read, width)  # the store keeps the whole of them
        if self.own_scale and sentence.normalized:
            vectors = unit(vectors)
        return Encoded(tokens, windows, truncated, vectors[:, : self.width])

    def judge(self, texts: Sequence[str]) -> Logits:
        """The logits of the model's head for each text by itself.

        The logits of a text read in windows are the mean of its windows', by their tokens. A text without
        tokens is read as the special tokens around it; where there are none of those either, logits are 0.
        Equal texts are read once. With a store, only texts that it has not seen are read.

        Raises SettingError when the model was opened without a head that judges texts.

        >>> from sijo.checkpoints.load import load
        >>> from sijo.inference.encode import engine_of
        >>> fresh = load(head="new:sequence-classification", labels=["sport", "tax", "weather"])
        >>> engine_of(fresh).judge(["a late goal", "rain"]).logits.shape
        (2, 3)
        """
        self._must_have(CLASSIFIER, "a head that judges texts")
        if isinstance(self.backend, FittedBackend):
            read = self._encoded(list(texts_in(texts)))
            return Logits(read.tokens, read.windows, read.truncated, self.backend.judged(read.vectors))
        width, texts = len(self.model.labels), list(texts_in(texts))
        return Logits(*self.outputs(texts, lambda new: self._read(new, self._logits, width, blank=True), width))

    @property
    def over_vectors(self) -> bool:
        """Whether its head was fitted over one vector a text, whatever its windows: `judge` alone asks it."""
        return isinstance(self.backend, FittedBackend)

    def score_pairs(self, firsts: Sequence[str], seconds: Sequence[str]) -> Logits:
        """The logits of the model's head for each pair, such as a text and a hypothesis about it.

        A pair that is longer than the model loses the end of its first text, never of its second,
        whatever `long_text` says: `truncated` tells which. Equal pairs are read once, and a text is
        tokenized once for all its pairs. With a store, only pairs that it has not seen are read.

        Raises SettingError when the model was opened without a head for pairs, and TextError when
        the second text leaves no room for the first.

        >>> from sijo.checkpoints.load import load
        >>> from sijo.inference.encode import engine_of
        >>> fresh = load(head="new:sequence-classification", labels=["entailment", "contradiction"])
        >>> engine_of(fresh).score_pairs(["a cat sleeps"] * 2, ["This is a cat.", "This is a dog."]).logits.shape
        (2, 2)
        """
        self._must_have(CLASSIFIER, "a head that judges texts")
        pairs = list(zip(texts_in(firsts), texts_in(seconds, "seconds"), strict=True))
        return Logits(*self.outputs(pairs, self._read_pairs, len(self.model.labels)))

    def scores_at(self, head: str, asked: Sequence[AskedInput]) -> list[np.ndarray]:
        """What a head that answers for tokens says at the places of each input, (places,) float32.

        It is the log-probability of the token that is asked about, of a head whose answer is a token; else the one
        score at the place. No other scores are computed. Equal inputs are read once, and the order in which
        inputs are given changes nothing.

        Raises SettingError when the model was opened without that head, or not by torch.

        >>> from sijo.checkpoints.load import load
        >>> from sijo.inference.encode import engine_of
        >>> engine = engine_of(load(head="new:mlm"))
        >>> hidden = AskedInput((101, 103, 102), places=(1, 1), tokens=(5961, 7117))
        >>> [poem, song] = engine.scores_at("mlm", [hidden])[0]
        >>> bool(poem < 0 and song < 0)
        True
        """
        self._must_have(head, "a head that answers for tokens")
        askers: dict[tuple[int, ...], list[int]] = {}
        for place, ask in enumerate(asked):
            askers.setdefault(ask.ids, []).append(place)
        inputs = sorted(askers)
        answers: list[np.ndarray] = [np.zeros(0, np.float32)] * len(asked)
        for batch in self._batches(inputs):
            own = [(row, place) for row, i in enumerate(batch) for place in askers[inputs[i]]]
            counts = [len(asked[place].places) for _, place in own]
            tokens = [asked[place].tokens for _, place in own]
            at = TokenPlaces(
                np.repeat([row for row, _ in own], counts),
                np.concatenate([np.array(asked[place].places, np.int64) for _, place in own]),
                None if None in tokens else np.concatenate([np.array(part, np.int64) for part in tokens]),
            )
            scores = self.backend.scores_at(self._batch([inputs[i] for i in batch]), head, at)
            for (_, place), part in zip(own, np.split(scores, np.cumsum(counts)[:-1]), strict=True):
                answers[place] = part
        return answers

    def head_scores(
        self, head: str, sequences: Sequence[Sequence[int]], types: Sequence[Sequence[int]]
    ) -> list[np.ndarray]:
        """What a head says of each sequence of token ids, float32: (C,), or (L, C) of one that judges each token.

        types  the token type of each token

        The order in which sequences are given changes nothing.
        Raises SettingError when the model was opened without that head, and NotFiniteError, with the place of the
        sequence, for scores that are NaN or infinite.

        >>> from sijo.checkpoints.load import load
        >>> from sijo.inference.encode import engine_of
        >>> engine = engine_of(load(head="new:token-classification", labels=["O", "B-poem", "I-poem"]))
        >>> [scores.shape for scores in engine.head_scores("token-classification", [[101, 5961, 102]], [[0, 0, 0]])]
        [(3, 3)]
        """
        self._must_have(head, "a head that answers")
        order = sorted(range(len(sequences)), key=lambda place: (sequences[place], types[place]))
        inputs, kinds = ([given[place] for place in order] for given in (sequences, types))
        answers: list[np.ndarray] = [np.zeros(0, np.float32)] * len(sequences)
        for batch in self._batches(inputs):
            own = [kinds[i] for i in batch] if any(any(kinds[i]) for i in batch) else None
            scores = self.backend.logits(self._batch([inputs[i] for i in batch], own), head)
            for i, row in zip(batch, scores, strict=True):
                answers[order[i]] = row if row.ndim == 1 else row[: len(inputs[i])]
        bad = next((place for place, row in enumerate(answers) if not np.isfinite(row).all()), None)
        if bad is not None:
            raise NotFiniteError.of_model(self.backend.why_not_finite(), bad)
        return answers

    def _must_have(self, head: str, what: str) -> None:
        if head not in self.backend.heads:
            raise SettingError(
                f"{self.model.source or 'the model'} was opened without {what}; open it with "
                f"sijo.load(..., head={head!r}). It holds: {', '.join(self.model.heads) or 'none'}"
            )

    def _cased(self, texts: Sequence[str]) -> Sequence[str]:
        """The texts as the sentence encoder was trained to see them."""
        return [lowered(text) for text in texts] if self.model.sentence.lowercase else texts

    @cached_property
    def prompt_tokens(self) -> int:
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
        own = self.backend.fingerprint
        if not self.before:
            return own
        return hashlib.blake2b(f"{own} {self.before}".encode(), digest_size=32).hexdigest()

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
        self.kept += len(known)
        for part in groups(missing, rows=len(missing), characters=AT_ONCE):
            part.sort()  # so that the order of rows, or of labels, does not decide who shares a batch
            new = dict(zip(part, read(part), strict=True))
            self.read += len(new)
            if bad := _not_finite(new):
                raise NotFiniteError.of_model(self.backend.why_not_finite(), min(map(list(keys).index, bad)))
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
        for batch in self._batches(sequences):
            lengths = np.array([[len(sequences[i])] for i in batch])
            rows = [owners[i] for i in batch]
            skips = ([parts[i][2] for i in batch],) if skip else ()
            np.add.at(totals, rows, answers([sequences[i] for i in batch], *skips) * lengths)
            np.add.at(weights, rows, lengths)
        vectors = (totals / np.maximum(weights, 1)).astype(np.float32)
        for i in range(len(texts)):
            yield Entry(vectors[i], tokens[i], len(read[i]), len(read[i]) < len(whole[i]))

    def _batches(self, sequences: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        """Which sequences are read together, by what a call costs the backend."""
        lengths, done = list(map(len, sequences)), 0
        for batch in by_length(lengths, token_budget=self.batch_tokens, call_cost=self.backend.call_cost):
            yield batch
            done += len(batch)
            if self.told is not None:
                self.told(done, len(lengths))

    def _read_pairs(self, pairs: Sequence[tuple[str, str]]) -> Iterator[Entry]:
        """Run the model over pairs; yields an entry for each."""
        inputs = self.model.tokenizer.pairs([first for first, _ in pairs], [second for _, second in pairs])
        logits = np.empty((len(inputs), len(self.model.labels)), np.float32)
        for batch in self._batches([pair.input_ids for pair in inputs]):
            types = [inputs[i].token_type_ids for i in batch]
            logits[batch] = self._logits([inputs[i].input_ids for i in batch], types)
        for pair, row in zip(inputs, logits, strict=True):
            yield Entry(row, pair.tokens, 1, pair.unread > 0)

    def _vectors(self, sequences: Sequence[Sequence[int]], skips: Sequence[int] = ()) -> np.ndarray:
        """One pooled vector for each token sequence, (n, D) float32; `skips` tokens at its start are left out."""
        return self.backend.vectors(self._batch(sequences), skips)

    def _logits(
        self, sequences: Sequence[Sequence[int]], types: Sequence[Sequence[int]] | None = None
    ) -> np.ndarray:
        """The head's logits for each token sequence, (n, C) float32; `types` are the token type ids of pairs."""
        return self.backend.logits(self._batch(sequences, types))

    def _batch(self, sequences: Sequence[Sequence[int]], types: Sequence[Sequence[int]] | None = None) -> IdBatch:
        """Token ids of one width."""
        tokenizer = self.model.tokenizer
        return IdBatch.of(sequences, types, pad=tokenizer.pad_id, limit=tokenizer.max_length)


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
