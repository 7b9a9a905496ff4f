"""`sijo attribute`: a text in, the control codes it looks like out."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from cyclopts import Parameter

from sijo.app.options import WriterPrecision, call_with
from sijo.app.results import print_json, print_table, wants_json
from sijo.errors import SettingError

BAR = 30
"""Columns of a bar that means certainty."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class AttributeSettings:
    """Who judges, among which codes."""

    model: str | None = None
    """A folder or org/name with a head that writes (lm), trained with control codes."""
    base: str | None = None
    """The model of a LoRA adapter: a folder or org/name, where --model holds the adapter alone."""
    device: str = "auto"
    """Where it computes: cpu, cuda, cuda:N or mps; auto takes the first GPU there is, else the processor."""
    precision: WriterPrecision = "exact"
    """What it computes in; exact is float32. int8 is refused where it changes what comes next, and auto takes it
    where the processor has it and it does not."""
    codes: str | None = None
    """Which codes to choose among, as "travel,banking"; all that the model knows by default."""
    prior: str = "uniform"
    """How likely each code is before the text is read: uniform, published (the shares of the released codes), or
    "travel=3,banking=1"."""
    weighing: Literal["sum", "mean"] = "sum"
    """sum counts every token, and is sure of a long text; mean counts a text as if it had one token."""
    top: Annotated[int, Parameter(alias="-k")] = 10
    """Codes to show, best first; 0 for all."""
    format: Literal["table", "json"] | None = None
    """A table with bars for people; in a pipe one JSON object a text."""


def run(*texts: str, options: AttributeSettings = AttributeSettings()) -> None:
    """Tell which control code a text looks like, and how surely: CTRL's source attribution.

    TEXTS are judged one by one. sijo classify --model M does the same for a whole file.

        sijo attribute --model runs/ctrl/model "I would like a room with a view of the sea"

        sijo attribute --model runs/ctrl/model --codes travel,banking --prior travel=1,banking=9 "book a flight"
    """
    if options.model is None:
        raise SettingError("--model is needed: a folder or org/name that writes under control codes")
    if options.top < 0:
        raise SettingError(f"--top {options.top} shows no code; give how many, or 0 for all")
    if not texts:
        raise SettingError('there is no text: sijo attribute --model M "a text"')
    from sijo.generation.attribute import Attributor

    codes = None if options.codes is None else [name.strip() for name in options.codes.split(",") if name.strip()]
    attributor = call_with(Attributor, options, codes=codes, prior=prior(options.prior))
    for text, result in zip(texts, attributor.attribute(texts), strict=True):
        best = list(zip(result.codes, result.posteriors, result.perplexities, strict=True))[: options.top or None]
        if wants_json(options.format):
            rows = [
                {"code": code, "posterior": posterior, "perplexity": value if math.isfinite(value) else None}
                for code, posterior, value in best
            ]
            print_json({"text": text, "tokens": result.tokens, "codes": rows})
        else:
            cells = [
                (code, f"{posterior:.4f}", "█" * round(BAR * posterior), f"{perplexity:,.1f}")
                for code, posterior, perplexity in best
            ]
            print_table(("code", "posterior", "", "perplexity"), cells, title=text[:70])


def prior(words: str) -> str | dict[str, float]:
    """The name of a prior, or one that is written out.

    >>> prior("uniform"), prior("travel=3, banking=1")
    ('uniform', {'travel': 3.0, 'banking': 1.0})
    """
    if "=" not in words:
        return words
    try:
        return {
            name.strip(): float(share)
            for name, _, share in (part.rpartition("=") for part in words.split(",") if part.strip())
        }
    except ValueError:
        raise SettingError(f'--prior {words!r} is no prior; write it as "travel=3,banking=1"') from None
