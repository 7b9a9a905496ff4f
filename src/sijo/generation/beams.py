"""Texts while they are generated: the beams of each, and the tokens that may follow.

A text is continued by one beam, or by several, of which the best is kept in the end. What the network predicts of a
beam behind each of the text's prefixes is blended to one row of scores, from which rules choose (`rules.py`).

Letters: P prefixes of a text, R rows that the network reads, K beams, V tokens, n tokens of a beam.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, takewhile
from typing import NamedTuple

import torch
from torch import Tensor

from sijo.checkpoints.weights import not_finite
from sijo.errors import SettingError, TextError, nearest
from sijo.generation.incremental_decoder import IncrementalDecoder
from sijo.generation.rules import EXCLUDED, Request, Token, chosen, likeliest, penalised
from sijo.random import rng
from sijo.tokenizers.codes import code_ids, known_codes
from sijo.tokenizers.tokenizer import Tokenizer


def code(name: str, tokenizer: Tokenizer) -> tuple[int, ...]:
    """The prefix of a text under a code: the token of its first word, and those of any words after it.

    What comes after the first word is the text's own beginning: "Reviews Rating: 5.0" is the code Reviews and a
    text that begins with "Rating: 5.0".

    Raises SettingError for a code that the model does not know, with the nearest one it does.
    """
    known = known_codes(tokenizer)
    if name in known:
        return code_ids(name, tokenizer)
    first, _, rest = name.partition(" ")
    if first in known:
        return (*code_ids(first, tokenizer), *tokenizer.ids([rest])[0])
    if not known:
        raise SettingError(
            f"control code {name!r}: this model knows no control codes; leave it out, or train with --code-column"
        )
    listed = ", ".join(known[:12]) + (", …" if len(known) > 12 else "")
    raise SettingError(f"no control code {name!r}{nearest(name, known)}; there are {listed}")


class ReaderRow(NamedTuple):
    """A text behind one of its prefixes."""

    prefix: tuple[int, ...]
    """The tokens of its control code, which stay in place however long the text becomes."""
    ids: tuple[int, ...]
    """All tokens of the text so far."""
    remaining: int
    """Tokens that it may yet have."""


@dataclass(frozen=True)
class Beam:
    """One continuation of a text."""

    ids: tuple[int, ...]
    """Its tokens, those of the prompt before them."""
    decoder: IncrementalDecoder
    tokens: tuple[Token, ...] = ()
    """Those that were generated."""
    total: float = 0.0
    """The log-probability with which they would be drawn at a temperature of 1; of beam search alone."""
    parent: int = 0
    """Which of the beams before it goes on in it."""


class Continuation:
    """A text while it is generated, by one beam, or by several of which the best is kept in the end.

    number   of the request among those that are generated together
    request  what is to be generated
    window   tokens that the network reads at once

    Raises SettingError for a code that the tokenizer does not know, TextError for a text with nothing to begin from
    or a prompt that fills the window.
    """

    def __init__(self, number: int, request: Request, tokenizer: Tokenizer, window: int) -> None:
        self.number, self.request = number, request
        names = [request.control_code]
        if request.mixture is not None or request.guidance is not None:
            names.append(request.other_code)
        self.prefixes = [() if name is None else code(name, tokenizer) for name in names]
        ids = tuple(tokenizer.ids([request.prompt])[0])
        if not all(prefix or ids for prefix in self.prefixes):
            raise TextError(
                f"text {number + 1} has no token to begin with: give a prompt, or a control code for each side"
            )
        longest = max(map(len, self.prefixes)) + max(1, len(ids))
        if longest > window:
            raise TextError(
                f"prompt {number + 1} and its code have {longest} tokens, and this model reads {window} at "
                "once; shorten the prompt"
            )
        spellings = [spelling for word in request.banned for spelling in (word, f" {word}")]
        self.banned = {tuple(banned) for banned in tokenizer.ids(spellings) if banned}
        self.beams = [Beam(ids, IncrementalDecoder(tokenizer, request.stop))]
        self.best: Beam | None = None
        """Of the beams that have ended."""
        self.emitted = 0
        """Tokens that `step` has yielded."""

    def rows(self) -> list[ReaderRow]:
        """What the network reads of it: each beam behind each prefix."""
        remaining = self.request.max_new_tokens - len(self.beams[0].tokens)
        return [ReaderRow(prefix, beam.ids, remaining) for beam in self.beams for prefix in self.prefixes]

    def step(self, choices: Sequence["NextToken"]) -> Iterator[Token]:
        """Extend the beams by the best of the choices, which come first; yields the tokens that are now certain.

        Certain is what all beams have in common. No beam is left when the text has ended.
        """
        width = self.request.sampling.beams
        beams: list[Beam] = []
        for rank, choice in enumerate(choices):
            beam = self._extended(choice)
            if beam.tokens[-1].last:
                if rank < width and (self.best is None or self._score(beam) > self._score(self.best)):
                    self.best = beam
            elif len(beams) < width:
                beams.append(beam)
        ended = self.best is not None and not any(self._may_win(beam, self.best) for beam in beams)
        self.beams = [] if ended else beams
        pending = [beam.tokens[self.emitted :] for beam in (*self.beams, self.best) if beam is not None]
        for same in takewhile(lambda tokens: len(set(tokens)) == 1, zip(*pending, strict=False)):
            self.emitted += 1
            yield same[0]

    def _extended(self, choice: "NextToken") -> Beam:
        """The beam of a choice with its token."""
        beam = self.beams[choice.beam]
        full = len(beam.tokens) + 1 == self.request.max_new_tokens
        decoder = beam.decoder.after(choice.token, last=full)
        last = full or decoder.stopped
        token = Token(self.number, choice.token, choice.logprob, decoder.piece, last, decoder.stopped)
        return Beam((*beam.ids, choice.token), decoder, (*beam.tokens, token), choice.total, choice.beam)

    def _score(self, beam: Beam, length: int | None = None) -> float:
        """What beams are compared by: the log-probability over a power of the length."""
        return float(beam.total / (length or len(beam.tokens)) ** self.request.sampling.length_penalty)

    def _may_win(self, beam: Beam, best: Beam) -> bool:
        """Whether a beam could still beat the best that has ended: it only loses probability."""
        return max(self._score(beam), self._score(beam, self.request.max_new_tokens)) > self._score(best)


class NextToken(NamedTuple):
    """A token by which a text may be extended."""

    beam: int
    """Which of its beams."""
    token: int
    total: float
    """In beam search, the log-probability of the beam with this token."""
    logprob: float
    """As for `Token`."""


def choose(texts: Sequence[Continuation], logits_RV: Tensor, never_written: Tensor) -> list[list[NextToken]]:
    """The tokens by which the beams of each text may be extended, best first.

    Neighbouring texts with the same rules are processed together.

    logits_RV      of the next token of each row: of each beam of each text, behind each of its prefixes
    never_written  tokens that are not to be chosen
    """
    groups = [list(group) for _, group in groupby(texts, lambda text: text.request.sampling)]
    sizes = [sum(len(text.beams) for text in group) for group in groups]
    parts = zip(groups, torch.split(_blended(texts, logits_RV), sizes), strict=True)
    choices = [choice for group, part_KV in parts for choice in _choose_alike(group, part_KV, never_written)]
    if not all(choices):
        raise SettingError("every token is banned; allow some")
    return choices


def _choose_alike(texts: Sequence[Continuation], logits_KV: Tensor, never_written: Tensor) -> list[list[NextToken]]:
    """The same for texts with the same rules, given the logits of each beam."""
    sampling = texts[0].request.sampling
    logs_KV = logits_KV.log_softmax(-1)
    scores_KV = logits_KV if sampling.temperature in (0, 1) else logits_KV / sampling.temperature
    beams = [(text, beam) for text in texts for beam in text.beams]
    seen = [[*text.prefixes[0], *beam.ids] for text, beam in beams]
    longest = max(map(len, seen))
    seen_Kn = torch.tensor([ids + ids[:1] * (longest - len(ids)) for ids in seen])
    scores_KV = penalised(scores_KV, seen_Kn, sampling.penalty, sampling.penalty_rule)
    if not_finite(scores_KV):
        text, _ = beams[int(scores_KV.isfinite().all(-1).int().argmin())]
        raise SettingError(
            f"text {text.number + 1}: guidance={text.request.guidance}, temperature={sampling.temperature} and "
            f"penalty={sampling.penalty} make scores that are NaN or infinite, from which no token can be chosen; "
            "give numbers nearer to 1"
        )
    scores_KV = scores_KV.index_fill(1, never_written, EXCLUDED)
    for row, (text, beam) in enumerate(beams):
        banned = [ids[-1] for ids in text.banned if beam.ids[len(beam.ids) - len(ids) + 1 :] == ids[:-1]]
        if banned:  # would now complete a banned word
            scores_KV[row, banned] = EXCLUDED
    if sampling.beams > 1:  # twice as many, in case that some end
        sizes = [len(text.beams) for text in texts]
        parts = zip(texts, torch.split(scores_KV, sizes), torch.split(logs_KV, sizes), strict=True)
        return [
            [
                NextToken(beam, token, total, float(logs[beam, token]))
                for beam, token, total in likeliest(scores, [old.total for old in text.beams], 2 * sampling.beams)
            ]
            for text, scores, logs in parts
        ]
    draws = [rng(text.request.seed, "write", len(text.beams[0].tokens)) for text in texts if sampling.temperature]
    tokens_K1 = chosen(scores_KV, sampling, [draw.random() for draw in draws])[:, None]
    values = torch.cat([scores_KV.gather(1, tokens_K1), logs_KV.gather(1, tokens_K1)], 1)
    return [
        [NextToken(0, token, 0.0, logprob)] if score > EXCLUDED else []
        for token, (score, logprob) in zip(tokens_K1[:, 0].tolist(), values.tolist(), strict=True)
    ]


def _blended(texts: Sequence[Continuation], logits_RV: Tensor) -> Tensor:
    """The logits (K, V) of each beam, from those of its rows behind each prefix."""
    if all(len(text.prefixes) == 1 for text in texts):
        return logits_RV
    requests = [(text.request, len(text.prefixes)) for text in texts for _ in text.beams]
    parts = torch.split(logits_RV, [prefixes for _, prefixes in requests])
    return torch.stack([_blend(part_PV, request) for part_PV, (request, _) in zip(parts, requests, strict=True)])


def _blend(logits_PV: Tensor, request: Request) -> Tensor:
    """One row of logits (V,) from those under a text's prefixes.

    The penalty divides logits, so it matters where their zero lies: with a single prefix it is where the network
    put it, and in a mixture between the two.
    """
    if request.mixture is not None:
        shares_P = torch.tensor([1 - request.mixture, request.mixture])
        mixed_V = (logits_PV.log_softmax(-1) + shares_P.log()[:, None]).logsumexp(0)
        blended: Tensor = mixed_V + shares_P @ logits_PV.logsumexp(-1)
        return blended
    if request.guidance is not None:
        return logits_PV[1] + request.guidance * (logits_PV[0] - logits_PV[1])
    return logits_PV[0]
