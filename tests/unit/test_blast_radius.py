"""What the summary of a crash counts as a fault's toll, and what it says of one not done."""

from __future__ import annotations

import tempfile
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poolproof.judge.faults.events import strikes
from poolproof.judge.faults.impact import BlastRadii, BlastRadius
from poolproof.judge.faults.window import FaultWindow
from poolproof.judge.run_data import gather
from poolproof.judge.summary import summarise
from poolproof.judge.verdicts.attempts import deaths
from poolproof.judge.verdicts.final_state import all_holes
from poolproof.live.stage import Stage
from poolproof.live.words import news
from poolproof_workers.contract import RECORD, Event
from tests.unit.celery_model import OFFSET_NS, SIDE, Model, Worker, write

if TYPE_CHECKING:
    from collections.abc import Callable


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
    model._op(model.workers[0].name, **op | {"applied": applied, "reason": None} | fields)


def _summary(model: Model, folder: Path) -> dict[str, Any]:
    model.close()
    return summarise(write(folder, model.entries([3])))


def _tolls(model: Model, folder: Path) -> list[BlastRadius]:
    """What each strike of a history took along."""
    if not any(op["op"] == "run-end" for _, op in model.ops):
        model.close()
    evidence = gather(write(folder, model.entries([3])))
    found = strikes(evidence)
    tolls = BlastRadii(FaultWindow(evidence, found, deaths(evidence)), all_holes(evidence))
    return [tolls.of(strike) for strike in found]


def _folder(parent: Path, name: str) -> Path:
    folder = parent / name
    folder.mkdir()
    return folder


def _ops(model: Model, name: str) -> list[dict[str, Any]]:
    return [op for _, op in model.ops if op["op"] == name]


def _prefork(tasks: int, concurrency: int = 3, workers: int = 1) -> Model:
    """The first worker holds so many tasks, and each of its children runs one."""
    model = Model("prefork", "early", workers=workers, concurrency=concurrency)
    model.enqueue(tasks)
    for _ in range(tasks):
        model.receive(model.workers[0])
    for _ in range(concurrency):
        model.start(model.workers[0])
    return model


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


_DEEDS = "receive receive receive start start start end lose kill back back fetch ack"


def _dies_as_it_fetches(model: Model, worker: Worker) -> None:
    # One that runs as well is interrupted by the same death: that has two causes.
    if not any(slot.runs and slot.runs.number in model.queue[:1] for slot in worker.slots):
        model.receive(worker, dies=True)


def _comes_back(model: Model) -> None:
    model.wait(6_000)
    model.sweep()


@given(
    st.sampled_from(["prefork", "threads"]),
    st.sampled_from(["early", "late", "late-reject"]),
    st.lists(
        st.tuples(st.sampled_from(_DEEDS.split()), st.integers(0, 5)), min_size=5, max_size=60
    ),
)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_where_lost_tasks_were_is_the_truth(
    pool: str, policy: str, steps: list[tuple[str, int]]
) -> None:
    model = Model(pool, policy)
    worker = model.workers[0]
    model.enqueue(12)
    _blow(model, reason=None)
    for deed, index in steps:
        deeds: dict[str, Callable[[], None]] = {
            "receive": partial(model.receive, worker),
            "start": partial(model.start, worker),
            "end": partial(model.end, worker, index, Event.SUCCEEDED),
            "lose": partial(model.kill_slot, worker, index),
            "kill": partial(model.kill, worker),
            "back": partial(_comes_back, model),
            "fetch": partial(_dies_as_it_fetches, model, worker),
            "ack": partial(model.start, worker, dies=True),
        }
        deeds[deed]()

    with tempfile.TemporaryDirectory() as folder:
        (crash,) = _summary(model, Path(folder))["crashes"]

    lost = [n for n in range(len(model.tasks)) if model.truth(n) == "lost"]
    assert crash["lost"] == sum(crash["lost_by"].values()) == len(lost)
    # What one worker had twice, of which one copy ran and the other waited, has two causes.
    had = Counter((each.number, each.main.name) for each in model.deliveries)
    if all(count == 1 for (n, _), count in had.items() if n in lost):
        assert +Counter(crash["lost_by"]) == Counter(model.tasks[n].last for n in lost)


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


