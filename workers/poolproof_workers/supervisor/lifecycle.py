"""The lives of one Celery worker: it starts, is ready, ends, and starts again by policy."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final

from poolproof_workers.errors import DISK, USAGE, DiskError, WorkerError
from poolproof_workers.supervisor.celery_process import CeleryProcess, Exit, command

if TYPE_CHECKING:
    import selectors

    from poolproof_workers.settings import Settings
    from poolproof_workers.supervisor.outbox import Outbox
    from poolproof_workers.supervisor.ring_folder import RingFolder

#: After so many lives in a row that ended before the worker was ready there is no next one.
_STILLBORN_LIMIT: Final = 3


class Lifecycle:
    """Runs Celery again and again by the policy of its settings, and writes an op at each turn.

    Call `turn` often. It raises WorkerError or DiskError if the worker cannot go on.
    """

    def __init__(
        self,
        settings: Settings,
        folder: RingFolder,
        outbox: Outbox,
        selector: selectors.BaseSelector,
    ) -> None:
        self.settings = settings
        self.celery: CeleryProcess | None = None
        self.ready = False
        self.struck = False  #: a fault was done to this life: its end says nothing of the worker
        self.over = False  #: stopped, or ended well and not to be restarted
        self._folder = folder
        self._outbox = outbox
        self._selector = selector
        self._coming = settings
        self._start_at: float | None = time.monotonic()
        self._stopping = False
        self._mingles = True
        self._stillborn = 0

    @property
    def pid(self) -> int | None:
        """Pid of Celery's main process, None if there is none."""
        return self.celery.pid if self.celery else None

    @property
    def number(self) -> int:
        """Number of the life that runs, or of the one that comes next."""
        return self._folder.state.life + (0 if self.celery else 1)

    def turn(self) -> None:
        """Do what is due: start, notice that it is ready, stop, notice the end."""
        if self._start_at is not None and time.monotonic() >= self._start_at:
            self._start()
        if self.celery is None:
            return
        self.celery.press()
        ended = self.celery.exit()
        self.note_ready()
        if ended:
            self._end(self.celery, ended)

    def note_ready(self) -> None:
        """Notice that it is ready, if it said so: it takes nothing before."""
        if self.celery and not self.ready and self._folder.take_ready(self.celery.pid):
            self.ready = True
            self._stillborn = 0
            self._outbox.add("worker-ready", life=self.number, pid=self.celery.pid)

    def stop(self, grace_s: float) -> None:
        """Stop for good. A second call goes on to the next, harder step at once."""
        self._start_at = None
        if self.celery is None:
            self.over = True
        elif self._stopping:
            self.celery.hurry()
        else:
            self.celery.stop(grace_s)
        self._stopping = True

    def restart(self, settings: Settings, grace_s: float, *, at_once: bool = False) -> None:
        """Stop warmly, and start with other settings.

        `at_once` is for one that is idle: it is killed, and the next life does not mingle.
        """
        if self._stopping:
            return
        self._coming = settings
        self._mingles = not at_once
        if self.celery is None:
            self._start_at = time.monotonic()
        elif at_once:
            self._end(self.celery, self.celery.kill())
        else:
            self.celery.stop(grace_s)

    def kill(self) -> None:
        """End it now, if it runs."""
        self._stopping = True
        if self.celery:
            self._end(self.celery, self.celery.kill())

    def _start(self) -> None:
        self._start_at = None
        self.settings = self._coming
        self._folder.require_room(self.settings.pool)
        words = command(self.settings, mingles=self._mingles)
        self._mingles = True
        # Before it can open a ring: what is older belongs to an earlier life.
        began_ns = time.monotonic_ns()
        self.celery = CeleryProcess(words, os.environ | self.settings.to_env(), self._selector)
        self.ready = self.struck = False
        self._folder.state.life += 1
        self._folder.state.pid = self.celery.pid
        self._folder.save_state()
        self._outbox.add(
            "worker-up",
            t_ns=began_ns,
            side=self.settings.side,
            life=self.number,
            pid=self.celery.pid,
            command=words,
            settings=public(self.settings),
        )

    def _end(self, celery: CeleryProcess, ended: Exit) -> None:
        celery.close()
        self._outbox.add(
            "worker-exit",
            life=self.number,
            pid=celery.pid,
            code=ended.code,
            signal=ended.signal,
            asked=celery.asked,
            stop_s=celery.stopping_s,
            stderr=celery.tail,
        )
        self.celery = None
        self._folder.state.pid = None
        self._folder.save_state()
        if self._stopping:
            self.over = True
        elif celery.asked:
            self._restart_in(0.0)
        else:
            self._decide(celery, ended)

    def _decide(self, celery: CeleryProcess, ended: Exit) -> None:
        if not (self.ready or self.struck):
            self._give_up_on_stillborn(celery, ended)
        if self.settings.restart_delay_s is not None:
            self._restart_in(self.settings.restart_delay_s)
        elif ended.code == 0:
            self.over = True
        else:
            raise WorkerError(
                f"Celery of {self.settings.name} ended {ended} and is not to be restarted"
                " (POOLPROOF_RESTART_DELAY_S)."
            )

    def _give_up_on_stillborn(self, celery: CeleryProcess, ended: Exit) -> None:
        last = celery.tail[-1] if celery.tail else "It printed nothing."
        if ended.code == DISK:
            raise DiskError(last)
        self._stillborn += 1
        if ended.code == USAGE or self._stillborn >= _STILLBORN_LIMIT:
            raise WorkerError(
                f"Celery of {self.settings.name} ended {ended} before it was ready: {last}"
            )

    def _restart_in(self, delay_s: float) -> None:
        self._start_at = time.monotonic() + delay_s
        self._outbox.add("worker-restart", life=self.number, delay_s=delay_s, by="supervisor")


def public(settings: Settings) -> dict[str, Any]:
    """Return the settings as variables, without those that may hold a password."""
    return {name: value for name, value in settings.to_env().items() if not name.endswith("_URL")}
