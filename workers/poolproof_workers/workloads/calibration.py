"""How much work this machine does in a millisecond of CPU."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Literal

from poolproof_workers.workloads.hashing import compress_rounds, hash_rounds
from poolproof_workers.workloads.tasks import spin

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Turn = Literal["spin", "hash", "compress"]

_ROUNDS: Final = 25
#: What is done in one round: about a millisecond's worth.
_TURNS: Final[Mapping[Turn, tuple[Callable[[int], int], int]]] = {
    "spin": (spin, 20_000),
    "hash": (hash_rounds, 20),
    "compress": (compress_rounds, 2),
}


def turns_per_ms(turn: Turn) -> float:
    """Return how many turns of a kind this machine does in a millisecond of CPU, undisturbed.

    The fastest of many short rounds: whatever disturbs a round only makes it slower.
    """
    work, turns = _TURNS[turn]
    fastest_ns = min(_round_ns(work, turns) for _ in range(_ROUNDS))
    return turns / (fastest_ns / 1e6)


def _round_ns(work: Callable[[int], int], turns: int) -> int:
    begin = time.perf_counter_ns()
    work(turns)
    return max(1, time.perf_counter_ns() - begin)
