"""Batches are cut where padding and calls together cost least, and hold each sequence once."""

from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from sijo.batching import by_length, padded_length

LENGTHS = st.one_of(st.integers(1, 12), st.integers(1, 70))
COSTS = st.sampled_from([0, 1, 7, 32, 500])


def cost(batches: list[list[int]], lengths: list[int], call_cost: int) -> int:
    return sum(call_cost + len(batch) * padded_length(max(lengths[i] for i in batch)) for batch in batches)


def fits(batch: list[int], lengths: list[int], budget: int) -> bool:
    return len(batch) == 1 or len(batch) * padded_length(max(lengths[i] for i in batch)) <= budget


def partitions(items: list[int]) -> Iterator[list[list[int]]]:
    """Every way to part some items, whatever stands beside what."""
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for parted in partitions(rest):
        yield [[first], *parted]
        for place, part in enumerate(parted):
            yield [*parted[:place], [first, *part], *parted[place + 1 :]]


@settings(max_examples=60, deadline=None)
@given(st.lists(LENGTHS, max_size=7), st.integers(1, 200), COSTS)
def test_no_other_batches_cost_less(lengths, budget, call_cost):
    """Catches a cut that is only good from where it stands, a call that costs nothing, a count one off where a
    batch is full, and sequences of one batch that would be better apart. Beside every way to part them.
    """
    batches = list(by_length(lengths, token_budget=budget, call_cost=call_cost))
    every = partitions(list(range(len(lengths))))
    allowed = (parted for parted in every if all(fits(batch, lengths, budget) for batch in parted))
    assert cost(batches, lengths, call_cost) == min(cost(parted, lengths, call_cost) for parted in allowed)


def least_cost(widths: list[int], budget: int, call_cost: int) -> int:
    """Of batches that are cut from sorted sequences, tried at every place."""
    least = [0]
    for start in range(len(widths) - 1, -1, -1):
        rows = range(1, min(max(1, budget // widths[start]), len(widths) - start) + 1)
        least.insert(0, min(call_cost + count * widths[start] + least[count - 1] for count in rows))
    return least[0]


@settings(max_examples=200, deadline=None)
@given(st.lists(LENGTHS, max_size=80), st.integers(1, 400), COSTS)
def test_many_sequences_cost_least_too(lengths, budget, call_cost):
    """Catches a full batch of one width too many or too few, and a last one that begins elsewhere."""
    batches = list(by_length(lengths, token_budget=budget, call_cost=call_cost))
    widths = sorted(map(padded_length, lengths), reverse=True)
    assert cost(batches, lengths, call_cost) == least_cost(widths, budget, call_cost)


@given(st.lists(st.integers(1, 300), max_size=200), st.integers(1, 5000), COSTS)
def test_each_sequence_stands_in_one_batch_within_the_budget_longest_first(lengths, budget, call_cost):
    """Catches a sequence lost or doubled, an over-full batch (memory), and a peak of memory that comes late."""
    batches = list(by_length(lengths, token_budget=budget, call_cost=call_cost))
    order = [i for batch in batches for i in batch]
    assert sorted(order) == list(range(len(lengths)))
    assert all(batch and fits(batch, lengths, budget) for batch in batches)
    assert order == sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))


@given(st.lists(st.integers(1, 300), min_size=1, max_size=50), st.integers(1, 5000))
def test_a_dear_call_makes_as_few_batches_as_can_be(lengths, budget):
    """Catches a cost that is lost in adding, and with it a call too many."""
    batches = list(by_length(lengths, token_budget=budget, call_cost=10**6))
    fewest = least_cost(sorted(map(padded_length, lengths), reverse=True), budget, 10**6) // 10**6
    assert len(batches) == fewest


def test_sequences_of_one_length_fill_the_first_batches():
    """Catches a tie that is broken otherwise: where nothing is gained by it, training would see other pieces."""
    batches = list(by_length([128] * 16, token_budget=6 * 128 + 5))
    assert [len(batch) for batch in batches] == [6, 6, 4] and batches[0] == [0, 1, 2, 3, 4, 5]
