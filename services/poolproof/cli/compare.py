"""The verb `compare`."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import click

from poolproof.cli import limits, options
from poolproof.cli.console import ConsoleListener
from poolproof.experiments import sweep as sweeping
from poolproof.experiments.compare import Comparison
from poolproof.experiments.crash import Crash
from poolproof.infra import sides
from poolproof.infra.page import HOST, PORT, shown
from poolproof.report.publish import publish
from poolproof.runner.local_environment import LocalEnvironment

if TYPE_CHECKING:
    from pathlib import Path

    from poolproof.experiments.compare import Latency


@click.command("compare", epilog=options.WORKLOADS)
@options.pools
@options.workload()
@click.option(
    "--budget-s",
    type=limits.Real(min=1, max=limits.DAY_S),
    default=60.0,
    show_default=True,
    help="About how long it may take; too little gives short rounds, never fewer.",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=6, max=1000),
    default=6,
    show_default=True,
    help="Rounds of each workload, at least: in each every side has its blocks.",
)
@click.option(
    "--precision",
    type=options.Share(),
    default="5%",
    show_default=True,
    help="Stop when the interval of every ratio is narrower, or when the budget is spent.",
)
@click.option(
    "--latency",
    type=click.Choice(["first", "all", "none"]),
    default="first",
    show_default=True,
    help="Workloads to send at a set rate too, for the time that tasks wait.",
)
@click.option(
    "--fresh/--no-fresh",
    default=True,
    show_default=True,
    help="Start all workers anew before each round: two processes of one programme differ, too.",
)
@click.option(
    "--sweep",
    metavar="concurrency=N,...",
    help="Measure every pool with each of these numbers of slots; then nothing is crashed.",
)
@click.option("--crash/--no-crash", default=True, show_default=True, help="Crash the pools too.")
@click.option(
    "--live",
    type=click.IntRange(1, 65535),
    is_flag=False,
    flag_value=PORT,
    metavar="[PORT]",
    help=f"Show it on a live page too, at http://{HOST}:{PORT}.",
)
@click.option("--events", is_flag=True, help="Leave Celery's task events on (-E).")
@options.seed
@options.redis_url
@options.runs
@options.as_json
def command(  # noqa: PLR0913  click passes each option by its name
    *,
    pools: tuple[str, ...],
    workloads: tuple[str, ...],
    budget_s: float,
    rounds: int,
    precision: float,
    latency: Latency,
    fresh: bool,
    sweep: str | None,
    crash: bool,
    live: int | None,
    events: bool,
    seed: int,
    redis_url: str | None,
    out: Path,
    as_json: bool,
) -> int:
    """Measure two or more pools against each other, then crash them.

    Starts a Redis and the workers on this machine, plays the same work on every pool in turn, has
    one task segfault in each, and says what the records of every single task prove.

    \b
      poolproof compare
      poolproof compare --pool prefork:2 --pool threads:8 --workload sleep:20ms
      poolproof compare --pool a=threads:4 --pool b=threads:4 --no-crash    # the noise alone
      poolproof compare --pool prefork:1 --pool threads:1 --sweep concurrency=1,2,4,8
    """  # noqa: D301  click looks for a real backspace
    concurrencies = sweeping.parse(sweep) if sweep else ()
    named = sides.parse(pools)
    comparison = Comparison(
        workloads=workloads,
        rounds=rounds,
        budget_s=budget_s,
        seed=seed,
        precision=precision,
        latency=latency,
        fresh=fresh,
        sweep=concurrencies,
        crash=Crash() if crash and not concurrencies else None,
        events=events,
    )
    with ConsoleListener() as watching, shown(out, live) if live else nullcontext():
        spread = sweeping.spread(named, concurrencies) if concurrencies else named
        local = LocalEnvironment(spread, out, redis_url, events=events)
        folder = local.play(comparison, watching)
    return publish(folder, as_json=as_json)
