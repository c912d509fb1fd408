"""Faults that come from outside a worker: whom they hit, and the blow itself."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Final

from poolproof_workers.errors import UsageError
from poolproof_workers.faults import OUTSIDE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from poolproof_workers.settings import Settings
    from poolproof_workers.tape import Tape

SIGNALS: Final = {
    "kill-child": signal.SIGKILL,
    "kill-worker": signal.SIGKILL,
    "term-worker": signal.SIGTERM,
}


class TargetError(UsageError):
    """The fault cannot be done to this worker now; the text says why."""


def target(fault: str, settings: Settings, main: int | None, tapes: Iterable[Tape]) -> int:
    """Return the pid to send `SIGNALS[fault]` to. Raises TargetError."""
    if fault not in OUTSIDE:
        raise TargetError(f"{fault} is none of the faults from outside: {', '.join(OUTSIDE)}")
    if not settings.allow_faults:
        raise TargetError("faults are off: start the worker with POOLPROOF_ALLOW_FAULTS=1")
    if main is None:
        raise TargetError("the worker does not run now")
    if fault != "kill-child":
        return main
    if settings.pool.pool.slots != "process":
        raise TargetError(f"{settings.pool.name} has no child processes")
    return _child(main, list(tapes))


def _child(main: int, tapes: list[Tape]) -> int:
    children = [tape for tape in tapes if tape.pid != main and not tape.gone]
    if not children:
        raise TargetError("no child process has a ring yet")
    busy = [child for child in children if child.runs_task()]
    return (busy or children)[0].pid
