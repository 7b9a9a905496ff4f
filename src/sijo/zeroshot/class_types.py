"""Labels as scikit-learn has them: names everywhere here, and in y perhaps numbers, or true and false.

Its scorers compare answers with y, so that an estimator answers in the type of the labels that it was fitted to.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from sijo.names import by_number, composed, name_of
from sijo.texts import names_in, values_in

NAMES = np.dtype(str)


def label_names(y: Any) -> list[str]:
    """The name of each label in y: strings as they are, whole numbers, true and false.

    Raises SettingError for what is no column, TextError for a label that is missing or is none of these.

    >>> label_names([0, 10.0, True, "sea"])
    ['0', '10', 'True', 'sea']
    """
    values = (value.item() if isinstance(value, np.generic) else value for value in values_in(y, "y"))
    names = [value if isinstance(value, str) or name_of(value) is None else name_of(value) for value in values]
    return list(names_in(names, "y", "y: label"))


def label_dtype(y: Any) -> np.dtype[Any]:
    """The type of the labels in y, where all are numbers or all true or false; else that of names.

    >>> label_dtype([1, 2.0]), label_dtype([True, False]), label_dtype([1, "sea"]) == NAMES
    (dtype('float64'), dtype('bool'), True)
    """
    values = list(values_in(y, "y"))
    if not values or not all(isinstance(value, bool | int | float | np.bool_ | np.number) for value in values):
        return NAMES
    dtype: np.dtype[Any] = np.asarray(values).dtype
    return dtype


def other_forms(*given: object) -> dict[str, str]:
    """How names were given that are not in Unicode's form NFC, as labels are kept.

    given  labels and y, as people pass them; the last of those that have a name says its form, and NFC goes before

    >>> other_forms(["sea", "\u00e9"], ["e\u0301"]) == {"\u00e9": "e\u0301"}, other_forms(["\u00e9", "e\u0301"])
    (True, {})
    """
    forms: dict[str, str] = {}
    for values in given:
        names = {value for value in values if isinstance(value, str)} if isinstance(values, Iterable) else set()
        forms.update({composed(name): name for name in sorted(names, key=lambda name: composed(name) == name)})
    return {name: form for name, form in forms.items() if name != form}


def as_given(names: Sequence[str], dtype: np.dtype[Any], forms: Mapping[str, str] | None = None) -> np.ndarray:
    """Labels (L,) in the type of those in y, if that is a number or a bool and can say all of them; else str.

    forms  of `other_forms`, in which answers compare equal to what was given

    >>> as_given(("0", "10"), np.dtype(int)).tolist(), as_given(("0", "sea"), np.dtype(int)).tolist()
    ([0, 10], ['0', 'sea'])
    """
    if dtype.kind == "b" and {*names} <= {"False", "True"}:
        return np.array([name == "True" for name in names])
    if dtype.kind in "iuf" and by_number(names):
        numbers = np.array([int(name) for name in names])
        own: np.ndarray = numbers.astype(dtype)
        return own if (own == numbers).all() else numbers
    return np.array([(forms or {}).get(name, name) for name in names])
