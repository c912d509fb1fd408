"""Options that several verbs share, and how they are read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from poolproof_workers.errors import UsageError
from poolproof_workers.pools import PoolSpec

if TYPE_CHECKING:
    from collections.abc import Callable

_F = TypeVar("_F", bound="Callable[..., Any]")


def pools(function: _F) -> _F:
    """Add `--pool [LABEL=]POOL`, which may be given more than once."""
    return click.option(
        "--pool",
        "pools",
        multiple=True,
        default=("prefork:4", "threads:4"),
        show_default=True,
        metavar="[LABEL=]POOL",
        help="A side: a pool with its slots, and a label if one pool is to stand on both sides.",
    )(function)


def redis_url(function: _F) -> _F:
    """Add `--redis-url`."""
    return click.option(
        "--redis-url",
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
        type=click.IntRange(min=0),
        default=1,
        show_default=True,
        help="Decides the order of the blocks.",
    )(function)


def sides(texts: tuple[str, ...]) -> dict[str, PoolSpec]:
    """Return label -> pool. Raises UsageError for a bad pool, or a label that is given twice."""
    found: dict[str, PoolSpec] = {}
    for text in texts:
        label, equals, pool = text.rpartition("=")
        spec = PoolSpec.parse(pool)
        name = label if equals else spec.text
        if name in found:
            raise UsageError(
                f"Two sides are called {name!r}. Give them labels: --pool a={pool} --pool b={pool}."
            )
        found[name] = spec
    return found
