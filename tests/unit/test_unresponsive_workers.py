"""A worker that lives and does not answer may have what nobody else has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from poolproof.judge.run import consider
from poolproof.judge.verdicts.verdicts import Verdict
from tests.unit.celery_model import Model, write

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def model() -> Model:
    """A worker of threads that runs task 0 and has taken task 1 from the queue; 2 waits there."""
    model = Model("threads", "early", concurrency=4)
    model.enqueue(3)
    model.receive(model.workers[0])
    model.start(model.workers[0])
    assert model.queue.pop(0) == 1
    return model


def _verdicts(model: Model, folder: Path) -> list[Verdict]:
    model.close()
    case = consider(write(folder, model.entries([3])))
    return [Verdict(value) for value in case.verdicts.tolist()]


def test_what_only_a_hanging_worker_can_have_is_not_lost(model: Model, tmp_path: Path) -> None:
    model.hangs = True

    assert _verdicts(model, tmp_path) == [Verdict.RUNNING, Verdict.QUEUED, Verdict.QUEUED]


def test_what_a_worker_that_answers_knows_nothing_of_is_lost(model: Model, tmp_path: Path) -> None:
    assert _verdicts(model, tmp_path) == [Verdict.RUNNING, Verdict.LOST, Verdict.QUEUED]


def test_what_a_hanging_worker_acknowledged_and_did_not_begin_is_not_lost(
    model: Model, tmp_path: Path
) -> None:
    model.receive(model.workers[0])
    model.deliveries[-1].acked = True
    model.hangs = True

    assert _verdicts(model, tmp_path)[2] == Verdict.QUEUED


def test_what_a_life_that_ended_may_have_taken_along_is_unknown(
    model: Model, tmp_path: Path
) -> None:
    worker = model.workers[0]
    model.kill(worker)
    ready = {"worker": worker.name, "life": worker.life, "pid": worker.main.pid}
    model._op(worker.name, op="worker-ready", **ready)
    model.hangs = True

    assert _verdicts(model, tmp_path)[1] == Verdict.UNKNOWN


def test_a_worker_that_is_still_starting_has_taken_nothing(model: Model, tmp_path: Path) -> None:
    model.kill(model.workers[0])
    model.hangs = True

    assert _verdicts(model, tmp_path)[1] == Verdict.LOST


def test_a_worker_that_got_ready_while_it_was_asked_had_taken_nothing_before(
    model: Model, tmp_path: Path
) -> None:
    worker = model.workers[0]
    model.kill(worker)
    model.hangs = True
    model.close()
    ready = {"worker": worker.name, "life": worker.life, "pid": worker.main.pid}
    model._op(worker.name, op="worker-ready", **ready)

    case = consider(write(tmp_path, model.entries([3])))

    assert Verdict(int(case.verdicts[1])) == Verdict.LOST
