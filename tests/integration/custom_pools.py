"""Pools of an application's own, as CELERY_CUSTOM_WORKER_POOL names them."""

from __future__ import annotations

from celery.concurrency import prefork, thread


class Threads(thread.TaskPool):  # type: ignore[misc]
    """Runs tasks in the main process, by code that is not in Celery's table."""


class Forks(prefork.TaskPool):  # type: ignore[misc]
    """Runs tasks in children."""
