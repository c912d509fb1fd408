"""A supervisor as users start it, in a process of its own, with tasks and history beside it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Self

import psutil

from poolproof_workers.app import make_app
from poolproof_workers.contract import Event, task_id
from poolproof_workers.settings import Settings
from poolproof_workers.supervisor.leash import leashed
from tests.integration.history_reader import HistoryReader

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from redis import Redis

TAG = 0x0BADCAFE
RUN = "20250102-030405-0badcafe"
_COMMAND = [sys.executable, "-m", "poolproof", "worker", "--grace-s", "5"]


class Supervised:
    """`start` as often as needed; `history` belongs to all of its lives."""

    def __init__(self, redis: Redis, url: str, folder: Path, eventually: Any, **env: str) -> None:
        self.environ = {
            "POOLPROOF_REDIS_URL": url,
            "POOLPROOF_RINGS": str(folder / "rings"),
            "POOLPROOF_RESTART_DELAY_S": "0.1",
            "POOLPROOF_NAME": "tested@here",
            "POOLPROOF_SIDE": "tested",
        } | {f"POOLPROOF_{name}": value for name, value in env.items()}
        self.settings = Settings.from_env(self.environ)
        self.keys = self.settings.keys
        self.redis = redis
        self.history = HistoryReader(redis, self.keys)
        self.app = make_app(self.settings)
        self._eventually = eventually
        self._log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None

    # --- the process ---

    def start(self) -> Self:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                leashed(_COMMAND),
                env=os.environ | self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    @property
    def pid(self) -> int:
        assert self.process
        return self.process.pid

    def send(self, signum: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(signum)

    def ends(self, deadline_s: float = 60.0) -> int:
        """Wait for the end; return the exit code."""
        assert self.process
        return self.process.wait(deadline_s)

    def stop(self) -> int:
        self.send(signal.SIGTERM)
        return self.ends()

    def tree(self) -> list[psutil.Process]:
        return psutil.Process(self.pid).children(recursive=True)

    @property
    def printed(self) -> str:
        return self._log.read_text()

    # --- the run ---

    def begin_run(self, run: str = RUN) -> None:
        self.redis.set(self.keys.run, run)

    def until(self, condition: Callable[[HistoryReader], Any], deadline_s: float = 60.0) -> Any:
        def look() -> Any:
            if self.process and self.process.poll() is not None:
                raise AssertionError(f"it ended: {self.printed}")
            return condition(self.history.read())

        return self._eventually(look, deadline_s)

    def ready(self, life: int = 1) -> dict[str, Any]:
        """Wait for Celery's word in this life; return the op."""
        op: dict[str, Any] = self.until(lambda seen: seen.named("worker-ready", life=life))[0]
        return op

    def send_squares(self, numbers: range, sleep_s: float = 0.0) -> None:
        for number in numbers:
            self.send_task("poolproof.square", number, number, sleep_s)

    def send_task(self, name: str, number: int, *args: Any) -> None:
        self.app.send_task(name, args, task_id=task_id(TAG, number), queue=self.settings.side)

    def order(self, order: str, **fields: Any) -> None:
        run: Any = self.redis.get(self.keys.run)
        whole = {"order": order, "run": run.decode(), **fields}
        self.redis.rpush(self.keys.orders(self.settings.name), json.dumps(whole))

    def running(self, count: int) -> None:
        """Wait until so many tasks have started and not ended."""
        self.until(
            lambda seen: (
                seen.numbers(Event.STARTED).total() - seen.numbers(Event.SUCCEEDED).total() == count
            )
        )
