"""One process beside each Celery worker, never inside it: runs it and watches it."""

from __future__ import annotations

import logging
import os
import resource
import selectors
import signal
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from poolproof_workers.connection import client, noticing, wait_until_reachable
from poolproof_workers.errors import INTERRUPTED, OK, UsageError
from poolproof_workers.faults import memory_limit
from poolproof_workers.pools import require
from poolproof_workers.redelivery import sweep_s
from poolproof_workers.settings import Settings
from poolproof_workers.supervisor import host, orders
from poolproof_workers.supervisor.clock import boot_id
from poolproof_workers.supervisor.lifecycle import Lifecycle
from poolproof_workers.supervisor.liveness import Liveness
from poolproof_workers.supervisor.outbox import Outbox
from poolproof_workers.supervisor.ring_folder import RingFolder
from poolproof_workers.supervisor.shipper import Shipper
from poolproof_workers.supervisor.signals import Blows
from poolproof_workers.supervisor.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import FrameType

_log: Final = logging.getLogger(__name__)

_TICK_S: Final = 0.1
#: Between two looks whether the worker has come to rest: its last words need not wait for a tick.
_LOOK_S: Final = 0.02
_REGISTER_EVERY_S: Final = 2.0
#: What a collector that is alive needs to save the last records, with room to spare.
_LAST_WORDS_S: Final = 3.0
_EXIT_CODES: Final = {signal.SIGTERM: OK, signal.SIGHUP: OK, signal.SIGINT: INTERRUPTED}


