"""When a pool was back at its throughput after a fault."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from poolproof.collect.ledger import Ledger

_SHARE: Final = 0.9
#: Rounds over all slots that a window holds, so that tasks which end together do not decide it.
_ROUNDS: Final = 3


def throughput_back_s(ledger: Ledger, worker: str, t_ns: int) -> float | None:
    """Return the seconds from `t_ns` until a side again ended 90 % of the tasks a second.

    The rate before is that of the same block, from the end of its first round on. Windows of three
    rounds over all slots are tried from `t_ns` and from each end after it. None if the block has
    too few tasks, before or after, to tell.
    """
    known = ledger.roster.worker(worker)
    if known.side not in ledger.sides:
        return None
    ends = _ends(ledger, ledger.sides.index(known.side), t_ns)
    before = ends[ends <= t_ns]
    wanted = max(1, known.concurrency) * _ROUNDS
    if len(before) <= known.concurrency:
        return None
    # To the last end, not to `t_ns`: the round that goes on is not counted as idle time.
    first = before[known.concurrency - 1]
    if before[-1] <= first:
        return None
    rate = (len(before) - known.concurrency) / (before[-1] - first)
    window_ns = wanted / rate
    after = ends[ends > t_ns]
    begins = np.concatenate(([t_ns], after))
    counts = np.searchsorted(ends, begins + window_ns, "right") - np.searchsorted(
        ends, begins, "right"
    )
    enough = np.flatnonzero(counts >= math.ceil(_SHARE * wanted))
    return float(begins[enough[0]] - t_ns) / 1e9 if len(enough) else None


def _ends(ledger: Ledger, side: int, t_ns: int) -> np.ndarray:
    """Return the sorted ends of the tasks of the side's block at `t_ns`."""
    mine = (ledger["side"] == side) & (ledger["first_start"] <= t_ns)
    if not mine.any():
        return np.zeros(0, np.int64)
    block = ledger["block"][mine].max()
    rows = (ledger["block"] == block) & (ledger["side"] == side)
    ends = ledger["last_end"][rows]
    return np.sort(ends[ends > 0])
