"""Memory that a task takes, touches and holds for a while."""

from __future__ import annotations

import time
from typing import Final

from poolproof_workers.contract import fold

#: No page of any machine is smaller.
_PAGE_BYTES: Final = 4_096
_TOUCHED: Final = 0xA5


def hold(number: int, size: int, seconds: float) -> int:
    """Hold `size` bytes for some time; return how many of their pages kept what was written."""
    memory = bytearray(size)
    # Fresh memory is one page of zeroes for all until something is written to it.
    memory[::_PAGE_BYTES] = bytes((_TOUCHED,)) * pages(size)
    time.sleep(seconds)
    return fold(number, memory[::_PAGE_BYTES].count(_TOUCHED))


def pages(size: int) -> int:
    """Return how many pages so many bytes begin."""
    return -(-size // _PAGE_BYTES)
