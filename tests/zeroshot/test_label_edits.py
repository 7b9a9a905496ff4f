"""Labels that change cost what changed: what reaches the network is counted, and answers are those from scratch."""

import random

import numpy as np
import pytest

from sijo.checkpoints.load import load
from sijo.inference.backends.torch_backend import TorchBackend
from sijo.zeroshot.labeller import LabelChoice, Labeller
from sijo.zeroshot.labels import Label, LabelSet
from sijo.zeroshot.scorers.open import open_scorer

TEXTS = [
    "a late goal in extra time",
    "onions in butter",
    "the bank raised its rates",
    "a late goal in extra time",
    "",
]
CLOSE = 1e-12
"""A product of matrices of other shapes may round otherwise."""
PAIRS_CLOSE = 1e-6
"""Logits in float32, of batches of other sizes."""
WORDS = ["football", "cooking", "banking", "travel", "경제", "chess", "tax law", "weather"]


@pytest.fixture(scope="module")
def entailment():
    return load(head="new:sequence-classification", labels=["entailment", "contradiction"])


@pytest.fixture
def calls(monkeypatch):
    """How many inputs have reached the network."""
    counts = [0]

    def counted(name):
        inner = getattr(TorchBackend, name)

        def call(self, batch, *others):
            counts[0] += len(batch.input_ids)
            return inner(self, batch, *others)

        monkeypatch.setattr(TorchBackend, name, call)

    counted("vectors")
    counted("logits")
    return counts


def scores(kind, model, labels, cache=None, *, multi_label=False) -> np.ndarray:
    scorer = open_scorer(kind, model, cache=cache, backend="torch")
    labeller = Labeller(scorer, LabelChoice(multi_label=multi_label), labels)
    return np.concatenate([scores for scores, _ in labeller.scored(TEXTS)])


def edited(labels: LabelSet, chance: random.Random) -> LabelSet:
    """Another set, by one edit."""
    names, unused = labels.names, [word for word in WORDS if word not in labels.names]
    match chance.randrange(4):
        case 0 if unused:
            return labels.add(chance.choice(unused))
        case 1 if len(names) > 2:
            return labels.remove(chance.choice(names))
        case 2 if unused:
            return labels.rename(chance.choice(names), chance.choice(unused))
        case _:
            name = chance.choice(names)
            said = Label(name, (f"in other words {chance.randrange(3)}",))
            return LabelSet(tuple(said if label.name == name else label for label in labels.labels))


@pytest.mark.parametrize("multi_label", [False, True])
def test_any_edits_cost_their_own_pairs_and_give_the_same_scores(entailment, calls, tmp_path, multi_label):
    # kills: a label set in the key of the store, a text read again for a label that is gone, scores that drift
    chance, seen = random.Random(3), set()
    labels = LabelSet.of(["football", "cooking", "banking"])
    for _ in range(12):
        calls[0] = 0
        kept = scores("entailment", entailment, labels, tmp_path, multi_label=multi_label)
        phrases = {phrase for label in labels.labels for phrase in label.phrases("This example is {}.")}
        pairs = {(text, phrase) for text in TEXTS for phrase in phrases}
        assert calls[0] == len(pairs - seen)
        seen |= pairs
        fresh = scores("entailment", entailment, labels, multi_label=multi_label)
        np.testing.assert_allclose(kept, fresh, rtol=0, atol=PAIRS_CLOSE)
        labels = edited(labels, chance)


def test_vectors_of_texts_are_kept_and_labels_cost_one_each(calls, tmp_path):
    # kills: texts encoded again for a new label; a label that is removed and comes back paid for twice
    labels = LabelSet.of(["football", "cooking"])
    first = scores("embedding", None, labels, tmp_path)
    assert calls[0] == 5  # three texts that are not empty, two labels
    calls[0] = 0
    more = labels.add(Label("banking", ("money",), examples=("the bank closed",)))
    wider = scores("embedding", None, more, tmp_path)
    assert calls[0] == 3
    np.testing.assert_allclose(wider[:, :2], first, rtol=0, atol=CLOSE)
    calls[0] = 0
    assert np.array_equal(scores("embedding", None, labels, tmp_path), first) and calls[0] == 0
    turned = labels.remove("football").add("football")
    np.testing.assert_allclose(scores("embedding", None, turned, tmp_path), first[:, ::-1], rtol=0, atol=CLOSE)
    assert calls[0] == 0
    assert np.array_equal(wider, scores("embedding", None, more))


def test_nothing_is_shared_between_models_and_precisions(entailment, calls, tmp_path):
    # kills: logits in bfloat16 served as float32, those of one head for another's
    labels = LabelSet.of(["football", "cooking"])
    other = load(head="new:sequence-classification", labels=["contradiction", "entailment"], dtype="bfloat16")
    for model in (entailment, other):
        calls[0] = 0
        scores("entailment", model, labels, tmp_path)
        assert calls[0] == 8  # four distinct texts
    assert len(list(tmp_path.glob("*"))) >= 2
