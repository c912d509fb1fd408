"""The flight recorder: Celery's signals, written into a ring that survives the process.

Any Celery application takes it:
`celery -A APP worker --include poolproof_workers.recorder.recorder`.
"""

from __future__ import annotations

import logging
import os
import sys
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from celery import signals
from celery.concurrency import get_implementation
from celery.exceptions import Reject, Terminated, TimeLimitExceeded, WorkerLostError

from poolproof_workers.contract import Event, Report, result_detail
from poolproof_workers.errors import DISK, PoolproofError
from poolproof_workers.faults.task import about_to_fault
from poolproof_workers.recorder import signals as shortcut
from poolproof_workers.recorder.greenlets import GreenletSlots
from poolproof_workers.recorder.ring import Ring
from poolproof_workers.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from poolproof_workers.pools import Slots

_log: Final = logging.getLogger(__name__)

#: The main process makes PID.ready beside its ring when Celery says that it takes tasks.
READY_SUFFIX: Final = ".ready"

# An enum's member costs a look-up through its class at every use.
_RECEIVED: Final = Event.RECEIVED.value
_STARTED: Final = Event.STARTED.value
_SUCCEEDED: Final = Event.SUCCEEDED.value
#: Any other state at the end of a task, also none, means that Celery keeps nothing of it.
_ENDS: Final[dict[str | None, int]] = {"FAILURE": Event.FAILED.value, "RETRY": Event.RETRIED.value}
_REPORTS: Final[tuple[tuple[type[BaseException], Report], ...]] = (
    (WorkerLostError, Report.WORKER_LOST),
    (TimeLimitExceeded, Report.TIME_LIMIT),
    (Terminated, Report.TERMINATED),
    (Reject, Report.OTHER),
)


