"""The Celery application: `celery -A poolproof_workers.app`."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from celery import Celery

from poolproof_workers.contract import unacked_names
from poolproof_workers.errors import UsageError
from poolproof_workers.faults import task
from poolproof_workers.settings import Policy, Results, Settings
from poolproof_workers.workloads import delivery, tasks

if TYPE_CHECKING:
    from collections.abc import Callable

_POLICIES: Final[dict[Policy, dict[str, bool]]] = {
    Policy.EARLY: {},
    Policy.LATE: {"task_acks_late": True},
    Policy.LATE_REJECT: {"task_acks_late": True, "task_reject_on_worker_lost": True},
    Policy.LATE_RETRY: {"task_acks_late": True, "task_retry_on_worker_lost": True},
}

#: kombu's own. A shorter visibility timeout, set to be watched, would be hidden by it.
_LOCK_S: Final = 300.0
#: Nobody fetches them; a worker that is not part of a run must not fill a Redis for ever.
_RESULT_EXPIRES_S: Final = 3_600.0


class Application(Celery):  # type: ignore[misc]  # Celery has no types
    """An application that a child which does not inherit it makes anew, from its environment.

    What Celery itself gives to a child that it spawns is the configuration: the tasks would have to
    be shared ones (`shared_task`), which every application of a process gets.
    """

    def __reduce__(self) -> tuple[Callable[[tuple[str, ...]], Celery], tuple[object, ...]]:
        """Return how the child gets it, with the modules that the worker was told to import."""
        return _made_anew, (tuple(self.conf.include),)


def make_app(settings: Settings) -> Celery:
    """Return a Celery application with poolproof's tasks, for workers and for who sends to them.

    Raises UsageError if the policy needs a newer Celery.
    """
    app = Application("poolproof", set_as_current=False)
    app.conf.update(_configuration(settings))
    _check_policy(app, settings.policy)
    # `shared` would give each task to every application of the process, also to one without faults.
    options = {
        "default_retry_delay": settings.retry_delay_s,
        "serializer": settings.serializer.value,
        "shared": False,
    }
    for name, function in tasks.functions(settings).items():
        app.task(function, name=name, **options, **delivery.options(app, settings, name))
    app.task(task.observe, name=task.OBSERVE, **options)
    fault = task.task_function(allowed=settings.allow_faults)
    app.task(fault, name=task.FAULT, bind=True, **options)
    return app


def _configuration(settings: Settings) -> dict[str, Any]:
    return {
        # Not `broker_url`, which a CELERY_BROKER_URL meant for another application overrides.
        "broker_read_url": settings.broker_url or settings.redis_url,
        "broker_write_url": settings.broker_url or settings.redis_url,
        "broker_connection_retry_on_startup": True,
        "broker_transport_options": {
            "global_keyprefix": settings.keys.celery_prefix,
            "visibility_timeout": settings.visibility_timeout_s,
            # A worker that dies while it looks leaves its lock, and nobody else looks until then.
            "unacked_mutex_expire": min(_LOCK_S, max(1.0, settings.visibility_timeout_s)),
            "unacked_restore_interval": settings.restore_interval_s,
            "unacked_restore_throttle": settings.restore_throttle,
            **unacked_names(settings.side),
        },
        "task_default_queue": settings.side,
        **_results(settings),
        # Of the remote control, which all sides hear; a task has a serializer of its own.
        "task_serializer": "json",
        "result_serializer": settings.serializer.value,
        "event_serializer": "json",
        "accept_content": sorted({"json", settings.serializer.value}),
        "worker_prefetch_multiplier": settings.prefetch,
        "task_soft_time_limit": settings.soft_time_limit_s,
        "task_time_limit": settings.time_limit_s,
        "worker_max_memory_per_child": settings.max_memory_per_child_kb,
        **_POLICIES[settings.policy],
    }


def _results(settings: Settings) -> dict[str, Any]:
    # Also where results are ignored: those of some tasks travel in any case (see `delivery`).
    transport = {"global_keyprefix": settings.keys.results_prefix}
    prefix = {"result_backend_transport_options": transport}
    if settings.results is Results.NONE:
        return {"task_ignore_result": True, **prefix}
    return {
        "task_ignore_result": False,
        "result_backend": settings.redis_url,
        **prefix,
        "result_expires": _RESULT_EXPIRES_S,
    }


def _check_policy(app: Celery, policy: Policy) -> None:
    if policy is Policy.LATE_RETRY and not hasattr(app.Task, "retry_on_worker_lost"):
        raise UsageError(f"POOLPROOF_POLICY={policy.value} needs Celery 5.7 or later.")


@cache
def _from_environment() -> Celery:
    return make_app(Settings.from_env(os.environ))


def _made_anew(include: tuple[str, ...]) -> Celery:
    app = _from_environment()
    app.conf.include = include
    return app


def __getattr__(name: str) -> Celery:
    # `celery -A` asks the module for `app`: only then is the environment read.
    if name == "app":
        return _from_environment()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