def test_of_what_nobody_recorded_anything_was_on_its_way(tmp_path: Path) -> None:
    model = Model("threads", "early", concurrency=1)
    model.enqueue(1)
    _blow(model, reason=None)
    model.queue.clear()  # a worker fetched it, and died

    (crash,) = _summary(model, tmp_path)["crashes"]

    assert (crash["lost"], crash["lost_by"]["fetched"]) == (1, 1)


def test_one_that_was_cut_as_it_began_was_interrupted(tmp_path: Path) -> None:
    model = Model("threads", "early", concurrency=1)
    worker = model.workers[0]
    model.enqueue(1)
    model.receive(worker)
    _blow(model, reason=None)
    model._record(worker.main, worker.slots[0].tid, 0, Event.ABANDONED)
    model.deliveries[0].acked, model.deliveries[0].state = True, "ended"

    (crash,) = _summary(model, tmp_path)["crashes"]

    assert (crash["lost"], crash["lost_by"]["interrupted"]) == (1, 1)


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
        "The wait for what comes back was cut off by the deadline of 45 s; of the innocent tasks "
        "there were left: 2 queued."
    )


def test_what_began_before_a_death_was_cut_by_it_and_what_ended_before_was_not(
    tmp_path: Path,
) -> None:
    model = Model("threads", "early", workers=2, concurrency=3)
    struck, other = model.workers
    model.enqueue(8)
    for worker in (other, struck, struck, struck):
        model.receive(worker)
        model.start(worker)
    _blow(model, fault="term-worker")
    # 1 and 4 end before the worker does; 5 begins before that, too.
    for number in (4, 5):
        model.end(struck, 0, Event.SUCCEEDED)
        assert model.queue[0] == number
        model.receive(struck)
        model.start(struck)
    model.kill(struck)

    (toll,) = _tolls(model, tmp_path)

    assert toll.running == toll.interrupted == {2, 3, 5}
    assert (toll.slots_gone, toll.unknown) == (3, set())


@pytest.mark.parametrize(
    ("fault", "after_s", "is_its_doing"),
    [
        ("quit-worker", 9, True),
        ("quit-worker", 11, False),
        # It lets the worker go on for as long as its tasks do.
        ("term-worker", 60, True),
    ],
)
def test_a_death_is_a_faults_doing_as_long_as_that_may_take_to_work(
    tmp_path: Path, fault: str, after_s: int, *, is_its_doing: bool
) -> None:
    model = _running()
    _blow(model, fault=fault)
    model.wait(after_s * 1000)
    model.kill(model.workers[0])

    (toll,) = _tolls(model, tmp_path)

    assert (toll.exit is not None) == is_its_doing
    assert toll.running == {0, 1, 2, 3}
    assert toll.interrupted == ({0, 1, 2, 3} if is_its_doing else set())


@pytest.mark.parametrize(("after_ms", "interrupted"), [(500, {0, 1}), (2_000, {0})])
def test_a_child_that_dies_well_after_a_new_one_was_at_work_died_of_something_else(
    tmp_path: Path, after_ms: int, interrupted: set[int]
) -> None:
    model = _prefork(4)
    _blow(model, fault="kill-child")
    model.kill_slot(model.workers[0], 0)
    model.start(model.workers[0])
    model.wait(after_ms)
    model.kill_slot(model.workers[0], 1)

    (toll,) = _tolls(model, tmp_path)

    assert (toll.running, toll.interrupted) == ({0, 1, 2}, interrupted)
    assert toll.slots_gone == len(interrupted)


@pytest.mark.parametrize(("stop_s", "slots_gone"), [(2.0, 1), (None, 2)])
def test_a_child_that_ends_after_the_worker_was_told_to_stop_is_none_that_a_fault_took(
    tmp_path: Path, stop_s: float | None, slots_gone: int
) -> None:
    model = _prefork(3)
    worker = model.workers[0]
    _blow(model, fault="kill-child")
    model.kill_slot(worker, 0)
    for _ in range(2):
        model.end(worker, 0, Event.SUCCEEDED)
    model.wait(2_000)
    model.kill_slot(worker, 1)
    model.wait(500)
    model.stop(worker)
    (end,) = _ops(model, "worker-exit")
    end["stop_s"] = stop_s  # from being told to the end

    (toll,) = _tolls(model, tmp_path)

    assert (toll.slots_gone, toll.exit, toll.interrupted) == (slots_gone, None, {0})


