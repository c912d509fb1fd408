"""The verb `compare`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from poolproof.commands import options
from poolproof.commands.watching import Watching
from poolproof.experiments.compare import Comparison
from poolproof.experiments.crash import Crash
from poolproof.experiments.local import Local
from poolproof.report.publish import publish

if TYPE_CHECKING:
    from pathlib import Path


@click.command("compare")
@options.pools
@click.option(
    "--workload",
    "workloads",
    multiple=True,
    default=("square", "sleep:50ms", "cpu:5ms"),
    show_default=True,
    help="What the tasks do: square, sleep:TIME, cpu:TIME. May be given more than once.",
)
@click.option(
    "--budget-s",
    type=click.FloatRange(min=1, max=86_400),
    default=60.0,
    show_default=True,
    help="About how long it may take; too little gives short blocks, never fewer.",
)
@click.option(
    "--blocks",
    type=click.IntRange(min=5, max=1000),
    default=5,
    show_default=True,
    help="Measured blocks a side and workload.",
)
@click.option("--crash/--no-crash", default=True, show_default=True, help="Crash the pools too.")
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
    blocks: int,
    crash: bool,
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
    """  # noqa: D301  click looks for a real backspace
    comparison = Comparison(
        workloads=workloads,
        blocks=blocks,
        budget_s=budget_s,
        seed=seed,
        crash=Crash() if crash else None,
        events=events,
    )
    with Watching() as watching:
        local = Local(options.sides(pools), out, redis_url, events=events)
        folder = local.play(comparison, watching)
    return publish(folder, as_json=as_json)
