"""An exported file beside its network: what is counted as the same, and what is told of it."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sijo.checkpoints.load import load
from sijo.export.compare import compare

TEXTS = ["the sea is new", "rain and sun", "a good game in the old land", "tax", "money and bread for the team"]
NAMES = ("input_ids", "attention_mask", "token_type_ids")


def session(model, head, change):
    """What answers as the model does, but for a change."""

    def run(names, feed):
        with torch.inference_mode():
            answer = model(*(torch.from_numpy(feed[name]) for name in NAMES)).answers[head].numpy()
        return [change(answer.copy())]

    return SimpleNamespace(get_inputs=lambda: [SimpleNamespace(name=name) for name in NAMES], run=run)


@pytest.mark.parametrize("head", ["sequence-classification", "token-classification"])
def test_decisions_are_counted_where_they_are_made(tiny_model, head):
    # kills: an agreement that is always whole, padding that is counted, a gap of which the sign is lost
    model = load(tiny_model, f"new:{head}", labels=["sea", "land", "tax"])

    def turned(answer):
        return -answer

    def higher(answer):
        return answer + np.float32(0.5)

    opposite, near = (compare(model, head, session(model, head, change), TEXTS) for change in (turned, higher))
    counted = len(TEXTS) if head == "sequence-classification" else opposite.tokens
    assert opposite.texts == near.texts == len(TEXTS) and opposite.decisions == near.decisions == counted
    assert opposite.agreement.value == 0 and near.agreement.value == 1
    assert opposite.gap == pytest.approx(2 * opposite.largest) and near.gap == pytest.approx(0.5, abs=1e-6)
    gone = compare(model, head, session(model, head, lambda answer: np.full_like(answer, np.nan)), TEXTS)
    assert gone.gap == np.inf