def test_that_another_worker_was_told_to_stop_explains_no_death(tmp_path: Path) -> None:
    model = _prefork(3, workers=2)
    struck, other = model.workers
    _blow(model, fault="kill-child")
    model.kill_slot(struck, 0)
    model.stop(other)
    model.wait(1_000)
    model.kill_slot(struck, 1)

    (toll,) = _tolls(model, tmp_path)

    assert (toll.slots_gone, toll.interrupted) == (2, {0, 1})


def test_how_far_a_fault_of_the_broker_reaches_is_told_worker_by_worker(tmp_path: Path) -> None:
    model = Model("prefork", "early", workers=2, concurrency=2)
    _, second = model.workers
    model.enqueue(4)
    for _ in range(3):
        model.receive(second)
    for _ in range(2):
        model.start(second)
    _blow(model, fault="redis-restart", workers=[each.name for each in model.workers])
    model.kill_slot(second, 0)
    model.start(second)
    model.wait(2_000)
    model.kill(second)

    (toll,) = _tolls(model, tmp_path)

    assert (toll.exit, toll.running, toll.interrupted) == (None, {0, 1}, {0})


def test_only_what_the_ring_with_a_hole_had_begun_is_in_doubt(tmp_path: Path) -> None:
    model = _prefork(4, concurrency=4, workers=2)
    struck, other = model.workers
    model.enqueue(1)
    model.receive(other)
    model.start(other)
    _blow(model)
    holed = [struck.slots[0].ring, struck.slots[1].ring, other.slots[0].ring]
    for worker in (struck, struck, other):
        model.end(worker, 0, Event.SUCCEEDED)
    for worker in (struck, other):
        model.kill(worker)
    model.close()
    for ring in holed:
        (gone,) = (op for op in _ops(model, "process-gone") if op["ring"] == ring.name)
        gone["written"] = len(ring.records)
        ring.records.pop()

    (toll,) = _tolls(model, tmp_path)

    assert (toll.running, toll.interrupted, toll.unknown) == ({2, 3}, {2, 3}, {0, 1})


def test_what_was_recorded_to_have_ended_before_a_hole_is_known_to_have_run(
    tmp_path: Path,
) -> None:
    model = _running()
    _blow(model)
    for _ in range(2):
        model.end(model.workers[0], 0, Event.SUCCEEDED)
    ring = model.workers[0].main
    model.kill(model.workers[0])
    (gone,) = (op for op in _ops(model, "process-gone") if op["ring"] == ring.name)
    gone["written"] = len(ring.records)
    model.close()
    ring.records.pop()

    (toll,) = _tolls(model, tmp_path)

    assert (toll.running, toll.interrupted, toll.unknown) == ({0}, set(), {1, 2, 3})


def _held(policy: str = "early", workers: int = 1) -> Model:
    """One slot of threads runs task 0; 1 and 2 wait in the worker. A fault comes."""
    model = Model("threads", policy, workers=workers, concurrency=1)
    model.enqueue(4)
    for _ in range(3):
        model.receive(model.workers[0])
    model.start(model.workers[0])
    _blow(model)
    return model


def test_what_waited_in_a_worker_that_died_is_stranded_since_it_was_taken(tmp_path: Path) -> None:
    model = _held()
    model.kill(model.workers[0])
    # The reading knows of a message that is none of the run's.
    reading = next(op for op in _ops(model, "broker") if op["reason"] == "worker-exit")
    reading["unacked"].insert(0, [4, reading["unacked"][0][1]])

    (toll,) = _tolls(model, tmp_path)

    assert (toll.running, toll.interrupted, toll.stranded) == ({0}, {0}, {1, 2})
    taken_ns = [each.taken_ns for each in model.deliveries[1:]]
    assert sorted(toll.taken_ns) == pytest.approx(taken_ns, abs=1_000)
    assert toll.given_back == set()


def test_without_a_reading_of_the_broker_nothing_is_known_to_be_stranded(tmp_path: Path) -> None:
    model = _held()
    model.kill(model.workers[0])
    model.close()
    model.ops = [(writer, op) for writer, op in model.ops if op["op"] != "broker"]

    (toll,) = _tolls(model, tmp_path)

    assert (toll.interrupted, toll.stranded, toll.taken_ns) == ({0}, set(), [])


