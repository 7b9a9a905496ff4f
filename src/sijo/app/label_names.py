"""Names of labels as a person gives them: by an option, by a file, or in cells; and in which form."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from sijo.errors import SettingError, warn
from sijo.names import composed, in_other_form
from sijo.texts import shortened

if TYPE_CHECKING:
    from sijo.zeroshot.labels import LabelSet


def named_labels(
    labels: str | None, file: Path | None, separator: str | None, say: Callable[[str], None]
) -> "LabelSet | None":
    """What --labels or --labels-file says; None where neither is given.

    say  tells a person of names in another Unicode form

    Raises SettingError for both, for a name of a file in place of its labels, and for a mark with nothing behind
    it; warns of a file's name among several labels.

    >>> named_labels("sea, land", None, None, print).names
    ('sea', 'land')
    """
    from sijo.zeroshot.label_files import FORMATS, read_label_file
    from sijo.zeroshot.labels import LabelSet

    if labels is not None and file is not None:
        raise SettingError("--labels and --labels-file both say what to choose from; pass one of them")
    if file is not None:
        read = read_label_file(file)
        tell_form((name for name, _ in read.entries), str(file), say)
        read.warn_of_comments()
        return read.label_set()
    if labels is None:
        return None
    line = labels.strip()
    if separator is None and line and line[-1] in ",;" and line.strip(",; "):
        raise SettingError(
            f"--labels {labels!r} ends in {line[-1]!r}, and no label stands behind it; leave it out, or add the "
            "label that is missing"
        )
    tell_form([labels], "--labels", say)
    given = LabelSet.parse(labels, separator)
    files = [name for name in given.names if name.lower().endswith(FORMATS)]
    if files and len(given.names) == 1:
        raise SettingError(f"--labels {labels!r} is the name of a file; did you mean --labels-file {files[0]}?")
    if files:
        warn(f"--labels holds {files[0]!r}, which is read as a label; --labels-file reads the labels of a file")
    return given


def tell_form(names: Iterable[object], where: str, say: Callable[[str], None]) -> None:
    """Say once of names that some are in another form than NFC, which the table's own columns keep.

    >>> tell_form(["e\\u0301", "a"], "--labels", print)
    --labels: 'é' is in another Unicode form than NFC, as a Mac may write it; labels are told and saved in NFC
    """
    if (name := in_other_form(names)) is not None:
        shown = composed(shortened(name))
        say(
            f"{where}: {shown!r} is in another Unicode form than NFC, as a Mac may write it; labels are told and "
            "saved in NFC"
        )
