"""Where innocent tasks were when a fault lost them for good."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import numpy as np

from poolproof.history.participants import NEVER
from poolproof.judge.faults.detection import CANCELLED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from poolproof.judge.faults.window import FaultWindow

INTERRUPTED: Final = "interrupted"  #: it ran
ACKNOWLEDGED: Final = "acknowledged"  #: its worker had acknowledged it, and not begun it yet
FETCHED: Final = "fetched"  #: out of the queue, and not yet in `unacked`: two steps (kombu #305)
CAUSES: Final = (INTERRUPTED, ACKNOWLEDGED, FETCHED)


def lost_by(
    scene: FaultWindow, side: str, numbers: Iterable[int], timeout_s: float | None, *, early: bool
) -> dict[str, int]:
    """Return cause -> how many of some lost tasks of a side it took; every one has a cause.

    `timeout_s` is their visibility timeout; `early`: they are acknowledged before they run.
    """
    timeout_ns = NEVER if timeout_s is None else round(timeout_s * 1e9)
    rows = np.array(sorted(numbers), np.int64)
    part = scene.ledger.part(rows)
    begun_ns = np.maximum(part["last_start"], part["last_end"])
    was_begun = begun_ns >= part["last_received"]
    # One that was cut as it began may have no start.
    is_known = was_begun & (part["last_source"] >= 0)
    holder = np.where(is_known, part["last_source"], part["last_receiver"])
    died_ns = np.append(scene.deaths, NEVER)[holder]  # of no ring, -1: the last
    # Long enough in the worker to be put back into the queue meanwhile.
    overdue = ~was_begun & (died_ns - part["last_received"] >= timeout_ns)
    columns = (rows, holder, died_ns, was_begun, overdue)
    found: Counter[str] = Counter()
    for number, ring, died, begun, late in zip(*(c.tolist() for c in columns), strict=True):
        if ring < 0 or late or _was_left(scene, side, number, died):
            found[FETCHED] += 1  # after nobody had it, or whoever had it let it go
        elif early or (begun and _was_cancelled(scene, number)):
            found[INTERRUPTED if begun else ACKNOWLEDGED] += 1
        else:
            found[FETCHED] += 1  # it was put back
    return {cause: found[cause] for cause in CAUSES}


def _was_cancelled(scene: FaultWindow, number: int) -> bool:
    """Tell whether a cold shutdown announced a retry of it, which it does not send."""
    seen, rows = scene.seen, scene.about(number)
    return CANCELLED in zip(seen.event[rows].tolist(), seen.detail[rows].tolist(), strict=True)


def _was_left(scene: FaultWindow, side: str, number: int, died_ns: int) -> bool:
    """Tell whether the broker had a copy when the last process that held the task was dead."""
    if died_ns == NEVER:
        return False
    readings = [op for op in scene.evidence.named("broker") if op["side"] == side]
    return any(
        any(first <= number <= last for first, last in op["queue"])
        or any(number == each for each, _ in op["unacked"])
        for op in readings
        if op.t_ns >= died_ns
    )
