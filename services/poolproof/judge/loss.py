"""Where innocent tasks were when a fault lost them for good."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import numpy as np

from poolproof.collect.roster import NEVER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from poolproof.judge.scene import Scene

INTERRUPTED: Final = "interrupted"  #: it ran
ACKNOWLEDGED: Final = "acknowledged"  #: its worker had acknowledged it, and not begun it yet
FETCHED: Final = "fetched"  #: out of the queue, and not yet in `unacked`: two steps (kombu #305)
CAUSES: Final = (INTERRUPTED, ACKNOWLEDGED, FETCHED)


def lost_by(scene: Scene, side: str, numbers: Iterable[int], *, early: bool) -> dict[str, int]:
    """Return cause -> how many of some lost tasks of a side it took; every one has a cause.

    `early`: they are acknowledged before they run.
    """
    rows = np.array(sorted(numbers), np.int64)
    part = scene.ledger.part(rows)
    begun_ns = np.maximum(part["last_start"], part["last_end"])
    received_ns = part["last_received"]
    was_begun = begun_ns >= received_ns
    holder = np.where(was_begun, part["last_source"], part["last_receiver"])
    found: Counter[str] = Counter()
    for number, ring, begun in zip(rows.tolist(), holder.tolist(), was_begun.tolist(), strict=True):
        if ring < 0 or _was_left(scene, side, number, int(scene.deaths[ring])):
            found[FETCHED] += 1  # after nobody, or one that died, had it
        elif begun:
            found[INTERRUPTED] += 1
        else:
            found[ACKNOWLEDGED if early else FETCHED] += 1
    return {cause: found[cause] for cause in CAUSES}


def _was_left(scene: Scene, side: str, number: int, died_ns: int) -> bool:
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
