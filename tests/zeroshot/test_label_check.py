"""What is found in a file of labels, before a model reads it and when it does."""

import time
from pathlib import Path

import numpy as np
import pytest

import sijo
from sijo.inference.outputs import unit
from sijo.zeroshot.label_check import check_labels
from sijo.zeroshot.label_files import LabelFile
from sijo.zeroshot.scorers.embedding import EmbeddingScorer
from sijo.zeroshot.scorers.open import open_scorer

FILE = Path("labels.json")


def found(entries, opens=None, template=None, **others) -> list[tuple[str, str, tuple[str, ...]]]:
    entries = tuple(entries.items()) if isinstance(entries, dict) else tuple((name, ()) for name in entries)
    findings = check_labels(LabelFile(FILE, entries, **others), opens, template)
    assert all(finding.problem and finding.change for finding in findings)
    return [(finding.severity, finding.kind, finding.labels) for finding in findings]


@pytest.fixture(scope="module")
def minilm():
    scorer = open_scorer("embedding", "all-minilm-l6-v2")
    return lambda: scorer


def test_every_error_is_told_and_not_the_first_alone():
    # kills: a check that stops at the first error; a model opened for labels that make no set
    entries = {"a": {"threshold": 2}, "b": {"parent": "z"}, "c": {"parent": "d"}, "d": {"parent": "c"}, "": ()}

    def never():
        raise AssertionError

    assert found(entries, never, "no slot", templates=(("ko", "{}{을/은}"),), language="xx") == [
        ("error", "unusable", ("a",)),
        ("error", "unusable", ("number 5",)),
        ("error", "parent", ("b",)),
        ("error", "parent", ("c", "d")),
        ("error", "template", ()),
        ("error", "template", ()),
    ]
    assert found(["a", "b"], language="xx") == [("error", "language", ())]
    assert found([]) == [("error", "empty", ())]
    assert found(["sea", "Sea ", "ＳＥＡ"]) == [
        ("error", "duplicate", ("Sea ", "sea")),
        ("error", "duplicate", ("ＳＥＡ", "sea")),
    ]


@pytest.mark.parametrize(
    ("names", "kind", "labels"),
    [
        (["e-mail", "email", "sea"], "near-duplicate", ("e-mail", "email")),
        (["café", "cafe", "sea"], "near-duplicate", ("café", "cafe")),
        (["colour", "color", "sea"], "near-duplicate", ("colour", "color")),
        (["sport", "sports", "sea"], "near-duplicate", ("sport", "sports")),
        (["business", "busyness", "sea"], "near-duplicate", ("business", "busyness")),
        (["sport news", "sport", "sea"], "contained", ("sport", "sport news")),
        (["국제경제", "경제", "바다"], "contained", ("경제", "국제경제")),
    ],
)
def test_names_that_are_near_or_hold_each_other(names, kind, labels):
    # kills: two spellings of one thing that share its texts; a slip found in the longer name alone
    assert [(what, own) for _, what, own in found(names)] == [(kind, labels)]
    assert labels[::-1] in [own for _, what, own in found(names[::-1])] or kind == "contained"


def test_names_that_are_apart():
    # kills: numbered labels, short words, and a part under its whole told as slips
    assert found(["grade 1", "grade 2", "grade 12", "cat", "car", "C", "C++", "C#"]) == []
    assert found({"sport": (), "sport news": {"parent": "sport"}}) == []


def test_what_only_some_labels_have():
    # kills: a label with descriptions, or a prototype, beside labels without, which it beats or loses to unseen
    assert found({"sea": "salt water", "sun": (), "sky": ()}) == [("warning", "lopsided", ("sun", "sky"))]
    assert found({"sea": {"examples": ["a"]}, "sun": ()}) == [("warning", "lopsided", ("sun",))]
    long = {"sea": "salt water", "sun": "warm light", "sky": "blue and far " * 9}
    assert found(long) == [("warning", "lopsided", ("sky",))]
    assert found({"sea": {"examples": ["a"]}, "sun": {"examples": ["a"] * 5}}) == [
        ("hint", "lopsided", ("sea", "sun"))
    ]
    assert found(["경제", "health"]) == [("warning", "two scripts", ("health",))]
    assert found(["경제", "IT"], language="ko") == []


