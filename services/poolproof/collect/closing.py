"""The end of a run: the last records, what the broker holds and what Celery believes."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from poolproof.collect import broker
from poolproof.history.gaps import holes

if TYPE_CHECKING:
    from redis import Redis

    from poolproof.collect.broker import Holding
    from poolproof.collect.celery_inspect import Belief, Beliefs
    from poolproof.history.recording import Recording
    from poolproof_workers.contract import Keys

#: How long workers have to ship the last of their records.
_FLUSH_S: Final = 10.0
#: How long we wait for tasks to stop moving, once all workers have answered.
_REST_S: Final = 3.0


class Closing:
    """Closes a recording. Call `step` after each turn of the collector until it is closed.

    The broker is read before the workers are asked to ship what they have, and again after: only
    if nothing moved between the two do records and broker fit together (`stable`). Otherwise a task
    that was on its way would look lost.
    """

    def __init__(self, redis: Redis, keys: Keys, recording: Recording, beliefs: Beliefs) -> None:
        self._redis = redis
        self._keys = keys
        self._recording = recording
        self._beliefs = beliefs
        self._deadline = time.monotonic() + _FLUSH_S
        self._rest_deadline: float | None = None
        self._asked: _Asked | None = None
        self._began_again = False
        self._begin()

    def _begin(self) -> None:
        self._before = self._look()
        self._token = secrets.token_hex(8)
        self._redis.set(self._keys.flush, self._token)

    def _look(self) -> dict[str, Holding]:
        ledger = self._recording.ledger
        sides = {worker.side for worker in ledger.roster.workers.values() if worker.side}
        tag = ledger.tag or 0
        return {
            side: broker.look(self._redis, self._keys, side, tag)
            for side in sorted(sides | set(ledger.sides))
        }

    def step(self) -> None:
        """Go on; at last the recording is `closed`."""
        if self._asked:
            self._write_or_begin_again(self._asked)
            return
        now = time.monotonic()
        awaited = self._awaits_records()
        if awaited and now < self._deadline:
            return
        if self._rest_deadline is None:
            self._rest_deadline = now + _REST_S
        after = self._look()
        if not awaited and after != self._before and now < self._rest_deadline:
            self._begin()
            return
        alive = self._alive()
        tag = self._recording.ledger.tag or 0
        self._asked = _Asked(after, self._missing(), alive, self._beliefs.ask(list(alive), tag))

    def _alive(self) -> dict[str, int]:
        """Return worker -> pid of its main process, of those that have one."""
        workers = self._recording.ledger.roster.workers
        return {name: each.pid for name, each in workers.items() if each.pid is not None}

    def _write_or_begin_again(self, asked: _Asked) -> None:
        """Close the books, unless somebody who was asked for seconds turns out to have ended."""
        alive = self._alive()
        silent = [name for name, belief in asked.answers.items() if not belief.answered]
        if self._began_again or all(alive.get(name) == asked.alive[name] for name in silent):
            self._write(asked)
            return
        self._asked, self._began_again = None, True
        self._deadline, self._rest_deadline = time.monotonic() + _FLUSH_S, None
        self._begin()

    def _awaits_records(self) -> bool:
        """Tell whether a supervisor has not answered yet, or not all that it announced is here."""
        ledger = self._recording.ledger
        for worker in ledger.roster.workers.values():
            if worker.flushed is None or worker.flushed["token"] not in {self._token, None}:
                return True
            for name, written in worker.flushed["rings"].items():
                known = max(worker.rings_before.get(name, 0), ledger.sequences.get(name, 0))
                if written > known:
                    return True
        return False

    def _missing(self) -> dict[str, str]:
        """Return worker -> why its recordings are not complete."""
        ledger = self._recording.ledger
        missing = {
            name: f"its supervisor did not answer within {_FLUSH_S:.0f} s"
            for name, worker in ledger.roster.workers.items()
            if worker.flushed is None or worker.flushed["token"] not in {self._token, None}
        }
        for hole in holes(ledger):
            missing.setdefault(hole.worker, hole.why)
        return missing

    def _write(self, asked: _Asked) -> None:
        add = self._recording.add
        for name, belief in asked.answers.items():
            add(
                "celery",
                worker=name,
                answered=belief.answered,
                active=list(belief.active),
                reserved=list(belief.reserved),
            )
        for side, holding in asked.held.items():
            stable = holding == self._before.get(side)
            timing = redelivery(self._recording, side)
            add("broker", side=side, reason="end", stable=stable, **timing, **holding.fields())
        ledger = self._recording.ledger
        said = {
            name: of for name, of in ledger.sequences.items() if name not in ledger.roster.sources
        }
        add("closed", complete=not asked.missing, missing=asked.missing, sources=said)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is to be written, if nobody turns out to have ended while Celery was asked."""

    held: dict[str, Holding]  #: side -> what the broker held before that
    missing: dict[str, str]
    alive: dict[str, int]
    answers: dict[str, Belief]


def redelivery(recording: Recording, side: str) -> dict[str, float | None]:
    """Return the visibility timeout and the sweep of a side's workers.

    Of several workers the shortest of each counts: any of them may restore any message.
    """
    workers = [w for w in recording.ledger.roster.workers.values() if w.side == side]
    timeouts = [w.visibility_timeout_s for w in workers if w.visibility_timeout_s is not None]
    sweeps = [w.sweep_s for w in workers if w.sweep_s is not None]
    return {
        "visibility_timeout_s": min(timeouts, default=None),
        "sweep_s": min(sweeps, default=None),
    }
