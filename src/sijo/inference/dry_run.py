"""What a run over a table would be, before it is made: rows, tokens, what would be cut, languages, time and memory.

The input is read to its end, in blocks; the model answers a few of its first rows, by whose time that of all is
reckoned. Nothing is written. Memory does not grow with the input: of token counts how often each occurs is kept.
"""

import sys
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from sijo.checkpoints.describe import DescribedModel
from sijo.files.tables import RowBlock
from sijo.tokenizers.coverage import CHARACTERS, TEXTS, coverage

TIMED_ROWS = 64
"""Of the first rows, whose time is taken."""
ROW_COST = 16
"""What a row costs beside its tokens, in tokens: special ones, and its share of what is done for a batch."""
LEAST_SHARE = 0.01
"""Of the letters, that a script has at least to be told."""


@dataclass(frozen=True)
class DryRun:
    """What a run would read and cost."""

    rows: int
    empty: int
    """Rows without text."""
    tokens: int
    """Of all rows, special ones not counted."""
    tokens_mean: float
    tokens_p95: int
    """95 of 100 rows have no more."""
    tokens_most: int
    truncated: int
    """Rows of which some would not be read."""
    scripts: dict[str, float]
    """The share of the letters that each script has, such as Latin and Hangul, in a hundred texts of each block."""
    unread_words: float
    """The share of their words that the model's tokenizer does not know, as in a language it has not learned."""
    model_languages: tuple[str, ...]
    """Those that the model's card names; none where it names none."""
    estimated_seconds: float
    """By the time of the first rows, on this machine as it is now; without opening the model."""
    estimated_memory: int
    """Bytes at most, by what this process has needed so far."""


class DryRunCounts:
    """What is counted over the blocks of a table."""

    def __init__(self, model: DescribedModel) -> None:
        self._model = model
        self._lengths: Counter[int] = Counter()
        self._scripts: Counter[str] = Counter()
        self._words = self._unread = self._truncated = 0

    def add(self, texts: Sequence[str], tokens: Sequence[int], cut: Sequence[bool]) -> None:
        """Count some rows: their texts, how many tokens they have, and whether they would be cut."""
        self._lengths.update(tokens)
        self._truncated += sum(cut)
        measured = coverage(self._model.tokenizer, texts)
        self._words += measured.words
        self._unread += measured.unread
        for text in texts[:: -(-len(texts) // TEXTS) or 1]:
            self._scripts.update(name for name in map(script_of, text[:CHARACTERS]) if name)

    def timed(self, seconds: float, tokens: Sequence[int]) -> DryRun:
        """The whole, where rows of so many tokens took so long."""
        lengths, rows, letters = self._lengths, self._lengths.total(), self._scripts.total()
        total = sum(length * count for length, count in lengths.items())
        work = (total + ROW_COST * rows) / max(sum(tokens) + ROW_COST * len(tokens), 1)
        shares = {name: count / letters for name, count in self._scripts.most_common()}
        return DryRun(
            rows=rows,
            empty=lengths[0],
            tokens=total,
            tokens_mean=total / max(rows, 1),
            tokens_p95=percentile(lengths, 0.95),
            tokens_most=max(lengths, default=0),
            truncated=self._truncated,
            scripts={name: round(share, 4) for name, share in shares.items() if share >= LEAST_SHARE},
            unread_words=self._unread / max(self._words, 1),
            model_languages=self._model.languages or (),
            estimated_seconds=seconds * work,
            estimated_memory=peak_memory(),
        )


def dry_run(
    model: DescribedModel,
    first: RowBlock,
    blocks: Iterable[RowBlock],
    measured: Callable[[RowBlock], tuple[Sequence[int], Sequence[bool]]],
    answer: Callable[[RowBlock], object],
    told: Callable[[RowBlock], None] = lambda block: None,
) -> DryRun:
    """What a run over the blocks of a table would be.

    model     by which texts are read
    first     the first rows, which are answered, and timed
    measured  the tokens of each row of a block, and whether it would be cut
    answer    answers a block
    told      told of each block that was read

    Raises what reading a block raises, so that a broken row is found.
    """
    counts = DryRunCounts(model)
    answer(first)  # the first time, much is made ready
    started = time.perf_counter()
    answer(first)
    seconds = time.perf_counter() - started
    tokens, _ = measured(first)
    for block in blocks:
        counts.add(block.texts, *measured(block))
        told(block)
    return counts.timed(seconds, tokens)


def percentile(counts: Counter[int], share: float) -> int:
    """The least value that so many of the counted ones do not exceed.

    >>> percentile(Counter({3: 90, 7: 5, 500: 5}), 0.95)
    7
    """
    rest = share * counts.total()
    for value, count in sorted(counts.items()):
        rest -= count
        if rest <= 1e-9:
            return value
    return 0


@lru_cache(maxsize=2**16)
def script_of(letter: str) -> str:
    """The script of a letter, by its name in Unicode; "" for what is no letter.

    >>> script_of("a"), script_of("시"), script_of("漢"), script_of("7")
    ('Latin', 'Hangul', 'Han', '')
    """
    if not unicodedata.category(letter).startswith("L"):
        return ""
    name = unicodedata.name(letter, "").partition(" ")[0]
    return {"CJK": "Han", "": "other"}.get(name, name.capitalize())


def peak_memory() -> int:
    """The most bytes that this process has had in memory; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