def test_what_a_model_cannot_read_or_tell_apart(minilm):
    # kills: unknown tokens passed over, two labels that become one, and vectors that all but coincide
    assert ("error", "identical", ("résumé", "resume")) in found(["résumé", "resume", "sea"], minilm)
    assert ("error", "untokenizable", ("👍",)) in found(["👍", "sea"], minilm)
    assert ("warning", "untokenizable", ("건강", "경제")) in found(["건강", "경제", "sea"], minilm)
    near = ["the sea and the ocean", "the ocean and the sea", "a recipe for bread"]
    assert found(near, minilm) == [("warning", "near-duplicate", tuple(near[:2]))]
    assert found(["sea", "bread", "tax"], minilm) == []
    tree = {name: {"parent": near[0]} if name == near[1] else () for name in near}
    assert found(tree, minilm) == []  # a part is near to its whole


def test_a_label_that_texts_without_content_favour(minilm):
    # kills: a catch-all that wins wherever nothing else does, unseen
    assert found(["sea", "bread", "tax", "no content"], minilm) == [("warning", "favoured", ("no content",))]


def test_sentences_that_do_not_fit(minilm):
    # kills: a description that is cut, or leaves no room for a text, without a word
    long = {"sea": "salt water " * 300, "sun": "warm light " * 290}
    assert ("warning", "too long", ("sea",)) in found(long, minilm)
    labels = ["not_entailment", "entailment"]
    head = sijo.load("all-minilm-l6-v2", head="new:sequence-classification", labels=labels)
    scorer = open_scorer("entailment", head)
    half = {"sea": "salt water " * 80, "sun": "warm light " * 81}
    assert ("error", "too long", ("sea",)) in found(long, lambda: scorer)
    assert ("warning", "too long", ("sea",)) in found(half, lambda: scorer)


def test_a_head_that_knows_its_labels():
    # kills: labels that a trained head lacks told only when texts are read
    scorer = open_scorer("trained", sijo.load(head="new:sequence-classification", labels=["sea", "sun"]))
    assert found(["sea", "Sun"], lambda: scorer) == []
    assert found(["sea", "sky"], lambda: scorer) == [("error", "unknown", ())]


def test_ten_thousand_labels_are_checked_in_linear_time():
    # kills: each name compared with each other; 5 times the labels take 25 times as long then
    def seconds(count: int) -> float:
        words = ["amber", "basin", "cedar", "delta", "ivory", "fjord", "grove", "haven", "inlet", "jetty"]
        names = [" ".join(words[int(digit)] for digit in f"{i:05}") for i in range(count)]
        started = time.process_time()
        assert found(names) == []
        return time.process_time() - started

    seconds(500)
    assert seconds(10_000) < 12 * seconds(2_000) + 0.5


def test_an_encoder_whose_cosines_are_all_high(minilm, monkeypatch):
    # kills: every pair told for an encoder such as E5, whose labels all lie within 0.9 of each other
    random = np.random.default_rng(0)
    vectors = unit(random.normal(size=(6, 384)) + 5.0)
    monkeypatch.setattr(EmbeddingScorer, "vectors", lambda self, labels, template: vectors[: len(labels)])
    names = ["sea", "bread", "tax", "chess", "rain", "law"]
    assert (vectors @ vectors.T).min() > 0.93
    assert [what for what in found(names, minilm) if what[1] == "near-duplicate"] == []
    vectors[1] = vectors[0]
    assert ("warning", "near-duplicate", ("sea", "bread")) in found(names, minilm)
