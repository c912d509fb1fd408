"""Faults that come from outside a worker: whom they hit, and the blow itself."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from poolproof_workers.errors import UsageError
from poolproof_workers.faults.catalogue import OUTSIDE, find

if TYPE_CHECKING:
    from collections.abc import Iterable

    from poolproof_workers.faults.fault import SignalFault
    from poolproof_workers.settings import Settings
    from poolproof_workers.supervisor.outbox import Outbox
    from poolproof_workers.supervisor.ring_cursor import RingCursor


class TargetError(UsageError):
    """The fault cannot be done to this worker now; the text says why."""


class Blows:
    """Deals the blows that a supervisor was ordered to, writes them down, and ends the pauses."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._paused: list[tuple[float, str, int]] = []  # when it ends, fault, pid

    def deal(
        self, fault: str, settings: Settings, main: int | None, tapes: Iterable[RingCursor]
    ) -> bool:
        """Do a fault to a worker; if it cannot be done (False), the history has the reason."""
        when, pid, reason = time.monotonic_ns(), None, None
        try:
            blow, pid = target(fault, settings, main, tapes)
            when = time.monotonic_ns()
            _send(blow, pid)
            if blow.pause_s is not None:
                self._paused.append((when / 1e9 + blow.pause_s, fault, pid))
        except (TargetError, ProcessLookupError) as error:
            reason = str(error)
        applied = reason is None
        self._outbox.add("fault", t_ns=when, fault=fault, pid=pid, applied=applied, reason=reason)
        return applied

    def end_pauses(self) -> None:
        """Let those go on that were stopped long enough. Call often."""
        now = time.monotonic()
        for pause in [pause for pause in self._paused if pause[0] <= now]:
            self._paused.remove(pause)
            _, fault, pid = pause
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
                self._outbox.add("fault-end", fault=fault, pid=pid)


def target(
    fault: str, settings: Settings, main: int | None, tapes: Iterable[RingCursor]
) -> tuple[SignalFault, int]:
    """Return the blow of a fault and the pid that it goes to. Raises TargetError."""
    if fault not in OUTSIDE:
        raise TargetError(f"{fault} is none of the faults from outside: {', '.join(OUTSIDE)}")
    if not settings.allow_faults:
        raise TargetError("faults are off: start the worker with POOLPROOF_ALLOW_FAULTS=1")
    if main is None:
        raise TargetError("the worker does not run now")
    row = find(fault)[1]
    assert row.blow is not None  # noqa: S101  that is what being outside means
    if reason := row.why_not(settings.pool.pool):
        raise TargetError(reason)
    return row.blow, _child(main, list(tapes)) if row.blow.whom == "child" else main


def _child(main: int, tapes: list[RingCursor]) -> int:
    children = [tape for tape in tapes if tape.pid != main and not tape.gone]
    if not children:
        raise TargetError("no child process has a ring yet")
    busy = [child for child in children if child.runs_task()]
    return (busy or children)[0].pid


def _send(blow: SignalFault, pid: int) -> None:
    if blow.whom == "group":
        os.killpg(pid, blow.signal)
    else:
        os.kill(pid, blow.signal)
