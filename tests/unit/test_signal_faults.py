"""Whom a fault from outside hits."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from poolproof_workers.contract import Event
from poolproof_workers.faults.fault import SignalFault
from poolproof_workers.pools import PoolSpec
from poolproof_workers.recorder.ring import Ring
from poolproof_workers.settings import Settings
from poolproof_workers.supervisor import signals
from poolproof_workers.supervisor.outbox import Outbox
from poolproof_workers.supervisor.ring_cursor import RingCursor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Eventually

MAIN = 10
SETTINGS = Settings.from_env({"POOLPROOF_ALLOW_FAULTS": "1"})


def child(folder: Path, pid: int, *events: Event) -> RingCursor:
    folder = folder / str(pid)
    folder.mkdir()
    ring = Ring.create(folder, 64)
    for event in events:
        ring.write(1, 1, event, 0)
    tape = RingCursor(ring.path, "worker")
    tape.pid = pid
    return tape


@pytest.mark.parametrize("fault", ["kill-worker", "term-worker"])
def test_the_worker_itself_is_hit(fault: str) -> None:
    assert signals.target(fault, SETTINGS, MAIN, [])[1] == MAIN


def test_a_busy_child_is_hit_rather_than_an_idle_one(tmp_path: Path) -> None:
    tapes = [
        child(tmp_path, MAIN, Event.STARTED),
        child(tmp_path, 11, Event.STARTED, Event.SUCCEEDED),
        child(tmp_path, 12, Event.STARTED),
    ]

    assert signals.target("kill-child", SETTINGS, MAIN, tapes)[1] == 12
    tapes[2].gone = True
    assert signals.target("kill-child", SETTINGS, MAIN, tapes)[1] == 11


@pytest.mark.parametrize(
    ("fault", "main", "changes", "reason"),
    [
        ("no-such", MAIN, {}, "no-such is none of the faults"),
        ("segfault", MAIN, {}, "segfault is none of the faults"),
        ("kill-worker", MAIN, {"allow_faults": False}, "POOLPROOF_ALLOW_FAULTS=1"),
        ("kill-worker", None, {}, "does not run now"),
        ("kill-child", MAIN, {"pool": PoolSpec.parse("threads:2")}, "no child processes"),
        ("kill-child", MAIN, {}, "no child process has a ring"),
    ],
)
def test_what_cannot_be_hit_is_refused_with_the_reason(
    fault: str, main: int | None, changes: dict[str, object], reason: str
) -> None:
    settings = dataclasses.replace(SETTINGS, **changes)  # type: ignore[arg-type]

    with pytest.raises(signals.TargetError, match=reason):
        signals.target(fault, settings, main, [])


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True
    )
    yield process
    process.kill()
    process.wait()


def state(process: subprocess.Popen[bytes]) -> str:
    return str(psutil.Process(process.pid).status())


def test_a_stopped_process_goes_on_after_its_pause(
    sleeper: subprocess.Popen[bytes], eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause = SignalFault("main", signal.SIGSTOP, 3_600.0)
    monkeypatch.setattr(signals, "target", lambda *_: (pause, sleeper.pid))
    outbox = Outbox("worker")
    blows = signals.Blows(outbox)

    blows.deal("stop-worker", SETTINGS, sleeper.pid, [])
    blows.end_pauses()

    eventually(lambda: state(sleeper) == psutil.STATUS_STOPPED)
    assert [entry.op["op"] for entry in outbox.unsent()] == ["fault"]
    later = time.monotonic() + 3_600.0
    with monkeypatch.context() as patched:
        patched.setattr(time, "monotonic", lambda: later)
        blows.end_pauses()
    eventually(lambda: state(sleeper) != psutil.STATUS_STOPPED)
    dealt, ended = (entry.op for entry in outbox.unsent())
    assert (dealt["applied"], dealt["pid"]) == (True, sleeper.pid)
    assert (ended["op"], ended["fault"]) == ("fault-end", "stop-worker")


def test_a_blow_to_the_group_reaches_all_of_it(sleeper: subprocess.Popen[bytes]) -> None:
    signals.Blows(Outbox("worker")).deal("term-group", SETTINGS, sleeper.pid, [])

    assert sleeper.wait(10) == -signal.SIGTERM


def test_what_cannot_be_done_is_written_down_with_the_reason() -> None:
    outbox = Outbox("worker")
    settings = dataclasses.replace(SETTINGS, pool=PoolSpec.parse("threads:2"))

    signals.Blows(outbox).deal("stop-child", settings, MAIN, [])

    (entry,) = outbox.unsent()
    assert entry.op["applied"] is False
    assert "no child processes" in entry.op["reason"]
