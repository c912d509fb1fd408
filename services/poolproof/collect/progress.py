"""What is known of a run while it goes on: JSON for the producer and the live views."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolproof.history.ledger import Ledger
    from poolproof.history.participants import Source
    from poolproof.history.recording import Recording


#: Blocks that are told of when they have settled, too.
_LATEST: Final = 16


def progress(recording: Recording) -> dict[str, Any]:
    """Return the progress of a run.

    `run` (id), `hello` and `ready` (names of workers), `slots` {side: slots of living processes
    that have finished a task}, `blocks` {block: {`enqueued`, `settled`, and when these are equal
    `span_ns`, from its first task's start to its last one's end, if the clocks of all workers are
    known}}, without those that settled long ago, `enqueued`, `settled` (has a success, a
    failure, a report or a revocation), `running` (begun on a living process and not ended),
    `unreported` (begun in a pool child that is gone, while the main process that may still report
    it lives), `exits` and `lives` {worker: number}, `faults`, `closed`, `dropped`
    (records lost), `poison_open` (poison tasks that have not settled). A collector that judges the
    run when it is closed adds `judges`.
    """
    ledger = recording.ledger
    workers = ledger.roster.workers
    present = ledger.roster.present()
    living = [source for source in present if not source.gone]
    return {
        "run": recording.run,
        "hello": [name for name, worker in workers.items() if worker.greeted],
        "ready": [name for name, worker in workers.items() if worker.ready],
        "slots": _slots(ledger, living),
        "blocks": dict(_blocks(recording)),
        "enqueued": ledger.enqueued,
        "settled": ledger.settled,
        "running": sum(len(source.open) for source in living),
        "unreported": sum(_unreported(ledger, source) for source in present if source.gone),
        "exits": {name: worker.exits for name, worker in workers.items()},
        "lives": {name: worker.life for name, worker in workers.items()},
        "faults": ledger.faults,
        "poison_open": sum(not ledger["settled"][number] for number in ledger.fault_names),
        "closed": recording.closed,
        "dropped": _dropped(ledger),
    }


def _blocks(recording: Recording) -> Iterator[tuple[str, dict[str, int]]]:
    """Yield the last blocks, and those that have not settled: a run may have hundreds."""
    ledger = recording.ledger
    latest = islice(reversed(ledger.enqueued_of_block), _LATEST)
    for block in sorted({*latest, *ledger.open_blocks}):
        yield str(block), _block(recording, block, ledger.enqueued_of_block[block])


def _block(recording: Recording, block: int, enqueued: int) -> dict[str, int]:
    ledger = recording.ledger
    settled = ledger.settled_of_block[block]
    found = {"enqueued": enqueued, "settled": settled}
    if settled != enqueued or not ledger.roster.workers.keys().isdisjoint(ledger.clocks.unknown()):
        return found
    # More of it may be enqueued later: then it has another span.
    key = (block, enqueued)
    if key not in recording.spans_ns:
        begin, end = recording.rows_of_block[block]
        first = ledger["first_start"][begin:end].min()
        recording.spans_ns[key] = int(ledger["last_end"][begin:end].max() - first)
    return found | {"span_ns": recording.spans_ns[key]}


def _slots(ledger: Ledger, living: list[Source]) -> dict[str, int]:
    slots = {worker.side: 0 for worker in ledger.roster.workers.values() if worker.side}
    for source in living:
        side = ledger.roster.side_of(source)
        if side:
            slots[side] += len(source.finished)
    return slots


def _unreported(ledger: Ledger, source: Source) -> int:
    worker = ledger.roster.workers.get(source.worker)
    if worker is None or worker.pid is None or source.pid in worker.mains:
        return 0
    # Of an earlier life there is nobody left who would report it.
    first_ns = min(source.open.values(), default=0)
    settled = ledger["settled"]
    return sum(not settled[number] for number, _ in source.open) if first_ns > worker.up_ns else 0


def _dropped(ledger: Ledger) -> int:
    sources = ledger.roster.sources
    gaps = [loss.gap for loss in ledger.real_losses() if loss.gap.source in sources]
    return sum(gap.last - gap.first + 1 for gap in gaps)
