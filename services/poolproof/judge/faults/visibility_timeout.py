"""Which tasks came again because they had waited in a living worker for too long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from poolproof_workers.contract import Event

if TYPE_CHECKING:
    from collections.abc import Iterable

    from poolproof.judge.faults.events import FaultEvent
    from poolproof.judge.faults.window import FaultWindow

#: A receipt is written down a little after the message was taken.
_LAG_NS: Final = 500_000_000


@dataclass(frozen=True, slots=True)
class _Wait:
    """A wait that was too long: where, and what would have ended it in time."""

    timeout_s: float | None
    done: tuple[Event, ...]
    workers: tuple[str, ...]
    since_ns: int = 0  #: it was not over before


def overdue(
    scene: FaultWindow, numbers: Iterable[int], timeout_s: float | None, *, early: bool
) -> set[int]:
    """Return those of the tasks that a main process got again while the first to get them lived.

    They were not lost with anybody: the visibility timeout was over before they were so far that
    they would have been acknowledged. With Celery's own, an hour, the same wait would not have
    brought them again. What was so far in time came again since its acknowledgement was lost.
    With `early` they are acknowledged as they begin.
    """
    done = (Event.STARTED,) if early else (Event.SUCCEEDED, Event.FAILED)
    return _late(scene, numbers, _Wait(timeout_s, done, tuple(scene.ledger.roster.workers)))


def waited(scene: FaultWindow, numbers: Iterable[int], strike: FaultEvent) -> set[int]:
    """Return those of the tasks that a struck worker, alive, held until their timeout was over.

    No slot had begun them by then, and they came back to the queue, not before it was struck. With
    Celery's own timeout they wait there for an hour, whoever else has nothing to do.
    """
    timeout_s = scene.worker(strike).visibility_timeout_s
    wait = _Wait(timeout_s, (Event.STARTED,), strike.workers, strike.t_ns)
    return _late(scene, numbers, wait)


def _late(scene: FaultWindow, numbers: Iterable[int], wait: _Wait) -> set[int]:
    if wait.timeout_s is None:
        return set()
    timeout_ns = round(wait.timeout_s * 1e9)
    received = scene.ledger.count(Event.RECEIVED)
    return {
        number
        for number in numbers
        # Most were received once: only the others are worth a look of their own.
        if received[number] > 1 and _came_again(scene, number, timeout_ns, wait)
    }


def _came_again(scene: FaultWindow, number: int, timeout_ns: int, wait: _Wait) -> bool:
    seen = scene.seen
    mine = scene.about(number, Event.RECEIVED)
    mine = mine[np.argsort(seen.t_ns[mine])]
    times, holders = seen.t_ns[mine], seen.source[mine][:-1]
    first, again = times[:-1], times[1:]
    late = (again - first >= timeout_ns - _LAG_NS) & (again >= wait.since_ns)
    late &= scene.of_worker(holders, *wait.workers)
    over = np.sort(seen.t_ns[scene.about(number, *wait.done)])
    in_time = np.searchsorted(over, first + timeout_ns) > np.searchsorted(over, first)
    return bool((late & ~in_time & (scene.deaths[holders] > again)).any())
