"""All chance of a run as pure functions: of a seed, a purpose, and the numbers of what it is for.

Nothing has to be remembered or skipped to go on where a run stopped: the dice of epoch 3, sample 17
are the same whenever and wherever they are thrown, for any number of processes.
"""

import hashlib

import numpy as np

ROUNDS = 6
"""Of the Feistel network; four already pass for chance (Luby and Rackoff 1988)."""


def random_bits(seed: int, purpose: str, *numbers: int) -> int:
    """128 bits that nothing but these decides.

    >>> random_bits(0, "mask", 1, 2) == random_bits(0, "mask", 1, 2) != random_bits(0, "mask", 2, 1)
    True
    """
    words = f"{seed} {purpose} {' '.join(map(str, numbers))}".encode()
    return int.from_bytes(hashlib.blake2b(words, digest_size=16).digest(), "little")


def rng(seed: int, purpose: str, *numbers: int) -> np.random.Generator:
    """The dice for one purpose, such as "mask", and one thing, such as epoch 3, sample 17.

    >>> rng(0, "mask", 3, 17).random(2).round(4).tolist() == rng(0, "mask", 3, 17).random(2).round(4).tolist()
    True
    """
    return np.random.Generator(np.random.Philox(key=random_bits(seed, purpose, *numbers)))


def permuted(places: np.ndarray, count: int, *, seed: int, epoch: int) -> np.ndarray:
    """Which of `count` things stand at these places of an epoch's order, in memory that does not grow with `count`.

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
    found = np.array(places, dtype=np.uint64)
    beyond = np.ones(found.shape, dtype=bool)
    while beyond.any():
        left, right = found[beyond] >> np.uint64(half), found[beyond] & low
        for key in keys:
            left, right = right, left ^ (_mixed(right ^ key) & low)
        found[beyond] = left << np.uint64(half) | right
        beyond = found >= count
    return found.astype(np.int64)


def _mixed(words: np.ndarray) -> np.ndarray:
    """Each word's bits spread over all of it (the finish of SplitMix64, Steele et al. 2014)."""
    words = (words ^ words >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ words >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = words ^ words >> np.uint64(31)
    return mixed
