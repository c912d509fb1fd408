"""How long tasks took, and in an open loop where they waited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from poolproof.judge.performance import statistics

if TYPE_CHECKING:
    from poolproof.history.ledger import Ledger
    from poolproof.judge.performance.blocks import Block

_PERCENTS: Final = (50, 90, 99, 99.9)
#: Why the time until a message is acknowledged is not a part of a task's time.
ACKNOWLEDGED_BEFORE: Final = "acknowledged before it runs"
NOT_SEEN: Final = "no signal of Celery tells when it acknowledges, so it is not known"


def latency(ledger: Ledger, block_list: list[Block]) -> dict[str, Any]:
    """Return percentiles in seconds over complete blocks, only those that the sample supports.

    In a closed loop only `running`: the rest would say how many tasks were sent at once. In an open
    loop `total`, from the time at which a task was meant to be sent, and its parts, which add up to
    it for every task: `queued` until a worker took it in, `prefetched` until a slot began it,
    `running` until its end.
    """
    parts = {"running": ("first_start", "last_end")}
    if all(block.rate_per_s for block in block_list):
        parts |= {
            "total": ("intended_ns", "last_end"),
            "queued": ("intended_ns", "first_received"),
            "prefetched": ("first_received", "first_start"),
        }
    return {
        name: percentiles(_spans_s(ledger, block_list, begin, end))
        for name, (begin, end) in parts.items()
    }


def _spans_s(ledger: Ledger, block_list: list[Block], begin: str, end: str) -> np.ndarray:
    tasks = [ledger.part(block.rows) for block in block_list]
    return np.concatenate([(task[end] - task[begin]) / 1e9 for task in tasks])


def acknowledging(policy: str | None) -> str:
    """Say why there is no figure of the time from a task's end to its acknowledgement."""
    return ACKNOWLEDGED_BEFORE if policy == "early" else NOT_SEEN


def percentiles(values_s: np.ndarray) -> dict[str, float | int]:
    """Return `n` and those of p50, p90, p99 and p99.9 that so many values support."""
    known = {f"p{percent:g}": statistics.percentile(values_s, percent) for percent in _PERCENTS}
    return {"n": len(values_s)} | {name: at for name, at in known.items() if at is not None}
