"""A hole in the recordings leaves open what it may be about, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from poolproof.collect.completeness import Hole
from poolproof.collect.roster import NEVER
from poolproof.judge.case import consider
from poolproof.judge.doubt import Returns, _Holes, _Tasks, returns
from poolproof.judge.ending import ending
from poolproof.judge.evidence import gather
from poolproof.judge.verdicts import Verdict
from poolproof_workers.contract import RECORD, Event
from tests.unit.celery_model import SIDE, Model, Worker, write

if TYPE_CHECKING:
    from pathlib import Path


def _returns(model: Model, folder: Path) -> Returns:
    model.close()
    return returns(gather(write(folder, model.entries([3]))))[SIDE]


def _times(model: Model, name: str) -> list[int]:
    return [op["t_ns"] for _, op in model.ops if op["op"] == name]


def _run(model: Model, worker: Worker) -> None:
    """The worker takes a task and runs it to its end."""
    model.receive(worker)
    model.start(worker)
    model.end(worker, 0, Event.SUCCEEDED)


@pytest.mark.parametrize(
    ("after", "until", "at_once", "left_behind"),
    [
        (9, 10, True, False),
        (10, 19, False, False),
        (10, 20, True, False),
        (20, 29, False, False),
        (29, 30, False, True),
        (30, 39, False, False),
        # Of an end that nobody saw all of the time may be it.
        (39, 40, False, False),
        (39, 41, True, True),
        (44, 46, True, True),
        (49, 60, True, True),
        (50, 60, False, False),
        (45, 45, False, False),
    ],
)
def test_messages_come_back_after_one_time_and_up_to_another(
    after: int, until: int, *, at_once: bool, left_behind: bool
) -> None:
    times = Returns(np.array([10, 20]), np.array([30]), ((40, 50),), 1, is_early=True)

    pair = np.array([after]), np.array([until])
    assert times.at_once(*pair).tolist() == [at_once]
    assert times.left_behind(*pair).tolist() == [left_behind]


@pytest.mark.parametrize(
    ("code", "signum", "asked", "is_exit", "is_orderly"),
    [
        (None, 9, False, True, False),
        (None, 15, True, True, True),
        (0, None, False, True, True),
        (None, None, False, False, False),
    ],
)
def test_a_main_process_gives_back_what_it_holds_if_it_leaves_in_order(
    tmp_path: Path,
    code: int | None,
    signum: int | None,
    *,
    asked: bool,
    is_exit: bool,
    is_orderly: bool,
) -> None:
    model = Model("threads", "early")
    model.enqueue(1)
    model.kill(model.workers[0])
    (end,) = (op for _, op in model.ops if op["op"] == "worker-exit")
    end |= {"code": code, "signal": signum, "asked": asked}

    found = _returns(model, tmp_path)

    assert found.exits_ns.tolist() == [end["t_ns"]] * is_exit
    assert found.orderly_ns.tolist() == [end["t_ns"]] * is_orderly
    assert len(found.unseen) == (not is_exit)


@pytest.mark.parametrize(
    ("policy", "comes_back"),
    [("early", False), ("late", False), ("late-reject", True), ("late-retry", True)],
)
def test_a_lost_slots_task_is_put_back_under_two_of_the_policies(
    tmp_path: Path, policy: str, *, comes_back: bool
) -> None:
    model = Model("prefork", policy)
    model.enqueue(1)
    model.kill_slot(model.workers[0], 0)

    found = _returns(model, tmp_path)

    assert found.orderly_ns.tolist() == _times(model, "process-gone") * comes_back
    assert (found.exits_ns.tolist(), found.unseen) == ([], ())
    assert found.is_early == (policy == "early")


@pytest.mark.parametrize(
    ("first", "second", "timeout_ns"),
    [
        (7.0, 5.0, 5_000_000_000),
        (None, 7.0, 7_000_000_000),
        (None, None, 3_600_000_000_000),
    ],
)
def test_the_shortest_known_timeout_of_a_side_holds_and_celerys_own_without_one(
    tmp_path: Path, first: float | None, second: float | None, timeout_ns: int
) -> None:
    model = Model("threads", "early", workers=2)
    model.enqueue(1)
    hellos = [op for _, op in model.ops if op["op"] == "hello"]
    for op, timeout_s in zip(hellos, (first, second), strict=True):
        op["visibility_timeout_s"] = timeout_s
    hellos[1]["settings"] = {"POOLPROOF_POLICY": "late"}

    found = _returns(model, tmp_path)

    assert (found.timeout_ns, found.is_early) == (timeout_ns, False)


@pytest.mark.parametrize(
    ("fault", "reaches", "may_come_back"),
    [
        ("redis-restart", "model-0@host", True),
        ("redis-pause", "model-0@host", False),
        ("redis-restart", "another@host", False),
    ],
)
def test_after_a_fault_that_breaks_connections_messages_may_come_back(
    tmp_path: Path, fault: str, reaches: str, *, may_come_back: bool
) -> None:
    model = Model("threads", "early")
    model.enqueue(1)
    op = {"op": "fault", "fault": fault, "worker": reaches, "workers": [reaches], "pid": 1}
    model._op("producer", side=SIDE, applied=True, reason=None, **op)
    at_ns = model.now_ns

    assert _returns(model, tmp_path).unseen == (((at_ns, NEVER),) if may_come_back else ())


def _without(model: Model, number: int, event: Event, folder: Path) -> list[str]:
    """The verdicts where one record never came."""
    if not _times(model, "closed"):
        model.close()
    entries = [entry for entry in model.entries([1]) if not _is(entry, number, event)]
    verdicts = consider(write(folder, entries)).verdicts
    return [Verdict(int(verdict)).word for verdict in verdicts]


def _is(entry: object, number: int, event: Event) -> bool:
    data = getattr(entry, "data", b"")
    if getattr(entry, "kind", "") != "records":
        return False
    fields = RECORD.unpack(data)
    return (fields[0], fields[6]) == (number, event)


def test_what_ended_before_a_hole_or_waits_in_the_queue_is_known(tmp_path: Path) -> None:
    model = Model("threads", "early", concurrency=1)
    model.enqueue(3)
    for _ in range(2):
        _run(model, model.workers[0])
        model.wait(2_000)

    words = _without(model, 1, Event.SUCCEEDED, tmp_path)

    assert words == ["completed", "unknown", "queued"]


@pytest.mark.parametrize(("pause_ms", "word"), [(4_000, "completed"), (6_000, "unknown")])
def test_what_was_received_after_a_hole_is_known_if_it_had_no_time_to_come_back_before(
    tmp_path: Path, pause_ms: int, word: str
) -> None:
    model = Model("threads", "early", concurrency=1, timeout_s=5.0)
    model.enqueue(2)
    _run(model, model.workers[0])
    model.wait(pause_ms)
    _run(model, model.workers[0])

    assert _without(model, 0, Event.SUCCEEDED, tmp_path) == ["unknown", word]


@pytest.mark.parametrize(("after_ms", "word"), [(2_000, "completed"), (100, "unknown")])
@pytest.mark.parametrize("policy", ["early", "late"])
def test_what_a_worker_may_not_have_acknowledged_before_it_died_may_come_again(
    tmp_path: Path, policy: str, after_ms: int, word: str
) -> None:
    model = Model("threads", policy, concurrency=1, timeout_s=60.0)
    worker = model.workers[0]
    model.enqueue(2)
    model.receive(worker)
    model.start(worker)
    if policy == "early":  # acknowledged as it begins
        model.wait(after_ms)
        model.end(worker, 0, Event.SUCCEEDED)
    else:
        model.end(worker, 0, Event.SUCCEEDED)
        model.wait(after_ms)
    model.kill(worker)
    _run(model, worker)

    assert _without(model, 1, Event.SUCCEEDED, tmp_path) == [word, "unknown"]


@pytest.mark.parametrize(("takes_ms", "word"), [(3_000, "completed"), (6_000, "unknown")])
def test_what_ran_for_longer_than_the_timeout_may_come_again(
    tmp_path: Path, takes_ms: int, word: str
) -> None:
    model = Model("threads", "late", concurrency=1, timeout_s=5.0)
    worker = model.workers[0]
    model.enqueue(2)
    model.receive(worker)
    model.start(worker)
    model.wait(takes_ms)
    model.end(worker, 0, Event.SUCCEEDED)
    model.wait(10_000)
    _run(model, worker)

    assert _without(model, 1, Event.SUCCEEDED, tmp_path) == [word, "unknown"]


def test_what_lies_with_a_worker_early_may_have_begun_in_a_hole_since_its_receipt(
    tmp_path: Path,
) -> None:
    model = Model("threads", "early", concurrency=1)
    worker = model.workers[0]
    model.enqueue(2)
    model.receive(worker)
    model.receive(worker)
    model.start(worker)
    model.end(worker, 0, Event.SUCCEEDED)

    assert _without(model, 0, Event.SUCCEEDED, tmp_path) == ["unknown", "unknown"]


def test_lost_ops_of_the_producer_leave_all_that_was_enqueued_before_them_open(
    tmp_path: Path,
) -> None:
    model = Model("threads", "early", concurrency=1)
    model.enqueue(1)
    _run(model, model.workers[0])
    model.wait(1_000)
    model._op("producer", op="wait", seconds=1.0)
    model.wait(1_000)
    model.enqueue(1)
    _run(model, model.workers[0])
    model.close()
    entries = [e for e in model.entries([1]) if e.kind != "op" or e.op["op"] != "wait"]

    case = consider(write(tmp_path, entries))

    words = [Verdict(int(verdict)).word for verdict in case.verdicts]
    assert words == ["unknown", "completed"]


@pytest.mark.parametrize(
    ("lost", "word"), [(Event.STARTED, "completed"), (Event.SUCCEEDED, "unknown")]
)
def test_a_hole_in_a_childs_ring_is_about_what_ran_there_before_its_end(
    tmp_path: Path, lost: Event, word: str
) -> None:
    model = Model("prefork", "late", concurrency=2)
    worker = model.workers[0]
    model.enqueue(3)
    for _ in range(3):
        model.receive(worker)
    for _ in range(2):
        model.start(worker)
    model.wait(100)
    for _ in range(2):
        model.end(worker, 0, Event.SUCCEEDED)
    model.start(worker)

    assert _without(model, 0, lost, tmp_path) == [word, "completed", "running"]


def test_what_one_sides_holes_hide_is_not_hidden_from_the_next_sides_look(tmp_path: Path) -> None:
    model = Model("threads", "late", concurrency=1, timeout_s=5.0)
    model.enqueue(2)
    for _ in range(2):
        _run(model, model.workers[0])
    model.close()
    evidence = gather(write(tmp_path, model.entries([1])))
    ledger = evidence.ledger
    rows = np.arange(ledger.size)
    tasks = _Tasks(ledger.part(rows), ending(evidence).part(rows))
    (ring,) = ledger.roster.sources.values()
    hole = Hole(ring.worker, ring.name, 0, NEVER, "its end is missing")
    known = tasks._has_ended.tolist()

    tasks.touched(
        _Holes.of([hole], ledger.roster), returns(evidence)[SIDE], np.zeros(len(rows), bool)
    )

    assert tasks._has_ended.tolist() == known == [True, True]
