"""A run on this machine alone: Redis, collector and workers are ours, and end with us."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from poolproof.infra.broker import Broker
from poolproof.infra.child import Child
from poolproof.infra.connection import connect, swept
from poolproof.infra.environments import Environments
from poolproof.infra.http_server import HttpServer
from poolproof.infra.interruption import uninterrupted
from poolproof.infra.machine import command, versions
from poolproof.infra.proxy import Proxy
from poolproof.infra.redis_server import RedisServer
from poolproof.infra.scratch import Scratch
from poolproof.infra.workers import LocalFleet
from poolproof.produce.host_resources import MeasuredResources
from poolproof.produce.plan import Run
from poolproof.produce.producer import Producer
from poolproof.runner.session import PATIENCE_S, Session
from poolproof.runner.side import Side
from poolproof_workers.app import make_app
from poolproof_workers.contract import DEFAULT_NAMESPACE, Keys
from poolproof_workers.errors import BrokerError, DiskError, PoolproofError
from poolproof_workers.settings import Settings
from poolproof_workers.supervisor import host
from poolproof_workers.supervisor.ring_folder import require_ours

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from poolproof.infra.sides import SideSpec
    from poolproof.runner.listener import Listener

_COLLECTOR_DEADLINE_S = 10.0


class Playable(Protocol):
    """What can be played on a session: a comparison, a crash."""

    def play(self, session: Session) -> None:
        """Play it; the run has begun, and is ended by the caller."""

    def to_json(self) -> dict[str, Any]:
        """Return it as the history keeps it."""


@dataclass(frozen=True, slots=True)
class LocalEnvironment:
    """What a run on this machine needs to know."""

    sides: Mapping[str, SideSpec]  #: by label
    out: Path  #: gets a folder for the run
    redis_url: str | None = None  #: None: an embedded server
    events: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)  #: `POOLPROOF_*` of the workers
    grace_s: float = 10.0  #: for tasks that still run when the run is over
    server: RedisServer | None = None  #: an embedded one that is there already, and stays
    proxied: bool = False  #: a proxy of ours stands between each Celery worker and Redis
    workers: int = 1  #: of each side, on the same queue

    def play(self, experiment: Playable, listener: Listener, run: Run | None = None) -> Path:
        """Play an experiment from beginning to end; return the run's folder.

        `run` is for a caller who must know its id whatever happens.

        Whatever happens, no process and no key of the run is left. Raises a PoolproofError, or
        KeyboardInterrupt; what was recorded until then is in the folder.
        """
        run = run or Run.new()
        require_writable(self.out)
        with self._session(run, listener) as session:
            facts = {
                "plan": experiment.to_json(),
                "machine": host.machine(),
                "versions": versions(session.redis),
                "command": command(),
                "namespace": session.keys.namespace,
            }
            try:
                session.begin(**facts)
                experiment.play(session)
            except BrokerError:
                raise
            except BaseException as error:
                # That is told, also if the books cannot be closed any more.
                with suppress(PoolproofError):
                    session.end(_reason(error))
                raise
            if not session.end():
                raise DiskError(f"the collector did not close the run {run.id} in time.")
        return self.out / run.id

    @contextmanager
    def _session(self, run: Run, listener: Listener) -> Iterator[Session]:
        with ExitStack() as stack:
            server = self.server
            if server is None and self.redis_url is None:
                server = stack.enter_context(RedisServer.start())
            url = server.url if server else str(self.redis_url)
            redis = stack.enter_context(connect(url))
            # A namespace a run: on somebody's Redis two comparisons may run at the same time.
            keys = Keys(f"{DEFAULT_NAMESPACE}-{run.tag:08x}")
            stack.enter_context(swept(url, keys))
            rings = stack.enter_context(_ring_folder())
            workers = list(self._workers(url, keys, rings))
            pythons = self._pythons(workers, listener)
            # Those that send to the workers do not go through the proxies.
            apps = {each.side: make_app(each) for each in workers}
            proxies = {}
            if self.proxied:
                proxies = {each.name: stack.enter_context(Proxy(url)) for each in workers}
                workers = [replace(each, broker_url=proxies[each.name].url) for each in workers]
            with uninterrupted():
                collector = _collector(url, keys, self.out)
                stack.callback(collector.end, _COLLECTOR_DEADLINE_S)
                stack.callback(collector.ask_to_stop)
            temporary = stack.enter_context(Scratch.make()).path
            http = stack.enter_context(HttpServer())
            fleet = stack.enter_context(
                LocalFleet(
                    workers,
                    grace_s=self.grace_s,
                    logs=self.out / run.id / "workers",
                    temporary=temporary,
                    pythons=pythons,
                )
            )

            def health() -> None:
                if server:
                    server.check()
                collector.check()
                fleet.check()
                http.check()

            yield Session(
                redis=redis,
                keys=keys,
                run=run,
                producer=Producer(
                    *(redis, keys, apps[workers[0].side], run.tag),
                    apps=apps,
                    patience_s=PATIENCE_S,
                    health=health,
                ),
                sides=_sides(workers, self.sides),
                listener=listener,
                health=health,
                means=MeasuredResources(http.url),
                broker=Broker(redis, server, proxies),
            )

    def _pythons(self, workers: list[Settings], listener: Listener) -> dict[str, str]:
        """Return the interpreters of the workers whose sides have requirements of their own."""
        found = {}
        for worker in workers:
            side = self.sides[worker.side]
            if side.requirements:
                listener.phase(f"an environment with {', '.join(side.requirements)}")
                environments = Environments.of_user()
                found[worker.name] = environments.python(side.requirements, side.pool)
        return found

    def _workers(self, url: str, keys: Keys, rings: Path) -> Iterator[Settings]:
        for label in self.sides:
            for number in range(1, self.workers + 1):
                yield self._worker(label, number, url, keys, rings)

    def _worker(self, label: str, number: int, url: str, keys: Keys, rings: Path) -> Settings:
        name = label.replace(":", "-") + (f"-{number}" if self.workers > 1 else "")
        environ = {
            **os.environ,
            **self.settings,
            "POOLPROOF_EVENTS": str(int(self.events)),
            **self.sides[label].settings,
            "POOLPROOF_POOL": self.sides[label].spec.text,
            "POOLPROOF_SIDE": label,
            "POOLPROOF_NAME": f"{name}@{socket.gethostname()}",
            "POOLPROOF_REDIS_URL": url,
            "POOLPROOF_NAMESPACE": keys.namespace,
            "POOLPROOF_RINGS": str(rings),
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
        require_ours(parent)
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


def _sides(workers: list[Settings], specs: Mapping[str, SideSpec]) -> tuple[Side, ...]:
    sides: dict[str, list[Settings]] = {}
    for worker in workers:
        sides.setdefault(worker.side, []).append(worker)
    return tuple(
        Side(
            label,
            mine[0].pool.text,
            sum(each.pool.concurrency for each in mine),
            tuple(each.name for each in mine),
            specs[label].settings,
            mine[0].restart_delay_s is not None,
        )
        for label, mine in sides.items()
    )


def _collector(url: str, keys: Keys, runs: Path) -> Child:
    # The URL may hold a password: not on the command line, which every user can read.
    env = {"POOLPROOF_REDIS_URL": url, "POOLPROOF_NAMESPACE": keys.namespace}
    return Child("the collector", ["collect", "--runs", str(runs), "--no-judge"], env)


def require_writable(folder: Path) -> None:
    """Make a folder that is not there yet. Raises DiskError if nothing can be written in it."""
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
