"""When two labels are one: names that differ only in case or blanks."""


def folded(name: str) -> str:
    """What two names share that differ only in case or blanks.

    >>> folded("Tax  law") == folded("tax law")
    True
    """
    return " ".join(name.casefold().split())
