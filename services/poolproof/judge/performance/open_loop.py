"""An open loop: what was offered, what was achieved, and what piled up meanwhile."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from poolproof.judge.performance.latency import acknowledging, latency, percentiles

if TYPE_CHECKING:
    from poolproof.history.ledger import Ledger
    from poolproof.judge.performance.blocks import Block

#: Below this share of what was offered, with tasks left waiting, a side was overloaded.
_KEPT_UP: Final = 0.95


def open_loop(
    ledger: Ledger, blocks: list[Block], slots: int, policy: str | None
) -> dict[str, Any]:
    """Return the figures of complete blocks in which tasks were sent at a set rate."""
    loads = [_load(ledger, block) for block in blocks]
    offered = median(load["offered_per_s"] for load in loads)
    achieved = median(load["achieved_per_s"] for load in loads)
    waiting = max(load["waiting"] for load in loads)
    late = np.concatenate([_late_s(ledger, block) for block in blocks])
    return {
        "offered_per_s": offered,
        "achieved_per_s": achieved,
        "backlog": {"most": max(load["most"] for load in loads), "at_the_end": waiting},
        "overloaded": bool(achieved < _KEPT_UP * offered and waiting > slots),
        "sent_late_s": percentiles(late) | {"most": float(late.max())},
        "latency_s": latency(ledger, blocks),
        "acknowledging": acknowledging(policy),
    }


def _load(ledger: Ledger, block: Block) -> dict[str, float]:
    due = np.sort(ledger.part(block.rows)["intended_ns"])
    begun = np.sort(ledger["first_start"][block.rows])
    ended = ledger["last_end"][block.rows]
    gaps = max(1, block.count - 1)
    # Tasks that were due at the time when each was, less those that a slot had begun by then.
    backlog = np.arange(1, block.count + 1) - np.searchsorted(begun, due, "right")
    return {
        "offered_per_s": gaps * 1e9 / max(1, int(due[-1] - due[0])),
        "achieved_per_s": gaps * 1e9 / max(1, int(ended.max() - ended.min())),
        "most": int(backlog.max()),
        "waiting": int(backlog[-1]),
    }


def _late_s(ledger: Ledger, block: Block) -> np.ndarray:
    """Return how long after its intended time each task was sent: the producer's own share."""
    sent = ledger.part(block.rows)["enqueued_ns"]
    return np.asarray(np.maximum(0, sent - ledger.part(block.rows)["intended_ns"]) / 1e9)
