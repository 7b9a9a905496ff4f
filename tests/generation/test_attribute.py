"""Source attribution: Bayes' rule in plain numbers, long texts, priors, and the words it is refused with."""

import math
from itertools import pairwise

import pytest
import torch

import sijo
from generation.test_generator import pair, tokenizer, words  # noqa: F401
from sijo.errors import SettingError, TextError
from sijo.generation.attribute import Attributor, attribute
from sijo.tokenizers.codes import PUBLISHED


@pytest.fixture(scope="module")
def model(pair):  # noqa: F811
    return pair[0]


def log_probability(model, code, ids):
    """log p(text | code), a token at a time."""
    total = 0.0
    for place, token in enumerate(ids):
        with torch.no_grad():
            logits = model(torch.tensor([[code, *ids[:place]]])).logits[0, -1].double()
        total += (logits[token] - logits.logsumexp(-1)).item()
    return total


def test_bayes_rule_in_plain_numbers(model):
    # kills: the code itself counted as text, a token left out, a prior that is not used (the released script's)
    names, text = ("sea", "land"), words(model.tokenizer, 6, 3)
    ids = model.tokenizer.ids([text])[0]
    logs = [log_probability(model, model.tokenizer.id(f"<{name}>"), ids) for name in names]
    for prior in ({"sea": 0.5, "land": 0.5}, {"sea": 0.9, "land": 0.1}, {"sea": 9, "land": 1}):
        joint = [math.exp(log) * prior[name] for log, name in zip(logs, names, strict=True)]
        posteriors = dict(attribute(model, text, prior=prior))
        assert [posteriors[name] for name in names] == pytest.approx(
            [share / sum(joint) for share in joint], abs=1e-5
        )
    assert sum(posteriors.values()) == pytest.approx(1)
    best = attribute(model, text)
    assert [posterior for _, posterior in best] == sorted((posterior for _, posterior in best), reverse=True)
    mean = dict(attribute(model, text, weighing="mean"))
    gap = (logs[0] - logs[1]) / len(ids)
    assert math.log(mean["sea"] / mean["land"]) == pytest.approx(gap, abs=1e-5)


def test_long_texts_are_read_in_pieces_and_neighbours_change_nothing(model):
    # kills: the end of a long text unread, pieces without their code, padding that counts
    attributor = Attributor(model, token_budget=64)
    texts = [words(model.tokenizer, count, count) for count in (1, 5, 60, 30)]
    together = attributor.attribute(texts)
    for text, result in zip(texts, together, strict=True):
        alone = attributor.attribute([text])[0]
        assert alone.codes == result.codes
        assert alone.logprobs == pytest.approx(result.logprobs, abs=1e-3)
        ids = model.tokenizer.ids([text])[0]
        count = math.ceil(len(ids) / 23)
        edges = [round(number * len(ids) / count) for number in range(count + 1)]
        code = model.tokenizer.id(f"<{result.codes[0]}>")
        want = sum(log_probability(model, code, ids[start:end]) for start, end in pairwise(edges))
        assert result.logprobs[0] == pytest.approx(want, abs=1e-3)
        assert result.perplexities[0] == pytest.approx(math.exp(-want / len(ids)), rel=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"codes": ["sea"]}, "there are 1"),
        ({"codes": ["sea", "sea"]}, "each given once"),
        ({"codes": ["sea", "lnd"]}, "did you mean 'land'"),
        ({"prior": {"sea": 1.0}}, "nothing of the code 'land'"),
        ({"prior": {"sea": 1.0, "land": 0.0}}, "above 0"),
        ({"prior": "published"}, "nothing of the code 'sea'"),
        ({"prior": "flat"}, "neither uniform nor published"),
        ({"weighing": "max"}, "neither sum nor mean"),
    ],
)
def test_what_cannot_be_asked(model, settings, message):
    # kills: a division by zero, a KeyError
    with pytest.raises(SettingError, match=message):
        Attributor(model, **settings)


def test_texts_and_models_that_say_nothing(model, tiny_model):
    # kills: NaN for an empty text
    with pytest.raises(TextError, match="text 2 has no tokens"):
        Attributor(model).attribute(["the", ""])
    with pytest.raises(SettingError, match="gives texts no probability"):
        Attributor(sijo.load(tiny_model))


def test_the_published_shares_make_one():
    # kills: a code left out of the list, a share mistyped
    assert len(PUBLISHED) == 55 and sum(PUBLISHED.values()) == pytest.approx(1, abs=1e-6)
