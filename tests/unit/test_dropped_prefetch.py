"""What a worker forgets when it loses its connections, and who runs that in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from poolproof.judge.run import consider
from poolproof.judge.run_data import gather
from poolproof.judge.summary import summarise
from poolproof.judge.verdicts.uncertainty import returns
from poolproof.judge.verdicts.verdicts import Verdict
from poolproof_workers.contract import Event
from tests.unit.celery_model import MS, SIDE, Model, Worker, write

if TYPE_CHECKING:
    from pathlib import Path


class Fragile(Model):
    """A model whose connections to the broker can break."""

    def lose_connections(self, worker: Worker, *, give_back: bool = False) -> None:
        """The worker forgets what waits; `give_back`: it puts that back first."""
        self.break_connections(worker)
        for delivery in self._live_deliveries(worker):
            if delivery.state == "waiting" and not delivery.acked:
                delivery.state = "forgotten"
                if give_back:
                    delivery.acked = True
                    self.queue.insert(0, delivery.number)

    def break_connections(self, worker: Worker) -> None:
        """Something befell the broker of a worker."""
        self._tick()
        names = {"worker": worker.name, "workers": [worker.name], "fault": "client-kill"}
        self._op("producer", op="fault", side=SIDE, pid=1, applied=True, reason=None, **names)
        self._read_broker("fault")


def held(policy: str = "early", workers: int = 1) -> Fragile:
    """Two slots of prefork run tasks 0 and 1; 2 and 3 wait in the worker."""
    model = Fragile("prefork", policy, workers=workers, concurrency=2)
    model.enqueue(4)
    worker = model.workers[0]
    for _ in range(4):
        model.receive(worker)
    for _ in range(2):
        model.start(worker)
    model.wait(100)
    return model


def run_all(model: Model, worker: Worker, count: int) -> None:
    for _ in range(count):
        model.receive(worker)
    while any(slot.runs for slot in worker.slots) or any(
        each.state == "waiting" and each.main is worker.main for each in model.deliveries
    ):
        model.start(worker)
        model.end(worker, 0, Event.SUCCEEDED)


def judged(model: Fragile, folder: Path) -> tuple[dict[str, Any], list[str]]:
    model.close()
    folder = write(folder, model.entries([3]))
    (crash,) = summarise(folder)["crashes"]
    verdicts = [Verdict(value).word for value in consider(folder).verdicts.tolist()]
    assert verdicts == [model.truth(number) for number in range(len(model.tasks))]
    return crash, verdicts


def test_what_comes_back_after_the_visibility_timeout_was_stranded(tmp_path: Path) -> None:
    model = held()
    worker = model.workers[0]
    model.lose_connections(worker)
    run_all(model, worker, 0)
    model.wait(6_000)
    model.sweep()
    run_all(model, worker, 2)

    crash, verdicts = judged(model, tmp_path)

    assert (crash["running"], crash["interrupted"]) == (2, 0)
    assert (crash["stranded"], crash["given_back"], crash["recovered"]) == (2, 0, 2)
    assert verdicts == ["completed"] * 4
    assert crash["rescued"].keys() == {"same worker"}
    assert crash["recovery_s"]["redelivered"] == pytest.approx(6.0, abs=0.2)
    assert crash["due_s"]["first"] == pytest.approx(4.9, abs=0.2)


def test_what_is_put_back_at_once_was_not_stranded(tmp_path: Path) -> None:
    model = held()
    worker = model.workers[0]
    model.lose_connections(worker, give_back=True)
    run_all(model, worker, 2)

    crash, verdicts = judged(model, tmp_path)

    assert (crash["stranded"], crash["given_back"]) == (0, 2)
    assert verdicts == ["completed"] * 4


def test_what_has_not_come_back_when_the_books_are_closed_is_stranded(tmp_path: Path) -> None:
    model = held()
    model.lose_connections(model.workers[0])
    run_all(model, model.workers[0], 0)

    crash, verdicts = judged(model, tmp_path)

    assert verdicts == ["completed", "completed", "stranded", "stranded"]
    assert crash["stranded"] == 2
    assert crash["rescued"] == {}


def test_of_a_worker_that_does_not_answer_nobody_knows_what_it_still_holds(tmp_path: Path) -> None:
    model = held()
    model.hangs = True
    model.lose_connections(model.workers[0])
    run_all(model, model.workers[0], 0)
    model.close()

    case = consider(write(tmp_path, model.entries([3])))

    words = [Verdict(value).word for value in case.verdicts.tolist()]
    assert words == ["completed", "completed", "unknown", "unknown"]


def test_what_a_worker_still_has_in_spite_of_it_waits_and_is_not_stranded(tmp_path: Path) -> None:
    model = held()
    model.break_connections(model.workers[0])
    model.end(model.workers[0], 0, Event.SUCCEEDED)
    model.end(model.workers[0], 0, Event.SUCCEEDED)

    crash, verdicts = judged(model, tmp_path)

    assert verdicts == ["completed", "completed", "queued", "queued"]
    assert (crash["stranded"], crash["given_back"]) == (0, 0)


def test_a_task_whose_acknowledgement_did_not_arrive_runs_twice_and_was_not_interrupted(
    tmp_path: Path,
) -> None:
    model = held("late")
    worker = model.workers[0]
    unheard = [slot.runs for slot in worker.slots if slot.runs]
    model.lose_connections(worker)
    for delivery in unheard:
        model.end(worker, 0, Event.SUCCEEDED)
        delivery.acked = False
    model.wait(6_000)
    model.sweep()
    run_all(model, worker, 4)

    crash, verdicts = judged(model, tmp_path)

    assert sorted(verdicts) == ["completed", "completed", "repeated", "repeated"]
    assert (crash["interrupted"], crash["stranded"], crash["repeated"]) == (0, 2, 2)


def test_what_another_worker_holds_is_not_stranded_by_a_death(tmp_path: Path) -> None:
    model = held(workers=2)
    struck, survivor = model.workers
    model.enqueue(2)
    for _ in range(2):
        model.receive(survivor)
    names = {"worker": struck.name, "fault": "kill-worker"}
    model._op(struck.name, op="fault", pid=1, applied=True, reason=None, **names)
    model.kill(struck)
    run_all(model, survivor, 0)
    model.wait(6_000)
    model.sweep()
    run_all(model, survivor, 4)

    crash, verdicts = judged(model, tmp_path)

    assert verdicts == ["lost", "lost", *["completed"] * 4]
    assert (crash["interrupted"], crash["stranded"]) == (2, 2)
    assert crash["rescued"].keys() == {"surviving worker"}
    assert crash["rescued"]["surviving worker"]["tasks"] == 2


@pytest.mark.parametrize(("after_ms", "stranded"), [(1_000, 1), (1_001, 0)])
def test_a_receipt_is_recorded_up_to_a_second_after_its_message_was_taken(
    tmp_path: Path, after_ms: int, stranded: int
) -> None:
    model = Fragile("prefork", "early", concurrency=2)
    worker = model.workers[0]
    model.enqueue(1)
    model.break_connections(worker)
    (fault,) = (op for _, op in model.ops if op["op"] == "fault")
    model.now_ns = fault["t_ns"] + (after_ms - 2) * MS  # one to take it, one to write that down
    model.receive(worker)
    model.deliveries[0].state = "forgotten"
    model.wait(6_000)
    model.sweep()
    run_all(model, worker, 1)

    crash, _ = judged(model, tmp_path)

    assert (crash["stranded"], crash["given_back"]) == (stranded, 0)


@pytest.mark.parametrize(("after_ms", "stranded"), [(5_000, 1), (4_999, 0)])
def test_what_comes_again_before_the_visibility_timeout_was_given_back(
    tmp_path: Path, after_ms: int, stranded: int
) -> None:
    model = Fragile("prefork", "early", concurrency=2)
    worker = model.workers[0]
    model.enqueue(1)
    model.receive(worker)
    taken_ns = model.now_ns
    model.lose_connections(worker, give_back=True)
    model.now_ns = taken_ns + (after_ms - 2) * MS
    run_all(model, worker, 1)

    crash, _ = judged(model, tmp_path)

    assert (crash["stranded"], crash["given_back"]) == (stranded, 1 - stranded)


def test_of_a_worker_that_told_no_visibility_timeout_celerys_own_holds(tmp_path: Path) -> None:
    model = held()
    (hello,) = (op for _, op in model.ops if op["op"] == "hello")
    hello["visibility_timeout_s"] = None
    model.lose_connections(model.workers[0])
    run_all(model, model.workers[0], 0)
    model.wait(6_000)
    model.sweep()
    run_all(model, model.workers[0], 2)

    crash, _ = judged(model, tmp_path)

    assert (crash["stranded"], crash["given_back"]) == (0, 2)


def test_what_is_forgotten_and_not_in_the_broker_either_is_lost_and_not_stranded(
    tmp_path: Path,
) -> None:
    model = held()
    model.enqueue(1)
    model.receive(model.workers[0])
    model.lose_connections(model.workers[0])
    model.deliveries[2].acked = True  # its copy is gone, those of tasks 3 and 4 are left
    run_all(model, model.workers[0], 0)

    model.close()
    (crash,) = summarise(write(tmp_path, model.entries([3])))["crashes"]

    assert crash["stranded"] == 2


def test_what_a_worker_took_again_long_after_a_fault_is_not_what_that_made_it_forget(
    tmp_path: Path,
) -> None:
    model = Fragile("prefork", "early", concurrency=1)
    worker = model.workers[0]
    model.enqueue(1)
    model.receive(worker)
    model.start(worker)
    model.retry(worker, 0)
    model.break_connections(worker)
    model.wait(5_000)
    model.receive(worker)
    model.deliveries[-1].state = "forgotten"  # since its connection broke by itself
    model.wait(6_000)
    model.sweep()
    run_all(model, worker, 1)

    crash, _ = judged(model, tmp_path)

    assert (crash["stranded"], crash["given_back"]) == (0, 0)


def test_a_poison_task_that_was_forgotten_is_not_counted(tmp_path: Path) -> None:
    model = Fragile("prefork", "early", concurrency=1)
    worker = model.workers[0]
    model.enqueue(3, {1: "segfault"})
    for _ in range(3):
        model.receive(worker)
    model.start(worker)
    model.lose_connections(worker)
    run_all(model, worker, 0)

    crash, _ = judged(model, tmp_path)

    assert (crash["poison"], crash["stranded"]) == (None, 1)


def test_after_broken_connections_any_message_may_have_come_back_unseen(tmp_path: Path) -> None:
    model = held("late")
    model.break_connections(model.workers[0])
    run_all(model, model.workers[0], 0)
    model.close()

    evidence = gather(write(tmp_path, model.entries([3])))
    (broken,) = evidence.named("fault")
    after = np.array([-20, -10, 10]) + broken.t_ns
    until = np.array([-10, 10, 20]) + broken.t_ns

    of_side = returns(evidence)[SIDE]
    assert of_side.at_once(after, until).tolist() == [False, True, True]
    assert of_side.left_behind(after, until).tolist() == [False, True, True]


def test_what_was_given_back_did_not_wait_for_the_timeout_as_well(tmp_path: Path) -> None:
    model = Fragile("prefork", "early", concurrency=1, timeout_s=4.0)
    worker = model.workers[0]
    model.enqueue(1)
    model.receive(worker)
    received_ns = model.now_ns
    model.lose_connections(worker, give_back=True)
    # Less than the timeout, by no more than a receipt may be written down late.
    model.now_ns = received_ns + 3_800 * MS
    model.receive(worker)
    model.wait(400)
    model.start(worker)
    model.end(worker, 0, Event.SUCCEEDED)

    crash, _ = judged(model, tmp_path)

    assert (crash["given_back"], crash["stranded"], crash["waited"]) == (1, 0, 0)
    assert crash["rescued"]["same worker"]["tasks"] == 1


def test_what_a_hole_leaves_unknown_is_not_said_to_have_waited(tmp_path: Path) -> None:
    model = held()
    worker = model.workers[0]
    model.lose_connections(worker)
    run_all(model, worker, 0)
    model.wait(6_000)
    model.sweep()
    run_all(model, worker, 2)
    model.close()
    child = worker.slots[0].ring.name
    entries = [e for e in model.entries([1]) if (e.source, e.sequence) != (child, 1)]

    (crash,) = summarise(write(tmp_path, entries))["crashes"]

    assert (crash["unknown"], crash["stranded"], crash["waited"]) == (2, 0, 0)
