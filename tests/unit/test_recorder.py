"""What the recorder makes of Celery's signals, as Celery's own tracer sends them."""

from __future__ import annotations

import os
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from celery import signals
from celery.app import trace
from celery.concurrency import ALIASES
from celery.concurrency.solo import TaskPool
from celery.exceptions import (
    Ignore,
    Reject,
    Retry,
    SoftTimeLimitExceeded,
    TimeLimitExceeded,
    WorkerLostError,
)

from poolproof_workers.app import make_app
from poolproof_workers.contract import RECORD, Event, Report, task_id
from poolproof_workers.faults import find
from poolproof_workers.poison import FAULT, about_to_fault
from poolproof_workers.recorder import READY_SUFFIX, Recorder, _slots
from poolproof_workers.ring_reader import RingReader
from poolproof_workers.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from celery import Celery

TAG = 0xFEED
SIGNALS = (
    signals.task_received,
    signals.task_prerun,
    signals.task_postrun,
    signals.task_failure,
    signals.task_retry,
    signals.task_revoked,
    signals.worker_ready,
    about_to_fault,
)
SENDERS = ((signals.task_received, "send"), (trace, "send_prerun"), (trace, "send_postrun"))
#: What a task in `app` does -> name of the exception that it raises.
TROUBLES = {
    "fail": ValueError("no"),
    "retry": Retry("later"),
    "ignore": Ignore("no matter"),
    "reject": Reject("not mine"),
    "soft-limit": SoftTimeLimitExceeded(),
}


class Green(TaskPool):
    """A pool of somebody's own that runs tasks in greenlets."""

    is_green = True


@pytest.fixture
def app() -> Celery:
    app = make_app(Settings.from_env({"POOLPROOF_ALLOW_FAULTS": "1"}))

    def trouble(name: str) -> None:
        raise TROUBLES[name]

    app.task(trouble, name="trouble", shared=False)
    return app


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for owner, name in SENDERS:
        monkeypatch.setattr(owner, name, getattr(owner, name))
    before = [(signal, signal.receivers[:], signal.use_caching) for signal in SIGNALS]
    yield
    for signal, receivers, use_caching in before:
        signal.receivers[:] = receivers
        signal.use_caching = use_caching
        signal.sender_receivers_cache.clear()


@pytest.fixture
def slot(tmp_path: Path, kept: None) -> Recorder:
    """The recorder of a process that runs tasks itself."""
    recorder = Recorder(tmp_path, runs_tasks=True)
    recorder.connect()
    return recorder


@pytest.fixture
def main(tmp_path: Path, kept: None) -> Recorder:
    """The recorder of a main process whose children run the tasks."""
    recorder = Recorder(tmp_path, runs_tasks=False)
    recorder.connect()
    recorder.open()
    return recorder


def _hear(heard: list[set[str]], sender: object, signal: object, **named: object) -> None:
    heard.append({*named})


def _unexpected(*_: object) -> None:
    raise RuntimeError("this is not to be called")


def records(folder: Path) -> list[tuple[int, Event, int]]:
    """(number, event, detail) of all records of this run."""
    found = []
    for path in folder.glob("*.ring"):
        with RingReader(path) as reader:
            for number, _, detail, run, *_, event, _, _ in RECORD.iter_unpack(
                reader.read(1, reader.capacity)[1]
            ):
                assert run in {TAG, 0}  # 0: of an id that is no UUID
                if run == TAG:
                    found.append((number, Event(event), detail))
    return found


def test_a_square_is_recorded_with_its_result(slot: Recorder, app: Celery, tmp_path: Path) -> None:
    app.tasks["poolproof.square"].apply((7,), task_id=task_id(TAG, 5))

    assert records(tmp_path) == [(5, Event.STARTED, 0), (5, Event.SUCCEEDED, 49)]


def test_a_signal_that_others_hear_too_reaches_all(
    slot: Recorder, app: Celery, tmp_path: Path
) -> None:
    heard = []
    listener = partial(_hear, heard)
    for signal in (signals.task_received, signals.task_prerun, signals.task_postrun):
        signal.connect(listener, weak=False)

    signals.task_received.send(sender=None, request=SimpleNamespace(id=task_id(TAG, 5)))
    app.tasks["poolproof.square"].apply((7,), task_id=task_id(TAG, 5))

    assert records(tmp_path) == [
        (5, Event.RECEIVED, 0),
        (5, Event.STARTED, 0),
        (5, Event.SUCCEEDED, 49),
    ]
    before = {"task_id", "task", "args", "kwargs"}
    assert heard == [{"request"}, before, before | {"retval", "state"}]


def test_signals_are_not_dispatched_while_nobody_else_listens(
    slot: Recorder, app: Celery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(signals.task_prerun), "_live_receivers", _unexpected)

    signals.task_received.send(sender=None, request=SimpleNamespace(id=task_id(TAG, 5)))
    app.tasks["poolproof.square"].apply((7,), task_id=task_id(TAG, 5))

    assert len(records(tmp_path)) == 3


