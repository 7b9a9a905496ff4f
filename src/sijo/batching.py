"""Batches of sequences: those of similar length together, up to a budget of tokens; and bounded groups of texts."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np

from sijo.errors import SettingError

Item = TypeVar("Item")
AnyText = TypeVar("AnyText", bound=str | tuple[str, str])
"""A text, or a pair of them."""

CALL_COST = 32
"""What a batch costs beside its tokens, in tokens, where nothing better is known: a constant, never a clock."""


def padded_length(length: int) -> int:
    """The width a batch is padded to when its longest sequence has `length` tokens.

    A multiple of 4, and of 8 beyond 32: some dozens of widths instead of hundreds. Matrix kernels are
    made, and kept, for each shape that occurs; without this, memory grows over the first 40,000 rows.

    >>> [padded_length(n) for n in (2, 4, 9, 33, 256)]
    [4, 4, 12, 40, 256]
    """
    step = 4 if length <= 32 else 8
    return -(-length // step) * step


def by_length(lengths: Sequence[int], *, token_budget: int, call_cost: int = CALL_COST) -> Iterator[list[int]]:
    """Batches of sequence numbers, longest first, cut where padding and calls together cost least.

    A batch costs `call_cost`, and its count times its padded length, which stays within the budget; a sequence that
    is longer than the budget goes alone. No other batches of these sequences cost less. Of several that cost the
    same, those with most in the first of them. Longest first, so that memory peaks at once.

    lengths       tokens of each sequence
    token_budget  tokens of a batch, padding included
    call_cost     what a batch costs beside its tokens, in tokens

    >>> list(by_length([2, 7, 3, 8], token_budget=16, call_cost=4))
    [[3, 1], [2, 0]]
    >>> list(by_length([2, 7, 3, 8], token_budget=32, call_cost=9))
    [[3, 1, 2, 0]]
    """
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    start = 0
    for end in _ends([padded_length(lengths[i]) for i in order], token_budget, call_cost):
        yield order[start:end]
        start = end


def _ends(widths: Sequence[int], token_budget: int, call_cost: int) -> Iterator[int]:
    """Where each batch of sequences of these padded lengths ends, widest first.

    From the narrowest width to the widest, the least cost of all from a place on: of N places in all, for each
    width in a few operations on arrays. A batch that begins among sequences of one width ends where the next
    width begins, or later; or else it is full, since what it left of its own width would be padded to that width
    all the same.
    """
    widths_N = np.array(widths, np.int64)
    least_N1 = np.zeros(len(widths) + 1, np.int64)
    """The least cost of the sequences from each place on, and of none."""
    end_N = np.zeros(len(widths), np.int64)
    """Where the batch ends that begins at each place."""
    places_N1 = np.arange(len(widths) + 1)
    borders = [*np.flatnonzero(np.diff(widths_N, prepend=0)).tolist(), len(widths)]
    for first, last in reversed(list(pairwise(borders))):  # the places of one width, the latter not among them
        width = widths[first]
        rows = max(1, token_budget // width)
        ends = places_N1[last : last + rows]  # beyond this width
        costs = ends * width + least_N1[ends]
        lowest = np.minimum.accumulate(costs)
        best = np.maximum.accumulate(np.where(costs == lowest, ends, 0))
        near = places_N1[max(first, last - rows) : last]  # from where a batch reaches so far
        reach = np.minimum(near + rows - last, len(ends) - 1)
        least_N1[near] = call_cost - near * width + lowest[reach]
        end_N[near] = best[reach]
        far = places_N1[first : near[0]]
        full = (last - 1 - far) // rows
        least_N1[far] = full * (call_cost + rows * width) + least_N1[far + full * rows]
        end_N[far] = far + rows
    place = 0
    while place < len(widths):
        place = int(end_N[place])
        yield place


def groups(
    items: Iterable[Item],
    *,
    rows: int = 2048,
    characters: int = 250_000,
    size: Callable[[Any], int] = lambda text: len(text) if isinstance(text, str) else sum(map(len, text)),
    bytes_: int = sys.maxsize,
    weight: Callable[[Any], int] = lambda item: 0,
) -> Iterator[list[Item]]:
    """Bounded groups of a stream, in order: each ends at `rows` items, or once it holds `characters` or `bytes_`.

    size    the characters of an item; by default of a text or of a pair of them
    weight  the bytes of an item, with all that stands beside its text

    Raises SettingError for one string in place of many.

    >>> list(groups(["aa", "bb", "cc"], rows=2048, characters=3))
    [['aa', 'bb'], ['cc']]
    """
    if isinstance(items, str):
        raise SettingError("texts is one string, and would be read letter by letter; pass a list of texts")
    group: list[Item] = []
    held = weighs = 0
    for item in items:
        group.append(item)
        held += size(item)
        weighs += weight(item)
        if len(group) == rows or held >= characters or weighs >= bytes_:
            yield group
            group, held, weighs = [], 0, 0
    if group:
        yield group
