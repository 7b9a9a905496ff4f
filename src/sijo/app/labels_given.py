"""The labels that a command was given, and words of its line that were meant for some."""

from collections.abc import Sequence
from glob import has_magic
from pathlib import Path

from sijo.errors import SettingError, warn
from sijo.zeroshot.label_files import FORMATS, read_labels
from sijo.zeroshot.labels import LabelSet

IN_ONE = 'labels go in one argument, with commas between, as in --labels "billing,shipping"'


def labels_given(labels: str | None, labels_file: Path | None, separator: str | None = None) -> LabelSet | None:
    """The labels of --labels or --labels-file; None where neither was given.

    Raises SettingError for both, for a name of a file in place of its labels, and for a mark with nothing behind
    it; warns of a file's name among several labels.

    >>> labels_given("sea, land", None).names
    ('sea', 'land')
    """
    if labels is not None and labels_file is not None:
        raise SettingError("--labels and --labels-file both say what to choose from; pass one of them")
    if labels_file is not None:
        return read_labels(labels_file)
    if labels is None:
        return None
    line = labels.strip()
    if separator is None and line and line[-1] in ",;" and line.strip(",; "):
        raise SettingError(
            f"--labels {labels!r} ends in {line[-1]!r}, and no label stands behind it; leave it out, or add the "
            "label that is missing"
        )
    given = LabelSet.parse(labels, separator)
    files = [name for name in given.names if name.lower().endswith(FORMATS)]
    if files and len(given.names) == 1:
        raise SettingError(f"--labels {labels!r} is the name of a file; did you mean --labels-file {files[0]}?")
    if files:
        warn(f"--labels holds {files[0]!r}, which is read as a label; --labels-file reads the labels of a file")
    return given


def check_sources(sources: Sequence[str], labels: str | None) -> None:
    """Raise SettingError for an input that is no file by its name or in fact, where it may be a label."""
    if labels is None:
        return
    from sijo.files.inputs.sources import readable
    from sijo.files.table_formats import SUFFIXES, ending
    from sijo.files.urls import is_url

    for source in sources:
        path = Path(source)
        if source == "-" or is_url(source) or has_magic(source) or path.exists() or ending(path)[0] in SUFFIXES:
            continue
        try:
            readable(path)
        except SettingError as error:
            raise SettingError(f"{error}. If it is a label, {IN_ONE}") from None
