"""The collector: the history stream into the run's folder, and the run's progress back to Redis."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from redis.exceptions import RedisError

from poolproof.collect import broker
from poolproof.collect.celery_inspect import Beliefs, NoBeliefs
from poolproof.collect.closing import Closing, redelivery
from poolproof.collect.lock import Lease
from poolproof.collect.progress import progress
from poolproof.history.file import FILE_NAME
from poolproof.history.form import is_run, well_formed
from poolproof.history.recording import Recording
from poolproof_workers.connection import persevere
from poolproof_workers.contract import Entry, parsed
from poolproof_workers.errors import DiskError
from poolproof_workers.supervisor import host
from poolproof_workers.supervisor.clock import offset_to_redis

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from redis import Redis

    from poolproof.history.ledger import Ledger
    from poolproof_workers.contract import Keys

_T = TypeVar("_T")

_BLOCK_MS: Final = 50
_ENTRIES_AT_ONCE: Final = 256
_PROGRESS_S: Final = 0.02
#: How often we say what we cost.
_COST_S: Final = 1.0
#: How often we say how our clock stands to that of Redis.
_CLOCK_S: Final = 30.0
#: How long Redis may be away before we give up.
_PATIENCE_S: Final = 30.0
#: A poison task that is redelivered again and again must not have us read the broker all the time.
_LOOK_AGAIN_S: Final = 0.5


class Collector:
    """Keeps the history of runs.

    What it has confirmed survives its own death: a collector that starts goes on where an earlier
    one stopped. Only one may work on a namespace at a time.
    """

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        runs: Path,
        beliefs: Beliefs | None = None,
        *,
        judges: bool = False,
    ) -> None:
        """Collect into folders under `runs`; `beliefs` asks Celery at the end (default: nobody).

        `judges`: whoever calls `run` judges each run that is closed, and will say so.
        """
        self._judges = {"judges": True} if judges else {}
        self._redis = redis
        self._keys = keys
        self._runs = runs
        self._lease = Lease(redis, keys, runs)
        self._beliefs = beliefs or NoBeliefs()
        self._recording: Recording | None = None
        self._closing: Closing | None = None
        self._last_id = "0-0"
        self._saved: dict[str, int] = {}
        self._ledger: Ledger | None = None
        self._told = ""
        self._tell_at = 0.0
        self._cost_at = 0.0
        self._clock_at = 0.0
        self._look_at = 0.0

    @property
    def ledger(self) -> Ledger | None:
        """The ledger of the run in progress, as far as it is taken; also the last one's."""
        return self._ledger

    def run(
        self, *, until_closed: bool = False, stop: Callable[[], bool] = lambda: False
    ) -> Path | None:
        """Collect until `stop`; with `until_closed` return the folder of the first closed run.

        Raises BrokerError if Redis stays away, DiskError if a folder cannot be written, and Held if
        another collector works on the namespace.
        """
        self._persevere(self._lease.take)
        try:
            folder = self._persevere(self._resume)
            while not (folder and until_closed) and not stop():
                folder = self._persevere(self._turn)
            return folder if until_closed else None
        finally:
            self._let_go()
            with suppress(RedisError):
                self._lease.give_up()

    def _persevere(self, action: Callable[[], _T]) -> _T:
        """Do `action`, again if Redis went away and came back."""
        return persevere(action, _PATIENCE_S, again=self._start_over)

    def _start_over(self) -> None:
        # It may have come back with an empty memory: read from its beginning, say again what is
        # saved. Who reads the stream twice drops what it has.
        self._last_id = "0-0"
        self._told = ""
        if self._recording:
            self._saved |= self._recording.ledger.sequences
            # Nor does it know which run is on, without which nobody ships anything.
            self._redis.set(self._keys.run, self._recording.run, nx=True)

    def _resume(self) -> Path | None:
        """Go on with the run of an earlier collector; return its folder if it is closed already."""
        last = parsed(self._redis.get(self._keys.progress))
        if last.get("closed", True) or not is_run(last.get("run")):
            return None
        folder = self._runs / last["run"]
        if not (folder / FILE_NAME).exists():
            # To take what comes of it as of no run would be to delete it.
            raise DiskError(
                f"The run {folder.name} is not closed, and {self._runs} has no history of it: give"
                f" --runs the folder that it is in, or give the run up: DEL {self._keys.progress}."
            )
        recording = self._record(folder)
        self._last_id = recording.last_id
        self._saved = dict(recording.ledger.sequences)
        return self._finish() if recording.closed else None

    def _turn(self) -> Path | None:
        """Take what is new; return a run's folder when that run was closed."""
        self._lease.renew()
        for identifier, entry in self._read():
            self._take(identifier, entry)
            self._last_id = identifier
        self._set_clock()
        self._look()
        self._weigh()
        self._close()
        self._confirm()
        self._tell()
        return self._finish() if self._recording and self._recording.closed else None

    def _finish(self) -> Path | None:
        folder = self._recording.folder if self._recording else None
        self._tell(now=True)
        self._let_go()
        return folder

    def _read(self) -> list[tuple[str, Entry | None]]:
        stream = self._keys.history
        reply: Any = self._redis.xread({stream: self._last_id}, _ENTRIES_AT_ONCE, _BLOCK_MS)
        if not reply:
            return []
        entries = reply[0][1] if isinstance(reply, list) else next(iter(reply.values()))[0]
        return [(identifier.decode(), _ours(fields)) for identifier, fields in entries]

    def _take(self, identifier: str, entry: Entry | None) -> None:
        if entry is None:
            if self._recording:
                self._recording.add("foreign", entry=identifier)
            return
        if entry.kind == "op" and entry.op["op"] == "run-begin":
            self._begin(entry.op["run"])
        if self._recording is None:
            # Of no run: confirmed, so that who sent it may forget it, and dropped.
            last = entry.sequence + entry.count - 1
            self._saved[entry.source] = max(last, self._saved.get(entry.source, 0))
        else:
            self._recording.take(identifier, entry)

    def _begin(self, run: str) -> None:
        if self._recording and self._recording.run == run:
            return
        self._let_go()
        self._record(self._runs / run)

    def _record(self, folder: Path) -> Recording:
        recording = self._recording = Recording(folder)
        self._told = ""
        self._ledger = recording.ledger
        self._clock_at = 0.0
        return recording

    def _set_clock(self) -> None:
        """Write down how our clock stands to that of Redis: nobody else may be on our host."""
        recording, now = self._recording, time.monotonic()
        if recording is None or recording.closed or now < self._clock_at:
            return
        offset = offset_to_redis(self._redis)
        if not self._clock_at:
            recording.add("host", host=host.name(), machine=host.machine())
        self._clock_at = now + _CLOCK_S
        recording.add("clock", offset_ns=offset.offset_ns, error_ns=offset.error_ns)

    def _look(self) -> None:
        """Write down what the broker holds, if something happened that makes it worth knowing."""
        recording, now = self._recording, time.monotonic()
        if recording is None or not recording.looks or now < self._look_at:
            return
        self._look_at = now + _LOOK_AGAIN_S
        for side, reason in recording.looks.items():
            holding = broker.look(self._redis, self._keys, side, recording.ledger.tag or 0)
            timing = redelivery(recording, side)
            recording.add("broker", side=side, reason=reason, **timing, **holding.fields())
        recording.looks.clear()

    def _weigh(self) -> None:
        """Write down what the collector itself has cost: it is on the machine that is measured."""
        recording, now = self._recording, time.monotonic()
        if recording is None or self._closing or (now < self._cost_at and not recording.ending):
            return
        self._cost_at = now + _COST_S
        recording.add("cost", cpu_s=round(time.process_time(), 6))

    def _close(self) -> None:
        recording = self._recording
        if recording is None or recording.ending is None:
            return
        if self._closing is None:
            self._closing = Closing(self._redis, self._keys, recording, self._beliefs)
        else:
            self._closing.step()

    def _confirm(self) -> None:
        """First the disk, then the acknowledgement, then the stream may forget it."""
        if self._recording:
            self._saved |= self._recording.save()
            if not self._told:
                # Once the stream forgot how a run began, a successor learns of it by this only.
                self._tell(now=True)
        if not self._saved:
            return
        pipe = self._redis.pipeline(transaction=False)
        pipe.hset(self._keys.saved, mapping=self._saved)  # type: ignore[arg-type]
        if self._last_id != "0-0":
            milliseconds, _, count = self._last_id.partition("-")
            pipe.xtrim(self._keys.history, minid=f"{milliseconds}-{int(count) + 1}")
        pipe.execute()
        self._saved = {}

    def _tell(self, *, now: bool = False) -> None:
        if self._recording is None or (time.monotonic() < self._tell_at and not now):
            return
        self._tell_at = time.monotonic() + _PROGRESS_S
        news = progress(self._recording) | self._judges
        text = json.dumps(news, separators=(",", ":"))
        if text != self._told:
            self._redis.set(self._keys.progress, text)
            self._told = text

    def _let_go(self) -> None:
        if self._recording:
            self._recording.save()
            self._recording.close()
        self._recording = self._closing = None


def _ours(fields: dict[bytes, bytes]) -> Entry | None:
    """Return an entry of the stream; None for what a history may not hold, whoever wrote it."""
    try:
        entry = Entry.from_fields(fields)
    except (KeyError, ValueError):
        return None
    return entry if well_formed(entry) else None
