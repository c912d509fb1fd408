"""Which end belongs to which beginning, and when a process was gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from poolproof.history.participants import NEVER
from poolproof.judge.run_data import gather
from poolproof.judge.verdicts.attempts import Seen, attempts, deaths, look_at
from poolproof_workers.contract import Event
from tests.unit.celery_model import Model, write

if TYPE_CHECKING:
    from pathlib import Path

_B, _S, _F = Event.STARTED, Event.SUCCEEDED, Event.FAILED
#: task, event, time, ring, thread
Row = tuple[int, int, int, int, int]


def _pairs(*rows: Row) -> list[tuple[int, int, int, int, int, int]]:
    """(task, ring, thread, start, end, how) of each attempt."""
    columns = [np.array(column, np.int64) for column in zip(*rows, strict=True)]
    number, event, t_ns, source, tid = columns or [np.zeros(0, np.int64)] * 5
    found = attempts(Seen(number, event, t_ns, tid, source, number * 0))
    rows_of = (found.number, found.source, found.tid, found.start_ns, found.end_ns, found.how)
    return sorted(zip(*(column.tolist() for column in rows_of), strict=True))


def test_without_records_there_is_no_attempt() -> None:
    assert _pairs() == []


@pytest.mark.parametrize("end", [Event.SUCCEEDED, Event.FAILED, Event.RETRIED, Event.ABANDONED])
def test_an_attempt_ends_with_the_next_that_its_slot_says_of_the_task(end: Event) -> None:
    assert _pairs((7, _B, 10, 0, 1), (7, end, 15, 0, 1)) == [(7, 0, 1, 10, 15, end)]


@pytest.mark.parametrize(
    "other",
    [
        (8, _S, 15, 0, 1),  # of another task
        (7, _S, 15, 1, 1),  # in another process
        (7, _S, 15, 0, 2),  # in another thread
        (7, Event.RECEIVED, 15, 0, 1),
        (7, Event.REPORTED, 15, 0, 1),
        (7, Event.REVOKED, 15, 0, 1),
        (7, Event.FAULT, 15, 0, 1),
    ],
)
def test_what_is_said_elsewhere_or_of_something_else_ends_no_attempt(other: Row) -> None:
    assert _pairs((7, _B, 10, 0, 1), other) == [(7, 0, 1, 10, NEVER, 0)]


def test_attempts_of_one_task_in_one_slot_are_told_apart_by_their_order() -> None:
    rows = [(7, _B, 10, 0, 1), (7, _F, 12, 0, 1), (7, _B, 20, 0, 1), (7, _B, 30, 0, 1)]

    assert _pairs(*rows, (7, _S, 33, 0, 1)) == [
        (7, 0, 1, 10, 12, _F),
        (7, 0, 1, 20, NEVER, 0),
        (7, 0, 1, 30, 33, _S),
    ]


def test_slots_that_run_at_the_same_time_do_not_mix() -> None:
    rows = [
        (1, _B, 10, 0, 1),
        (2, _B, 11, 0, 2),
        (3, _B, 12, 1, 1),
        (2, _S, 13, 0, 2),
        (3, _F, 14, 1, 1),
        (1, _S, 15, 0, 1),
    ]

    assert _pairs(*rows) == [
        (1, 0, 1, 10, 15, _S),
        (2, 0, 2, 11, 13, _S),
        (3, 1, 1, 12, 14, _F),
    ]


def test_an_end_without_a_beginning_is_no_attempt() -> None:
    assert _pairs((7, _S, 10, 0, 1), (8, _B, 11, 0, 1)) == [(8, 0, 1, 11, NEVER, 0)]


def test_records_of_some_tasks_are_read_again_with_all_that_is_in_them(tmp_path: Path) -> None:
    model = Model("threads", "early", concurrency=2)
    model.enqueue(3)
    worker = model.workers[0]
    for _ in range(3):
        model.receive(worker)
        model.start(worker)
    began_ns = model.now_ns
    model.end(worker, 1, Event.SUCCEEDED)
    model.close()
    evidence = gather(write(tmp_path, model.entries([2])))

    seen = look_at(evidence, np.array([False, True, False]))

    assert seen.number.tolist() == [1, 1, 1]
    assert seen.event.tolist() == [Event.RECEIVED, Event.STARTED, Event.SUCCEEDED]
    assert seen.t_ns[2] > began_ns > seen.t_ns[1] > seen.t_ns[0]
    assert seen.tid.tolist() == [worker.main.pid, worker.slots[1].tid, worker.slots[1].tid]
    assert seen.source.tolist() == [0, 0, 0]
    assert seen.detail.tolist() == [0, 0, 1]
    assert seen.of(Event.STARTED, Event.SUCCEEDED).tolist() == [False, True, True]
    assert len(look_at(evidence, np.zeros(3, bool)).number) == 0


def test_a_process_is_gone_at_the_first_that_is_said_of_its_end(tmp_path: Path) -> None:
    model = Model("prefork", "early", concurrency=2, workers=2)
    model.enqueue(6)
    worker, other = model.workers
    for each in (worker, worker, other):
        model.receive(each)
        model.start(each)
    struck = worker.slots[0].ring
    model.kill_slot(worker, 0)
    child_gone_ns = model.ops[-1][1]["t_ns"]
    model.wait(1_000)
    model.kill(worker)
    (end,) = (op for _, op in model.ops if op["op"] == "worker-exit")
    model.receive(worker)
    model.start(worker)
    model.close()
    evidence = gather(write(tmp_path, model.entries([3])))

    gone = dict(zip(evidence.ledger.roster.sources, deaths(evidence).tolist(), strict=True))

    known = [ring for ring in model.rings if ring.name in gone]
    ends = {ring.name: end["t_ns"] for ring in known if not ring.alive}
    ends[struck.name] = child_gone_ns
    assert gone == {ring.name: NEVER for ring in known} | ends
