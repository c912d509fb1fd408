"""What the ledger proves about each task: exactly one verdict, the first row that holds.

| verdict    | holds if                                                                       |
|------------|--------------------------------------------------------------------------------|
| unexpected | recorded, but never enqueued                                                   |
| unknown    | a hole in the recordings may be about it (see `doubt`)                         |
| repeated   | succeeded twice or more, or succeeded and failed                               |
| running    | an attempt is open in a process that lives                                     |
| recovered  | succeeded, and another attempt was cut: begun, and neither ended nor running   |
| completed  | succeeded                                                                      |
| failed     | failed in its slot                                                             |
| queued     | a copy is in the queue                                                         |
| queued     | Celery says that it is reserved; or a copy is with a living main process, and  |
|            | its last delivery was not begun                                                |
| phantom    | begun, and Celery says that it is active                                       |
| queued     | Celery says that it is active: it is about to begin                            |
| unknown    | a copy is in `unacked`, and whose it is cannot be told                         |
| stranded   | a copy is in `unacked`, unless a living main process holds and reported it     |
| failed     | the main process reported it, or Celery revoked it                             |
| unknown    | the broker was not read at the end, or not at rest: a copy may be on its way   |
| queued     | not begun since it was last received, and only a living worker that does not   |
|            | answer can have it in its memory (see `silence`)                               |
| unknown    | such a worker may have it, or it is lost                                       |
| lost       | otherwise                                                                      |

A success or a failure in a slot is final, whatever the broker still holds: a copy that is left (its
worker died between the end and the acknowledgement) may make it `repeated` later, and the summary
says so. A report by the main process is final only if no copy is left: some policies report *and*
put back. A prefetched task that was stranded and came back has begun once: `completed`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from poolproof_workers.contract import Event

if TYPE_CHECKING:
    from poolproof.history.ledger import Ledger, Part
    from poolproof.judge.verdicts.final_state import FinalState


class Verdict(IntEnum):
    """What is proved about a task. `NONE` is a number that was neither enqueued nor recorded."""

    NONE = 0
    COMPLETED = 1
    REPEATED = 2
    FAILED = 3
    RECOVERED = 4
    LOST = 5
    STRANDED = 6
    QUEUED = 7
    PHANTOM = 8
    RUNNING = 9
    UNEXPECTED = 10
    UNKNOWN = 11

    @property
    def word(self) -> str:
        """The verdict as reports write it."""
        return self.name.lower()


def judge(ledger: Ledger, ending: FinalState, doubt: np.ndarray) -> np.ndarray:
    """Return the `Verdict` of each number of the ledger, as an array of uint8. Pure.

    `doubt` tells for each task whether a hole in the recordings may be about it.
    """
    found = np.empty(ledger.size, np.uint8)
    # A stretch at a time: what is worked out on the way would take more than the ledger does.
    for rows in ledger.columns.stretches():
        found[rows] = _judge(ledger.part(rows), ending.part(rows), doubt[rows])
    return found


def _judge(ledger: Part, ending: FinalState, doubt: np.ndarray) -> np.ndarray:
    received, starts, succeeded, failed, _, abandoned, revoked, reported = (
        ledger.count(event) for event in Event if event != Event.FAULT
    )
    # A hole may have taken a start and left its end.
    begun = starts + succeeded + failed + abandoned
    recorded = received + begun + revoked + reported
    last_begun_ns = np.maximum(ledger["last_start"], ledger["last_end"])
    enqueued = ledger["block"] >= 0
    is_reported = (reported > 0) | (revoked > 0)
    not_begun = (begun == 0) | (ledger["last_received"] > last_begun_ns)
    rules = [
        (~enqueued & (recorded > 0), Verdict.UNEXPECTED),
        (~enqueued, Verdict.NONE),
        (doubt, Verdict.UNKNOWN),
        ((succeeded >= 2) | ((succeeded >= 1) & (failed >= 1)), Verdict.REPEATED),
        (ending.running > 0, Verdict.RUNNING),
        ((succeeded == 1) & (ending.cut > 0), Verdict.RECOVERED),
        (succeeded == 1, Verdict.COMPLETED),
        (failed > 0, Verdict.FAILED),
        (ending.queued, Verdict.QUEUED),
        (ending.reserved, Verdict.QUEUED),
        (ending.unacked & ending.held & not_begun, Verdict.QUEUED),
        (ending.active & (begun > 0), Verdict.PHANTOM),
        (ending.active, Verdict.QUEUED),
        (ending.unacked & ~ending.holder_known, Verdict.UNKNOWN),
        (ending.unacked & ~(ending.held & is_reported), Verdict.STRANDED),
        (is_reported, Verdict.FAILED),
        (~ending.broker_known, Verdict.UNKNOWN),
        (ending.kept & not_begun, Verdict.QUEUED),
        (ending.maybe_kept & not_begun, Verdict.UNKNOWN),
    ]
    return np.select(
        [condition for condition, _ in rules],
        [np.uint8(verdict) for _, verdict in rules],
        np.uint8(Verdict.LOST),
    )
