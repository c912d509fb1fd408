"""What came again only since it had waited in a living worker for longer than the timeout."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from poolproof.history.participants import NEVER
from poolproof.judge.faults.visibility_timeout import overdue, waited
from poolproof.judge.verdicts.attempts import Seen
from poolproof_workers.contract import Event

TIMEOUT_S = 10.0
#: task, event, seconds, ring
Row = tuple[int, Event, float, int]
FIRST, AGAIN = (0, Event.RECEIVED, 100.0, 0), (0, Event.RECEIVED, 110.0, 0)


def _scene(rows: list[Row], death_s: float | None = None) -> Any:
    """What was recorded of tasks 0 and 1; the process of ring 0 died then."""
    number, event, seconds, source = zip(*rows, strict=True)
    t_ns = [round(each * 1e9) for each in seconds]
    nothing = np.zeros(len(rows), np.int64)
    columns = [np.array(each, np.int64) for each in (number, event, t_ns)]
    seen = Seen(*columns, nothing, np.array(source), nothing)
    died_ns = NEVER if death_s is None else round(death_s * 1e9)
    received = np.bincount(seen.number[seen.of(Event.RECEIVED)], minlength=2)
    return SimpleNamespace(
        seen=seen,
        deaths=np.array([died_ns, NEVER]),
        ledger=SimpleNamespace(
            roster=SimpleNamespace(workers={"its": None}), count={Event.RECEIVED: received}.get
        ),
        about=lambda number, *events: np.flatnonzero((seen.number == number) & seen.of(*events)),
        of_worker=lambda sources, *_: np.ones(len(sources), bool),
    )


def _is_overdue(rows: list[Row], death_s: float | None = None, *, early: bool = True) -> bool:
    """Whether task 0 is."""
    return overdue(_scene(rows, death_s), [0, 1], TIMEOUT_S, early=early) == {0}


@pytest.mark.parametrize(
    ("again_s", "is_overdue"), [(110.0, True), (109.5, True), (109.4, False), (130.0, True)]
)
def test_what_came_again_after_the_timeout_is_overdue(again_s: float, *, is_overdue: bool) -> None:
    rows: list[Row] = [(0, Event.RECEIVED, again_s, 1), FIRST, (1, Event.RECEIVED, 90.0, 0)]

    assert _is_overdue(rows) == is_overdue


@pytest.mark.parametrize(
    ("event", "at_s", "early", "is_overdue"),
    [
        (Event.STARTED, 103.0, True, False),
        (Event.STARTED, 112.0, True, True),
        (Event.STARTED, 99.0, True, True),
        # Acknowledged late it is in time only if it ended in time.
        (Event.STARTED, 103.0, False, True),
        (Event.SUCCEEDED, 109.0, False, False),
        (Event.FAILED, 109.0, False, False),
        (Event.SUCCEEDED, 111.0, False, True),
        (Event.SUCCEEDED, 103.0, True, True),
    ],
)
def test_what_was_so_far_in_time_as_to_be_acknowledged_is_not(
    event: Event, at_s: float, *, early: bool, is_overdue: bool
) -> None:
    assert _is_overdue([FIRST, (0, event, at_s, 0), AGAIN], early=early) == is_overdue


@pytest.mark.parametrize(("death_s", "is_overdue"), [(105.0, False), (110.0, False), (112.0, True)])
def test_what_a_worker_that_died_before_had_held_is_not(
    death_s: float, *, is_overdue: bool
) -> None:
    assert _is_overdue([FIRST, AGAIN], death_s) == is_overdue


def test_one_that_came_three_times_is_if_it_once_came_too_late() -> None:
    soon = (0, Event.RECEIVED, 101.0, 0)

    assert _is_overdue([FIRST, soon, (0, Event.RECEIVED, 111.0, 1)])
    assert not _is_overdue([FIRST, soon, (0, Event.RECEIVED, 102.0, 1)])


def test_each_wait_is_measured_by_its_own_receipt_and_its_own_worker() -> None:
    begun = (0, Event.STARTED, 100.5, 0)
    rows: list[Row] = [FIRST, begun, (0, Event.RECEIVED, 101.0, 1), (0, Event.RECEIVED, 112.0, 1)]

    assert _is_overdue(rows, death_s=105.0)


def test_what_another_task_did_changes_nothing() -> None:
    assert _is_overdue([FIRST, (1, Event.STARTED, 103.0, 0), AGAIN])


@pytest.mark.parametrize(("struck_s", "counts"), [(110.0, True), (110.1, False)])
def test_a_wait_that_was_over_before_a_strike_does_not_count(
    struck_s: float, *, counts: bool
) -> None:
    scene = _scene([FIRST, AGAIN, (0, Event.RECEIVED, 115.0, 1)])
    scene.worker = lambda _: SimpleNamespace(visibility_timeout_s=TIMEOUT_S)
    strike: Any = SimpleNamespace(workers=("its",), t_ns=round(struck_s * 1e9))

    assert waited(scene, [0], strike) == ({0} if counts else set())


def test_without_a_known_timeout_nothing_is() -> None:
    roster = SimpleNamespace(workers={})
    scene: Any = SimpleNamespace(ledger=SimpleNamespace(roster=roster))

    assert overdue(scene, [0], None, early=True) == set()
