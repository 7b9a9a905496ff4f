"""What can go wrong, one class for each kind of remedy.

Each error is one sentence for a person: what was given, why it cannot be, what would do. The
command line prints that sentence and leaves with the class's `exit_code`. `assert` stays for
what sijo promises itself.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class SijoError(Exception):
    """Anything sijo refuses or fails at, told in one sentence."""

    exit_code = 1


class SettingError(SijoError, ValueError):
    """Change a setting, an argument or a path."""

    exit_code = 2


class TextError(SijoError, ValueError):
    """Mend the text or the file that holds it."""

    exit_code = 3


class RefusedError(SijoError):
    """Choose another model, or convert this one: it is unsafe to open or of a kind sijo lacks."""

    exit_code = 4


class CheckpointError(SijoError):
    """Copy or download the checkpoint again: it is incomplete or damaged."""

    exit_code = 5


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a name that is not known: the nearest one that is, or nothing.

    >>> nearest("txet", ["text", "domain"])
    "; did you mean 'text'?"
    >>> nearest("zzz", ["text", "domain"])
    ''
    """
    by_folded = {word.casefold(): word for word in known}
    close = get_close_matches(name.casefold(), by_folded, n=1)
    return f"; did you mean {by_folded[close[0]]!r}?" if close else ""
