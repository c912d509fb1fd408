"""What Celery itself believes: the tasks that its workers say are active or reserved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from poolproof.history.form import TASKS
from poolproof_workers.app import make_app
from poolproof_workers.contract import parse_task_id
from poolproof_workers.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolproof_workers.contract import Keys

_TIMEOUT_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Belief:
    """What one worker answered; without an answer both are empty."""

    answered: bool
    active: tuple[int, ...] = ()
    reserved: tuple[int, ...] = ()


class Beliefs(Protocol):
    """Asks workers what they believe to hold."""

    def ask(self, workers: Sequence[str], tag: int) -> dict[str, Belief]:
        """Return the belief of each worker about the tasks of the run `tag`."""


class NoBeliefs:
    """Asks nobody."""

    def ask(self, workers: Sequence[str], tag: int) -> dict[str, Belief]:  # noqa: ARG002
        """Return that nobody answered."""
        return dict.fromkeys(workers, Belief(answered=False))


class RemoteControl:
    """Asks over Celery's remote control."""

    def __init__(self, redis_url: str, keys: Keys) -> None:
        environ = {"POOLPROOF_REDIS_URL": redis_url, "POOLPROOF_NAMESPACE": keys.namespace}
        self._app = make_app(Settings.from_env(environ))

    def ask(self, workers: Sequence[str], tag: int) -> dict[str, Belief]:
        """Return within a few seconds what each answered."""
        if not workers:
            return {}
        inspect = self._app.control.inspect(
            destination=list(workers), timeout=_TIMEOUT_S, limit=len(workers)
        )
        active, reserved = inspect.active() or {}, inspect.reserved() or {}
        return {
            worker: Belief(
                answered=worker in active and worker in reserved,
                active=_numbers(active.get(worker), tag),
                reserved=_numbers(reserved.get(worker), tag),
            )
            for worker in workers
        }


def _numbers(requests: Any, tag: int) -> tuple[int, ...]:
    # A worker that is going down may answer with an error instead of a list.
    if not isinstance(requests, list):
        return ()
    found = []
    for request in requests:
        try:
            run, number = parse_task_id(request["id"])
        except (TypeError, KeyError, ValueError):
            continue
        if run == tag and 0 <= number <= TASKS:
            found.append(number)
    return tuple(sorted(found))
