"""One life of a process under a supervisor."""

from __future__ import annotations

import os
import selectors
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from poolproof_workers.supervisor import celery_process
from poolproof_workers.supervisor.celery_process import CeleryProcess, Exit

_STUBBORN = """
import signal, time
for signum in {ignored}:
    signal.signal(signum, lambda number, frame: print("no", flush=True))
print("up", flush=True)
while True:
    time.sleep(600)
"""
Start = Callable[[str], CeleryProcess]


@pytest.fixture
def selector() -> Iterator[selectors.BaseSelector]:
    with selectors.DefaultSelector() as made:
        yield made


@pytest.fixture
def start(selector: selectors.BaseSelector) -> Iterator[Start]:
    started: list[CeleryProcess] = []

    def run(code: str) -> CeleryProcess:
        started.append(CeleryProcess([sys.executable, "-c", code], os.environ, selector))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.close()


@pytest.fixture
def turn(selector: selectors.BaseSelector, eventually: Any) -> Callable[..., Any]:
    """Serve the process until the condition holds."""

    def until(process: CeleryProcess, condition: Callable[[], Any]) -> Any:
        def look() -> Any:
            for key, _ in selector.select(0):
                key.data()
            process.press()
            return condition()

        return eventually(look)

    return until


def stubborn(*ignored: str) -> str:
    names = ", ".join(f"signal.{name}" for name in ignored)
    return _STUBBORN.format(ignored=f"[{names}]")


def test_an_exit_is_a_code_or_a_signal() -> None:
    assert Exit.of(3) == Exit(3, None)
    assert Exit.of(-9) == Exit(None, 9)
    assert (str(Exit.of(3)), str(Exit.of(-11))) == ("with exit code 3", "by SIGSEGV")


def test_what_it_prints_goes_on_and_the_end_of_it_is_kept(
    start: Start, turn: Any, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    process = start(
        "for i in range(100): print('line', i)\nprint('last', end='')\nraise SystemExit(7)"
    )

    assert turn(process, process.exit) == Exit(7, None)
    process.close()
    assert process.tail[-2:] == ["line 99", "last"]
    assert len(process.tail) <= 21
    assert capfdbinary.readouterr().err.count(b"line") == 100


def test_a_stop_is_warm_then_cold_then_final(start: Start, turn: Any) -> None:
    process = start(stubborn("SIGTERM", "SIGQUIT"))
    turn(process, lambda: process.tail == ["up"])

    process.stop(grace_s=600)
    turn(process, lambda: process.tail == ["up", "no"])
    assert process.exit() is None
    process.hurry()
    turn(process, lambda: process.tail == ["up", "no", "no"])
    process.hurry()

    assert turn(process, process.exit) == Exit(None, signal.SIGKILL)
    assert process.asked


def test_a_stop_goes_on_by_itself_when_the_grace_is_over(start: Start, turn: Any) -> None:
    process = start(stubborn("SIGTERM"))
    turn(process, lambda: process.tail == ["up"])

    process.stop(grace_s=1.0)

    assert turn(process, process.exit) == Exit(None, signal.SIGQUIT)


def test_a_step_that_comes_late_puts_off_the_next(
    start: Start, turn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start(stubborn("SIGTERM", "SIGQUIT"))
    turn(process, lambda: process.tail == ["up"])
    process.stop(grace_s=600)
    turn(process, lambda: process.tail == ["up", "no"])

    hours_later = time.monotonic() + 36_000
    monkeypatch.setattr(celery_process.time, "monotonic", lambda: hours_later)
    process.press()
    process.press()
    monkeypatch.undo()

    turn(process, lambda: process.tail == ["up", "no", "no"])
    assert process.exit() is None


def test_it_has_a_session_of_its_own(start: Start) -> None:
    process = start("input()")

    assert os.getsid(process.pid) == process.pid
    assert not process.asked