class Recorder:
    """Turns Celery's signals into records, in the main process and in every child that it forks.

    It tells tasks apart by their ids, and passes over those that are not UUIDs.
    """

    __slots__ = ("_folder", "_is_open", "_places", "_record", "_runs_tasks")

    def __init__(
        self, folder: Path, *, runs_tasks: bool, places: GreenletSlots | None = None
    ) -> None:
        """Record into `folder`; `runs_tasks` if the process itself is where the pool runs them.

        `places` where it runs them in greenlets.
        """
        self._folder = folder
        self._runs_tasks = runs_tasks
        self._places = places
        self._record: Callable[[str, int, int], None] = self._open_and_record
        self._is_open = False

    def open(self) -> None:
        """Open this process's ring, unless it is open. Raises OSError."""
        if not self._is_open:
            slot = self._places.here if self._places else None
            self._record = Ring.create(self._folder, slot=slot).record
            self._is_open = True

    def connect(self) -> None:
        """Listen to Celery, here and in the processes that are forked from this one."""
        shortcut.take_received(self._on_received)
        shortcut.take_prerun(self._on_prerun_here if self._places else self._on_prerun)
        shortcut.take_postrun(self._on_postrun_here if self._places else self._on_postrun)
        for signal, receiver in (
            (signals.task_failure, self._on_failure),
            (signals.task_retry, self._on_retry),
            (signals.task_revoked, self._on_revoked),
            (signals.worker_ready, self._on_ready),
            (about_to_fault, self._on_fault),
        ):
            signal.connect(receiver, weak=False)
        os.register_at_fork(after_in_child=self._after_fork)

    def _after_fork(self) -> None:
        # The ring is the parent's: a child opens its own, at the latest at its first record.
        self._record = self._open_and_record
        self._is_open = False

    def _open_and_record(self, task_id: str, event: int, detail: int) -> None:
        self.open_in_slot()
        self._record(task_id, event, detail)

    def open_in_slot(self) -> None:
        """Open the ring of a process that runs tasks.

        If that fails it goes on unrecorded: the supervisor sees that and reports it.
        """
        self._runs_tasks = True
        try:
            self.open()
        except OSError as error:
            _log.error("Process %d cannot record: %s", os.getpid(), error)
            self._record = _record_nothing

    def _on_received(self, request: Any, **_: object) -> None:
        self._record(request.id, _RECEIVED, 0)

    def _on_prerun(self, task_id: str, **_: object) -> None:
        self._record(task_id, _STARTED, 0)

    def _on_postrun(self, task_id: str, state: str | None, retval: object, **_: object) -> None:
        if state == "SUCCESS":
            self._record(task_id, _SUCCEEDED, result_detail(retval))
        else:
            self._record(task_id, _ENDS.get(state, Event.ABANDONED.value), 0)

    def _on_prerun_here(self, task_id: str, **_: object) -> None:
        assert self._places is not None  # noqa: S101  who connected it has looked
        self._places.enter()
        self._on_prerun(task_id)

    def _on_postrun_here(
        self, task_id: str, state: str | None, retval: object, **_: object
    ) -> None:
        assert self._places is not None  # noqa: S101  who connected it has looked
        self._on_postrun(task_id, state, retval)
        self._places.leave()

    def _on_failure(self, task_id: str, exception: BaseException, **_: object) -> None:
        # A slot's own failures end with a postrun; what is left is said by the main process.
        report = _report(exception)
        if report is None and not self._runs_tasks:
            report = Report.OTHER
        if report is not None:
            self._record(task_id, Event.REPORTED.value, report.value)

    def _on_retry(
        self, request: Any, reason: object = None, einfo: object = None, **_: object
    ) -> None:
        # A slot's own retries end with a postrun; the main process retries what lost its slot
        # (the reason holds the loss), and what it cancels itself (then without `einfo`).
        report = _report(getattr(reason, "exc", None))
        if report is not None or einfo is None:
            self._record(request.id, Event.RETRIED.value, (report or Report.OTHER).value)

    def _on_revoked(self, request: Any, *, terminated: bool, **_: object) -> None:
        report = Report.TERMINATED if terminated else Report.OTHER
        self._record(request.id, Event.REVOKED.value, report.value)

    def _on_fault(self, task_id: str, detail: int, **_: object) -> None:
        self._record(task_id, Event.FAULT.value, detail)

    def _on_ready(self, **_: object) -> None:
        (self._folder / f"{os.getpid()}{READY_SUFFIX}").touch(mode=0o600)


def _record_nothing(task_id: str, event: int, detail: int) -> None:
    pass


def _report(exception: object) -> Report | None:
    for kind, report in _REPORTS:
        if isinstance(exception, kind):
            return report
    return None


@cache
def _recorder() -> Recorder:
    settings = Settings.from_env(os.environ)
    slots = _slots(settings)
    recorder = Recorder(
        settings.ring_folder,
        runs_tasks=slots != "process",
        places=GreenletSlots() if slots == "greenlet" else None,
    )
    recorder.connect()
    return recorder


def _slots(settings: Settings) -> Slots:
    pool = settings.pool.pool
    if not pool.is_custom:
        return pool.slots
    implementation = get_implementation(pool.celery)
    if getattr(implementation, "is_green", False):
        return "greenlet"
    return "process" if issubclass(implementation, get_implementation("prefork")) else "custom"


@signals.worker_init.connect(weak=False)  # type: ignore[untyped-decorator]
def _in_main(**_: object) -> None:
    try:
        _recorder().open()
    except PoolproofError as error:
        _leave(str(error), error.exit_code)
    except OSError as error:
        _leave(f"The recorder cannot open a ring: {error}. Free the space or set POOLPROOF_RINGS.")


@signals.worker_process_init.connect(weak=False)  # type: ignore[untyped-decorator]
def _in_child(**_: object) -> None:
    _recorder().open_in_slot()


def _leave(message: str, exit_code: int = DISK) -> None:
    # A signal's receiver may raise whatever it likes: only SystemExit ends the worker.
    sys.stderr.write(f"{message}\n")
    raise SystemExit(exit_code)
