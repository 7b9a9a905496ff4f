"""The loop that writes: prompts in, tokens out one by one, each text as if it were alone.

Every text has a front of its own, the tokens of its control code. They stay in place when a text outgrows what the
network reads at once: its oldest words leave, its code does not (CTRL, released sampler). Several fronts for one
text are read side by side, and their distributions blended: guidance, and mixtures of codes.

Letters: B texts, F fronts of each, V tokens.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, groupby, pairwise, takewhile
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from sijo.checkpoints.load import Model, load
from sijo.errors import SettingError, TextError
from sijo.generation.codes import code
from sijo.generation.reading import HEAD, Reading, Row
from sijo.generation.rules import STRUCK, Sampling, chosen, likeliest, penalised
from sijo.generation.spelling import Spelling
from sijo.text.chance import chance

AT_ONCE = 32
"""Texts that `Writer.write` has side by side."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A text to be written."""

    prompt: str = ""
    """How it begins."""
    control_code: str | None = None
    """What kind of text it is to be, such as "Reviews" or "Reviews Rating: 5.0"; None for no code."""
    other_code: str | None = None
    """A second code, to be mixed with the first, or for guidance to be led away from; None there for no code."""
    mixture: float | None = None
    """The share of the second code in a mixture of both: p = (1 - share) p1 + share p2."""
    guidance: float | None = None
    """How far to go from what the text without its code, or with the second one, would be: log p = log p2 +
    guidance (log p1 - log p2); 1 changes nothing, 2 and more exaggerate."""
    max_new_tokens: int = 100
    """After how many tokens it ends."""
    stop: tuple[str, ...] = ()
    """It ends before the first of these."""
    banned: tuple[str, ...] = ()
    """Words that are not written, as they are spelled here."""
    seed: int = 0
    """Start of its chance, whoever stands beside it."""
    sampling: Sampling = field(default_factory=Sampling)
    """How each token is chosen."""

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise SettingError(f"max_new_tokens={self.max_new_tokens} writes nothing; give 1 or more")
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


@dataclass(frozen=True)
class Token:
    """A token that was written."""

    row: int
    """Of which request."""
    id: int
    """Its number."""
    logprob: float
    """Its log-probability under the blend of the fronts, before temperature, penalty and cuts."""
    text: str
    """What is now sure to follow in the text; some of it may wait for the next token."""
    last: bool
    """Whether the text ends here."""
    stopped: bool = False
    """Whether a stop string ended it; else, it reached its length."""


@dataclass(frozen=True)
class Written:
    """A text that was written."""

    text: str
    """What follows the prompt."""
    ids: tuple[int, ...]
    """Its tokens, with those of a stop string."""
    logprobs: tuple[float, ...]
    """As for `Token`."""
    stopped: bool
    """Whether a stop string ended it; else it reached its length."""


