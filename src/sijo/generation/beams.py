"""Texts in the writing, and the tokens with which they may go on.

A text goes on along one line; with beams, along several, of which the best is left in the end. What the network
says of a line behind each of its fronts is blended to one row of scores, from which rules choose (`rules.py`).

Letters: F fronts of a text, R rows that the network reads, K lines, V tokens, n tokens of a line.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby, pairwise, takewhile
from typing import NamedTuple

import torch
from torch import Tensor

from sijo.errors import SettingError, TextError
from sijo.generation.cached_reader import ReaderRow
from sijo.generation.codes import code
from sijo.generation.incremental_decoder import IncrementalDecoder
from sijo.generation.request import Request, Token
from sijo.generation.rules import STRUCK, Sampling, chosen, likeliest, penalised
from sijo.random import rng
from sijo.tokenizers.tokenizer import Tokenizer


@dataclass(frozen=True)
class Beam:
    """One way in which a text goes on."""

    ids: tuple[int, ...]
    """Its tokens, those of the prompt before them."""
    spelling: IncrementalDecoder
    tokens: tuple[Token, ...] = ()
    """Those that were written."""
    total: float = 0.0
    """The log-probability with which they would be drawn at a temperature of 1; of beams alone."""


class Continuation:
    """A text in the writing, on one line, or on several of which the best is left in the end.

    number   of the request among those that are written together
    request  what is to be written
    window   tokens that the network reads at once

    Raises SettingError for a code that the tokenizer does not know, TextError for a text with nothing to begin from
    or a prompt that fills the window.
    """

    def __init__(self, number: int, request: Request, tokenizer: Tokenizer, window: int) -> None:
        self.number, self.request = number, request
        fronts = [request.control_code]
        if request.mixture is not None or request.guidance is not None:
            fronts.append(request.other_code)
        self.fronts = [() if name is None else code(name, tokenizer) for name in fronts]
        ids = tuple(tokenizer.ids([request.prompt])[0])
        if not all(front or ids for front in self.fronts):
            raise TextError(
                f"text {number + 1} has no token to begin with: give a prompt, or a control code for each side"
            )
        longest = max(map(len, self.fronts)) + max(1, len(ids))
        if longest > window:
            raise TextError(
                f"prompt {number + 1} and its code have {longest} tokens, and this model reads {window} at "
                "once; shorten the prompt"
            )
        spelled = [spelled for word in request.banned for spelled in (word, f" {word}")]
        self.banned = {tuple(banned) for banned in tokenizer.ids(spelled) if banned}
        self.lines = [Beam(ids, IncrementalDecoder(tokenizer, request.stop))]
        self.came = [0]
        """Which of the lines before it each goes on from."""
        self.best: Beam | None = None
        """Of the lines that have ended."""
        self.given = 0
        """Tokens that were given out."""

    def rows(self) -> list[ReaderRow]:
        """What the network reads of it: each line behind each front."""
        more = self.request.max_new_tokens - len(self.lines[0].tokens)
        return [ReaderRow(front, line.ids, more) for line in self.lines for front in self.fronts]

    def go_on(self, choices: Sequence["NextToken"]) -> Iterator[Token]:
        """Take the best of the choices, which come first; gives the tokens that are now sure.

        Sure is what all lines have in common. No line is left when the text has ended.
        """
        beams = self.request.sampling.beams
        lines: list[Beam] = []
        came: list[int] = []
        for rank, (place, token, total, logprob) in enumerate(choices):
            line = self._longer(self.lines[place], token, logprob, total)
            if line.tokens[-1].last:
                if rank < beams and (self.best is None or self._worth(line) > self._worth(self.best)):
                    self.best = line
            elif len(lines) < beams:
                lines.append(line)
                came.append(place)
        over = self.best is not None and not any(self._may_win(line, self.best) for line in lines)
        self.lines, self.came = ([], []) if over else (lines, came)
        standing = [line.tokens[self.given :] for line in (*self.lines, self.best) if line is not None]
        for same in takewhile(lambda tokens: len(set(tokens)) == 1, zip(*standing, strict=False)):
            self.given += 1
            yield same[0]

    def seen(self) -> list[list[int]]:
        """The tokens of each line, its first code's included."""
        return [[*self.fronts[0], *line.ids] for line in self.lines]

    def barred(self) -> Iterator[tuple[int, int]]:
        """Tokens that would now make a banned word, each with the line of which."""
        for ids in self.banned:
            for place, line in enumerate(self.lines):
                if line.ids[len(line.ids) - len(ids) + 1 :] == ids[:-1]:
                    yield place, ids[-1]

    def throw(self) -> float:
        """The chance of its next token, in [0, 1)."""
        return float(rng(self.request.seed, "write", len(self.lines[0].tokens)).random())

    def _longer(self, line: Beam, token: int, logprob: float, total: float) -> Beam:
        """A line with a token more."""
        full = len(line.tokens) + 1 == self.request.max_new_tokens
        spelling = line.spelling.after(token, last=full)
        last = full or spelling.stopped
        written = Token(self.number, token, logprob, spelling.piece, last, spelling.stopped)
        return Beam((*line.ids, token), spelling, (*line.tokens, written), total)

    def _worth(self, line: Beam, length: int | None = None) -> float:
        """By what beams are told apart: the log-probability over a power of the length."""
        worth: float = line.total / (length or len(line.tokens)) ** self.request.sampling.length_penalty
        return worth

    def _may_win(self, line: Beam, best: Beam) -> bool:
        """Whether a line could still be worth more than the best that has ended: it only loses probability."""
        return max(self._worth(line), self._worth(line, self.request.max_new_tokens)) > self._worth(best)


