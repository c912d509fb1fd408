"""When a pool's throughput is back: not because tasks that end together are counted twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from poolproof.judge.blocks import Block
from poolproof.judge.recovery import throughput_back_s

SLOTS = 4
ROUND_NS = 300_000_000


@dataclass
class Ends:
    """As much of a ledger as is looked at."""

    last_end: np.ndarray

    def __getitem__(self, column: str) -> Any:
        return getattr(self, column)


def _block(count: int) -> Block:
    return Block(
        index=0,
        side="a",
        workload="sleep:300ms",
        first=0,
        count=count,
        measured=False,
        events=False,
        rate_per_s=None,
        values=None,
        begin_ns=0,
        end_ns=None,
        drained=True,
    )


def _back_s(slots_by_round: list[int], fault_after: float) -> float | None:
    """Rounds in which so many slots end a task together; the fault is so many rounds after 0."""
    ends = [
        (index + 1) * ROUND_NS + slot
        for index, slots in enumerate(slots_by_round)
        for slot in range(slots)
    ]
    ledger: Any = Ends(np.array(ends))
    return throughput_back_s(ledger, [_block(len(ends))], SLOTS, round(fault_after * ROUND_NS))


def test_a_pool_that_goes_on_as_before_was_never_away() -> None:
    assert _back_s([4] * 12, 5.5) == 0.0


@pytest.mark.parametrize("fault_after", [4.1, 4.5, 4.9])
def test_a_pool_that_lacks_a_slot_is_back_when_the_slot_is(fault_after: float) -> None:
    back = _back_s([4] * 4 + [3] * 6 + [4] * 8, fault_after)

    assert back == pytest.approx((10 - fault_after) * 0.3, abs=0.31)
    assert back is not None
    assert back > (9 - fault_after) * 0.3


def test_a_pool_that_never_gets_its_slot_back_is_not_back() -> None:
    assert _back_s([4] * 4 + [3] * 12, 4.5) is None


def test_too_few_tasks_before_the_fault_tell_nothing() -> None:
    assert _back_s([4] * 12, 1.5) is None
