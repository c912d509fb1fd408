"""Claims about what a pool supports, tried on a bare Celery worker with a result backend."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final

import psutil

from poolproof.experiments.facts.bare import bare_worker, holds
from poolproof.experiments.facts.claim import Claim, Finding, not_shown, shown

if TYPE_CHECKING:
    from poolproof.experiments.facts.bare import Bare
    from poolproof.experiments.facts.lab import Lab

_AT_MOST_S: Final = 50.0
_NAP_S: Final = 3.0
_LIMIT_S: Final = 1
_RESULT_S: Final = 12.0
_GONE_S: Final = 5.0


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


def _time_limit(option: str, lab: Lab, pool: str, *, ends: bool) -> Finding:
    """Send a task that sleeps longer than its limit, and ask how it ended."""
    lab.listener.phase(f"a time limit on {pool}")
    with bare_worker(pool) as worker:
        begin = time.monotonic()
        result = worker.nap(_NAP_S, **{option: _LIMIT_S})
        if not holds(result.ready, _RESULT_S):
            return not_shown(f"no result in {_RESULT_S:.0f} s")
        took_s = time.monotonic() - begin
        state, value = result.state, result.result
    name = type(value).__name__ if isinstance(value, BaseException) else ""
    cut = state == "FAILURE" and name in {"TimeLimitExceeded", "SoftTimeLimitExceeded"}
    observed = f"{state}{f' ({name})' if name else ''} after {took_s:.1f} s"
    return shown(observed, holds=cut if ends else state == "SUCCESS", state=state, seconds=took_s)


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


def _recycles(lab: Lab, pool: str, *, ends: bool) -> Finding:
    """Run six tasks with --max-tasks-per-child 2, and count the processes that ran them."""
    lab.listener.phase(f"recycling slots of {pool}")
    with bare_worker(pool, "--max-tasks-per-child", "2") as worker:
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
        "A hard time limit ends a task on prefork.",
        "documentation",
        f"TimeLimitExceeded long before the task's {_NAP_S:.0f} s are over",
        _AT_MOST_S,
        partial(_time_limit, "time_limit", ends=True),
        ("prefork:2",),
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
        "Threads and solo ignore a soft time limit, without any error.",
        "celery #9203, #5786",
        f"the task succeeds after its {_NAP_S:.0f} s",
        _AT_MOST_S,
        partial(_time_limit, "soft_time_limit", ends=False),
        ("threads:2", "solo"),
    ),
    Claim(
        "terminate",
        "revoke(terminate=True) ends a running task on prefork.",
        "documentation",
        "the task ends as REVOKED",
        _AT_MOST_S,
        partial(_terminate, ends=True),
        ("prefork:2",),
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
        partial(_recycles, ends=True),
        ("prefork:1",),
    ),
    Claim(
        "recycling-ignored",
        "Threads and solo ignore --max-tasks-per-child, without any error.",
        "documentation: only prefork has it",
        "1 process for 6 tasks",
        _AT_MOST_S,
        partial(_recycles, ends=False),
        ("threads:1", "solo"),
    ),
)
