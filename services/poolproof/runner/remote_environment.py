"""A run on workers that are registered in a Redis: those of compose, or of other hosts."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from poolproof.infra.machine import command, versions
from poolproof.infra.workers import registered
from poolproof.produce.plan import Run
from poolproof.produce.producer import Producer
from poolproof.runner.local_environment import Playable
from poolproof.runner.progress import Progress
from poolproof.runner.session import PATIENCE_S, Session
from poolproof.runner.side import Side
from poolproof_workers.app import make_app
from poolproof_workers.contract import parsed
from poolproof_workers.errors import OK, BrokerError, DiskError, PoolproofError, WorkerError
from poolproof_workers.settings import Settings
from poolproof_workers.supervisor import host
from poolproof_workers.workloads.tasks import SQUARE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from celery import Celery
    from redis import Redis

    from poolproof.runner.listener import Listener
    from poolproof_workers.contract import Keys

_POLL_S: Final = 0.2
#: What a collector gets to close a run; and where there seems to be none.
_KEPT_S: Final = 30.0
_UNKEPT_S: Final = 2.0
#: And to judge it, on a machine that others use too.
_JUDGED_S: Final = 300.0
_JUDGED_A_TASK_S: Final = 0.001
#: What a registration says that messages depend on.
_OF_MESSAGES: Final = ("results", "serializer")
#: Between two tasks that are only there to be seen in Flower.
_TRICKLE_S: Final = 0.5


class Comparing(Playable, Protocol):
    """What can be played on registered workers: a comparison."""

    @property
    def crash(self) -> object | None:
        """The crash that it ends with; None if it has none."""

    @property
    def events(self) -> bool:
        """Whether Celery's task events stay on while it is measured."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the collector says of a run that was played."""

    run: str  #: its id
    code: int  #: exit code: OK, or FAILED_CHECK if the run is no valid result
    judged: bool = True  #: False: the collector does not judge


@dataclass(frozen=True, slots=True)
class RemoteEnvironment:
    """The workers that are registered under `keys`, wherever they run."""

    redis: Redis
    keys: Keys
    redis_url: str

    def play(
        self, comparison: Comparing, listener: Listener, workers: int, patience_s: float = 60.0
    ) -> Judgement:
        """Play a comparison on the first `workers` workers that are there; wait until it is judged.

        Unless the comparison wants Celery's task events on, they are off but for a few tasks of
        each workload, which are not counted. Raises a PoolproofError.
        """
        listener.phase(f"waiting for {workers} workers")
        registrations = self._wait(workers, patience_s)
        off = [name for name, each in sorted(registrations.items()) if not each["allow_faults"]]
        if comparison.crash and off:
            listener.phase(f"{' and '.join(off)} will not be crashed: add --allow-faults 1")
        run, app = Run.new(), self.app()
        apps = {each["side"]: self.app(each) for each in registrations.values()}
        session = Session(
            redis=self.redis,
            keys=self.keys,
            run=run,
            producer=Producer(
                self.redis, self.keys, app, run.tag, patience_s=PATIENCE_S, apps=apps
            ),
            sides=_sides(registrations),
            listener=listener,
            health=lambda: None,
            watched=True,
        )
        facts = {
            "plan": comparison.to_json(),
            "machine": host.machine(),
            "versions": versions(self.redis),
            "command": command(),
            "namespace": self.keys.namespace,
        }
        try:
            session.begin(**facts)
            session.switch_events(on=comparison.events)
            comparison.play(session)
        except BrokerError:
            raise
        except BaseException as error:
            # That is told, also if the books cannot be closed any more.
            with suppress(PoolproofError):
                reason = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
                # Where no collector has told of the run, nobody is there to close it.
                kept_s = _UNKEPT_S if session.progress() == Progress() else _KEPT_S
                closed = session.end(reason, kept_s)
                if closed and not isinstance(error, KeyboardInterrupt):
                    self._judgement(session, closed)
            raise
        if not (closed := session.end(deadline_s=_KEPT_S)):
            raise DiskError(
                f"The collector did not say in time that it closed the run {run.id}: see what it "
                "printed, or use `poolproof report` where its folder is."
            )
        return self._judgement(session, closed)

    def _judgement(self, session: Session, closed: Progress) -> Judgement:
        """Wait until the collector has judged and saved a run, if it said at its end that it would.

        Raises DiskError if it could not, or does not say so in time.
        """
        run = session.run.id
        if not closed.judges:
            return Judgement(run, OK, judged=False)
        session.listener.phase("waiting until the collector has judged it")

        def told() -> dict[str, Any]:
            said = parsed(self.redis.get(self.keys.judged))
            return said if said.get("run") == run else {}

        if not session.holds(
            lambda _: bool(told()), _JUDGED_S + _JUDGED_A_TASK_S * closed.enqueued
        ):
            raise DiskError(
                f"the collector did not say in time how the run {run} was judged: see what it "
                "printed, or use `poolproof report` where its folder is."
            )
        if error := told()["error"]:
            raise DiskError(f"The collector could not judge the run {run}. {error}")
        return Judgement(run, told()["code"])

    def trickle(self, stop: Callable[[], bool]) -> None:
        """Send every side a task now and then, with events on, until `stop`: what Flower shows."""
        app = self.app()
        number = 0
        while not stop():
            for side in _sides(registered(self.redis, self.keys)):
                number += 1
                app.send_task(SQUARE, [number, 0.05], queue=side.label)
            # Again and again: a worker that starts anew has them off.
            app.control.enable_events()
            time.sleep(_TRICKLE_S)

    def app(self, registration: Mapping[str, Any] | None = None) -> Celery:
        """Return an application that sends to these workers and controls them.

        Its messages are as the worker of the registration is set to have them.
        """
        said = registration or {}
        environ = {
            "POOLPROOF_REDIS_URL": self.redis_url,
            "POOLPROOF_NAMESPACE": self.keys.namespace,
            **{f"POOLPROOF_{n.upper()}": said[n] for n in _OF_MESSAGES if n in said},
        }
        return make_app(Settings.from_env(environ))

    def _wait(self, workers: int, patience_s: float) -> dict[str, dict[str, Any]]:
        deadline = time.monotonic() + patience_s
        while len(found := registered(self.redis, self.keys)) < workers:
            if time.monotonic() > deadline:
                there = ", ".join(sorted(found)) or "none"
                raise WorkerError(
                    f"After {patience_s:.0f} s {len(found)} of {workers} workers are there "
                    f"({there}). Start the others with `poolproof worker`."
                )
            time.sleep(_POLL_S)
        return found


def _sides(registrations: Mapping[str, Mapping[str, Any]]) -> tuple[Side, ...]:
    """Group workers by their side. Raises WorkerError if one side has different pools."""
    groups: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for name in sorted(registrations):
        groups[registrations[name]["side"]].append(registrations[name])
    for label, workers in groups.items():
        if len({worker["pool"] for worker in workers}) > 1:
            raise WorkerError(
                f"The workers of the side {label!r} have different pools. "
                "Give each its own label by POOLPROOF_SIDE."
            )
    return tuple(
        Side(
            label,
            workers[0]["pool"],
            sum(worker["concurrency"] for worker in workers),
            tuple(worker["name"] for worker in workers),
        )
        for label, workers in sorted(groups.items())
    )
