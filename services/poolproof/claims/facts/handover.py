"""A claim about the step in which a message is neither in the queue nor in `unacked`."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from poolproof.claims.claim import Claim, Finding, not_shown, of_run
from poolproof.experiments.crash import Crash
from poolproof.judge.verdicts.verdicts import Verdict
from poolproof.produce.plan import BlockSpec
from poolproof_workers.errors import WorkerError

if TYPE_CHECKING:
    from poolproof.claims.lab import Lab, Played
    from poolproof.runner.session import Session
    from poolproof.runner.side import Side

#: Of no other block of the run.
_WORKLOAD: Final = "sleep:51ms"
_STEP_S: Final = 30.0
#: A BRPOP of kombu's ends by itself a second after it was sent; a worker that stands still sends no
#: other. An idle one sent its last when it took its last task, or whole seconds later.
_TRIES: Final = 12
_BRPOP_S: Final = 1.0
#: Of that second, to begin with, and so much more at each try.
_MOMENT_S: Final = 0.45
_STEP_OF_MOMENT_S: Final = 0.17
#: For Redis to hand a message to who waits for it. The worker stands still for 2 s.
_HANDED_S: Final = 0.3
#: Beyond the time after which whatever was stranded has come back.
_STILL_S: Final = 3.0
_POLL_S: Final = 0.005


@dataclass(frozen=True, slots=True)
class Handover:
    """Stop an idle worker, send it a task, and kill it when Redis has handed it over.

    An idle worker waits for the answer to its BRPOP. Redis gives it, whether the worker runs or
    stands still: from then on the message is nowhere but on the worker's connection.
    """

    crash: Crash

    def play(self, session: Session) -> None:
        """Try until a worker that stands still was handed a task; kill it, and wait long enough."""
        (side,) = session.sides
        session.listener.phase(f"warming up {side.label}")
        session.warm_up(side)
        for attempt in range(_TRIES):
            session.until_quiet(side, _STEP_S)
            time.sleep((_MOMENT_S + attempt * _STEP_OF_MOMENT_S) % _BRPOP_S)
            session.listener.phase(f"a task for {side.label}, which stands still")
            self._strike(session, side, "stop-worker")
            sent = session.producer.enqueue(
                BlockSpec(side.label, _WORKLOAD, 1), session.workload(_WORKLOAD)
            )
            handed = _is_handed(session, side)
            if handed:
                self._kill(session, side)
            back_s = self.crash.visibility_timeout_s + self.crash.restore_interval_s + _STILL_S
            settled = session.holds(
                lambda now, sent=sent: now.settled_in(sent) >= sent.count,  # type: ignore[misc]
                back_s if handed else _STEP_S,
            )
            session.producer.end(sent, drained=settled)
            # It may have gone on before it was killed: on a machine that is slow enough.
            if handed and not settled:
                return

    def _kill(self, session: Session, side: Side) -> None:
        life = session.progress().lives.get(side.workers[0], 0)
        self._strike(session, side, "kill-worker")
        if not session.holds(
            lambda now: now.lives.get(side.workers[0], 0) > life and side.workers[0] in now.ready,
            _STEP_S,
        ):
            raise WorkerError(f"{side.workers[0]} did not come back after it was killed.")

    def _strike(self, session: Session, side: Side, fault: str) -> None:
        before = session.progress().faults
        session.order(side.workers[0], {"order": "fault", "fault": fault})
        session.holds(lambda now: now.faults > before, _STEP_S)

    def to_json(self) -> dict[str, object]:
        """Return the plan as the history keeps it."""
        return {"name": "handover", **asdict(self.crash)}


def _is_handed(session: Session, side: Side) -> bool:
    """Tell whether a task that was just sent is neither in the queue nor in `unacked`."""
    deadline = time.monotonic() + _HANDED_S
    while time.monotonic() < deadline:
        queued = session.queued(side)
        if not queued:
            return not session.redis.hlen(session.keys.unacked(side.label))
        time.sleep(_POLL_S)
    return False


def _on_its_way(lab: Lab, pool: str) -> Finding:
    crash = Crash(fault="kill-worker", policy="late", visibility_timeout_s=3.0)
    played = lab.play(pool, Handover(crash), crash.settings())
    kills = [op for op in played.case.evidence.named("fault") if op["fault"] == "kill-worker"]
    if not kills:
        return not_shown(f"in {_TRIES} tries no worker was stopped while it waited for a message")
    killed_ns = kills[-1].t_ns
    number = _last_task(played, killed_ns)
    verdict = Verdict(int(played.case.verdicts[number]))
    if played.case.evidence.ledger["first_received"][number] < killed_ns:
        return not_shown("the worker went on before it was killed", f"the task is {verdict.word}")
    observed = f"neither queued nor in unacked while the worker stood still; then {verdict.word}"
    return of_run(played, observed, holds=verdict is Verdict.LOST)


def _last_task(played: Played, before_ns: int) -> int:
    """Return the last task that was sent before a time."""
    sent_ns = played.case.evidence.ledger["enqueued_ns"]
    firsts = [block.rows.start for block in played.case.blocks if block.workload == _WORKLOAD]
    return int(max(first for first in firsts if sent_ns[first] < before_ns))


CLAIMS: Final = (
    Claim(
        "lost-on-its-way",
        "A worker that is killed between taking a message (BRPOP) and writing it to unacked takes "
        "the task along, acks_late or not.",
        "kombu #305",
        "the task is lost, and has not come back after its visibility timeout",
        150.0,
        _on_its_way,
        ("prefork:2", "threads:2", "solo"),
    ),
)
