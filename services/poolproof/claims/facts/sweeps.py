"""Claims about how often a worker looks for messages that a dead one held."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from poolproof.claims.claim import MEASURED, Claim, Finding, not_shown, of_run
from poolproof.claims.facts.redelivery import gaps_s
from poolproof.experiments.crash import Crash
from poolproof.judge.verdicts.verdicts import Verdict

if TYPE_CHECKING:
    from poolproof.claims.lab import Lab
    from poolproof.runner.session import Session

_AT_MOST_S: Final = 90.0
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
    stranded, back = (
        int(np.count_nonzero(played.case.verdicts == Verdict.STRANDED)),
        len(gaps_s(played)),
    )
    timeout_s = _DEFAULTS.visibility_timeout_s
    observed = (
        f"{stranded + back} messages were due after {timeout_s:.0f} s: {back} came back within "
        f"{_DEFAULTS.deadline_s:.0f} s"
    )
    if not stranded + back:
        return not_shown("the dead worker held nothing", observed)
    return of_run(played, observed, holds=back == 0)


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
)
