"""What is to be generated, and what comes back; and the sampling rules, each a function of numbers alone.

From the scores of all tokens to the next one, the order is that of CTRL's released sampler: scores are divided by
the temperature, those of tokens that stand in the text already are penalised, banned tokens excluded, the rest cut
to the likeliest, and one drawn.

Letters: B texts, V tokens.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from sijo.errors import SettingError
from sijo.texts import check_text

PenaltyRule = Literal["paper", "sign_aware"]
Nucleus = Literal["reaching", "below"]
MOST_TOKENS, MOST_BEAMS, LARGEST = 1_000_000, 1_000, 1e6
"""Of one text; searched at once, each with a cache of its own; of temperatures, penalties and guidance."""
EXCLUDED = -math.inf
"""The score of a token that cannot be chosen: banned, never written, or cut off."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the next token is chosen.

    >>> Sampling(penalty=0.9)
    Traceback (most recent call last):
    sijo.errors.SettingError: penalty=0.9 would reward repetition; give 1 for none, or more, such as 1.2
    """

    temperature: float = 0.0
    """By which scores are divided before one is drawn; 0 always takes the best."""
    top_k: int | None = None
    """Only the so many likeliest tokens are drawn from."""
    top_p: float | None = None
    """Only the likeliest tokens that make up this share of all are drawn from."""
    min_p: float | None = None
    """Only tokens at least this times as likely as the likeliest are drawn from."""
    nucleus: Nucleus = "reaching"
    """Of top_p: whether the token that reaches the share is among them, as is usual; or only those "below" it, and
    at least one, as in CTRL's released sampler."""
    penalty: float = 1.2
    """By which the scores of tokens in the text are divided; 1 for none (CTRL, section 4.1)."""
    penalty_rule: PenaltyRule = "paper"
    """paper divides whatever the sign, so that a score below 0 rises; sign_aware multiplies those."""
    beams: int = 1
    """How many continuations of a text are searched at once; the likeliest of them is returned."""
    length_penalty: float = 1.0
    """Of beams that a stop string has ended at different lengths, the log-probability is divided by the number of
    tokens to this power: 0 prefers short texts, 1 goes by the mean of a token, more prefers long ones."""

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= LARGEST:
            raise SettingError(
                f"temperature={self.temperature} must be 0 (always the best token) or above, such as 0.7"
            )
        if self.top_k is not None and self.top_k < 1:
            raise SettingError(f"top_k={self.top_k} leaves no token; give 1 or more, or None for all")
        for name in ("top_p", "min_p"):
            share = getattr(self, name)
            if share is not None and not 0 < share <= 1:
                raise SettingError(f"{name}={share} is no share; give a number above 0 and up to 1, or None")
        if not 1 <= self.penalty <= LARGEST:
            raise SettingError(
                f"penalty={self.penalty} would {'reward' if self.penalty < 1 else 'forbid'} repetition; give 1 for "
                "none, or more, such as 1.2"
            )
        if not 1 <= self.beams <= MOST_BEAMS or not -10 <= self.length_penalty <= 10:
            raise SettingError(
                f"beams={self.beams} with length_penalty={self.length_penalty}: give 1 beam or more, up to "
                f"{MOST_BEAMS:,}, and a number between -10 and 10, such as 1"
            )
        if self.beams > 1 and self.temperature > 0:
            raise SettingError(
                f"beams={self.beams} look for the likeliest text, and temperature={self.temperature} draws one; "
                "give one of them"
            )


@dataclass(frozen=True, kw_only=True)
class RequestSettings:
    """How a text is to be generated, whatever it is about."""

    guidance: float | None = None
    """How far to go from what the text without its code, or with the second one, would be: log p = log p2 +
    guidance (log p1 - log p2); 1 changes nothing, 2 and more exaggerate."""
    max_new_tokens: int = 100
    """After how many tokens it ends."""
    stop: tuple[str, ...] = ()
    """It ends before the first of these."""
    banned: tuple[str, ...] = ()
    """Words that are not written, in this spelling."""
    seed: int = 0
    """Seed of its random draws, which depend on no other text."""
    sampling: Sampling = field(default_factory=Sampling)
    """How each token is chosen."""


