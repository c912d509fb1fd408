"""Keep the history of runs: Redis stream to run folder."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

import click

from poolproof.collect.beliefs import RemoteControl
from poolproof.collect.collector import Collector
from poolproof.fleet.connection import connect, open_client
from poolproof_workers.connection import noticing, wait_until_reachable
from poolproof_workers.contract import DEFAULT_NAMESPACE, Keys
from poolproof_workers.errors import OK, RedisUnreachable
from poolproof_workers.settings import DEFAULT_REDIS_URL

#: One that was killed may be started again just when Redis is.
_PATIENCE_S: Final = 5.0


@click.command("collect", short_help="Keep the history of runs: Redis stream to run folder.")
@click.option(
    "--redis-url",
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
@click.option(
    "--print", "prints", is_flag=True, help="Judge every run that is closed, and print its report."
)
def command(redis_url: str, namespace: str, runs: Path, *, once: bool, prints: bool) -> int:
    """Keep the history of runs: from the Redis stream into a folder a run.

    A collector that was killed goes on where it was when it is started again; nothing is lost.
    With --once --print it exits with 1 if the run is no valid result, or its books do not balance.

    \b
      poolproof collect
      poolproof collect --once --runs /tmp/runs --redis-url redis://127.0.0.1:6379/0
    """  # noqa: D301  click looks for a real backspace
    code = OK
    keys = Keys(namespace)
    with suppress(RedisUnreachable), open_client(redis_url) as redis:
        wait_until_reachable(redis, redis_url, _PATIENCE_S)
    with noticing(connect(redis_url)) as redis:
        collector = Collector(redis, keys, runs, RemoteControl(redis_url, keys))
        while folder := collector.run(until_closed=once or prints):
            if prints:
                # Only here: a collector that does not judge does without what judging needs.
                from poolproof.report.publish import publish  # noqa: PLC0415

                code = publish(folder)
            else:
                click.echo(folder)
            if once:
                return code
        return OK
