"""Where the recordings of a run have holes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolproof.history.participants import NEVER, Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolproof.history.ledger import Ledger, Loss
    from poolproof.history.participants import Worker


@dataclass(frozen=True, slots=True)
class Hole:
    """Between two times something of a worker may have happened that was not recorded."""

    worker: str
    source: str  #: the ring with the hole; empty: any process of the worker
    after_ns: int
    before_ns: int  #: `NEVER`: up to the end
    why: str


def holes(ledger: Ledger) -> list[Hole]:
    """Return all holes, as far as they can be known now; exact once every worker has flushed."""
    found = [_lost(ledger, loss) for loss in ledger.real_losses()]
    for worker in ledger.roster.workers.values():
        found += _of_worker(ledger, worker)
    return found


def _lost(ledger: Ledger, loss: Loss) -> Hole:
    count = loss.gap.last - loss.gap.first + 1
    ring = ledger.roster.sources.get(loss.gap.source)
    kind = "ops" if ring is None else "records"
    why = f"{count} {kind} of {loss.gap.source} were lost"
    if ring is None:
        return Hole(loss.worker, "", loss.after_ns, loss.before_ns, why)
    after_ns = max(loss.after_ns, ring.since_ns)
    return Hole(loss.worker, ring.name, after_ns, loss.before_ns, why)


def _of_worker(ledger: Ledger, worker: Worker) -> Iterator[Hole]:
    sources = ledger.roster.sources_of(worker.name)
    for begin, end in worker.blind:
        yield Hole(worker.name, "", begin, end, "a process of it had no ring")
    accounted = {source.pid for source in sources if source.accounted}
    for life in worker.unseen:
        if life.was_ready and life.main not in accounted:
            why = "it ended unseen, and its rings are gone"
            yield Hole(worker.name, "", life.unread_ns, life.before_ns, why)
    if worker.flushed is None:
        begin = max((source.last_ns for source in sources), default=0)
        yield Hole(worker.name, "", begin, NEVER, "its supervisor did not answer at the end")
    else:
        announced: dict[str, int] = worker.flushed["rings"]
        yield from _unseen(worker, announced, ledger)
    for source in sources:
        why = _short(source, worker)
        if why:
            # Two workers of one name: the end of one was not the other's.
            until = source.gone_ns if source.gone_ns >= source.last_ns else NEVER
            after_ns = max(source.last_ns, source.since_ns)
            yield Hole(worker.name, source.name, after_ns, until, why)


def _unseen(worker: Worker, announced: dict[str, int], ledger: Ledger) -> Iterator[Hole]:
    for name, written in announced.items():
        if written > worker.rings_before.get(name, 0) and name not in ledger.roster.sources:
            ring = Source.parse(-1, name, worker.name)
            ring.shift_ns = ledger.clocks.shift_of(worker.name)
            why = f"none of {written} records of {name} came"
            yield Hole(worker.name, "", ring.since_ns, NEVER, why)


def _short(source: Source, worker: Worker) -> str:
    """Return why the end of a ring is not there; empty if it is."""
    announced = (worker.flushed or {}).get("rings", {}).get(source.name, source.written)
    if announced is not None:
        missing = announced - source.taken
        return f"the last {missing} records of {source.name} are missing" if missing > 0 else ""
    if source.accounted or not source.taken:
        return ""
    return f"the ring {source.name} was not seen again"
