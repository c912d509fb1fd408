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
    Terminated,
    TimeLimitExceeded,
    WorkerLostError,
)

from poolproof_workers.app import make_app
from poolproof_workers.contract import RECORD, Event, Report, task_id
from poolproof_workers.errors import DISK, USAGE
from poolproof_workers.faults.catalogue import find
from poolproof_workers.faults.task import FAULT, about_to_fault
from poolproof_workers.recorder.greenlets import GreenletSlots
from poolproof_workers.recorder.recorder import READY_SUFFIX, Recorder, _in_main, _recorder, _slots
from poolproof_workers.settings import Settings
from poolproof_workers.supervisor.ring_reader import RingReader

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


def _hear(heard: list[tuple[object, Any]], sender: object, signal: object, **named: Any) -> None:
    heard.append((sender, named))


def _unexpected(*_: object) -> None:
    raise RuntimeError("this is not to be called")


def request_of(number: int) -> Any:
    return SimpleNamespace(id=task_id(TAG, number))


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
    heard: list[tuple[object, Any]] = []
    listener = partial(_hear, heard)
    for signal in (signals.task_received, signals.task_prerun, signals.task_postrun):
        signal.connect(listener, weak=False)
    task, consumer, request = app.tasks["poolproof.square"], object(), request_of(5)

    signals.task_received.send(sender=consumer, request=request, more=1)
    task.apply((7,), task_id=request.id)

    assert records(tmp_path) == [
        (5, Event.RECEIVED, 0),
        (5, Event.STARTED, 0),
        (5, Event.SUCCEEDED, 49),
    ]
    before = {"task_id": request.id, "task": task, "args": (7,), "kwargs": {}}
    assert heard == [
        (consumer, {"request": request, "more": 1}),
        (task, before),
        (task, before | {"retval": 49, "state": "SUCCESS"}),
    ]


