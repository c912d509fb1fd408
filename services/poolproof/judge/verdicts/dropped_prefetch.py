"""Messages that a worker held and knows no more, while the broker keeps them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from poolproof.judge.faults.defaults import VISIBILITY_TIMEOUT_S
from poolproof_workers.contract import Event

if TYPE_CHECKING:
    from poolproof.judge.faults.events import FaultEvent
    from poolproof.judge.faults.window import FaultWindow

#: Between a message's being written to `unacked` and its receipt's being recorded.
_RECEIPT_LAG_NS: Final = 1_000_000_000


def forgotten(scene: FaultWindow, strike: FaultEvent) -> tuple[dict[int, int], dict[int, int]]:
    """Return the innocents that workers held at a fault of the broker and did not run from then on.

    Each with when it was taken. First those that lay in the broker until their visibility timeout,
    or lie there still; then those that were given to a worker again before: a worker that connects
    anew puts back what it held, if it can.
    """
    stranded: dict[int, int] = {}
    given_back: dict[int, int] = {}
    timeout_ns = _timeout_ns(scene, strike)
    for number in _candidates(scene, strike):
        taken_ns, again_ns = _unbegun(scene, strike, number)
        if taken_ns is None or (again_ns is None and not _is_left(scene, number)):
            continue
        if again_ns is None or again_ns - taken_ns >= timeout_ns:
            stranded[number] = taken_ns
        else:
            given_back[number] = taken_ns
    return stranded, given_back


def held_by_another(
    scene: FaultWindow, strike: FaultEvent, number: int, taken_ns: int, until_ns: int
) -> bool:
    """Tell whether a message in a side's `unacked` is with a worker that was not struck."""
    receipts = _receipts(scene, number)
    before = [(t_ns, worker) for t_ns, worker in receipts if t_ns <= until_ns]
    if before:
        return before[-1][1] not in strike.workers
    # Taken, and its receipt not recorded when the struck worker died: another's comes right after.
    after = [worker for t_ns, worker in receipts if t_ns - taken_ns < _RECEIPT_LAG_NS]
    return bool(after) and after[0] not in strike.workers


def _candidates(scene: FaultWindow, strike: FaultEvent) -> list[int]:
    """Return the innocents that struck workers had received."""
    seen = scene.seen
    received = seen.of(Event.RECEIVED) & scene.of_worker(seen.source, *strike.workers)
    before = seen.t_ns <= strike.t_ns + _RECEIPT_LAG_NS
    innocent = scene.ledger["poison"][seen.number] == 0
    return sorted(set(seen.number[received & before & innocent].tolist()))


def _unbegun(scene: FaultWindow, strike: FaultEvent, number: int) -> tuple[int | None, int | None]:
    """Return when the delivery that a struck worker forgot was received, and when the next one.

    Both are None if there is none: each that it had was begun.
    """
    starts = _times(scene, number, Event.STARTED)
    receipts = _receipts(scene, number)
    for (taken_ns, worker), (again_ns, _) in zip(
        receipts, [*receipts[1:], (None, "")], strict=True
    ):
        before = worker in strike.workers and taken_ns <= strike.t_ns + _RECEIPT_LAG_NS
        after = again_ns is None or again_ns > strike.t_ns
        begun = any(taken_ns <= t_ns and (not again_ns or t_ns < again_ns) for t_ns in starts)
        if before and after and not begun:
            return taken_ns, again_ns
    return None, None


def _times(scene: FaultWindow, number: int, event: Event) -> list[int]:
    times: list[int] = scene.seen.t_ns[scene.about(number, event)].tolist()
    return times


def _receipts(scene: FaultWindow, number: int) -> list[tuple[int, str]]:
    seen = scene.seen
    rows = scene.about(number, Event.RECEIVED)
    return sorted((int(seen.t_ns[row]), scene.sources[seen.source[row]].worker) for row in rows)


def _is_left(scene: FaultWindow, number: int) -> bool:
    """Tell whether a copy was in `unacked` at the end, and no worker said that it has it."""
    ends = [op for op in scene.evidence.named("broker") if op["reason"] == "end"]
    said = [op for op in scene.evidence.named("celery") if op["answered"]]
    known = any(number in (*op["active"], *op["reserved"]) for op in said)
    return bool(said) and not known and any(number == n for op in ends for n, _ in op["unacked"])


def _timeout_ns(scene: FaultWindow, strike: FaultEvent) -> int:
    known = scene.worker(strike).visibility_timeout_s
    return round((VISIBILITY_TIMEOUT_S if known is None else known) * 1e9)
