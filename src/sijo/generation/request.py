"""What is to be generated, and what comes back: token by token, or the whole text."""

from dataclasses import dataclass, field

from sijo.errors import SettingError
from sijo.generation.rules import Sampling


@dataclass(frozen=True, kw_only=True)
class Request:
    """A text to be generated."""

    prompt: str = ""
    """How it begins."""
    control_code: str | None = None
    """What kind of text it is to be, such as "Reviews" or "Reviews Rating: 5.0"; None for no code."""
    other_code: str | None = None
    """A second code, to be mixed with the first, or for guidance to lead away from; None there for no code."""
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
    """Words that are not written, in this spelling."""
    seed: int = 0
    """Seed of its random draws, which depend on no other text."""
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
    """A token that was generated."""

    row: int
    """Of which request."""
    id: int
    """Its number."""
    logprob: float
    """Its log-probability under the blend of the prefixes, before temperature, penalty and cuts."""
    text: str
    """The text that has become final with it; some of its own may wait for the next token."""
    last: bool
    """Whether the text ends here."""
    stopped: bool = False
    """Whether a stop string ended it; else, it reached its length."""


@dataclass(frozen=True)
class GeneratedText:
    """A text that was generated."""

    text: str
    """What follows the prompt."""
    ids: tuple[int, ...]
    """Its tokens, with those of a stop string."""
    logprobs: tuple[float, ...]
    """As for `Token`."""
    stopped: bool
    """Whether a stop string ended it; else it reached its length."""