class NextToken(NamedTuple):
    """A token with which a text may go on."""

    place: int
    """On which of its lines."""
    token: int
    total: float
    """Of beams, the log-probability of the line that it makes."""
    logprob: float
    """As for `Token`."""


def choose(texts: Sequence[Continuation], logits_RV: Tensor, struck: Tensor) -> list[list[NextToken]]:
    """The tokens with which the lines of each text may go on, best first.

    Texts of the same rules, which stand side by side, are looked at together.

    logits_RV  of the next token of each row: of each line of each text, behind each of its fronts
    struck     tokens that are never written
    """
    found, start = [], 0
    for sampling, alike in groupby(texts, lambda text: text.request.sampling):
        group = list(alike)
        rows = sum(len(text.lines) * len(text.fronts) for text in group)
        found += _chosen_alike(group, sampling, logits_RV[start : start + rows], struck)
        start += rows
    if not all(found):
        raise SettingError("every token is banned; allow some")
    return found


def _chosen_alike(
    texts: Sequence[Continuation], sampling: Sampling, logits_RV: Tensor, struck: Tensor
) -> list[list[NextToken]]:
    """The same for texts whose rules are the same."""
    logits_KV = _blended(texts, logits_RV)
    logs_KV = logits_KV.log_softmax(-1)
    scores_KV = logits_KV if sampling.temperature in (0, 1) else logits_KV / sampling.temperature
    seen = [ids for text in texts for ids in text.seen()]
    longest = max(map(len, seen))
    seen_Kn = torch.tensor([ids + ids[:1] * (longest - len(ids)) for ids in seen])
    scores_KV = penalised(scores_KV, seen_Kn, sampling.penalty, sampling.penalty_rule)
    scores_KV = scores_KV.index_fill(1, struck, STRUCK)
    starts = [0, *accumulate(len(text.lines) for text in texts)]
    for text, start in zip(texts, starts, strict=False):
        for place, token in text.barred():
            scores_KV[start + place, token] = STRUCK
    if sampling.beams > 1:  # twice as many, in case that some end
        return [
            [
                NextToken(place, token, total, float(logs_KV[start + place, token]))
                for place, token, total in likeliest(
                    scores_KV[start:end], [line.total for line in text.lines], 2 * sampling.beams
                )
            ]
            for text, (start, end) in zip(texts, pairwise(starts), strict=True)
        ]
    throws = [text.throw() for text in texts] if sampling.temperature else []
    tokens_K1 = chosen(scores_KV, sampling, throws)[:, None]
    told = torch.cat([scores_KV.gather(1, tokens_K1), logs_KV.gather(1, tokens_K1)], 1)
    return [
        [NextToken(0, token, 0.0, logprob)] if score > STRUCK else []
        for token, (score, logprob) in zip(tokens_K1[:, 0].tolist(), told.tolist(), strict=True)
    ]


def _blended(texts: Sequence[Continuation], logits_RV: Tensor) -> Tensor:
    """The logits (K, V) of each line, of those of its rows behind each front."""
    if all(len(text.fronts) == 1 for text in texts):
        return logits_RV
    rows = iter(logits_RV)
    lines = [
        _blend(torch.stack([next(rows) for _ in text.fronts]), text.request) for text in texts for _ in text.lines
    ]
    return torch.stack(lines)


def _blend(logits_FV: Tensor, request: Request) -> Tensor:
    """One row of logits (V,) of those under a text's fronts.

    The penalty divides logits, so it matters where their zero lies: of a single front it is where the network put
    it, and of a mixture between the two.
    """
    if request.mixture is not None:
        shares_F = torch.tensor([1 - request.mixture, request.mixture])
        mixed_V = (logits_FV.log_softmax(-1) + shares_F.log()[:, None]).logsumexp(0)
        blended: Tensor = mixed_V + shares_F @ logits_FV.logsumexp(-1)
        return blended
    if request.guidance is not None:
        return logits_FV[1] + request.guidance * (logits_FV[0] - logits_FV[1])
    return logits_FV[0]
