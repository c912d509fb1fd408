"""The verb `crash`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import click

from poolproof.cli import options
from poolproof.cli.console import ConsoleListener
from poolproof.infra.sides import parse
from poolproof.matrix.folder import MatrixFolder, matrix_of
from poolproof.matrix.parallel import ParallelRunner
from poolproof.matrix.plan import Matrix
from poolproof.report.publish import print_matrix, publish, save_matrix
from poolproof.runner.local_environment import LocalEnvironment
from poolproof_workers.errors import OK, UsageError
from poolproof_workers.faults.catalogue import FAULTS
from poolproof_workers.pools import POOLS
from poolproof_workers.settings import Policy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from poolproof.experiments.crash import Crash
    from poolproof.matrix.run import MatrixRun

_ALL: Final = "all"
_FAULTS: Final = tuple(fault.name for fault in FAULTS)
#: What crashes are ordered by is the same on all sides.
_AXES: Final = {"policy": "use --policy", "prefetch": "use --prefetch"}
_WHERE: Final = """\
A fault is done by a task (inside), by a signal to the worker (outside), or to Redis and the way
there (broker; only `poolproof crash` does those). Below each: what one learns of it, and to which
pools it cannot be done.
"""
_POLICIES: Final = tuple(policy.value for policy in Policy)


@click.command("crash")
@click.option(
    "--fault",
    "faults",
    type=click.Choice([*_FAULTS, _ALL]),
    multiple=True,
    default=("segfault",),
    show_default=True,
    metavar="FAULT",
    help="What is done to the worker, or `all`. --list shows them.",
)
@click.option(
    "--policy",
    "policies",
    type=click.Choice([*_POLICIES, _ALL]),
    multiple=True,
    default=("early",),
    show_default=True,
    help="When a task's message is acknowledged.",
)
@click.option(
    "--prefetch",
    "prefetches",
    type=click.IntRange(min=1, max=10_000),
    multiple=True,
    default=(4,),
    show_default=True,
    help="Celery's multiplier.",
)
@click.option(
    "--workers",
    "workers",
    type=click.IntRange(min=1, max=16),
    multiple=True,
    default=(1,),
    show_default=True,
    help="Workers of each side, on one queue. One is struck; the others may rescue what it held.",
)
@click.option(
    "--restart/--no-restart",
    "restarts",
    default=True,
    show_default=True,
    help="Whether a struck worker is started again, where the side has another one.",
)
@click.option(
    "--repeats",
    type=click.IntRange(min=1, max=1000),
    default=1,
    show_default=True,
    help="How often each is done.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1, max=64),
    default=1,
    show_default=True,
    help="Runs of a matrix at the same time. Times of recovery are upper bounds then.",
)
@click.option(
    "--repeat", type=click.IntRange(min=1, max=1000), hidden=True, help="One run of a matrix."
)
@click.option("--anew", is_flag=True, help="Do not go on with a matrix that was stopped.")
@click.option("--list", "listed", is_flag=True, help="Say what each fault does, and do none.")
@options.pools
@options.redis_url
@options.runs
@options.as_json
def command(  # noqa: PLR0913  click passes each option by its name
    *,
    faults: tuple[str, ...],
    policies: tuple[str, ...],
    prefetches: tuple[int, ...],
    workers: tuple[int, ...],
    restarts: bool,
    repeats: int,
    jobs: int,
    repeat: int | None,
    anew: bool,
    listed: bool,
    pools: tuple[str, ...],
    redis_url: str | None,
    out: Path,
    as_json: bool,
) -> int:
    """Do faults to pools, and account for every task.

    One fault under one policy is one run. More than that is a matrix: it may be stopped at any
    time, and the same command goes on with it.

    \b
      poolproof crash
      poolproof crash --fault kill-worker --pool prefork:4
      poolproof crash --fault segfault --fault chdir --policy early --policy late
      poolproof crash --fault kill-worker --workers 2 --no-restart
      poolproof crash --fault all --policy all --prefetch 1 --prefetch 4 --jobs 4
    """  # noqa: D301  click looks for a real backspace
    if listed:
        return _list()
    if not restarts and max(workers) == 1:
        raise UsageError("--no-restart needs a worker that survives: add --workers 2.")
    if jobs > 1 and redis_url:
        raise UsageError("--jobs needs a Redis of its own for each run: leave --redis-url out.")
    matrix = Matrix(
        faults=_chosen(faults, _FAULTS),
        sides=parse(pools, _AXES),
        policies=_chosen(policies, _POLICIES),
        prefetches=tuple(dict.fromkeys(prefetches)),
        workers=tuple(dict.fromkeys(workers)),
        restarts=restarts,
        repeats=repeats,
        jobs=jobs,
    )
    target = _Target(out, redis_url, as_json)
    turns = list(matrix.turns())
    if repeat:
        return target.turn(turns[0], repeat)
    return target.one(turns[0].crash, matrix) if len(turns) == 1 else target.all(matrix, anew=anew)


@dataclass(frozen=True, slots=True)
class _Target:
    """Where it is played, and how it is printed."""

    out: Path
    redis_url: str | None
    as_json: bool

    def one(self, crash: Crash, matrix: Matrix) -> int:
        """Play one run."""
        with ConsoleListener() as watching:
            local = LocalEnvironment(
                matrix.sides,
                self.out,
                self.redis_url,
                settings=crash.settings(),
                proxied=crash.proxied,
                workers=crash.workers,
            )
            folder = local.play(crash, watching)
        return publish(folder, as_json=self.as_json)

    def turn(self, turn: MatrixRun, repeat: int) -> int:
        """Play a run for a matrix, which prints it."""
        crash = replace(turn.crash, seed=repeat)
        replace(turn, crash=crash, repeat=repeat).run(self.out, self.redis_url)
        return OK

    def all(self, matrix: Matrix, *, anew: bool) -> int:
        """Play what a matrix lacks, and print all of it."""
        with MatrixFolder.open(self.out, matrix.to_json(), anew=anew) as folder:
            try:
                with ConsoleListener() as watching:
                    ParallelRunner(matrix, folder, watching, self.redis_url).play()
            finally:
                whole = matrix_of(folder.path)
                save_matrix(folder.path, whole)
                if not whole["complete"]:
                    crashes = whole["crashes"]
                    click.echo(
                        f"{crashes['done']} of {crashes['planned']} crashes are done: "
                        "the same command goes on with the rest.",
                        err=True,
                    )
            return print_matrix(folder.path, whole, as_json=self.as_json)


def _chosen(given: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    return tuple(known) if _ALL in given else tuple(dict.fromkeys(given))


def _list() -> int:
    click.echo(_WHERE)
    for fault in FAULTS:
        beside = [fault.lesson]
        if spared := [name for name, pool in POOLS.items() if fault.why_not(pool)]:
            beside.append(f"Not on {', '.join(spared)}: {fault.why_only}.")
        click.echo(f"{fault.name:18} {fault.where:8} {fault.what}")
        for line in beside:
            click.echo(f"{'':27} {line}")
    return OK
