"""Where results go that must really travel, also where all others are ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from celery.backends.redis import RedisBackend

from poolproof_workers.workloads.answers import PAYLOAD

if TYPE_CHECKING:
    from celery import Celery

    from poolproof_workers.settings import Settings

#: Nobody fetches them, and Redis must not fill up: what is on its way is 10 MB a task at most.
_EXPIRE_S: Final = 2


def options(app: Celery, settings: Settings, task: str) -> dict[str, Any]:
    """Return Celery's options for a task: what `PAYLOAD` returns goes through a result backend.

    A result that is ignored never leaves its slot: Celery passes a short text of it on at most.
    """
    if task != PAYLOAD:
        return {}
    # JSON whatever the side's serializer: YAML refuses a text that is of a class of its own.
    backend = RedisBackend(app=app, url=settings.redis_url, serializer="json", expires=_EXPIRE_S)
    return {"backend": backend, "ignore_result": False}