class Writer:
    """A network that writes.

    model   what `sijo.load(folder, head="lm")` gives, or a folder or org/name
    window  tokens that it reads at once, its code included; None for as many as it was made for
    slide   how many old tokens leave when a text outgrows that: 1 reads the window anew for each token, as the
            released sampler means to; None for a quarter of the window

    Raises SettingError for a network that does not write from left to right.
    """

    def __init__(self, model: Model | str | Path, *, window: int | None = None, slide: int | None = None) -> None:
        self.model = model if isinstance(model, Model) else load(model, HEAD)
        a, tokenizer = self.model.architecture, self.model.tokenizer
        if a.reads != "left" or HEAD not in self.model.head:
            raise SettingError(
                f"{self.model.source or 'this model'} does not write from left to right: it needs an lm head; "
                "choose a CTRL, or train one: sijo pretrain ctrl-tiny"
            )
        if a.distances is not None or a.convolution is not None:
            raise SettingError(
                "a network with distances or a convolution cannot go on from what it has read; choose another"
            )
        limits = [limit for limit in (window, a.places, tokenizer.max_length) if limit is not None]
        self.window = min(limits)
        self.slide = max(1, self.window // 4) if slide is None else slide
        if self.window < 2 or not 1 <= self.slide < self.window:
            raise SettingError(
                f"window={window} and slide={slide}: a window has 2 tokens or more, and slides by fewer"
            )
        self.struck = list(tokenizer.special_ids)

    def write(self, requests: Sequence[Request]) -> list[Written]:
        """Write all texts, and give them in order."""
        return list(self.each(requests))

    def each(self, requests: Sequence[Request]) -> Iterator[Written]:
        """Write texts, so many side by side that memory is bounded; yields each in order once those are done.

        Raises what `stream` raises, before anything is written.
        """
        texts = self._texts(requests)
        for start in range(0, len(texts), AT_ONCE):
            group = texts[start : start + AT_ONCE]
            found: dict[int, list[Token]] = {text.number: [] for text in group}
            for token in self._written(group):
                found[token.row].append(token)
            for tokens in found.values():
                yield Written(
                    "".join(token.text for token in tokens),
                    tuple(token.id for token in tokens),
                    tuple(token.logprob for token in tokens),
                    tokens[-1].stopped,
                )

    def stream(self, requests: Sequence[Request]) -> Iterator[Token]:
        """Write texts side by side; gives each token when it is chosen, or of beams, when all agree on it.

        Raises SettingError for a code that the model does not know, TextError for a text with nothing to begin from
        or a prompt that fills the window: when it is called, before anything is written.
        """
        return self._written(self._texts(requests))

    def _texts(self, requests: Sequence[Request]) -> "list[_Text]":
        return [_Text(self, number, request) for number, request in enumerate(requests)]

    @torch.inference_mode()
    def _written(self, texts: "list[_Text]") -> Iterator[Token]:
        if not texts:
            return
        rows = [row for text in texts for row in text.rows()]
        reading = Reading(self.model, rows, window=self.window, slide=self.slide)
        struck = torch.tensor(self.struck, dtype=torch.int64)
        while True:
            came, start = [], 0
            for text, choices in zip(texts, _choices(texts, reading.logits(), struck), strict=True):
                fronts = len(text.fronts)
                count = len(text.lines) * fronts
                yield from text.go_on(choices)
                came += [start + place * fronts + front for place in text.came for front in range(fronts)]
                start += count
            texts = [text for text in texts if text.lines]
            if not texts:
                return
            reading.go_on([row for text in texts for row in text.rows()], came)


@dataclass(frozen=True)
class _Line:
    """One way in which a text goes on."""

    ids: tuple[int, ...]
    """Its tokens, those of the prompt before them."""
    spelling: Spelling
    tokens: tuple[Token, ...] = ()
    """Those that were written."""
    total: float = 0.0
    """The log-probability with which they would be drawn at a temperature of 1; of beams alone."""


class _Text:
    """A text in the writing, on one line, or on several of which the best is left in the end."""

    def __init__(self, writer: Writer, number: int, request: Request) -> None:
        tokenizer = writer.model.tokenizer
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
        if longest > writer.window:
            raise TextError(
                f"prompt {number + 1} and its code have {longest} tokens, and this model reads {writer.window} at "
                "once; shorten the prompt"
            )
        spelled = [spelled for word in request.banned for spelled in (word, f" {word}")]
        self.banned = {tuple(banned) for banned in tokenizer.ids(spelled) if banned}
        self.lines = [_Line(ids, Spelling(tokenizer, request.stop))]
        self.came = [0]
        self.best: _Line | None = None
        self.given = 0

    def rows(self) -> list[Row]:
        """What the network reads of it: each line behind each front."""
        more = self.request.max_new_tokens - len(self.lines[0].tokens)
        return [Row(front, line.ids, more) for line in self.lines for front in self.fronts]

    def go_on(self, choices: "list[_Choice]") -> Iterator[Token]:
        """Take the best of the choices, which come first; gives the tokens that are now sure.

        Sure is what all lines have in common. No line is left when the text has ended. `came` tells which of the
        lines before it each goes on from.
        """
        beams = self.request.sampling.beams
        lines: list[_Line] = []
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
        return float(chance(self.request.seed, "write", len(self.lines[0].tokens)).random())

    def _longer(self, line: _Line, token: int, logprob: float, total: float) -> _Line:
        """A line with a token more."""
        full = len(line.tokens) + 1 == self.request.max_new_tokens
        spelling = line.spelling.after(token, last=full)
        last = full or spelling.stopped
        written = Token(self.number, token, logprob, spelling.piece, last, spelling.stopped)
        return _Line((*line.ids, token), spelling, (*line.tokens, written), total)

    def _worth(self, line: _Line, length: int | None = None) -> float:
        """By what beams are told apart: the log-probability over a power of the length."""
        worth: float = line.total / (length or len(line.tokens)) ** self.request.sampling.length_penalty
        return worth

    def _may_win(self, line: _Line, best: _Line) -> bool:
        """Whether a line could still be worth more than the best that has ended: it only loses probability."""
        return max(self._worth(line), self._worth(line, self.request.max_new_tokens)) > self._worth(best)


class _Choice(NamedTuple):
    """A token with which a text may go on."""

    place: int
    """On which of its lines."""
    token: int
    total: float
    """Of beams, the log-probability of the line that it makes."""
    logprob: float
    """As for `Token`."""


def _choices(texts: Sequence[_Text], logits_RV: Tensor, struck: Tensor) -> list[list[_Choice]]:
    """The tokens with which the lines of each text may go on, best first.

    Texts of the same rules, which stand side by side, are looked at together.

    logits_RV  of the next token of each row: of each line of each text, behind each of its fronts
    struck     tokens that are never written
    """
    found, start = [], 0
    for sampling, alike in groupby(texts, lambda text: text.request.sampling):
        group = list(alike)
        rows = sum(len(text.lines) * len(text.fronts) for text in group)
        found += _chosen(group, sampling, logits_RV[start : start + rows], struck)
        start += rows
    if not all(found):
        raise SettingError("every token is banned; allow some")
    return found


def _chosen(texts: Sequence[_Text], sampling: Sampling, logits_RV: Tensor, struck: Tensor) -> list[list[_Choice]]:
    """The same for texts whose rules are the same."""
    logits_KV = _blended(texts, logits_RV)
    wholes_K = logits_KV.logsumexp(-1)
    scores_KV = logits_KV / (sampling.temperature or 1.0)
    seen = [ids for text in texts for ids in text.seen()]
    longest = max(map(len, seen))
    seen_Kn = torch.tensor([ids + ids[:1] * (longest - len(ids)) for ids in seen])
    scores_KV = penalised(scores_KV, seen_Kn, sampling.penalty, sampling.penalty_rule)
    scores_KV[:, struck] = STRUCK
    starts = [0, *accumulate(len(text.lines) for text in texts)]
    for text, start in zip(texts, starts, strict=False):
        for place, token in text.barred():
            scores_KV[start + place, token] = STRUCK
    if sampling.beams > 1:  # twice as many, in case that some end
        return [
            [
                _Choice(place, token, total, float(logits_KV[start + place, token] - wholes_K[start + place]))
                for place, token, total in likeliest(
                    scores_KV[start:end], [line.total for line in text.lines], 2 * sampling.beams
                )
            ]
            for text, (start, end) in zip(texts, pairwise(starts), strict=True)
        ]
    throws = [text.throw() for text in texts] if sampling.temperature else []
    tokens_K1 = chosen(scores_KV, sampling, throws)[:, None]
    told = torch.cat([scores_KV.gather(1, tokens_K1), logits_KV.gather(1, tokens_K1) - wholes_K[:, None]], 1)
    return [
        [_Choice(0, token, 0.0, logprob)] if score > STRUCK else []
        for token, (score, logprob) in zip(tokens_K1[:, 0].tolist(), told.tolist(), strict=True)
    ]


def _blended(texts: Sequence[_Text], logits_RV: Tensor) -> Tensor:
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
