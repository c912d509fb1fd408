"""Whether what the tasks returned is right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from poolproof_workers.contract import Event

if TYPE_CHECKING:
    from poolproof.collect.ledger import Ledger
    from poolproof.judge.blocks import Block

#: The bits of a result that a record keeps (see `contract.result_detail`).
_KEPT: Final = np.uint64((1 << 63) - 1)
#: Workloads whose tasks return the square of their argument, whatever it costs.
_SQUARES: Final = {"square", "sleep", "cpu"}


def wrong(ledger: Ledger, block: Block) -> int | None:
    """Return how many tasks of a block succeeded with a wrong result; None if it cannot be told."""
    if block.workload.partition(":")[0] not in _SQUARES:
        return None
    rows = block.rows
    judged = (ledger.count(Event.SUCCEEDED)[rows] > 0) & (ledger["poison"][rows] == 0)
    found = ledger["result"][rows].astype(np.uint64)
    return int(np.count_nonzero(judged & (found != _squares(block))))


def _squares(block: Block) -> np.ndarray:
    if block.values is None:
        numbers = np.arange(block.first, block.first + block.count, dtype=np.uint64)
        # The product wraps at 2^64, which leaves its low bits as they are.
        return np.asarray((numbers * numbers) & _KEPT)
    return np.array([(value * value) & int(_KEPT) for value in block.values], np.uint64)
