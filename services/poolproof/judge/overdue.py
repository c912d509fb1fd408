"""Which tasks came again only because they had waited in a worker for too long."""

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
    if timeout_s is None:
        return set()
    timeout_ns = round(timeout_s * 1e9)
    done = (Event.STARTED,) if early else (Event.SUCCEEDED, Event.FAILED)
    return {number for number in numbers if _came_again(scene, number, timeout_ns, done)}


def _came_again(scene: Scene, number: int, timeout_ns: int, done: tuple[Event, ...]) -> bool:
    seen = scene.seen
    about = seen.number == number
    mine = np.flatnonzero(about & seen.of(Event.RECEIVED))
    mine = mine[np.argsort(seen.t_ns[mine])]
    times, holders = seen.t_ns[mine], seen.source[mine][:-1]
    first = times[:-1]
    late = np.diff(times) >= timeout_ns - _LAG_NS
    over = np.sort(seen.t_ns[about & seen.of(*done)])
    in_time = np.searchsorted(over, first + timeout_ns) > np.searchsorted(over, first)
    return bool((late & ~in_time & (scene.deaths[holders] > times[1:])).any())