def test_a_recorder_that_fails_is_no_matter_to_a_task(
    slot: Recorder, app: Celery, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    slot._record = _unexpected

    result = app.tasks["poolproof.square"].apply((7,), task_id=task_id(TAG, 5))

    assert result.get() == 49
    assert [record.message.endswith("raised") for record in caplog.records] == [True, True]


@pytest.mark.parametrize(
    ("trouble", "event"),
    [
        ("fail", Event.FAILED),
        ("retry", Event.RETRIED),
        ("ignore", Event.ABANDONED),
        ("reject", Event.ABANDONED),
        ("soft-limit", Event.FAILED),
    ],
)
def test_every_other_end_of_a_task_is_recorded_once(
    slot: Recorder, app: Celery, tmp_path: Path, trouble: str, event: Event
) -> None:
    app.tasks["trouble"].apply((trouble,), task_id=task_id(TAG, 5))

    assert records(tmp_path) == [(5, Event.STARTED, 0), (5, event, 0)]


def test_a_fault_is_recorded_before_it_happens(slot: Recorder, app: Celery, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        app.tasks[FAULT].apply(("system-exit",), task_id=task_id(TAG, 5))

    assert records(tmp_path) == [
        (5, Event.STARTED, 0),
        (5, Event.FAULT, find("system-exit")[0]),
        (5, Event.ABANDONED, 0),
    ]


def test_a_task_of_another_application_does_no_harm(
    slot: Recorder, app: Celery, tmp_path: Path
) -> None:
    app.tasks["poolproof.square"].apply((7,), task_id="their-own-name")

    assert records(tmp_path) == []


def request(number: int) -> Any:
    return SimpleNamespace(id=task_id(TAG, number))


def test_what_the_main_process_takes_in_is_recorded(main: Recorder, tmp_path: Path) -> None:
    signals.task_received.send(sender=None, request=request(3))

    assert records(tmp_path) == [(3, Event.RECEIVED, 0)]


@pytest.mark.parametrize(
    ("exception", "report"),
    [
        (WorkerLostError(), Report.WORKER_LOST),
        (TimeLimitExceeded(1), Report.TIME_LIMIT),
        (ValueError(), Report.OTHER),
    ],
)
def test_what_the_main_process_reports_is_recorded(
    main: Recorder, tmp_path: Path, exception: Exception, report: Report
) -> None:
    signals.task_failure.send(sender=None, task_id=task_id(TAG, 3), exception=exception)

    assert records(tmp_path) == [(3, Event.REPORTED, report)]


def test_a_retry_that_the_main_process_orders_for_a_lost_slot_is_recorded(
    main: Recorder, tmp_path: Path
) -> None:
    reason = Retry(exc=WorkerLostError())
    signals.task_retry.send(sender=None, request=request(3), reason=reason, einfo=object())

    assert records(tmp_path) == [(3, Event.RETRIED, Report.WORKER_LOST)]


@pytest.mark.parametrize("reason", [None, "no slot is left", Retry("later")])
def test_a_retry_of_what_the_main_process_cancels_itself_is_recorded(
    main: Recorder, tmp_path: Path, reason: object
) -> None:
    signals.task_retry.send(sender=None, request=request(3), reason=reason, einfo=None)

    assert records(tmp_path) == [(3, Event.RETRIED, Report.OTHER)]


def test_a_retry_that_a_slot_tells_itself_is_recorded_by_its_end_alone(
    main: Recorder, tmp_path: Path
) -> None:
    signals.task_retry.send(sender=None, request=request(3), reason=Retry(), einfo=object())

    assert records(tmp_path) == []


@pytest.mark.parametrize(
    ("terminated", "report"), [(True, Report.TERMINATED), (False, Report.OTHER)]
)
def test_a_revoked_task_is_recorded(
    main: Recorder, tmp_path: Path, terminated: bool, report: Report
) -> None:
    signals.task_revoked.send(
        sender=None, request=request(3), terminated=terminated, signum=None, expired=False
    )

    assert records(tmp_path) == [(3, Event.REVOKED, report)]


def test_readiness_is_a_file_beside_the_ring(main: Recorder, tmp_path: Path) -> None:
    signals.worker_ready.send(sender=None)

    assert (tmp_path / f"{os.getpid()}{READY_SUFFIX}").exists()


def test_a_forked_child_writes_a_ring_of_its_own(main: Recorder, tmp_path: Path) -> None:
    signals.task_received.send(sender=None, request=request(1))
    child = os.fork()
    if child == 0:
        signals.task_prerun.send(sender=None, task_id=task_id(TAG, 2))
        os._exit(0)
    os.waitpid(child, 0)
    signals.task_received.send(sender=None, request=request(3))

    by_pid = {}
    for path in tmp_path.glob("*.ring"):
        with RingReader(path) as reader:
            taken = RECORD.iter_unpack(reader.read(1, 10)[1])
            by_pid[reader.pid] = [record[0] for record in taken]
    assert by_pid == {os.getpid(): [1, 3], child: [2]}


def test_what_was_open_before_a_fork_is_opened_anew(main: Recorder, tmp_path: Path) -> None:
    main._after_fork()
    main.open()
    main.open()

    assert len([*tmp_path.glob("*.ring")]) == 2


@pytest.mark.parametrize(
    ("pool", "slots"),
    [
        ("prefork:2", "process"),
        ("threads:2", "thread"),
        ("solo:1", "main"),
        ("gevent:2", "greenlet"),
        ("custom:2=celery.concurrency.prefork:TaskPool", "process"),
        ("custom:2=celery.concurrency.solo:TaskPool", "custom"),
        ("custom:2=tests.unit.test_recorder:Green", "greenlet"),
    ],
)
def test_what_a_slot_is_decides_the_pool_or_what_a_custom_one_is_made_of(
    monkeypatch: pytest.MonkeyPatch, pool: str, slots: str
) -> None:
    if "=" in pool:
        monkeypatch.setitem(ALIASES, "custom", pool.partition("=")[2])

    assert _slots(Settings.from_env({"POOLPROOF_POOL": pool})) == slots


def test_a_slot_that_cannot_record_says_so_and_goes_on(
    slot: Recorder, app: Celery, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tmp_path.rmdir()

    result = app.tasks["poolproof.square"].apply((7,), task_id=task_id(TAG, 5))
    assert result.result == 49
    assert "cannot record" in caplog.text


def test_a_main_process_that_cannot_record_gets_the_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Recorder(tmp_path / "missing", runs_tasks=False).open()
