"""Options that several verbs share, and how they are read."""

from __future__ import annotations

from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from poolproof.cli import limits
from poolproof.cli.redis_url import RedisUrl
from poolproof.infra import sides
from poolproof.produce import workloads
from poolproof_workers.pools import allowed

if TYPE_CHECKING:
    from collections.abc import Callable

_F = TypeVar("_F", bound="Callable[..., Any]")

#: The end of the help of verbs that have workloads; the first line keeps click from filling it.
WORKLOADS: Final = f"\b\nWorkloads:\n{indent(workloads.table(), '  ')}"


class Share(click.ParamType[float]):
    """A share, as `5%` or `0.05`, above 0 and up to 1."""

    name = "share"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return it as a number."""
        text = str(value)
        try:
            share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            share = 0.0
        if not 0 < share <= 1:
            self.fail(f"{text!r} is no share above 0 and up to 100%: write it as 5%.", param, ctx)
        return share


def pools(function: _F) -> _F:
    """Add `--pool`, which may be given more than once and is read by `fleet.sides`."""
    return click.option(
        "--pool",
        "pools",
        multiple=True,
        default=("prefork:4", "threads:4"),
        show_default=True,
        metavar=sides.SHAPE,
        help=f"A side. POOL:N is one of {allowed()}; KEY one of {', '.join(sides.KEYS)}.",
    )(function)


def workload(*, local: bool = True, envvar: str | None = None) -> Callable[[_F], _F]:
    """Add `--workload`, which may be given more than once; `local` if all workers are here."""

    def check(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> tuple[str, ...]:
        # What is wrong with one is said before anything starts.
        for text in texts:
            workloads.check(text, local=local)
        return texts

    return click.option(
        "--workload",
        "workloads",
        multiple=True,
        envvar=envvar,
        default=("square", "sleep:50ms", "cpu:5ms"),
        show_default=True,
        callback=check,
        help="What the tasks do, of the table below. May be given more than once.",
    )


def redis_url(function: _F) -> _F:
    """Add `--redis-url`."""
    return click.option(
        "--redis-url",
        type=RedisUrl(),
        envvar=["POOLPROOF_REDIS_URL", "REDIS_URL"],
        metavar="URL",
        help="A Redis to use; without it an embedded one is started.",
    )(function)


def runs(function: _F) -> _F:
    """Add `--out`."""
    return click.option(
        "--out",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path("runs"),
        show_default=True,
        envvar="POOLPROOF_RUNS",
        help="The folder that gets a folder for this run.",
    )(function)


def saved_runs(function: _F) -> _F:
    """Add `--runs`."""
    return click.option(
        "--runs",
        "folder",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path("runs"),
        show_default=True,
        envvar="POOLPROOF_RUNS",
        help="Folder of the saved runs.",
    )(function)


def as_json(function: _F) -> _F:
    """Add `--json`."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print the summary as JSON, and nothing else."
    )(function)


def seed(function: _F) -> _F:
    """Add `--seed`."""
    return click.option(
        "--seed",
        type=click.IntRange(min=0, max=limits.MOST_SEED),
        default=1,
        show_default=True,
        help="Decides the order of the blocks.",
    )(function)
