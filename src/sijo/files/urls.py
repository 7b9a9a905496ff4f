"""Files elsewhere: what fsspec reaches by a URL, such as s3://bucket/mail/*.csv.

What opens such a URL, and with whose key, is up to fsspec and what is set for it; none of that is kept or told. A
URL is told without what may be a key in it: a user, a password, a query.
"""

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from sijo.errors import SettingError, SijoError, not_installed

Result = TypeVar("Result")
URL = re.compile(r"[a-z][a-z0-9+.\-]*(?:::|://)")
KEYS = re.compile(r"(?<=://)[^/@]*@|[?#].*$")
"""Of a URL: who asks, and what may be a signature."""
TRIES, SECONDS = 3, 1.0
"""How often something elsewhere is tried, and the first wait between, which doubles."""
FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
"""What another try would not mend."""


def is_url(word: str) -> bool:
    """Whether a word names something elsewhere, not a file of that name.

    >>> is_url("s3://bucket/a.csv"), is_url("a.csv"), is_url("C:/a.csv")
    (True, False, False)
    """
    return URL.match(word) is not None and not os.path.lexists(word)


def shown(word: str) -> str:
    """A path or URL as it may be told and kept.

    >>> shown("https://me:secret@host/a.csv?signature=77"), shown("what?.csv")
    ('https://host/a.csv', 'what?.csv')
    """
    return KEYS.sub("", word) if is_url(word) else word


def file_system(url: str) -> tuple[Any, str]:
    """What reaches a URL, and the path it has there.

    Raises SettingError where nothing installed does.
    """
    try:
        from fsspec.core import url_to_fs
    except ModuleNotFoundError as error:
        raise not_installed(error) or error from None
    try:
        system, path = url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise SettingError(f"{shown(url)} cannot be reached: {error}") from None
    return system, str(path)


def patiently(work: Callable[[], Result], name: str) -> Result:
    """What comes of some work elsewhere, tried again where it failed. Raises OSError when it goes on to fail."""
    for attempt in range(TRIES):
        try:
            return work()
        except SijoError:
            raise
        except Exception as error:  # each library raises its own
            if isinstance(error, FINAL) or attempt == TRIES - 1:
                about = getattr(error, "strerror", None) or str(error) or type(error).__name__
                about = about.replace(name, shown(name))
                raise type(error if isinstance(error, FINAL) else OSError())(
                    getattr(error, "errno", None) or 5, about, shown(name)
                ) from None
            time.sleep(SECONDS * 2**attempt)
    raise AssertionError


def matching_urls(url: str) -> list[str]:
    """The URLs that a pattern fits, sorted; one without a pattern as it is. SettingError where none does."""
    if not any(mark in url.partition("?")[0] for mark in "*[") and "?" not in PurePosixPath(url).name:
        return [url]
    if url.startswith(("http:", "https:")):
        return [url]  # whose ? begins a query, and whose folders cannot be listed
    system, path = file_system(url)
    found = patiently(lambda: sorted(system.glob(path)), url)
    files = [name for name in found if not system.isdir(name)]
    if not files:
        raise SettingError(f"no file fits the pattern {shown(url)!r}")
    return [str(system.unstrip_protocol(name)) for name in files]


def stamp(name: str) -> str:
    """What changes when a file does, as far as its system tells without reading it."""
    if not is_url(name):
        about = Path(name).stat()
        return f"{about.st_size}-{about.st_mtime_ns}"
    system, path = file_system(name)
    return patiently(lambda: f"{system.size(path)}-{system.ukey(path)}", name)


@contextmanager
def fetched(name: str) -> Iterator[Path]:
    """A file of this machine with the content of what is named: itself, or a copy for as long as the block lasts.

    The copy has the name's own ending, and only this user may read it.
    """
    if not is_url(name) or name.startswith("file://"):
        yield Path(file_system(name)[1] if is_url(name) else name)
        return
    with TemporaryDirectory(prefix="sijo-") as folder:
        yield fetch(name, Path(folder))


def fetch(url: str, folder: Path) -> Path:
    """Copy what a URL names into a folder. Raises OSError where it cannot be reached."""
    system, path = file_system(url)
    copy = folder / (PurePosixPath(shown(url)).name or "file")
    patiently(lambda: system.get_file(path, str(copy)), url)
    return copy
