"""One life of a Celery worker, seen from its parent: start, output, stop, exit."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from poolproof_workers.supervisor.leash import leashed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from poolproof_workers.settings import Settings

#: Between Celery's cold shutdown and SIGKILL.
_COLD_S: Final = 3.0
_LINES_KEPT: Final = 20
_PIPE_BYTES: Final = 65_536


def command(settings: Settings, *, recorded: bool = True, mingles: bool = True) -> list[str]:
    """Return the command line of the Celery worker that `settings` ask for.

    It reads the rest from the environment (`settings.to_env()`). One that `mingles` waits for a
    second, as it starts, for what other workers have to say.
    """
    pool = settings.pool.pool
    words = [sys.executable, "-m", "celery", "-A", "poolproof_workers.app", "worker"]
    words += ["--pool", pool.celery, *pool.words]
    words += ["--concurrency", str(settings.pool.concurrency)]
    words += ["--queues", settings.side, "--hostname", settings.name]
    words += ["--loglevel", "WARNING"]
    if settings.optimization != "default":
        words += ["-O", settings.optimization.value]
    modules = [*(["poolproof_workers.recorder.recorder"] if recorded else []), *settings.include]
    words += ["--include", ",".join(modules)] if modules else []
    words += [] if mingles else ["--without-mingle"]
    return [*words, "--task-events"] if settings.events else words


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: with an exit code or by a signal; the other is None."""

    code: int | None
    signal: int | None

    @classmethod
    def of(cls, returncode: int) -> Exit:
        """Read what subprocess calls a return code."""
        return cls(None, -returncode) if returncode < 0 else cls(returncode, None)

    def __str__(self) -> str:
        if self.signal is None:
            return f"with exit code {self.code}"
        return f"by {signal_name(self.signal)}"


def signal_name(number: int) -> str:
    """Return the name of a signal; most of those for real time have none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class CeleryProcess:
    """A running `celery worker` in a session of its own, which dies with us.

    What it prints goes on to our stderr; `tail` has the last lines of it. Its output and nothing
    else needs the selector: each event's `data` is a function to call.
    """

    def __init__(
        self, command: Sequence[str], environ: Mapping[str, str], selector: selectors.BaseSelector
    ) -> None:
        self.command = list(command)
        self.asked = False
        self._asked_at = 0.0
        self._selector = selector
        self._due: deque[tuple[float, signal.Signals]] = deque()
        self._lines: deque[str] = deque(maxlen=_LINES_KEPT)
        self._rest = b""
        self._output, inner = os.pipe()
        os.set_blocking(self._output, False)
        try:
            self._process = subprocess.Popen(
                leashed(self.command),
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=inner,
                stderr=inner,
                start_new_session=True,
            )
        finally:
            os.close(inner)
        selector.register(self._output, selectors.EVENT_READ, self._forward)

    @property
    def pid(self) -> int:
        """Pid of Celery's main process; also the id of its process group and session."""
        return self._process.pid

    @property
    def tail(self) -> list[str]:
        """The last lines that it printed."""
        return [*self._lines, self._rest.decode(errors="replace")] if self._rest else [*self._lines]

    def exit(self) -> Exit | None:
        """Return how it ended, None while it runs."""
        returncode = self._process.poll()
        return None if returncode is None else Exit.of(returncode)

    @property
    def stopping_s(self) -> float | None:
        """Seconds since it was asked to stop, None if it was not."""
        return time.monotonic() - self._asked_at if self._asked_at else None

    def stop(self, grace_s: float) -> None:
        """Ask for a warm shutdown; after the grace `press` goes on to a cold one, then SIGKILL."""
        self.asked = True
        now = self._asked_at = time.monotonic()
        self._due = deque(
            [
                (now, signal.SIGTERM),
                (now + grace_s, signal.SIGQUIT),
                (now + grace_s + _COLD_S, signal.SIGKILL),
            ]
        )

    def hurry(self) -> None:
        """Go on to the next step of the stop at once."""
        now = time.monotonic()
        early = max(0.0, self._due[0][0] - now) if self._due else 0.0
        self._due = deque((due - early, signum) for due, signum in self._due)

    def press(self) -> None:
        """Send what is due of the stop that was begun.

        If we come late, what follows is put off as much: each step has the time that it was given.
        """
        while self._due and (late := time.monotonic() - self._due[0][0]) >= 0:
            self.send(self._due.popleft()[1])
            self._due = deque((due + late, signum) for due, signum in self._due)

    def send(self, signum: signal.Signals) -> None:
        """Send a signal to the main process; SIGKILL as part of a stop goes to its whole group."""
        with suppress(ProcessLookupError):
            if self.asked and signum == signal.SIGKILL:
                os.killpg(self.pid, signum)
            else:
                self._process.send_signal(signum)

    def kill(self) -> Exit:
        """End its whole process group now and return how the main process ended."""
        self.asked = True
        self.send(signal.SIGKILL)
        return Exit.of(self._process.wait())

    def close(self) -> None:
        """Take the last output in and let go of the pipe. Only after the exit."""
        if self._output >= 0:
            self._forward()
        if self._output >= 0:
            self._let_go()

    def _forward(self) -> None:
        with suppress(BlockingIOError):
            while chunk := os.read(self._output, _PIPE_BYTES):
                self._keep(chunk)
            self._let_go()

    def _let_go(self) -> None:
        self._selector.unregister(self._output)
        os.close(self._output)
        self._output = -1

    def _keep(self, chunk: bytes) -> None:
        with suppress(OSError):  # nobody reads our stderr any more: Celery goes on
            sys.stderr.buffer.write(chunk)
            sys.stderr.buffer.flush()
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        self._lines.extend(line.decode(errors="replace") for line in lines if line.strip())