def test_without_a_clock_of_the_broker_what_it_kept_counts_as_taken_in_time(
    tmp_path: Path,
) -> None:
    model = _held()
    model.kill(model.workers[0])
    model.ops = [(writer, op) for writer, op in model.ops if op["op"] != "clock"]

    (toll,) = _tolls(model, tmp_path)

    assert (toll.stranded, toll.taken_ns) == ({1, 2}, [0, 0])


def test_what_the_next_life_took_was_not_stranded_by_the_end_of_the_one_before(
    tmp_path: Path,
) -> None:
    model = _held()
    model.kill(model.workers[0])
    model.receive(model.workers[0])
    model.close()
    # The broker was only read when the next life had taken its first message.
    model.ops = [each for each in model.ops if each[1].get("reason") != "worker-exit"]

    (toll,) = _tolls(model, tmp_path)

    assert model.deliveries[-1].number == 3
    assert toll.stranded == {1, 2}


def test_what_had_begun_before_is_not_stranded_and_neither_is_the_poison(tmp_path: Path) -> None:
    model = Model("threads", "late", concurrency=1)
    model.enqueue(4, {2: "segfault"})
    worker = model.workers[0]
    for _ in range(4):
        model.receive(worker)
    model.start(worker)
    model.end(worker, 0, Event.SUCCEEDED)
    model.deliveries[0].acked = False  # its acknowledgement was lost
    model.start(worker)
    _blow(model)
    model.kill(worker)

    (toll,) = _tolls(model, tmp_path)

    assert (toll.running, toll.interrupted, toll.stranded) == ({1}, {1}, {3})


def test_what_another_worker_had_just_taken_is_not_stranded(tmp_path: Path) -> None:
    model = _held(workers=2)
    struck, other = model.workers
    model.kill(struck)
    reading = next(op for op in _ops(model, "broker") if op["reason"] == "worker-exit")
    (end,) = _ops(model, "worker-exit")
    # It is in `unacked` a moment before the death, and its receipt is recorded right after.
    model.receive(other)
    model.deliveries[-1].taken_ns = end["t_ns"] - 1
    reading["unacked"].append([3, (end["t_ns"] - 1_000_000 + OFFSET_NS) / 1e9])

    (toll,) = _tolls(model, tmp_path)

    assert toll.stranded == {1, 2}


def test_the_instant_of_a_fault_is_the_first_that_it_reaches(tmp_path: Path) -> None:
    model = _running()
    worker = model.workers[0]
    began_ns = RECORD.unpack(worker.main.records[-1])[1]
    _blow(model)
    model.end(worker, 0, Event.SUCCEEDED)
    ended_ns = model.now_ns
    model.receive(worker)
    model.kill(worker)
    (fault,), (end,) = _ops(model, "fault"), _ops(model, "worker-exit")

    model.close()
    tolls = []
    for t_ns in (began_ns, ended_ns, end["t_ns"]):
        fault["t_ns"] = t_ns
        tolls += _tolls(model, _folder(tmp_path, str(t_ns)))

    assert tolls[0].running == {0, 1, 2, 3}
    assert tolls[1].running == {1, 2, 3}
    assert tolls[2].exit is not None


def test_a_reading_at_the_instant_of_a_death_tells_what_that_left(tmp_path: Path) -> None:
    model = _held()
    model.kill(model.workers[0])
    (end,) = _ops(model, "worker-exit")
    _ops(model, "broker")[0]["t_ns"] = end["t_ns"]
    model.wait(6_000)
    model.sweep()

    (toll,) = _tolls(model, tmp_path)

    assert toll.stranded == {1, 2}


@pytest.mark.parametrize(
    ("unsaid", "by", "delay_s"),
    [
        (set(), "supervisor", 0.0),
        # Somebody started it again who is not there to say so.
        ({"worker-restart"}, "its service", None),
        ({"worker-restart", "worker-up"}, "nobody", None),
    ],
)
def test_who_started_a_worker_again_is_told_as_far_as_it_is_known(
    tmp_path: Path, unsaid: set[str], by: str, delay_s: float | None
) -> None:
    model = _held()
    model.kill(model.workers[0])
    model.ops = [each for each in model.ops if each[1]["op"] not in unsaid]

    (crash,) = _summary(model, tmp_path)["crashes"]

    assert (crash["restarted_by"], crash["restart_delay_s"]) == (by, delay_s)


