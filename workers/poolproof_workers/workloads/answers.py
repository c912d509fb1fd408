"""What each task must return, by what the history says of its block."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from poolproof_workers.contract import KEPT, fold
from poolproof_workers.workloads import hashing, http, memory, payload

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from poolproof_workers.contract import Numbers

    Facts = Mapping[str, Any]
    #: A function of an int, or of an array of uint64; it returns the same.
    Answer = Callable[[Any, Facts], Any]

SQUARE: Final = "poolproof.square"
HASH: Final = "poolproof.hash"
COMPRESS: Final = "poolproof.compress"
HTTP: Final = "poolproof.http"
REDIS: Final = "poolproof.redis"
PAYLOAD: Final = "poolproof.payload"
MEMORY: Final = "poolproof.memory"
COUNTER: Final = "poolproof.counter"


def square(number: Numbers, _facts: Facts) -> Numbers:
    """Return the square, as far as a record keeps it."""
    kept: Numbers = (number * number) & KEPT
    return kept


def _hash(number: Numbers, facts: Facts) -> Numbers:
    return fold(number, hashing.hashed(facts["rounds"]))


def _compress(number: Numbers, facts: Facts) -> Numbers:
    return fold(number, hashing.compressed(facts["rounds"]))


def _http(number: Numbers, _facts: Facts) -> Numbers:
    return http.answer(number)


def _redis(number: Numbers, facts: Facts) -> Numbers:
    trips: int = facts["round_trips"]
    kept: Numbers = (fold(number, trips) * trips) & KEPT
    return kept


def _payload(number: Numbers, facts: Facts) -> Numbers:
    return fold(number, payload.exchanged(facts["in_bytes"], facts["out_bytes"]))


def _memory(number: Numbers, facts: Facts) -> Numbers:
    return fold(number, memory.pages(facts["bytes"]))


#: Task -> what it must return for a number. What a counter holds is observed, not right or wrong.
ANSWERS: Final[Mapping[str, Answer]] = {
    SQUARE: square,
    HASH: _hash,
    COMPRESS: _compress,
    HTTP: _http,
    REDIS: _redis,
    PAYLOAD: _payload,
    MEMORY: _memory,
}
