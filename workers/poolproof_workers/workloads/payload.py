"""Large arguments and results: text of any size, and what tells that it arrived."""

from __future__ import annotations

import string
import zlib
from functools import lru_cache
from typing import Final

from poolproof_workers.contract import Stamped, fold

_PATTERN: Final = string.ascii_letters + string.digits + "-"


def exchange(number: int, received: str, size: int) -> Stamped:
    """Take a text in, and return another of `size` characters, stamped with the marks of both."""
    returned = text(size)
    return Stamped.of(returned, fold(number, _both(mark(received), mark(returned))))


def exchanged(in_bytes: int, out_bytes: int) -> int:
    """Return the marks that `exchange` stamps with when nothing is lost on the way."""
    return _both(_mark_of(in_bytes), _mark_of(out_bytes))


def text(size: int) -> str:
    """Return `size` characters, one byte each, that JSON leaves as they are."""
    return (_PATTERN * (size // len(_PATTERN) + 1))[:size]


def mark(content: str) -> int:
    """Return 32 bits that tell length and content."""
    return zlib.crc32(content.encode(), len(content) & 0xFFFF_FFFF)


@lru_cache(maxsize=16)
def _mark_of(size: int) -> int:
    return mark(text(size))


def _both(received: int, returned: int) -> int:
    return received << 31 ^ returned