def test_a_restart_after_the_next_fault_was_not_of_this_one(tmp_path: Path) -> None:
    model = _held()
    model.kill(model.workers[0])
    restart = _ops(model, "worker-restart")[0]
    restart["delay_s"] = 2.5
    _blow(model)
    restart["t_ns"] = model.now_ns + 1

    first, second = _summary(model, tmp_path)["crashes"]

    assert (first["restarted_by"], first["restart_delay_s"]) == ("its service", None)
    assert (second["slots_gone"], second["restarted_by"]) == (0, None)


@pytest.mark.parametrize(("is_replaced", "by"), [(True, "pool"), (False, "nobody")])
def test_a_pool_replaced_a_child_if_a_new_one_began_a_task(
    tmp_path: Path, by: str, *, is_replaced: bool
) -> None:
    model = _prefork(4)
    _blow(model, fault="kill-child")
    model.kill_slot(model.workers[0], 0)
    if is_replaced:
        model.start(model.workers[0])

    (crash,) = _summary(model, tmp_path)["crashes"]

    assert (crash["slots_gone"], crash["restarted_by"]) == (1, by)
    assert crash["restart_delay_s"] is None


def test_a_crash_is_told_with_the_settings_that_its_worker_had_by_then(tmp_path: Path) -> None:
    model = _prefork(3, workers=2)
    for worker, policy, prefetch in zip(
        (0, 1, 0), ("late", "late-retry", "late-reject"), ("2", "8", "1"), strict=True
    ):
        if worker == 0 and policy == "late-reject":
            _blow(model, fault="kill-child")
        model._hello(model.workers[worker])
        model.ops[-1][1]["settings"] = {
            "POOLPROOF_POLICY": policy,
            "POOLPROOF_PREFETCH": prefetch,
        }

    (crash,) = _summary(model, tmp_path)["crashes"]

    assert (crash["policy"], crash["prefetch"]) == ("late", 2)
    assert (crash["pool"], crash["worker"], crash["way"]) == (SIDE, "model-0@host", "plain")


def test_what_nobody_told_is_celerys_default(tmp_path: Path) -> None:
    model = _prefork(3)
    for hello in _ops(model, "hello"):
        hello["settings"] = None
    _blow(model, fault="kill-child")

    (crash,) = _summary(model, tmp_path)["crashes"]

    assert (crash["policy"], crash["prefetch"]) == ("early", 4)


def test_the_strikes_of_one_poison_task_are_one_crash_by_its_first(tmp_path: Path) -> None:
    model = Model("prefork", "late-retry", concurrency=2)
    model.enqueue(3, {0: "segfault"})
    worker = model.workers[0]
    for _ in range(2):
        for _ in range(len(model.queue)):
            model.receive(worker)
        model.start(worker)
        model.start(worker)
        model.strike(worker, 0)
        model.wait(100)
        model.end(worker, 0, Event.SUCCEEDED)

    (crash,) = _summary(model, tmp_path)["crashes"]

    assert (crash["strikes"], crash["fault"], crash["slots_gone"]) == (2, "segfault", 2)
    assert (crash["running"], crash["interrupted"]) == (1, 0)
    assert crash["books"]["enqueued"] == 3


def test_what_went_back_and_then_to_another_worker_is_with_that_one(tmp_path: Path) -> None:
    model = _held(workers=2)
    struck, other = model.workers
    given_back = model.deliveries[2]
    given_back.acked, given_back.state = True, "ended"
    model.queue.insert(0, given_back.number)
    model.receive(other)
    model.kill(struck)

    (toll,) = _tolls(model, tmp_path)

    assert (model.deliveries[-1].number, toll.stranded) == (2, {1})


def test_what_a_worker_took_and_died_before_it_wrote_that_down_is_stranded(tmp_path: Path) -> None:
    model = _held()
    model.kill(model.workers[0])
    reading = next(op for op in _ops(model, "broker") if op["reason"] == "worker-exit")
    (end,) = _ops(model, "worker-exit")
    reading["unacked"].append([3, (end["t_ns"] - 1_000_000 + OFFSET_NS) / 1e9])

    (toll,) = _tolls(model, tmp_path)

    assert toll.stranded == {1, 2, 3}


