"""The cloze scorer against transformers and plain numbers: mask, forward, log-softmax, by hand."""

import math

import numpy as np
import pytest
import torch

from blank_models import FAMILIES, LABELS, TEMPLATE, TEXTS, by_hand
from sijo.checkpoints.load import load
from sijo.errors import SettingError
from sijo.zeroshot.labels import Label
from sijo.zeroshot.scorers.open import open_scorer
from sijo.zeroshot.scorers.scorer import ScoreRequest

transformers = pytest.importorskip("transformers")
MLM = [family for family, heads in FAMILIES.items() if "mlm" in heads]


def log_softmax(logits, token):
    most = max(logits)
    return logits[token] - most - math.log(math.fsum(math.exp(value - most) for value in logits))


def hand_score(logits_of, tokenizer, text, words, *, mean):
    """The words' log-probabilities with all of their tokens masked at once."""
    ids, places = by_hand(tokenizer, text, words)
    hidden = [tokenizer.mask_token_id if place in places else token for place, token in enumerate(ids)]
    logits = logits_of(hidden)
    total = math.fsum(log_softmax(logits[place], ids[place]) for place in places)
    return total / len(places) if mean else total


@pytest.mark.parametrize("family", MLM)
def test_scores_are_those_of_masks_forward_and_log_softmax(blanks, family):
    # kills: a label's tokens left in place, a mask too many or too few, a probability over the labels alone, the
    # sum for the mean, a text cut elsewhere, a longer label's place read for a shorter one, no mask decoder
    folder = blanks(family, "mlm")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    kind = FAMILIES[family]["mlm"]
    theirs = load(folder, "mlm") if kind is None else getattr(transformers, kind[0]).from_pretrained(folder).eval()

    def logits_of(ids):
        with torch.inference_mode():
            return theirs(torch.tensor([ids])).logits[0].double().tolist()

    for score in ("mean", "sum"):
        scorer = open_scorer("cloze", str(folder), cloze_score=score)
        want = np.array(
            [
                [
                    np.mean(
                        [
                            hand_score(logits_of, tokenizer, text, words, mean=score == "mean")
                            for words in (name, *(more or [()])[0])
                        ]
                    )
                    for name, *more in LABELS
                ]
                for text in TEXTS
            ]
        )
        request = (TEXTS, [Label(*label) for label in LABELS], TEMPLATE)
        got, reading = scorer.score(ScoreRequest(*request))
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-4)
        assert reading.truncated.tolist() == [text.startswith("goal") for text in TEXTS]
        absolute, _ = scorer.score(ScoreRequest(*request, absolute=True))
        np.testing.assert_allclose(absolute, want - want[TEXTS.index("")], rtol=0, atol=1e-4)


def test_labels_of_equal_length_share_a_pass(blanks, monkeypatch):
    # kills: a pass for each label, and one for labels of unlike length
    scorer, rows = open_scorer("cloze", str(blanks("bert", "mlm"))), []
    inner = scorer.engine.backend.scores_at
    monkeypatch.setattr(
        scorer.engine.backend, "scores_at", lambda batch, *a: rows.append(len(batch.input_ids)) or inner(batch, *a)
    )
    labels = [Label(name) for name in ("sea", "rain", "bank", "old game", "oil price", "money in the bank")]
    scorer.score(ScoreRequest(["the sun", "tax"], labels, TEMPLATE))
    assert sum(rows) == 2 * 3


def test_settings_that_do_not_suit_are_refused(blanks, tiny_model, tmp_path):
    # kills: a third way to score taken for one of the two, an option of another scorer, a folder without the head,
    # and a tokenizer without a mask that fails at the first text
    folder = str(blanks("bert", "mlm"))
    with pytest.raises(SettingError, match="neither 'mean' nor 'sum'"):
        open_scorer("cloze", folder, cloze_score="max")
    with pytest.raises(SettingError, match="how the cloze scorer reads a head"):
        open_scorer("embedding", folder, cloze_score="sum")
    with pytest.raises(SettingError, match="mlm"):
        open_scorer("cloze", str(tiny_model))
    assert open_scorer("auto", folder, cloze_score="sum").settings["cloze_score"] == "sum"
    model = load(folder, "mlm")
    model.tokenizer.mask_id = None
    with pytest.raises(SettingError, match=r"no mask token.*--scorer embedding"):
        open_scorer("cloze", model)
