"""The end of a run: the last records, what the broker holds and what Celery believes."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Final

from poolproof.collect import broker
from poolproof.collect.completeness import holes

if TYPE_CHECKING:
    from redis import Redis

    from poolproof.collect.beliefs import Beliefs
    from poolproof.collect.broker import Holding
    from poolproof.collect.recording import Recording
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
        now = time.monotonic()
        missing = self._missing()
        if missing and now < self._deadline:
            return
        if self._rest_deadline is None:
            self._rest_deadline = now + _REST_S
        after = self._look()
        if not missing and after != self._before and now < self._rest_deadline:
            self._begin()
            return
        self._write(after, missing)

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

    def _write(self, after: dict[str, Holding], missing: dict[str, str]) -> None:
        add = self._recording.add
        roster = self._recording.ledger.roster
        alive = [name for name, worker in roster.workers.items() if worker.pid is not None]
        answers = self._beliefs.ask(alive, self._recording.ledger.tag or 0)
        for name, belief in answers.items():
            add(
                "celery",
                worker=name,
                answered=belief.answered,
                active=list(belief.active),
                reserved=list(belief.reserved),
            )
        for side, holding in after.items():
            stable = holding == self._before.get(side)
            timing = redelivery(self._recording, side)
            add("broker", side=side, reason="end", stable=stable, **timing, **holding.fields())
        add("closed", complete=not missing, missing=missing)


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
