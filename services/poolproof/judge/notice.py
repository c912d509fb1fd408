"""What a pool, or whoever stands behind it, noticed of a fault."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Final

from poolproof_workers.contract import Event, Report

if TYPE_CHECKING:
    import numpy as np

    from poolproof.judge.attempts import Seen
    from poolproof.judge.evidence import Op

#: What the main process says when it reports, retries or revokes a task for a slot.
_REPORTS: Final = {
    Report.OTHER: "failure reported",
    Report.WORKER_LOST: "WorkerLostError",
    Report.TIME_LIMIT: "TimeLimitExceeded",
    Report.TERMINATED: "terminated",
}
_SAID_BY_MAIN: Final = (Event.REPORTED, Event.RETRIED, Event.REVOKED)


def noticed(seen: Seen, rows: np.ndarray, exits: list[Op]) -> list[str]:
    """Return what was noticed, each once: errors of tasks by Celery, ends by the supervisor.

    `rows` is a mask of the records that may be about it; `exits` are ends of the main process.
    """
    found = [f"worker ended by {name}" for name in dict.fromkeys(map(_ending, exits))]
    events = seen.event[rows].tolist()
    for event, detail in zip(events, seen.detail[rows].tolist(), strict=True):
        if event == Event.FAILED:
            found.append("the task's error")
        elif event in _SAID_BY_MAIN and detail in _REPORTS:
            again = ", sent again" if event == Event.RETRIED else ""
            found.append(_REPORTS[Report(detail)] + again)
    return list(dict.fromkeys(found))


def _ending(op: Op) -> str:
    if op["signal"] is not None:
        return signal.Signals(op["signal"]).name
    return "an unknown cause" if op["code"] is None else f"exit code {op['code']}"
