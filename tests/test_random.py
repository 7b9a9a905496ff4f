"""Randomness as a function: the same draws everywhere, and orders that are fair."""

import subprocess
import sys

import numpy as np
import pytest

from sijo.random import permuted, random_bits, rng


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 17, 64, 1_000, 4_097])
def test_an_order_has_everything_once(count):
    # kills: a Feistel network that is no permutation, a walk that ends beyond the count
    assert sorted(permuted(np.arange(count), count, seed=3, epoch=1)) == list(range(count))


def test_any_part_of_an_order_is_that_part_of_the_whole():
    # kills: an order that depends on how much of it is asked for at once
    whole = permuted(np.arange(1_000), 1_000, seed=3, epoch=1)
    assert permuted(np.array([[7], [999]]), 1_000, seed=3, epoch=1).tolist() == [[whole[7]], [whole[999]]]


def test_orders_are_fair():
    # kills: a first sample that is mostly an early one, epochs or seeds in the same order
    count, tries = 6, 6_000
    first = np.array([permuted(np.array([0, 5]), count, seed=seed, epoch=seed % 3) for seed in range(tries)])
    expected = tries / count
    for place in first.T:
        assert (
            (np.bincount(place, minlength=count) - expected) ** 2 / expected
        ).sum() < 20.5  # 5 degrees: p = 0.001
    orders = [permuted(np.arange(50), 50, seed=seed, epoch=epoch).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4
    middle = permuted(np.arange(10_000), 10_000, seed=0, epoch=0)
    assert abs(np.corrcoef(np.arange(10_000), middle)[0, 1]) < 0.03


def test_draws_are_those_of_any_process():
    # kills: Python's own hash, which changes from process to process
    program = "from sijo.random import rng; print(rng(1, 'mask', 2, 3).random(3).tolist())"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == str(rng(1, "mask", 2, 3).random(3).tolist())
    assert rng(0, "mask", 0, 0).random() == STORED


STORED = 0.825507098614797
"""What the first draw has been since the beginning; another value would change every run."""


def test_nothing_stands_for_something_else():
    # kills: numbers joined without a border: sample 12 of epoch 1 and sample 2 of epoch 11
    seen = {
        random_bits(*arguments)
        for arguments in ((0, "a", 1, 12), (0, "a", 11, 2), (0, "a", 112), (0, "b", 1, 12), (1, "a", 1, 12))
    }
    assert len(seen) == 5
