"""Units: amounts as people write them."""

import re

from headstart.errors import UsageError

SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
MILLISECONDS = {"": 1.0, "ms": 1.0, "s": 1000.0}
COUNTS = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9, "G": 1e9}


def milliseconds(text: str) -> float:
    """Read a short duration.

    >>> milliseconds("20ms"), milliseconds("0.5s")
    (20.0, 500.0)
    """
    return amount(text, "time", MILLISECONDS, "20ms")


def count(given: float | str) -> float:
    """Read a number of things, if it is not a number already.

    >>> count("10M"), count("250000"), count(3)
    (10000000.0, 250000.0, 3)
    >>> count("ten")
    Traceback (most recent call last):
    headstart.errors.UsageError: 'ten' is no amount.
    Expected a number with one of k, K, M, B, G, for example 10M.
    """
    return amount(given, "amount", COUNTS, "10M") if isinstance(given, str) else given


def amount(text: str, what: str, units: dict[str, float], example: str) -> float:
    """Read a number with one of the units.

    >>> amount("1.5 h", "time", SECONDS, "10m")
    5400.0
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text.strip())
    if found is None or found[2] not in units:
        raise UsageError(
            f"{text!r} is no {what}.\nExpected a number with one of "
            f"{', '.join(unit for unit in units if unit)}, for example {example}."
        )
    return float(found[1]) * units[found[2]]


def plural(n: int, thing: str) -> str:
    """Say how many of a thing.

    >>> plural(1, "seed"), plural(5, "seed")
    ('1 seed', '5 seeds')
    """
    return f"{n:,} {thing}" + ("" if n == 1 else "s")
