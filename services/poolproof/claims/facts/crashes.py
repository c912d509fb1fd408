"""Claims about what a fault takes along, on Celery's default: acknowledged before they run."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from poolproof.claims.claim import MEASURED, Claim, Finding, not_shown, of_run
from poolproof.experiments.crash import Crash

if TYPE_CHECKING:
    from poolproof.claims.lab import Lab

_AT_MOST_S: Final = 150.0
#: Small: enough rounds for a steady state, and a short time until what is stranded comes back.
_CRASH: Final = Crash(rounds=8, visibility_timeout_s=3.0)
#: prefork may take 5 s to see that a child is gone, and there must be tasks for the new one.
_PATIENT: Final = replace(_CRASH, rounds=24)
_DEADLY: Final = ("segfault", "os-exit", "kill-self")
#: Nothing is to come back here, only to stay.
_STAYS: Final = Crash(
    fault="system-exit", policy="late", rounds=8, visibility_timeout_s=3600.0, deadline_s=8.0
)


def _one_slot(lab: Lab, pool: str) -> Finding:
    played = lab.crash(pool, _PATIENT, *_DEADLY)
    observed = _tolls(played.crashes)
    if not all(crash["running"] for crash in played.crashes):
        return not_shown("no neighbour was running when the fault struck", observed)
    alone = all(
        crash["interrupted"] == crash["stranded"] == 0
        and crash["poison"] == "failed"
        and crash["slots_gone"] == 1
        and not crash["worker_died"]
        for crash in played.crashes
    )
    if alone and any(crash["restarted_by"] != "pool" for crash in played.crashes):
        return not_shown("the tasks ran out before a new slot was seen to work", observed)
    return of_run(played, observed, holds=alone)


def _whole_worker(lab: Lab, pool: str) -> Finding:
    played = lab.crash(pool, _CRASH, *_DEADLY)
    all_of_them = all(
        crash["worker_died"]
        and crash["running"] == crash["interrupted"] == crash["lost_by"]["interrupted"]
        and crash["stranded"]
        for crash in played.crashes
    )
    if not all(crash["running"] for crash in played.crashes):
        return not_shown("no neighbour was running when the fault struck", _tolls(played.crashes))
    return of_run(played, _tolls(played.crashes), holds=all_of_them)


def _noticed(lab: Lab, pool: str) -> Finding:
    played = lab.crash(pool, _PATIENT, *_DEADLY)
    times_s = [crash["recovery_s"]["detect"] for crash in played.crashes]
    if None in times_s:
        return of_run(played, "one was not noticed", holds=False)
    observed = f"noticed after {', '.join(f'{each:.1f}' for each in times_s)} s"
    return of_run(played, observed, holds=max(times_s) < 6, detect_s=times_s)


def _exception(lab: Lab, pool: str) -> Finding:
    played = lab.crash(pool, _CRASH, "exception")
    (crash,) = played.crashes
    harmless = not crash["interrupted"] and not crash["stranded"] and not crash["slots_gone"]
    return of_run(played, _tolls([crash]), holds=harmless and crash["poison"] == "failed")


def _memory_error(lab: Lab, pool: str, *, ends: bool) -> Finding:
    played = lab.crash(pool, _CRASH, "memory-error")
    (crash,) = played.crashes
    observed = f"{_tolls([crash])}; the worker {'ended' if crash['worker_died'] else 'went on'}"
    harmless = not crash["interrupted"] and not crash["stranded"]
    right = crash["worker_died"] if ends else harmless and not crash["worker_died"]
    return of_run(played, observed, holds=right and crash["poison"] == "failed")


def _phantom(lab: Lab, pool: str) -> Finding:
    played = lab.crash(pool, _CRASH, "system-exit")
    (crash,) = played.crashes
    alone = not crash["interrupted"] and not crash["worker_died"]
    return of_run(played, _tolls([crash]), holds=alone and crash["poison"] == "phantom")


def _phantom_message(lab: Lab, pool: str) -> Finding:
    played = lab.crash(pool, _STAYS)
    poison = played.case.evidence.ledger["poison"] > 0
    left = int(np.count_nonzero(played.case.ending.unacked & poison))
    observed = f"at the end its message is {'still' if left else 'not'} in unacked"
    return of_run(played, f"{observed}; {_tolls(played.crashes)}", holds=left == 1)


def _early(lab: Lab, pool: str) -> Finding:
    played = lab.crash(pool, _CRASH, "kill-worker")
    (crash,) = played.crashes
    if not crash["interrupted"]:
        return not_shown("no task was running when the worker was killed", _tolls([crash]))
    # One that was only on its way to its slot is lost too: that is another claim.
    lost = crash["lost_by"]["interrupted"]
    true = lost == crash["interrupted"] and crash["recovered"] == crash["stranded"] > 0
    observed = (
        f"{crash['interrupted']} interrupted: {lost} lost; "
        f"{crash['stranded']} stranded: {crash['recovered']} came back"
    )
    return of_run(played, observed, holds=true)


def _warm_shutdown(lab: Lab, pool: str) -> Finding:
    """Count the tasks that begin between SIGTERM and the end of the process."""
    played = lab.crash(pool, _CRASH, "term-worker")
    (crash,) = played.crashes
    evidence = played.case.evidence
    exit_ = next(op for op in evidence.named("worker-exit") if op.t_ns > crash["at_ns"])
    begun = evidence.ledger["first_start"]
    # A task that was on its way into its slot when the signal came is none of the prefetched ones.
    late_ns = crash["at_ns"] + 100_000_000
    count = int(np.count_nonzero((begun > late_ns) & (begun < exit_.t_ns)))
    took_s = (exit_.t_ns - crash["at_ns"]) / 1e9
    observed = f"{count} tasks begun between SIGTERM and the exit {took_s:.1f} s later"
    return of_run(played, observed, holds=count == 0, begun=count)


def _terminated(lab: Lab, pool: str) -> Finding:
    played = lab.crash(pool, _CRASH, "term-worker")
    books = played.summary["books"]
    completed = books["verdicts"]["completed"]
    observed = f"{completed} of {books['enqueued']} tasks completed"
    return of_run(played, observed, holds=completed == books["enqueued"])


def _tolls(crashes: list[dict[str, Any]]) -> str:
    return "; ".join(
        f"{crash['fault']}: {crash['interrupted']} of {crash['running']} interrupted, "
        f"{crash['stranded']} stranded, {crash['slots_gone']} slots gone"
        + (f", itself {crash['poison']}" if crash["poison"] else "")
        for crash in crashes
    )


CLAIMS: Final = (
    Claim(
        "one-slot",
        "A task that kills its process (segfault, os._exit, SIGKILL) takes one slot of prefork and "
        "no other task; the pool replaces the slot and reports the task as failed.",
        MEASURED,
        "0 interrupted, 0 stranded, 1 slot gone, the task itself failed, each time",
        _AT_MOST_S,
        _one_slot,
        ("prefork:4",),
    ),
    Claim(
        "whole-worker",
        "The same task on threads kills the worker: all that run are lost, all that wait stranded.",
        MEASURED,
        "all running interrupted and lost, some stranded, each time",
        _AT_MOST_S,
        _whole_worker,
        ("threads:4",),
    ),
    Claim(
        "noticed-late",
        "prefork notices a child that died within about 5 s, not at once.",
        "Celery's code (a look every 5 s)",
        "less than 6 s, each time",
        _AT_MOST_S,
        _noticed,
        ("prefork:4",),
    ),
    Claim(
        "exception",
        "A task that raises an exception costs no other task anything, on any pool.",
        MEASURED,
        "0 interrupted, 0 stranded, 0 slots gone, the task itself failed",
        _AT_MOST_S,
        _exception,
        ("prefork:4", "threads:4", "solo"),
    ),
    Claim(
        "memory-error",
        "A task that raises MemoryError is no mere failure: Celery raises it again in the main "
        "process of prefork and solo, and the whole worker ends.",
        "celery #10462",
        "the main process ends, the task itself failed",
        _AT_MOST_S,
        partial(_memory_error, ends=True),
        ("prefork:4", "solo"),
    ),
    Claim(
        "memory-error-threads",
        "On threads a MemoryError fails its task and costs nobody else anything.",
        MEASURED,
        "0 interrupted, 0 stranded, the worker goes on, the task itself failed",
        _AT_MOST_S,
        partial(_memory_error, ends=False),
        ("threads:4",),
    ),
    Claim(
        "phantom",
        "SystemExit on threads hurts nobody else, but the task never ends.",
        MEASURED,
        "0 interrupted, and Celery counts the task as running for ever (phantom)",
        _AT_MOST_S,
        _phantom,
        ("threads:4",),
    ),
    Claim(
        "phantom-message",
        "SystemExit on threads with acks_late leaves the task's message in unacked.",
        MEASURED,
        "its message is in unacked at the end",
        _AT_MOST_S,
        _phantom_message,
        ("threads:4",),
    ),
    Claim(
        "early-ack",
        "By default a running task whose worker is killed is lost; a prefetched one only stranded.",
        "Celery's code",
        "lost = interrupted, and every stranded task comes back",
        _AT_MOST_S,
        _early,
        ("prefork:4", "threads:4"),
    ),
    Claim(
        "warm-shutdown",
        "A worker that gets SIGTERM begins none of the tasks that it prefetched (threads: since "
        "5.7).",
        "celery #10180",
        "no task begins between SIGTERM and the exit",
        _AT_MOST_S,
        _warm_shutdown,
        ("prefork:4", "threads:4"),
    ),
    Claim(
        "warm-shutdown-loses-nothing",
        "A worker that gets SIGTERM and is started again loses no task.",
        "documentation",
        "every task completed",
        _AT_MOST_S,
        _terminated,
        ("prefork:4", "threads:4", "solo"),
    ),
)
