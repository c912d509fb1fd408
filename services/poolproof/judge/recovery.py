"""When a pool was back at its throughput after a fault."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from poolproof.judge.blocks import rows

if TYPE_CHECKING:
    from poolproof.collect.ledger import Ledger
    from poolproof.judge.blocks import Block

_SHARE: Final = 0.9
#: Rounds over all slots that a window holds, so that tasks which end together do not decide it.
_ROUNDS: Final = 3


def throughput_back_s(
    ledger: Ledger, fed: list[Block], concurrency: int, t_ns: int
) -> float | None:
    """Return the seconds from `t_ns` until a side again ended 90 % of the tasks a second.

    `fed` are the blocks that it was fed from at `t_ns`. The rate before is theirs, from the end of
    the first round on. Windows of three rounds over all slots are tried from `t_ns` and from each
    end after it. None if there are too few tasks, before or after, to tell.
    """
    if not fed or not concurrency:
        return None
    ends = ledger["last_end"][rows(fed)]
    ends = np.sort(ends[ends > 0])
    before = ends[ends <= t_ns]
    wanted = concurrency * _ROUNDS
    if len(before) <= concurrency:
        return None
    # To the last end, not to `t_ns`: the round that goes on is not counted as idle time.
    first = before[concurrency - 1]
    if before[-1] <= first:
        return None
    rate = (len(before) - concurrency) / (before[-1] - first)
    window_ns = wanted / rate
    after = ends[ends > t_ns]
    begins = np.concatenate(([t_ns], after))
    counts = np.searchsorted(ends, begins + window_ns, "right") - np.searchsorted(
        ends, begins, "right"
    )
    enough = np.flatnonzero(counts >= math.ceil(_SHARE * wanted))
    return float(begins[enough[0]] - t_ns) / 1e9 if len(enough) else None
