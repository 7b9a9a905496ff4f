"""Documents to make corpora of, and what a corpus holds."""

import random
from itertools import pairwise

WORDS = ["the", "old", "sea", "rain", "Sun", "land", "game", "money", "bread", "and", "of", "it", "zz"]


def poems(count, *, seed=0):
    """So many documents of a few sentences, of a few words each."""
    chance = random.Random(seed)
    return [
        [
            " ".join(chance.choices(WORDS, k=chance.randint(1, 7))).capitalize() + "."
            for _ in range(chance.randint(1, 5))
        ]
        for _ in range(count)
    ]


def told(corpus):
    """Every document that a corpus holds: its code's name, and the ids of each sentence."""
    found = []
    for shard in corpus.shards:
        code = None if shard.code is None else corpus.codes[shard.code].name
        for start, end in pairwise(shard.documents.tolist()):
            edges = pairwise(shard.sentences[start : end + 1].tolist())
            found.append((code, [shard.tokens[low:high].tolist() for low, high in edges]))
    return found


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}
