"""The task that does a fault, and the innocent one that looks at what a fault left behind."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, NoReturn

from celery.utils.dispatch import Signal

from poolproof_workers.contract import fault_detail
from poolproof_workers.errors import PoolproofError
from poolproof_workers.faults.catalogue import find
from poolproof_workers.faults.memory_limit import Way
from poolproof_workers.faults.shared_state import join

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery import Task

FAULT: Final = "poolproof.fault"
OBSERVE: Final = "poolproof.observe"

#: Sent with `task_id` and `detail` (of `Event.FAULT`) at the last moment before a fault.
about_to_fault: Final = Signal(name="about_to_fault", providing_args={"task_id", "detail"})


class FaultsOff(PoolproofError):  # noqa: N818  says what it is
    """A fault was asked of a worker that does not allow any."""


def task_function(*, allowed: bool) -> Callable[..., object]:
    """Return what the (bound) task `poolproof.fault` runs: the faults, or a plain refusal."""
    return _do if allowed else _refuse


def observe(name: str, sleep_s: float = 0.0) -> int:
    """Look at what a fault leaves behind, sleep, look again: see `shared_state`."""
    _, fault = find(name)
    assert fault.see is not None, name  # noqa: S101  whoever sends it has looked
    before = fault.see()
    time.sleep(sleep_s)
    return join(before, fault.see())


def _do(task: Task[Any, Any], name: str, after_s: float = 0.0) -> object:
    index, fault = find(name)
    if fault.do is None:
        raise FaultsOff(f"The fault {name!r} comes from outside: order it from the supervisor.")
    _wait(after_s, fault.approach)
    way = fault.prepare() if fault.prepare else Way.PLAIN
    about_to_fault.send(sender=task, task_id=task.request.id, detail=fault_detail(index, way))
    return fault.do()


def _wait(after_s: float, approach: Callable[[], None] | None) -> None:
    """Wait so long in all; if the approach takes longer, until neighbours are as far as then.

    They take twice as long, so that it strikes in the middle of what they do.
    """
    began = time.monotonic()
    if approach:
        approach()
    left_s = after_s - (time.monotonic() - began)
    time.sleep(left_s % (2 * after_s) if after_s else 0.0)


def _refuse(task: Task[Any, Any], name: str, after_s: float = 0.0) -> NoReturn:  # noqa: ARG001
    raise FaultsOff(f"Fault {name!r} refused: start the worker with POOLPROOF_ALLOW_FAULTS=1.")
