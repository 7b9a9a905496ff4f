"""`sijo attribute`: a text in, the control codes it looks like out."""

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from sijo.errors import SettingError

if TYPE_CHECKING:
    from sijo.generation.attribute import Attribution

BAR = 30
"""Columns of a bar that means certainty."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class AttributeSettings:
    """Who judges, among which codes."""

    model: str | None = None
    """A folder or org/name with a head that writes (lm), trained with control codes."""
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


def run(texts: tuple[str, ...], given: AttributeSettings) -> None:
    """Read the texts, and print what the codes say of each."""
    if given.model is None:
        raise SettingError("--model is needed: a folder or org/name that writes under control codes")
    if not texts:
        raise SettingError('there is no text: sijo attribute --model M "a text"')
    from sijo.generation.attribute import Attributor

    codes = None if given.codes is None else [name.strip() for name in given.codes.split(",") if name.strip()]
    asked = Attributor(given.model, codes, prior=prior(given.prior), weighing=given.weighing)  # type: ignore[arg-type]
    found = asked.attribute(texts)
    if given.format == "json" or (given.format is None and not sys.stdout.isatty()):
        for text, row in zip(texts, found, strict=True):
            rows = [
                {"code": code, "posterior": posterior, "perplexity": perplexity}
                for code, posterior, perplexity in shown(row, given.top)
            ]
            print(json.dumps({"text": text, "tokens": row.tokens, "codes": rows}, ensure_ascii=False))  # noqa: T201
        return
    from rich.console import Console
    from rich.table import Table

    for text, row in zip(texts, found, strict=True):
        table = Table("code", "posterior", "", "perplexity", title=text[:70], title_justify="left")
        for code, posterior, perplexity in shown(row, given.top):
            table.add_row(code, f"{posterior:.4f}", "█" * round(BAR * posterior), f"{perplexity:,.1f}")
        Console().print(table)


def shown(row: "Attribution", top: int) -> list[tuple[str, float, float]]:
    """Code, posterior and perplexity of the best."""
    every = list(zip(row.codes, row.posteriors, row.perplexities, strict=True))
    return every[:top] if top else every


def prior(given: str) -> str | dict[str, float]:
    """The name of a prior, or one that is written out.

    >>> prior("uniform"), prior("travel=3, banking=1")
    ('uniform', {'travel': 3.0, 'banking': 1.0})
    """
    if "=" not in given:
        return given
    try:
        return {
            name.strip(): float(share)
            for name, _, share in (part.rpartition("=") for part in given.split(",") if part.strip())
        }
    except ValueError:
        raise SettingError(f'--prior {given!r} is no prior; write it as "travel=3,banking=1"') from None
