"""The tasks: one row each, and the square job with its cost."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from poolproof_workers.contract import fold
from poolproof_workers.workloads import answers, counter, hashing, http, memory, payload
from poolproof_workers.workloads.redis import trips_to

if TYPE_CHECKING:
    from collections.abc import Callable

    from poolproof_workers.settings import Settings

SQUARE: Final = answers.SQUARE


def square(n: int, sleep_s: float = 0.0, spins: int = 0) -> int:
    """Return n * n, after sleeping `sleep_s` and computing for `spins` turns of `spin`."""
    if sleep_s:
        time.sleep(sleep_s)
    if spins:
        spin(spins)
    return n * n


def spin(spins: int) -> int:
    """Compute in pure Python, never letting go of the interpreter by itself. Return the outcome."""
    x = 1
    for _ in range(spins):
        x = (x * 1_103_515_245 + 12_345) & 0x7FFF_FFFF
    return x


def hash_bytes(number: int, rounds: int) -> int:
    """Hash for some rounds; return what tells the number and every digest."""
    return fold(number, hashing.hash_rounds(rounds))


def compress_text(number: int, rounds: int) -> int:
    """Compress and decompress for some rounds; return what tells the number and what came out."""
    return fold(number, hashing.compress_rounds(rounds))


def functions(settings: Settings) -> dict[str, Callable[..., object]]:
    """Return task name -> function, as `make_app` registers them. `answers` says what is right."""
    return {
        SQUARE: square,
        answers.HASH: hash_bytes,
        answers.COMPRESS: compress_text,
        answers.HTTP: http.get,
        answers.REDIS: trips_to(settings),
        answers.PAYLOAD: payload.exchange,
        answers.MEMORY: memory.hold,
        answers.COUNTER: counter.count,
    }
