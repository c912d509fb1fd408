"""What is said to have been noticed is what was, in words that do not promise more."""

from __future__ import annotations

import numpy as np
import pytest

from poolproof.judge.faults.detection import noticed
from poolproof.judge.run_data import Op
from poolproof.judge.verdicts.attempts import Seen
from poolproof_workers.contract import Event, Report


def _noticed(event: Event, report: Report | None, *, of_poison: bool = True) -> list[str]:
    one = np.zeros(1, np.int64)
    detail = one + (0 if report is None else report.value)
    seen = Seen(one, one + event.value, one, one, one, detail)
    mine = np.array([of_poison])
    return noticed(seen, mine, ~mine, [])


@pytest.mark.parametrize(
    ("event", "report", "words"),
    [
        (Event.REPORTED, Report.WORKER_LOST, "WorkerLostError"),
        (Event.RETRIED, Report.WORKER_LOST, "WorkerLostError, sent again"),
        (Event.REVOKED, Report.TERMINATED, "terminated"),
        (Event.FAILED, None, "the task's error"),
        # Celery announces a retry for what it cancels at a cold shutdown, and sends none.
        (Event.RETRIED, Report.OTHER, "cancelled, with a retry announced that is not sent"),
        # A task that runs on was delivered again after it had been revoked.
        (Event.REVOKED, Report.OTHER, "revoked before it ran again"),
    ],
)
def test_what_celery_says_of_a_task_is_named(
    event: Event, report: Report | None, words: str
) -> None:
    assert _noticed(event, report) == [words]


def test_an_error_of_an_innocent_task_is_not_taken_for_the_poisons() -> None:
    assert _noticed(Event.FAILED, None, of_poison=False) == ["an innocent task's error"]


@pytest.mark.parametrize(
    ("code", "signum", "words"),
    [
        (0, None, "worker ended by exit code 0"),
        (None, 9, "worker ended by SIGKILL"),
        (None, None, "worker ended by an unknown cause"),
    ],
)
def test_the_end_of_a_worker_is_named(code: int | None, signum: int | None, words: str) -> None:
    nothing = np.zeros(0, np.int64)
    seen = Seen(*(nothing for _ in range(6)))
    exit_op = Op("worker-exit", 0, {"code": code, "signal": signum})

    assert noticed(seen, nothing > 0, nothing > 0, [exit_op]) == [words]


def _rows(*rows: tuple[Event, int]) -> Seen:
    event, detail = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    nothing = np.zeros(len(rows), np.int64)
    return Seen(nothing, event, nothing, nothing, nothing, detail)


def test_what_several_saw_is_said_once_and_ends_of_workers_go_first() -> None:
    ends = [
        Op("worker-exit", at, {"code": code, "signal": signum})
        for at, (code, signum) in enumerate([(None, 11), (3, None), (None, 11)])
    ]
    seen = _rows(
        (Event.FAILED, 0),
        (Event.REPORTED, Report.OTHER),
        (Event.FAILED, 0),
        (Event.FAILED, 0),
        (Event.REPORTED, Report.OTHER),
        (Event.REPORTED, Report.TIME_LIMIT),
    )
    of_poison = np.array([True, True, True, False, False, False])

    assert noticed(seen, of_poison, ~of_poison, ends) == [
        "worker ended by SIGSEGV",
        "worker ended by exit code 3",
        "the task's error",
        "failure reported",
        "an innocent task's error",
        "TimeLimitExceeded",
    ]


def test_what_is_about_neither_or_tells_of_no_fault_is_not_noticed() -> None:
    seen = _rows(
        (Event.FAILED, 0),
        (Event.SUCCEEDED, Report.WORKER_LOST),
        (Event.STARTED, Report.OTHER),
        (Event.REPORTED, 77),
    )
    of_poison = np.array([False, True, True, True])

    assert noticed(seen, of_poison, of_poison & False, []) == []
