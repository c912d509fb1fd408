"""The scenario behind "Celery loses 8 % of your tasks": what was lost, and what only waited."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from poolproof.claims.claim import Claim, Finding, not_shown, of_run
from poolproof.judge.verdicts.verdicts import Verdict
from poolproof.produce.plan import BlockSpec
from poolproof_workers.contract import Event
from poolproof_workers.errors import WorkerError

if TYPE_CHECKING:
    from poolproof.claims.lab import Lab, Played
    from poolproof.runner.session import Session

_STEP_S: Final = 30.0
_DONE: Final = (Verdict.COMPLETED, Verdict.RECOVERED, Verdict.REPEATED)


@dataclass(frozen=True, slots=True)
class Losses:
    """Several SIGKILLs of the worker, evenly spread over a load of short tasks.

    Published with 500 tasks, prefork:4, prefetch 1 and five kills; smaller, the share of the tasks
    that a kill touches grows, and their number a kill stays. The visibility timeout is short, so
    that what only waits is seen to come back.
    """

    tasks: int
    policy: str
    kills: int = 5
    task_s: float = 0.5
    prefetch: int = 1
    visibility_timeout_s: float = 3.0
    deadline_s: float = 60.0

    def play(self, session: Session) -> None:
        """Load one side, kill its worker again and again, and wait for what comes back."""
        (side,) = session.sides
        session.listener.phase(f"warming up {side.label}")
        session.warm_up(side)
        block = BlockSpec(side.label, self.workload, self.tasks)
        sent = session.producer.enqueue(block, session.workload(self.workload))
        for kill in range(self.kills):
            done = (kill + 1) * self.tasks // (self.kills + 1)
            session.listener.phase(f"{self.policy}: kill {kill + 1} of {self.kills}")
            limit_s = _STEP_S + done * self.task_s
            session.holds(lambda now, done=done: now.settled_in(sent) >= done, limit_s)  # type: ignore[misc]
            time.sleep(self.task_s / 2)  # the slots are in the middle of their tasks
            self._kill(session, side.workers[0])
        session.listener.phase(f"{self.policy}: waiting for what comes back")
        quiet = session.until_quiet(side, self.tasks * self.task_s / 4 + self.deadline_s)
        session.producer.end(sent, drained=quiet)

    def _kill(self, session: Session, worker: str) -> None:
        life = session.progress().lives.get(worker, 0)
        session.order(worker, {"order": "fault", "fault": "kill-worker"})
        if not session.holds(
            lambda now: now.lives.get(worker, 0) > life and worker in now.ready, _STEP_S
        ):
            raise WorkerError(f"{worker} did not come back after it was killed.")

    @property
    def workload(self) -> str:
        """What a task does."""
        return f"sleep:{round(self.task_s * 1000)}ms"

    def settings(self) -> dict[str, str]:
        """Return the settings of the worker."""
        return {
            "POOLPROOF_POLICY": self.policy,
            "POOLPROOF_PREFETCH": str(self.prefetch),
            "POOLPROOF_VISIBILITY_TIMEOUT_S": str(self.visibility_timeout_s),
            "POOLPROOF_RESTORE_INTERVAL_S": "1",
            "POOLPROOF_RESTORE_THROTTLE": "1",
        }

    def to_json(self) -> dict[str, Any]:
        """Return the plan as the history keeps it."""
        return {"name": "losses", **asdict(self)}


def _fates(played: Played, workload: str) -> dict[str, int]:
    """Return what became of the load: lost, came back after a kill, or none of both."""
    case = played.case
    (block,) = [block for block in case.blocks if block.workload == workload]
    verdicts = case.verdicts[block.rows]
    again = case.evidence.ledger.count(Event.RECEIVED)[block.rows] >= 2
    done = np.isin(verdicts, _DONE)
    return {
        "tasks": block.count,
        "done": int(np.count_nonzero(done)),
        "lost": int(np.count_nonzero(verdicts == Verdict.LOST)),
        "came_back": int(np.count_nonzero(done & again)),
        "repeated": int(np.count_nonzero(verdicts == Verdict.REPEATED)),
        "kills": sum(crash["worker_died"] for crash in played.crashes),
    }


def _scenario(policy: str, lab: Lab, pool: str) -> Finding:
    losses = Losses(lab.loss_tasks, policy)
    played = lab.play(pool, losses, losses.settings())
    fates = _fates(played, losses.workload)
    observed = _observed(fates)
    if fates["kills"] < losses.kills:
        return not_shown(f"only {fates['kills']} of {losses.kills} kills were seen", observed)
    all_known = fates["done"] + fates["lost"] == fates["tasks"]
    if policy == "early":
        holds = fates["lost"] > 0 and fates["came_back"] > 0
    else:
        holds = fates["lost"] == 0 and fates["came_back"] > 0
    return of_run(played, observed, holds=holds and all_known, **fates)


def _observed(fates: dict[str, int]) -> str:
    missing = fates["lost"] + fates["came_back"]
    repeated = f", {fates['repeated']} ran twice" if fates["repeated"] else ""
    share = missing / fates["tasks"]
    return (
        f"of {fates['tasks']} tasks {missing} ({share:.1%}) would be missing when the queue is "
        f"empty: {fates['lost']} lost for good, {fates['came_back']} came back"
        f"{repeated}; a kill: {missing / max(1, fates['kills']):.1f}"
    )


CLAIMS: Final = (
    Claim(
        "loses-8-percent",
        'In the scenario behind "Celery loses 8 % of your tasks" (0.5 s tasks, prefetch 1, five '
        "SIGKILLs) only a part is lost: the rest is stranded and comes back.",
        "published benchmark (500 tasks: 460 done), recounted",
        "some lost, and some that were stranded came back",
        400.0,
        partial(_scenario, "early"),
        ("prefork:4",),
    ),
    Claim(
        "loses-nothing-late",
        "The same with acks_late loses nothing: what is missing when the queue is empty waits for "
        "its visibility timeout.",
        "published benchmark (500 tasks: 480 done), recounted",
        "none lost, and all that were stranded came back",
        400.0,
        partial(_scenario, "late"),
        ("prefork:4",),
    ),
)
