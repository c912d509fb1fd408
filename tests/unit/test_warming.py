"""How long the tasks of a warm-up are, when it gives up, and whom it blames."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from poolproof.produce.handle import BlockHandle
from poolproof.produce.workloads import check
from poolproof.runner.listener import NullListener
from poolproof.runner.progress import Progress
from poolproof.runner.side import Side
from poolproof.runner.warming import WarmUp, patience_s
from poolproof_workers.errors import WorkerError

if TYPE_CHECKING:
    from poolproof.produce.plan import BlockSpec


@dataclass
class Pool:
    """A pool of threads: it makes one only when all others are taken. Its clock is made up."""

    slots: int
    hand_out_s: float  #: from one task to the next, wherever the time goes
    stolen: int = 0  #: tasks of each block that another worker takes
    stuck: int = 0  #: tasks of each block that never end
    now_s: float = 0.0
    made: int = 0
    listener: NullListener = field(default_factory=NullListener)
    blocks: list[BlockSpec] = field(default_factory=list)

    def play(self, block: BlockSpec, deadline_s: float) -> tuple[BlockHandle, float]:
        seconds = check(block.workload).seconds
        at_one_time = 1 + int(seconds / self.hand_out_s)
        self.made = max(self.made, min(self.slots, block.count, at_one_time))
        took_s = block.count * self.hand_out_s + seconds
        if self.stolen or self.stuck:
            took_s = deadline_s
        self.now_s += took_s
        self.blocks.append(block)
        return BlockHandle(len(self.blocks), block.side, 0, block.count, 0, 0, 0), took_s

    def progress(self) -> Progress:
        count = self.blocks[-1].count
        settled = {"enqueued": count, "settled": count - self.stolen - self.stuck}
        return Progress(
            slots={"side": self.made},
            blocks={str(len(self.blocks)): settled},
            running=self.stuck,
        )

    def left(self, _: Side) -> int:
        return 0

    def warm_up(self) -> None:
        WarmUp(self, _side(self.slots), lambda: self.now_s).play()


@dataclass
class Limited(Pool):
    """A pool of processes with a time limit, which ends a process too; its first task is slow."""

    limit_s: float = 1.0

    def play(self, block: BlockSpec, deadline_s: float) -> tuple[BlockHandle, float]:
        seconds = check(block.workload).seconds
        sent, _ = super().play(block, deadline_s)
        if seconds > self.limit_s:
            self.made = 0
        elif len(self.blocks) == 1:
            self.made = self.slots - 1
        return sent, self.limit_s + 1.5


def _side(slots: int, workers: int = 1) -> Side:
    return Side("side", f"threads:{slots}", slots, tuple(f"w{n}" for n in range(workers)))


@pytest.mark.parametrize(
    ("slots", "hand_out_s"),
    [(4, 0.001), (4, 0.09), (4, 2.0), (5, 0.3), (100, 0.09), (500, 0.004), (500, 0.1), (1, 5.0)],
)
def test_every_slot_is_taken_however_slowly_tasks_are_handed_out(
    slots: int, hand_out_s: float
) -> None:
    pool = Pool(slots, hand_out_s)

    pool.warm_up()

    assert pool.made == slots
    # Most of the time is that of the hands: the length is found at once, not step by step.
    assert len(pool.blocks) <= 4
    assert pool.now_s < patience_s(slots)


def test_a_fast_machine_needs_one_short_round() -> None:
    pool = Pool(4, 0.001)

    pool.warm_up()

    assert [(block.workload, block.count) for block in pool.blocks] == [("sleep:50ms", 4)]


def test_tasks_are_not_made_longer_than_a_time_limit_lets_them_be() -> None:
    pool = Limited(4, 0.001)

    pool.warm_up()

    assert pool.made == 4
    first, longer, last = pool.blocks
    assert first.workload == last.workload != longer.workload


def test_where_no_task_can_end_within_the_limit_the_limit_is_named() -> None:
    pool = Limited(4, 0.001, limit_s=0.01)

    with pytest.raises(WorkerError, match="time limit"):
        pool.warm_up()


def test_workers_that_share_a_queue_get_more_tasks_than_slots() -> None:
    pool = Pool(4, 0.001)

    WarmUp(pool, _side(4, workers=2), lambda: pool.now_s).play()

    assert pool.blocks[0].count == 8


def test_a_far_worker_gets_what_a_near_one_cannot_hold() -> None:
    pool = Pool(4, 0.09)

    WarmUp(pool, _side(4, workers=2), lambda: pool.now_s).play()

    # The near one has two slots, and holds five tasks for each.
    assert [block.count for block in pool.blocks] == [8, 24]


def test_it_names_no_stranger_where_no_task_went_missing() -> None:
    pool = Pool(4, 30.0)

    with pytest.raises(WorkerError, match=r"1 of 4 slots .* too busy") as raised:
        pool.warm_up()

    assert "another worker" not in str(raised.value)


def test_a_task_that_still_runs_is_not_missing() -> None:
    with pytest.raises(WorkerError, match="too busy"):
        Pool(4, 0.001, stuck=1).warm_up()


def test_it_names_a_stranger_where_tasks_went_missing_even_if_all_slots_ran_one() -> None:
    with pytest.raises(WorkerError, match=r"2 of the .* went missing. Is another worker"):
        Pool(4, 0.001, stolen=2).warm_up()


def test_patience_grows_with_the_slots_but_not_for_ever() -> None:
    assert patience_s(4) < patience_s(100) < patience_s(500)
    assert patience_s(100) >= 200
    assert patience_s(10_000) <= 1_200
