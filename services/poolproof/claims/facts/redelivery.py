"""Claims about late acknowledgement: what becomes of a task whose slot was lost."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from celery import Task

from poolproof.claims.claim import Claim, Finding, not_shown, of_run
from poolproof.experiments.crash import Crash
from poolproof.judge.verdicts.attempts import look_at
from poolproof_workers.contract import Event

if TYPE_CHECKING:
    from poolproof.claims.lab import Lab, Played

_AT_MOST_S: Final = 90.0
_VISIBILITY_S: Final = 3.0
#: prefork may take 5 s to see that a child is gone; with a shorter timeout than that the message is
#: delivered again meanwhile, and it is that which would be seen.
_LONG_S: Final = 3600.0
#: Rounds that go on beside a task which comes back again and again.
_LOOP: Final = 24
_OLD: Final = "this Celery has no task_retry_on_worker_lost (it came with 5.7)"


def _late(**changes: Any) -> Crash:
    given: dict[str, Any] = {
        "fault": "kill-self",
        "policy": "late",
        "rounds": 8,
        "visibility_timeout_s": _VISIBILITY_S,
        "deadline_s": 12.0,
    }
    return Crash(**given | changes)


def _acknowledged_when_lost(lab: Lab, pool: str) -> Finding:
    played = lab.crash(pool, _late(visibility_timeout_s=_LONG_S))
    (crash,) = played.crashes
    observed = f"{_times(crash['strikes'])} and is {crash['poison']}"
    return of_run(played, observed, holds=crash["strikes"] == 1 and crash["poison"] == "failed")


def _rejected_for_ever(lab: Lab, pool: str) -> Finding:
    played = lab.crash(
        pool, _late(policy="late-reject", rounds=_LOOP, visibility_timeout_s=_LONG_S)
    )
    (crash,) = played.crashes
    observed = f"{_times(crash['strikes'])}, and at the end it is {crash['poison']}"
    over = crash["poison"] in {"failed", "lost"}
    # A bound as that of retries would have ended it after four.
    if not over and crash["strikes"] < 4:
        return not_shown("the run was over too soon", observed)
    return of_run(played, observed, holds=not over, strikes=crash["strikes"])


def _retried_thrice(lab: Lab, pool: str) -> Finding:
    if not hasattr(Task, "retry_on_worker_lost"):
        return not_shown(_OLD)
    crash_ = _late(policy="late-retry", rounds=_LOOP, visibility_timeout_s=_LONG_S, deadline_s=30.0)
    settings = crash_.settings() | {"POOLPROOF_RETRY_DELAY_S": "0.2"}
    played = lab.play(pool, crash_, settings)
    (crash,) = played.crashes
    observed = f"{_times(crash['strikes'])} and is {crash['poison']}"
    return of_run(played, observed, holds=crash["strikes"] == 4 and crash["poison"] == "failed")


def _waits_by_default(lab: Lab, pool: str) -> Finding:
    if not hasattr(Task, "retry_on_worker_lost"):
        return not_shown(_OLD)
    played, crash = _killed_once(lab, pool, _LONG_S)
    observed = f"{_times(crash['strikes'])} in 12 s, with a delay of {Task.default_retry_delay} s"
    return of_run(played, observed, holds=crash["strikes"] == 1 and _default_delay_is_180())


def _outlasts(lab: Lab, pool: str) -> Finding:
    if not hasattr(Task, "retry_on_worker_lost"):
        return not_shown(_OLD)
    played, crash = _killed_once(lab, pool, _VISIBILITY_S)
    ledger = played.case.evidence.ledger
    deliveries = int(ledger.count(Event.RECEIVED)[ledger["poison"] > 0].sum())
    observed = f"{_times(crash['strikes'])}, and was delivered {deliveries} times, in 12 s"
    return of_run(played, observed, holds=deliveries > crash["strikes"] + 1, deliveries=deliveries)


def _killed_once(lab: Lab, pool: str, visibility_s: float) -> tuple[Played, dict[str, Any]]:
    """Kill a slot, with Celery's own delay before the retry, and watch for 12 s."""
    crash_ = _late(policy="late-retry", visibility_timeout_s=visibility_s)
    delay = {"POOLPROOF_RETRY_DELAY_S": str(Task.default_retry_delay)}
    played = lab.play(pool, crash_, crash_.settings() | delay)
    (crash,) = played.crashes
    return played, crash


