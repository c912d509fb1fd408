"""The records around the strikes of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from poolproof.judge.evidence import gather
from poolproof.judge.scene import Scene
from poolproof.judge.strikes import strikes
from poolproof_workers.contract import Event
from tests.unit.celery_model import Model, write

if TYPE_CHECKING:
    from pathlib import Path


def test_the_records_about_a_task_are_found_in_their_order(tmp_path: Path) -> None:
    model = Model("prefork", "late", concurrency=2, timeout_s=1.0)
    worker = model.workers[0]
    model.enqueue(6)
    fault = {"op": "fault", "worker": worker.name, "fault": "quit-worker", "pid": 1}
    model._op(worker.name, **fault, applied=True, reason=None)
    for _ in range(2):
        for _ in range(3):
            model.receive(worker)
        model.start(worker)
        model.start(worker)
        model.end(worker, 0, Event.SUCCEEDED)
        model.kill(worker)
        model.wait(2_000)
        model.sweep()
    model.close()
    evidence = gather(write(tmp_path, model.entries([2])))
    scene = Scene(evidence, strikes(evidence))
    seen = scene.seen

    for number in range(7):
        about = seen.number == number
        assert scene.about(number).tolist() == np.flatnonzero(about).tolist()
        begun = np.flatnonzero(about & seen.of(Event.STARTED, Event.SUCCEEDED))
        assert scene.about(number, Event.STARTED, Event.SUCCEEDED).tolist() == begun.tolist()
    assert len(scene.about(1)) > 1
    assert len(scene.about(6)) == 0
