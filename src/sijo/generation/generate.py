"""The one call that most need: a prompt in, a text out."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack, overload

from sijo.checkpoints.load import Model
from sijo.errors import SettingError
from sijo.generation.generator import Generator, Request
from sijo.generation.rules import PenaltyRule, Sampling

AnyGenerator = str | Path | Model | Generator


class SamplingKwargs(TypedDict, total=False):
    """The keyword arguments of `generate` that `Sampling` explains, with its defaults."""

    temperature: float
    top_k: int | None
    top_p: float | None
    min_p: float | None
    penalty: float
    penalty_rule: PenaltyRule
    beams: int
    length_penalty: float


class GenerateKwargs(SamplingKwargs, total=False):
    """These and those that `Request` explains, with its defaults; all but `stream`."""

    control_code: str | None
    other_code: str | None
    mixture: float | None
    guidance: float | None
    max_new_tokens: int
    stop: Sequence[str]
    banned: Sequence[str]
    seed: int


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
    model: AnyGenerator, prompt: Sequence[str], *, stream: Literal[False] = False, **kwargs: Unpack[GenerateKwargs]
) -> list[str]: ...
def generate(
    model: AnyGenerator, prompt: str | Sequence[str] = "", *, stream: bool = False, **kwargs: Unpack[GenerateKwargs]
) -> str | list[str] | Iterator[str]:
    """Generate what follows a prompt, or each of several, under a control code.

    model   a folder or org/name with an lm head, an opened model, or a `Generator`
    prompt  one text, or several that are generated side by side; the n-th of them has the seed `seed` + n
    stream  return pieces of the one text as they come; with beams, when all agree on them

    `GenerateKwargs` lists the other arguments, which `Request` and `Sampling` explain. Without a temperature the
    best token is always taken, and the penalty of 1.2 keeps it from going in circles (CTRL, section 4.1).

    Returns the text without its prompt, a list for several prompts, or with `stream` an iterator over pieces.
    Raises SettingError for settings that cannot be or a code that the model does not know, TextError for an empty
    or too long prompt.

    >>> import sijo
    >>> from dataclasses import replace
    >>> from sijo.models import published
    >>> from sijo.nn.architecture import Sinusoidal
    >>> ctrl, words = published("ctrl")[1].architecture(), sijo.load().tokenizer
    >>> tiny = replace(ctrl, vocab_size=30522, embedding_size=16, hidden_size=16, heads=2, schedule=(0,),
    ...                positions=Sinusoidal(count=64, layout="halves"))
    >>> untrained = sijo.create(tiny, "lm", tokenizer=words)
    >>> len(sijo.generate(untrained, "the sea", max_new_tokens=5, temperature=1.0).split()) > 1
    True
    """
    settings: dict[str, Any] = dict(kwargs)
    settings |= {name: tuple(settings[name]) for name in ("stop", "banned") if name in settings}
    sampling = Sampling(**{name: settings.pop(name) for name in SamplingKwargs.__annotations__ if name in settings})
    seed = settings.pop("seed", 0)
    prompts = [prompt] if isinstance(prompt, str) else list(prompt)
    requests = [
        Request(prompt=text, seed=seed + number, sampling=sampling, **settings)
        for number, text in enumerate(prompts)
    ]
    writer = model if isinstance(model, Generator) else Generator(model)
    if stream:
        if not isinstance(prompt, str):
            raise SettingError("stream=True gives the pieces of one text; give one prompt")
        return (token.text for token in writer.stream(requests) if token.text)
    texts = [written.text for written in writer.write(requests)]
    return texts[0] if isinstance(prompt, str) else texts
