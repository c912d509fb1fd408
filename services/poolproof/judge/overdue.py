"""Which tasks came again because they had waited in a living worker for too long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from poolproof_workers.contract import Event

if TYPE_CHECKING:
    from collections.abc import Iterable

    from poolproof.judge.scene import Scene

#: A receipt is written down a little after the message was taken.
_LAG_NS: Final = 500_000_000


def overdue(
    scene: Scene, numbers: Iterable[int], timeout_s: float | None, *, early: bool
) -> set[int]:
    """Return those of the tasks that a main process got again while the first to get them lived.

    They were not lost with anybody: the visibility timeout was over before they were so far that
    they would have been acknowledged. With Celery's own, an hour, the same wait would not have
    brought them again. What was so far in time came again since its acknowledgement was lost.
    With `early` they are acknowledged as they begin.
    """
    done = (Event.STARTED,) if early else (Event.SUCCEEDED, Event.FAILED)
    workers = tuple(scene.ledger.roster.workers)
    return _late(scene, numbers, timeout_s, done, workers)


def waited(
    scene: Scene, numbers: Iterable[int], timeout_s: float | None, workers: tuple[str, ...]
) -> set[int]:
    """Return those of the tasks that one of the workers, alive, held until their timeout was over.

    No slot had begun them by then, and they came back to the queue. With Celery's own timeout they
    wait there for an hour, whoever else has nothing to do.
    """
    return _late(scene, numbers, timeout_s, (Event.STARTED,), workers)


def _late(
    scene: Scene,
    numbers: Iterable[int],
    timeout_s: float | None,
    done: tuple[Event, ...],
    workers: tuple[str, ...],
) -> set[int]:
    if timeout_s is None:
        return set()
    timeout_ns = round(timeout_s * 1e9)
    received = scene.ledger.count(Event.RECEIVED)
    return {
        number
        for number in numbers
        # Most were received once: only the others are worth a look of their own.
        if received[number] > 1 and _came_again(scene, number, timeout_ns, done, workers)
    }


def _came_again(
    scene: Scene, number: int, timeout_ns: int, done: tuple[Event, ...], workers: tuple[str, ...]
) -> bool:
    seen = scene.seen
    about = seen.number == number
    mine = np.flatnonzero(about & seen.of(Event.RECEIVED))
    mine = mine[np.argsort(seen.t_ns[mine])]
    times, holders = seen.t_ns[mine], seen.source[mine][:-1]
    first = times[:-1]
    late = (np.diff(times) >= timeout_ns - _LAG_NS) & scene.of_worker(holders, *workers)
    over = np.sort(seen.t_ns[about & seen.of(*done)])
    in_time = np.searchsorted(over, first + timeout_ns) > np.searchsorted(over, first)
    return bool((late & ~in_time & (scene.deaths[holders] > times[1:])).any())
