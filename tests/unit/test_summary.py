"""The summary of a run: books, crashes, warnings, sentences."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from poolproof.judge.summary import summarise
from poolproof_workers.contract import RECORD, Event
from poolproof_workers.errors import DiskError
from tests.unit.celery_model import SIDE, Model, write

if TYPE_CHECKING:
    from pathlib import Path


def _drain(model: Model) -> None:
    """One task after the other, until nothing is queued."""
    worker = model.workers[0]
    while model.queue:
        model.receive(worker)
        model.start(worker)
        model.wait(10)
        model.end(worker, 0, Event.SUCCEEDED)


def _crashed(pool: str, policy: str = "early") -> Model:
    """While four slots run tasks 0 to 3 and 4 to 6 are prefetched, task 1 does its fault."""
    model = Model(pool, policy, concurrency=4)
    model.enqueue(8, {1: "segfault"})
    worker = model.workers[0]
    for _ in range(7):
        model.receive(worker)
    for _ in range(4):
        model.start(worker)
    model.wait(100)
    model.strike(worker, 1)
    return model


def _summary(model: Model, folder: Path) -> dict[str, Any]:
    model.close()
    summary = summarise(write(folder, model.entries([3])))
    # As it is printed: only what JSON can hold.
    found: dict[str, Any] = json.loads(json.dumps(summary, allow_nan=False))
    return found


def _codes(summary: dict[str, Any]) -> set[str]:
    return {each["code"] for each in summary["warnings"]}


def test_a_run_without_faults_is_completed_and_valid(tmp_path: Path) -> None:
    model = Model("threads", "early")
    for _ in range(5):
        model.enqueue(20, measured=True)
        _drain(model)

    summary = _summary(model, tmp_path)

    assert summary["valid"]
    assert summary["books"]["balanced"]
    assert summary["books"]["enqueued"] == summary["books"]["verdicts"]["completed"] == 100
    blocks = summary["pools"][SIDE]["workloads"]["square"]["throughput_per_s"]["blocks"]
    assert len(blocks) == 5
    # 20 tasks in 20 x (start, 10 ms, end) and the 19 receipts between them, 1 ms each tick.
    assert blocks[0] == pytest.approx(20 / 0.279, rel=0.01)
    assert _codes(summary) == set()


def test_a_wrong_result_makes_a_benchmark_invalid(tmp_path: Path) -> None:
    model = Model("threads", "early")
    model.enqueue(3, measured=True)
    _drain(model)
    ring = model.workers[0].main
    ring.records[-1] = ring.records[-1][:16] + (5).to_bytes(8, "little") + ring.records[-1][24:]

    summary = _summary(model, tmp_path)

    assert not summary["valid"]
    assert "wrong_results" in _codes(summary)
    assert "1 task" in summary["warnings"][0]["advice"]


def test_a_measured_task_that_is_not_completed_makes_a_benchmark_invalid(tmp_path: Path) -> None:
    model = Model("threads", "early")
    model.enqueue(2, measured=True)
    model.receive(model.workers[0])
    model.start(model.workers[0])
    model.end(model.workers[0], 0, Event.FAILED)

    summary = _summary(model, tmp_path)

    assert not summary["valid"]
    assert "not_completed" in _codes(summary)
    assert summary["pools"][SIDE]["workloads"] == {}


def test_a_segfault_under_prefork_interrupts_no_innocent_task(tmp_path: Path) -> None:
    model = _crashed("prefork")

    (crash,) = _summary(model, tmp_path)["crashes"]

    assert (crash["fault"], crash["policy"], crash["pool"]) == ("segfault", "early", SIDE)
    assert (crash["running"], crash["interrupted"], crash["stranded"]) == (3, 0, 0)
    assert (crash["slots_gone"], crash["worker_died"], crash["poison"]) == (1, False, "failed")


def test_a_segfault_under_threads_interrupts_all_and_strands_what_was_prefetched(
    tmp_path: Path,
) -> None:
    model = _crashed("threads")

    summary = _summary(model, tmp_path)

    (crash,) = summary["crashes"]
    assert (crash["running"], crash["interrupted"], crash["stranded"]) == (3, 3, 3)
    assert (crash["lost"], crash["recovered"]) == (3, 0)
    assert crash["fates"] == {"lost": 3, "stranded": 3}
    assert crash["due_s"]["first"] < 5 < crash["due_s"]["last"]
    assert (crash["slots_gone"], crash["worker_died"]) == (4, True)
    assert crash["restarted_by"] == "supervisor"
    assert summary["books"]["verdicts"]["lost"] == 4
    assert any("interrupted all of the 3 innocent" in each for each in summary["sentences"])


def test_what_was_stranded_and_came_back_is_recovered(tmp_path: Path) -> None:
    model = _crashed("threads")
    model.wait(6000)
    model.sweep()
    _drain(model)

    (crash,) = _summary(model, tmp_path)["crashes"]

    assert crash["fates"] == {"lost": 3, "completed": 3}
    assert (crash["recovered"], crash["lost"]) == (3, 3)
    assert 6 < crash["recovery_s"]["redelivered"] < 6.2
    assert crash["recovery_s"]["slot_back"] > 6


def test_late_acknowledgement_recovers_what_was_interrupted(tmp_path: Path) -> None:
    model = _crashed("threads", "late")
    model.wait(6000)
    model.sweep()
    model.queue.remove(1)
    _drain(model)

    summary = _summary(model, tmp_path)

    (crash,) = summary["crashes"]
    assert (crash["interrupted"], crash["stranded"]) == (3, 3)
    assert crash["fates"] == {"completed": 3, "recovered": 3}
    assert summary["books"]["verdicts"]["recovered"] == 3


def test_a_worker_that_dies_of_something_else_later_is_not_the_fault_s_doing(
    tmp_path: Path,
) -> None:
    model = _crashed("prefork")
    worker = model.workers[0]
    for _ in range(4):
        model.start(worker)
    for _ in range(4):
        model.end(worker, 0, Event.SUCCEEDED)
    model.wait(3000)
    model.kill(worker)

    (crash,) = _summary(model, tmp_path)["crashes"]

    assert (crash["slots_gone"], crash["worker_died"]) == (1, False)
    assert crash["restarted_by"] == "pool"
    assert (crash["interrupted"], crash["stranded"]) == (0, 0)


def test_repeats_of_a_fault_are_added_up_with_an_interval(tmp_path: Path) -> None:
    model = _crashed("threads")

    (total,) = _summary(model, tmp_path)["crash_totals"]

    assert (total["crashes"], total["running"], total["interrupted"]) == (1, 3, 3)
    low, high = total["interrupted_share"]
    assert 0.4 < low < high == 1.0


def test_tasks_of_others_that_the_workers_took_are_warned_of(tmp_path: Path) -> None:
    model = Model("threads", "early")
    model.enqueue(1)
    _drain(model)
    ring, tid = model.workers[0].main, model.workers[0].slots[0].tid
    for event in (Event.RECEIVED, Event.STARTED, Event.SUCCEEDED):
        model._record(ring, tid, 7, event)
        *head, run, pid, slot, kind, unused, sequence = RECORD.unpack(ring.records[-1])
        ring.records[-1] = RECORD.pack(*head, run + 1, pid, slot, kind, unused, sequence)

    summary = _summary(model, tmp_path)

    assert "foreign_tasks" in _codes(summary)
    assert summary["books"]["unexpected"] == 0


def test_a_run_that_was_not_closed_says_so(tmp_path: Path) -> None:
    model = Model("threads", "early")
    model.enqueue(1)
    _drain(model)

    summary = summarise(write(tmp_path, model.entries([3])))

    assert "not_closed" in _codes(summary)
    assert summary["books"]["balanced"]
    assert summary["books"]["verdicts"]["lost"] == 0


def test_a_folder_without_a_history_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="is not a run"):
        summarise(tmp_path)


def test_a_history_without_a_beginning_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="no beginning"):
        summarise(write(tmp_path, []))
