"""The labels of rows: which there are, in which spelling, and whether they can be learned and measured.

What is wrong with them is told by a row, before any model is moved.
"""

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sijo.data.labelled_rows import LabelledRow, Task
from sijo.errors import TextError, nearest, warn
from sijo.names import apart, by_number, cautions, folded, like_missing

NAMED: tuple[Task, ...] = ("classification", "multi-label", "tagging")
"""Tasks whose labels are names."""


def names_of(rows: Sequence[LabelledRow], task: Task) -> tuple[str, ...]:
    """Every label that occurs, in the order of numbers or letters; ("score",) for a number, none for the rest.

    >>> names_of([LabelledRow("1", label="10"), LabelledRow("2", label="9")], "classification")
    ('9', '10')
    """
    if task == "regression":
        return ("score",)
    if task in ("question-answering", "multiple-choice"):
        return ()
    names = {name for row in rows for name in _names(row, task)}
    are_numbers = all(name.removeprefix("-").isdecimal() for name in names)
    return tuple(sorted(names, key=int if are_numbers else None))


def _names(row: LabelledRow, task: Task) -> tuple[str, ...]:
    return (row.label,) if task == "classification" else tuple(row.label)


def check_labels(
    train: Sequence[LabelledRow],
    evaluation: Sequence[LabelledRow],
    task: Task,
    *,
    allow_rare: bool = False,
) -> None:
    """Refuse labels that cannot be learned or measured; warn of what can only be measured poorly.

    allow_rare  whether a class may have one row
    """
    names = names_of(train, task)
    if task in ("classification", "tagging") and len(names) < 2:
        raise TextError(
            f"the training rows have {len(names)} label{'s' * (len(names) != 1)} ({', '.join(names)}), so there is "
            "nothing to tell apart; give rows of two or more, or another columns.label"
        )
    if task == "multi-label" and not names:
        raise TextError("no training row has a label; give another columns.label")
    if task not in NAMED:
        return
    if task == "classification":
        for caution in cautions(names, "rows with several labels are learned by --task multi-label"):
            warn(caution)
    elif task == "multi-label":  # `read_rows` tells of several in one, cell by cell
        for caution in cautions(like_missing(names), ""):
            warn(caution)
    known = set(names)
    if unknown := [(row, name) for row in evaluation for name in _names(row, task) if name not in known]:
        row, name = unknown[0]
        close = difflib.get_close_matches(name, names, n=1, cutoff=0.0)
        hint = nearest(name, names) or (f"; the nearest is {close[0]!r}" if close else "")
        raise TextError(
            f"{row.where}: the label {name!r} is in no training row{hint}. Mend it, add rows of that label to the "
            "training file, or leave them out of the evaluation"
        )
    if task == "tagging":
        return
    if (rare := _labels_of_one_row(train, task)) and not allow_rare:
        raise TextError(
            f"one row alone has the label {rare}, from which nothing general can be learned; add rows, put it "
            "together with another label, leave it out, or allow it by allow_rare=true"
        )
    if rare := _labels_of_one_row(evaluation, task):
        warn(f"one evaluation row alone has the label {rare}: what is measured of it says little")


def numbers_alike(rows: Sequence[LabelledRow], task: Task) -> list[LabelledRow]:
    """The rows, with labels that are all whole numbers written without zeros behind them: 1.0 as 1.

    >>> [row.label for row in numbers_alike([LabelledRow("1", label="0.0"), LabelledRow("2", label="1")],
    ... "classification")]
    ['0', '1']
    """
    if task not in NAMED or not (numbers := by_number({name for row in rows for name in _names(row, task)})):
        return list(rows)
    return [_renamed(row, task, numbers) for row in rows]


def _renamed(row: LabelledRow, task: Task, names: Mapping[str, str]) -> LabelledRow:
    """A row with its labels under other names."""
    renamed = tuple(names[name] for name in _names(row, task))
    return replace(row, label=renamed[0] if task == "classification" else renamed)


def spelled_alike(train: Sequence[LabelledRow], evaluation: Sequence[LabelledRow], task: Task) -> list[LabelledRow]:
    """The evaluation rows, with each label as the training rows spell it.

    Warns, once a label, where that is another spelling. Raises TextError where the training rows have two spellings
    of one label, naming both and a row of each.

    >>> spelled_alike([LabelledRow("1", label="Sea")], [LabelledRow("2", label="Sea")], "classification")[0].label
    'Sea'
    """
    if task not in NAMED:
        return list(evaluation)
    first: dict[str, tuple[str, str]] = {}  # of each label its spelling, and where that was met
    spelling: dict[str, str] = {}
    for row in train:
        for name in _names(row, task):
            if name in spelling:
                continue
            spelling[name], where = first.setdefault(folded(name), (name, row.where))
            if spelling[name] != name:
                one, other = apart(name, spelling[name])
                raise TextError(
                    f"{row.where}: the label {one} is the label {other} of {where}, spelled otherwise; spell it "
                    "alike in all rows, or give two labels two names"
                )
    rows = []
    for row in evaluation:
        for name in _names(row, task):
            if name not in spelling:
                spelling[name], _ = first.setdefault(folded(name), (name, row.where))
                if spelling[name] != name:
                    one, other = apart(name, spelling[name])
                    warn(f"{row.where}: the label {one} is read as {other}, as an earlier row spells it")
        rows.append(_renamed(row, task, spelling))
    return rows


def _labels_of_one_row(rows: Sequence[LabelledRow], task: Task) -> str:
    """The labels that occur once, as a sentence lists them; "" for none."""
    counts = Counter(name for row in rows for name in _names(row, task))
    names = sorted(name for name, count in counts.items() if count == 1)
    return ", ".join([*map(repr, names[:4]), *["…"] * (len(names) > 4)])
