"""What Celery 5.7 does unless it is told otherwise, where that decides on what a crash costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

VISIBILITY_TIMEOUT_S: Final = 3600.0
#: About so long passes between two looks for messages whose timeout is over.
SWEEP_S: Final = 100.0
#: Of `restart_delay_s`: nobody restarts a worker.
DEFAULTS: Final = {
    "visibility_timeout_s": VISIBILITY_TIMEOUT_S,
    "sweep_s": SWEEP_S,
    "prefetch": 4,
    "retry_delay_s": 180.0,
    "restart_delay_s": None,
}


def by_default(due_s: Mapping[str, Any]) -> tuple[float, float]:
    """Return between which seconds after a fault the same stranded tasks came back by default.

    `due_s` is a crash's: `first` and `last` with the timeout and the sweep that it was played with.
    """
    later_s = VISIBILITY_TIMEOUT_S - due_s["visibility_timeout_s"]
    sweep_s = SWEEP_S - due_s["sweep_s"]
    return due_s["first"] + later_s, due_s["last"] + later_s + sweep_s
