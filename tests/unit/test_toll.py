"""What the summary of a crash counts as a fault's toll, and what it says of one not done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from poolproof.judge.summary import summarise
from poolproof.live.stage import Stage
from poolproof.live.words import news
from poolproof_workers.contract import Event
from tests.unit.celery_model import SIDE, Model, write

if TYPE_CHECKING:
    from pathlib import Path


def _running(tasks: int = 4) -> Model:
    """Four slots of threads run tasks 0 to 3."""
    model = Model("threads", "early", concurrency=4)
    model.enqueue(tasks)
    worker = model.workers[0]
    for _ in range(4):
        model.receive(worker)
        model.start(worker)
    model.wait(100)
    return model


def _blow(model: Model, *, applied: bool = True, **fields: Any) -> None:
    op = {"op": "fault", "worker": model.workers[0].name, "fault": "quit-worker", "pid": 1}
    model._op(model.workers[0].name, **op, applied=applied, **fields)


def _summary(model: Model, folder: Path) -> dict[str, Any]:
    model.close()
    return summarise(write(folder, model.entries([3])))


def test_an_innocent_task_that_failed_after_a_fault_was_interrupted(tmp_path: Path) -> None:
    model = _running()
    _blow(model, reason=None)
    model.end(model.workers[0], 0, Event.FAILED)
    for _ in range(3):
        model.end(model.workers[0], 0, Event.SUCCEEDED)

    (crash,) = _summary(model, tmp_path)["crashes"]

    assert (crash["running"], crash["interrupted"], crash["hung"]) == (4, 1, 0)
    assert crash["fates"] == {"failed": 1}


def test_what_runs_on_to_the_close_of_the_books_hangs_and_was_not_interrupted(
    tmp_path: Path,
) -> None:
    model = _running()
    _blow(model, reason=None)
    model.end(model.workers[0], 0, Event.SUCCEEDED)

    summary = _summary(model, tmp_path)

    (crash,) = summary["crashes"]
    assert (crash["interrupted"], crash["hung"]) == (0, 3)
    assert any("still at it" in sentence for sentence in summary["sentences"])


def test_a_fault_that_was_not_done_is_no_crash_and_its_reason_is_told(tmp_path: Path) -> None:
    model = _running()
    _blow(model, applied=False, reason="the worker does not run now")
    skipped = {"side": SIDE, "fault": "kill-child", "reason": "it has no child processes"}
    model._op("producer", op="not-applicable", **skipped)
    for _ in range(4):
        model.end(model.workers[0], 0, Event.SUCCEEDED)

    summary = _summary(model, tmp_path)

    assert summary["crashes"] == []
    assert summary["not_applicable"] == [
        {"pool": SIDE, "fault": "kill-child", "reason": "it has no child processes"},
        {"pool": SIDE, "fault": "quit-worker", "reason": "the worker does not run now"},
    ]
    assert sum("was not done" in sentence for sentence in summary["sentences"]) == 2


def test_a_fault_that_nothing_was_seen_of_is_said_and_warned_of(tmp_path: Path) -> None:
    model = Model("threads", "early", concurrency=1)
    model._op("producer", op="strike", side=SIDE, fault="segfault", after_s=0.1)
    model.enqueue(1, {0: "segfault"})
    model.receive(model.workers[0])
    model.start(model.workers[0])
    model.end(model.workers[0], 0, Event.FAILED)

    summary = _summary(model, tmp_path)

    (row,) = summary["not_applicable"]
    assert (row["pool"], row["fault"], row["unseen"]) == (SIDE, "segfault", True)
    assert any("segfault was not done" in sentence for sentence in summary["sentences"])
    advice = {each["code"]: each["advice"] for each in summary["warnings"]}
    assert "POOLPROOF_ALLOW_FAULTS=1" in advice["fault_not_done"]


def test_a_fault_that_was_seen_or_refused_is_not_warned_of(tmp_path: Path) -> None:
    model = _running()
    for fault in ("kill-worker", "quit-worker"):
        model._op("producer", op="strike", side=SIDE, fault=fault, after_s=0.1)
    _blow(model, reason=None)
    skipped = {"side": SIDE, "fault": "kill-worker", "reason": "faults are off"}
    model._op("producer", op="not-applicable", **skipped)

    summary = _summary(model, tmp_path)

    assert [row.get("unseen") for row in summary["not_applicable"]] == [None]
    assert "fault_not_done" not in {each["code"] for each in summary["warnings"]}


def test_what_innocent_tasks_saw_is_counted_from_the_fault_on(tmp_path: Path) -> None:
    model = Model("threads", "early", concurrency=1)
    model.enqueue(6, {2: "module-list"})
    (begin,) = (op for _, op in model.ops if op["op"] == "block-begin")
    begin |= {"workload": "observe:module-list", "parameters": {"turns": 0}}
    worker = model.workers[0]
    for number in range(6):
        model.receive(worker)
        model.start(worker)
        if number == 2:
            slot = worker.slots[0]
            model._record(slot.ring, slot.tid, number, Event.FAULT)
        # The model's results are squares: of an odd number the lowest bits say that it saw it.
        model.end(worker, 0, Event.SUCCEEDED)

    (crash,) = _summary(model, tmp_path)["crashes"]

    seen = crash["observations"]
    assert (seen["observers"], seen["saw"], seen["suffered"]) == (3, 2, 0)
    assert (seen["updates"], crash["poison"]) == (0, "completed")


def test_one_that_ran_when_it_was_hit_and_runs_anew_does_not_hang(tmp_path: Path) -> None:
    model = Model("threads", "late", concurrency=1, timeout_s=1.0)
    model.enqueue(1)
    model.receive(model.workers[0])
    model.start(model.workers[0])
    _blow(model, reason=None)
    model.kill(model.workers[0])
    model.wait(2_000)
    model.sweep()
    model.receive(model.workers[0])
    model.start(model.workers[0])

    (crash,) = _summary(model, tmp_path)["crashes"]

    assert (crash["interrupted"], crash["hung"]) == (1, 0)
    assert crash["books"]["innocent"] == {"running": 1}


def _taken_twice(model: Model) -> None:
    """One slot: task 0 runs, 1 waits in the worker for longer than the visibility timeout."""
    model.enqueue(2)
    for _ in range(2):
        model.receive(model.workers[0])
    model.start(model.workers[0])
    _blow(model, reason=None)
    model.wait(2_000)
    model.sweep()
    model.receive(model.workers[0])
    for _ in range(3):
        model.end(model.workers[0], 0, Event.SUCCEEDED)
        model.start(model.workers[0])


def test_what_ran_twice_since_it_waited_too_long_in_a_living_worker_is_told_apart(
    tmp_path: Path,
) -> None:
    model = Model("threads", "early", concurrency=1, timeout_s=1.0)
    _taken_twice(model)

    (crash,) = _summary(model, tmp_path)["crashes"]

    assert (crash["repeated"], crash["overdue"], crash["waited"]) == (1, 1, 0)
    assert crash["books"]["innocent"] == {"completed": 1, "repeated": 1}


def _struck_while_it_ran() -> Model:
    """One slot of threads runs task 0, acknowledged late, when a fault comes."""
    model = Model("threads", "late", concurrency=1, timeout_s=1.0)
    model.enqueue(1)
    model.receive(model.workers[0])
    model.start(model.workers[0])
    _blow(model, reason=None)
    return model


def _comes_again(model: Model) -> None:
    """Its visibility timeout is over, and task 0 runs once more."""
    model.wait(2_000)
    model.sweep()
    model.receive(model.workers[0])
    model.start(model.workers[0])
    model.end(model.workers[0], 0, Event.SUCCEEDED)


def test_what_ran_twice_since_its_end_was_not_acknowledged_is_not_overdue(tmp_path: Path) -> None:
    model = _struck_while_it_ran()
    model.end(model.workers[0], 0, Event.SUCCEEDED, dies=True)
    _comes_again(model)

    (crash,) = _summary(model, tmp_path)["crashes"]

    assert (crash["repeated"], crash["overdue"]) == (1, 0)


def test_what_ended_in_time_and_came_again_to_the_same_worker_is_not_overdue(
    tmp_path: Path,
) -> None:
    model = _struck_while_it_ran()
    model.end(model.workers[0], 0, Event.SUCCEEDED)
    model.deliveries[0].acked = False  # its acknowledgement went to a connection that was gone
    _comes_again(model)

    (crash,) = _summary(model, tmp_path)["crashes"]

    assert (crash["repeated"], crash["overdue"]) == (1, 0)


def test_what_ends_since_the_worker_was_told_to_stop_is_no_slot_that_a_fault_took(
    tmp_path: Path,
) -> None:
    model = Model("prefork", "early", concurrency=4)
    worker = model.workers[0]
    model.enqueue(1, poison={0: "segfault"})
    model.receive(worker)
    model.start(worker)
    model.strike(worker, 0)
    model.wait(2_000)
    model.stop(worker)

    (crash,) = _summary(model, tmp_path)["crashes"]

    assert (crash["strikes"], crash["slots_gone"]) == (1, 1)


def test_a_fault_of_the_broker_that_ends_another_worker_is_told_of_that_one(
    tmp_path: Path,
) -> None:
    model = Model("threads", "early", workers=2, concurrency=3)
    first, second = model.workers
    model.enqueue(4)
    for worker in (first, second):
        model.receive(worker)
        model.start(worker)
    names = [first.name, second.name]
    op = {"op": "fault", "fault": "redis-restart", "connections": None, "reason": None}
    model._op(first.name, **op, worker=first.name, workers=names, pid=1, applied=True)
    model.wait(1_000)
    model.kill(second)
    model.receive(second)
    model.start(second)

    summary = _summary(model, tmp_path)

    (crash,) = summary["crashes"]
    assert (crash["worker_died"], crash["slots_gone"]) == (True, 3)
    assert crash["restarted_by"] == "supervisor"
    assert crash["recovery_s"]["slot_back"] is not None
    assert "unasked_exit" not in {warning["code"] for warning in summary["warnings"]}


def test_one_whose_slot_ended_before_its_beginning_was_recorded_is_counted_too(
    tmp_path: Path,
) -> None:
    model = Model("threads", "early", concurrency=2)
    model.enqueue(2)
    worker = model.workers[0]
    for _ in range(2):
        model.receive(worker)
    model.start(worker)
    _blow(model, reason=None)
    slot = worker.slots[1]
    model._record(slot.ring, slot.tid, 1, Event.ABANDONED)
    model._record(worker.main, worker.main.pid, 1, Event.REPORTED)
    model.deliveries[1].acked, model.deliveries[1].state = True, "ended"
    model.end(worker, 0, Event.SUCCEEDED)

    (crash,) = _summary(model, tmp_path)["crashes"]

    assert (crash["interrupted"], crash["others"]) == (0, 1)
    assert crash["fates"] == {"failed": 1}


def test_whom_a_fault_interrupted_is_not_known_where_the_end_of_a_ring_is_missing(
    tmp_path: Path,
) -> None:
    model = _running()
    _blow(model, reason=None)
    model.end(model.workers[0], 0, Event.SUCCEEDED)
    ring = model.workers[0].main
    model.kill(model.workers[0])
    (gone,) = (op for _, op in model.ops if op.get("ring") == ring.name)
    gone["written"] = len(ring.records)
    model.close()
    ring.records.pop()

    summary = summarise(write(tmp_path, model.entries([3])))

    (crash,) = summary["crashes"]
    assert (crash["running"], crash["interrupted"], crash["unknown"]) == (0, 0, 4)
    assert crash["fates"] == {}
    words = "no innocent task is known to have been running; what it did to 4 tasks is not known"
    assert any(words in sentence for sentence in summary["sentences"])


def test_a_worker_that_a_signal_without_a_name_ended_is_told_by_its_number(tmp_path: Path) -> None:
    model = _running()
    _blow(model, reason=None)
    model.kill(model.workers[0])
    (end,) = (op for _, op in model.ops if op["op"] == "worker-exit")
    end["signal"] = 40

    (crash,) = _summary(model, tmp_path)["crashes"]

    assert crash["noticed"] == ["worker ended by signal 40"]
    stage = Stage()
    for entry in model.entries_as_shipped():
        stage.take(entry)
    assert "signal 40" in news(stage.sides[SIDE], model.now_ns)


def test_what_one_fault_lost_is_not_counted_by_another_around_the_same_work(tmp_path: Path) -> None:
    model = Model("threads", "early", concurrency=2)
    model.enqueue(6)
    worker = model.workers[0]
    for received in (2, 3):
        for _ in range(received):
            model.receive(worker)
            model.start(worker)
        _blow(model, reason=None)
        # Acknowledged and not begun: nobody's interruption, and lost all the same.
        model.deliveries[-1].acked = True
        model.kill(worker)

    first, second = _summary(model, tmp_path)["crashes"]

    assert (first["interrupted"], first["others"], first["lost"]) == (2, 0, 2)
    assert (second["interrupted"], second["others"], second["lost"]) == (2, 1, 3)


def test_what_an_earlier_life_left_stranded_is_not_stranded_by_the_end_of_the_next(
    tmp_path: Path,
) -> None:
    model = Model("threads", "early", concurrency=1)
    model.enqueue(4)
    worker = model.workers[0]
    for received in (2, 1):
        for _ in range(received):
            model.receive(worker)
            model.start(worker)
        _blow(model, reason=None)
        model.kill(worker)

    crashes = _summary(model, tmp_path)["crashes"]

    assert [(crash["interrupted"], crash["stranded"]) for crash in crashes] == [(1, 1), (1, 0)]


@pytest.mark.parametrize(("policy", "unknown"), [("early", 2), ("late", 3)])
def test_what_a_worker_held_is_not_called_stranded_where_a_hole_may_hide_its_start(
    policy: str, unknown: int, tmp_path: Path
) -> None:
    model = Model("prefork", policy, concurrency=2, timeout_s=3600.0)
    worker = model.workers[0]
    model.enqueue(4)
    for _ in range(4):
        model.receive(worker)
    model.start(worker)
    model.start(worker)
    _blow(model, reason=None)
    child = worker.slots[1].ring
    model.kill(worker)
    model.close()
    child.records.clear()  # it was shipped no more

    summary = summarise(write(tmp_path, model.entries([3])))

    (crash,) = summary["crashes"]
    assert (crash["interrupted"], crash["stranded"], crash["unknown"]) == (1, 0, unknown)
    # Of the one that is known to have been interrupted a copy is left only with late.
    assert summary["books"]["verdicts"]["stranded"] == unknown - 2


@pytest.mark.parametrize("moment", ["fetched", "acknowledged"])
def test_every_lost_task_has_a_cause(moment: str, tmp_path: Path) -> None:
    model = Model("threads", "early", concurrency=3)
    worker = model.workers[0]
    model.enqueue(4)
    for _ in range(2):
        model.receive(worker)
        model.start(worker)
    model.wait(100)
    _blow(model, reason=None)
    if moment == "fetched":
        model.receive(worker, dies=True)
    else:
        model.receive(worker)
        model.start(worker, dies=True)

    summary = _summary(model, tmp_path)

    (crash,) = summary["crashes"]
    causes = {"interrupted": 2, "acknowledged": 0, "fetched": 0} | {moment: 1}
    assert (crash["interrupted"], crash["lost"], crash["lost_by"]) == (2, 3, causes)
    words = {"fetched": "on the way from the queue", "acknowledged": "not begun yet"}
    assert any(
        f"(2 that ran, 1 {words[moment]}" in each.replace("acknowledged and ", "")
        for each in summary["sentences"]
    )


def test_one_that_came_back_and_was_lost_on_its_way_was_fetched_although_it_was_received(
    tmp_path: Path,
) -> None:
    model = Model("threads", "early", concurrency=1, timeout_s=1.0)
    worker = model.workers[0]
    model.enqueue(2)
    for _ in range(2):
        model.receive(worker)
    model.start(worker)
    _blow(model, reason=None)
    model.kill(worker)
    model.wait(2_000)
    model.sweep()
    model.receive(worker, dies=True)

    (crash,) = _summary(model, tmp_path)["crashes"]

    assert (crash["stranded"], crash["lost"]) == (1, 2)
    assert crash["lost_by"] == {"interrupted": 1, "acknowledged": 0, "fetched": 1}


def test_what_waits_behind_a_task_that_never_ends_waits_for_the_timeout(tmp_path: Path) -> None:
    model = Model("prefork", "early", workers=2, concurrency=1, timeout_s=4.0)
    hangs, other = model.workers
    model.enqueue(5, {0: "endless-sleep"})
    for _ in range(4):
        model.receive(hangs)
    model.start(hangs)
    slot = hangs.slots[0]
    model._record(slot.ring, slot.tid, 0, Event.FAULT)
    for left in (1, 3):
        for _ in range(left):
            model.receive(other)
            model.start(other)
            model.end(other, 0, Event.SUCCEEDED)
        model.wait(5_000)
        model.sweep()

    summary = _summary(model, tmp_path)

    (crash,) = summary["crashes"]
    assert (crash["stranded"], crash["waited"], crash["recovered"]) == (0, 3, 3)
    assert crash["books"]["innocent"] == {"completed": 4}
    assert crash["rescued"]["surviving worker"]["tasks"] == 3
    said = "3 more that were waiting in the worker, which lived, stayed there until the visibility"
    assert any(said in sentence for sentence in summary["sentences"])


def test_slots_that_further_strikes_took_are_told_apart_from_those_of_the_first(
    tmp_path: Path,
) -> None:
    model = Model("threads", "late", concurrency=1, timeout_s=1.0)
    worker = model.workers[0]
    model.enqueue(1, {0: "segfault"})
    for _ in range(3):
        model.receive(worker)
        model.start(worker)
        model.strike(worker, 0)
        model.wait(2_000)
        model.sweep()
    (end,) = (op for _, op in model.ops if op["op"] == "block-end")
    end["why"] = "the poison struck 3 times and comes back again"

    summary = _summary(model, tmp_path)

    (crash,) = summary["crashes"]
    assert (crash["slots_gone"], crash["slots_gone_first"], crash["strikes"]) == (3, 1, 3)
    (said,) = (each for each in summary["sentences"] if each.startswith("One segfault"))
    assert "Its slot was restarted by the supervisor" in said
    assert said.endswith("It struck 3 times, and took 2 slots more, and comes back again.")


def test_a_worker_that_stays_after_its_last_task_and_a_wait_that_was_cut_off_are_told(
    tmp_path: Path,
) -> None:
    model = _running(6)
    _blow(model, reason=None)
    model.ops[-1][1]["fault"] = "term-worker"
    for _ in range(4):
        model.end(model.workers[0], 0, Event.SUCCEEDED)
    model.wait(30_300)
    model._exit(model.workers[0], signal=None, asked=False)
    (end,) = (op for _, op in model.ops if op["op"] == "block-end")
    end["why"] = "the deadline of 45 s"

    summary = _summary(model, tmp_path)

    (crash,) = summary["crashes"]
    assert crash["left"] == {"queued": 2}
    (said,) = (each for each in summary["sentences"] if each.startswith("One term-worker"))
    assert "The worker left only 30.3 s after its last task was over." in said
    assert said.endswith(
        "The wait for what comes back was cut off by the deadline of 45 s; of the innocent tasks 2 "
        "queued were left."
    )
