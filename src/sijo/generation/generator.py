"""The generating loop: prompts in, tokens out one by one, each text as if it were alone; and `generate`, its call.

Every text has a prefix of its own, the tokens of its control code. They stay in place when a text outgrows what the
network reads at once: its oldest words leave, its code does not (CTRL, released sampler). Several prefixes of one
text are read side by side, and their distributions blended: guidance, and mixtures of codes.

Letters: R rows, V tokens.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, TypedDict, Unpack, overload

import torch
from torch import Tensor

from sijo.checkpoints.load import Model
from sijo.checkpoints.weights import not_finite
from sijo.errors import SettingError
from sijo.generation.beams import Continuation, ReaderRow, choose
from sijo.generation.opening import HEAD, opened_writer
from sijo.generation.rules import GeneratedText, PenaltyRule, Request, Sampling, Token
from sijo.inference.backends.torch_backend import padded, why_not_finite
from sijo.inference.language import LanguageCheck
from sijo.inference.outputs import NotFiniteError
from sijo.nn.cache import Cache
from sijo.nn.decoder import single_stack
from sijo.nn.heads import LMHead
from sijo.nn.linear import lay_out
from sijo.texts import names_in, texts_in

__all__ = ["GeneratedText", "Generator", "Request", "Sampling", "Token", "generate"]

AT_ONCE = 32
"""Texts that `Generator.each` generates side by side."""
LONG = 64
"""Tokens that a text may yet have, from which on it pays to lay the network out for them first."""


class Generator:
    """A network that generates text from left to right.

    model   what `sijo.load(folder, head="lm")` gives, or a folder or org/name
    window  tokens that it reads at once, its code included; None for as many as it was made for
    slide   how many old tokens leave when a text outgrows that: 1 reads the window anew for each token, as the
            released sampler means to; None for a quarter of the window
    base    the model of an adapter that stands alone; see `load`

    `device` and `precision` are those of `opened_writer`.
    Raises SettingError for a network that does not write from left to right.
    """

    def __init__(
        self,
        model: Model | str | Path,
        *,
        window: int | None = None,
        slide: int | None = None,
        base: str | Path | None = None,
        device: str = "auto",
        precision: str = "exact",
    ) -> None:
        self.model = opened_writer(model, base=base, device=device, precision=precision)
        architecture, tokenizer = self.model.architecture, self.model.tokenizer
        if architecture.reads != "left" or HEAD not in self.model.head:
            raise SettingError(
                f"{self.model.source or 'this model'} does not write from left to right: it needs an lm head; "
                "choose a CTRL, or train one: sijo pretrain ctrl-tiny"
            )
        apart = architecture.distances or architecture.relative_bias
        counted = getattr(architecture.positions, "padding", None)  # a place then hangs on every id before it
        if apart is not None or architecture.convolution is not None or counted is not None:
            raise SettingError(
                "a network with distances, a convolution, or places counted by ids cannot go on from what it has "
                "read; choose another"
            )
        limits = (window, architecture.places, tokenizer.max_length)
        self.window = min(limit for limit in limits if limit is not None)
        self.slide = max(1, self.window // 4) if slide is None else slide
        if self.window < 2 or not 1 <= self.slide < self.window:
            raise SettingError(
                f"window={window} and slide={slide}: a window has 2 tokens or more, and slides by fewer"
            )
        self._language = LanguageCheck(self.model)
        self.never_written = list(tokenizer.special_ids)

    def write(self, requests: Sequence[Request]) -> list[GeneratedText]:
        """Generate all texts, in order."""
        return list(self.each(requests))

    def each(self, requests: Sequence[Request]) -> Iterator[GeneratedText]:
        """Generate texts in groups, so that memory is bounded; yields each in order once its group is done.

        Raises what `stream` raises, before anything is written.
        """
        texts = self._texts(requests)
        for start in range(0, len(texts), AT_ONCE):
            group = texts[start : start + AT_ONCE]
            by_text: dict[int, list[Token]] = {text.number: [] for text in group}
            for token in self._tokens(group):
                by_text[token.row].append(token)
            for tokens in by_text.values():
                yield GeneratedText(
                    "".join(token.text for token in tokens),
                    tuple(token.id for token in tokens),
                    tuple(token.logprob for token in tokens),
                    tokens[-1].stopped,
                )

    def stream(self, requests: Sequence[Request]) -> Iterator[Token]:
        """Generate texts side by side; yields each token when it is chosen, or of beams, when all agree on it.

        Raises SettingError for a code that the model does not know, TextError for a text with nothing to begin from
        or a prompt that fills the window: when it is called, before anything is written. Later NotFiniteError, for
        a text after which the network's logits are no numbers: any token could come of them.
        """
        return self._tokens(self._texts(requests))

    def _texts(self, requests: Sequence[Request]) -> list[Continuation]:
        tokenizer, window = self.model.tokenizer, self.window
        self._language.look([request.prompt for request in requests])
        return [Continuation(number, request, tokenizer, window) for number, request in enumerate(requests)]

    @torch.inference_mode()
    def _tokens(self, texts: list[Continuation]) -> Iterator[Token]:
        reader = CachedReader(self.model, window=self.window, slide=self.slide)
        never_written = torch.tensor(self.never_written, dtype=torch.int64)
        parents: list[int] = []
        while texts:
            logits_RV = reader.logits([row for text in texts for row in text.rows()], parents)
            if not_finite(logits_RV):
                owners = [text.number for text in texts for _ in text.rows()]
                raise NotFiniteError.of_model(
                    why_not_finite(self.model), owners[int(logits_RV.isfinite().all(-1).int().argmin())]
                )
            parents, start = [], 0
            for text, choices in zip(texts, choose(texts, logits_RV, never_written), strict=True):
                prefixes = len(text.prefixes)
                firsts = range(start, start + len(text.beams) * prefixes, prefixes)
                yield from text.step(choices)
                parents += [firsts[beam.parent] + prefix for beam in text.beams for prefix in range(prefixes)]
                start = firsts.stop
            texts = [text for text in texts if text.beams]


class CachedReader:
    """Texts read side by side through a network's key-value cache, each row as if it were alone.

    model   with an lm head, reading to the left
    window  tokens that are read at once, of prefix and text together
    slide   how many old tokens leave when a row outgrows that
    """

    def __init__(self, model: Model, *, window: int, slide: int) -> None:
        self.model, self.window, self.slide = model, window, slide
        self.transformer = single_stack(model.transformer, "it does not write")
        self.device = next(model.parameters()).device

    def logits(self, rows: Sequence[ReaderRow], parents: Sequence[int]) -> Tensor:
        """Read the newest token of each row, at first all of them; the logits (R, V) of the next, float32, on the
        processor: what is drawn there is the same on every device.

        parents  which of the rows before it each goes on from: some may have ended, others have several children;
                 none at first
        """
        if not parents and max(row.remaining for row in rows) >= LONG:
            lay_out(self.model, rows=len(rows))
        if not parents or max(self.cache.lengths[row] for row in parents) == self.cache.places:
            states_RD = self._read(rows)
        else:
            if list(parents) != list(range(len(self.cache.lengths))):
                self.cache.keep(parents)
            ids = torch.tensor([row.ids[-1:] for row in rows], device=self.device)
            states_RD = self.transformer.step(ids, self.cache)[:, 0]
        head: LMHead = self.model.head[HEAD]  # type: ignore[assignment]
        return head.decode(states_RD, self.model.transformer).float().cpu()

    def _read(self, rows: Sequence[ReaderRow]) -> Tensor:
        """Read all rows into a new cache: whole, or where one has outgrown the window, its prefix and its end.

        Where that end begins depends on the row's own length alone, whichever row made them all be read again.
        """
        sequences, longest = [], 0
        for prefix, ids, remaining in rows:
            limit = self.window - len(prefix)
            slide = min(self.slide, limit)
            dropped = -(-max(0, len(ids) - limit) // slide) * slide
            sequences.append([*prefix, *ids[dropped:]])
            longest = max(longest, len(sequences[-1]) + remaining)
        ids_RL, keep_RL = padded(sequences)
        places, dtype = min(self.window, longest), next(self.model.parameters()).dtype
        self.cache = Cache(self.model.architecture, rows=len(rows), places=places, dtype=dtype, device=self.device)
        keep_RL = None if keep_RL is None else keep_RL.to(self.device)
        states_RLD = self.transformer.step(ids_RL.to(self.device), self.cache, keep_RL)
        return states_RLD[torch.arange(len(rows)), torch.tensor(self.cache.lengths) - 1]


AnyGenerator = str | Path | Model | Generator


class GenerateKwargs(TypedDict, total=False):
    """The keyword arguments of `generate` beside `stream`, for its overloads."""

    control_code: str | None
    other_code: str | None
    mixture: float | None
    guidance: float | None
    max_new_tokens: int
    temperature: float
    top_k: int | None
    top_p: float | None
    min_p: float | None
    penalty: float
    penalty_rule: PenaltyRule
    beams: int
    length_penalty: float
    stop: Sequence[str]
    banned: Sequence[str]
    seed: int
    device: str
    precision: str


@overload
def generate(  # type: ignore[overload-overlap]  # a str is a sequence of str too; one prompt goes first
    model: AnyGenerator, prompt: str = "", *, stream: Literal[False] = False, **kwargs: Unpack[GenerateKwargs]
) -> str: ...
@overload
def generate(
    model: AnyGenerator, prompt: str = "", *, stream: Literal[True], **kwargs: Unpack[GenerateKwargs]
) -> Iterator[str]: ...
@overload
def generate(  # type: ignore[overload-overlap]
    model: AnyGenerator, prompt: str = "", *, stream: bool, **kwargs: Unpack[GenerateKwargs]
) -> str | Iterator[str]: ...
@overload
def generate(
    model: AnyGenerator, prompt: Iterable[str], *, stream: Literal[False] = False, **kwargs: Unpack[GenerateKwargs]
) -> list[str]: ...
def generate(
    model: AnyGenerator,
    prompt: str | Iterable[str] = "",
    *,
    control_code: str | None = None,
    other_code: str | None = None,
    mixture: float | None = None,
    guidance: float | None = None,
    max_new_tokens: int = 100,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    penalty: float = 1.2,
    penalty_rule: PenaltyRule = "paper",
    beams: int = 1,
    length_penalty: float = 1.0,
    stop: Sequence[str] = (),
    banned: Sequence[str] = (),
    seed: int = 0,
    device: str = "auto",
    precision: str = "exact",
    stream: bool = False,
) -> str | list[str] | Iterator[str]:
    """Generate what follows a prompt, or each of several, under a control code.

    model   a folder or org/name with an lm head, an opened model, or a `Generator`
    prompt  one text, or several that are generated side by side, in whatever `texts_in` reads; the n-th of them
            has the seed `seed` + n
    stream  return pieces of the one text as they come; with beams, when all agree on them

    `Request`, `Sampling` and `opened_writer` explain the other arguments. Without a temperature the best token is
    always taken, and the penalty of 1.2 keeps it from going in circles (CTRL, section 4.1).

    Returns the text without its prompt, a list for several prompts, or with `stream` an iterator over pieces.
    Raises SettingError for settings that cannot be or a code that the model does not know, TextError for an empty
    or too long prompt.

    >>> import sijo
    >>> from dataclasses import replace
    >>> from sijo.models import published
    >>> from sijo.nn.architecture import Sinusoidal
    >>> ctrl, words = published("ctrl")[1].architecture(), sijo.load("all-minilm-l6-v2").tokenizer
    >>> tiny = replace(ctrl, vocab_size=30522, embedding_size=16, hidden_size=16, heads=2, schedule=(0,),
    ...                positions=Sinusoidal(count=64, layout="halves"))
    >>> untrained = sijo.create(tiny, "lm", tokenizer=words)
    >>> len(sijo.generate(untrained, "the sea", max_new_tokens=5, temperature=1.0).split()) > 1
    True
    """
    sampling = Sampling(
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        penalty=penalty,
        penalty_rule=penalty_rule,
        beams=beams,
        length_penalty=length_penalty,
    )
    request = partial(
        Request,
        control_code=control_code,
        other_code=other_code,
        mixture=mixture,
        guidance=guidance,
        max_new_tokens=max_new_tokens,
        stop=tuple(names_in(stop, "stop", "stop string")),
        banned=tuple(names_in(banned, "banned", "banned word")),
        sampling=sampling,
    )
    if stream and not isinstance(prompt, str):
        raise SettingError("stream=True gives the pieces of one text; give one prompt")
    prompts = texts_in([prompt] if isinstance(prompt, str) else prompt, "prompt", "prompt")
    requests = [request(prompt=text, seed=seed + number) for number, text in enumerate(prompts)]
    writer = model if isinstance(model, Generator) else Generator(model, device=device, precision=precision)
    if stream:
        return (token.text for token in writer.stream(requests) if token.text)
    texts = [written.text for written in writer.write(requests)]
    return texts[0] if isinstance(prompt, str) else texts
