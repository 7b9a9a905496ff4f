"""How the `tokenizers` library fails: with plain `Exception`, and in a panic with what is not even one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sijo.errors import CheckpointError, RefusedError, SijoError
from sijo.files.paths import FolderFile
from sijo.tokenizers.bounds import BeyondBoundsError


def panicked(error: BaseException) -> bool:
    """Whether this is a panic of native code, whose class derives from BaseException and cannot be imported."""
    return type(error).__name__ == "PanicException"


@contextmanager
def intact(file: Path | FolderFile) -> Iterator[None]:
    """Whatever a damaged file leads to is one sentence about that file; an error of the system stays what it is."""
    try:
        yield
    except (SijoError, OSError, MemoryError):
        raise
    except BeyondBoundsError as error:
        raise RefusedError(f"{file} {error}; choose another model") from None
    except BaseException as error:
        if not isinstance(error, Exception) and not panicked(error):
            raise
        raise CheckpointError(f"{file} is not whole: {error or type(error).__name__}. Copy it again.") from None


@contextmanager
def cutting() -> Iterator[None]:
    """What the library cannot do with a text, by the tokenizer's fault, is one sentence about the tokenizer."""
    try:
        yield
    except BaseException as error:
        if type(error) is not Exception and not panicked(error):
            raise
        raise CheckpointError(
            f"this tokenizer fails at the text it is given: {error}. Copy it again, or choose another model"
        ) from None
