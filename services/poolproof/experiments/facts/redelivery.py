"""Claims about late acknowledgement, and about when Redis gives back what a dead worker held."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from celery import Task

from poolproof.experiments.crash import Crash
from poolproof.experiments.facts.claim import MEASURED, Claim, Finding, not_shown, of_run
from poolproof.judge.attempts import look_at
from poolproof.judge.verdicts import Verdict
from poolproof_workers.contract import Event

if TYPE_CHECKING:
    from poolproof.experiments.facts.lab import Lab, Played
    from poolproof.experiments.session import Session

_AT_MOST_S: Final = 90.0
_VISIBILITY_S: Final = 3.0
#: prefork may take 5 s to see that a child is gone; with a shorter timeout than that the message is
#: delivered again meanwhile, and it is that which would be seen.
_LONG_S: Final = 3600.0
#: Rounds that go on beside a task which comes back again and again.
_LOOP: Final = 24
_OLD: Final = "this Celery has no task_retry_on_worker_lost (it came with 5.7)"
#: Celery's own, which the other claims shorten.
_DEFAULTS: Final = Crash(
    fault="kill-worker",
    policy="late",
    rounds=8,
    visibility_timeout_s=10.0,
    restore_interval_s=10.0,
    restore_throttle=10,
    deadline_s=30.0,
)


def _late(**changes: Any) -> Crash:
    given: dict[str, Any] = {
        "fault": "kill-self",
        "policy": "late",
        "rounds": 8,
        "visibility_timeout_s": _VISIBILITY_S,
        "deadline_s": 12.0,
    }
    return Crash(**given | changes)


@dataclass(frozen=True, slots=True)
class Looks:
    """Watch how often a worker looks for messages to restore: all its commands pass by us."""

    seconds: float = 9.0
    interval_s: float = 0.5
    throttle: int = 4

    def play(self, session: Session) -> None:
        """Warm up, then watch; the times go into the history."""
        (side,) = session.sides
        session.warm_up(side)
        session.listener.phase(f"watching for {self.seconds:.0f} s how often {side.label} looks")
        index = session.keys.unacked_index(side.label)
        session.producer.op("phase", name="looks", unix_s=self._watch(session, index))

    def _watch(self, session: Session, index: str) -> list[float]:
        found, end = [], time.time() + self.seconds
        with session.redis.monitor() as monitor:  # type: ignore[no-untyped-call]
            for seen in monitor.listen():
                words = seen["command"].upper()
                by_score = "BYSCORE" in words
                if by_score and index.upper() in words:
                    found.append(float(seen["time"]))
                # The supervisor beside the worker talks to Redis ten times a second.
                if time.time() > end:
                    return found
        return found

    def settings(self) -> dict[str, str]:
        """Return the settings of the worker."""
        return {
            "POOLPROOF_RESTORE_INTERVAL_S": str(self.interval_s),
            "POOLPROOF_RESTORE_THROTTLE": str(self.throttle),
        }

    def to_json(self) -> dict[str, Any]:
        """Return the plan as the history keeps it."""
        return {"name": "looks", **asdict(self)}


def _sweep_period(lab: Lab, pool: str) -> Finding:
    looks = Looks()
    played = lab.play(pool, looks, looks.settings())
    op = next(op for op in played.case.evidence.named("phase") if op["name"] == "looks")
    gaps = np.diff(op["unix_s"])
    if len(gaps) < 2:
        return not_shown(f"{len(op['unix_s'])} looks are too few to tell", "")
    expected = looks.interval_s * looks.throttle
    listed = ", ".join(f"{gap:.2f}" for gap in gaps)
    near = bool((abs(gaps - expected) < expected / 4).all())
    return of_run(played, f"seconds between looks: {listed}", holds=near, gaps_s=gaps.tolist())


def _nothing_by_default(lab: Lab, pool: str) -> Finding:
    played = lab.crash(pool, _DEFAULTS)
    stranded, back = _count(played, Verdict.STRANDED), len(_gaps_s(played))
    timeout_s = _DEFAULTS.visibility_timeout_s
    observed = (
        f"{stranded + back} messages were due after {timeout_s:.0f} s: {back} came back within "
        f"{_DEFAULTS.deadline_s:.0f} s"
    )
    if not stranded + back:
        return not_shown("the dead worker held nothing", observed)
    return of_run(played, observed, holds=back == 0)


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


def _nobody_notices(policy: str, lab: Lab, pool: str) -> Finding:
    if policy == "late-retry" and not hasattr(Task, "retry_on_worker_lost"):
        return not_shown(_OLD)
    played = lab.crash(pool, _late(policy=policy))
    reports = int(played.case.evidence.ledger.count(Event.REPORTED).sum())
    gaps_s = _gaps_s(played)
    if not len(gaps_s):
        return not_shown("nothing was delivered again", f"{reports} reported as lost")
    observed = (
        f"{reports} reported as lost; {len(gaps_s)} delivered again, the first "
        f"{gaps_s.min():.1f} s after it was taken"
    )
    # Redis's clock and the recorder's read a little apart.
    true = reports == 0 and gaps_s.min() > _VISIBILITY_S - 0.1
    return of_run(played, observed, holds=true, first_s=float(gaps_s.min()))


def _late_reject(lab: Lab, pool: str) -> Finding:
    return _nobody_notices("late-reject", lab, pool)


def _late_retry(lab: Lab, pool: str) -> Finding:
    return _nobody_notices("late-retry", lab, pool)


def _gaps_s(played: Played) -> np.ndarray:
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


def _count(played: Played, verdict: Verdict) -> int:
    return int(np.count_nonzero(played.case.verdicts == verdict))


CLAIMS: Final = (
    Claim(
        "sweep-period",
        "A worker looks for messages to restore every unacked_restore_interval x "
        "unacked_restore_throttle seconds (by default 10 x 10).",
        "kombu's code",
        "2.0 s between looks, by 0.5 s x 4",
        _AT_MOST_S,
        _sweep_period,
        ("prefork:2", "threads:2"),
    ),
    Claim(
        "default-sweep",
        "With that default a killed worker's tasks do not come back when their visibility timeout "
        "is over, even with acks_late and after a restart.",
        MEASURED,
        "none comes back within 30 s of a timeout of 10 s",
        _AT_MOST_S,
        _nothing_by_default,
        ("prefork:4", "threads:4"),
    ),
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
        _late_reject,
        ("threads:4", "solo"),
    ),
    Claim(
        "retry-needs-prefork",
        "Nor does task_retry_on_worker_lost.",
        "Celery's code",
        f"no report, and nothing again within {_VISIBILITY_S:.0f} s of when it was taken",
        _AT_MOST_S,
        _late_retry,
        ("threads:4", "solo"),
    ),
)