def test_a_wait_that_was_over_before_a_fault_is_not_credited_to_it(tmp_path: Path) -> None:
    model = Model("threads", "early", workers=2, concurrency=1, timeout_s=4.0)
    busy, other = model.workers
    model.enqueue(2)
    for _ in range(2):
        model.receive(busy)
    model.start(busy)
    model.wait(5_000)
    model.sweep()
    model.receive(other)
    model.kill(other)
    _blow(model)
    model.wait(5_000)
    model.sweep()
    model.receive(other)
    model.start(other)
    model.end(other, 0, Event.SUCCEEDED)

    (crash,) = _summary(model, tmp_path)["crashes"]

    assert (crash["worker"], crash["waited"], crash["rescued"]) == (busy.name, 0, {})


@pytest.mark.parametrize("is_same_worker", [False, True])
def test_innocents_that_hang_around_two_faults_are_not_left_running_as_well(
    tmp_path: Path, *, is_same_worker: bool
) -> None:
    model = Model("threads", "early", workers=2, concurrency=2)
    first, second = model.workers
    model.enqueue(4)
    for worker in (first, first, second, second):
        model.receive(worker)
        model.start(worker)
    for worker in (first, first if is_same_worker else second):
        _blow(model)
        model.ops[-1][1]["worker"] = worker.name

    crashes = _summary(model, tmp_path)["crashes"]

    assert [crash["hung"] for crash in crashes] == [2, 2]
    assert [crash["left"] for crash in crashes] == [{}, {"running": 2} if is_same_worker else {}]


@pytest.mark.parametrize(("lost", "is_gone"), [(1, False), (3, True), (3, False)])
def test_a_hole_in_the_next_lifes_ring_hides_nothing_of_the_life_before(
    tmp_path: Path, lost: int, *, is_gone: bool
) -> None:
    model = Model("threads", "early", concurrency=1, timeout_s=60.0)
    worker = model.workers[0]
    model.enqueue(4)
    for _ in range(3):
        model.receive(worker)
    model.start(worker)
    _blow(model)
    model.kill(worker)
    model.receive(worker)
    model.start(worker)
    model.end(worker, 0, Event.SUCCEEDED)
    if is_gone:
        model._gone(worker, worker.main)
    model.close()
    entries = [
        entry
        for entry in model.entries([1])
        if entry.source != worker.main.name or entry.sequence > lost
    ]

    summary = summarise(write(tmp_path, entries))

    (crash,) = summary["crashes"]
    assert (crash["interrupted"], crash["stranded"], crash["unknown"]) == (1, 2, 0)
    assert summary["books"]["verdicts"]["stranded"] == 2


def test_a_fault_where_nothing_was_sent_took_nothing_of_nothing(tmp_path: Path) -> None:
    model = Model("threads", "early")
    _blow(model)

    (crash,) = _summary(model, tmp_path)["crashes"]

    assert crash["books"] == {"enqueued": 0, "innocent": {}, "poison": {}}
    assert (crash["ended"], crash["lost"], crash["others"]) == ("", 0, 0)


def test_a_faults_settings_are_those_that_its_worker_had_come_up_with_by_then(
    tmp_path: Path,
) -> None:
    model = _running()
    model.kill(model.workers[0])
    (up,) = _ops(model, "worker-up")
    up["settings"] = {"POOLPROOF_POLICY": "late", "POOLPROOF_PREFETCH": "1"}
    _blow(model)
    model.ops[-1][1]["t_ns"] = up["t_ns"]

    (crash,) = _summary(model, tmp_path)["crashes"]

    assert (crash["policy"], crash["prefetch"]) == ("late", 1)


def test_what_celery_said_of_the_poison_is_noticed_and_what_it_said_of_others_is_not(
    tmp_path: Path,
) -> None:
    model = Model("prefork", "early", workers=2, concurrency=1)
    struck, other = model.workers
    model.enqueue(2, {0: "segfault"})
    model.receive(struck)
    model.start(struck)
    model.receive(other)
    model.start(other)
    model.strike(struck, 0)
    model.end_by_force(other, 0, Event.REVOKED)

    (crash,) = _summary(model, tmp_path)["crashes"]

    assert crash["noticed"] == ["failure reported"]
    assert crash["books"]["poison"] == {"failed": 1}
