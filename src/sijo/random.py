"""All randomness of a run as pure functions of a seed, a purpose, and numbers such as epoch and sample.

No state has to be saved or skipped to resume a run: the random generator of epoch 3, sample 17 gives the same
draws whenever and wherever it is made, for any number of processes.
"""

import hashlib

import numpy as np

ROUNDS = 6
"""Of the Feistel network; four already make a pseudorandom permutation (Luby and Rackoff 1988)."""


def random_bits(seed: int, purpose: str, *numbers: int) -> int:
    """128 pseudorandom bits, a function of these arguments alone.

    >>> random_bits(0, "mask", 1, 2) == random_bits(0, "mask", 1, 2) != random_bits(0, "mask", 2, 1)
    True
    """
    words = f"{seed} {purpose} {' '.join(map(str, numbers))}".encode()
    return int.from_bytes(hashlib.blake2b(words, digest_size=16).digest(), "little")


def rng(seed: int, purpose: str, *numbers: int) -> np.random.Generator:
    """The random generator for one purpose, such as "mask", and one thing, such as epoch 3, sample 17.

    >>> rng(0, "mask", 3, 17).random(2).round(4).tolist() == rng(0, "mask", 3, 17).random(2).round(4).tolist()
    True
    """
    return np.random.Generator(np.random.Philox(key=random_bits(seed, purpose, *numbers)))


def permuted(places: np.ndarray, count: int, *, seed: int, epoch: int) -> np.ndarray:
    """Which of `count` samples stand at these places of an epoch's order; memory does not grow with `count`.

    places  integers in [0, count), any shape

    Returns int64 of the same shape. Over all places it is a permutation.
    How: a Feistel network over the next power of four, walked again where it leads beyond `count`
    (Black and Rogaway 2002, "cycle walking").

    >>> sorted(permuted(np.arange(10), 10, seed=0, epoch=0).tolist())
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    half = max(1, -(-max(count - 1, 1).bit_length() // 2))
    low = np.uint64((1 << half) - 1)
    keys = [np.uint64(random_bits(seed, "order", epoch, number) & (2**64 - 1)) for number in range(ROUNDS)]
    samples = np.array(places, dtype=np.uint64)
    beyond = np.ones(samples.shape, dtype=bool)
    while beyond.any():
        left, right = samples[beyond] >> np.uint64(half), samples[beyond] & low
        for key in keys:
            left, right = right, left ^ (_mixed(right ^ key) & low)
        samples[beyond] = left << np.uint64(half) | right
        beyond = samples >= count
    return samples.astype(np.int64)


def _mixed(words: np.ndarray) -> np.ndarray:
    """Each word with its bits mixed (the finaliser of SplitMix64, Steele et al. 2014)."""
    words = (words ^ words >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ words >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = words ^ words >> np.uint64(31)
    return mixed
