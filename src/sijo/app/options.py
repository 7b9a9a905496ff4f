"""Options of a command, handed on to what the library calls by the same names."""

from collections.abc import Callable
from inspect import signature
from typing import Any, TypeVar

Result = TypeVar("Result")


def call_with(target: Callable[..., Result], options: object, **others: Any) -> Result:
    """Call a function or a class of the library with each option that has a parameter's name, and with the others.

    An option that the library knows by another name, or in another form, stands among the others.
    """
    names = signature(target).parameters.keys() & vars(options).keys()
    return target(**{name: getattr(options, name) for name in names} | others)
