"""A Celery application as anybody's: `celery -A poolproof_workers.included.application`.

Nothing of poolproof takes part in its workers. Celery itself reads its broker and result backend
from `CELERY_BROKER_URL` and `CELERY_RESULT_BACKEND`; `CLAIMS_SETTINGS` has further ones as JSON.
"""

from __future__ import annotations

import json
import os
import time
from typing import Final

import redis
from celery import Celery

NAP: Final = "claims.nap"
SPIN: Final = "claims.spin"
COUNTED: Final = "claims.counted"
#: Counts how often a counted task began.
RUNS: Final = "claims:runs"
SETTINGS: Final = "CLAIMS_SETTINGS"


def nap(seconds: float) -> int:
    """Sleep, and return the pid of the process that did."""
    time.sleep(seconds)
    return os.getpid()


def spin(seconds: float) -> None:
    """Compute for so long, and let nobody else have a turn that has to be given one."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def counted(seconds: float) -> None:
    """Count in Redis that it begins, and sleep."""
    with redis.Redis.from_url(os.environ["CELERY_BROKER_URL"]) as connection:
        connection.incr(RUNS)
    time.sleep(seconds)


app = Celery("claims", set_as_current=False)
app.conf.update(
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    task_track_started=True,
    broker_connection_retry_on_startup=True,
    **json.loads(os.environ.get(SETTINGS, "{}")),
)
app.task(nap, name=NAP)
app.task(spin, name=SPIN)
app.task(counted, name=COUNTED)
