"""What workers answer when task events are switched, and what it says of the measurement."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from poolproof.judge.summary import summarise
from poolproof_workers.contract import Event
from tests.unit.celery_model import Model, write

if TYPE_CHECKING:
    from pathlib import Path

DISABLED = {"ok": "task events disabled"}
ALREADY = {"ok": "task events already disabled"}
FAILED = {"error": "event dispatcher unavailable"}


def _switch(model: Model, answer: Any) -> None:
    model.wait(10)
    answers = {worker.name: answer for worker in model.workers}
    model._op("producer", op="events", on=False, answers=json.loads(json.dumps(answers)))
    model.wait(10)


def _measure(model: Model) -> None:
    worker = model.workers[0]
    model.enqueue(5, measured=True)
    while model.queue:
        model.receive(worker)
        model.start(worker)
        model.wait(10)
        model.end(worker, 0, Event.SUCCEEDED)


def _warned(model: Model, folder: Path) -> set[str]:
    model.close()
    codes = {each["code"] for each in summarise(write(folder, model.entries([3])))["warnings"]}
    return {code for code in codes if code.startswith("events")}


@pytest.mark.parametrize(
    ("before", "after", "warned"),
    [
        (DISABLED, ALREADY, set()),
        (ALREADY, ALREADY, set()),
        # Somebody else switched them on in between.
        (ALREADY, DISABLED, {"events_on"}),
        (None, DISABLED, {"events_on"}),
        (None, ALREADY, {"events_unknown"}),
        (ALREADY, None, {"events_unknown"}),
        (FAILED, ALREADY, {"events_unknown"}),
    ],
)
def test_events_were_off_if_every_worker_says_so_before_and_after(
    before: Any, after: Any, warned: set[str], tmp_path: Path
) -> None:
    model = Model("threads", "early")
    _switch(model, before)
    _measure(model)
    _switch(model, after)

    assert _warned(model, tmp_path) == warned


def test_a_measurement_that_nobody_asked_about_afterwards_may_have_had_events_on(
    tmp_path: Path,
) -> None:
    model = Model("threads", "early")
    _switch(model, DISABLED)
    _measure(model)

    assert _warned(model, tmp_path) == {"events_unknown"}


def test_where_they_are_never_switched_they_are_as_the_workers_were_started(
    tmp_path: Path,
) -> None:
    model = Model("threads", "early")
    _measure(model)

    assert _warned(model, tmp_path) == set()