def _default_delay_is_180() -> bool:
    return bool(Task.default_retry_delay == 180)


def _times(strikes: int) -> str:
    return "it ran once" if strikes == 1 else f"it ran {strikes} times"


def _nobody_notices(lab: Lab, pool: str, *, policy: str) -> Finding:
    if policy == "late-retry" and not hasattr(Task, "retry_on_worker_lost"):
        return not_shown(_OLD)
    played = lab.crash(pool, _late(policy=policy))
    reports = int(played.case.evidence.ledger.count(Event.REPORTED).sum())
    waited_s = gaps_s(played)
    if not len(waited_s):
        return not_shown("nothing was delivered again", f"{reports} reported as lost")
    observed = (
        f"{reports} reported as lost; {len(waited_s)} delivered again, the first "
        f"{waited_s.min():.1f} s after it was taken"
    )
    # Redis's clock and the recorder's read a little apart.
    true = reports == 0 and waited_s.min() > _VISIBILITY_S - 0.1
    return of_run(played, observed, holds=true, first_s=float(waited_s.min()))


def gaps_s(played: Played) -> np.ndarray:
    """Return for each task that was delivered again the seconds from its first delivery to that."""
    evidence = played.case.evidence
    seen = look_at(evidence, np.asarray(evidence.ledger.count(Event.RECEIVED) >= 2))
    received = seen.of(Event.RECEIVED)
    number, t_ns = seen.number[received], seen.t_ns[received]
    order = np.lexsort((t_ns, number))
    number, t_ns = number[order], t_ns[order]
    first = np.append(True, number[1:] != number[:-1])[: len(number)]
    at = np.flatnonzero(first)
    return np.asarray((t_ns[at + 1] - t_ns[at]) / 1e9)


CLAIMS: Final = (
    Claim(
        "late-acks-lost",
        "acks_late alone acknowledges a task whose process died: it is failed, not run again.",
        "Celery's code",
        "the task runs once and is failed",
        _AT_MOST_S,
        _acknowledged_when_lost,
        ("prefork:4",),
    ),
    Claim(
        "reject-loops",
        "task_reject_on_worker_lost puts a task that kills its process back without end.",
        "celery #9082",
        "it kills 4 processes or more, and is still not over",
        _AT_MOST_S,
        _rejected_for_ever,
        ("prefork:4",),
    ),
    Claim(
        "retry-bounds",
        "task_retry_on_worker_lost (5.7) bounds it: 3 retries, then the task is failed.",
        "documentation",
        "the task runs 4 times and is failed",
        _AT_MOST_S,
        _retried_thrice,
        ("prefork:4",),
    ),
    Claim(
        "retry-waits",
        "task_retry_on_worker_lost waits 180 s before a retry, by default.",
        "Celery's code",
        "one run in 12 s, and Task.default_retry_delay is 180",
        _AT_MOST_S,
        _waits_by_default,
        ("prefork:4",),
    ),
    Claim(
        "retry-outlasts-timeout",
        "A retry that waits longer than the visibility timeout is delivered again and again while "
        "it waits.",
        "documentation (caveats of Redis)",
        f"more deliveries than a run and its retry need, by a timeout of {_VISIBILITY_S:.0f} s",
        _AT_MOST_S,
        _outlasts,
        ("prefork:4",),
    ),
    Claim(
        "reject-needs-prefork",
        "On threads and solo nobody notices a lost slot: task_reject_on_worker_lost gives nothing "
        "back before the visibility timeout.",
        "Celery's code",
        f"no report, and nothing again within {_VISIBILITY_S:.0f} s of when it was taken",
        _AT_MOST_S,
        partial(_nobody_notices, policy="late-reject"),
        ("threads:4", "solo"),
    ),
    Claim(
        "retry-needs-prefork",
        "Nor does task_retry_on_worker_lost.",
        "Celery's code",
        f"no report, and nothing again within {_VISIBILITY_S:.0f} s of when it was taken",
        _AT_MOST_S,
        partial(_nobody_notices, policy="late-retry"),
        ("threads:4", "solo"),
    ),
)
