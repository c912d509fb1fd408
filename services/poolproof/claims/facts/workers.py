"""Claims about what a pool supports, tried on a bare Celery worker with a result backend."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final

import psutil

from poolproof.claims.bare_worker import bare_worker, holds
from poolproof.claims.claim import Claim, Finding, not_shown, shown

if TYPE_CHECKING:
    from poolproof.claims.bare_worker import Bare
    from poolproof.claims.lab import Lab

_AT_MOST_S: Final = 50.0
_NAP_S: Final = 3.0
_LIMIT_S: Final = 1
_EXCEEDED: Final = {"TimeLimitExceeded", "SoftTimeLimitExceeded"}
_RESULT_S: Final = 12.0
_GONE_S: Final = 5.0
_BY_TASKS: Final = ("--max-tasks-per-child", 2)
#: In kilobytes: any process has more.
_BY_MEMORY: Final = ("--max-memory-per-child", 1)


def _orphans(lab: Lab, pool: str) -> Finding:
    """SIGKILL the main process, and watch its children. Nobody but the kernel could end them."""
    lab.listener.phase(f"killing the main process of {pool}")
    with bare_worker(pool) as worker:
        children = worker.children()
        if not children:
            return not_shown("the worker has no child processes")
        worker.process.kill()
        begin = time.monotonic()
        gone = holds(lambda: not any(map(_lives, children)), _GONE_S)
        took_s = time.monotonic() - begin
        left = sum(map(_lives, children))
    if gone:
        observed = f"all {len(children)} children were gone after {took_s * 1e3:.0f} ms"
    else:
        observed = f"{left} of {len(children)} children still ran after {_GONE_S:.0f} s"
    return shown(observed, holds=gone, children=len(children), left=left, seconds=took_s)


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _time_limit(option: str, lab: Lab, pool: str, *, ends: bool, yields: bool = True) -> Finding:
    """Send a task that sleeps, or computes, longer than its limit, and ask how it ended."""
    found = _limited(option, lab, pool, yields=yields)
    if found is None:
        return not_shown(f"no result in {_RESULT_S:.0f} s")
    state, name, took_s = found
    right = (name in _EXCEEDED and took_s < _NAP_S) if ends else state == "SUCCESS"
    return shown(_ended(*found), holds=right, state=state, seconds=took_s)


def _outruns_limit(lab: Lab, pool: str) -> Finding:
    """Send a task that computes beyond its hard limit without ever yielding."""
    found = _limited("time_limit", lab, pool, yields=False)
    if found is None:
        return not_shown(f"no result in {_RESULT_S:.0f} s")
    state, name, took_s = found
    right = name in _EXCEEDED and took_s >= _NAP_S
    return shown(_ended(*found), holds=right, state=state, seconds=took_s)


def _limited(option: str, lab: Lab, pool: str, *, yields: bool) -> tuple[str, str, float] | None:
    """Return the state of a task with a limit, the exception's name, and how long it took."""
    lab.listener.phase(f"a time limit on {pool}")
    with bare_worker(pool) as worker:
        begin = time.monotonic()
        send = worker.nap if yields else worker.spin
        result = send(_NAP_S, **{option: _LIMIT_S})
        if not holds(result.ready, _RESULT_S):
            return None
        took_s = time.monotonic() - begin
        state, value = result.state, result.result
    return state, type(value).__name__ if isinstance(value, BaseException) else "", took_s


def _ended(state: str, name: str, took_s: float) -> str:
    return f"{state}{f' ({name})' if name else ''} after {took_s:.1f} s"


def _terminate(lab: Lab, pool: str, *, ends: bool) -> Finding:
    """Revoke a task that runs, with terminate, and ask how it ended."""
    lab.listener.phase(f"revoking a running task on {pool}")
    with bare_worker(pool) as worker:
        result = worker.nap(_NAP_S)
        if not holds(lambda: result.state == "STARTED", _RESULT_S):
            return not_shown("the task did not start")
        worker.app.control.revoke(result.id, terminate=True)
        if not holds(result.ready, _RESULT_S):
            return not_shown(f"no result in {_RESULT_S:.0f} s")
        state = result.state
    expected = "REVOKED" if ends else "SUCCESS"
    return shown(f"the task ended as {state}", holds=state == expected)


def _recycles(option: str, value: int, lab: Lab, pool: str, *, ends: bool) -> Finding:
    """Run six tasks with such an option, and count the processes that ran them."""
    lab.listener.phase(f"recycling slots of {pool}")
    with bare_worker(pool, option, str(value)) as worker:
        pids = _pids(worker, 6)
    if pids is None:
        return not_shown("not all tasks ended")
    observed = f"6 tasks were run by {len(set(pids))} processes"
    right = len(set(pids)) >= 3 if ends else len(set(pids)) == 1
    return shown(observed, holds=right, pids=pids)


