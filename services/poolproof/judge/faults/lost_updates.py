"""What became of a counter that every task adds to: an observation, neither right nor wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from poolproof.judge.performance.blocks import rows
from poolproof_workers.workloads.answers import COUNTER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolproof.history.ledger import Ledger
    from poolproof.judge.performance.blocks import Block


def counted(ledger: Ledger, block_list: Sequence[Block]) -> dict[str, Any] | None:
    """Return what was added in complete blocks and what the counters of all processes grew by.

    What a task returns is a part of its process's growth (`tally.Tally.end`): all of them, added
    up, are what was counted. What is missing was overwritten. None if the work was another.
    """
    if not block_list or block_list[0].parameters.get("task") != COUNTER:
        return None
    numbers = rows(list(block_list))
    grown, process = ledger["result"][numbers], ledger["last_source"][numbers]
    added = len(numbers) * int(block_list[0].parameters["turns"])
    total = int(grown.sum())
    _, which = np.unique(process, return_inverse=True)
    return {
        "added": added,
        "counted": total,
        "lost": added - total,
        "processes": np.bincount(which, weights=grown).astype(np.int64).tolist(),
    }
