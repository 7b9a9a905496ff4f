"""The loop that writes: prompts in, tokens out one by one, each text as if it were alone.

Every text has a front of its own, the tokens of its control code. They stay in place when a text outgrows what the
network reads at once: its oldest words leave, its code does not (CTRL, released sampler). Several fronts for one
text are read side by side, and their distributions blended: guidance, and mixtures of codes.

Letters: B texts, F fronts of each, V tokens.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from sijo.checkpoints.load import Model, load
from sijo.errors import SettingError, TextError
from sijo.generation.codes import code
from sijo.generation.rules import STRUCK, Sampling, chosen, penalised
from sijo.nn.cache import Cache
from sijo.nn.heads import VocabularyHead
from sijo.text.chance import chance

HEAD = "lm"


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
        found: list[list[Token]] = [[] for _ in requests]
        for token in self.stream(requests):
            found[token.row].append(token)
        return [
            Written(
                "".join(token.text for token in tokens),
                tuple(token.id for token in tokens),
                tuple(token.logprob for token in tokens),
                stopped=len(tokens) < request.max_new_tokens or _ends(self, tokens, request),
            )
            for tokens, request in zip(found, requests, strict=True)
        ]

    @torch.inference_mode()
    def stream(self, requests: Sequence[Request]) -> Iterator[Token]:
        """Write texts side by side; yields each token when it is chosen.

        Raises SettingError for a code that the model does not know, TextError for a text with nothing to begin from
        or a prompt that fills the window.
        """
        texts = [_Text(self, number, request) for number, request in enumerate(requests)]
        reading = _Reading(self, texts)
        while texts:
            done = []
            for text, row in zip(texts, reading.logits(), strict=True):
                token = text.choose(row)
                done.append(token.last)
                yield token
            texts = [text for text, last in zip(texts, done, strict=True) if not last]
            reading.go_on([place for place, last in enumerate(done) if not last])


class _Text:
    """A text in the writing."""

    def __init__(self, writer: Writer, number: int, request: Request) -> None:
        tokenizer = writer.model.tokenizer
        self.tokenizer, self.number, self.request = tokenizer, number, request
        fronts = [request.control_code]
        if request.mixture is not None or request.guidance is not None:
            fronts.append(request.other_code)
        self.fronts = [() if name is None else code(name, tokenizer) for name in fronts]
        self.ids: list[int] = list(tokenizer.ids([request.prompt])[0])
        self.written = 0
        if not all(front or self.ids for front in self.fronts):
            raise TextError(
                f"text {number + 1} has no token to begin with: give a prompt, or a control code for each side"
            )
        longest = max(map(len, self.fronts)) + len(self.ids)
        if longest > writer.window:
            raise TextError(
                f"prompt {number + 1} and its code have {longest} tokens, and this model reads {writer.window} at "
                "once; shorten the prompt"
            )
        self.struck = torch.tensor(writer.struck, dtype=torch.int64)
        self.banned = [ids for word in request.banned for ids in {tuple(tokenizer.ids([word])[0])} if ids]
        self.sent = ""

    def choose(self, logits_FV: Tensor) -> Token:
        """The next token, from the logits under each front."""
        request, sampling = self.request, self.request.sampling
        logits = _blended(logits_FV, request)
        scores = logits[None] / (sampling.temperature or 1.0)
        seen = torch.zeros_like(scores, dtype=torch.bool)
        seen[0, [*self.ids, *self.fronts[0]]] = True
        scores = penalised(scores, seen, sampling.penalty, sampling.penalty_rule)
        scores[0, self.struck] = STRUCK
        for ids in self.banned:
            if tuple(self.ids[len(self.ids) - len(ids) + 1 :]) == ids[:-1] or len(ids) == 1:
                scores[0, ids[-1]] = STRUCK
        if not bool((scores > STRUCK).any()):
            raise SettingError("every token is banned; allow some")
        throw = chance(request.seed, "write", self.written).random() if sampling.temperature else 0.0
        token = int(chosen(scores, sampling, [throw])[0])
        self.ids.append(token)
        self.written += 1
        text, ended = self._text()
        return Token(
            self.number,
            token,
            float(logits.log_softmax(-1)[token]),
            text,
            ended or self.written == request.max_new_tokens,
        )

    def _text(self) -> tuple[str, bool]:
        """What has become sure of the text, and whether a stop string has come."""
        new = self.tokenizer.decode(self.ids[len(self.ids) - self.written :])
        stops = [place for stop in self.request.stop if (place := new.find(stop)) >= 0]
        if stops:
            return self._sent(new[: min(stops)]), True
        if self.written == self.request.max_new_tokens:
            return self._sent(new), False
        sure = self.tokenizer.decode(self.ids[len(self.ids) - self.written : -1])
        held = max((len(stop) for stop in self.request.stop), default=1) - 1
        sure = sure[: max(0, len(sure) - held)]
        return (self._sent(sure) if new.startswith(sure) and not sure.endswith("\ufffd") else ""), False

    def _sent(self, text: str) -> str:
        """What of a text was not given out yet."""
        more = text[len(self.sent) :] if text.startswith(self.sent) else ""
        self.sent += more
        return more


class _Reading:
    """What the network has read of texts that are written side by side."""

    def __init__(self, writer: Writer, texts: list[_Text]) -> None:
        self.writer, self.texts = writer, texts
        self.head: VocabularyHead = writer.model.head[HEAD]  # type: ignore[assignment]
        self._anew()

    def logits(self) -> list[Tensor]:
        """For each text the logits (F, V) of its next token, under each of its fronts."""
        logits = self.head.decode(self.states_BD, self.writer.model.transformer).float()
        return list(torch.split(logits, [len(text.fronts) for text in self.texts]))

    def go_on(self, left: list[int]) -> None:
        """Read the tokens that were chosen, of the texts that go on."""
        if not left:
            return
        rows = [row for place, rows in enumerate(self._rows()) for row in rows if place in left]
        if len(left) < len(self.texts):
            self.texts = [self.texts[place] for place in left]
            cache = self.cache
            cache.keys, cache.values = cache.keys[:, rows], cache.values[:, rows]
            cache.lengths_B = cache.lengths_B[rows]
        if int(self.cache.lengths_B.max()) == self.cache.places:
            self._anew()
            return
        ids = torch.tensor([[text.ids[-1]] for text in self.texts for _ in text.fronts])
        self.states_BD = self.writer.model.transformer.go_on(ids, self.cache)[:, 0]

    def _rows(self) -> list[range]:
        """Which rows of the batch belong to each text."""
        ends, start = [], 0
        for text in self.texts:
            ends.append(range(start, start + len(text.fronts)))
            start += len(text.fronts)
        return ends

    def _anew(self) -> None:
        """Read all texts from their fronts on; of one that has outgrown the window, its front and its end."""
        writer, model = self.writer, self.writer.model
        rows, room = [], 0
        for text in self.texts:
            for front in text.fronts:
                limit = writer.window - len(front)
                kept = text.ids if len(text.ids) <= limit else text.ids[-max(1, limit - writer.slide + 1) :]
                rows.append([*front, *kept])
                room = max(room, len(rows[-1]) + text.request.max_new_tokens - text.written)
        lengths = torch.tensor([len(row) for row in rows])
        width = int(lengths.max())
        ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])
        keep = None if int(lengths.min()) == width else torch.arange(width) < lengths[:, None]
        places, kind = min(writer.window, room), next(model.parameters()).dtype
        self.cache = Cache(model.architecture, rows=len(rows), places=places, dtype=kind)
        states = model.transformer.go_on(ids, self.cache, keep)
        self.states_BD = states[torch.arange(len(rows)), lengths - 1]


def _blended(logits_FV: Tensor, request: Request) -> Tensor:
    """One row of logits (V,) of those under a text's fronts.

    Of a single front they are as they come: the penalty divides them, so it matters where their zero lies.
    """
    if request.mixture is not None:
        shares = torch.tensor([1 - request.mixture, request.mixture]).log()
        mixed: Tensor = (logits_FV.log_softmax(-1) + shares[:, None]).logsumexp(0)
        return mixed
    if request.guidance is not None:
        return logits_FV[1] + request.guidance * (logits_FV[0] - logits_FV[1])
    return logits_FV[0]


def _ends(writer: Writer, tokens: Sequence[Token], request: Request) -> bool:
    """Whether a text of full length holds a stop string."""
    text = writer.model.tokenizer.decode([token.id for token in tokens])
    return any(stop in text for stop in request.stop)
