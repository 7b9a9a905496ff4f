"""The one call that most need: a prompt in, a text out."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, TypedDict, Unpack, overload

from sijo.checkpoints.load import Model
from sijo.errors import SettingError
from sijo.generation.generator import Generator, Request
from sijo.generation.rules import PenaltyRule, Sampling

AnyGenerator = str | Path | Model | Generator


class GenerateKwargs(TypedDict, total=False):
    """The keyword arguments of `generate`, but for `stream`; `Request` and `Sampling` explain them."""

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
    model: AnyGenerator,
    prompt: str | Sequence[str] = "",
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
    stream: bool = False,
) -> str | list[str] | Iterator[str]:
    """Generate what follows a prompt, or each of several, under a control code.

    model   a folder or org/name with an lm head, an opened model, or a `Generator`
    prompt  one text, or several that are generated side by side; the n-th of them has the seed `seed` + n
    stream  return pieces of the one text as they come; with beams, when all agree on them

    `Request` and `Sampling` explain the other arguments. Without a temperature the best token is always taken, and
    the penalty of 1.2 keeps it from going in circles (CTRL, section 4.1).

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
    prompts = [prompt] if isinstance(prompt, str) else list(prompt)
    requests = [
        Request(
            prompt=text,
            control_code=control_code,
            other_code=other_code,
            mixture=mixture,
            guidance=guidance,
            max_new_tokens=max_new_tokens,
            stop=tuple(stop),
            banned=tuple(banned),
            seed=seed + number,
            sampling=sampling,
        )
        for number, text in enumerate(prompts)
    ]
    writer = model if isinstance(model, Generator) else Generator(model)
    if stream:
        if not isinstance(prompt, str):
            raise SettingError("stream=True gives the pieces of one text; give one prompt")
        return (token.text for token in writer.stream(requests) if token.text)
    texts = [written.text for written in writer.write(requests)]
    return texts[0] if isinstance(prompt, str) else texts
