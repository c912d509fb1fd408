"""What can be broken on purpose, what each fault teaches, and the task that does it from inside."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn

from celery.utils.dispatch import Signal

from poolproof_workers.errors import PoolproofError

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery import Task

FAULT: Final = "poolproof.fault"

#: Sent with `task_id` and `index` (in `FAULTS`) at the last moment before a fault from inside.
about_to_fault: Final = Signal(name="about_to_fault", providing_args={"task_id", "index"})


class FaultsOff(PoolproofError):  # noqa: N818  says what it is
    """A fault was asked of a worker that does not allow any."""


class DeliberateError(Exception):
    """The exception that the fault `exception` raises."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to break something."""

    name: str
    where: Literal["inside", "outside"]  #: done by a task, or by the supervisor to the worker
    what: str
    lesson: str
    do: Callable[[], object] | None = None  #: what the task does; None for one from outside


def _segfault() -> None:
    # Another thread's faulthandler or the kernel's core dump would only delay the death.
    ctypes.string_at(0)


def _os_exit() -> NoReturn:
    os._exit(3)


def _kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _system_exit() -> NoReturn:
    raise SystemExit(3)


def _exception() -> NoReturn:
    raise DeliberateError("raised on purpose")


#: A record keeps a fault's index here: append, never reorder.
FAULTS: Final = (
    Fault(
        "segfault",
        "inside",
        "reads address 0: the kernel ends the process with SIGSEGV",
        "A crash in native code ends the whole process: one slot of prefork, all slots of threads.",
        _segfault,
    ),
    Fault(
        "os-exit",
        "inside",
        "calls os._exit(3): the process ends without any clean-up",
        "A process that leaves by itself takes the same neighbours along as one that crashes.",
        _os_exit,
    ),
    Fault(
        "kill-self",
        "inside",
        "sends SIGKILL to its own process, as the kernel does when memory runs out",
        "SIGKILL cannot be caught: whatever shares the process is gone.",
        _kill_self,
    ),
    Fault(
        "system-exit",
        "inside",
        "raises SystemExit",
        "Only a process pool notices; on threads the task is never ended nor reported.",
        _system_exit,
    ),
    Fault(
        "exception",
        "inside",
        "raises an ordinary exception",
        "An exception is no crash: it fails one task and costs nobody else anything.",
        _exception,
    ),
    Fault(
        "kill-child",
        "outside",
        "SIGKILL to one busy child process of the pool",
        "A process pool loses one slot and replaces it. Threads have no child to kill.",
    ),
    Fault(
        "kill-worker",
        "outside",
        "SIGKILL to the worker's main process",
        "Every pool dies with its main process; what it had reserved waits for redelivery.",
    ),
    Fault(
        "term-worker",
        "outside",
        "SIGTERM to the worker's main process: a warm shutdown",
        "A worker that is asked to stop ends what runs and gives back what it had reserved.",
    ),
)

INSIDE: Final = tuple(fault.name for fault in FAULTS if fault.where == "inside")
OUTSIDE: Final = tuple(fault.name for fault in FAULTS if fault.where == "outside")


def find(name: str) -> tuple[int, Fault]:
    """Return a fault and its index. Raises KeyError for an unknown name."""
    for index, fault in enumerate(FAULTS):
        if fault.name == name:
            return index, fault
    raise KeyError(name)


def task_function(*, allowed: bool) -> Callable[..., None]:
    """Return what the (bound) task `poolproof.fault` runs: the faults, or a plain refusal."""
    return _do if allowed else _refuse


def _do(task: Task[Any, Any], name: str, after_s: float = 0.0) -> None:
    index, fault = find(name)
    if fault.do is None:
        raise FaultsOff(f"The fault {name!r} comes from outside: order it from the supervisor.")
    time.sleep(after_s)
    about_to_fault.send(sender=task, task_id=task.request.id, index=index)
    fault.do()


def _refuse(task: Task[Any, Any], name: str, after_s: float = 0.0) -> NoReturn:  # noqa: ARG001
    raise FaultsOff(f"Fault {name!r} refused: start the worker with POOLPROOF_ALLOW_FAULTS=1.")
