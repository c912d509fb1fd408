"""Makes trouble for a side's broker in mid-run, and writes it down."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolproof.infra.broker import OutOfReach
from poolproof.infra.workers import registered

if TYPE_CHECKING:
    from poolproof.infra.broker import InjectedFault
    from poolproof.runner.session import Session
    from poolproof.runner.side import Side
    from poolproof_workers.faults.fault import Fault


def why_not(session: Session, side: Side, fault: Fault) -> str | None:
    """Return why a fault of the broker cannot be done here; None if nothing is known against it."""
    if fault.trouble is None:
        return None
    if session.broker is None:
        return "whoever plays the run has no hand on its broker"
    return session.broker.why_not(fault.trouble, side.workers[0])


@dataclass(frozen=True, slots=True)
class BrokerFaultInjection:
    """A trouble that has begun, on its way to its end."""

    session: Session
    side: Side
    fault: str
    spell: InjectedFault

    @classmethod
    def begin(cls, session: Session, side: Side, fault: Fault) -> BrokerFaultInjection | None:
        """Make the trouble for the first worker of a side; None if it could not be made.

        Whether or not, the history has it. Raises BrokerError if Redis does not come back.
        """
        assert session.broker  # noqa: S101  `why_not` was asked
        assert fault.trouble  # noqa: S101
        worker = side.workers[0]
        main = registered(session.redis, session.keys).get(worker, {}).get("celery_pid")
        every = [name for each in session.sides for name in each.workers]
        when = time.monotonic_ns()
        try:
            spell = session.broker.befall(fault.trouble, worker, main, every)
        except OutOfReach as error:
            refuse(session, side, fault, str(error), when)
            return None
        session.producer.op(
            "fault",
            side=side.label,
            worker=worker,
            workers=list(spell.workers),
            fault=fault.name,
            pid=spell.pid,
            applied=True,
            reason=None,
            lasts_s=fault.trouble.lasts_s,
            delay_s=fault.trouble.delay_s,
            connections=spell.connections,
            t_ns=spell.began_ns,
        )
        return cls(session, side, fault.name, spell)

    def is_over(self) -> bool:
        """Tell whether its time is over."""
        return time.monotonic() >= self.spell.over_s

    def end(self) -> None:
        """End it, and write down when."""
        ended_ns = self.spell.end()
        self.session.producer.op(
            "fault-end",
            side=self.side.label,
            worker=self.side.workers[0],
            fault=self.fault,
            pid=self.spell.pid,
            t_ns=ended_ns,
        )


def refuse(
    session: Session, side: Side, fault: Fault, reason: str, t_ns: int | None = None
) -> None:
    """Write down that a fault of the broker was not done."""
    assert fault.trouble  # noqa: S101
    session.producer.op(
        "fault",
        side=side.label,
        worker=side.workers[0],
        workers=[],
        fault=fault.name,
        pid=None,
        applied=False,
        reason=reason,
        lasts_s=fault.trouble.lasts_s,
        delay_s=fault.trouble.delay_s,
        connections=None,
        t_ns=time.monotonic_ns() if t_ns is None else t_ns,
    )