@pytest.mark.parametrize("signal", [signals.task_received, signals.task_prerun])
def test_threads_wait_for_no_lock_of_a_signal_that_others_hear_too(
    slot: Recorder, signal: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal.connect(partial(_hear, []), weak=False)
    told = {"request": request_of(5), "task_id": task_id(TAG, 5)}
    signal.send(sender=None, **told)
    monkeypatch.setattr(signal, "lock", None)

    signal.send(sender=None, **told)


def test_a_tracer_that_knows_no_senders_gets_none(
    tmp_path: Path, kept: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(trace, "send_prerun")

    Recorder(tmp_path, runs_tasks=True).connect()

    assert not hasattr(trace, "send_prerun")


def test_signals_are_not_dispatched_while_nobody_else_listens(
    slot: Recorder, app: Celery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(signals.task_prerun), "_live_receivers", _unexpected)

    signals.task_received.send(sender=None, request=request_of(5))
    app.tasks["poolproof.square"].apply((7,), task_id=task_id(TAG, 5))

    assert len(records(tmp_path)) == 3


def test_a_recorder_that_fails_is_no_matter_to_a_task(
    slot: Recorder, app: Celery, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    slot._record = _unexpected

    signals.task_received.send(sender=None, request=request_of(5))
    result = app.tasks["poolproof.square"].apply((7,), task_id=task_id(TAG, 5))

    assert result.get() == 49
    receivers = (slot._on_received, slot._on_prerun, slot._on_postrun)
    assert caplog.messages == [f"{receiver!r} raised" for receiver in receivers]


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


def test_a_main_process_that_runs_tasks_reports_no_failure_that_one_ends_with(
    slot: Recorder, app: Celery, tmp_path: Path
) -> None:
    slot.open()

    app.tasks["trouble"].apply(("fail",), task_id=task_id(TAG, 5))

    assert records(tmp_path) == [(5, Event.STARTED, 0), (5, Event.FAILED, 0)]


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


def test_what_the_main_process_takes_in_is_recorded(main: Recorder, tmp_path: Path) -> None:
    signals.task_received.send(sender=None, request=request_of(3))

    assert records(tmp_path) == [(3, Event.RECEIVED, 0)]


@pytest.mark.parametrize(
    ("exception", "report"),
    [
        (WorkerLostError(), Report.WORKER_LOST),
        (TimeLimitExceeded(1), Report.TIME_LIMIT),
        (Terminated(15), Report.TERMINATED),
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
    signals.task_retry.send(sender=None, request=request_of(3), reason=reason, einfo=object())

    assert records(tmp_path) == [(3, Event.RETRIED, Report.WORKER_LOST)]


@pytest.mark.parametrize("reason", [None, "no slot is left", Retry("later")])
def test_a_retry_of_what_the_main_process_cancels_itself_is_recorded(
    main: Recorder, tmp_path: Path, reason: object
) -> None:
    signals.task_retry.send(sender=None, request=request_of(3), reason=reason, einfo=None)

    assert records(tmp_path) == [(3, Event.RETRIED, Report.OTHER)]


def test_a_retry_that_a_slot_tells_itself_is_recorded_by_its_end_alone(
    main: Recorder, tmp_path: Path
) -> None:
    signals.task_retry.send(sender=None, request=request_of(3), reason=Retry(), einfo=object())

    assert records(tmp_path) == []


@pytest.mark.parametrize(
    ("terminated", "report"), [(True, Report.TERMINATED), (False, Report.OTHER)]
)
def test_a_revoked_task_is_recorded(
    main: Recorder, tmp_path: Path, terminated: bool, report: Report
) -> None:
    signals.task_revoked.send(
        sender=None, request=request_of(3), terminated=terminated, signum=None, expired=False
    )

    assert records(tmp_path) == [(3, Event.REVOKED, report)]
    assert "terminated" in signals.task_revoked.providing_args


def test_readiness_is_a_file_beside_the_ring(main: Recorder, tmp_path: Path) -> None:
    signals.worker_ready.send(sender=None)

    ready = tmp_path / f"{os.getpid()}{READY_SUFFIX}"
    assert ready.stat().st_mode & 0o777 == 0o600


def test_a_forked_child_writes_a_ring_of_its_own(main: Recorder, tmp_path: Path) -> None:
    signals.task_received.send(sender=None, request=request_of(1))
    child = os.fork()
    if child == 0:
        signals.task_prerun.send(sender=None, task_id=task_id(TAG, 2))
        os._exit(0)
    os.waitpid(child, 0)
    signals.task_received.send(sender=None, request=request_of(3))

    by_pid = {}
    for path in tmp_path.glob("*.ring"):
        with RingReader(path) as reader:
            taken = RECORD.iter_unpack(reader.read(1, 10)[1])
            by_pid[reader.pid] = [record[0] for record in taken]
    assert by_pid == {os.getpid(): [1, 3], child: [2]}


def test_a_forked_child_reports_no_failure_that_its_task_ends_with(
    main: Recorder, tmp_path: Path
) -> None:
    main._after_fork()
    main.open_in_slot()

    signals.task_failure.send(sender=None, task_id=task_id(TAG, 3), exception=ValueError())

    assert records(tmp_path) == []


def test_records_of_greenlets_have_their_places(tmp_path: Path, kept: None) -> None:
    runs = ["a"]
    recorder = Recorder(tmp_path, runs_tasks=True, places=GreenletSlots(lambda: runs[-1]))
    recorder.connect()

    for name, number in (("a", 1), ("b", 2)):
        runs.append(name)
        trace.send_prerun(sender=None, task_id=task_id(TAG, number))
    for name, number in (("a", 1), ("b", 2)):
        runs.append(name)
        trace.send_postrun(sender=None, task_id=task_id(TAG, number), state="SUCCESS", retval=9)
    signals.task_received.send(sender=None, request=request_of(3))

    assert records(tmp_path) == [
        (1, Event.STARTED, 0),
        (2, Event.STARTED, 0),
        (1, Event.SUCCEEDED, 9),
        (2, Event.SUCCEEDED, 9),
        (3, Event.RECEIVED, 0),
    ]
    (path,) = tmp_path.glob("*.ring")
    with RingReader(path) as reader:
        assert [row[5] for row in RECORD.iter_unpack(reader.read(1, 9)[1])] == [1, 2, 1, 2, 0]


def test_what_was_open_before_a_fork_is_opened_anew(main: Recorder, tmp_path: Path) -> None:
    main._after_fork()
    main.open()
    main.open()

    assert len([*tmp_path.glob("*.ring")]) == 2


def test_a_record_after_a_fork_opens_a_ring_too(main: Recorder, tmp_path: Path) -> None:
    main._after_fork()
    signals.task_received.send(sender=None, request=request_of(3))

    assert records(tmp_path) == [(3, Event.RECEIVED, 0)]
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
    (message,) = caplog.messages
    assert message.startswith(f"Process {os.getpid()} cannot record: [Errno 2] No such file")


def test_a_main_process_that_cannot_record_gets_the_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Recorder(tmp_path / "missing", runs_tasks=False).open()


@pytest.mark.parametrize(
    ("environ", "message", "exit_code"),
    [
        ({"POOLPROOF_POOL": "nonsense"}, "nonsense", USAGE),
        ({"POOLPROOF_RINGS": "/dev/null"}, "The recorder cannot open a ring: [Errno 20]", DISK),
    ],
)
@pytest.mark.usefixtures("kept")
def test_a_worker_that_cannot_record_ends_with_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    environ: dict[str, str],
    message: str,
    exit_code: int,
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(SystemExit) as left:
        _in_main()
    _recorder.cache_clear()

    assert left.value.code == exit_code
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
