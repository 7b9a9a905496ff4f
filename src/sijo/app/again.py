"""The command that goes on where this one was stopped."""

import shlex
from contextvars import ContextVar

GIVEN: ContextVar[tuple[str, ...]] = ContextVar("GIVEN", default=())
"""The words of the command at work, behind its name."""


def resuming() -> str:
    """The command at work once more, as a shell takes it, so that it goes on with what it has done.

    >>> token = GIVEN.set(("classify", "my news.csv", "--labels", "sea,land", "-o", "out.csv", "--overwrite"))
    >>> print(resuming())
    sijo classify 'my news.csv' --labels sea,land -o out.csv --resume
    >>> GIVEN.reset(token)
    >>> token = GIVEN.set(("encode", "a.csv", "--resume", "--overwrite=true", "-o", "b.csv"))
    >>> print(resuming())
    sijo encode a.csv -o b.csv --resume
    >>> GIVEN.reset(token)
    """
    words = [word for word in GIVEN.get() if word != "--resume" and word.partition("=")[0] != "--overwrite"]
    return shlex.join(["sijo", *words, "--resume"])
