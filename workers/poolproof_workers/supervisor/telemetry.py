"""What a supervisor tells the history of its worker: rings, processes, costs, the clock."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import psutil

from poolproof_workers.redelivery import sweep_s
from poolproof_workers.supervisor import host
from poolproof_workers.supervisor.celery_process import command
from poolproof_workers.supervisor.lifecycle import public
from poolproof_workers.supervisor.sampler import Sampler
from poolproof_workers.supervisor.samples import tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from poolproof_workers.settings import Settings
    from poolproof_workers.supervisor.clock import Offset
    from poolproof_workers.supervisor.lifecycle import Lifecycle
    from poolproof_workers.supervisor.liveness import Liveness
    from poolproof_workers.supervisor.outbox import Outbox
    from poolproof_workers.supervisor.ring_cursor import RingCursor
    from poolproof_workers.supervisor.ring_folder import RingFolder
    from poolproof_workers.supervisor.shipper import Shipper

_CLOCK_EVERY_S: Final = 10.0
_STEPS_S: Final = 1.0


class Telemetry:
    """Joins each new run with a `hello`, ships rings and ops in it, and flushes when asked.

    `run` is the run that it joined last, `on` whether Redis still names that one. While it names
    none nothing is shipped, and nothing forgotten: a Redis that lost its data may learn it again.
    """

    def __init__(
        self,
        folder: RingFolder,
        outbox: Outbox,
        shipper: Shipper,
        lives: Lifecycle,
        liveness: Liveness,
    ) -> None:
        self.run: str | None = None
        self.on = False
        self._folder = folder
        self._outbox = outbox
        self._shipper = shipper
        self._lives = lives
        self._liveness = liveness
        #: Whether what an earlier run had ordered of the worker is undone.
        self.may_join: Callable[[], bool] = lambda: True
        self._sampler = Sampler()
        self._greeted: Settings | None = None
        self._flushed: str | None = None
        self._orders: list[dict[str, Any]] = []  # that came, and were not handed on yet
        self._written: dict[str, int] = {}  # ring -> records; also of rings that were deleted
        self._heard = self._told = 0  # records: at the last look, and when it last talked
        self._clock_due = 0.0
        self._left_life, self._left_pid = folder.state.life, folder.state.pid
        self._came_ns = time.monotonic_ns()
        for tape in self._folder.scan():
            tape.skip_lost()
            if _opened_by(tape):
                self._liveness.watch(tape.pid)
                _end_orphan(tape.pid)
            else:
                tape.gone = True

    @property
    def tapes(self) -> list[RingCursor]:
        """The rings that are still of use."""
        return list(self._folder.tapes.values())

    def take_in_rings(self) -> list[RingCursor]:
        """Find the rings that have appeared, and watch their processes."""
        found = self._folder.scan()
        for tape in found:
            self._liveness.watch(tape.pid)
        return found

    def notice_ended(self) -> None:
        """Write down which processes have ended."""
        ended = self._liveness.ended()
        for tape in self.tapes:
            if tape.pid in ended and not tape.gone:
                tape.gone = True
                self._tell_gone(tape)

    def came_to_rest(self) -> bool:
        """Look whether the worker has done something, and nothing any more since the last look.

        That is told once: only news are worth talking about before it is time to.
        """
        if not self.on:
            return False
        tapes = self.tapes
        for tape in tapes:
            tape.look()
        before, self._heard = self._heard, sum(tape.seen for tape in tapes)
        if self._heard != before or self._heard == self._told:
            return False
        return self.is_idle()

    def is_idle(self) -> bool:
        """Tell whether, by the last record of each ring, no task runs."""
        return not any(tape.runs_task() for tape in self.tapes)

    def talk(self) -> list[dict[str, Any]] | None:
        """Ship what there is and return the orders that came; None if Redis is away.

        Redis has them no more: those that come before a run can be joined wait until it is.
        """
        news = self._shipper.exchange(self.run, self.tapes)
        self._told = sum(tape.seen for tape in self.tapes)
        if news is None:
            return None
        self._orders += news.orders
        if news.run not in {None, self.run} and not self._join(str(news.run)):
            self.on = False
            return []
        self.on = news.run is not None
        if self.on and news.flush is not None and news.flush != self._flushed:
            self.flush(news.flush)
        self._discard_what_is_saved()
        orders, self._orders = self._orders, []
        return orders

    def observe(self) -> None:
        """Write down what is due of samples, clock, and changes of the worker's settings."""
        if not self.on:
            return
        if self._lives.settings != self._greeted:
            self._greet()
        if time.monotonic() >= self._clock_due and (offset := self._shipper.offset()):
            self._tell_clock(offset)
        self._sample()

    def tell_effort(self) -> None:
        """Write down what the worker has done so far."""
        if self.on and (fields := self._sampler.effort(self._lives.pid)):
            self._outbox.add("effort", **fields)

    def tell_sample(self) -> None:
        """Write down what the worker holds now, beside what it has done."""
        if self.on and (fields := self._sampler.take(self._lives.pid, self.tapes, now=True)):
            self._outbox.add("sample", **fields)

    def is_all_saved(self) -> bool:
        """Tell whether nobody waits for anything more of what was recorded."""
        if self._folder.state.run is None:
            return True
        if self.run is not None and self._shipper.is_closed(self.run):
            return True
        # A Redis that names no run may have forgotten it: then a successor ships what is left.
        return self.on and all(t.finished() for t in self.tapes) and not self._outbox.unsent()

    def all_gone(self) -> bool:
        """Tell whether no process of the worker is left that could record."""
        return all(tape.gone for tape in self.tapes)

    def flush(self, token: str | None) -> None:
        """Announce how much was recorded: the answer to a token; None as the last word of all."""
        main = self._lives.pid
        self._flushed = token or self._flushed
        # Whoever reads this may rely on it that a worker which is not ready has taken nothing yet.
        self._lives.note_ready()
        # Records go ahead of ops, so whoever reads this has all that is announced here.
        for tape in self.tapes:
            tape.look()
        self._outbox.add(
            "flushed",
            token=token,
            rings=self._written | {tape.name: tape.seen for tape in self.tapes},
            alive=[] if main is None else [process.pid for process in tree(main)],
            pid=main,
        )

    def forget(self) -> None:
        """Delete all rings: nobody waits for them."""
        for tape in self.tapes:
            self._folder.discard(tape)

    # --- a run ------------------------------------------------------------------------------------

    def _join(self, run: str) -> bool:
        """Join a run if we may; not without Redis's clock, by which others read our times."""
        if self.run is not None and not self.may_join():
            return False
        offset = self._shipper.offset()
        if offset is None:
            return False
        state = self._folder.state
        resumed = self.run is None and state.run == run
        self._outbox.begin_run()
        for tape in self.tapes:
            if resumed:
                tape.resume_run(state.bases.get(tape.name, 0))
            else:
                tape.begin_run()
        self.run = state.run = run
        state.bases = {tape.name: tape.base for tape in self.tapes}
        self._folder.save_state()
        self._written.clear()
        self._tell_clock(offset)
        self._greet()
        if resumed:
            self._tell_what_happened_unseen()
        return True

    def _greet(self) -> None:
        settings = self._greeted = self._lives.settings
        self._outbox.add(
            "hello",
            side=settings.side,
            pool=settings.pool.text,
            concurrency=settings.pool.concurrency,
            host=host.name(),
            machine=host.machine(),
            life=self._lives.number,
            # Whoever waits for workers takes a pid for one that is ready.
            pid=self._lives.pid if self._lives.ready else None,
            settings=public(settings),
            command=command(settings),
            versions=host.versions(settings.pool.pool.needs),
            rings=self._folder.state.bases,
            restart_delay_s=settings.restart_delay_s,
            visibility_timeout_s=settings.visibility_timeout_s,
            sweep_s=sweep_s(settings),
        )

    def _tell_what_happened_unseen(self) -> None:
        """Write down what ended after an earlier supervisor did, before we came."""
        if self._left_pid is not None:
            self._outbox.add(
                "worker-exit",
                t_ns=self._came_ns,
                life=self._left_life,
                pid=self._left_pid,
                code=None,
                signal=None,
                asked=False,
                stderr=[],
            )
        for tape in self.tapes:
            if tape.gone:
                self._tell_gone(tape)

    def _discard_what_is_saved(self) -> None:
        for tape in self.tapes:
            if tape.gone and (tape.finished() or self._folder.state.run is None):
                self._written[tape.name] = tape.seen
                self._folder.discard(tape)

    # --- observations -----------------------------------------------------------------------------

    def _tell_clock(self, offset: Offset) -> None:
        self._clock_due = time.monotonic() + _CLOCK_EVERY_S
        self._outbox.add("clock", offset_ns=offset.offset_ns, error_ns=offset.error_ns)

    def _sample(self) -> None:
        main = self._lives.pid
        fields = self._sampler.take(main, self.tapes)
        if fields is None:
            return
        self._outbox.add("sample", **fields)
        if self._lives.ready:
            children_record = self._lives.settings.pool.pool.may_have_children
            for pid in self._sampler.blind(main, children_record=children_record):
                self._outbox.add("blind", pid=pid, reason="the process has no ring")

    def _tell_gone(self, tape: RingCursor) -> None:
        tape.look()
        self._outbox.add("process-gone", pid=tape.pid, ring=tape.name, written=tape.seen)


def _opened_by(tape: RingCursor) -> bool:
    """Tell whether the process that has a ring's pid may be the one that opened it.

    One that began later is a stranger, who was given the pid when that one was gone.
    """
    age_s = (time.monotonic_ns() - tape.opened_ns) / 1e9
    try:
        began_s = psutil.Process(tape.pid).create_time()
    except psutil.NoSuchProcess:
        return False
    # The clocks have coarse steps. A ring that is not open yet is of before the machine's start.
    return age_s >= 0 and began_s <= time.time() - age_s + _STEPS_S


def _end_orphan(pid: int) -> None:
    """End a worker's process that outlived its supervisor, as it can where nothing prevents it."""
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        process = psutil.Process(pid)
        # The pid may be another's by now.
        if any("poolproof_workers.app" in word for word in process.cmdline()):
            process.kill()
