"""The faults of a run that were really done, and those that could not be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from poolproof.history.participants import NEVER
from poolproof_workers.contract import parse_fault_detail
from poolproof_workers.faults.memory_limit import Way

if TYPE_CHECKING:
    from poolproof.history.participants import Participants
    from poolproof.judge.run_data import Op, RunData


_UNSEEN: Final = "it was to be, and no record says that it came to that"


@dataclass(frozen=True, slots=True)
class FaultEvent:
    """One fault at one instant. A poison task that is delivered again strikes again."""

    worker: str
    fault: str
    t_ns: int
    until_ns: int  #: the next strike on the same worker, or NEVER
    poison: int | None  #: number of the task; None for a fault from outside
    way: Way
    workers: tuple[str, ...]  #: whom it reaches; `worker` is the first
    is_of_broker: bool = False  #: it was done to the broker, or to the way there
    ring: str = ""  #: of the process whose task did it


def strikes(evidence: RunData) -> list[FaultEvent]:
    """Return all faults that were really done, by time."""
    ledger = evidence.ledger
    inside = [
        (
            record.source.worker,
            ledger.fault_names.get(record.number, "?"),
            record.t_ns,
            record.number,
            Way(parse_fault_detail(record.detail)[1]),
            None,
            record.source.name,
        )
        for record in ledger.fault_records
    ]
    outside = [
        (op["worker"], op["fault"], op.t_ns, None, Way.PLAIN, _reached(op, ledger.roster), "")
        for op in evidence.named("fault")
        if op["applied"]
    ]
    found = []
    for worker in {each[0] for each in inside + outside}:
        of_worker = sorted(
            (each for each in inside + outside if each[0] == worker), key=lambda each: each[2]
        )
        ends = [each[2] for each in of_worker[1:]] + [NEVER]
        found += [
            FaultEvent(
                worker,
                fault,
                t_ns,
                until_ns,
                poison,
                way,
                tuple(reached or (worker,)),
                bool(reached),
                ring,
            )
            for (_, fault, t_ns, poison, way, reached, ring), until_ns in zip(
                of_worker, ends, strict=True
            )
        ]
    return sorted(found, key=lambda strike: strike.t_ns)


def _reached(op: Op, roster: Participants) -> tuple[str, ...]:
    """Return the workers of the struck side that a fault of the broker reached."""
    side = roster.worker(op["worker"]).side
    return tuple(name for name in op.get("workers") or () if roster.worker(name).side == side)


def not_applicable(evidence: RunData, strikes: list[FaultEvent]) -> list[dict[str, Any]]:
    """Return the faults that were not done to a pool, with the reason; not one is a pass.

    Those that were begun, and that nothing was seen of, are `unseen`.
    """
    known = [
        {"pool": op["side"], "fault": op["fault"], "reason": op["reason"]}
        for op in evidence.named("not-applicable")
    ]
    roster = evidence.ledger.roster
    refused = [
        {
            "pool": roster.worker(op["worker"]).side,
            "fault": op["fault"],
            "reason": op["reason"],
        }
        for op in evidence.named("fault")
        if not op["applied"]
    ]
    known += refused
    seen = {(roster.worker(each.worker).side, each.fault) for each in strikes}
    seen |= {(row["pool"], row["fault"]) for row in known}
    begun = dict.fromkeys((op["side"], op["fault"]) for op in evidence.named("strike"))
    return known + [
        {"pool": side, "fault": fault, "reason": _UNSEEN, "unseen": True}
        for side, fault in begun
        if (side, fault) not in seen
    ]
