"""A worker that takes 5 % longer for each task: loaded into it by `POOLPROOF_INCLUDE`.

What a task computed is computed a little more, what it waited is waited a little longer.
"""

from __future__ import annotations

import threading
import time
from typing import Final

from celery.signals import task_postrun, task_prerun

SHARE: Final = 0.05

_begun = threading.local()


@task_prerun.connect(weak=False)  # type: ignore[untyped-decorator]
def _begin(**_: object) -> None:
    _begun.wall_s, _begun.cpu_s = time.perf_counter(), time.thread_time()


@task_postrun.connect(weak=False)  # type: ignore[untyped-decorator]
def _lag(**_: object) -> None:
    cpu_s = time.thread_time() - _begun.cpu_s
    waited_s = time.perf_counter() - _begun.wall_s - cpu_s
    until = time.thread_time() + SHARE * cpu_s
    time.sleep(SHARE * max(0.0, waited_s))
    while time.thread_time() < until:
        pass
