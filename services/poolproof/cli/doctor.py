"""The verb `doctor`."""

from __future__ import annotations

import json
import os
import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import click

from poolproof.infra.doctor import Check, Level, examine
from poolproof_workers import __version__
from poolproof_workers.errors import FAILED_CHECK, OK
from poolproof_workers.settings import Settings
from poolproof_workers.supervisor import host
from poolproof_workers.supervisor.host import machine

if TYPE_CHECKING:
    from collections.abc import Iterable

_COLOURS: Final = {Level.OK: "green", Level.WARN: "yellow", Level.BAD: "red"}
_INDENT: Final = " " * 6
_WIDTH: Final = 80


@click.command("doctor")
@click.option(
    "--redis-url",
    envvar=["POOLPROOF_REDIS_URL", "REDIS_URL"],
    metavar="URL",
    help="The Redis to look at; without it an embedded one is started.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def command(redis_url: str | None, as_json: bool) -> int:  # noqa: FBT001  click passes it by name
    """Say what on this machine would spoil a measurement.

    Looks at Redis, the folder of the recordings, cores and their limits, memory, swap, load and
    noise. Exits with 1 if something is bad; a warning only makes figures worth less.

    \b
      poolproof doctor
      poolproof doctor --redis-url redis://:PASSWORD@HOST:6379/0 --json
    """  # noqa: D301  click looks for a real backspace
    settings = Settings.from_env(os.environ)
    checks = examine(redis_url, settings.rings)
    found = _print_json(list(checks)) if as_json else _print_lines(checks)
    return FAILED_CHECK if any(check.level is Level.BAD for check in found) else OK


def _print_lines(checks: Iterable[Check]) -> list[Check]:
    found = []
    for check in checks:
        click.echo(_line(check))
        found.append(check)
    versions = ", ".join(f"{name} {version}" for name, version in host.versions().items())
    click.echo(_wrapped(f"poolproof {__version__}, {versions}", _INDENT))
    return found


def _line(check: Check) -> str:
    level = click.style(f"{check.level:<4}", fg=_COLOURS[check.level])
    line = f"{level}  {check.name:<10} {check.found}"
    return f"{line}\n{_wrapped(check.advice, _INDENT * 2)}" if check.advice else line


def _wrapped(text: str, indent: str) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent=indent, subsequent_indent=indent)


def _print_json(found: list[Check]) -> list[Check]:
    report = {
        "ok": all(check.level is not Level.BAD for check in found),
        "checks": [asdict(check) for check in found],
        "machine": machine(),
        "versions": {**host.versions(), "poolproof": __version__},
    }
    click.echo(json.dumps(report, indent=2))
    return found
