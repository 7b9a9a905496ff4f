"""Calls of the Hub's library: what they raise as one sentence of ours, and no token in any.

The library reads HF_TOKEN, HF_HOME, HF_ENDPOINT and HF_HUB_OFFLINE from the environment itself, most of them once,
when it is imported. That is where a name of the Hub was given, and nowhere else.
"""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sijo.errors import SettingError, SijoError
from sijo.version import __version__

if TYPE_CHECKING:
    from huggingface_hub import HfApi

TOKEN = re.compile(r"\bhf_\w{6,}")
"""What a token of the Hub looks like."""
MOST_LINES = 4
"""Of an error of the library that are told."""


def api() -> "HfApi":
    """The Hub's library, by whose requests sijo can be known; SettingError where it is not installed."""
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise SettingError("models on the Hub need huggingface_hub: pip install 'sijo[hub]'") from None
    return HfApi(library_name="sijo", library_version=__version__)


def must_be_a_name(repo: str) -> None:
    """Raise SettingError for what is no org/name."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # public by its manual

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise SettingError(f"no model on the Hub can be called {repo!r}: {_words(str(error))}") from None
    if "/" not in repo:
        raise SettingError(f"{repo!r} names no owner on the Hub; give org/name")


@contextmanager
def hub_asked(what: str) -> Iterator[None]:
    """Within, what the Hub's library raises becomes one sentence.

    what  was to be done, as "org/name was not pushed"

    Raises SettingError for a name, a revision, a token or a card that the Hub does not take; SijoError where it did
    not answer. A disk that is full stays an OSError.
    """
    from huggingface_hub import constants, errors

    try:
        yield
    except SijoError:
        raise
    except errors.OfflineModeIsEnabled:
        raise SettingError(f"{what}: HF_HUB_OFFLINE forbids the network; unset it") from None
    except errors.GatedRepoError as error:
        raise SettingError(
            f"{what}: its owner asks who takes it; agree on its page as who the token belongs to ({_told(error)})"
        ) from None
    except errors.RevisionNotFoundError as error:
        raise SettingError(f"{what}: it has no such revision ({_told(error)})") from None
    except errors.RepositoryNotFoundError as error:
        raise SettingError(
            f"{what}: {constants.ENDPOINT} has none of that name that the token (HF_TOKEN) may see ({_told(error)})"
        ) from None
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", 0)
        if status in (401, 403):
            raise SettingError(
                f"{what}: the token (HF_TOKEN, or of hf auth login) may not do that ({_told(error)}); take one "
                "with write access to this name"
            ) from None
        again = "somebody else changed it meanwhile; do it again" if status in (409, 412) else "do it again later"
        raise SijoError(f"{what}: {constants.ENDPOINT} answered {_told(error)}; {again}") from None
    except (OSError, ValueError, RuntimeError) as error:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise
        if "README.md" in str(error) and isinstance(error, ValueError):
            raise SettingError(f"{what}: the Hub does not take its card: {_told(error)}; mend README.md") from None
        raise SijoError(f"{what}: {_told(error)}") from None
    except Exception as error:
        if not type(error).__module__.startswith(("httpx", "httpcore")):
            raise
        raise SijoError(
            f"{what}: {constants.ENDPOINT} was not reached, or not to the end ({_told(error)}); do it again, what "
            "came whole is kept"
        ) from None


def _told(error: Exception) -> str:
    """The words of an error and of what it came from."""
    words = [_words(str(each)) or type(each).__name__ for each in (error, error.__cause__) if each is not None]
    return ": ".join(words)


def _words(text: str) -> str:
    """The first lines as one, without a token."""
    from huggingface_hub import get_token

    lines = list(filter(None, (line.strip() for line in text.splitlines())))
    words = " ".join(lines[:MOST_LINES]).rstrip(".")
    if token := get_token():
        words = words.replace(token, "(the token)")
    return TOKEN.sub("(a token)", words)