@dataclass(frozen=True, kw_only=True)
class Request(RequestSettings):
    """A text to be generated."""

    prompt: str = ""
    """How it begins."""
    control_code: str | None = None
    """What kind of text it is to be, such as "Reviews" or "Reviews Rating: 5.0"; None for no code."""
    other_code: str | None = None
    """A second code, to be mixed with the first, or for guidance to lead away from; None there for no code."""
    mixture: float | None = None
    """The share of the second code in a mixture of both: p = (1 - share) p1 + share p2."""

    def __post_init__(self) -> None:
        check_text(self.prompt, "the prompt")
        for name in ("control_code", "other_code"):
            check_text(getattr(self, name) or "", name)
        if not 1 <= self.max_new_tokens <= MOST_TOKENS:
            raise SettingError(
                f"max_new_tokens={self.max_new_tokens} writes nothing, or no end; give 1 to {MOST_TOKENS:,}"
            )
        if self.guidance is not None and not abs(self.guidance) <= LARGEST:
            raise SettingError(f"guidance={self.guidance} is too far; give a number such as 2")
        if self.mixture is not None and (self.other_code is None or not 0 <= self.mixture <= 1):
            raise SettingError(
                f"mixture={self.mixture} is the share of other_code={self.other_code!r}: give a second code, and a "
                "share from 0 to 1"
            )
        if self.mixture is not None and self.guidance is not None:
            raise SettingError("mixture and guidance are two ways to use a second code; give one of them")
        if self.other_code is not None and self.mixture is None and self.guidance is None:
            raise SettingError(
                f"other_code={self.other_code!r} is for a mixture or for guidance; give mixture=0.5 or guidance=2"
            )
        if self.guidance is not None and self.control_code is None:
            raise SettingError("guidance leads towards a control code; give control_code")
        if "" in self.stop or any(not word.strip() for word in self.banned):
            raise SettingError("an empty stop string ends every text, and an empty word bans all; leave it out")
        for words in (*self.stop, *self.banned):
            check_text(words, f"{words!r} of stop or banned")


@dataclass(frozen=True)
class Token:
    """A token that was generated."""

    row: int
    """Of which request."""
    id: int
    """Its number."""
    logprob: float
    """Its log-probability under the blend of the prefixes, before temperature, penalty and cuts."""
    text: str
    """The text that has become final with it; some of its own may wait for the next token."""
    last: bool
    """Whether the text ends here."""
    stopped: bool = False
    """Whether a stop string ended it; else, it reached its length."""


@dataclass(frozen=True)
class GeneratedText:
    """A text that was generated."""

    text: str
    """What follows the prompt."""
    ids: tuple[int, ...]
    """Its tokens, with those of a stop string."""
    logprobs: tuple[float, ...]
    """As for `Token`."""
    stopped: bool
    """Whether a stop string ended it; else it reached its length."""


def penalised(scores: Tensor, seen: Tensor, penalty: float, rule: PenaltyRule) -> Tensor:
    """Scores (B, V) with those of seen tokens divided by the penalty, each once however often it occurs.

    seen  (B, n) int64, the tokens of the text so far, prompt and code included

    >>> scores, seen = torch.tensor([[2.0, 1.0, -1.0, 0.5]]), torch.tensor([[0, 2, 0]])
    >>> [round(value, 4) for value in penalised(scores, seen, 1.2, "paper")[0].tolist()]
    [1.6667, 1.0, -0.8333, 0.5]
    >>> [round(value, 4) for value in penalised(scores, seen, 1.2, "sign_aware")[0].tolist()]
    [1.6667, 1.0, -1.2, 0.5]
    """
    if penalty == 1:
        return scores
    old = scores.gather(-1, seen)
    new = old / penalty
    if rule == "sign_aware":
        new = torch.where(old < 0, old * penalty, new)
    return scores.scatter(-1, seen, new)


