"""A Celery application as anybody's: `celery -A poolproof.experiments.facts.application`.

Nothing of poolproof takes part in its workers. Celery itself reads its broker and result backend
from `CELERY_BROKER_URL` and `CELERY_RESULT_BACKEND`.
"""

from __future__ import annotations

import os
import time
from typing import Final

from celery import Celery

NAP: Final = "claims.nap"


def nap(seconds: float) -> int:
    """Sleep, and return the pid of the process that did."""
    time.sleep(seconds)
    return os.getpid()


app = Celery("claims", set_as_current=False)
app.conf.update(
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    task_track_started=True,
    broker_connection_retry_on_startup=True,
)
app.task(nap, name=NAP)
