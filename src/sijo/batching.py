"""Batches of sequences: those of similar length together, up to a budget of tokens; and bounded groups of texts."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from sijo.errors import SettingError

Item = TypeVar("Item")
AnyText = TypeVar("AnyText", bound=str | tuple[str, str])
"""A text, or a pair of them."""


def padded_length(length: int) -> int:
    """The width a batch is padded to when its longest sequence has `length` tokens.

    A multiple of 4, and of 8 beyond 32: some dozens of widths instead of hundreds. Matrix kernels are
    made, and kept, for each shape that occurs; without this, memory grows over the first 40,000 rows.

    >>> [padded_length(n) for n in (2, 4, 9, 33, 256)]
    [4, 4, 12, 40, 256]
    """
    step = 4 if length <= 32 else 8
    return -(-length // step) * step


def by_length(lengths: Sequence[int], *, token_budget: int) -> Iterator[list[int]]:
    """Batches of sequence numbers, longest first, with little padding.

    A batch takes sequences as long as their count times its padded length stays within the budget;
    one that is longer than the budget goes alone. Longest first, so that memory peaks at once.

    lengths       tokens of each sequence
    token_budget  tokens of a batch, padding included

    >>> list(by_length([2, 7, 3, 8], token_budget=16))
    [[3, 1], [2, 0]]
    """
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    batch: list[int] = []
    for i in order:
        if batch and (len(batch) + 1) * padded_length(lengths[batch[0]]) > token_budget:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def groups(
    items: Iterable[Item],
    *,
    rows: int = 2048,
    characters: int = 250_000,
    size: Callable[[Any], int] = lambda text: len(text) if isinstance(text, str) else sum(map(len, text)),
) -> Iterator[list[Item]]:
    """Bounded groups of a stream, in order: each ends at `rows` items, or once it holds `characters`.

    size  the characters of an item; by default of a text or of a pair of them

    Raises SettingError for one string in place of many.

    >>> list(groups(["aa", "bb", "cc"], rows=2048, characters=3))
    [['aa', 'bb'], ['cc']]
    """
    if isinstance(items, str):
        raise SettingError("texts is one string, and would be read letter by letter; pass a list of texts")
    group: list[Item] = []
    held = 0
    for item in items:
        group.append(item)
        held += size(item)
        if len(group) == rows or held >= characters:
            yield group
            group, held = [], 0
    if group:
        yield group