def cut(scores: Tensor, sampling: Sampling) -> Tensor:
    """Scores (B, V) with all but the likeliest excluded, by top-k, min-p and top-p; the best one always stays.

    >>> logs = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    >>> [(cut(logs, Sampling(top_p=0.7, nucleus=rule)) > EXCLUDED).sum().item() for rule in ("reaching", "below")]
    [2, 1]
    """
    if sampling.top_k is not None and sampling.top_k < scores.shape[-1]:
        least = scores.topk(sampling.top_k, dim=-1).values[:, -1:]
        scores = scores.masked_fill(scores < least, EXCLUDED)
    if sampling.min_p is not None:
        least = scores.amax(-1, keepdim=True) + math.log(sampling.min_p)
        scores = scores.masked_fill(scores < least, EXCLUDED)
    if sampling.top_p is not None and sampling.top_p < 1:
        ordered, tokens = scores.sort(dim=-1, descending=True, stable=True)
        probabilities = ordered.double().softmax(-1)
        cumulative = probabilities.cumsum(-1)
        below = sampling.nucleus == "below"
        beyond = cumulative > sampling.top_p if below else cumulative - probabilities >= sampling.top_p
        beyond[:, 0] = False
        scores = scores.masked_fill(torch.zeros_like(beyond).scatter(-1, tokens, beyond), EXCLUDED)
    return scores


def drawn(scores: Tensor, uniforms: Sequence[float]) -> Tensor:
    """One token from the softmax of each row (B, V), by inverse transform sampling; (B,) int64.

    uniforms  a number in [0, 1) for each row

    In float64, with each uniform scaled by the row's last cumulative sum, which rounding leaves beside 1: a uniform
    below 1 then stays below the last edge.

    >>> drawn(torch.tensor([[0.0, 0.0], [0.0, EXCLUDED]]), [0.7, 0.999]).tolist()
    [1, 0]
    """
    edges = scores.double().softmax(-1).cumsum(-1)
    targets = torch.tensor(uniforms, dtype=torch.float64, device=scores.device)[:, None] * edges[:, -1:]
    tokens = torch.searchsorted(edges, targets, right=True)[:, 0]
    return tokens.clamp(max=scores.shape[-1] - 1)  # in a row where all is excluded, the edges are NaN


def chosen(scores: Tensor, sampling: Sampling, uniforms: Sequence[float]) -> Tensor:
    """The next token of each row, (B,) int64, from scores after penalty and bans."""
    if sampling.temperature == 0:
        return scores.argmax(-1)
    return drawn(cut(scores, sampling), uniforms)


def likeliest(scores: Tensor, totals: Sequence[float], count: int) -> list[tuple[int, int, float]]:
    """The best extensions of several beams by one token: (beam, token, total), best first, at most `count`.

    scores  (B, V) of the next token of each beam, after penalty and bans
    totals  the log-probability of each beam so far, to which that of the token is added

    >>> logs = torch.tensor([[0.9, 0.1], [0.5, 0.5]]).log()
    >>> [(beam, token, round(math.exp(total), 2)) for beam, token, total in likeliest(logs, [-2.0, -1.0], 3)]
    [(1, 0, 0.18), (1, 1, 0.18), (0, 0, 0.12)]
    """
    logs = scores.double().log_softmax(-1)
    logs = logs.masked_fill(scores == EXCLUDED, EXCLUDED)  # NaN, where all are excluded
    extended = (logs + torch.tensor(totals, dtype=torch.float64)[:, None]).flatten()
    best, places = extended.topk(min(count, len(extended)))
    return [
        (*divmod(place, scores.shape[-1]), total)
        for place, total in zip(places.tolist(), best.tolist(), strict=True)
        if total > EXCLUDED
    ]
