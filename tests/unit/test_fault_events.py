"""Which faults were really done, when, to whom; and which were not, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poolproof.history.participants import NEVER
from poolproof.judge.faults.events import FaultEvent, not_applicable, strikes
from poolproof.judge.run_data import gather
from poolproof_workers.contract import RECORD, Event, fault_detail
from poolproof_workers.faults.memory_limit import Way
from tests.unit.celery_model import SIDE, Model, write

if TYPE_CHECKING:
    from pathlib import Path

    from poolproof.judge.run_data import RunData


def _evidence(model: Model, folder: Path) -> RunData:
    model.close()
    return gather(write(folder, model.entries([3])))


def _blow(model: Model, index: int = 0, fault: str = "kill-worker", **fields: Any) -> int:
    name = model.workers[index].name
    op = {"op": "fault", "worker": name, "fault": fault, "pid": 1, "applied": True, "reason": None}
    model._op(name, **op | fields)
    return model.now_ns


def test_a_fault_from_outside_is_a_strike_until_the_next_on_its_worker(tmp_path: Path) -> None:
    model = Model("threads", "early", workers=2)
    model.enqueue(1)
    first, second = (worker.name for worker in model.workers)
    times = [_blow(model, 1), _blow(model, 0), _blow(model, 1, "quit-worker")]

    found = strikes(_evidence(model, tmp_path))

    assert found == [
        FaultEvent(second, "kill-worker", times[0], times[2], None, Way.PLAIN, (second,)),
        FaultEvent(first, "kill-worker", times[1], NEVER, None, Way.PLAIN, (first,)),
        FaultEvent(second, "quit-worker", times[2], NEVER, None, Way.PLAIN, (second,)),
    ]


def test_a_poison_task_strikes_in_its_ring_as_often_as_it_runs(tmp_path: Path) -> None:
    model = Model("prefork", "early", concurrency=2)
    model.enqueue(3, {1: "oom"})
    worker = model.workers[0]
    rings, times = [], []
    for slot, way in zip(worker.slots, (Way.RLIMIT, Way.CGROUP), strict=True):
        model._record(slot.ring, slot.tid, 1, Event.FAULT)
        record = list(RECORD.unpack(slot.ring.records[-1]))
        record[2] = fault_detail(3, way)
        slot.ring.records[-1] = RECORD.pack(*record)
        rings.append(slot.ring.name)
        times.append(model.now_ns)

    found = strikes(_evidence(model, tmp_path))

    name = worker.name
    assert found == [
        FaultEvent(name, "oom", times[0], times[1], 1, Way.RLIMIT, (name,), ring=rings[0]),
        FaultEvent(name, "oom", times[1], NEVER, 1, Way.CGROUP, (name,), ring=rings[1]),
    ]


def test_a_fault_record_of_a_task_that_nobody_called_poison_has_no_name(tmp_path: Path) -> None:
    model = Model("prefork", "early")
    model.enqueue(1)
    slot = model.workers[0].slots[0]
    model._record(slot.ring, slot.tid, 0, Event.FAULT)

    (found,) = strikes(_evidence(model, tmp_path))

    assert (found.fault, found.poison) == ("?", 0)


def test_a_fault_of_the_broker_reaches_the_workers_of_its_side_only(tmp_path: Path) -> None:
    model = Model("threads", "early", workers=3)
    model.enqueue(1)
    names = [worker.name for worker in model.workers]
    for op in (op for _, op in model.ops if op["op"] == "hello" and op["worker"] == names[2]):
        op["side"] = "another"
    _blow(model, 1, "redis-restart", workers=[names[1], names[0], names[2]])

    (found,) = strikes(_evidence(model, tmp_path))

    assert (found.worker, found.workers) == (names[1], (names[1], names[0]))
    assert found.is_of_broker


def test_a_fault_that_was_refused_is_no_strike_and_has_its_reason(tmp_path: Path) -> None:
    model = Model("threads", "early")
    model.enqueue(1)
    _blow(model, fault="kill-child", applied=False, reason="it has no child processes")
    _blow(model, fault="quit-worker")
    skipped = {"side": "other", "fault": "oom", "reason": "no limit can be set here"}
    model._op("producer", op="not-applicable", **skipped)
    # Each was begun; what became of one of them nobody recorded.
    for side, fault in [
        (SIDE, "quit-worker"),
        (SIDE, "kill-child"),
        ("other", "oom"),
        ("other", "quit-worker"),
        ("other", "quit-worker"),
    ]:
        model._op("producer", op="strike", side=side, fault=fault, after_s=0.1)

    evidence = _evidence(model, tmp_path)

    assert [each.fault for each in strikes(evidence)] == ["quit-worker"]
    assert not_applicable(evidence, strikes(evidence)) == [
        {"pool": "other", "fault": "oom", "reason": "no limit can be set here"},
        {"pool": SIDE, "fault": "kill-child", "reason": "it has no child processes"},
        {
            "pool": "other",
            "fault": "quit-worker",
            "reason": "it was to be, and no record says that it came to that",
            "unseen": True,
        },
    ]
