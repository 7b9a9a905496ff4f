"""Sampling rules on distributions made by hand, and by a million draws."""

import numpy as np
import pytest
import torch
from scipy import stats

from sijo.errors import SettingError
from sijo.generation.rules import EXCLUDED, Sampling, chosen, cut, drawn, likeliest, penalised
from sijo.random import rng

SCORES = torch.tensor([[2.0, 1.0, -1.0, 0.5]])
SEEN = torch.tensor([[0, 2, 0]])


@pytest.mark.parametrize(
    ("penalty", "rule", "temperature", "want"),
    [
        (1.2, "paper", 1.0, [0.52440988, 0.26924101, 0.04304618, 0.16330293]),
        (1.2, "sign_aware", 1.0, [0.53143192, 0.27284624, 0.03023223, 0.16548961]),
        (1.0, "paper", 1.0, [0.60946004, 0.22420782, 0.03034323, 0.13598892]),
        (1.2, "paper", 0.5, [0.73136462, 0.19278562, 0.0049279, 0.07092187]),
    ],
)
def test_the_penalty_of_the_paper_and_the_other(penalty, rule, temperature, want):
    # kills: log-probabilities divided in place of scores, a sign that is looked at where the paper does not
    shares = penalised(SCORES / temperature, SEEN, penalty, rule).softmax(-1)[0]
    assert shares.tolist() == pytest.approx(want, abs=1e-7)


@pytest.mark.parametrize(
    ("share", "nucleus", "kept"),
    [(0.7, "below", 1), (0.7, "reaching", 2), (0.9, "below", 2), (0.9, "reaching", 3), (0.2, "below", 1)],
)
def test_the_nucleus_with_and_without_the_token_that_reaches_it(share, nucleus, kept):
    # kills: off by one in either way; nothing left where the first token passes the share
    logs = torch.tensor([[0.15, 0.5, 0.05, 0.3]]).log()
    kept_tokens = (cut(logs, Sampling(top_p=share, nucleus=nucleus)) > EXCLUDED)[0]
    assert kept_tokens.sum() == kept
    assert kept_tokens[1] and (kept < 2 or kept_tokens[3]) and (kept < 3 or kept_tokens[0])


def test_a_token_that_ends_at_the_share():
    # kills: > and >= exchanged; a quarter is exact in binary
    even = torch.zeros(1, 4)
    for nucleus in ("below", "reaching"):
        assert (cut(even, Sampling(top_p=0.5, nucleus=nucleus)) > EXCLUDED).sum() == 2


def test_top_k_and_min_p():
    # kills: a k that counts from 0, a share of the sum in place of the best
    logs = torch.tensor([[0.15, 0.5, 0.05, 0.3]]).log()
    assert (cut(logs, Sampling(top_k=2)) > EXCLUDED).tolist() == [[False, True, False, True]]
    assert (cut(logs, Sampling(min_p=0.25)) > EXCLUDED).tolist() == [[True, True, False, True]]
    assert torch.equal(cut(logs, Sampling(top_k=9, top_p=1.0)), logs)


def test_a_million_draws_follow_the_distribution():
    # kills: an edge that belongs to the wrong token, draws that are not uniform, a temperature that is forgotten
    count = 1_000_000
    scores = torch.tensor([[1.0, 0.0, -2.0, 3.0, EXCLUDED, 0.5]])
    uniforms = rng(3, "test").random(count)
    edges = scores.double().softmax(-1)[0]
    tokens = np.concatenate(
        [drawn(scores.expand(10_000, -1), uniforms[i : i + 10_000]) for i in range(0, count, 10_000)]
    )
    counts = np.bincount(tokens, minlength=6)
    assert counts[4] == 0
    want = edges.numpy()[[0, 1, 2, 3, 5]] * count
    assert stats.chisquare(counts[[0, 1, 2, 3, 5]], want).pvalue > 0.001


def test_a_uniform_at_the_edge():
    # kills: an excluded token drawn by rounding; none drawn, where a sum falls short of the uniform
    scores = torch.tensor([[EXCLUDED, 0.0, EXCLUDED, 0.0, EXCLUDED, EXCLUDED]])
    assert drawn(scores, [0.0]).item() == 1
    assert drawn(scores, [0.5]).item() == 3
    highest = np.nextafter(1.0, 0.0)
    assert drawn(scores, [highest]).item() == 3
    logs = torch.randn(200, 999, generator=torch.Generator().manual_seed(0))
    many = torch.cat([logs, torch.full((200, 9), EXCLUDED)], 1)
    assert (many.double().softmax(-1).cumsum(-1)[:, -1] < highest).sum() > 20
    assert (drawn(many, [highest] * 200) < 999).all()


def test_what_is_cut_is_not_drawn():
    # kills: a cut that is made of other scores, or not at all
    sampling = Sampling(temperature=1.0, top_k=2)
    assert chosen(SCORES.expand(99, -1), sampling, np.linspace(0, 0.999, 99)).unique().tolist() == [0, 1]


def test_the_likeliest_of_several_texts():
    # kills: a text all of whose tokens are banned, taken for the best; fewer ways than are asked for
    logs = torch.tensor([[EXCLUDED, EXCLUDED, EXCLUDED], [0.0, EXCLUDED, 0.0]])
    assert likeliest(logs, [0.0, -1.0], 9) == [
        (1, 0, pytest.approx(-1 - np.log(2))),
        (1, 2, pytest.approx(-1 - np.log(2))),
    ]


def test_no_temperature_takes_the_best():
    # kills: a division by zero; a draw that matters where nothing is drawn
    assert chosen(SCORES, Sampling(), [0.999]).item() == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1.0},
        {"penalty": 0.9},
        {"top_k": 0},
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"min_p": -0.1},
        {"temperature": float("nan")},
    ],
)
def test_settings_that_cannot_be(wrong):
    # kills: NaN after a division, an empty list of tokens
    with pytest.raises(SettingError, match=next(iter(wrong))):
        Sampling(**wrong)