def _pids(worker: Bare, count: int) -> list[int] | None:
    found = []
    for _ in range(count):
        result = worker.nap(0.0)
        if not holds(result.ready, _RESULT_S):
            return None
        found.append(int(result.result))
    return found


CLAIMS: Final = (
    Claim(
        "orphans",
        "SIGKILL of prefork's main process ends its children too, on Linux (PR_SET_PDEATHSIG).",
        "billiard's code",
        f"no child runs any more within {_GONE_S:.0f} s",
        _AT_MOST_S,
        _orphans,
        ("prefork:4",),
    ),
    Claim(
        "hard-limit",
        "A hard time limit ends a task that sleeps on prefork and gevent.",
        "documentation",
        f"TimeLimitExceeded long before the task's {_NAP_S:.0f} s are over",
        _AT_MOST_S,
        partial(_time_limit, "time_limit", ends=True),
        ("prefork:2", "gevent:2"),
    ),
    Claim(
        "hard-limit-computing",
        "It ends one that computes, too, on prefork.",
        "documentation",
        f"TimeLimitExceeded long before the task's {_NAP_S:.0f} s are over",
        _AT_MOST_S,
        partial(_time_limit, "time_limit", ends=True, yields=False),
        ("prefork:2",),
    ),
    Claim(
        "hard-limit-needs-yield",
        "On gevent it does not: a task that never yields runs to its end, and is failed then.",
        "celery #9203; measured by us",
        f"TimeLimitExceeded, but after the task's {_NAP_S:.0f} s",
        _AT_MOST_S,
        _outruns_limit,
        ("gevent:2",),
    ),
    Claim(
        "hard-limit-ignored",
        "Threads and solo ignore a hard time limit, without any error.",
        "celery #9203, #5786",
        f"the task succeeds after its {_NAP_S:.0f} s",
        _AT_MOST_S,
        partial(_time_limit, "time_limit", ends=False),
        ("threads:2", "solo"),
    ),
    Claim(
        "soft-limit",
        "A soft time limit interrupts a task on prefork.",
        "documentation",
        f"SoftTimeLimitExceeded long before the task's {_NAP_S:.0f} s are over",
        _AT_MOST_S,
        partial(_time_limit, "soft_time_limit", ends=True),
        ("prefork:2",),
    ),
    Claim(
        "soft-limit-ignored",
        "Threads, gevent and solo ignore a soft time limit, without any error.",
        "celery #9203, #5786",
        f"the task succeeds after its {_NAP_S:.0f} s",
        _AT_MOST_S,
        partial(_time_limit, "soft_time_limit", ends=False),
        ("threads:2", "gevent:2", "solo"),
    ),
    Claim(
        "terminate",
        "revoke(terminate=True) ends a running task on prefork and gevent.",
        "documentation",
        "the task ends as REVOKED",
        _AT_MOST_S,
        partial(_terminate, ends=True),
        ("prefork:2", "gevent:2"),
    ),
    Claim(
        "terminate-ignored",
        "revoke(terminate=True) does not end a task that runs on threads or solo.",
        "celery #8147, #10490",
        "the task ends as SUCCESS",
        _AT_MOST_S,
        partial(_terminate, ends=False),
        ("threads:2", "solo"),
    ),
    Claim(
        "recycling",
        "--max-tasks-per-child 2 gives every two tasks on prefork a new process.",
        "documentation",
        "3 processes or more for 6 tasks on one slot",
        _AT_MOST_S,
        partial(_recycles, *_BY_TASKS, ends=True),
        ("prefork:1",),
    ),
    Claim(
        "recycling-ignored",
        "Threads and solo ignore --max-tasks-per-child, without any error.",
        "documentation: only prefork has it",
        "1 process for 6 tasks",
        _AT_MOST_S,
        partial(_recycles, *_BY_TASKS, ends=False),
        ("threads:1", "solo"),
    ),
    Claim(
        "recycling-memory",
        "--max-memory-per-child gives a slot a new process after the task that went beyond it, on "
        "prefork.",
        "documentation",
        "6 processes for 6 tasks on one slot, by a limit of 1 kB",
        _AT_MOST_S,
        partial(_recycles, *_BY_MEMORY, ends=True),
        ("prefork:1",),
    ),
    Claim(
        "recycling-memory-ignored",
        "Threads and solo ignore it, without any error.",
        "documentation: only prefork has it",
        "1 process for 6 tasks",
        _AT_MOST_S,
        partial(_recycles, *_BY_MEMORY, ends=False),
        ("threads:1", "solo"),
    ),
)
