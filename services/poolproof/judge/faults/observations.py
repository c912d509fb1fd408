"""What innocent tasks saw of what a fault left behind, from what they returned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from poolproof_workers.contract import Event
from poolproof_workers.faults.shared_state import SIGHT_BITS, Sight

if TYPE_CHECKING:
    from poolproof.judge.run_data import Op, RunData


@dataclass(frozen=True, slots=True)
class Observations:
    """Counts of the innocent tasks that ended after a fault, by what they met.

    `updates` are the additions of all tasks of the block to a shared counter, `lost_updates` those
    that were gone when nobody added any more; both 0 where there is no counter.
    """

    observers: int
    saw: int
    suffered: int
    updates: int
    lost_updates: int


def observations(evidence: RunData, poison: int, t_ns: int) -> Observations | None:
    """Return what was seen of the fault that task `poison` did; None if nobody looked."""
    block = _block(evidence, int(evidence.ledger["block"][poison]))
    if block is None or not block["workload"].startswith("observe:"):
        return None
    ledger = evidence.ledger
    succeeded = np.isin(ledger["block"], _stretch(evidence, block)) & (
        ledger.count(Event.SUCCEEDED) > 0
    )
    innocent = succeeded & (ledger["poison"] == 0)
    results = ledger["result"]
    sights = results[innocent & (ledger["last_end"] >= t_ns)] & ((1 << SIGHT_BITS) - 1)
    return Observations(
        observers=len(sights),
        saw=int(np.count_nonzero(sights == Sight.SAW)),
        suffered=int(np.count_nonzero(sights == Sight.SUFFERED)),
        # Each innocent task looks twice, the poison adds once.
        updates=block["parameters"]["turns"] * (2 * int(np.count_nonzero(innocent)) + 1),
        lost_updates=int((results[succeeded] >> SIGHT_BITS).sum()),
    )


def _block(evidence: RunData, index: int) -> Op | None:
    return next((op for op in evidence.named("block-begin") if op["block"] == index), None)


def _stretch(evidence: RunData, first: Op) -> list[int]:
    """Return the blocks that the side was fed with, from the one with the poison on."""
    found = [first["block"]]
    for op in evidence.named("block-begin"):
        if op["side"] == first["side"] and op["block"] > first["block"]:
            if not op.get("continues"):
                break
            found.append(op["block"])
    return found
