"""What a pool, or whoever stands behind it, noticed of a fault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from poolproof_workers.contract import Event, Report
from poolproof_workers.supervisor.celery_process import signal_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from poolproof.judge.run_data import Op
    from poolproof.judge.verdicts.attempts import Seen

#: At a cold shutdown Celery cancels what runs, and says of it that it is retried; it sends nothing.
CANCELLED: Final = (Event.RETRIED, Report.OTHER)
#: A message of a task that was revoked earlier: it is thrown away.
_REFUSED: Final = (Event.REVOKED, Report.OTHER)
#: What the main process says when it reports, retries or revokes a task for a slot.
_REPORTS: Final = {
    Report.OTHER: "failure reported",
    Report.WORKER_LOST: "WorkerLostError",
    Report.TIME_LIMIT: "TimeLimitExceeded",
    Report.TERMINATED: "terminated",
}
_SAID_BY_MAIN: Final = (Event.REPORTED, Event.RETRIED, Event.REVOKED)


def noticed(
    seen: Seen, of_poison: np.ndarray, of_innocent: np.ndarray, exits: list[Op]
) -> list[str]:
    """Return what was noticed, each once: errors of tasks by Celery, ends by the supervisor.

    The masks are of the records that may be about it; `exits` are ends of the main process.
    """
    found = [f"worker ended by {name}" for name in dict.fromkeys(map(_ending, exits))]
    found += _said(seen, of_poison, "the task's error")
    found += _said(seen, of_innocent, "an innocent task's error")
    return list(dict.fromkeys(found))


def _said(seen: Seen, rows: np.ndarray, error: str) -> Iterator[str]:
    for event, detail in zip(seen.event[rows].tolist(), seen.detail[rows].tolist(), strict=True):
        if event == Event.FAILED:
            yield error
        elif (event, detail) == CANCELLED:
            yield "cancelled, with a retry announced that is not sent"
        elif (event, detail) == _REFUSED:
            yield "revoked before it ran again"
        elif event in _SAID_BY_MAIN and detail in _REPORTS:
            again = ", sent again" if event == Event.RETRIED else ""
            yield _REPORTS[Report(detail)] + again


def _ending(op: Op) -> str:
    if op["signal"] is not None:
        return signal_name(op["signal"])
    return "an unknown cause" if op["code"] is None else f"exit code {op['code']}"
