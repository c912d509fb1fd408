"""Where every task and every copy of its message is when the books are closed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from poolproof.history.participants import NEVER, Source
from poolproof.judge.run_data import gather
from poolproof.judge.verdicts.final_state import FinalState, all_holes, ending, lives
from poolproof_workers.contract import RECORD, Event
from tests.unit.celery_model import OFFSET_NS, SIDE, Model, write

if TYPE_CHECKING:
    from pathlib import Path

    from poolproof.judge.run_data import RunData
    from poolproof_workers.contract import Entry


def _evidence(model: Model, folder: Path) -> RunData:
    if not _ops(model, "closed"):
        model.close()
    return gather(write(folder, model.entries([3])))


def _ending(model: Model, folder: Path) -> FinalState:
    return ending(_evidence(model, folder))


def _ops(model: Model, name: str) -> list[dict[str, Any]]:
    return [op for _, op in model.ops if op["op"] == name]


def _last_reading(model: Model) -> dict[str, Any]:
    model.close()
    return next(op for op in _ops(model, "broker") if op["reason"] == "end")


def _held(workers: int = 1) -> Model:
    """One slot of threads runs task 0; 1 and 2 wait in the worker; 3 and 4 are in the queue."""
    model = Model("threads", "late", workers=workers, concurrency=1)
    model.enqueue(5)
    for _ in range(3):
        model.receive(model.workers[0])
    model.start(model.workers[0])
    return model


def _unix(t_ns: int) -> float:
    return (t_ns + OFFSET_NS) / 1e9


def test_each_copy_is_where_the_broker_and_the_workers_said(tmp_path: Path) -> None:
    model = _held()

    state = _ending(model, tmp_path)

    assert state.running.tolist() == [1, 0, 0, 0, 0]
    assert state.cut.tolist() == [0] * 5
    assert state.queued.tolist() == [False, False, False, True, True]
    assert state.unacked.tolist() == state.held.tolist() == [True, True, True, False, False]
    assert state.holder_known.tolist() == [True] * 5
    assert state.active.tolist() == [True, False, False, False, False]
    assert state.reserved.tolist() == [False, True, True, False, False]
    assert state.broker_known.tolist() == [True] * 5
    assert not state.maybe_kept.any()
    taken_ns = [delivery.taken_ns for delivery in model.deliveries]
    assert state.taken_ns[:3].tolist() == pytest.approx(taken_ns, abs=1_000)
    assert state.taken_ns[3:].tolist() == [0, 0]
    assert state.closed_ns == model.now_ns
    assert state.holes == ()


def test_some_of_it_is_cut_out_with_all_its_columns(tmp_path: Path) -> None:
    state = _ending(_held(), tmp_path).part(slice(2, 4))

    assert state.queued.tolist() == [False, True]
    assert state.reserved.tolist() == [True, False]
    assert len(state.running) == len(state.broker_known) == 2


def test_with_a_death_what_ran_was_cut_and_nobody_holds_what_waited(tmp_path: Path) -> None:
    model = _held()
    model.kill(model.workers[0])

    state = _ending(model, tmp_path)

    assert (state.running.tolist(), state.cut.tolist()) == ([0] * 5, [1, 0, 0, 0, 0])
    assert state.unacked.tolist() == [True, True, True, False, False]
    assert not state.held.any()
    assert state.holder_known.all()


def test_an_attempt_that_its_slot_gave_up_was_cut(tmp_path: Path) -> None:
    model = _held()
    model.end(model.workers[0], 0, Event.ABANDONED)

    state = _ending(model, tmp_path)

    assert (state.running.tolist(), state.cut.tolist()) == ([0] * 5, [1, 0, 0, 0, 0])


def test_what_moved_while_the_broker_was_read_is_not_known(tmp_path: Path) -> None:
    model = _held()
    _last_reading(model)["stable"] = False

    assert not _ending(model, tmp_path).broker_known.any()


def test_a_reading_of_another_side_says_nothing_of_this_one(tmp_path: Path) -> None:
    model = _held()
    other = dict(_last_reading(model), side="other", stable=False, queue=[], unacked=[])
    model._op(
        "collector", **{name: of for name, of in other.items() if name not in {"t_ns", "boot"}}
    )

    assert _ending(model, tmp_path).broker_known.all()


@pytest.mark.parametrize("order", [1, -1])
def test_of_several_copies_the_one_that_was_taken_last_counts(tmp_path: Path, order: int) -> None:
    model = _held()
    reading = _last_reading(model)
    later_ns = model.deliveries[1].taken_ns + 1_000_000_000
    reading["unacked"] = [*reading["unacked"], [1, _unix(later_ns)]][::order]

    state = _ending(model, tmp_path)

    assert state.taken_ns[1] == pytest.approx(later_ns, abs=1_000)


def test_a_message_that_is_none_of_the_runs_is_passed_over(tmp_path: Path) -> None:
    model = _held()
    reading = _last_reading(model)
    reading["unacked"].append([5, _unix(model.now_ns)])
    (said,) = _ops(model, "celery")
    said["active"].append(5)
    said["reserved"].append(5)

    state = _ending(model, tmp_path)

    assert state.unacked.tolist() == [True, True, True, False, False]
    assert (int(state.active.sum()), int(state.reserved.sum())) == (1, 2)


@pytest.mark.parametrize(
    ("workers", "is_held", "is_known"),
    [
        (1, True, True),  # there is nobody else
        (2, False, False),  # either of the two
    ],
)
def test_what_was_taken_and_not_received_is_with_one_of_the_living(
    tmp_path: Path, workers: int, *, is_held: bool, is_known: bool
) -> None:
    model = _held(workers)
    reading = _last_reading(model)
    reading["unacked"].append([3, _unix(model.now_ns)])

    state = _ending(model, tmp_path)

    assert (bool(state.held[3]), bool(state.holder_known[3])) == (is_held, is_known)


def test_what_was_taken_before_all_that_live_began_is_with_nobody(tmp_path: Path) -> None:
    model = _held(2)
    taken_ns = model.now_ns
    for worker in model.workers:
        model.kill(worker)
    _last_reading(model)["unacked"].append([3, _unix(taken_ns)])

    state = _ending(model, tmp_path)

    assert (bool(state.held[3]), bool(state.holder_known[3])) == (False, True)


def test_a_receipt_of_an_earlier_delivery_does_not_tell_who_took_it_since(tmp_path: Path) -> None:
    model = _held(2)
    reading = _last_reading(model)
    later_ns = model.now_ns + 2_000_000_000
    reading["unacked"] = [[1, _unix(later_ns)]]

    state = _ending(model, tmp_path)

    assert (bool(state.held[1]), bool(state.holder_known[1])) == (False, False)


@pytest.mark.parametrize("answers", [True, False])
def test_after_broken_connections_a_worker_has_no_more_than_it_lists(
    tmp_path: Path, *, answers: bool
) -> None:
    model = _held()
    name = model.workers[0].name
    op = {"op": "fault", "worker": name, "workers": [name], "fault": "client-kill", "pid": 1}
    model._op("producer", side=SIDE, applied=True, reason=None, **op)
    model.hangs = not answers

    state = _ending(model, tmp_path)

    assert not state.held.any()
    assert state.holder_known[1] == answers
    assert state.reserved[1] == answers


def test_what_an_answering_worker_lists_no_more_is_with_nobody_that_is_known(
    tmp_path: Path,
) -> None:
    model = _held()
    model.close()
    (said,) = _ops(model, "celery")
    said["reserved"] = [2]

    state = _ending(model, tmp_path)

    assert state.held[:3].tolist() == [True, False, True]
    assert state.holder_known[:3].tolist() == [True, False, True]


def test_a_fault_that_was_refused_breaks_no_connection(tmp_path: Path) -> None:
    model = _held()
    name = model.workers[0].name
    op = {"op": "fault", "worker": name, "workers": [name], "fault": "client-kill", "pid": 1}
    model._op("producer", side=SIDE, applied=False, reason="no", **op)
    model.hangs = True

    state = _ending(model, tmp_path)

    assert state.held[:3].all()
    assert state.holder_known.all()


def test_what_a_retry_left_waiting_is_in_neither_list_and_held_all_the_same(
    tmp_path: Path,
) -> None:
    model = _held()
    model.retry(model.workers[0], 0)
    model.queue.remove(0)
    model.queue.insert(0, 0)
    model.receive(model.workers[0])  # with an ETA it waits for that
    model.close()
    (said,) = _ops(model, "celery")
    said["reserved"] = [1, 2]

    state = _ending(model, tmp_path)

    assert (bool(state.held[0]), bool(state.holder_known[0])) == (True, True)


def test_what_a_worker_did_not_tell_when_it_was_asked_again_is_a_hole_from_its_last_record_on(
    tmp_path: Path,
) -> None:
    model = _held()
    last_ns = model.now_ns
    model.close()
    (closed,) = _ops(model, "closed")
    closed["missing"] = {model.workers[0].name: "it did not answer within 10 s"}

    (hole,) = all_holes(_evidence(model, tmp_path))

    assert (hole.worker, hole.source) == (model.workers[0].name, "")
    assert (hole.after_ns, hole.before_ns) == (last_ns, NEVER)
    assert hole.why == "it did not answer within 10 s"


def test_a_worker_with_a_hole_already_gets_no_second(tmp_path: Path) -> None:
    model = _held()
    model.close(answered=set())
    (closed,) = _ops(model, "closed")
    closed["missing"] = {
        model.workers[0].name: "it did not answer within 10 s",
        "nobody@host": "it never said hello",
    }

    found = all_holes(_evidence(model, tmp_path))

    whys = {(hole.worker, hole.after_ns > 0, hole.why) for hole in found}
    assert ("nobody@host", False, "it never said hello") in whys
    assert "it did not answer within 10 s" not in {why for _, _, why in whys}


#: A Unix time in whole seconds, which a number with a point shows exactly.
_WHOLE_NS = 1_000_000 * 1_000_000_000


@pytest.mark.parametrize(("late_ns", "is_held"), [(0, True), (1_000, False)])
def test_a_receipt_is_of_the_copy_that_was_taken_up_to_a_second_later(
    tmp_path: Path, late_ns: int, *, is_held: bool
) -> None:
    model = Model("threads", "late", workers=2)
    model.enqueue(1)
    model.now_ns = _WHOLE_NS - 1_000_000
    model.receive(model.workers[0])
    taken_ns = model.now_ns + 1_000_000_000 + late_ns
    _last_reading(model)["unacked"] = [[0, _unix(taken_ns)]]

    state = _ending(model, tmp_path)

    assert (bool(state.held[0]), bool(state.holder_known[0])) == (is_held, is_held)


@pytest.mark.parametrize(("early_ns", "is_held"), [(0, True), (1_000, False)])
def test_a_worker_may_have_what_was_taken_from_the_moment_on_at_which_it_came_up(
    tmp_path: Path, early_ns: int, *, is_held: bool
) -> None:
    model = _held()
    model.kill(model.workers[0])
    (up,) = _ops(model, "worker-up")
    up["t_ns"] = model.now_ns = _WHOLE_NS
    _last_reading(model)["unacked"] = [[3, _unix(_WHOLE_NS - early_ns)]]

    state = _ending(model, tmp_path)

    assert (bool(state.held[3]), bool(state.holder_known[3])) == (is_held, True)


def test_what_one_of_two_may_have_taken_is_with_nobody_that_is_known(tmp_path: Path) -> None:
    model = _held(2)
    taken_ns = model.now_ns
    model.kill(model.workers[1])
    _last_reading(model)["unacked"].append([3, _unix(taken_ns)])

    state = _ending(model, tmp_path)

    assert (bool(state.held[3]), bool(state.holder_known[3])) == (False, False)


@pytest.mark.parametrize(("later_ns", "is_known"), [(0, True), (1, False)])
def test_a_worker_that_does_not_answer_may_know_no_more_what_it_had_before_a_fault(
    tmp_path: Path, later_ns: int, *, is_known: bool
) -> None:
    model = _held()
    received_ns = model.deliveries[2].taken_ns + 1_000_000
    name = model.workers[0].name
    op = {"op": "fault", "worker": name, "workers": [name], "fault": "client-kill", "pid": 1}
    model._op("producer", side=SIDE, applied=True, reason=None, **op)
    model.ops[-1][1]["t_ns"] = received_ns + later_ns
    model.hangs = True

    state = _ending(model, tmp_path)

    assert (bool(state.held[2]), bool(state.holder_known[2])) == (is_known, is_known)


def test_what_a_dead_worker_had_before_a_fault_is_known_to_be_with_nobody(tmp_path: Path) -> None:
    model = _held()
    model.kill(model.workers[0])
    name = model.workers[0].name
    op = {"op": "fault", "worker": name, "workers": [name], "fault": "client-kill", "pid": 1}
    model._op("producer", side=SIDE, applied=True, reason=None, **op)
    model.hangs = True

    state = _ending(model, tmp_path)

    assert not state.held.any()
    assert state.holder_known.all()


def test_what_began_at_the_moment_of_its_receipt_waits_no_more(tmp_path: Path) -> None:
    model = Model("threads", "late")
    model.enqueue(1)
    model.receive(model.workers[0])
    model.now_ns -= 1_000_000
    model.start(model.workers[0])
    model.close()
    (said,) = _ops(model, "celery")
    said["active"] = []

    state = _ending(model, tmp_path)

    assert (bool(state.held[0]), bool(state.holder_known[0])) == (True, True)


def test_attempts_are_counted_in_four_bytes_a_task_and_times_in_whole_nanoseconds(
    tmp_path: Path,
) -> None:
    state = _ending(_held(), tmp_path)

    assert (state.running.itemsize, state.cut.itemsize) == (4, 4)
    assert state.taken_ns.dtype == np.int64


@pytest.mark.parametrize(("last", "count"), [(Event.SUCCEEDED, 2), (Event.ABANDONED, 3)])
def test_all_attempts_of_a_task_that_were_cut_are_counted(
    tmp_path: Path, last: Event, count: int
) -> None:
    model = _held()
    worker = model.workers[0]
    model.kill(worker)
    model.queue = [0, 0, 4]
    for _ in range(3):
        model.receive(worker)
        model.start(worker)
        model.end(worker, 0, last if model.deliveries[-1].number == 0 else Event.SUCCEEDED)
    model.close()

    # A slot that begins a task anew has ended it before.
    entries = [entry for entry in model.entries([1]) if not _is_end_of_0(entry)]
    state = ending(gather(write(tmp_path, entries)))

    assert state.cut[0] == count


def _is_end_of_0(entry: Entry) -> bool:
    if entry.kind != "records":
        return False
    fields = RECORD.unpack(entry.data)
    return (fields[0], fields[6]) == (0, Event.SUCCEEDED)


@pytest.mark.parametrize(("writer", "is_known"), [("collector", False), ("producer", True)])
def test_where_something_of_the_collector_is_lost_the_broker_is_not_known(
    tmp_path: Path, writer: str, *, is_known: bool
) -> None:
    model = _held()
    for _ in range(2):
        model._op(writer, op="note")
    model.close()
    (lost, _) = _ops(model, "note")
    entries = [entry for entry in model.entries([3]) if entry.kind != "op" or entry.op != lost]

    state = ending(gather(write(tmp_path, entries)))

    assert state.broker_known.tolist() == [is_known] * 5


def test_a_reading_that_says_not_whether_anything_moved_is_taken_as_one_at_rest(
    tmp_path: Path,
) -> None:
    model = _held()
    del _last_reading(model)["stable"]

    assert _ending(model, tmp_path).broker_known.all()


def test_what_was_taken_where_nobody_recorded_anything_is_with_the_worker_that_lives(
    tmp_path: Path,
) -> None:
    model = Model("threads", "late")
    model.enqueue(1)
    _last_reading(model)["unacked"] = [[0, _unix(model.now_ns)]]

    state = _ending(model, tmp_path)

    assert (bool(state.held[0]), bool(state.holder_known[0])) == (True, True)


def test_a_ring_of_a_worker_that_nobody_knows_does_not_live(tmp_path: Path) -> None:
    ledger = _evidence(_held(), tmp_path).ledger

    assert not lives(ledger, Source(0, "nobody@host/1-1", "nobody@host", 1, 1))


def test_a_history_without_ops_was_never_closed(tmp_path: Path) -> None:
    evidence = _evidence(_held(), tmp_path)

    assert ending(replace(evidence, ops=[], named_at={})).closed_ns == 0
