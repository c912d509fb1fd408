"""The records around the strikes of a run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from poolproof.judge.faults.events import strikes
from poolproof.judge.faults.window import FaultWindow
from poolproof.judge.run_data import gather
from poolproof.judge.verdicts.attempts import deaths
from poolproof_workers.contract import Event
from tests.unit.celery_model import Model, write

if TYPE_CHECKING:
    from pathlib import Path


def _blow(model: Model, place: int = 0) -> dict[str, Any]:
    worker = model.workers[place].name
    op = {"op": "fault", "worker": worker, "fault": "quit-worker", "pid": 1}
    model._op(worker, **op, applied=True, reason=None)
    return model.ops[-1][1]


def _run(model: Model, place: int = 0) -> None:
    worker = model.workers[place]
    model.receive(worker)
    model.start(worker)
    model.end(worker, 0, Event.SUCCEEDED)


def _scene(model: Model, folder: Path) -> FaultWindow:
    model.close()
    evidence = gather(write(folder, model.entries([2])))
    return FaultWindow(evidence, strikes(evidence)[::-1], deaths(evidence))


def test_the_records_about_a_task_are_found_in_their_order(tmp_path: Path) -> None:
    model = Model("prefork", "late", concurrency=2, timeout_s=1.0)
    worker = model.workers[0]
    model.enqueue(6)
    _blow(model)
    for _ in range(2):
        for _ in range(3):
            model.receive(worker)
        model.start(worker)
        model.start(worker)
        model.end(worker, 0, Event.SUCCEEDED)
        model.kill(worker)
        model.wait(2_000)
        model.sweep()
    scene = _scene(model, tmp_path)
    seen = scene.seen

    for number in range(7):
        about = seen.number == number
        assert scene.about(number).tolist() == np.flatnonzero(about).tolist()
        begun = np.flatnonzero(about & seen.of(Event.STARTED, Event.SUCCEEDED))
        assert scene.about(number, Event.STARTED, Event.SUCCEEDED).tolist() == begun.tolist()
    assert len(scene.about(1)) > 1
    assert len(scene.about(6)) == 0


def test_a_scene_has_what_was_not_over_at_the_first_strike_on_its_side_and_all_poison(
    tmp_path: Path,
) -> None:
    model = Model("threads", "early", concurrency=1)
    model.enqueue(5, poison={0: "segfault"})
    _run(model)  # 0, the poison
    _run(model)  # 1 was over
    model.receive(model.workers[0])
    model.start(model.workers[0])
    model.end(model.workers[0], 0, Event.SUCCEEDED)
    _blow(model)["t_ns"] = model.now_ns  # at the very end of 2
    _run(model)  # 3
    _blow(model)
    model.receive(model.workers[0])  # 4 never began

    scene = _scene(model, tmp_path)

    assert set(scene.seen.number.tolist()) == {0, 2, 3, 4}


def test_a_strike_on_one_side_concerns_no_task_of_another(tmp_path: Path) -> None:
    model = Model("threads", "early", workers=2, concurrency=1)
    model.enqueue(1)
    model.receive(model.workers[0])
    model.start(model.workers[0])
    model.enqueue(2)
    _run(model, 1)
    _blow(model, place=1)
    _run(model, 1)
    model.end(model.workers[0], 0, Event.SUCCEEDED)
    for writer, op in model.ops:
        if op.get("block") == 1 or writer == model.workers[1].name:
            op["side"] = "other"

    scene = _scene(model, tmp_path)

    assert scene.worker(strikes(scene.evidence)[0]).name == model.workers[1].name
    assert set(scene.seen.number.tolist()) == {2}


def test_an_op_at_the_very_time_is_the_next_one(tmp_path: Path) -> None:
    model = Model("threads", "early")
    name = model.workers[0].name
    model.enqueue(1)
    _blow(model)
    model.kill(model.workers[0])
    (back_ns,) = (op["t_ns"] for _, op in model.ops if op["op"] == "worker-restart")

    scene = _scene(model, tmp_path)

    found = scene.next("worker-restart", name, back_ns)
    assert found is not None
    assert found.t_ns == back_ns
    assert scene.next("worker-restart", name, back_ns + 1) is None
    assert scene.next("worker-restart", "another@host", 0) is None


@pytest.mark.parametrize(("before_ns", "is_new"), [(1, True), (0, False)])
def test_a_slot_is_back_with_the_first_task_of_a_process_that_began_after_the_fault(
    tmp_path: Path, before_ns: int, *, is_new: bool
) -> None:
    model = Model("prefork", "early", concurrency=2)
    worker = model.workers[0]
    model.enqueue(3)
    _blow(model)
    model.receive(worker)
    model.start(worker)
    model.kill_slot(worker, 0)
    opened_ns = worker.slots[0].ring.name.rpartition("-")[2]
    model.receive(worker)
    model.start(worker)
    began_ns = model.now_ns
    model.kill_slot(worker, 0)
    model.receive(worker)
    model.start(worker)
    scene = _scene(model, tmp_path)
    (strike,) = strikes(scene.evidence)

    found = scene.slot_back(replace(strike, t_ns=int(opened_ns) - before_ns), worker.name)

    assert found == (began_ns if is_new else int(scene.attempts.start_ns.max()))
    assert scene.slot_back(strike, "another@host") is None


def test_of_a_worker_that_recorded_nothing_no_row_is_and_no_slot_came_back(
    tmp_path: Path,
) -> None:
    model = Model("threads", "early")
    model.enqueue(1)
    _blow(model)
    scene = _scene(model, tmp_path)
    (strike,) = strikes(scene.evidence)

    mine = scene.of_worker(scene.seen.source, strike.worker)

    assert scene.sources == []
    assert (mine.tolist(), mine.dtype) == ([], np.dtype(bool))
    assert scene.slot_back(strike, strike.worker) is None
