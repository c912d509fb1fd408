"""Times, sizes and counts as people write them: 50ms, 10MB, 5."""

from __future__ import annotations

import math
import re
from typing import Final

from poolproof_workers.errors import UsageError

MAX_SECONDS: Final = 3_600.0
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s)", re.ASCII)
_SIZE: Final = re.compile(r"(\d{1,12})(B|KB|MB|GB)", re.ASCII)
_UNITS: Final = {"GB": 10**9, "MB": 10**6, "KB": 10**3, "B": 1}


def duration(text: str, of: str) -> float:
    """Read a time in seconds. `of` is what it belongs to, for the message. Raises UsageError."""
    found = _DURATION.fullmatch(text)
    seconds = math.nan
    if found:
        seconds = float(found[1]) / (1_000 if found[2] == "ms" else 1)
    if not 0 < seconds <= MAX_SECONDS:
        raise UsageError(f"{of!r} lacks a time above 0 and up to an hour. Write it as 50ms or 2s.")
    return seconds


def duration_text(seconds: float) -> str:
    """Return a time as `duration` reads it, in milliseconds below one second."""
    return f"{seconds * 1_000:.12g}ms" if seconds < 1 else f"{seconds:.12g}s"


def size(text: str, of: str, most: int) -> int:
    """Read a number of bytes from 1 to `most`; 1 KB is 1,000 of them. Raises UsageError."""
    found = _SIZE.fullmatch(text)
    count = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 1 <= count <= most:
        raise UsageError(
            f"{of!r} lacks a size from 1B to {size_text(most)}. Write it as 100B, 20KB or 1MB."
        )
    return count


def size_text(count: int) -> str:
    """Return a number of bytes as `size` reads it."""
    unit = next(name for name, each in _UNITS.items() if count % each == 0)
    return f"{count // _UNITS[unit]}{unit}"


def whole(text: str, of: str, least: int, most: int, what: str = "number") -> int:
    """Read a whole number. `what` it is stands in the message. Raises UsageError."""
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= 12 else least - 1
    if not least <= number <= most:
        raise UsageError(f"{of!r} lacks a {what}: a whole one from {least} to {most}.")
    return number
