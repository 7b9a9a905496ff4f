"""A tokenizer of a hundred tokens, a corpus held in memory, and posed questions over it."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

WORDS = [
    "the",
    "sea",
    "was",
    "old",
    "and",
    "the",
    "land",
    "was",
    "new",
    ".",
    "one",
    "team",
    "won",
    "the",
    "game",
    ",",
    "two",
    "of",
    "them",
    "lost",
    "money",
    "in",
    "rain",
]


@pytest.fixture(scope="session")
def tokenizer(tiny_model):
    """The tiny model's, for inputs of up to 32 tokens."""
    from sijo.tokenizers.tokenizer import Tokenizer

    return Tokenizer.load(tiny_model / "tokenizer.json", max_length=32)


def corpus_of(tokenizer, documents, *, code=None, codes=()):
    """What `Corpus` would be of documents given as lists of sentences."""
    tokens, sentences, borders = [], [0], [0]
    for document in documents:
        for ids in tokenizer.ids(document):
            tokens += ids
            sentences.append(len(tokens))
        borders.append(len(sentences) - 1)
    shard = SimpleNamespace(
        tokens=np.array(tokens, dtype=np.uint16),
        sentences=np.array(sentences, dtype=np.uint32),
        documents=np.array(borders, dtype=np.uint32),
        code=code,
        written=lambda start, end: None,
    )
    return SimpleNamespace(
        shards=(shard,), codes=codes, tokenizer=tokenizer.text_fingerprint, folder="memory", fingerprint="memory"
    )


def documents(count, seed=0):
    """Documents of one to nine sentences of one to eleven words."""
    chance = np.random.default_rng(seed)
    return [
        [" ".join(chance.choice(WORDS, chance.integers(1, 12))) for _ in range(chance.integers(1, 10))]
        for _ in range(count)
    ]


@pytest.fixture(scope="session")
def corpus(tokenizer):
    """Some 60 documents."""
    return corpus_of(tokenizer, documents(60))


@pytest.fixture(scope="session")
def questions(tokenizer, corpus):
    """`questions(objective, **settings)` gives a posed batch of 24 inputs, of uneven lengths."""
    from sijo.data.samples import Samples, SampleSettings
    from sijo.objectives.posed_batch import unposed

    def pose(objective, count=24, seed=3, **settings):
        samples = Samples(corpus, tokenizer, SampleSettings(length=32, **settings))
        return objective.pose(unposed(samples.batch(0, count, seed=seed)), seed)

    return pose


def loss_of(objective, tallies, counts):
    """The loss as the loop forms it."""
    return sum(objective.weights[name] * tally.total / max(counts[name], 1) for name, tally in tallies.items())


def learned(objective, question):
    """The loss of a whole batch and the gradient of every parameter, without dropout."""
    objective.eval()
    objective.zero_grad()
    loss = loss_of(objective, objective(objective.prepare(question)), objective.counts(question))
    loss.backward()
    return loss.item(), {
        name: part.grad.clone() for name, part in objective.named_parameters() if part.grad is not None
    }


def moved(model, size=0.3, seed=0):
    """The same model, every weight moved: fresh biases are 0 and fresh norms 1, and hide a swap."""
    chance = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=chance) * size)
    return model


def opened(theirs, folder, head):
    """A model of transformers as sijo opens it."""
    import sijo

    theirs.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"]
    return sijo.load(folder, head)


def published_names(model):
    """Of each parameter of ours, the published name."""
    from sijo.checkpoints.names import NameTable

    config = model.family.config.read(model.config)
    return NameTable(model.family, config, model.layouts, model.state_dict()).names
