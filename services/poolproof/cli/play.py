"""The verb `play`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from poolproof.cli import limits, options
from poolproof.cli.console import ConsoleListener
from poolproof.cli.redis_url import RedisUrl
from poolproof.experiments.compare import Comparison
from poolproof.experiments.crash import Crash
from poolproof.infra.connection import connect
from poolproof.runner.remote_environment import RemoteEnvironment
from poolproof_workers.contract import DEFAULT_NAMESPACE, Keys
from poolproof_workers.errors import OK
from poolproof_workers.faults.catalogue import FAULTS
from poolproof_workers.settings import DEFAULT_REDIS_URL, Policy

if TYPE_CHECKING:
    from poolproof.runner.remote_environment import Judgement


@click.command("play", epilog=options.WORKLOADS)
@click.option(
    "--redis-url",
    type=RedisUrl(),
    envvar=["POOLPROOF_REDIS_URL", "REDIS_URL"],
    metavar="URL",
    default=DEFAULT_REDIS_URL,
    show_default=True,
    help="The Redis of the workers.",
)
@click.option(
    "--namespace",
    envvar="POOLPROOF_NAMESPACE",
    default=DEFAULT_NAMESPACE,
    show_default=True,
    help="First part of the names of all keys.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1, max=1000),
    default=2,
    show_default=True,
    help="Wait until so many workers are registered.",
)
@options.workload(local=False, envvar="POOLPROOF_WORKLOAD")
@click.option(
    "--tasks",
    type=click.IntRange(min=1, max=limits.MOST_TASKS),
    envvar="POOLPROOF_TASKS",
    help="Tasks a block; without it as many as fit the budget.",
)
@click.option(
    "--budget-s",
    type=limits.Real(min=1, max=limits.DAY_S),
    envvar="POOLPROOF_BUDGET_S",
    default=60.0,
    show_default=True,
    help="About how long it may take.",
)
@click.option("--crash/--no-crash", envvar="POOLPROOF_CRASH", default=True, show_default=True)
@click.option(
    "--fault",
    type=click.Choice([fault.name for fault in FAULTS if fault.where in ("inside", "outside")]),
    envvar="POOLPROOF_FAULT",
    default="segfault",
    show_default=True,
    metavar="FAULT",
    help="What crashes each pool at the end: see inside and outside in `poolproof crash --list`.",
)
@click.option(
    "--policy",
    type=click.Choice([policy.value for policy in Policy]),
    envvar="POOLPROOF_POLICY",
    default=Policy.EARLY.value,
    show_default=True,
    help="When a task's message is acknowledged in the crash.",
)
@click.option("--events", is_flag=True, envvar="POOLPROOF_EVENTS", help="Leave task events on.")
@click.option(
    "--linger",
    is_flag=True,
    envvar="POOLPROOF_LINGER",
    help="Afterwards go on with a task now and then, with events on, so that Flower has something.",
)
@options.seed
def command(  # noqa: PLR0913  click passes each option by its name
    *,
    redis_url: str,
    namespace: str,
    workers: int,
    workloads: tuple[str, ...],
    tasks: int | None,
    budget_s: float,
    crash: bool,
    fault: str,
    policy: str,
    events: bool,
    linger: bool,
    seed: int,
) -> int:
    """Play the comparison on the workers that are registered in a Redis.

    A collector (`poolproof collect`) must be there to keep the history; it judges, saves and, with
    --print, prints the result. This waits for that, and ends with 1 if the run is no valid result.
    All are started anew, in order, before each round of blocks; workers without --allow-faults 1
    are measured and not crashed.

    \b
      poolproof worker --pool prefork:4 --allow-faults 1 &
      poolproof worker --pool threads:4 --allow-faults 1 &
      poolproof collect --print &
      poolproof play
    """  # noqa: D301  click looks for a real backspace
    comparison = Comparison(
        workloads=workloads,
        tasks=tasks,
        budget_s=budget_s,
        seed=seed,
        crash=Crash(fault=fault, policy=policy) if crash else None,
        events=events,
    )
    with connect(redis_url) as redis:
        there = RemoteEnvironment(redis, Keys(namespace), redis_url)
        with ConsoleListener() as watching:
            judgement = there.play(comparison, watching, workers)
        click.echo(_said(judgement), err=True)
        if linger:
            there.trickle(lambda: False)
    return judgement.code


def _said(judgement: Judgement) -> str:
    if not judgement.judged:
        return (
            f"played {judgement.run}; nobody has judged it: `poolproof report {judgement.run}` "
            "where the collector has its folder"
        )
    if judgement.code == OK:
        return f"played {judgement.run}; the collector has its folder and its report"
    return f"played {judgement.run}: it is NO valid result, see the collector's report"
