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


def overdue(scene: Scene, numbers: Iterable[int], timeout_s: float | None) -> set[int]:
    """Return those of the tasks that a main process got again while the first to get them lived.

    They were not lost with anybody: the visibility timeout was over before a slot took them. With
    Celery's own, an hour, the same wait would not have brought them again.
    """
    if timeout_s is None:
        return set()
    least_ns = round(timeout_s * 1e9) - _LAG_NS
    return {number for number in numbers if _came_again(scene, number, least_ns)}


def _came_again(scene: Scene, number: int, least_ns: int) -> bool:
    seen = scene.seen
    mine = np.flatnonzero((seen.number == number) & seen.of(Event.RECEIVED))
    mine = mine[np.argsort(seen.t_ns[mine])]
    times, holders = seen.t_ns[mine], seen.source[mine][:-1]
    late = np.diff(times) >= least_ns
    return bool((late & (scene.deaths[holders] > times[1:])).any())
