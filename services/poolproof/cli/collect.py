"""Keep the history of runs: Redis stream to run folder."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from poolproof.cli.redis_url import RedisUrl
from poolproof.collect.celery_inspect import RemoteControl
from poolproof.collect.collector import Collector
from poolproof.history.file import FILE_NAME
from poolproof.history.form import is_run
from poolproof.infra.connection import connect, open_client
from poolproof_workers.connection import noticing, wait_until_reachable
from poolproof_workers.contract import DEFAULT_NAMESPACE, Keys, parsed
from poolproof_workers.errors import FAILED_CHECK, OK, PoolproofError, RedisUnreachable
from poolproof_workers.settings import DEFAULT_REDIS_URL

if TYPE_CHECKING:
    from redis import Redis

#: One that was killed may be started again just when Redis is.
_PATIENCE_S: Final = 5.0


@click.command("collect", short_help="Keep the history of runs: Redis stream to run folder.")
@click.option(
    "--redis-url",
    type=RedisUrl(),
    envvar=["POOLPROOF_REDIS_URL", "REDIS_URL"],
    metavar="URL",
    default=DEFAULT_REDIS_URL,
    show_default=True,
    help="The Redis of the run.",
)
@click.option(
    "--namespace",
    envvar="POOLPROOF_NAMESPACE",
    default=DEFAULT_NAMESPACE,
    show_default=True,
    help="First part of the names of all keys.",
)
@click.option(
    "--runs",
    envvar="POOLPROOF_RUNS",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder for the run folders.",
)
@click.option("--once", is_flag=True, help="End when a run is closed, and print its folder.")
@click.option("--print", "prints", is_flag=True, help="Print the report of every run, too.")
@click.option(
    "--judge/--no-judge",
    "judges",
    default=True,
    show_default=True,
    help="Judge every run that is closed, save its summary and reports, and tell who plays it.",
)
def command(  # noqa: PLR0913  click passes each option by its name
    redis_url: str, namespace: str, runs: Path, *, once: bool, prints: bool, judges: bool
) -> int:
    """Keep the history of runs: from the Redis stream into a folder a run.

    A collector that was killed goes on where it was when it is started again; nothing is lost.
    With --once --print it exits with 1 if the run is no valid result, or its books do not balance.

    \b
      poolproof collect
      poolproof collect --once --runs /tmp/runs --redis-url redis://127.0.0.1:6379/0
    """  # noqa: D301  click looks for a real backspace
    judges = judges or prints
    keys = Keys(namespace)
    with suppress(RedisUnreachable), open_client(redis_url) as redis:
        wait_until_reachable(redis, redis_url, _PATIENCE_S)
    with noticing(connect(redis_url)) as redis:
        judge = _Judge(redis, keys, runs, prints, once) if judges else None
        if judge and (left := judge.left()):
            code = judge.judge(left)
            if once:
                return code
        collector = Collector(redis, keys, runs, RemoteControl(redis_url, keys), judges=judges)
        while folder := collector.run(until_closed=once or judges):
            code = OK
            if judge:
                code = judge.judge(folder)
            else:
                click.echo(folder)
            if once:
                return code
        return OK


@dataclass(frozen=True, slots=True)
class _Judge:
    """Judges runs, and tells who played them how that went."""

    redis: Redis
    keys: Keys
    runs: Path
    prints: bool
    once: bool

    def judge(self, folder: Path) -> int:
        """Judge and save a run; return its exit code, where it is printed.

        Raises as `publish`; but with more runs to come a PoolproofError is only said.
        """
        # Only here: a collector that does not judge does without what judging needs.
        from poolproof.report.publish import publish  # noqa: PLC0415

        try:
            code = publish(folder, printed=self.prints)
        except PoolproofError as error:
            self._tell(folder, error.exit_code, str(error))
            if self.once:
                raise
            click.echo(f"poolproof: {error}", err=True)
            return error.exit_code
        except Exception as error:
            # Whoever played it would wait for minutes.
            self._tell(folder, FAILED_CHECK, f"{type(error).__name__}: {error}")
            raise
        self._tell(folder, code)
        return code if self.prints else OK

    def left(self) -> Path | None:
        """Return the folder of a run that an earlier collector closed and did not judge."""
        told = parsed(self.redis.get(self.keys.progress))
        if not (told.get("closed") and told.get("judges") and is_run(told.get("run"))):
            return None
        judged = parsed(self.redis.get(self.keys.judged))
        folder = self.runs / told["run"]
        is_there = (folder / FILE_NAME).exists()
        return folder if is_there and judged.get("run") != told["run"] else None

    def _tell(self, folder: Path, code: int, error: str = "") -> None:
        told = {"run": folder.name, "code": code, "error": error}
        self.redis.set(self.keys.judged, json.dumps(told))
