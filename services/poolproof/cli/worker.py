"""`poolproof worker`: runs one Celery worker under a supervisor that records what it does."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from poolproof.cli.limits import DAY_S, Real
from poolproof.cli.redis_url import RedisUrl
from poolproof_workers.pools import allowed
from poolproof_workers.settings import (
    DEFAULT_REDIS_URL,
    Optimization,
    Policy,
    Results,
    Serializer,
    Settings,
)
from poolproof_workers.supervisor.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable


def _setting(name: str, text: str, **options: Any) -> Callable[[Any], Any]:
    """Return an option whose value becomes the variable `POOLPROOF_NAME`."""
    variable = f"POOLPROOF_{name.replace('-', '_').upper()}"
    return click.option(f"--{name}", help=text, envvar=variable, show_envvar=True, **options)


@click.command("worker", short_help="Run one Celery worker under a supervisor.")
@_setting("pool", f"Pool and slots: {allowed()}.", metavar="POOL:N", default="prefork:4")
@_setting("side", "Label of this side of a comparison, and its queue.  [default: the pool]")
@_setting("name", "Name of the worker.  [default: SIDE@HOST]")
@_setting("redis-url", type=RedisUrl(), text=f"[default: REDIS_URL, or {DEFAULT_REDIS_URL}]")
@_setting("namespace", "First word of all keys in Redis.  [default: poolproof]")
@_setting("policy", f"When a task is acknowledged: {', '.join(Policy)}.  [default: early]")
@_setting("prefetch", "Messages reserved a slot.  [default: 4]")
@_setting("visibility-timeout-s", "Until an unacknowledged message is due.  [default: 3600]")
@_setting("restore-interval-s", "With the throttle: time between two looks.  [default: 10]")
@_setting("restore-throttle", "See above; Celery looks at every N-th interval.  [default: 10]")
@_setting("retry-delay-s", "Before a task is retried by the policy late-retry.  [default: 180]")
@_setting("events", "1: switch Celery's own task events on.  [default: 0]")
@_setting("results", f"Where results go: {', '.join(Results)}.  [default: none]")
@_setting("serializer", f"Of messages: {', '.join(Serializer)}.  [default: json]")
@_setting("optimization", f"Celery's -O: {', '.join(Optimization)}.  [default: default]")
@_setting("allow-faults", "1: tasks and orders may break this worker.  [default: 0]")
@_setting("include", "Further modules that Celery imports, with commas between them.")
@_setting("rings", "Folder of the recordings.  [default: in /dev/shm]")
@_setting("restart-delay-s", "Before Celery is started again, or `never`.  [default: 1.0]")
@_setting(
    "grace-s",
    "How long running tasks may take to end at a stop.",
    type=Real(min=0, max=DAY_S),
    default=10.0,
    show_default=True,
)
def command(grace_s: float, **values: str | None) -> int:
    """Run one Celery worker under a supervisor that records what it does.

    \b
    poolproof worker --pool threads:8
    poolproof worker --pool prefork:4 --redis-url redis://10.0.0.5:6379/0 --allow-faults 1

    It restarts Celery when that dies, ships the recordings to Redis, and goes on until SIGTERM or
    Ctrl-C: then running tasks have --grace-s to end. Exit codes: 0 stopped, 2 a bad value, 3 no
    Redis, 4 Celery cannot go on, 5 no room for the recordings, 130 Ctrl-C.
    """  # noqa: D301  # click wants the character
    given = {name: value for name, value in values.items() if value is not None}
    options = {f"POOLPROOF_{name.upper()}": value for name, value in given.items()}
    return Supervisor(Settings.from_env(os.environ | options), grace_s=grace_s).run()
