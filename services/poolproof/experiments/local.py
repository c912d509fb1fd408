"""A run on this machine alone: Redis, collector and workers are ours, and end with us."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from poolproof.experiments.session import Session, Side
from poolproof.fleet.child import Child
from poolproof.fleet.connection import connect, sweep
from poolproof.fleet.machine import machine, versions
from poolproof.fleet.redis_server import RedisServer
from poolproof.fleet.scratch import Scratch
from poolproof.fleet.workers import LocalFleet
from poolproof.produce.plan import Run
from poolproof.produce.producer import Producer
from poolproof_workers.app import make_app
from poolproof_workers.contract import DEFAULT_NAMESPACE, Keys
from poolproof_workers.errors import BrokerError, DiskError
from poolproof_workers.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from poolproof.experiments.session import Listener
    from poolproof_workers.pools import PoolSpec

_COLLECTOR_DEADLINE_S = 10.0


class Playable(Protocol):
    """What can be played on a session: a comparison, a crash."""

    def play(self, session: Session) -> None:
        """Play it; the run has begun, and is ended by the caller."""

    def to_json(self) -> dict[str, Any]:
        """Return it as the history keeps it."""


@dataclass(frozen=True, slots=True)
class Local:
    """What a run on this machine needs to know."""

    sides: Mapping[str, PoolSpec]  #: label -> pool
    out: Path  #: gets a folder for the run
    redis_url: str | None = None  #: None: an embedded server
    events: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)  #: `POOLPROOF_*` of the workers
    grace_s: float = 10.0  #: for tasks that still run when the run is over

    def play(self, experiment: Playable, listener: Listener) -> Path:
        """Play an experiment from beginning to end; return the run's folder.

        Whatever happens, no process and no key of the run is left. Raises a PoolproofError, or
        KeyboardInterrupt; what was recorded until then is in the folder.
        """
        run = Run.new()
        _require_writable(self.out)
        with self._session(run, listener) as session:
            try:
                session.begin(
                    plan=experiment.to_json(),
                    machine=machine(),
                    versions=versions(session.redis),
                    namespace=session.keys.namespace,
                )
                experiment.play(session)
            except BrokerError:
                raise
            except BaseException as error:
                session.end(_reason(error))
                raise
            if not session.end():
                raise DiskError(f"the collector did not close the run {run.id} in time.")
        return self.out / run.id

    @contextmanager
    def _session(self, run: Run, listener: Listener) -> Iterator[Session]:
        with ExitStack() as stack:
            url = self.redis_url or stack.enter_context(RedisServer.start()).url
            redis = stack.enter_context(connect(url))
            # A namespace a run: on somebody's Redis two comparisons may run at the same time.
            keys = Keys(f"{DEFAULT_NAMESPACE}-{run.tag:08x}")
            stack.callback(sweep, url, keys)
            rings = stack.enter_context(_ring_folder())
            workers = {label: self._worker(label, url, keys, rings) for label in self.sides}
            collector = _collector(url, keys, self.out)
            stack.callback(collector.end, _COLLECTOR_DEADLINE_S)
            stack.callback(collector.ask_to_stop)
            temporary = stack.enter_context(Scratch.make()).path
            fleet = stack.enter_context(
                LocalFleet(tuple(workers.values()), grace_s=self.grace_s, temporary=temporary)
            )

            def health() -> None:
                collector.check()
                fleet.check()

            yield Session(
                redis=redis,
                keys=keys,
                run=run,
                producer=Producer(redis, keys, make_app(next(iter(workers.values()))), run.tag),
                sides=tuple(_side(settings) for settings in workers.values()),
                listener=listener,
                health=health,
            )

    def _worker(self, label: str, url: str, keys: Keys, rings: Path) -> Settings:
        environ = {
            **os.environ,
            **self.settings,
            "POOLPROOF_POOL": self.sides[label].text,
            "POOLPROOF_SIDE": label,
            "POOLPROOF_NAME": f"{label.replace(':', '-')}@{socket.gethostname()}",
            "POOLPROOF_REDIS_URL": url,
            "POOLPROOF_NAMESPACE": keys.namespace,
            "POOLPROOF_RINGS": str(rings),
            "POOLPROOF_EVENTS": str(int(self.events)),
            # The workers are ours, and crashing them is what they are for.
            "POOLPROOF_ALLOW_FAULTS": "1",
        }
        return Settings.from_env(environ)


@contextmanager
def _ring_folder() -> Iterator[Path]:
    """Give the run a folder of its own in the folder of rings; what killed runs left goes first."""
    parent = Settings.from_env(os.environ).rings
    try:
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in Scratch.abandoned(parent):
            left.remove()
        scratch = Scratch.make(parent)
    except OSError as error:
        raise DiskError(
            f"The ring folder {parent} cannot be used: {error.strerror}. "
            "Choose another with POOLPROOF_RINGS."
        ) from error
    with scratch:
        yield scratch.path


def _side(settings: Settings) -> Side:
    pool = settings.pool
    return Side(settings.side, pool.text, pool.concurrency, (settings.name,))


def _collector(url: str, keys: Keys, runs: Path) -> Child:
    # The URL may hold a password: not on the command line, which every user can read.
    env = {"POOLPROOF_REDIS_URL": url, "POOLPROOF_NAMESPACE": keys.namespace}
    return Child("the collector", ["collect", "--runs", str(runs)], env)


def _require_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".poolproof-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise DiskError(
            f"cannot write to {folder}: {error.strerror}. Name another folder with --out."
        ) from error


def _reason(error: BaseException) -> str:
    return "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
