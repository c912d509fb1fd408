"""Ctrl-C, SIGTERM and SIGHUP: once, in order, and nothing that was just started is forgotten."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from poolproof.infra import child, sides
from poolproof.infra.interruption import obey_signals, uninterrupted
from poolproof.infra.workers import LocalFleet
from poolproof.matrix.folder import MatrixFolder
from poolproof.matrix.parallel import ParallelRunner
from poolproof.matrix.plan import Matrix
from poolproof.runner.listener import NullListener
from poolproof_workers.errors import INTERRUPTED
from poolproof_workers.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {signum: signal.getsignal(signum) for signum in _SIGNALS}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.mark.parametrize("signum", _SIGNALS)
def test_the_first_signal_interrupts_and_no_other_does(signum: signal.Signals) -> None:
    obey_signals()

    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signum)
    for each in _SIGNALS:
        signal.raise_signal(each)


def test_what_was_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    obey_signals()
    with uninterrupted():
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN

    signal.raise_signal(signal.SIGHUP)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_what_is_started_meanwhile_inherits_no_ignored_signal() -> None:
    obey_signals()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)

    code = "import signal; print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)

    assert out.stdout == "True\n"


@pytest.mark.parametrize("signum", _SIGNALS)
def test_an_interruption_waits_for_the_end_of_a_block(signum: signal.Signals) -> None:
    obey_signals()
    done = []

    def twice() -> None:
        with uninterrupted():
            signal.raise_signal(signum)
            signal.raise_signal(signum)
            done.append("to the end")

    with pytest.raises(KeyboardInterrupt):
        twice()
    assert done == ["to the end"]
    signal.raise_signal(signum)  # it was heeded once


def test_without_a_signal_a_block_changes_nothing() -> None:
    obey_signals()
    before = [signal.getsignal(signum) for signum in _SIGNALS]
    with uninterrupted():
        pass

    assert [signal.getsignal(signum) for signum in _SIGNALS] == before
    with pytest.raises(ZeroDivisionError), uninterrupted():
        _ = 1 / 0
    assert [signal.getsignal(signum) for signum in _SIGNALS] == before


def test_a_block_of_another_thread_leaves_signals_alone() -> None:
    obey_signals()
    before = [signal.getsignal(signum) for signum in _SIGNALS]
    seen = []

    def block() -> None:
        with uninterrupted():
            seen.extend(signal.getsignal(signum) for signum in _SIGNALS)

    thread = threading.Thread(target=block)
    thread.start()
    thread.join()

    assert seen == before


class _Interrupting(subprocess.Popen[bytes]):
    """Ctrl-C comes when the process runs, and nobody holds it yet."""

    pids: list[int]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pids.append(self.pid)
        signal.raise_signal(signal.SIGINT)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Pids of the processes in whose start Ctrl-C came."""
    monkeypatch.setattr(_Interrupting, "pids", [], raising=False)
    of_child = SimpleNamespace(**{**vars(subprocess), "Popen": _Interrupting})
    monkeypatch.setattr(child, "subprocess", of_child)
    obey_signals()
    return _Interrupting.pids


def test_a_worker_in_whose_start_ctrl_c_came_is_stopped(started: list[int], tmp_path: Path) -> None:
    env = {"POOLPROOF_POOL": "solo", "POOLPROOF_RINGS": str(tmp_path)}
    worker = Settings.from_env(env)

    with pytest.raises(KeyboardInterrupt), LocalFleet([worker, worker], grace_s=0.1):
        pytest.fail("it goes on")

    (pid,) = started
    assert not psutil.pid_exists(pid)


def test_a_run_of_a_matrix_in_whose_start_ctrl_c_came_is_stopped(
    started: list[int], tmp_path: Path
) -> None:
    matrix = Matrix(("segfault",), sides.parse(["solo", "threads:2"]))

    with MatrixFolder.open(tmp_path, matrix.to_json()) as folder:
        crew = ParallelRunner(matrix, folder, NullListener(), None)
        with pytest.raises(KeyboardInterrupt):
            crew.play()

    (pid,) = started
    assert not psutil.pid_exists(pid)


def test_an_exit_code_is_ours_wherever_ctrl_c_came(tmp_path: Path) -> None:
    # Python ends `-m` by SIGINT if one came in an `exec` of text, whoever caught it.
    (tmp_path / "interrupted.py").write_text(
        "import poolproof.__main__ as module\n"
        "module.cli.main = lambda **_: exec('raise KeyboardInterrupt')\n"
        "module.run()\n"
    )

    done = subprocess.run(
        [sys.executable, "-m", "interrupted"],
        cwd=tmp_path,
        env=os.environ,
        capture_output=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (INTERRUPTED, b"poolproof: interrupted\n")