class Supervisor:
    """Runs one Celery worker until it is told to stop. Call `run`, once, from the main thread.

    `grace_s` is how long running tasks may take to end when it stops; `patience_s` how long it
    waits for Redis at the start. Later it waits for ever: it records on, and ships when it can.
    """

    def __init__(
        self, settings: Settings, *, grace_s: float = 10.0, patience_s: float = 3.0
    ) -> None:
        self._settings = settings
        self._grace_s = grace_s
        self._patience_s = patience_s
        self._signals: list[int] = []
        self._exit_code = OK
        self._registration_due = 0.0
        self._told: Settings | None = None  # what the registration has
        self._changes: dict[str, str] = {}  # what the run in progress has ordered so far
        self._is_returning = False  # to the settings that it was started with

    def run(self) -> int:
        """Supervise until SIGTERM, SIGHUP (returns 0), SIGINT (130), an order, or its worker's end.

        Raises RedisUnreachable, DiskError or WorkerError if it cannot begin or cannot go on. What
        was recorded is shipped before it returns or raises, and no process of the worker is left.
        """
        with ExitStack() as stack:
            self._open(stack)
            if self._settings.allow_faults:
                stack.callback(memory_limit.remove_left)
            stack.enter_context(self._signals_taken())
            try:
                self._supervise()
            finally:
                self._lives.kill()
                self._ship_the_rest()
        return self._exit_code

    # --- its own life -----------------------------------------------------------------------------

    def _open(self, stack: ExitStack) -> None:
        settings = self._settings
        # A core dump of each crash under test would take its time, and leave a file.
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        require(settings.pool)
        redis = noticing(client(settings.redis_url))
        stack.callback(redis.close)
        wait_until_reachable(redis, settings.redis_url, self._patience_s)
        folder = RingFolder(settings.ring_folder, settings.name)
        stack.callback(folder.close)
        folder.require_room(settings.pool)
        self._selector = stack.enter_context(selectors.DefaultSelector())
        liveness = Liveness(self._selector)
        stack.callback(liveness.close)
        self._outbox = Outbox(settings.name)
        self._shipper = Shipper(redis, settings.keys, settings.name, self._outbox)
        self._blows = Blows(self._outbox)
        # A successor of a supervisor that was told in this run to change something goes on with it.
        self._changes = self._shipper.ordered() or {}
        try:
            settings = _with(settings, self._changes)
        except UsageError as error:
            _log.warning("%s does not obey: %s", settings.name, error)
            self._changes = {}
        self._lives = Lifecycle(settings, folder, self._outbox, self._selector)
        self._witness = Telemetry(folder, self._outbox, self._shipper, self._lives, liveness)
        self._witness.may_join = self._is_its_own

    def _supervise(self) -> None:
        next_tick = 0.0
        while not self._lives.over:
            self._wait(min(_LOOK_S, next_tick - time.monotonic()))
            self._obey_signals()
            if time.monotonic() >= next_tick or self._witness.came_to_rest():
                next_tick = time.monotonic() + _TICK_S
                self._tick()
            self._lives.turn()
            self._witness.notice_ended()

    def _tick(self) -> None:
        self._witness.take_in_rings()
        for order in self._witness.talk() or ():
            self._obey(order)
        self._blows.end_pauses()
        if time.monotonic() >= self._registration_due or self._told != self._lives.settings:
            self._registration_due = time.monotonic() + _REGISTER_EVERY_S
            self._told = self._lives.settings
            self._shipper.register(self._registration())
        self._witness.observe()

    def _wait(self, timeout_s: float) -> None:
        # Ends early at the death of a process, and when Celery prints something.
        for key, _ in self._selector.select(max(0.0, timeout_s)):
            key.data()

    def _ship_the_rest(self) -> None:
        """Give the collector time to save all; what it has not saved waits for our successor."""
        deadline = time.monotonic() + _LAST_WORDS_S
        self._witness.take_in_rings()
        self._wait(0.0)
        self._witness.notice_ended()
        self._end_what_still_runs()
        last_word = was_lost = False
        while time.monotonic() < deadline:
            if not last_word and self._witness.all_gone():
                last_word = True
                self._witness.flush(None)
            if self._witness.talk() is None:
                if was_lost:
                    break
                was_lost = True  # it may be the connection alone: the next one is new
            elif last_word and self._witness.is_all_saved():
                self._witness.forget()
                break
            self._wait(_TICK_S / 4)
            self._witness.notice_ended()
        self._shipper.unregister()

    def _end_what_still_runs(self) -> None:
        for tape in self._witness.tapes:
            if not tape.gone:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(tape.pid, signal.SIGKILL)

    # --- what it is told --------------------------------------------------------------------------

    @contextmanager
    def _signals_taken(self) -> Iterator[None]:
        is_deaf = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # as nohup has it
        taken = _EXIT_CODES.keys() - ({signal.SIGHUP} if is_deaf else set())
        before = {signum: signal.signal(signum, self._note_signal) for signum in taken}
        try:
            yield
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)

    def _note_signal(self, signum: int, frame: FrameType | None) -> None:
        del frame
        self._signals.append(signum)

    def _obey_signals(self) -> None:
        while self._signals:
            self._exit_code = _EXIT_CODES[signal.Signals(self._signals.pop(0))]
            self._lives.stop(self._grace_s)

    def _obey(self, order: dict[str, Any]) -> None:
        if self._witness.run is None or order.pop("run", None) != self._witness.run:
            _log.warning("%s obeys only the run that it is in.", self._settings.name)
            return
        try:
            match order:
                case {"order": "fault", "fault": str(fault)}:
                    self._lives.struck |= self._blows.deal(
                        fault, self._lives.settings, self._lives.pid, self._witness.tapes
                    )
                case {"order": "effort"}:
                    self._witness.tell_effort()
                case {"order": "sample"}:
                    self._witness.tell_sample()
                case {"order": "restart", **rest}:
                    at_once = rest.get("at_once") is True and self._witness.is_idle()
                    changed = self._changed(rest.get("settings"))
                    self._lives.restart(changed, self._grace_s, at_once=at_once)
                case {"order": "stop"}:
                    self._lives.stop(self._grace_s)
                case _:
                    raise UsageError(f"there is no order {order}.")  # noqa: TRY301
        except UsageError as error:
            _log.warning("%s does not obey: %s", self._settings.name, error)

    def _changed(self, overrides: object) -> Settings:
        changes = orders.checked(overrides)
        settings = _with(self._settings, self._changes | changes)
        self._changes |= changes
        return settings

    def _is_its_own(self) -> bool:
        """Tell whether the worker has the settings that it was started with; if not, see to it.

        A run is over, and with it what it had ordered.
        """
        self._changes = {}
        own = _with(self._settings, {})
        if self._lives.settings == own:
            self._is_returning = False
        elif not self._is_returning:
            self._is_returning = True
            self._lives.restart(own, self._grace_s)
        return not self._is_returning

    def _registration(self) -> dict[str, Any]:
        settings = self._lives.settings
        return {
            "name": settings.name,
            "side": settings.side,
            "pool": settings.pool.text,
            "concurrency": settings.pool.concurrency,
            "policy": settings.policy.value,
            "results": settings.results.value,
            "serializer": settings.serializer.value,
            "events": settings.events,
            "allow_faults": settings.allow_faults,
            "restart_delay_s": settings.restart_delay_s,
            "visibility_timeout_s": settings.visibility_timeout_s,
            "sweep_s": sweep_s(settings),
            "run": self._witness.run,
            "life": self._lives.number,
            "ready": self._lives.ready,
            "celery_pid": self._lives.pid,
            "supervisor_pid": os.getpid(),
            "boot": boot_id(),
            **host.describe(),
        }


def _with(settings: Settings, changes: Mapping[str, str]) -> Settings:
    return Settings.from_env({**settings.to_env(), **changes})
