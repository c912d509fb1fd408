"""A Python module that runs as a process of ours: started, started again if killed, stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Final

import psutil

from poolproof.infra.interruption import uninterrupted
from poolproof_workers.errors import (
    DISK,
    OK,
    REDIS,
    USAGE,
    WORKER,
    DiskError,
    PoolproofError,
    RedisUnreachable,
    UsageError,
    WorkerError,
)
from poolproof_workers.supervisor.leash import leashed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

#: A child that was killed is started again so many times.
_RESTARTS: Final = 3
_TAIL_BYTES: Final = 8_192
_KEPT_BYTES: Final = 1 << 20
_GONE_S: Final = 5.0
_ERRORS: Final[Mapping[int, type[PoolproofError]]] = {
    USAGE: UsageError,
    REDIS: RedisUnreachable,
    WORKER: WorkerError,
    DISK: DiskError,
}


class Child:
    """`poolproof WORDS` in a session of its own, that never outlives us. From the main thread only.

    Whoever makes one is `uninterrupted` until there is somebody who will end it.

    `module` is another one to run as a programme.

    What it printed, at most its last megabyte, is in the file `log` once it has ended, if its
    folder is there or can be made. `python` is the interpreter that runs it; `may_end` is an exit
    code that is no failure.
    """

    def __init__(  # noqa: PLR0913  each is a plain fact about a process
        self,
        name: str,
        words: Sequence[str],
        env: Mapping[str, str],
        log: Path | None = None,
        python: str = sys.executable,
        *,
        may_end: int | None = None,
        module: str = "poolproof",
    ) -> None:
        self.name = name
        self._module = module
        self._may_end = may_end
        self._words = tuple(words)
        self._env = dict(env)
        self._python = python
        self._printed: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  open until its end
        self._log = log
        self._restarts = 0
        self._over = False
        self._process = self._launch()

    @property
    def pid(self) -> int:
        """Pid of the process that runs now, or ran last."""
        return self._process.pid

    @property
    def over(self) -> bool:
        """Whether it has ended in order, as far as `check` knows."""
        return self._over

    def check(self) -> None:
        """Start it again if it was killed. Call it often.

        Raises the error that made it give up, or WorkerError if it dies again and again.
        """
        if self._over or (code := self._process.poll()) is None:
            return
        if code in {OK, self._may_end}:
            self._over = True
        elif code in _ERRORS:
            raise _ERRORS[code](self.last_line())
        elif self._restarts >= _RESTARTS:
            raise WorkerError(
                f"{self.name} ended with {code} for the {self._restarts + 1}th time: "
                f"{self.last_line()}"
            )
        else:
            self._restarts += 1
            with uninterrupted():
                self._process = self._launch()

    def ask_to_stop(self) -> None:
        """Send SIGTERM; it is not started again."""
        self._over = True
        self._process.send_signal(signal.SIGTERM)

    def end(self, deadline_s: float) -> None:
        """Wait until it has ended, and kill it at the deadline."""
        self._over = True
        try:
            self._process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            below = _descendants(self._process.pid)
            self._process.kill()
            self._process.wait()
            # They die with it, a moment later: until then they write to a Redis that is swept next.
            psutil.wait_procs(below, _GONE_S)
        if self._log and (printed := self._last(_KEPT_BYTES)):
            with suppress(OSError):  # a full disk must not keep anything from being stopped
                self._log.parent.mkdir(exist_ok=True)
                self._log.write_bytes(printed)
        self._printed.close()

    def last_line(self) -> str:
        """Return the last line that it printed."""
        lines = self._last(_TAIL_BYTES).decode(errors="replace").strip().splitlines()
        return lines[-1].removeprefix("poolproof: ") if lines else "it said nothing."

    def _last(self, count: int) -> bytes:
        size = os.fstat(self._printed.fileno()).st_size
        return os.pread(self._printed.fileno(), count, max(0, size - count))

    def _launch(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            leashed([self._python, "-m", self._module, *self._words]),
            env=os.environ | self._env,
            stdin=subprocess.DEVNULL,
            stdout=self._printed,
            stderr=self._printed,
            # Ctrl-C is for us: we stop them in order.
            start_new_session=True,
        )


def _descendants(pid: int) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return psutil.Process(pid).children(recursive=True)
    return []
