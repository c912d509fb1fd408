"""The verb `crash`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from poolproof.commands import options
from poolproof.commands.watching import Watching
from poolproof.experiments.crash import Crash
from poolproof.experiments.local import Local
from poolproof.report.publish import publish
from poolproof_workers.faults import INSIDE, OUTSIDE
from poolproof_workers.settings import Policy

if TYPE_CHECKING:
    from pathlib import Path


@click.command("crash")
@click.option(
    "--fault",
    type=click.Choice([*INSIDE, *OUTSIDE]),
    default="segfault",
    show_default=True,
    help="What is done to the worker.",
)
@click.option(
    "--policy",
    type=click.Choice([policy.value for policy in Policy]),
    default="early",
    show_default=True,
    help="When a task's message is acknowledged.",
)
@click.option(
    "--prefetch",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="Celery's multiplier.",
)
@options.pools
@options.redis_url
@options.runs
@options.as_json
def command(  # noqa: PLR0913  click passes each option by its name
    *,
    fault: str,
    policy: str,
    prefetch: int,
    pools: tuple[str, ...],
    redis_url: str | None,
    out: Path,
    as_json: bool,
) -> int:
    """Do one fault to one pool or several, and account for every task.

    \b
      poolproof crash
      poolproof crash --fault kill-worker --pool prefork:4
      poolproof crash --fault system-exit --pool threads:4 --policy late
    """  # noqa: D301  click looks for a real backspace
    crash = Crash(fault=fault, policy=policy, prefetch=prefetch)
    with Watching() as watching:
        local = Local(options.sides(pools), out, redis_url, settings=crash.settings())
        folder = local.play(crash, watching)
    return publish(folder, as_json=as_json)
