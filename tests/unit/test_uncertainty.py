"""A hole in the recordings leaves open what it may be about, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from poolproof.history.gaps import Hole
from poolproof.history.participants import NEVER, Source
from poolproof.history.participants import Worker as Known
from poolproof.judge.run import consider
from poolproof.judge.run_data import gather
from poolproof.judge.verdicts.final_state import ending
from poolproof.judge.verdicts.uncertainty import (
    Returns,
    _Holes,
    _only_child,
    _Tasks,
    doubtful,
    reaches,
    returns,
)
from poolproof.judge.verdicts.verdicts import Verdict
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
    times = Returns(np.array([10, 20]), np.array([30]), ((40, 50), (70, 80)), 1, is_early=True)

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


def _in_doubt(
    model: Model, folder: Path, *holes: Hole, without: tuple[int, Event] | None = None
) -> list[int]:
    """The tasks whose fate these holes leave open."""
    if not _times(model, "closed"):
        model.close()
    entries = [e for e in model.entries([1]) if without is None or not _is(e, *without)]
    evidence = gather(write(folder, entries))
    state = replace(ending(evidence), holes=holes)
    return np.flatnonzero(doubtful(evidence.ledger, state, returns(evidence))).tolist()


def _other(model: Model, after_ns: int = 0, before_ns: int = NEVER) -> Hole:
    """A hole of the second worker, with its ring."""
    worker = model.workers[1]
    return Hole(worker.name, worker.main.name, after_ns, before_ns, "its end is missing")


@pytest.mark.parametrize(("later_ns", "found"), [(0, []), (1, [0])])
def test_a_hole_is_about_what_was_enqueued_before_its_end(
    tmp_path: Path, later_ns: int, found: list[int]
) -> None:
    model = Model("threads", "late", workers=2)
    model.enqueue(1)
    (enqueued_ns,) = _times(model, "enqueued")
    model.queue.clear()  # somebody has taken it
    until_ns = enqueued_ns + later_ns

    assert _in_doubt(model, tmp_path, Hole("producer", "", 0, until_ns, "lost")) == found
    assert _in_doubt(model, tmp_path, _other(model, before_ns=until_ns)) == found


def test_what_one_hole_leaves_open_stays_open_where_another_is(tmp_path: Path) -> None:
    model = Model("threads", "early", workers=2)
    model.enqueue(1)
    _run(model, model.workers[0])
    read = Hole("collector", "", 0, NEVER, "lost")
    of_all = Hole("producer", "", 0, NEVER, "lost")
    beside = _other(model, after_ns=model.now_ns)

    assert _in_doubt(model, tmp_path, beside) == []
    assert _in_doubt(model, tmp_path, of_all, beside) == [0]
    assert _in_doubt(model, tmp_path, read) == []
    assert _in_doubt(model, tmp_path, read, of_all) == [0]


@pytest.mark.parametrize("event", [Event.SUCCEEDED, Event.FAILED])
@pytest.mark.parametrize("policy", ["early", "late"])
def test_what_waited_for_long_and_ended_before_a_hole_of_another_worker_is_known(
    tmp_path: Path, policy: str, event: Event
) -> None:
    model = Model("threads", policy, workers=2, timeout_s=5.0)
    model.enqueue(1)
    model.wait(6_000)
    model.receive(model.workers[0])
    model.start(model.workers[0])
    model.end(model.workers[0], 0, event)

    assert _in_doubt(model, tmp_path, _other(model, after_ns=model.now_ns)) == []


@pytest.mark.parametrize(("policy", "found"), [("early", []), ("late", [0])])
def test_what_runs_for_longer_than_the_timeout_may_run_twice_unless_it_is_acknowledged(
    tmp_path: Path, policy: str, found: list[int]
) -> None:
    model = Model("threads", policy, workers=2, timeout_s=5.0)
    model.enqueue(1)
    model.receive(model.workers[0])
    model.start(model.workers[0])
    began_ns = model.now_ns
    model.wait(6_000)

    assert _in_doubt(model, tmp_path, _other(model, after_ns=began_ns)) == found


@pytest.mark.parametrize(("short_ns", "found"), [(1, []), (0, [0])])
def test_what_was_acknowledged_just_before_its_timeout_comes_not_again(
    tmp_path: Path, short_ns: int, found: list[int]
) -> None:
    model = Model("threads", "late", workers=2, timeout_s=5.0)
    model.enqueue(1)
    model.receive(model.workers[0])
    model.start(model.workers[0])
    model.wait(3_998)
    model.now_ns -= short_ns
    model.end(model.workers[0], 0, Event.SUCCEEDED)  # and up to a second later acknowledged

    assert _in_doubt(model, tmp_path, _other(model, after_ns=model.now_ns)) == found


@pytest.mark.parametrize(
    ("since_ns", "found"), [(-1, [0]), (0, []), (1, []), (999_999_999, []), (1_000_000_000, [0])]
)
def test_what_waits_early_is_known_if_its_receipt_is_of_the_copy_that_lies_there(
    tmp_path: Path, since_ns: int, found: list[int]
) -> None:
    model = Model("threads", "early", workers=2)
    model.enqueue(2)
    model.receive(model.workers[0])
    received_ns = model.now_ns
    model.close()
    evidence = gather(write(tmp_path, model.entries([1])))
    state = ending(evidence)
    taken_ns = np.where(state.unacked, received_ns - since_ns, 0)
    hole = _other(model, after_ns=received_ns)
    state = replace(state, taken_ns=taken_ns, holes=(hole,))

    assert np.flatnonzero(doubtful(evidence.ledger, state, returns(evidence))).tolist() == found


@pytest.mark.parametrize(("before_ns", "found"), [(0, []), (1, [0])])
def test_what_was_first_received_when_a_hole_was_over_is_known(
    tmp_path: Path, before_ns: int, found: list[int]
) -> None:
    model = Model("threads", "late", workers=2)
    model.enqueue(1)
    model.receive(model.workers[0])
    received_ns = model.now_ns

    assert _in_doubt(model, tmp_path, _other(model, before_ns=received_ns + before_ns)) == found


@pytest.mark.parametrize(("short_ns", "found"), [(1, []), (0, [0])])
def test_one_delivery_in_a_hole_comes_back_only_after_the_whole_timeout(
    tmp_path: Path, short_ns: int, found: list[int]
) -> None:
    model = Model("threads", "early", workers=2, timeout_s=5.0)
    model.enqueue(1)
    model.wait(10_000)
    model.receive(model.workers[0])
    received_ns = model.now_ns
    model.start(model.workers[0])
    model.end(model.workers[0], 0, Event.SUCCEEDED)

    hole = _other(model, after_ns=received_ns - 5_000_000_000 + short_ns)
    assert _in_doubt(model, tmp_path, hole) == found


def test_what_was_received_after_a_hole_of_a_child_and_waits_is_known(tmp_path: Path) -> None:
    model = Model("prefork", "late", concurrency=1)
    worker = model.workers[0]
    model.enqueue(2)
    model.receive(worker)
    model.start(worker)
    hole = Hole(worker.name, worker.slots[0].ring.name, 0, model.now_ns + 1, "lost")
    model.receive(worker)

    assert _in_doubt(model, tmp_path, hole) == [0]


def test_what_ended_without_a_known_start_may_come_again_if_its_worker_died_just_then(
    tmp_path: Path,
) -> None:
    model = Model("threads", "early", workers=2, concurrency=1, timeout_s=60.0)
    model.enqueue(1)
    _run(model, model.workers[0])
    ended_ns = model.now_ns
    model.kill(model.workers[0])

    hole = _other(model, after_ns=ended_ns)
    assert _in_doubt(model, tmp_path, hole, without=(0, Event.STARTED)) == [0]


@pytest.mark.parametrize(
    ("ring", "t_ns", "within_ns", "hidden"),
    [
        (0, 39, NEVER, True),
        (0, 40, NEVER, False),
        (0, 10, 10, False),
        (0, 11, 10, True),
        (0, 5, NEVER, True),
        (-1, 25, NEVER, False),
    ],
)
def test_what_was_done_soon_after_a_time_may_be_in_a_hole_that_begins_by_then(
    ring: int, t_ns: int, within_ns: int, *, hidden: bool
) -> None:
    holes = _Holes(20, 40, only_children=False, open_before={}, dark=np.array([[20, 40]]))

    found = holes.hides_after(np.array([ring]), np.array([t_ns]), within_ns)

    assert found.tolist() == [hidden]


@pytest.mark.parametrize("order", [1, -1])
def test_the_holes_of_a_side_are_one_in_whatever_order_they_come(
    tmp_path: Path, order: int
) -> None:
    model = Model("prefork", "late", workers=1, concurrency=1)
    worker = model.workers[0]
    model.enqueue(1)
    _run(model, worker)
    model.close()
    roster = gather(write(tmp_path, model.entries([1]))).ledger.roster
    main, child = worker.main.name, worker.slots[0].ring.name
    of_child = [Hole(worker.name, child, at, at + 10, "lost") for at in (100, 50)]
    of_main = Hole(worker.name, main, 70, 80, "lost")

    both, mixed = (_Holes.of(holes[::order], roster) for holes in (of_child, [of_main, *of_child]))

    index = roster.sources[child].index
    assert (both.after_ns, both.before_ns, both.only_children) == (50, 110, True)
    assert both.open_before == {index: 110}
    assert both.dark[index].tolist() == [50, 110]
    assert not mixed.only_children


@pytest.mark.parametrize(
    ("gone_ns", "accounted", "written", "last_ns", "is_reached"),
    [
        (100, False, None, 90, False),  # over just then
        (101, False, None, 90, True),
        (NEVER, True, 5, 100, False),  # all of it is there
        (NEVER, True, 5, 101, True),
        (NEVER, True, 6, 100, True),
        (NEVER, True, None, 100, True),
        (NEVER, False, 5, 100, True),
    ],
)
def test_a_hole_reaches_a_ring_that_was_not_over_and_read_before_it(
    gone_ns: int, *, accounted: bool, written: int | None, last_ns: int, is_reached: bool
) -> None:
    ring = Source(0, "w/1-1", "w", 1, 1, taken=5, last_ns=last_ns, gone_ns=gone_ns)
    ring.accounted, ring.written = accounted, written

    assert reaches(Hole("w", "", 100, NEVER, "lost"), ring) == is_reached


@pytest.mark.parametrize(
    ("pool", "pid", "is_child"),
    [
        ("prefork:2", 2, True),
        ("prefork:2", 1, False),
        ("threads:2", 2, False),
        ("of-their-own:2", 2, False),
    ],
)
def test_a_child_is_a_process_of_a_pool_with_children_that_was_never_the_main_one(
    pool: str, pid: int, *, is_child: bool
) -> None:
    worker = Known("w", pool=pool, mains={1})

    assert _only_child(Source(0, f"w/{pid}-1", "w", pid, 1), worker) == is_child
