"""The verb `enqueue`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click

from poolproof.cli import limits, options
from poolproof.cli.console import ConsoleListener
from poolproof.experiments.enqueue import Jobs, outcomes
from poolproof.infra.connection import connect
from poolproof.infra.sides import parse
from poolproof.produce import units, workloads
from poolproof.produce.host_resources import MeasuredResources
from poolproof.produce.plan import BlockSpec, Run
from poolproof.produce.producer import Producer
from poolproof.runner.local_environment import LocalEnvironment
from poolproof_workers.app import make_app
from poolproof_workers.contract import DEFAULT_NAMESPACE
from poolproof_workers.errors import FAILED_CHECK, OK, UsageError
from poolproof_workers.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from poolproof.experiments.enqueue import Outcome, Result
    from poolproof.infra.sides import SideSpec

#: The square of a greater number does not fit into a record.
_GREATEST: Final = 3_037_000_499
_SHORTEST_S: Final = 0.000_001


# -7 is a number here, not an option.
@click.command(
    "enqueue", context_settings={"ignore_unknown_options": True}, epilog=options.WORKLOADS
)
@click.argument("numbers", type=click.IntRange(-_GREATEST, _GREATEST), nargs=-1)
@click.option(
    "--tasks",
    type=click.IntRange(min=1, max=limits.MOST_TASKS),
    help="How many jobs, in place of numbers.",
)
@click.option(
    "--rate",
    type=limits.Real(min=limits.LEAST_PER_S, max=limits.MOST_PER_S),
    help="Jobs a second, with --for-s.",
)
@click.option(
    "--for-s",
    type=limits.Real(min=0, max=limits.DAY_S, min_open=True),
    help="For how many seconds.",
)
@click.option("--workload", help="What a job does, of the table below.  [default: square]")
@click.option(
    "--sleep-s",
    type=limits.Real(min=_SHORTEST_S, max=units.MAX_SECONDS),
    help="The same as --workload sleep:TIME.",
)
@options.pools
@click.option("--wait", is_flag=True, help="Start the workers here, and show what they return.")
@options.redis_url
@click.option(
    "--namespace",
    envvar="POOLPROOF_NAMESPACE",
    default=DEFAULT_NAMESPACE,
    show_default=True,
    help="First part of the names of all keys, as the workers have it (without --wait).",
)
@options.runs
def command(  # noqa: PLR0913  click passes each option by its name
    *,
    numbers: tuple[int, ...],
    tasks: int | None,
    rate: float | None,
    for_s: float | None,
    workload: str | None,
    sleep_s: float | None,
    pools: tuple[str, ...],
    wait: bool,
    redis_url: str | None,
    namespace: str,
    out: Path,
) -> int:
    """Put square jobs into the queue of a pool, or of several.

    Without --wait it only sends them: workers take them, here or anywhere (poolproof worker).

    \b
      poolproof enqueue 1 2 3 4 5 --sleep-s 1 --pool prefork:5 --pool threads:5 --wait
      poolproof enqueue --tasks 10000 --pool prefork:4 --redis-url redis://127.0.0.1:6379/0
      poolproof enqueue --rate 200 --for-s 10 --pool prefork:4 --redis-url redis://127.0.0.1:6379/0
    """  # noqa: D301  click looks for a real backspace
    sides = parse(pools)
    jobs = _jobs(_Amount(numbers, tasks, rate, for_s), _workload(workload, sleep_s))
    workloads.check(jobs.workload, most=jobs.count, local=wait)
    if wait:
        with ConsoleListener() as watching:
            folder = LocalEnvironment(sides, out, redis_url).play(jobs, watching)
        return _show(outcomes(folder), listed=bool(numbers))
    if redis_url is None:
        raise UsageError(
            "Where to? Name the workers' Redis with --redis-url, or start workers with --wait."
        )
    if any(side.requirements for side in sides.values()):
        raise UsageError("Jobs are only sent, whatever workers run on: leave out @, or add --wait.")
    _send(jobs, sides, redis_url, namespace)
    return OK


@dataclass(frozen=True, slots=True)
class _Amount:
    """What was asked for: numbers, a count, or a rate for some time."""

    numbers: tuple[int, ...]
    tasks: int | None
    rate_per_s: float | None
    for_s: float | None


def _jobs(amount: _Amount, workload: str) -> Jobs:
    match amount:
        case _Amount(numbers, None, None, None) if numbers:
            return Jobs(workload, len(numbers), numbers)
        case _Amount((), int(tasks), None, None):
            return Jobs(workload, tasks)
        case _Amount((), None, float(rate), float(seconds)):
            return Jobs(workload, _count(rate, seconds), rate_per_s=rate)
    raise UsageError("What to enqueue? Give numbers, or --tasks N, or --rate R with --for-s T.")


def _count(rate_per_s: float, seconds: float) -> int:
    count = max(1, round(rate_per_s * seconds))
    if count > limits.MOST_TASKS:
        raise UsageError(
            f"{rate_per_s:g} jobs a second for {seconds:g} s are {count:,}: at most "
            f"{limits.MOST_TASKS:,} can be sent at a time."
        )
    return count


def _workload(workload: str | None, sleep_s: float | None) -> str:
    if sleep_s is None:
        return workload or "square"
    if workload is not None:
        raise UsageError("--sleep-s is a workload of its own: leave out --workload.")
    return f"sleep:{units.duration_text(sleep_s)}"


def _send(jobs: Jobs, sides: Mapping[str, SideSpec], url: str, namespace: str) -> None:
    work = workloads.parse(jobs.workload, MeasuredResources())
    with connect(url) as redis:
        for label, side in sides.items():
            settings = Settings.from_env(
                {
                    **side.settings,
                    "POOLPROOF_SIDE": label,
                    "POOLPROOF_REDIS_URL": url,
                    "POOLPROOF_NAMESPACE": namespace,
                }
            )
            # Not in the history: a run that goes on in this Redis must not take these for its own.
            producer = Producer(
                redis, settings.keys, make_app(settings), Run.new().tag, recorded=False
            )
            block = BlockSpec(label, jobs.workload, jobs.count, rate_per_s=jobs.rate_per_s)
            sent = producer.enqueue(block, work, jobs.values)
            click.echo(
                f"{label}: {sent.count:,} {work.text} jobs enqueued, {sent.per_s:,.0f} a second"
            )


def _show(found: tuple[Outcome, ...], *, listed: bool) -> int:
    for outcome in found:
        click.echo("\n".join(_lines(outcome, listed=listed)))
    return OK if all(outcome.right for outcome in found) else FAILED_CHECK


def _lines(outcome: Outcome, *, listed: bool) -> Iterator[str]:
    done, count = len(outcome.results), outcome.count
    yield f"{outcome.side}: {done:,} of {count:,} jobs in {outcome.took_s:.2f} s"
    if not outcome.right:
        yield "  NOT RIGHT: a job did not end, ended twice, or returned what is wrong"
    if listed:
        for each in outcome.results:
            yield f"  {_returned(each)}   after {each.after_s:.2f} s"


def _returned(result: Result) -> str:
    value, returned = result.value, result.returned
    return f"{value} x {value} = {value**2}" if returned == value**2 else f"{value} -> {returned}"
