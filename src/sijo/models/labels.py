"""The names of a classification head's columns, out of the fields of a config.json that tell them.

`id2label` and `label2id` say the same twice, and `num_labels` how many there are. Programs disagree about which of
them they read, so where they contradict each other nobody can know what a column means.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from sijo.errors import RefusedError, SettingError
from sijo.texts import half_character, names_in

FINE_TUNED = "sijo_fine_tuned"
"""The field that tells how a head was fine-tuned, which other programs leave unread: `prediction/task.py`."""
LabelName = str | int | float | bool
"""As JSON has it; a number is taken as it is written."""
MOST_SHOWN = 6
"""Columns of a reading that an error shows, and characters of a name ten times as many."""
WAY = "mend config.json, so that both name each column 0, 1, 2, … once, and alike"


def column_names(
    id2label: Mapping[str, LabelName] | None, label2id: Mapping[str, int | str] | None, num_labels: int | None
) -> tuple[str, ...]:
    """The names of the columns, in order, by what a config says of them.

    id2label    a name for each number
    label2id    a number for each name; read where `id2label` is absent or empty, and held against it where not
    num_labels  how many there are; 2 where nothing says so, as in transformers

    A `label2id` of LABEL_0, LABEL_1, … alone says nothing, and is left unread beside an `id2label`: transformers
    leaves it there where only the latter was set.

    Raises RefusedError, with both readings, where two of them contradict each other; and for columns that are left
    out or named twice, and a name that two columns have.

    >>> column_names({"0": "no", "1": "yes"}, {"no": 0, "yes": 1}, None)
    ('no', 'yes')
    >>> column_names({"0": "no", "1": "yes"}, {"no": 1, "yes": 0}, None)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    sijo.errors.RefusedError: the config's id2label says 0: 'no', 1: 'yes' and its label2id 0: 'yes', 1: 'no'...
    """
    by_number = [(number, _written(name)) for number, name in (id2label or {}).items()]
    by_name = [(number, name) for name, number in (label2id or {}).items()]
    readings = {
        field: _in_order(field, pairs)
        for field, pairs in (("id2label", by_number), ("label2id", by_name))
        if pairs and not (field == "label2id" and by_number and _says_nothing(pairs))
    }
    if len(set(readings.values())) > 1:
        one, other = (_shown(enumerate(names)) for names in readings.values())
        raise RefusedError(f"the config's id2label says {one} and its label2id {other}; {WAY}")
    for field, names in readings.items():
        if num_labels not in (None, len(names)):
            raise RefusedError(
                f"the config's num_labels is {num_labels} and its {field} names {len(names)} columns "
                f"({_shown(enumerate(names))}); take num_labels out of config.json, or mend the names"
            )
        return names
    return _default(num_labels or 2)


def with_labels(fields: Mapping[str, object], labels: Sequence[str]) -> dict[str, object]:
    """The fields of a config.json that gives a classification head columns of these names, and no others.

    >>> with_labels({"num_labels": 3}, ["no", "yes"])
    {'id2label': {'0': 'no', '1': 'yes'}, 'label2id': {'no': 0, 'yes': 1}}
    """
    names = [] if isinstance(labels, str) else list(names_in(labels, "labels", "label"))
    if not names:
        raise SettingError(f"labels={labels!r} must be a list of names, at least one")
    return {name: value for name, value in fields.items() if name != "num_labels"} | {
        "id2label": {str(i): name for i, name in enumerate(names)},
        "label2id": {name: i for i, name in enumerate(names)},
    }


def _default(count: int) -> tuple[str, ...]:
    return tuple(f"LABEL_{i}" for i in range(count))


def _written(name: LabelName) -> str:
    return name if isinstance(name, str) else json.dumps(name)


def _number(number: int | str) -> int:
    """A column's number; -1 for what is none."""
    if isinstance(number, str):
        return int(number) if number.isascii() and number.isdigit() and len(number) < 10 else -1
    return number


def _says_nothing(pairs: Iterable[tuple[int | str, str]]) -> bool:
    return all(name == f"LABEL_{_number(number)}" for number, name in pairs)


def _in_order(field: str, pairs: Sequence[tuple[int | str, str]]) -> tuple[str, ...]:
    """The names by their numbers; RefusedError unless these are 0, 1, 2, … and each name is there once."""
    ordered = sorted((_number(number), name) for number, name in pairs)
    names = tuple(name for _, name in ordered)
    fault = None
    if [number for number, _ in ordered] != list(range(len(ordered))):
        fault = "its numbers are not 0, 1, 2, …"
    elif len(set(names)) < len(names):
        name, _ = Counter(names).most_common(1)[0]
        fault = f"{name[:60]!r} is there twice"
    elif any(map(half_character, names)):
        fault = "half a surrogate is no text"
    if fault is not None:
        raise RefusedError(f"the config's {field} says {_shown(pairs)}, but {fault}; {WAY}")
    return names


def _shown(pairs: Iterable[tuple[int | str, str]]) -> str:
    listed = [f"{number}: {name[: 10 * MOST_SHOWN]!r}" for number, name in pairs]
    return ", ".join(listed[:MOST_SHOWN]) + (f", … ({len(listed)} in all)" if len(listed) > MOST_SHOWN else "")
