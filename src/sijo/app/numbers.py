"""Numbers as people read them: counts, shares, sizes and lengths of time in few signs."""

import math


def three_digits(value: float) -> str:
    """Three significant digits."""
    return f"{value:.3g}"


def signed(value: float) -> str:
    """One digit behind the point and always a sign, a minus where it is one.

    >>> signed(2.13), signed(-0.4)
    ('+2.1', '−0.4')
    """
    return f"{value:+.1f}".replace("-", "−")


def whole(value: float) -> str:
    """No fraction, and commas between thousands."""
    return f"{value:,.0f}"


def percent(share: float) -> str:
    """A share in hundredths."""
    return f"{100 * share:.3g} %"


def short_count(count: float) -> str:
    """A count in few signs.

    >>> short_count(64_000), short_count(999_999), short_count(13_548_000), short_count(109_514_298)
    ('64,000', '1.00 M', '13.5 M', '110 M')
    """
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if count >= 0.9995 * size:
            return f"{f'{count / size:#.3g}'.removesuffix('.')} {letter}"
    return whole(count)


def file_size(size: int | None) -> str:
    """A number of bytes in few signs, "?" where it is not known.

    >>> file_size(999), file_size(90_868_376), file_size(None)
    ('999 B', '90.9 MB', '?')
    """
    if size is None:
        return "?"
    if size < 1000:
        return f"{size} B"
    power = min(int(math.log10(size / 0.9995)) // 3, 4)
    return f"{size / 1000**power:.3g} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"


def duration(seconds: float) -> str:
    """A length of time as people say it.

    >>> duration(700), duration(86_400 * 800)
    ('12 minutes', '2.2 years')
    """
    for unit, length in (("years", 365 * 86_400), ("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 1.5 * length:
            count = seconds / length
            return f"{count:,.0f} {unit}" if count >= 10 else f"{count:.1f} {unit}"
    return f"{seconds:.0f} seconds"


def clock(seconds: float) -> str:
    """A length of time as a clock shows it.

    >>> clock(59.6), clock(3_675)
    ('1:00', '1:01:15')
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


def rows_in_words(rows: int) -> str:
    """How many rows, for people.

    >>> rows_in_words(1), rows_in_words(2_048)
    ('1 row', '2,048 rows')
    """
    return "1 row" if rows == 1 else f"{rows:,} rows"


def speed_in_words(rows: int, seconds: float) -> str:
    """How many rows a second, for people.

    >>> speed_in_words(4_500, 3), speed_in_words(1, 20)
    ('1,500 rows/s', '0.05 rows/s')
    """
    rate = rows / max(seconds, 1e-9)
    return f"{rate:,.0f} rows/s" if rate >= 1 or not rows else f"{rate:.1g} rows/s"
