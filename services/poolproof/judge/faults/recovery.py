"""How long recovery from a fault took, and who began what it left stranded, when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from poolproof.history.participants import NEVER
from poolproof.judge.performance.blocks import rows
from poolproof_workers.contract import Event

if TYPE_CHECKING:
    from poolproof.history.ledger import Ledger
    from poolproof.history.participants import Source
    from poolproof.judge.faults.events import FaultEvent
    from poolproof.judge.faults.impact import BlastRadius
    from poolproof.judge.faults.window import FaultWindow
    from poolproof.judge.performance.blocks import Block


_SHARE: Final = 0.9
#: Rounds over all slots that a window holds, so that tasks which end together do not decide it.
_ROUNDS: Final = 3


def due(scene: FaultWindow, strike: FaultEvent, toll: BlastRadius) -> dict[str, float] | None:
    """Return between which seconds after the fault the stranded tasks had to come back.

    The first as soon as its visibility timeout is over, the last one sweep after its own.
    """
    hello = [
        op
        for op in scene.evidence.named("hello")
        if op["worker"] == strike.worker and op.t_ns <= strike.t_ns
    ]
    if not toll.taken_ns or not hello:
        return None
    timeout_s, sweep_s = (hello[-1].get(name) for name in ("visibility_timeout_s", "sweep_s"))
    if timeout_s is None or sweep_s is None:
        return None
    first, last = ((edge(toll.taken_ns) - strike.t_ns) / 1e9 + timeout_s for edge in (min, max))
    return {
        "first": first,
        "last": last + sweep_s,
        "visibility_timeout_s": timeout_s,
        "sweep_s": sweep_s,
    }


def recovery(
    scene: FaultWindow, strike: FaultEvent, toll: BlastRadius, affected: set[int], fed: list[Block]
) -> dict[str, float | None]:
    """Return the four times, in seconds since the fault; None: it did not happen or apply."""
    times = {
        "detect": _detected(scene, strike, toll) if toll.slots_gone else None,
        "slot_back": scene.slot_back(strike, toll.worker(strike)) if toll.slots_gone else None,
        "redelivered": _redelivered(scene, strike, toll, affected),
    }
    found: dict[str, float | None] = {
        name: None if when is None else (when - strike.t_ns) / 1e9 for name, when in times.items()
    }
    side = scene.worker(strike).side
    workers = scene.ledger.roster.workers.values()
    slots = sum(each.concurrency for each in workers if each.side == side)
    return found | {"throughput_back": throughput_back_s(scene.ledger, fed, slots, strike.t_ns)}


def _detected(scene: FaultWindow, strike: FaultEvent, toll: BlastRadius) -> int | None:
    """Return when the supervisor saw the exit, or the main process reported the task."""
    reported = scene.seen.of(Event.REPORTED, Event.RETRIED) & scene.of_worker(
        scene.seen.source, strike.worker
    )
    times = scene.seen.t_ns[reported]
    times = times[(times >= strike.t_ns) & (times < strike.until_ns)]
    found = times.tolist() + ([toll.exit.t_ns] if toll.exit else [])
    return min(found, default=None)


def _redelivered(
    scene: FaultWindow, strike: FaultEvent, toll: BlastRadius, affected: set[int]
) -> int | None:
    """Return when the last that came back was begun; None if a stranded one never was."""
    if not toll.stranded:
        return None
    since_ns = toll.exit.t_ns if toll.exit else strike.t_ns
    rows = scene.attempts
    begun: dict[int, int] = {}
    for number, start in zip(rows.number.tolist(), rows.start_ns.tolist(), strict=True):
        if number in affected and start > since_ns:
            begun[number] = min(start, begun.get(number, NEVER))
    return max(begun.values()) if toll.stranded <= begun.keys() else None


def throughput_back_s(
    ledger: Ledger, fed: list[Block], concurrency: int, t_ns: int
) -> float | None:
    """Return the seconds from `t_ns` until a side again ended 90 % of the tasks a second.

    `fed` are the blocks that it was fed from at `t_ns`. The rate before is theirs, from the end of
    the first round on. From `t_ns` and from each end after it the time is taken that three rounds
    over all slots last. None if there are too few tasks, before or after, to tell.
    """
    if not fed or not concurrency:
        return None
    ends = ledger["last_end"][rows(fed)]
    ends = np.sort(ends[ends > 0])
    before = ends[ends <= t_ns]
    wanted = concurrency * _ROUNDS
    if len(before) <= concurrency:
        return None
    # To the last end, not to `t_ns`: the round that goes on is not counted as idle time.
    first = before[concurrency - 1]
    if before[-1] <= first:
        return None
    rate = (len(before) - concurrency) / (before[-1] - first)
    times = np.concatenate(([t_ns], ends[ends > t_ns]))
    quick = times[wanted:] - times[:-wanted] <= wanted / (_SHARE * rate)
    # Tasks that end together are counted once too often from the first of them: all of a round.
    steady = [quick[index : index + concurrency].all() for index in range(len(quick))]
    found = np.flatnonzero(steady)
    return float(times[found[0]] - t_ns) / 1e9 if len(found) else None


def rescue(
    scene: FaultWindow, strike: FaultEvent, toll: BlastRadius, waited: set[int]
) -> dict[str, dict[str, Any]]:
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


def _next_start(scene: FaultWindow, number: int, since_ns: int) -> tuple[int, Source] | None:
    seen = scene.seen
    rows = scene.about(number, Event.STARTED)
    rows = rows[seen.t_ns[rows] > since_ns]
    if not len(rows):
        return None
    row = rows[seen.t_ns[rows].argmin()]
    return int(seen.t_ns[row]), scene.sources[seen.source[row]]


def _who(source: Source, strike: FaultEvent, toll: BlastRadius) -> str:
    if source.worker not in strike.workers:
        return "surviving worker"
    struck = toll.exit["worker"] if toll.exit else None
    return "restarted worker" if source.worker == struck else "same worker"
