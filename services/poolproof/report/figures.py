"""Numbers, written out for people."""

from __future__ import annotations

from typing import Final

from poolproof.judge import warnings

#: What stands where nothing is known or nothing applies.
NOTHING: Final = "-"
_BAR_CELLS: Final = 18
#: From here on a time in ms would need four digits.
_SECOND: Final = 0.9995
_EIGHTHS: Final = " ▏▎▍▌▋▊▉"


def rate(per_s: float) -> str:
    """Write a rate with three digits or more."""
    return f"{per_s:,.{0 if per_s >= 100 else 1 if per_s >= 10 else 2}f}"


def count(number: int) -> str:
    """Write a whole number."""
    return f"{number:,}"


def size(number: float | None) -> str:
    """Write a number of bytes."""
    if number is None:
        return NOTHING
    megabytes = number / 1e6
    return f"{megabytes:,.0f} MB" if megabytes >= 10 or not number else f"{megabytes:.2g} MB"


def seconds(number: float | None) -> str:
    """Write a time, with the unit that suits it."""
    if number is None:
        return NOTHING
    if number >= _SECOND:
        return f"{number:.1f} s" if number < 100 else f"{number:,.0f} s"
    if number >= 0.001 or number == 0:
        return f"{number * 1e3:.3g} ms"
    return f"{number * 1e6:.0f} µs"


def switches(number: float | None) -> str:
    """Write how often something happens a task."""
    return NOTHING if number is None else f"{number:.1f}" if number < 100 else f"{number:,.0f}"


def percent(share: float | None) -> str:
    """Write a share of 1; what is small and yet not nothing is not written as nothing."""
    if share is None:
        return NOTHING
    return "< 1 %" if 0 < share < 0.005 else warnings.percent(share)


def bar(share: float) -> str:
    """Draw a share of 1 as a bar."""
    whole, part = divmod(round(share * _BAR_CELLS * 8), 8)
    return ("█" * whole + _EIGHTHS[part]).rstrip()
