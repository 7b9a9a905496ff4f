"""The replaced scorer against transformers and plain numbers: the mean logit of a label's tokens, by hand."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import sijo
from blank_models import FAMILIES, LABELS, TEMPLATE, TEXTS, by_hand
from sijo.checkpoints.load import load
from sijo.inference.engine import Engine
from sijo.zeroshot.labeller import LabelChoice, Labeller
from sijo.zeroshot.labels import Label, LabelSet
from sijo.zeroshot.scorers.open import open_scorer
from sijo.zeroshot.scorers.replaced import ReplacedScorer
from sijo.zeroshot.scorers.scorer import ScoreRequest

transformers = pytest.importorskip("transformers")
RTD = [family for family, heads in FAMILIES.items() if "rtd" in heads]


@pytest.mark.parametrize("family", RTD)
def test_scores_are_the_mean_logits_of_the_labels_tokens(blanks, family):
    # kills: the sign, the largest or the sum in place of the mean, a label's neighbour read, one token of several
    folder = blanks(family, "rtd")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    kind = FAMILIES[family]["rtd"]
    theirs = load(folder, "rtd") if kind is None else getattr(transformers, kind[0]).from_pretrained(folder).eval()

    def hand_score(text, words):
        ids, places = by_hand(tokenizer, text, words)
        with torch.inference_mode():
            logits = theirs(torch.tensor([ids])).logits[0].double().tolist()
        return -math.fsum(logits[place] for place in places) / len(places)

    want = [
        [np.mean([hand_score(text, words) for words in (name, *(more or [()])[0])]) for name, *more in LABELS]
        for text in TEXTS
    ]
    scorer = open_scorer("replaced", str(folder))
    request = ScoreRequest(TEXTS, [Label(*label) for label in LABELS], TEMPLATE)
    np.testing.assert_allclose(scorer.score(request)[0], want, rtol=0, atol=1e-4)


def test_the_label_that_looks_replaced_least_wins():
    # kills: the most replaced label; a softmax of other numbers than the negated logits. By hand: logits -2 and 1
    # make 1 / (1 + exp(-3)) = 0.952574; judged by itself, 1 / (1 + exp(-2)) = 0.880797
    read = sijo.load("all-minilm-l6-v2")
    said = {read.tokenizer.id("great"): -2.0, read.tokenizer.id("terrible"): 1.0}
    backend = SimpleNamespace(
        batch_tokens=512,
        call_cost=32,
        heads=frozenset({"rtd"}),
        why_not_finite=lambda: "",
        scores_at=lambda batch, head, at: np.array(
            [said[i] for i in batch.input_ids[at.rows, at.columns]], np.float32
        ),
    )
    scorer = ReplacedScorer(Engine(read, backend, long_text="truncate"))
    labels = LabelSet.of(["terrible", "great"])
    [row] = Labeller(scorer, LabelChoice(template="It was {}."), labels).stream(["a fine film"])
    assert row.labels == ("great", "terrible")
    assert row.scores == pytest.approx((0.952574, 0.047426), abs=1e-6)
    [row] = Labeller(scorer, LabelChoice(template="It was {}.", multi_label=True), labels).stream(["a fine film"])
    assert row.fitting == ("great",)
    assert row.scores == pytest.approx((0.880797, 0.268941), abs=1e-6)


def test_auto_takes_a_discriminator_for_what_it_is(blanks, sijo_cli):
    # kills: a discriminator labelled by its vectors; DeBERTa-v3's base checkpoints, which hold an mlm head too
    for family, heads in (("electra", ("rtd",)), ("deberta-v3", ("mlm", "rtd"))):
        folder = str(blanks(family, *heads))
        scorer = open_scorer("auto", folder)
        assert scorer.name == "replaced" and "rtd" in scorer.choice.reason
        assert scorer.engine.backend.heads == {"rtd"}  # the other is not computed
        ran = sijo_cli("inspect", folder, "--format", "json")
        assert ran.rows()[0]["scorer"] == {"auto": "replaced", "reason": scorer.choice.reason}
