"""Whether Celery's task events were off while it was measured, by what its workers answered."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Final

from poolproof.judge.run_data import time_of

if TYPE_CHECKING:
    from poolproof.judge.performance.blocks import Block
    from poolproof.judge.run_data import Op, RunData

#: A worker's answer to a switch -> whether they were on until then.
_WERE_ON: Final = {
    "task events enabled": False,
    "task events already enabled": True,
    "task events disabled": True,
    "task events already disabled": False,
}


def loud(evidence: RunData, measured: list[Block]) -> tuple[list[str], list[str]]:
    """Return the sides that were measured with task events on, and those of which nobody knows.

    Where the producer never switches them they are as the workers were started.
    """
    on: dict[str, None] = {}
    unknown: dict[str, None] = {}
    switches = evidence.named("events")
    starts: dict[str | None, list[Op]] = {}
    for op in evidence.named("hello", "worker-up"):
        starts.setdefault(op.get("side"), []).append(op)
    for block in measured:
        were_on = block.events or (
            _were_on(evidence, switches, block)
            if switches
            else _started_with(starts.get(block.side, []), block)
        )
        if were_on is None:
            unknown[block.side] = None
        elif were_on:
            on[block.side] = None
    return list(on), list(unknown)


def _were_on(evidence: RunData, switches: list[Op], block: Block) -> bool | None:
    before = switches[: bisect_right(switches, block.begin_ns, key=time_of)][-1:]
    end_ns = block.end_ns or block.begin_ns
    after = switches[bisect_left(switches, end_ns, key=time_of) :][:1]
    if not before or not after or before[-1]["on"]:
        return None
    roster = evidence.ledger.roster.workers.values()
    workers = [worker.name for worker in roster if worker.side == block.side]
    told = [_was_on(before[-1], name) is not None for name in workers]
    were = [_was_on(after[0], name) for name in workers]
    if any(were):
        return True
    return False if all(told) and None not in were else None


def _started_with(starts: list[Op], block: Block) -> bool:
    last = bisect_right(starts, block.begin_ns, key=time_of) - 1
    return last >= 0 and (starts[last].get("settings") or {}).get("POOLPROOF_EVENTS") == "1"


def _was_on(switch: Op, worker: str) -> bool | None:
    answer = switch["answers"].get(worker)
    return _WERE_ON.get(answer.get("ok", "")) if isinstance(answer, dict) else None
