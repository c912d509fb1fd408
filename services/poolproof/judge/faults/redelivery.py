"""Who ran what a fault had taken from a worker, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poolproof_workers.contract import Event

if TYPE_CHECKING:
    from poolproof.history.participants import Source
    from poolproof.judge.faults.events import Strike
    from poolproof.judge.faults.impact import Toll
    from poolproof.judge.faults.window import Scene


def rescue(scene: Scene, strike: Strike, toll: Toll, waited: set[int]) -> dict[str, dict[str, Any]]:
    """Return who -> how many it began of those interrupted, stranded or given back, and when.

    Also of those that `waited` in a worker that lived, for as long as the timeout.

    Who is a "surviving worker", the "restarted worker", or the "same worker", which never ended.
    `first` and `last` are seconds since the fault.
    """
    begun: dict[str, list[int]] = {}
    since_ns = toll.exit.t_ns if toll.exit else strike.t_ns
    for number in sorted(toll.interrupted | toll.stranded | toll.given_back | waited):
        again = _next_start(scene, number, since_ns)
        if again is not None:
            begun.setdefault(_who(again[1], strike, toll), []).append(again[0])
    return {
        who: {
            "tasks": len(times),
            "first": (min(times) - strike.t_ns) / 1e9,
            "last": (max(times) - strike.t_ns) / 1e9,
        }
        for who, times in begun.items()
    }


def _next_start(scene: Scene, number: int, since_ns: int) -> tuple[int, Source] | None:
    seen = scene.seen
    rows = scene.about(number, Event.STARTED)
    rows = rows[seen.t_ns[rows] > since_ns]
    if not len(rows):
        return None
    row = rows[seen.t_ns[rows].argmin()]
    return int(seen.t_ns[row]), scene.sources[seen.source[row]]


def _who(source: Source, strike: Strike, toll: Toll) -> str:
    if source.worker not in strike.workers:
        return "surviving worker"
    struck = toll.exit["worker"] if toll.exit else None
    return "restarted worker" if source.worker == struck else "same worker"
