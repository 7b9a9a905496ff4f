"""`sijo generate`: a prompt and a control code in, a text out, token by token."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from sijo.app.options import call_with
from sijo.app.results import print_json, wants_json
from sijo.errors import SettingError, TextError

if TYPE_CHECKING:
    from sijo.generation.generator import GeneratedText, Generator
    from sijo.generation.request import Request

NO_MODEL = "--model is needed: a folder or org/name that writes; sijo pretrain ctrl-tiny trains one"


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class GenerateSettings:
    """Who writes, about what, and how each token is chosen."""

    model: str | None = None
    """A folder or org/name with a head that writes (lm), such as what sijo pretrain ctrl-tiny leaves."""
    prompt: Annotated[list[str] | None, Parameter(alias="-p", consume_multiple=True)] = None
    """How the text begins; several are written side by side."""
    prompts_file: Path | None = None
    """The same from a file, one a line."""
    control_code: Annotated[str | None, Parameter(alias="-c")] = None
    """What kind of text it is to be; --codes lists those that the model knows."""
    other_code: str | None = None
    """A second code: to be mixed with the first (--mixture), or to be led away from (--guidance)."""
    mixture: float | None = None
    """The share of the second code in a mixture of both, from 0 to 1."""
    guidance: float | None = None
    """How strongly the code is obeyed: 1 as it comes, 2 or more go on from what the text without it would be."""
    max_new_tokens: int = 100
    """Tokens to write at most."""
    temperature: float | None = None
    """0, as where none is given, always takes the best token; 0.7 is livelier, 1 as the model has learned."""
    top_k: int | None = None
    """Draw from so many of the likeliest tokens only."""
    top_p: float | None = None
    """Draw from the likeliest tokens that make up this share only."""
    min_p: float | None = None
    """Draw from tokens at least this times as likely as the likeliest only."""
    penalty: float = 1.2
    """By which tokens that stand in the text already are made less likely; 1 for none."""
    penalty_rule: Literal["paper", "sign_aware"] = "paper"
    """The paper divides scores whatever their sign; sign_aware multiplies those below 0, as transformers does."""
    beams: int = 1
    """Carry on so many texts at once and give the likeliest; in place of a temperature."""
    length_penalty: float = 1.0
    """Of beams that --stop ends at different lengths: 0 prefers short texts, 1 goes by the mean of a token."""
    stop: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None
    """End before the first of these strings."""
    banned: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None
    """Words that are not to be written."""
    seed: int = 0
    """Start of all chance; the n-th text has this and n."""
    count: int = 1
    """How many texts for each prompt; more than one needs a temperature."""
    codes: bool = False
    """Print the control codes that the model knows, and stop."""
    format: Literal["text", "json"] | None = None
    """text for people, as it is written; in a pipe one JSON object a text."""


def run(options: GenerateSettings) -> None:
    """Write, and print what was written."""
    if options.model is None:
        raise SettingError(NO_MODEL)
    if options.count < 1 or (options.count > 1 and not options.temperature):
        raise SettingError(
            f"--count {options.count} would write the same text again: it must be 1 or more, and above 1 it needs "
            "a --temperature"
        )
    from sijo.generation.generator import Generator
    from sijo.tokenizers.codes import known_codes

    requests = [] if options.codes else requests_of(options)  # before the model is opened
    writer = Generator(options.model)
    if options.codes:
        for name in known_codes(writer.model.tokenizer):
            print(name)  # noqa: T201
    elif wants_json(options.format):
        for request, written in zip(requests, writer.each(requests), strict=True):
            print_json(record(request, written))
    else:
        stream(writer, requests)


def requests_of(options: GenerateSettings) -> list["Request"]:
    """A request for each text that is wanted."""
    from sijo.generation.request import Request
    from sijo.generation.rules import Sampling

    prompts = list(options.prompt or [])
    if (file := options.prompts_file) is not None:
        try:
            prompts += [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise TextError(f"{file} cannot be read ({error}); name a text file, a prompt a line") from None
    sampling = call_with(Sampling, options, temperature=options.temperature or 0.0)
    stop, banned = tuple(options.stop or ()), tuple(options.banned or ())
    return [
        call_with(
            Request,
            options,
            prompt=prompt,
            stop=stop,
            banned=banned,
            seed=options.seed + number,
            sampling=sampling,
        )
        for number, prompt in enumerate(prompt for prompt in prompts or [""] for _ in range(options.count))
    ]


def stream(writer: "Generator", requests: list["Request"]) -> None:
    """Print each text with its prompt while it is written; an interrupted one still ends its line."""
    writer.stream(requests)  # refuses what cannot be written, before anything is
    for number, request in enumerate(requests):
        print("\n" if number else "", end=f"{request.prompt} " if request.prompt else "", flush=True)  # noqa: T201
        try:
            for token in writer.stream([request]):
                print(token.text, end="", flush=True)  # noqa: T201
        finally:
            print(flush=True)  # noqa: T201


def record(request: "Request", written: "GeneratedText") -> dict[str, Any]:
    """A text as a JSON object."""
    return {
        "prompt": request.prompt,
        "control_code": request.control_code,
        "text": written.text,
        "tokens": len(written.ids),
        "mean_logprob": sum(written.logprobs) / len(written.logprobs),
        "stopped": written.stopped,
        "seed": request.seed,
    }
